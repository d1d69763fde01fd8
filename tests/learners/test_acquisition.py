"""Where to measure next."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from idds_learners.acquisition import Field, _Gain, distances, expected_misclassified, gain_table, maximin, pick
from idds_learners.surrogate import GP, Fitted, fit


@pytest.mark.parametrize(("a", "rho"), [(0.0, 0.5), (0.3, 0.9), (1.0, 0.7), (1.5, 0.99), (2.5, 0.3)])
def test_the_owen_formula_is_what_monte_carlo_finds(a: float, rho: float) -> None:
    draws = ndtri((np.arange(400_000) + 0.5) / 400_000)  # stratified: every quantile of the normal once
    after = (a + rho * draws) / np.sqrt(1 - rho**2)  # posterior mean over the sd that is left, for every outcome
    assert expected_misclassified(np.array(a), np.array(rho)) == pytest.approx(ndtr(-np.abs(after)).mean(), abs=1e-4)


def test_its_ends_are_nothing_learnt_and_everything_known() -> None:
    a = np.array([0.0, 0.7, 3.0])
    np.testing.assert_allclose(expected_misclassified(a, np.zeros(3)), ndtr(-a))
    np.testing.assert_allclose(expected_misclassified(a, np.ones(3)), 0.0, atol=1e-15)


def test_the_table_agrees_with_the_formula() -> None:
    rng = np.random.default_rng(0)
    a, share = rng.random(300) * 5.5, rng.random((4, 300))
    exact = ndtr(-a) - expected_misclassified(np.broadcast_to(a, share.shape), np.sqrt(share))
    np.testing.assert_allclose(_Gain(a)(share), exact, rtol=0, atol=1e-4)
    assert gain_table().shape == (256, 256)


def circle(n: int = 12, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    y = ((X - 0.5) ** 2).sum(1) - 0.1
    return GP(X, y, np.zeros(n), fit(X, y, np.zeros(n)))


def field_of(gp: Any, unit: Any) -> Any:
    V, mean = gp.project(unit)
    return Field(gp, 0.0, mean, np.sqrt(gp.variance(V)), V)


UNIT = np.random.default_rng(1).random((1024, 2))
NOTHING = np.empty((0, 2))


def take(known: Any = NOTHING, n: int = 4, free: Any = None, fields: Any = None) -> Any:
    free = np.ones(len(UNIT), bool) if free is None else free
    return pick(fields or [field_of(circle(), UNIT)], UNIT, free, known, n, np.random.default_rng(2))


def test_a_batch_has_no_repetition_and_is_the_same_twice() -> None:
    assert len(set(take(n=8))) == 8
    assert take(n=8) == take(n=8)


def test_the_first_pick_lowers_the_expected_error_more_than_a_random_point() -> None:
    gp = circle()
    f = field_of(gp, UNIT)

    def left(i: Any) -> Any:
        k = gp.covariance(UNIT, UNIT[[i]], f.V, f.V[:, [i]])[:, 0]
        share = k**2 / (f.sd[i] ** 2 + gp.noise_variance) / f.sd**2
        return expected_misclassified(f.a, np.sqrt(np.clip(share, 0, 1))).mean()

    everywhere = np.array([left(i) for i in range(0, 1024, 16)])
    assert left(take(n=1)[0]) < np.quantile(everywhere, 0.05)


def test_a_batch_spreads_out() -> None:
    points = UNIT[take(n=6)]
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(6)
    assert gaps.min() > 0.05


def test_a_pending_point_is_not_asked_for_again() -> None:
    best = UNIT[take(n=1)]
    assert np.linalg.norm(UNIT[take(known=best, n=1)] - best) > 0.05


def test_only_free_points_are_taken_and_an_exhausted_pool_gives_fewer() -> None:
    free = np.zeros(len(UNIT), bool)
    free[[3, 500]] = True
    assert sorted(take(n=5, free=free)) == [3, 500]
    assert take(n=5, free=np.zeros(len(UNIT), bool)) == []


def test_ties_go_to_the_lowest_index() -> None:
    unit = np.tile(UNIT[:1], (600, 1))
    gp = circle()
    free = np.ones(600, bool)
    free[300:] = False
    free[:100] = False
    found = pick([field_of(gp, unit)], unit, free, NOTHING, 1, np.random.default_rng(0))
    assert found == [100]


def test_several_targets_are_served_together() -> None:
    gp, other = circle(), circle(seed=4)
    far = GP(
        other.X, other.y + 5.0, other.noise, Fitted(other.theta, other.centre + 5.0, other.spread)
    )  # nothing to decide there
    both = take(fields=[field_of(gp, UNIT), field_of(far, UNIT)], n=1)
    assert np.abs(field_of(gp, UNIT).a[both[0]]) < 3.0


def test_maximin_goes_where_nobody_has_looked_and_not_into_corners() -> None:
    known = np.random.default_rng(0).random((60, 2)) * [0.5, 1.0]
    first, second = UNIT[maximin(UNIT, np.ones(1024, bool), known, 2)]
    assert first[0] > 0.6
    assert min(first.min(), 1 - first.max()) > 0.05
    assert np.linalg.norm(first - second) > 0.1


def test_distances_to_many_points_are_those_to_the_nearest_of_them() -> None:
    rng = np.random.default_rng(2)
    unit, known = rng.random((50, 3)), rng.random((5000, 3))
    expected = np.sqrt(((unit[:, None] - known[None]) ** 2).sum(2)).min(1)
    np.testing.assert_allclose(distances(unit, known), expected, atol=1e-7)


def test_maximin_is_its_definition() -> None:
    known = UNIT[:10]
    nearest = np.linalg.norm(UNIT[:, None] - known[None], axis=2).min(1)
    score = np.minimum(nearest, 2 * np.minimum(UNIT, 1 - UNIT).min(1) + 0.05)
    assert maximin(UNIT, np.ones(1024, bool), known, 1) == [int(np.argmax(score))]


def test_points_go_to_the_target_that_counts_more() -> None:
    left, right = UNIT[:, 0] < 0.5, UNIT[:, 0] >= 0.5
    field = field_of(circle(), UNIT)
    fields = [replace(field, mean=np.where(side, field.mean, 9.0)) for side in (left, right)]

    def on_the_left(weight: float) -> int:
        return int(left[take(n=6, fields=[replace(fields[0], weight=weight), fields[1]])].sum())

    assert on_the_left(0.05) < on_the_left(1.0) < on_the_left(20.0)
