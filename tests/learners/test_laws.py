"""Every learner of ours keeps the laws."""

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest

import idds_learners
from idds_core.history import History, Observation, Point
from idds_core.plugins import LEARNERS, registered
from idds_core.ports import Proposal
from idds_core.space import Ordered, Real, Space
from idds_core.testing.learner_laws import LearnerLaws
from idds_core.testing.toys import CIRCLE
from idds_learners import (
    AskTell,
    CommandLearner,
    Events,
    Follow,
    Gest,
    Grid,
    LevelSet,
    Optimum,
    Optuna,
    Random,
    Skopt,
    Sobol,
)  # fmt: skip
from idds_learners.level_set import STRATEGIES
from idds_learners.optuna_sampler import SAMPLERS
from idds_learners.skopt_optimizer import ESTIMATORS

TORCH = find_spec("torch") is not None
#: also the laws of the slowest
FULL = os.environ.get("IDDS_LAWS") == "full"


class Laws(LearnerLaws):
    """The laws of one learner, `of`."""

    of: ClassVar[Any]

    @pytest.fixture
    def learner(self) -> Any:
        return self.of


class TestLevelSet(Laws):
    of = LevelSet(["f"], level=0.5, transform="none")


class TestLevelSetInProbit(Laws):
    positive = True  # its transform is a logarithm
    of = LevelSet("f", level={"f": 0.5}, transform={"f": "log"}, first=4, maximin=0.0)


class TestLevelSetByStraddle(Laws):
    examples = 5
    of = LevelSet("f", level=0.5, transform="none", strategy="straddle")


class TestLevelSetByPoissonDiscs(Laws):
    examples = 5
    of = LevelSet("f", level=0.5, transform="none", strategy="poisson_disc")


class TestLevelSetByTargetedError(Laws):
    examples = 5
    of = LevelSet("f", level=0.5, transform="none", strategy="timse")


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


class TestLevelSetThatChoosesEvents(Laws):
    examples = 5
    folder = str(Path(__file__).parents[2])  # where a fresh process finds it
    of = Priced()


class TestSobol(Laws):
    of = Sobol()


class TestSobolWithAMap(Laws):
    of = Sobol("f", level=0.5, transform="none")


class TestRandom(Laws):
    apart = 0.001  # it draws at random, and may come near
    of = Random()


class TestGrid(Laws):
    of = Grid(steps=7)


class TestOptimum(Laws):
    finds = "min"
    apart = 0.009  # near an optimum that is known well, points are close together
    of = Optimum("f")


class TestOptimumOfALargestValue(Laws):
    finds = "max"
    examples = 5
    apart = 0.009
    of = Optimum(direction={"f": "max"}, first=4)


class TestTpe(Laws):
    apart = 0.001
    examples = 8
    of = Optuna("f", sampler="tpe")


class TestCmaEs(Laws):
    apart = 0.0001
    examples = 8
    of = Optuna(sampler="cmaes")


class TestNsga2(Laws):
    apart = 0.001
    examples = 8
    of = Optuna(sampler="nsga2")


class TestQuasiMonteCarlo(Laws):
    apart = 0.001
    examples = 8
    of = Optuna(sampler="qmc")


class TestOptunasRandom(Laws):
    apart = 0.0001
    examples = 8
    of = Optuna(sampler="random")


if TORCH:  # Optuna's process needs it, and it is in the extra `bench` alone

    class TestOptunasProcess(Laws):
        apart = 0.0  # it does not know of what is pending
        examples = 1
        of = Optuna(sampler="gp")


class TestSkopt(Laws):
    examples = 1
    of = Skopt("f", acquisition="EI", first=26)  # a fit is dear: three batches are a design


if FULL:  # minutes each, of the same adapter

    class TestSkoptOfExtraTrees(Laws):
        examples = 3
        of = Skopt(estimator="ET")

    class TestSkoptOfAForest(Laws):
        examples = 3
        of = Skopt(estimator="RF")


class TestAskTell(Laws):
    apart = 0.0
    of = AskTell("f", make="tests.learners.generators:Walk")


class TestGest(Laws):
    apart = 0.0
    of = Gest("f", make="tests.learners.generators:Halton")


class TestCommandLearner(Laws):
    apart = 0.0
    examples = 2
    of = CommandLearner([sys.executable, str(Path(__file__).with_name("command.py"))], "f")


class TestFollow(Laws):
    """It goes where the last observation points: f is a target and the parameter that follows it."""

    of = Follow({"f": 0.1, "x": 0.5, "y": 0.25}, ("f",))

    @pytest.fixture
    def space(self) -> Space:
        return Space(f=Real(0, 4), x=Real(-1, 1), y=Real(-1, 1))


def test_every_learner_of_ours_has_its_laws() -> None:
    """Every exported and every registered one, with each of its strategies, samplers and estimators."""
    here = [c.of for c in globals().values() if inspect.isclass(c) and issubclass(c, Laws) and c is not Laws]
    here = [made for made in here if not isinstance(made, Priced)]  # a stand-in
    ours = {c for c in vars(idds_learners).values() if inspect.isclass(c) and hasattr(c, "ask")}
    assert ours | {e.load() for e in registered(LEARNERS).values()} == {type(made) for made in here}
    assert {made.strategy for made in here if isinstance(made, LevelSet)} == set(STRATEGIES)
    assert {made.sampler for made in here if isinstance(made, Optuna)} == set(SAMPLERS) - (set() if TORCH else {"gp"})
    estimators = set(ESTIMATORS) - {"GBRT"} if FULL else {"GP"}
    assert {made.estimator for made in here if isinstance(made, Skopt)} == estimators


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
