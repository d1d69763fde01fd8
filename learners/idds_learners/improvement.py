"""Where an improvement is most to be expected: batches by log expected improvement on a Gaussian process.

All values here are better when smaller. Sources: Jones et al., J. Glob. Optim. 13 (1998) 455 (expected improvement);
Ament et al., NeurIPS 2023 (its logarithm, whose gradient does not vanish); Ginsbourger et al. (2010), *Kriging is
well-suited to parallelize optimization* (the constant liar: what is chosen or pending counts as measured, as good as
the best).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr

from idds_learners.encoding import Encoding
from idds_learners.feasibility import log_probability
from idds_learners.kernel import gradient, matern
from idds_learners.surrogate import GP, Fitted, standard

__all__ = ["Belief", "log_expected", "search"]

Array = NDArray[np.float64]

_FAR, _HIGH = -30.0, 5.0
_POOL, _ELITE, _CHILDREN, _POLISHED = 1024, 8, 32, 3
_WIDTHS = (0.12, 0.04, 0.012, 0.004)
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def log_expected(z: Array) -> tuple[Array, Array]:
    """The logarithm of h(z) = phi(z) + z Phi(z), and h'(z) / h(z), accurate however small h is; z is (n,)."""
    near = np.clip(z, _FAR, _HIGH)
    ratio = math.sqrt(math.pi / 2.0) * erfcx(-near / math.sqrt(2.0))  # Phi / phi
    small, slope = -0.5 * near**2 - _LOG_SQRT_2PI + np.log1p(near * ratio), ratio / (1.0 + near * ratio)
    above = np.maximum(z, _HIGH)
    large = np.log(np.exp(-0.5 * above**2 - _LOG_SQRT_2PI) + above * np.exp(log_ndtr(above)))
    value = np.where(z > _HIGH, large, small)
    grow = np.where(z > _HIGH, np.exp(log_ndtr(above) - large), slope)
    far = np.minimum(z, _FAR)
    return (np.where(z < _FAR, -0.5 * far**2 - _LOG_SQRT_2PI - 2.0 * np.log(-far), value),
            np.where(z < _FAR, -far, grow))  # fmt: skip


@dataclass(frozen=True)
class Belief:
    """A process and the value that is to be improved on.

    gp : with what is pending taken as measured.
    best : the lowest mean at any measured point.
    feasible : a process of +1 (feasible) and -1 (not), or None.
    """

    gp: GP
    best: float
    feasible: GP | None = None

    @classmethod
    def of(cls, gp: GP, feasible: GP | None = None) -> Belief:
        """The belief of a process: best is the lowest mean at its points."""
        return cls(gp, float(gp.predict(gp.X)[0].min()), feasible)

    def assuming(self, X: Array) -> Belief:
        """As if (k, D) points had been measured, each as good as the best: nothing more is to be had near them."""
        if not len(X):
            return self
        gp, k = self.gp, len(X)
        y, noise = np.append(gp.y, np.full(k, self.best)), np.append(gp.noise, np.zeros(k))
        lie = GP(np.vstack([gp.X, X]), y, noise, Fitted(gp.theta, *standard(y)))
        return Belief(lie, self.best, self.feasible)

    def score(self, X: Array) -> Array:
        """(n,) log expected improvement at X (n, D), plus the log probability that there is something."""
        mean, sd = self.gp.predict(X)
        value = np.log(sd) + log_expected((self.best - mean) / sd)[0]
        if self.feasible is not None:
            value += log_probability(self.feasible, X)
        return np.asarray(value)

    @cached_property
    def _solved(self) -> dict[str, Array]:
        return self.gp.solved

    def slope(self, x: Array) -> tuple[float, Array]:
        """Log expected improvement at one x (D,), and its gradient (D,)."""
        gp, theta = self.gp, self.gp.theta
        k, dk = matern(gp.X, x[None, :], theta)[:, 0], gradient(gp.X, x, theta)
        basis, spread_of_beta = self._solved["basis"][:, 0], float(self._solved["A"][0, 0])
        weights = self._solved["R"].T @ (self._solved["R"] @ k)
        left = 1.0 - float(basis @ k)
        mean = float(gp.beta[0]) + float(k @ self._solved["alpha"])
        variance = max(math.exp(theta[-2]) - float(k @ weights) + left**2 * spread_of_beta, 1e-12 * math.exp(theta[-2]))
        sd = math.sqrt(variance)
        d_mean = dk.T @ self._solved["alpha"]
        d_sd = (-(dk.T @ weights) - left * spread_of_beta * (dk.T @ basis)) / sd
        best = (self.best - gp.centre) / gp.spread
        z = (best - mean) / sd
        value, grow = (float(v[0]) for v in log_expected(np.array([z])))
        return math.log(sd * gp.spread) + value, d_sd / sd + grow * (-d_mean - z * d_sd) / sd


