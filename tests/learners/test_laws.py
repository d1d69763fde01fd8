"""Every learner of ours keeps the laws."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from idds_core.history import History, Observation, Point
from idds_core.ports import Proposal
from idds_core.space import Ordered, Space
from idds_core.testing.learner_laws import LearnerLaws
from idds_core.testing.toys import CIRCLE
from idds_learners import Events, Grid, LevelSet, Optimum, Optuna, Random, Sobol


class TestLevelSet(LearnerLaws):
    @pytest.fixture
    def learner(self) -> Any:
        return LevelSet(["f"], level=0.5, transform="none")


class TestLevelSetInProbit(LearnerLaws):
    positive = True  # its transform is a logarithm

    @pytest.fixture
    def learner(self) -> Any:
        return LevelSet("f", level={"f": 0.5}, transform={"f": "log"}, first=4, maximin=0.0)


class TestLevelSetByStraddle(LearnerLaws):
    examples = 5

    @pytest.fixture
    def learner(self) -> Any:
        return LevelSet("f", level=0.5, transform="none", strategy="straddle")


class TestLevelSetByPoissonDiscs(LearnerLaws):
    examples = 5

    @pytest.fixture
    def learner(self) -> Any:
        return LevelSet("f", level=0.5, transform="none", strategy="poisson_disc")


class TestLevelSetByTargetedError(LearnerLaws):
    examples = 5

    @pytest.fixture
    def learner(self) -> Any:
        return LevelSet("f", level=0.5, transform="none", strategy="timse")


@dataclass(frozen=True)
class Priced:
    """A learner of the laws' spaces whose events are chosen: they are a parameter more, inside of it."""

    cost: str = "1 + 0.01 * events"

    def ask(self, history: History, n: int) -> Proposal:
        events = (100, 1000, 10_000)
        space = Space({**history.space.parameters, "events": Ordered(events)}, history.space.constraints)
        points = tuple(
            replace(p, parameters={**p.parameters, "events": events[p.number % 3]}, observation=_with_sigma(p))
            for p in history.points
        )
        inner = LevelSet("f", level=0.5, transform="none", events=Events("events", cost=self.cost))
        proposal = inner.ask(replace(history, space=space, points=points), n)
        assert all(p["events"] in events for p in proposal.points)
        told = tuple({name: p[name] for name in history.space.names} for p in proposal.points)
        return replace(proposal, points=told)


def _with_sigma(point: Point) -> Observation | None:
    seen = point.observation
    return None if seen is None else Observation(seen.values, {"f": 0.1 + 0.0 * seen.values["f"]})


class TestLevelSetThatChoosesEvents(LearnerLaws):
    examples = 5
    folder = str(Path(__file__).parents[2])  # where a fresh process finds it

    @pytest.fixture
    def learner(self) -> Any:
        return Priced()


class TestSobol(LearnerLaws):
    @pytest.fixture
    def learner(self) -> Any:
        return Sobol()


class TestSobolWithAMap(LearnerLaws):
    @pytest.fixture
    def learner(self) -> Any:
        return Sobol("f", level=0.5, transform="none")


class TestRandom(LearnerLaws):
    @pytest.fixture
    def learner(self) -> Any:
        return Random()


class TestGrid(LearnerLaws):
    @pytest.fixture
    def learner(self) -> Any:
        return Grid(steps=7)


class TestOptimum(LearnerLaws):
    finds = "min"
    apart = 0.009  # near an optimum that is known well, points are close together

    @pytest.fixture
    def learner(self) -> Any:
        return Optimum("f")


class TestOptimumOfALargestValue(LearnerLaws):
    finds = "max"
    examples = 5
    apart = 0.009

    @pytest.fixture
    def learner(self) -> Any:
        return Optimum(direction={"f": "max"}, first=4)


class TestTpe(LearnerLaws):
    apart = 0.001  # it draws at random, and may come near
    examples = 8

    @pytest.fixture
    def learner(self) -> Any:
        return Optuna("f", sampler="tpe")


class TestCmaEs(LearnerLaws):
    apart = 0.0001
    examples = 8

    @pytest.fixture
    def learner(self) -> Any:
        return Optuna(sampler="cmaes")


class TestNsga2(LearnerLaws):
    apart = 0.001
    examples = 8

    @pytest.fixture
    def learner(self) -> Any:
        return Optuna(sampler="nsga2")


@dataclass(frozen=True)
class Nearest:
    """A bad learner: what is nearest to the first point, for ever; it knows pending points only as taken."""

    def ask(self, history: History, n: int) -> Proposal:
        step = 0.001
        taken = {(p.parameters["x"], p.parameters["y"]) for p in history.points}
        grid = ((step * i, step * j) for i in range(20) for j in range(20))
        points: tuple[Mapping[str, Any], ...] = tuple({"x": x, "y": y} for x, y in grid if (x, y) not in taken)
        return Proposal(points[:n])


@dataclass(frozen=True)
class Counting(Nearest):
    """Another: it counts all points there are, whether they were there when it was asked or not."""

    def ask(self, history: History, n: int) -> Proposal:
        Counting.calls += 1  # type: ignore[attr-defined]
        return Proposal(super().ask(history, n).points, {"calls": Counting.calls})  # type: ignore[attr-defined]


def test_a_learner_that_crowds_around_what_is_pending_breaks_the_laws() -> None:
    with pytest.raises(AssertionError):
        LearnerLaws().test_points_are_proposed_away_from_pending_ones(Nearest(), "real")


def test_a_learner_with_a_hidden_state_breaks_the_law_of_replay() -> None:
    Counting.calls = 0  # type: ignore[attr-defined]
    with pytest.raises(AssertionError):
        LearnerLaws().test_in_steady_mode_every_answer_is_given_again(Counting(), CIRCLE.space)
