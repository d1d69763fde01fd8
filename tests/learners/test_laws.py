"""Every learner of ours keeps the laws."""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest

import idds_learners
from idds_core.history import History
from idds_core.plugins import LEARNERS, registered
from idds_core.ports import Proposal
from idds_core.space import Real, Space
from idds_core.testing.learner_laws import LearnerLaws
from idds_core.testing.toys import CIRCLE
from idds_learners import AskTell, CommandLearner, Follow, Gest, Grid, LevelSet, Optimum, Optuna, Random, Skopt, Sobol
from idds_learners.level_set import STRATEGIES
from idds_learners.optuna_sampler import SAMPLERS
from idds_learners.skopt_optimizer import ESTIMATORS


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


class TestOptunasProcess(Laws):
    apart = 0.0  # it does not know of what is pending
    examples = 1
    of = Optuna(sampler="gp")

    @pytest.fixture
    def learner(self) -> Any:
        if find_spec("torch") is None:
            pytest.skip("Optuna's GP sampler needs torch: pip install torch")
        return self.of


class TestSkopt(Laws):
    examples = 1
    of = Skopt("f", acquisition="EI", first=26)  # a fit is dear: three batches are a design


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
    examples = 5
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
    ours = {c for c in vars(idds_learners).values() if inspect.isclass(c) and hasattr(c, "ask")}
    assert ours | {e.load() for e in registered(LEARNERS).values()} == {type(made) for made in here}
    assert {made.strategy for made in here if isinstance(made, LevelSet)} == set(STRATEGIES)
    assert {made.sampler for made in here if isinstance(made, Optuna)} == set(SAMPLERS)
    assert {made.estimator for made in here if isinstance(made, Skopt)} == set(ESTIMATORS) - {"GBRT"}


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
