"""Values that are only bounds: what the learner makes of them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks.problems import PROBLEMS, Benchmark
from benchmarks.runs import level_set, misclassified
from idds_core.history import History, Observation, Point
from idds_core.space import Real, Space
from idds_core.states import PointState
from idds_core.testing.toys import CIRCLE, Outcome, play
from idds_learners import LevelSet
from idds_learners.censoring import sites
from idds_learners.mapping import Maps


def beyond(problem: Benchmark, limit: float, how: str) -> Any:
    """Measures f up to the end of a scan's range, and says of what lies beyond what `how` names."""

    def measure(_: int, point: Mapping[str, Any]) -> Outcome:
        f = problem.at(point)
        if f > limit and how == "dropped":
            return PointState.FAILED
        seen = min(f, limit)
        value = math.exp(seen) if problem.transform == "log" else seen
        return Observation({"f": value}, censored={"f": "above"} if f > limit and how == "censored" else {})

    return measure


def median_error(problem: Benchmark, limit: float, how: str) -> float:
    """Of the misclassified share after 38 evaluations, over ten seeds."""
    found = []
    for seed in range(200, 210):
        learner = level_set(problem)
        batches = (problem.first, 14, 38 - problem.first - 14)
        *_, history = play(learner, problem.space, beyond(problem, limit, how), seed=seed, batches=batches)
        maps = map_of(learner, history)
        found.append(misclassified(problem, maps.predict_unit(problem.truth()[0])["f"].p_excluded > 0.5))
    return float(np.median(found))


def map_of(learner: LevelSet, history: History) -> Maps:
    maps = learner.surrogate(history)
    assert maps is not None
    return maps


def seen(_: int, point: Mapping[str, Any]) -> Observation:
    """The circle's value, known up to 0.5."""
    f = CIRCLE.observe(1, point).values["f"]
    return Observation({"f": min(f, 0.5)}, censored={"f": "above"} if f > 0.5 else {})


def bounded(seed: int = 1, batches: tuple[int, ...] = (10, 8, 8)) -> list[History]:
    return list(play(CIRCLE_SET, CIRCLE.space, seen, seed=seed, batches=batches))


CIRCLE_SET = LevelSet("f", level=CIRCLE.level, transform="none")


@pytest.mark.parametrize(("name", "limit"), [("fast2D", 2.0), ("fast2D", 4.0)])
def test_a_bound_taken_as_such_beats_dropping_it_and_taking_it_at_its_word(name: str, limit: float) -> None:
    errors = {how: median_error(PROBLEMS[name], limit, how) for how in ("censored", "word", "dropped")}
    assert errors["censored"] < errors["word"]
    assert errors["censored"] < errors["dropped"]


def test_a_single_bound_has_the_moments_of_a_normal_distribution_that_is_cut_off() -> None:
    rng = np.random.default_rng(1)
    drawn = rng.normal(0.3, 1.2, 400_000)
    value, sd = sites(np.array([0.3]), np.array([[1.44]]), np.array([1.0]), np.array([1.0]))
    precision = 1 / 1.44 + 1 / sd[0] ** 2
    kept = drawn[drawn > 1.0]
    assert (0.3 / 1.44 + value[0] / sd[0] ** 2) / precision == pytest.approx(kept.mean(), abs=0.01)
    assert 1 / math.sqrt(precision) == pytest.approx(kept.std(), abs=0.01)


def test_bounds_that_hang_together_are_close_to_what_sampling_gives() -> None:
    rng = np.random.default_rng(2)
    covariance = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, 0.5], [0.3, 0.5, 1.0]])
    mean, bound, side = np.array([0.0, 0.5, -0.2]), np.array([0.5, 0.2, 0.6]), np.array([1.0, 1.0, -1.0])
    value, sd = sites(mean, covariance, bound, side)
    posterior = np.linalg.inv(np.linalg.inv(covariance) + np.diag(1 / sd**2))
    found = posterior @ (np.linalg.solve(covariance, mean) + value / sd**2)
    drawn = rng.multivariate_normal(mean, covariance, 400_000)
    kept = drawn[(side * (drawn - bound) > 0).all(axis=1)]
    assert found == pytest.approx(kept.mean(axis=0), abs=0.03)
    assert np.sqrt(np.diag(posterior)) == pytest.approx(kept.std(axis=0), abs=0.03)


