"""The example's own learner keeps the laws, and finds a minimum."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from idds_core.testing.learner_laws import LearnerLaws
from tests.examples.test_runs import ROOT, idds

HERE = ROOT / "examples" / "custom_learner"


@pytest.fixture
def climb(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("climb", HERE / "climb.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "climb", module)
    spec.loader.exec_module(module)
    return module


class TestClimb(LearnerLaws):
    folder = str(HERE)

    @pytest.fixture
    def learner(self, climb: Any) -> Any:
        return climb.Climb(("f",))


def test_it_says_what_is_wrong_with_its_fields(climb: Any) -> None:
    assert climb.Climb().problems() == []
    assert len(climb.Climb(("a", "b"), width=0.0, grow=0.5).problems()) == 3


def test_the_scan_finds_a_minimum_and_is_replayed(tmp_path: Path) -> None:
    idds("run", HERE / "himmelblau.py", "--workdir", tmp_path, "--quiet", codes=(2,))
    text = idds("export", "himmelblau", "--what", "points", "--format", "json", "--workdir", tmp_path)
    best = min(p["f"] for p in json.loads(text)["points"])
    assert best < 0.1
    idds("replay", "himmelblau", "--workdir", tmp_path)
