"""A Gaussian process of many points by way of few: what an exact one would need n^2 numbers for is told by m of them.

The first points of a history are seen through m inducing points, some of them, spread as evenly as can be in units of
the lengthscales (each the farthest from those before it). With B = L^-1 K(Z, X) and L L' = K(Z, Z), each point has
what the inducing ones cannot tell of it as noise of its own, lambda_i = k(x_i, x_i) - |B_i|^2 + extra_i: that is FITC
[Snelson & Ghahramani, NIPS 2006; Quinonero-Candela & Rasmussen, JMLR 6 (2005) 1939]. All values count, so noise is
averaged; a value far from every inducing point bends nothing, and of a place far from them the process is not sure.
Its hyper-parameters are fitted exactly, to few points. Points that came in since, fewer than an eighth of those up to
which a process is exact, are conditioned on exactly, on top: so a batch tells all it can.

How many are seen through the inducing points depends on n alone, so a map is a function of its history. Rows are worked
out in the same blocks whether the first points are new or known: cold is warm.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.linalg.lapack import dpstrf

from idds_learners import kernel
from idds_learners.factor import Factor, remember
from idds_learners.kernel import matern
from idds_learners.surrogate import GP, JITTER, LooErrors, basis, cholesky_of, inverse_of

__all__ = ["EXACT", "Inducing", "spread_out"]

Array = NDArray[np.float64]

#: points up to which a process is exact: there both take as long, and an exact one of 2000 keeps 130 MB
EXACT = 2000
#: columns that are worked out at a time
_CHUNK = 512
#: points that are not inducing ones at which the process is tested, at most
_LEFT = 512
#: what is smaller, beside the largest, is rounding
_ROUNDING = 1e-15


def spread_out(X: Array, m: int) -> NDArray[np.intp]:
    """Indices of at most m of the rows of X (n, d): the first, then each the farthest from those before it.

    >>> spread_out(np.array([[0.0], [0.1], [0.5], [1.0], [0.5]]), 3).tolist()
    [0, 3, 2]
    """
    nearest = np.full(len(X), np.inf)
    chosen = [0]
    while len(chosen) < min(m, len(X)):
        away = X - X[chosen[-1]]
        np.minimum(nearest, np.einsum("ij,ij->i", away, away), out=nearest)
        farthest = int(np.argmax(nearest))
        if nearest[farthest] <= 0.0:  # all that is left is there already
            break
        chosen.append(farthest)
    return np.array(chosen, dtype=np.intp)


class _Sums:
    """What values say of a function at inducing points: sums over the points, in units whitened by L."""

    def __init__(self, m: int, columns: int) -> None:
        self.told = np.zeros((m, m))
        self.right = np.zeros((m, columns))
        self.products = np.zeros((columns, columns))

    def add(self, B: Array, own: Array, columns: Array) -> None:
        """Points with B (m, k) = L^-1 K(Z, X), noise of their own (k,), and columns (k, p + 1)."""
        B, scaled = B / np.sqrt(own), columns / np.sqrt(own)[:, None]
        self.told += B @ B.T
        self.right += B @ scaled
        self.products += scaled.T @ scaled

    def solve(self) -> tuple[Array, Array, Array]:
        """(m, m) M with M M' = I + told, (m, p + 1) its solution, and the products with the inverse covariance."""
        M = cholesky_of(self.told + np.eye(len(self.told)), _ROUNDING)
        solution = np.asarray(cho_solve((M, True), self.right, check_finite=False))
        return M, solution, self.products - self.right.T @ solution


