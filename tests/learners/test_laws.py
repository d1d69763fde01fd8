"""Every learner of ours keeps the laws."""

from typing import Any

import pytest

from idds_core.testing.learner_laws import LearnerLaws
from idds_learners import LevelSet, Sobol


class TestLevelSet(LearnerLaws):
    @pytest.fixture
    def learner(self) -> Any:
        return LevelSet(["f"], level=0.5, transform="none")


class TestLevelSetInProbit(LearnerLaws):
    @pytest.fixture
    def learner(self) -> Any:
        return LevelSet("f", level={"f": 0.5}, transform={"f": "log"}, first=4, maximin=0.0)


class TestSobol(LearnerLaws):
    @pytest.fixture
    def learner(self) -> Any:
        return Sobol()


class TestSobolWithAMap(LearnerLaws):
    @pytest.fixture
    def learner(self) -> Any:
        return Sobol("f", level=0.5, transform="none")
