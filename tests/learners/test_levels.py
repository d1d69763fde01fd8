"""Levels that are expressions of the parameters, and several contours of one target."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from idds_core.contour import grid_map
from idds_core.history import History, Observation
from idds_core.plugins import LEARNERS, build, describe
from idds_core.space import Log, Real, Space
from idds_core.testing.toys import play
from idds_learners import LevelSet
from idds_learners.levels import Level
from idds_learners.mapping import Maps

SPACE = Space(m=Real(200.0, 1200.0, unit="GeV"), g=Log(0.1, 2.0))
THEORY = "{} * g * g * exp(-m / 180)"
BAND = {"limit": {name: THEORY.format(10 * factor) for name, factor in (("nominal", 1), ("up", 1.4), ("down", 0.7))}}


def limit(_: int, point: Mapping[str, Any]) -> Observation:
    """A cross section in pb that falls slowly with the mass."""
    return Observation({"limit": 0.02 + 2.0 * float(np.exp(-point["m"] / 250.0))})


def played(learner: LevelSet, seed: int = 1) -> History:
    *_, history = play(learner, SPACE, limit, seed=seed, batches=(10, 8, 8), targets=("limit",))
    return history


def map_of(learner: LevelSet, history: History) -> Maps:
    maps = learner.surrogate(history)
    assert maps is not None
    return maps


def wrong(maps: Maps, contour: str, factor: float) -> float:
    """The share of the space that the map puts on the wrong side."""
    points = SPACE.from_unit(np.random.default_rng(0).random((3000, 2)))
    truth = [limit(0, p).values["limit"] < factor * p["g"] ** 2 * np.exp(-p["m"] / 180.0) for p in points]
    return float(np.mean((maps.predict(points)[contour].p_excluded > 0.5) != truth))


def test_a_limit_is_compared_with_the_theory_at_each_point() -> None:
    learner = LevelSet("limit", level=THEORY.format(10), transform="log")
    maps = map_of(learner, played(learner))
    assert maps.targets == ("limit",)
    assert wrong(maps, "limit", 10.0) < 0.01


def test_the_contours_of_a_theory_s_band_come_from_the_same_evaluations() -> None:
    learner = LevelSet("limit", level=BAND, transform="log")
    history = played(learner)
    maps = map_of(learner, history)
    assert maps.targets == ("limit.nominal", "limit.up", "limit.down")
    assert [wrong(maps, f"limit.{n}", 10 * k) < 0.01 for n, k in (("nominal", 1), ("up", 1.4), ("down", 0.7))] == [
        True
    ] * 3
    told = history.iterations[-1].diagnostics["targets"]
    assert (
        told["limit.up"]["excluded_share"]
        > told["limit.nominal"]["excluded_share"]
        > told["limit.down"]["excluded_share"]
    )
    assert history.iterations[-1].diagnostics["emv"] == max(t["emv"] for t in told.values())


def test_lines_are_where_the_prediction_is_at_the_level_of_the_place() -> None:
    learner = LevelSet("limit", level=THEORY.format(10), transform="log")
    grid = grid_map(map_of(learner, played(learner)), SPACE, 81)
    points = np.vstack(grid.lines("limit"))
    theory = 10 * points[:, 1] ** 2 * np.exp(-points[:, 0] / 180)
    truth = np.array([limit(0, {"m": m}).values["limit"] for m in points[:, 0]])
    assert np.abs(np.log(theory / truth)).max() < 0.1


def test_an_expression_that_is_constant_is_as_good_as_its_number() -> None:
    history = played(LevelSet("limit", level=0.1, transform="log"))
    points = SPACE.from_unit(np.random.default_rng(1).random((200, 2)))
    number, text = (map_of(LevelSet("limit", level=v, transform="log", squash=None), history).predict(points)["limit"]
                    for v in (0.1, "0.1"))  # fmt: skip
    assert text.p_excluded == pytest.approx(number.p_excluded, abs=1e-6)


def test_the_same_history_gives_the_same_answer() -> None:
    learner = LevelSet("limit", level=BAND, transform="log")
    history = played(learner)
    assert learner.ask(History.from_json(history.to_json()), 4) == learner.ask(history, 4)
    assert build(describe(learner, LEARNERS), LEARNERS) == learner


@pytest.mark.parametrize("strategy", ["emv", "straddle", "poisson_disc", "timse"])
def test_every_strategy_takes_a_level_that_moves(strategy: str) -> None:
    learner = LevelSet("limit", level=THEORY.format(10), transform="log", strategy=strategy)
    assert wrong(map_of(learner, played(learner)), "limit", 10.0) < 0.02


@pytest.mark.parametrize(
    ("level", "transform", "text"),
    [
        ("exp(-mass)", "log", "level 'exp(-mass)' of limit cannot be used: unknown name 'mass'"),
        ("m - 300", "log", "level 'm - 300' of limit has no log: it is -100 at m = 200, g = 0.1"),
        ("m / 300", "probit", "level 'm / 300' of limit has no probit: it is"),
        ("1 / (m - 200)", "none", "level '1 / (m - 200)' of limit is not finite: it is inf at m = 200"),
        ("m > 300", "none", "level 'm > 300' of limit is true or false, no number"),
        ({"limit": {"up": "m -"}}, "none", "level 'm -' of limit.up cannot be used"),
    ],
)
def test_what_is_wrong_with_an_expression_is_said_in_a_line(level: Any, transform: str, text: str) -> None:
    learner = LevelSet("limit", level=level, transform=transform)
    assert learner.problems() == []
    (found,) = learner.problems_in(SPACE)
    assert found.startswith(text)


def test_a_level_without_a_transform_at_a_point_is_said_when_it_is_met() -> None:
    from idds_core.errors import IddsError

    with pytest.raises(IddsError, match="E-LEARNER-007 the level 'm - 300' has no log: it is -100 at m = 200"):
        Level("m - 300", "log", SPACE)(np.array([[0.0, 0.0]]))


@pytest.mark.parametrize("excluded", ["below", "above"])
def test_the_contour_that_excludes_less_counts_more(excluded: str) -> None:
    history = played(LevelSet("limit", level=BAND, transform="log"))
    maps = map_of(LevelSet("limit", level=BAND, transform="log", excluded=excluded), history)
    unit = np.random.default_rng(0).random((500, 2))
    fields, said = maps.fields(unit), maps.predict_unit(unit)
    shares = [float(np.mean(said[t].p_excluded > 0.5)) for t in maps.targets]
    weights = [fields[t].weight for t in maps.targets]
    assert np.mean(weights) == pytest.approx(1.0)
    assert np.array(weights) * shares == pytest.approx([weights[0] * shares[0]] * 3)


def test_a_contour_alone_counts_as_one() -> None:
    learner = LevelSet("limit", level=THEORY.format(10), transform="log")
    assert map_of(learner, played(learner)).fields(np.random.default_rng(0).random((50, 2)))["limit"].weight == 1.0
