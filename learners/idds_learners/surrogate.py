"""A Gaussian process: Matern, one lengthscale for each coordinate, a part of it additive, and a linear trend.

Shapes: X (n, d) in the unit cube, y (n,), noise (n,) standard deviations, H (n, p) the basis of the mean: 1, and the
values of a trend where there is one; theta (d + 4,) as in :mod:`idds_learners.kernel`. float64 throughout.

Sources: Rasmussen & Williams, *Gaussian Processes for Machine Learning* (2006), chapters 2, 4, 5 (kernel, mean by
generalised least squares, marginal likelihood and its gradient); Dubrule, *Math. Geol.* 15 (1983) 687 (leave-one-out
in closed form).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from idds_learners import kernel
from idds_learners.factor import Factor, factor
from idds_learners.kernel import matern
from idds_learners.prior import Prior

__all__ = ["GP", "Fitted", "LooErrors", "fit", "matern", "objective"]

Array = NDArray[np.float64]
Trend = Callable[[Array], Array]

JITTER = 1e-8


def cholesky_of(K: Array, least: float = JITTER) -> Array:
    """Lower Cholesky factor; the jitter grows tenfold, from `least` of the mean variance, until there is one."""
    jitter = least * float(np.mean(np.diag(K)))
    for _ in range(12):
        try:
            return np.asarray(cholesky(K + jitter * np.eye(len(K)), lower=True, check_finite=False))
        except np.linalg.LinAlgError:
            jitter *= 10.0
    raise np.linalg.LinAlgError("no jitter makes the covariance positive definite")


def inverse_of(A: Array) -> Array:
    """(p, p) inverse of A = H' K^-1 H; a basis function that adds nothing gets no weight instead of a huge one."""
    return np.asarray(np.linalg.pinv(A, rcond=1e-12, hermitian=True))


