"""A factor that grows is the factor that is made at once."""

from typing import Any

import numpy as np
import pytest

from idds_learners import factor as memo
from idds_learners.factor import BLOCK, Factor
from idds_learners.kernel import matern

THETA = np.array([np.log(0.4), np.log(0.9), -1.0, 0.3, 0.2, np.log(1e-4)])
X, U = np.random.default_rng(0).random((3 * BLOCK + 10, 2)), np.random.default_rng(1).random((50, 2))
EXTRA = np.linspace(1e-4, 1e-2, len(X))


def new() -> Factor:
    return Factor(lambda A, B: matern(A, B, THETA), 1e-8)


def at(found: Factor, n: int) -> Any:
    L, inverse = found.solve(X[:n], EXTRA[:n])
    return L, inverse, found.project(X[:n], L, U)


@pytest.mark.parametrize("n", [1, 10, BLOCK, BLOCK + 1, 3 * BLOCK + 10])
def test_it_is_the_cholesky_factor_with_its_inverse_and_its_projection(n: int) -> None:
    L, inverse, V = at(new(), n)
    K = matern(X[:n], X[:n], THETA) + np.diag(EXTRA[:n] + 1e-8)
    np.testing.assert_allclose(L @ L.T, K, atol=1e-12)
    np.testing.assert_allclose(inverse @ L, np.eye(n), atol=1e-8)
    np.testing.assert_allclose(L @ V, matern(X[:n], U, THETA), atol=1e-10)


@pytest.mark.parametrize("way", [[20, 70, 140, 150, len(X)], [130, 10, 200, len(X)], [len(X), len(X)]])
def test_grown_in_any_steps_it_is_the_same_to_the_last_digit(way: list[int]) -> None:
    grown = new()
    found = [at(grown, n) for n in way][-1]
    for a, b in zip(found, at(new(), len(X)), strict=True):
        assert (a == b).all()


def test_other_points_or_another_noise_are_not_taken_for_the_old_ones() -> None:
    grown = new()
    at(grown, 150)
    moved = X.copy()
    moved[3] += 0.01
    for x, extra in ((moved, EXTRA), (X, 2 * EXTRA)):
        for a, b in zip(grown.solve(x, extra), new().solve(x, extra), strict=True):
            assert (a == b).all()


def test_another_pool_is_not_taken_for_the_old_one() -> None:
    grown = new()
    L = at(grown, 150)[0]
    np.testing.assert_allclose(L @ grown.project(X[:150], L, 1 - U), matern(X[:150], 1 - U, THETA), atol=1e-10)


def test_what_is_kept_is_bounded_and_the_newest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "_KEPT", 1_000_000)
    for key in (b"a", b"b", b"c", b"d"):
        at(memo.factor(key, lambda A, B: matern(A, B, THETA), 1e-8), 200)
    last = memo.factor(b"d", lambda A, B: matern(A, B, THETA), 1e-8)
    assert last.bytes > 0
    assert memo.factor(b"a", lambda A, B: matern(A, B, THETA), 1e-8).bytes == 0