class _Base:
    """What the first points say, through inducing ones; all in units of the spread of y.

    X : (n, d); columns : (n, p + 1), the basis of the mean and y; extra : (n,) variance of each value's noise.

    Attributes
    ----------
    Z : (m, d) the inducing points
    R : (r, m) such that ``R K(Z, U)`` is the projection of U: its squares are what the points take from the variance
    weights : (m, p + 1) such that ``K(U, Z) weights`` predicts the columns
    products : (p + 1, p + 1) of the columns with the inverse covariance of the points
    loo : errors at points that are not inducing ones
    difference : of the means there, to those by two thirds of the inducing points

    """

    def __init__(self, X: Array, columns: Array, extra: Array, theta: Array, m: int) -> None:
        self._theta, self._variance = theta, math.exp(theta[-2])
        chosen = spread_out(X * kernel.scales(theta), m)
        extra = extra + JITTER * (self._variance + math.exp(theta[-1]))
        self.Z = X[chosen]
        L = cholesky_of(matern(self.Z, self.Z, theta))
        coarse = max(1, 2 * len(chosen) // 3)
        all_, some = _Sums(len(L), columns.shape[1]), _Sums(coarse, columns.shape[1])
        for start in range(0, len(X), _CHUNK):
            rows = slice(start, start + _CHUNK)
            B = solve_triangular(L, matern(self.Z, X[rows], theta), lower=True, check_finite=False)
            all_.add(B, self._own(B, extra[rows]), columns[rows])
            some.add(B[:coarse], self._own(B[:coarse], extra[rows]), columns[rows])
        M, solution, self.products = all_.solve()
        self.weights = solve_triangular(L, solution, lower=True, trans="T", check_finite=False)
        self.R = _root(L, all_.told)
        self._U = self._V = self._predicted = np.empty((0, 0))
        left = np.delete(np.arange(len(X)), chosen)
        left = left[np.unique(np.linspace(0, len(left) - 1, min(_LEFT, len(left))).round().astype(int))]
        B = solve_triangular(L, matern(self.Z, X[left], theta), lower=True, check_finite=False)
        errors = _left_out(B, self._own(B, extra[left]), columns[left], M, solution, self.products)
        self.loo = LooErrors(*errors, left)
        mean, variance = self._latent(B, columns[left], M, solution, self.products)
        rough, wider = self._latent(B[:coarse], columns[left], *some.solve())
        self.compared = len(left)
        self.difference = math.sqrt(float(np.mean((mean - rough) ** 2 / np.maximum(variance, wider))))

    def _own(self, B: Array, extra: Array) -> Array:
        """(k,) what is noise of the points' own, as seen through the inducing ones: B (m, k) = L^-1 K(Z, X)."""
        return np.asarray(np.maximum(self._variance - np.einsum("ij,ij->j", B, B), 0.0) + extra)

    def _latent(self, B: Array, columns: Array, M: Array, solution: Array, products: Array) -> tuple[Array, Array]:
        """(k,) means and variances of the function at points with B (m, k)."""
        beta = inverse_of(products[:-1, :-1]) @ products[:-1, -1]
        mean = columns[:, :-1] @ beta + B.T @ (solution[:, -1] - solution[:, :-1] @ beta)
        half = solve_triangular(M, B, lower=True, check_finite=False)
        variance = self._variance - np.einsum("ij,ij->j", B, B) + np.einsum("ij,ij->j", half, half)
        return mean, np.maximum(variance, JITTER * self._variance)

    def project(self, U: Array, *, keep: bool = False) -> tuple[Array, Array]:
        """(r, k) projection of U and (k, p + 1) what is predicted of the columns there."""
        if np.array_equal(U, self._U):
            return self._V, self._predicted
        k = matern(self.Z, U, self._theta)
        V, predicted = self.R @ k, k.T @ self.weights
        if keep:
            self._U, self._V, self._predicted = U, V, predicted
        return V, predicted

    def covariance(self, A: Array, B: Array) -> Array:
        """(a, b) of A and B as far as the points leave it open, the mean known."""
        return np.asarray(matern(A, B, self._theta) - self.project(A)[0].T @ self.project(B)[0])

    @property
    def bytes(self) -> int:
        """What it keeps."""
        return self.R.nbytes + self._V.nbytes


def _left_out(B: Array, own: Array, columns: Array, M: Array, solution: Array, products: Array) -> tuple[Array, Array]:
    """Errors at points with B (m, k), each left out; their inverse covariance is that of the inducing points' model."""
    A = inverse_of(products[:-1, :-1])
    rest = (columns - B.T @ solution) / own[:, None]
    basis, alpha = rest[:, :-1], rest[:, -1] - rest[:, :-1] @ (A @ products[:-1, -1])
    half = solve_triangular(M, B, lower=True, check_finite=False)
    diagonal = (1.0 - np.einsum("ij,ij->j", half, half) / own) / own - np.einsum("ij,jk,ik->i", basis, A, basis)
    diagonal = np.maximum(diagonal, 1e-300)
    return alpha / diagonal, alpha / np.sqrt(diagonal)


def _root(L: Array, told: Array) -> Array:
    """(r, m) R with ``R' R = L^-T (I - (I + E)^-1) L^-1``, E = told.

    With E = F F' of rank r that middle is F (I + F' F)^-1 F': directions that no point tells of are left out.
    """
    F, order, rank, _ = dpstrf(told, lower=1, tol=_ROUNDING * float(np.max(np.diag(told))))
    unturned = np.empty_like(F)
    unturned[order - 1] = np.tril(F)
    F = unturned[:, :rank]
    N = cholesky_of(np.eye(rank) + F.T @ F, _ROUNDING)
    half = solve_triangular(N, F.T, lower=True, check_finite=False)
    return np.asarray(solve_triangular(L, half.T, lower=True, trans="T", check_finite=False).T)


class _Kept:
    """A base, and the factors of what came in since by their jitter: kept together, so that they go together."""

    def __init__(self, base: _Base) -> None:
        self.base = base
        self.growing: dict[float, Factor] = {}

    def factor(self, jitter: float) -> Factor:
        """That of the points since, conditioned on those before."""
        return self.growing.setdefault(jitter, Factor(self.base.covariance, jitter))

    @property
    def bytes(self) -> int:
        """What it keeps."""
        return self.base.bytes + sum(f.bytes for f in self.growing.values())


@dataclass(frozen=True)
class Inducing(GP):
    """The process conditioned on more data than an exact one is meant for.

    exact : points up to which a process is exact; three quarters as many are inducing points, at most.
    """

    exact: int = EXACT

    @cached_property
    def _first(self) -> int:
        """How many points are seen through the inducing ones; the others are at least one, and a step at most."""
        step = max(1, self.exact // 8)
        return (len(self.X) - 1) // step * step

    @cached_property
    def _key(self) -> bytes:
        n = self._first
        parts = (self.X[:n], self._standardised[:n], self._extra[:n], self._basis[:n], self.theta)
        return hashlib.sha256(b"".join(part.tobytes() for part in (*parts, np.array([n, self.exact])))).digest()

    @cached_property
    def _remembered(self) -> _Kept:
        n, most = self._first, 3 * self.exact // 4
        return remember(
            self._key, lambda: _Kept(_Base(self.X[:n], self._columns[:n], self._extra[:n], self.theta, most))
        )

    @property
    def _base(self) -> _Base:
        return self._remembered.base

    @cached_property
    def _columns(self) -> Array:
        """(n, p + 1) the basis of the mean, and y."""
        return np.hstack([self._basis, self._standardised[:, None]])

    @cached_property
    def _since(self) -> Array:
        return self.X[self._first :]

    @cached_property
    def _solved(self) -> tuple[Factor, Array, Array]:
        """The factor of the points since, conditioned on those before, with L and L^-1."""
        return self._factored(self._remembered.factor, self._since, self._extra[self._first :])

    @cached_property
    def _whitened(self) -> Array:
        """(q, p + 1) L^-1 (columns - what was predicted of them) of the points since."""
        left = self._columns[self._first :] - self._base.project(self._since)[1]
        return np.asarray(solve_triangular(self._solved[1], left, lower=True, check_finite=False))

    @cached_property
    def _products(self) -> Array:
        """(p + 1, p + 1) products of the columns with the inverse covariance of all points."""
        return np.asarray(self._base.products + self._whitened.T @ self._whitened)

    @cached_property
    def _spread_of_beta(self) -> Array:
        return inverse_of(self._products[:-1, :-1])

    @cached_property
    def beta(self) -> Array:
        """(p,) coefficients of the mean, standardised."""
        return np.asarray(self._spread_of_beta @ self._products[:-1, -1])

    @property
    def taking(self) -> int:
        """Rows of a projection that take from the variance."""
        return len(self._base.R) + len(self._since)

    @property
    def solved(self) -> dict[str, Array]:
        """What a prediction is made of, at the inducing points and those since."""
        inverse, base = self._solved[2], self._base
        below = -inverse @ (base.project(self._since)[0].T @ base.R)
        above = np.hstack([base.R, np.zeros((len(base.R), len(inverse)))])
        R = np.vstack([above, np.hstack([below, inverse])])
        weights = R[len(base.R) :].T @ self._whitened
        weights[: len(base.Z)] += base.weights
        return {
            "at": np.vstack([base.Z, self._since]),
            "R": R,
            "alpha": weights[:, -1] - weights[:, :-1] @ self.beta,
            "basis": weights[:, :-1],
            "A": self._spread_of_beta,
        }

    def project(self, U: Array, *, keep: bool = False) -> tuple[Array, Array]:
        """As that of an exact process; V has `taking` rows that take and p that give back."""
        growing, L, _ = self._solved
        first, predicted = self._base.project(U, keep=keep)
        if keep:
            W = growing.project(self._since, L, U)
        else:
            right = matern(self._since, U, self.theta) - self._base.project(self._since)[0].T @ first
            W = solve_triangular(L, right, lower=True, check_finite=False)
        known = predicted + W.T @ self._whitened
        H = basis(U, self.trend)
        unknown = H - known[:, :-1]
        V = np.vstack([first, W, self._give(unknown.T)])
        return V, self.centre + self.spread * (known[:, -1] + unknown @ self.beta)

    def leave_one_out(self) -> LooErrors:
        """Errors at some of the points that are seen through the inducing ones, up to 512, each left out."""
        return self._base.loo

    @property
    def approximation(self) -> dict[str, float]:
        """How the process was made, and how far it may be from an exact one.

        points, inducing, since : how many there are, are inducing ones, and came in since
        compared : at how many points that are not inducing ones it was tested
        difference : root mean square of what the mean changes by there when only two thirds of the inducing points are
            used, in units of the larger standard deviation. The exact mean is nearer than that: 0 is the same.
        """
        base = self._base
        return {
            "points": len(self.X),
            "inducing": len(base.Z),
            "since": len(self._since),
            "compared": base.compared,
            "difference": base.difference,
        }