def objective(theta: Array, D2: Array, y: Array, noise2: Array, H: Array, prior: Prior) -> tuple[float, Array]:
    """Minus the log posterior of theta and its gradient.

    The mean is at its generalised least squares value; since that is stationary, the gradient is the usual
    ``1/2 tr[(K^-1 - alpha alpha') dK/dtheta]``.

    Parameters
    ----------
    theta : (d + 4,)
    D2 : (d, n, n)
        Squared differences, one matrix for each coordinate.
    y, noise2 : (n,)
        Standardised values and the variances of their noise.
    H : (n, p)
        Basis of the mean.

    """
    n, nugget = len(y), math.exp(theta[-1])
    Kf, by_lengthscale, by_roughness, by_share = kernel.slopes(D2, theta)
    K = Kf.copy()
    K.flat[:: n + 1] += nugget + noise2
    L = cholesky_of(K)
    inverse = dpotri(L, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    KH = inverse @ H
    beta = inverse_of(H.T @ KH) @ (KH.T @ y)
    alpha = inverse @ (y - H @ beta)
    z = (theta - prior.mean) / prior.sd
    value = 0.5 * float((y - H @ beta) @ alpha) + float(np.log(np.diag(L)).sum()) + 0.5 * float(z @ z)
    W = inverse - np.outer(alpha, alpha)
    gradient = np.empty(len(theta))
    gradient[: -kernel.extra] = 0.5 * np.tensordot(by_lengthscale, W, axes=([1, 2], [0, 1]))
    gradient[-4] = 0.5 * float((W * by_roughness).sum())
    gradient[-3] = 0.5 * float((W * by_share).sum())
    gradient[-2] = 0.5 * float((W * Kf).sum())
    gradient[-1] = 0.5 * nugget * float(np.trace(W))
    return value, gradient + z / prior.sd


def standard(y: Array) -> tuple[float, float]:
    """Mean and spread of y; a constant y has a spread of 1."""
    centre, spread = float(np.mean(y)), float(np.std(y))
    return centre, spread if spread > 1e-9 * max(1.0, abs(centre)) else 1.0


def basis(U: Array, trend: Trend | None) -> Array:
    """(m, p) basis of the mean at U (m, d): 1, and the trend where there is one."""
    ones = np.ones((len(U), 1))
    return ones if trend is None else np.hstack([ones, trend(U)[:, None]])


@dataclass(frozen=True)
class Fitted:
    """Hyper-parameters theta (d + 4,), what y was standardised with when they were found (centre, spread), and the
    distance from the level beyond which values had a tolerance (far).
    """

    theta: Array
    centre: float
    spread: float
    far: float = math.inf


def fit(
    X: Array,
    y: Array,
    noise: Array,
    starts: Sequence[Array] = (),
    trend: Trend | None = None,
    like: Fitted | None = None,
) -> Fitted:
    """The theta of highest posterior density (MAP), by L-BFGS-B.

    Parameters
    ----------
    X : (n, d); y, noise : (n,)
    starts : sequence of (d + 4,)
        Where to begin; empty: the three starts of the prior.
    trend : U (m, d) -> (m,)

    """
    prior = Prior(X.shape[1])
    centre, spread = standard(y) if like is None else (like.centre, like.spread)
    D2 = np.ascontiguousarray(((X[:, None, :] - X[None, :, :]) ** 2).transpose(2, 0, 1))
    arguments = (D2, (y - centre) / spread, (noise / spread) ** 2, basis(X, trend), prior)
    best, lowest = prior.mean, math.inf
    box = [(float(low), float(high)) for low, high in prior.bounds]
    for start in starts or prior.starts():
        inside = np.clip(start, prior.bounds[:, 0], prior.bounds[:, 1])
        found = minimize(objective, inside, args=arguments, method="L-BFGS-B", jac=True, bounds=box,
                         options={"maxiter": 100, "ftol": 1e-7, "gtol": 1e-4})  # fmt: skip
        if found.fun < lowest:
            best, lowest = np.asarray(found.x), float(found.fun)
    return Fitted(best, centre, spread)


@dataclass(frozen=True)
class LooErrors:
    """Leave-one-out errors of the points `at` (n,): residuals in units of y's spread, and z in units of their own
    uncertainty.
    """

    residuals: Array
    z: Array
    at: NDArray[np.intp]


@dataclass(frozen=True)
class GP:
    """The process conditioned on data, for given hyper-parameters.

    Parameters
    ----------
    X : (n, d) in the unit cube
    y : (n,) values
    noise : (n,) standard deviations of the measurements, 0 for none
    fitted : theta, and the centre and spread of y that it goes with
    trend : U (m, d) -> (m,) values of a cheap approximation, which enters the mean with a factor that is fitted
    future : standard deviation of the noise that a measurement to come is expected to have

    """

    X: Array
    y: Array
    noise: Array
    fitted: Fitted
    trend: Trend | None = None
    future: float = 0.0

    @property
    def theta(self) -> Array:
        """(d + 4,) the hyper-parameters."""
        return self.fitted.theta

    @property
    def centre(self) -> float:
        """What is taken from y."""
        return self.fitted.centre

    @property
    def spread(self) -> float:
        """What y is divided by."""
        return self.fitted.spread

    @cached_property
    def _standardised(self) -> Array:
        return (self.y - self.centre) / self.spread

    @cached_property
    def _extra(self) -> Array:
        return np.asarray(self.nugget + (self.noise / self.spread) ** 2)

    @cached_property
    def _solved(self) -> tuple[Factor, Array, Array]:
        """The growing factor, L and L^-1."""
        theta = self.theta

        def growing(jitter: float) -> Factor:
            key = theta.tobytes() + np.float64(jitter).tobytes()
            return factor(key, lambda A, B: matern(A, B, theta), jitter)

        return self._factored(growing, self.X, self._extra)

    def _factored(self, at: Callable[[float], Factor], X: Array, extra: Array) -> tuple[Factor, Array, Array]:
        """The factor with L and L^-1 at X (n, d), as it is `at` some jitter, which grows tenfold until there is one."""
        jitter = JITTER * (math.exp(self.theta[-2]) + self.nugget)
        for _ in range(12):
            growing = at(jitter)
            try:
                return growing, *growing.solve(X, extra)
            except np.linalg.LinAlgError:
                jitter *= 10.0
        raise np.linalg.LinAlgError("no jitter makes the covariance positive definite")

    @cached_property
    def _basis(self) -> Array:
        return basis(self.X, self.trend)

    @cached_property
    def _solved_basis(self) -> Array:
        """(n, p) K^-1 H."""
        return np.asarray(cho_solve((self._solved[1], True), self._basis, check_finite=False))

    @cached_property
    def _spread_of_beta(self) -> Array:
        """(p, p) inverse of H' K^-1 H."""
        return inverse_of(self._basis.T @ self._solved_basis)

    @cached_property
    def beta(self) -> Array:
        """(p,) coefficients of the mean, standardised."""
        return np.asarray(self._spread_of_beta @ (self._solved_basis.T @ self._standardised))

    @cached_property
    def _alpha(self) -> Array:
        rest = self._standardised - self._basis @ self.beta
        return np.asarray(cho_solve((self._solved[1], True), rest, check_finite=False))

    @property
    def solved(self) -> dict[str, Array]:
        """What a prediction is made of: ``at`` = X (n, d), ``R`` (n, n) = L^-1, ``alpha`` (n,) = K^-1 (y - H beta),
        ``basis`` (n, p) = K^-1 H and ``A`` (p, p), the inverse of H' K^-1 H.
        """
        return {
            "at": self.X,
            "R": self._solved[2],
            "alpha": self._alpha,
            "basis": self._solved_basis,
            "A": self._spread_of_beta,
        }

    @property
    def taking(self) -> int:
        """Rows of a projection that take from the variance."""
        return len(self.X)

    @property
    def approximation(self) -> dict[str, float]:
        """How far it is from an exact process; empty for one that is exact."""
        return {}

    @property
    def nugget(self) -> float:
        """Variance of the nugget, in units of the variance of y."""
        return math.exp(self.theta[-1])

    @property
    def noise_variance(self) -> float:
        """Variance expected of a future measurement: the nugget and the noise, in units of y."""
        return self.nugget * self.spread**2 + self.future**2

    def project(self, U: Array, *, keep: bool = False) -> tuple[Array, Array]:
        """What the posterior at U (m, d) is made of.

        Parameters
        ----------
        U : (m, d)
        keep : whether to remember it, since the same U will be asked for again with more data

        Returns
        -------
        V : (n + p, m), n = `taking`
            Such that the posterior covariance of U and U' is ``k(U, U') - V[:n]' V'[:n] + V[n:]' V'[n:]``: the data
            take away, the uncertain mean gives back.
        mean : (m,)

        """
        n, (growing, L, _) = len(self.X), self._solved
        if keep:
            W = growing.project(self.X, L, U)
        else:
            W = solve_triangular(L, matern(self.X, U, self.theta), lower=True, check_finite=False)
        H = basis(U, self.trend)
        LH = solve_triangular(L, self._basis, lower=True, check_finite=False)
        rest = self._standardised - self._basis @ self.beta
        mean = H @ self.beta + W.T @ solve_triangular(L, rest, lower=True, check_finite=False)
        V = np.empty((n + H.shape[1], len(U)))
        V[:n] = W
        V[n:] = self._give(H.T - LH.T @ W)
        return V, self.centre + self.spread * mean

    def _give(self, unknown: Array) -> Array:
        """(p, m) rows that the uncertain mean gives back, from what the data do not tell of the basis (p, m)."""
        values, vectors = np.linalg.eigh(self._spread_of_beta)
        return np.asarray((np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T) @ unknown)

    def covariance(self, A: Array, B: Array, VA: Array, VB: Array) -> Array:
        """(a, b) posterior covariance of A (a, d) and B (b, d) whose projections are VA and VB, in units of y."""
        n = self.taking
        inner = matern(A, B, self.theta) - VA[:n].T @ VB[:n] + VA[n:].T @ VB[n:]
        return np.asarray(inner * self.spread**2)

    def variance(self, V: Array) -> Array:
        """(m,) posterior variance of the latent function where the projection is V, in units of y."""
        n, prior = self.taking, math.exp(self.theta[-2])
        v = prior - np.einsum("ij,ij->j", V[:n], V[:n]) + np.einsum("ij,ij->j", V[n:], V[n:])
        return np.asarray(np.maximum(v, JITTER * prior) * self.spread**2)

    def predict(self, U: Array) -> tuple[Array, Array]:
        """(m,) mean and (m,) standard deviation of the latent function at U (m, d)."""
        if not len(U):
            return np.empty(0), np.empty(0)
        V, mean = self.project(U)
        return mean, np.sqrt(self.variance(V))

    def mean(self, U: Array) -> Array:
        """(m,) mean of the latent function at U (m, d), without the work that its deviation takes."""
        at, alpha = self.solved["at"], self.solved["alpha"]
        found = [basis(u, self.trend) @ self.beta + matern(at, u, self.theta).T @ alpha
                 for u in np.array_split(U, max(1, len(U) * len(at) // 1_000_000))]  # fmt: skip
        return np.asarray(self.centre + self.spread * np.concatenate(found))

    def leave_one_out(self) -> LooErrors:
        """Errors at each point when it is left out, its theta kept; the mean is estimated anew each time."""
        inverse = self._solved[2]
        diagonal = np.einsum("ij,ij->j", inverse, inverse) - np.einsum(
            "ij,jk,ik->i", self._solved_basis, self._spread_of_beta, self._solved_basis
        )
        diagonal = np.maximum(diagonal, 1e-300)
        return LooErrors(self._alpha / diagonal, self._alpha / np.sqrt(diagonal), np.arange(len(self.X)))

    def at_bounds(self, names: Sequence[str]) -> list[str]:
        """Hyper-parameters that lie at the edge of what they may be, such as ``"m_zp:low"``.

        A lengthscale at its upper bound only says that the coordinate does not matter, and a nugget at its lower that
        there is no noise: neither is reported.
        """
        bounds = Prior(self.X.shape[1]).bounds
        labels = [*names, "roughness", "additive", "variance", "nugget"]
        low = [f"{n}:low" for n, t, (a, _) in zip(labels, self.theta, bounds, strict=True)
               if n not in ("nugget", "roughness", "additive") and t <= a + 1e-6]  # fmt: skip
        high = [f"{n}:high" for n, t, (_, b) in zip(labels, self.theta, bounds, strict=True)
                if n not in (*names, "roughness", "additive") and t >= b - 1e-6]  # fmt: skip
        return low + high
