"""A cheap approximation as the trend of the mean."""

import dataclasses
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from idds_core.errors import IddsError
from idds_core.history import History, Observation, Point
from idds_core.space import Log, Real, Space
from idds_core.states import PointState
from idds_core.testing.toys import play
from idds_learners import LevelSet
from idds_learners.transform import Scale
from idds_learners.trend import maps_of, trend_of

SPACE = Space(mass=Real(100.0, 1000.0, unit="GeV"), g=Log(0.1, 1.0))


def theory(mass: Any, g: Any) -> Any:
    """What is known of log mu: minus the log of a cross section."""
    return 0.02 * mass - 2.0 * np.log(g) + 3.0 * np.sin(mass / 40.0)


def observe(_: int, p: Any) -> Observation:
    return Observation({"mu": float(np.exp(theory(p["mass"], p["g"]) - 9.0 + 0.002 * p["mass"]))})


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("my_theory")
    module.theory, module.broken = theory, lambda mass, g: 1 / 0  # type: ignore[attr-defined]
    module.hole = lambda mass, g: np.log(mass - 500.0 + 0.0 * g)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_theory", module)


def wrong(learner: LevelSet) -> float:
    history = list(play(learner, SPACE, observe, targets=("mu",), batches=(10, 4)))[-1]
    maps = learner.surrogate(history)
    assert maps is not None
    u = np.random.default_rng(0).random((2000, 2))
    points = SPACE.from_unit(u)
    truth = np.array([observe(0, p).values["mu"] < 1.0 for p in points])
    return float(np.mean((maps.predict(points)["mu"].p_excluded > 0.5) != truth))


def test_with_it_the_contour_is_known_after_a_few_points() -> None:
    plain = LevelSet("mu", level=1.0, transform="log")
    assert wrong(dataclasses.replace(plain, trend="my_theory:theory")) < 0.005 < wrong(plain)


def test_a_function_is_named_by_where_it_is() -> None:
    assert LevelSet("mu", transform="log", level=1.0, trend=theory).trend == f"{__name__}:theory"  # type: ignore[arg-type]
    by_target = LevelSet(["a", "b"], level=1.0, transform="log", trend={"a": "my_theory:theory"})
    assert by_target.problems() == []
    assert by_target.scales()["a"].squash is None
    assert by_target.scales()["b"].squash is not None


@pytest.mark.parametrize(
    ("name", "text"),
    [("my_theory:nothing", "nothing"), ("no_such_module_here:f", "no_such_module_here"),
     ("my_theory:broken", "ZeroDivisionError"), ("my_theory:hole", "at some point of the space")],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:invalid value")
def test_one_that_cannot_be_used_is_an_error_that_says_why(name: str, text: str) -> None:
    with pytest.raises(IddsError, match=rf"E-LEARNER-013 trend {name} cannot be used: .*{text}"):
        trend_of(name, History(SPACE), Scale("log", 1.0))(np.random.default_rng(0).random((20, 2)))


def test_the_same_history_gives_the_same_points_with_it() -> None:
    learner = LevelSet("mu", level=1.0, transform="log", trend="my_theory:theory")
    first, again = (list(play(learner, SPACE, observe, targets=("mu",), batches=(10, 4)))[-1] for _ in range(2))
    assert first == again


def measured_before(n: int) -> History:
    """A fast simulation that is off by a slope: what a loop before this one has measured, in a wider space."""
    space = Space(mass=Real(50.0, 1200.0), g=Log(0.05, 2.0))
    points = space.from_unit(np.random.default_rng(1).random((n, 2)))
    mu = [float(np.exp(theory(p["mass"], p["g"]) - 9.5)) for p in points]
    return History(space, 0, ("mu",), tuple(Point(i, 1, p, PointState.MEASURED, Observation({"mu": v}))
                                            for i, (p, v) in enumerate(zip(points, mu, strict=True), 1)))  # fmt: skip


def test_what_a_loop_before_it_has_measured_is_a_trend_wherever_the_level_may_be() -> None:
    history = History(SPACE, earlier={"quick": measured_before(400)})
    trend = trend_of("quick.mu", history, Scale("log", 1.0))
    u = np.random.default_rng(0).random((500, 2))
    truth = np.array([theory(p["mass"], p["g"]) - 9.5 for p in SPACE.from_unit(u)])
    near = np.abs(truth) < 3.0
    assert np.sqrt(np.mean((trend(u) - truth)[near] ** 2)) < 0.3
    assert maps_of(trend) is maps_of(trend_of("quick.mu", history, Scale("log", 1.0, near=0.9)))


def test_a_trend_is_kept_within_what_was_measured() -> None:
    trend = trend_of("quick.mu", History(SPACE, earlier={"quick": measured_before(8)}), Scale("log", 1.0))
    low, high = trend.range  # type: ignore[attr-defined]
    found = trend(np.random.default_rng(0).random((500, 2)))
    assert low <= found.min() < found.max() <= high


@pytest.mark.parametrize(
    ("earlier", "text"),
    [({}, "the history holds no loop quick"), ({"quick": measured_before(2)}, "quick has measured 2 points; 3 are")],
)
def test_a_loop_that_cannot_be_a_trend_is_an_error_that_says_why(earlier: dict[str, History], text: str) -> None:
    with pytest.raises(IddsError, match=f"E-LEARNER-013 trend quick.mu cannot be used: {text}"):
        trend_of("quick.mu", History(SPACE, earlier=earlier), Scale("log", 1.0))


def test_a_history_with_an_earlier_one_is_its_json() -> None:
    history = History(SPACE, earlier={"quick": measured_before(3)})
    assert History.from_json(history.to_json()) == history
    assert "earlier" not in History(SPACE).to_json()
