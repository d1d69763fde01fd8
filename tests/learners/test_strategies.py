"""How the points that go to the contour are chosen, strategy by strategy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from idds_core.testing.toys import CIRCLE, play
from idds_learners import LevelSet
from idds_learners.acquisition import Field, pick
from idds_learners.surrogate import GP
from tests.learners.test_acquisition import NOTHING, UNIT, circle, field_of

STRATEGIES = ("emv", "straddle", "poisson_disc", "timse")


def take(strategy: str, known: Any = NOTHING, n: int = 4, **more: Any) -> list[int]:
    fields = more.pop("fields", None) or [field_of(circle(), UNIT)]
    free = more.pop("free", np.ones(len(UNIT), bool))
    return pick(fields, UNIT, free, known, n, np.random.default_rng(2), more.pop("scores", None), strategy, **more)


def gaps(points: Any) -> Any:
    return np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(len(points))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_batch_is_spread_out_near_the_contour_and_the_same_twice(strategy: str) -> None:
    found = take(strategy, n=6)
    assert found == take(strategy, n=6)
    assert len(set(found)) == 6
    assert gaps(UNIT[found]).min() > 0.05
    a = field_of(circle(), UNIT).a
    assert np.median(a[found]) < 0.5 * np.median(a)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pending_point_is_not_asked_for_again(strategy: str) -> None:
    best = UNIT[take(strategy, n=1)]
    assert np.linalg.norm(UNIT[take(strategy, known=best, n=1)] - best) > 0.05


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_exhausted_pool_gives_fewer(strategy: str) -> None:
    free = np.zeros(len(UNIT), bool)
    free[[3, 500]] = True
    assert sorted(take(strategy, n=5, free=free)) == [3, 500]
    assert take(strategy, free=np.zeros(len(UNIT), bool)) == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_surely_cannot_exist_is_not_taken(strategy: str) -> None:
    left = np.where(UNIT[:, 0] < 0.5, 1.0, 0.0)
    assert (UNIT[take(strategy, n=8, feasible=left), 0] < 0.5).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_can_hardly_exist_is_taken_less_often(strategy: str) -> None:
    hardly = np.where(UNIT[:, 0] < 0.5, 1.0, 0.05)
    assert (UNIT[take(strategy, n=8), 0] < 0.5).sum() < (UNIT[take(strategy, n=8, feasible=hardly), 0] < 0.5).sum()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_pick_has_a_score_of_its_own(strategy: str) -> None:
    scores: list[float] = []
    assert len(take(strategy, n=5, scores=scores)) == len(scores) == 5
    assert np.isfinite(scores).all()
    assert scores[0] >= max(scores)


def posterior(f: Field, more: Any) -> Any:
    """(N,) variances over the pool after measuring there, by conditioning all at once."""
    gp: GP = f.gp
    V = gp.project(more)[0]
    K = gp.covariance(more, more, V, V) + gp.noise_variance * np.eye(len(more))
    k = gp.covariance(UNIT, more, f.V, V)
    return f.sd**2 - np.einsum("ij,ij->i", k @ np.linalg.inv(K), k)


def test_the_straddle_is_its_definition_with_what_was_picked_before_taken_as_measured() -> None:
    f, scores = field_of(circle(), UNIT), []  # type: tuple[Field, list[float]]
    found = take("straddle", n=3, scores=scores)
    for i, (at, score) in enumerate(zip(found, scores, strict=True)):
        variance = posterior(f, UNIT[found[:i]]) if i else f.sd**2
        straddle = (1.96 * np.sqrt(variance) - np.abs(f.mean - f.threshold)) / f.gp.spread
        assert score == pytest.approx(straddle[at], rel=1e-6)


def test_the_targeted_error_is_its_definition() -> None:
    f, scores = field_of(circle(), UNIT), []  # type: tuple[Field, list[float]]
    found = take("timse", n=3, scores=scores)
    density = np.exp(-0.5 * f.a**2) / np.sqrt(2 * np.pi) / f.sd
    taken = density * (f.sd**2 - posterior(f, UNIT[found])) / f.gp.spread
    assert sum(scores) == pytest.approx(taken.mean(), rel=0.1)  # integrated over half of the pool


def test_poisson_discs_lie_in_the_band_and_keep_their_radius_from_all_points() -> None:
    f, scores = field_of(circle(), UNIT), []  # type: tuple[Field, list[float]]
    found = take("poisson_disc", n=6, scores=scores)
    band = max(1.96, np.sort(f.a)[5])
    assert (f.a[found] <= band).all()
    all_of_them = np.vstack([UNIT[found], f.gp.X])
    assert (gaps(all_of_them)[:6].min(axis=1) >= min(scores)).all()
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_circle_is_found_and_the_reason_names_the_strategy(strategy: str) -> None:
    learner = LevelSet("f", level=CIRCLE.level, transform="none", strategy=strategy)
    history = list(play(learner, CIRCLE.space, CIRCLE.observe))[-1]
    share = history.iterations[-1].diagnostics["targets"]["f"]["excluded_share"]
    assert share == pytest.approx(CIRCLE.excluded_share, rel=0.02)
    why = learner.ask(history, 4).chosen[0]
    assert why["why"] == ("refine" if strategy == "emv" else strategy)
    assert why["score"]
