"""Points that end infeasible teach the learner of contours where points cannot exist."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from idds_core.history import History
from idds_core.space import Integer, Real, Space
from idds_core.states import PointState
from idds_core.testing.toys import CIRCLE, play
from idds_learners import LevelSet, Sobol, factor, feasibility
from idds_learners.feasibility import SURE, probability, process

GRID = np.stack(np.meshgrid(*[np.linspace(-0.99, 0.99, 67)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)


def possible(x: Any, y: Any) -> Any:
    """Two thirds of the square."""
    return x + 0.3 * y <= 1 / 3


def outcome(number: int, p: Mapping[str, Any]) -> Any:
    return CIRCLE.observe(number, p) if possible(p["x"], p["y"]) else PointState.INFEASIBLE


def learner(**more: Any) -> LevelSet:
    return LevelSet("f", level=CIRCLE.level, transform="none", **more)


def run(seed: int = 1, **more: Any) -> History:
    return list(play(learner(**more), CIRCLE.space, outcome, seed=seed, batches=(10, 6, 6, 6, 6)))[-1]


def error(history: History) -> float:
    """The misclassified share of what can exist."""
    maps = learner().surrogate(history)
    assert maps is not None
    there = GRID[possible(*GRID.T)]
    found = maps.predict([{"x": x, "y": y} for x, y in there.tolist()])["f"].p_excluded > 0.5
    return float(np.mean(found != ((there**2).sum(axis=1) < CIRCLE.level)))


def test_far_fewer_infeasible_points_are_proposed_and_the_contour_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = (1, 2, 3)
    learnt = [run(seed) for seed in seeds]
    monkeypatch.setattr(feasibility, "of_history", lambda history: None)
    blind = [run(seed) for seed in seeds]
    first = [sum(p.state is PointState.INFEASIBLE for p in h.points[:10]) for h in learnt]
    more = [sum(len(h.infeasible) for h in runs) - sum(first) for runs in (learnt, blind)]
    assert more[0] < 0.6 * more[1]
    assert max(map(error, learnt)) < 0.003
    assert np.mean([*map(error, learnt)]) <= np.mean([*map(error, blind)]) + 1e-3


@pytest.mark.parametrize("strategy", ["straddle", "poisson_disc", "timse"])
def test_every_strategy_learns_where_points_cannot_exist(strategy: str) -> None:
    history = run(strategy=strategy)
    assert sum(p.state is PointState.INFEASIBLE for p in history.points[10:]) <= 8  # of 24, a third of them by chance
    assert error(history) < 0.005


def test_shares_are_those_of_what_can_exist() -> None:
    told = run().iterations[-1].diagnostics
    assert told["feasible_share"] == pytest.approx(2 / 3, abs=0.08)
    truth = float(np.mean((GRID[possible(*GRID.T)] ** 2).sum(axis=1) < CIRCLE.level))
    assert told["targets"]["f"]["excluded_share"] == pytest.approx(truth, abs=0.05)
    assert abs(truth - CIRCLE.excluded_share) > 0.03


def test_without_an_infeasible_point_everything_is_possible() -> None:
    history = list(play(learner(), CIRCLE.space, CIRCLE.observe))[-1]
    assert history.iterations[-1].diagnostics["feasible_share"] == 1.0


def test_a_point_says_something_of_its_neighbourhood_only() -> None:
    gp = process(np.array([[0.2, 0.2], [0.8, 0.8], [0.9, 0.2]]), np.array([1.0, 1.0, -1.0]))
    good, bad, far = probability(gp, np.array([[0.2, 0.25], [0.9, 0.21], [0.1, 0.9]]))
    assert good > 0.9
    assert bad == 0.0
    assert SURE < far < 1.0


def test_where_nothing_would_be_left_the_process_is_not_believed() -> None:
    at = np.array([[0.2, 0.2], [0.8, 0.8], [0.5, 0.5]])
    gp = process(at, np.array([1.0, -1.0, -1.0]))
    np.testing.assert_array_equal(probability(gp, at[1:]), [1.0, 1.0])


def test_when_only_the_impossible_is_left_it_is_proposed_all_the_same() -> None:
    space = Space(n=Integer(0, 9))
    small = LevelSet("f", level=3.5, transform="none", first=5)

    def half(number: int, p: Mapping[str, Any]) -> Any:
        return CIRCLE.observe(number, {"x": float(p["n"]), "y": 0.0}) if p["n"] < 5 else PointState.INFEASIBLE

    history = list(play(small, space, half, batches=(5, 2, 2, 2, 2)))[-1]
    assert len(history.points) == 10


def test_the_order_in_which_points_are_listed_does_not_matter() -> None:
    history = run()
    turned = dataclasses.replace(history, points=history.points[::-1])
    assert learner().ask(history, 6) == learner().ask(turned, 6)


def test_a_space_of_which_most_cannot_exist_is_learnt() -> None:
    space = Space(x=Real(-1.0, 1.0), y=Real(-1.0, 1.0))

    def corner(number: int, p: Mapping[str, Any]) -> Any:
        return CIRCLE.observe(number, p) if p["x"] < 0 and p["y"] < 0 else PointState.INFEASIBLE

    history = list(play(learner(first=16), space, corner, batches=(16, 8, 8, 8)))[-1]
    assert len(history.measured) >= 4 + 14


def test_an_answer_is_the_same_whatever_was_worked_out_before() -> None:
    history = list(play(learner(), CIRCLE.space, outcome, batches=(10, *[20] * 5)))[-1]
    assert len(history.points) > 100
    warm = learner().ask(history, 6)
    factor._kept.clear()
    assert learner().ask(history, 6) == warm


def test_the_first_design_passes_over_what_surely_cannot_exist() -> None:
    history = run().as_asked(2)
    wide = learner(first=60).ask(history, 40)
    sobol = Sobol().ask(history, 40).points
    assert {why["why"] for why in wide.chosen} == {"first design"}
    can = [sum(possible(p["x"], p["y"]) for p in points) for points in (wide.points, sobol)]
    assert can[0] > can[1]