def test_the_order_of_bounds_is_irrelevant() -> None:
    rng = np.random.default_rng(3)
    A = rng.normal(size=(30, 30))
    mean, covariance, order = rng.normal(size=30), A @ A.T / 30 + 0.1 * np.eye(30), rng.permutation(30)
    bound, side = rng.normal(size=30), rng.choice([-1.0, 1.0], 30)
    value, sd = sites(mean, covariance, bound, side)
    again, width = sites(mean[order], covariance[np.ix_(order, order)], bound[order], side[order])
    assert again == pytest.approx(value[order], rel=1e-6)
    assert width == pytest.approx(sd[order], rel=1e-6)


@pytest.mark.parametrize("bound", [-1e3, -40.0, 40.0, 1e3])
def test_a_bound_that_is_surely_met_or_surely_missed_has_finite_numbers(bound: float) -> None:
    value, sd = sites(np.zeros(2), np.eye(2) * 0.5 + 0.5, np.array([bound, bound]), np.ones(2))
    assert np.isfinite([*value, *sd]).all()
    if bound < 0:
        assert sd.min() > 1e3


def test_the_same_history_with_bounds_gives_the_same_answer_in_any_order() -> None:
    history = bounded()[-1]
    assert any(p.observation and p.observation.censored for p in history.points)
    mixed = dataclasses.replace(history, points=tuple(reversed(history.points)))
    asked = CIRCLE_SET.ask(history, 4)
    assert CIRCLE_SET.ask(mixed, 4) == asked
    assert CIRCLE_SET.ask(History.from_json(history.to_json()), 4) == asked


def test_a_bound_pushes_the_map_to_its_side_and_leaves_it_free_beyond() -> None:
    history = bounded()[-1]
    maps = map_of(CIRCLE_SET, history)
    cut = [p for p in history.points if p.observation and p.observation.censored]
    mean = maps.predict([p.parameters for p in cut])["f"].mean
    assert (mean > 0.45).all()
    assert mean.max() > 0.7  # the truth goes up to 2


def test_bounds_are_counted_and_have_no_residuals() -> None:
    *_, before, last = bounded()
    number = sum(bool(p.observation and p.observation.censored) for p in last.measured)
    new = [p for p in last.measured if p.iteration == len(last.iterations)]
    exact = sum(not p.observation.censored for p in new if p.observation)
    told = last.iterations[-1].diagnostics
    assert told["targets"]["f"]["n_censored"] == number
    assert len(told["residuals"]["f"]) == exact
    assert before.iterations


def test_too_few_values_beside_the_bounds_are_no_reason_to_give_up() -> None:
    space = Space(x=Real(0, 1))
    points = tuple(
        Point(i, 1, {"x": x}, PointState.MEASURED, Observation({"f": 5.0}, censored={"f": "above"}))
        for i, x in enumerate((0.1, 0.4, 0.6, 0.9), 1)
    )
    maps = map_of(LevelSet("f", level=1.0, transform="log"), History(space, 1, ("f",), points))
    assert (maps.predict([{"x": 0.5}])["f"].p_excluded < 0.5).all()


@pytest.mark.parametrize("sigma", [0.0, 0.01])
def test_a_cls_of_zero_is_a_bound_unless_its_sigma_is_known(sigma: float) -> None:
    space = Space(x=Real(0, 1))
    values = {0.1: 0.6, 0.3: 0.2, 0.5: 0.03, 0.7: 0.002, 0.9: 0.0}
    points = tuple(
        Point(i, 1, {"x": x}, PointState.MEASURED, Observation({"f": v}, {"f": sigma} if sigma else {}))
        for i, (x, v) in enumerate(values.items(), 1)
    )
    told = LevelSet("f", first=1).ask(History(space, 1, ("f",), points), 1).diagnostics
    assert told["targets"]["f"].get("n_censored") == (None if sigma else 1)