def search(belief: Belief, encoding: Encoding, elite: Array, rng: np.random.Generator) -> Array:
    """Rows (k, d) of the unit cube, snapped and allowed, the most promising first, no two alike.

    elite : (m, d) the best rows so far, around which it looks closer.
    """
    U = _start(encoding, elite, rng)
    score = belief.score(encoding.features(U)) if len(U) else np.empty(0)
    for width in _WIDTHS if 0 in encoding.cells or encoding.size > _POOL else ():
        U, score = _best_of(U, score, len(U))
        children = _fine(encoding, _mutated(encoding, np.repeat(U[:_ELITE], _CHILDREN, axis=0), width, rng))
        U = np.vstack([U, children])
        score = np.append(score, belief.score(encoding.features(children)) if len(children) else np.empty(0))
    U, score = _best_of(U, score, len(U))
    if belief.feasible is None and encoding.smooth and len(U):
        polished = _fine(encoding, np.array([_polish(belief, encoding, u) for u in U[:_POLISHED]]))
        U = np.vstack([U, polished])
        score = np.append(score, belief.score(encoding.features(polished)) if len(polished) else np.empty(0))
        U, score = _best_of(U, score, len(U))
    return U


def _start(encoding: Encoding, elite: Array, rng: np.random.Generator) -> Array:
    """All points of a small space; else random ones, and some around the best."""
    if encoding.size <= _POOL:
        rows = encoding.all_rows()
        return rows[encoding.allowed(rows)]
    d = encoding.space.dimension
    U = _fine(encoding, rng.random((_POOL, d)))
    for _ in range(6):  # where the constraints leave little
        if len(U) >= _POOL // 4:
            break
        U = np.vstack([U, _fine(encoding, rng.random((4 * _POOL, d)))])
    near = [_mutated(encoding, np.repeat(elite, 24, axis=0), width, rng) for width in _WIDTHS[:2]] if len(elite) else []
    return np.vstack([U[: 2 * _POOL], *(_fine(encoding, n) for n in near)])


def _fine(encoding: Encoding, U: Array) -> Array:
    """The rows as points are, those against the constraints left out."""
    U, _ = encoding.snap(U)
    return U[encoding.allowed(U)]


def _best_of(U: Array, score: Array, n: int) -> tuple[Array, Array]:
    """The rows by falling score, of equal rows the first; ties keep their order."""
    order = np.argsort(-score, kind="stable")
    U, score = U[order], score[order]
    _, first = np.unique(U, axis=0, return_index=True)
    keep = np.sort(first)[:n]
    return U[keep], score[keep]


def _mutated(encoding: Encoding, U: Array, width: float, rng: np.random.Generator) -> Array:
    """Children: some coordinates moved by a normal step, at least a cell for what has cells; choices drawn anew."""
    n, d = U.shape
    moved = rng.random((n, d)) < max(2.0 / d, 0.35)
    moved[np.arange(n), rng.integers(0, d, n)] = True
    step, fresh = rng.standard_normal((n, d)), rng.random((n, d))
    rare = rng.random((n, d)) < 0.5
    found = U.copy()
    for i, (k, spread) in enumerate(zip(encoding.cells, encoding.spread, strict=True)):
        if spread or k == 2:
            found[:, i] = np.where(moved[:, i] & rare[:, i], fresh[:, i], U[:, i])
        else:
            found[:, i] = np.where(moved[:, i], U[:, i] + max(width, 1.2 / k if k else 0.0) * step[:, i], U[:, i])
    return np.where((found < 0.0) | (found > 1.0), np.clip(found, 0.0, 1.0), found)


def _polish(belief: Belief, encoding: Encoding, u: Array) -> Array:
    """One row moved uphill along what can be moved by a little."""
    free = encoding.snap(u[None, :])[1][0]
    moving = [(i, f) for i, f in encoding.smooth if free[i]]
    if not moving:
        return u
    rows, columns = [i for i, _ in moving], [f for _, f in moving]
    x = encoding.features(u[None, :])[0]

    def downhill(values: Any) -> tuple[float, Array]:
        here = x.copy()
        here[columns] = values
        value, slope = belief.slope(here)
        return -value, -slope[columns]

    found = minimize(downhill, u[rows], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * len(rows),
                     options={"maxiter": 40})  # fmt: skip
    best = u.copy()
    best[rows] = np.clip(found.x, 0.0, 1.0)
    return best
