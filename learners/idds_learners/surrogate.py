"""A Gaussian process with a Matern-5/2 kernel, one lengthscale for each coordinate and a constant mean.

Shapes: X (n, d) in the unit cube, y (n,), noise (n,) standard deviations, theta (d + 2,) = log lengthscales, log
output variance, log nugget variance, the last two in units of the variance of y. float64 throughout.

Sources: Rasmussen & Williams, *Gaussian Processes for Machine Learning* (2006), chapters 2, 4, 5 (kernel, constant mean
by generalised least squares, marginal likelihood and its gradient); Dubrule, *Math. Geol.* 15 (1983) 687 (leave-one-out
in closed form); the lengthscale prior that grows with the dimension is that of Hvarfner et al., ICML 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

__all__ = ["GP", "LooErrors", "Prior", "fit", "matern52", "objective"]

Array = NDArray[np.float64]

LENGTHSCALE_BOUNDS = (0.02, 50.0)
VARIANCE_BOUNDS = (1e-3, 1e4)
NUGGET_BOUNDS = (1e-9, 1.0)
JITTER = 1e-8
_SQRT5 = math.sqrt(5.0)


@dataclass(frozen=True)
class Prior:
    """Normal priors on theta, and its box.

    Log lengthscale (sqrt 2 + log(d) / 2, sqrt 3), log output variance (0, 2), log nugget (log 1e-4, 3).
    """

    dimension: int

    @cached_property
    def mean(self) -> Array:
        """(d + 2,) means."""
        mean: Array = np.array([math.sqrt(2) + 0.5 * math.log(self.dimension)] * self.dimension + [0.0, math.log(1e-4)])
        return mean

    @cached_property
    def sd(self) -> Array:
        """(d + 2,) standard deviations."""
        sd: Array = np.array([math.sqrt(3)] * self.dimension + [2.0, 3.0])
        return sd

    @cached_property
    def bounds(self) -> Array:
        """(d + 2, 2) lowest and highest."""
        box = np.array([LENGTHSCALE_BOUNDS] * self.dimension + [VARIANCE_BOUNDS, NUGGET_BOUNDS])
        return np.asarray(np.log(box))

    def starts(self) -> list[Array]:
        """Where a first fit begins: middling, short and long lengthscales."""
        found = []
        for lengthscale in (0.6, 0.2, 2.0):
            start = self.mean.copy()
            start[: self.dimension] = math.log(lengthscale)
            found.append(start)
        return found


def matern52(A: Array, B: Array, theta: Array) -> Array:
    """(n, m) covariances of the latent function between A (n, d) and B (m, d)."""
    scale = np.exp(-theta[:-2])
    a, b = A * scale, B * scale
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
    r: Array = np.sqrt(np.maximum(squared, 0.0))
    r *= _SQRT5
    poly: Array = r * (1.0 / 3.0)
    poly += 1.0
    poly *= r
    poly += 1.0
    np.negative(r, out=r)
    np.exp(r, out=r)
    poly *= r
    poly *= math.exp(theta[-2])
    return poly


def _cholesky(K: Array) -> Array:
    """Lower Cholesky factor; the jitter grows tenfold until there is one."""
    jitter = JITTER * float(np.mean(np.diag(K)))
    for _ in range(12):
        try:
            return np.asarray(cholesky(K + jitter * np.eye(len(K)), lower=True, check_finite=False))
        except np.linalg.LinAlgError:
            jitter *= 10.0
    raise np.linalg.LinAlgError("no jitter makes the covariance positive definite")


def objective(theta: Array, D2: Array, y: Array, noise2: Array, prior: Prior) -> tuple[float, Array]:
    """Minus the log posterior of theta and its gradient.

    The constant mean is at its generalised least squares value; since that is stationary, the gradient is the usual
    ``1/2 tr[(K^-1 - alpha alpha') dK/dtheta]``.

    Parameters
    ----------
    theta : (d + 2,)
    D2 : (d, n, n)
        Squared differences, one matrix for each coordinate.
    y, noise2 : (n,)
        Standardised values and the variances of their noise.

    """
    d, n = len(D2), len(y)
    weights = np.exp(-2.0 * theta[:d])
    r = np.sqrt(5.0 * np.tensordot(weights, D2, axes=1))
    variance, nugget = math.exp(theta[-2]), math.exp(theta[-1])
    decay = variance * np.exp(-r)
    Kf = decay * (1.0 + r * (1.0 + r / 3.0))
    K = Kf.copy()
    K.flat[:: n + 1] += nugget + noise2
    L = _cholesky(K)
    inverse = dpotri(L, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    ones = inverse.sum(1)
    beta = float(ones @ y) / float(ones.sum())
    alpha = inverse @ (y - beta)
    z = (theta - prior.mean) / prior.sd
    value = 0.5 * float((y - beta) @ alpha) + float(np.log(np.diag(L)).sum()) + 0.5 * float(z @ z)
    W = inverse - np.outer(alpha, alpha)
    gradient = np.empty(d + 2)
    shared = W * decay * (1.0 + r)
    gradient[:d] = (5.0 / 6.0) * weights * np.tensordot(D2, shared, axes=([1, 2], [0, 1]))
    gradient[-2] = 0.5 * float((W * Kf).sum())
    gradient[-1] = 0.5 * nugget * float(np.trace(W))
    return value, gradient + z / prior.sd


def _standard(y: Array) -> tuple[float, float]:
    """Mean and spread of y; a constant y has a spread of 1."""
    centre, spread = float(np.mean(y)), float(np.std(y))
    return centre, spread if spread > 1e-9 * max(1.0, abs(centre)) else 1.0


def fit(X: Array, y: Array, noise: Array, starts: Sequence[Array] = ()) -> Array:
    """The theta of highest posterior density (MAP), by L-BFGS-B.

    Parameters
    ----------
    X : (n, d); y, noise : (n,)
    starts : sequence of (d + 2,)
        Where to begin; empty: the three starts of the prior.

    """
    prior = Prior(X.shape[1])
    centre, spread = _standard(y)
    D2 = np.ascontiguousarray(((X[:, None, :] - X[None, :, :]) ** 2).transpose(2, 0, 1))
    arguments = (D2, (y - centre) / spread, (noise / spread) ** 2, prior)
    best, lowest = prior.mean, math.inf
    box = [(float(low), float(high)) for low, high in prior.bounds]
    for start in starts or prior.starts():
        inside = np.clip(start, prior.bounds[:, 0], prior.bounds[:, 1])
        found = minimize(objective, inside, args=arguments, method="L-BFGS-B", jac=True, bounds=box,
                         options={"maxiter": 100, "ftol": 1e-7, "gtol": 1e-4})  # fmt: skip
        if found.fun < lowest:
            best, lowest = np.asarray(found.x), float(found.fun)
    return best


@dataclass(frozen=True)
class LooErrors:
    """Leave-one-out errors: (n,) residuals in units of y's spread, and the same in units of their own uncertainty."""

    residuals: Array
    z: Array


@dataclass(frozen=True)
class GP:
    """The process conditioned on data, for a given theta.

    Parameters
    ----------
    X : (n, d) in the unit cube
    y : (n,) values
    noise : (n,) standard deviations of the measurements, 0 for none
    theta : (d + 2,)

    """

    X: Array
    y: Array
    noise: Array
    theta: Array
    centre: float = field(init=False)
    spread: float = field(init=False)

    def __post_init__(self) -> None:
        centre, spread = _standard(self.y)
        object.__setattr__(self, "centre", centre)
        object.__setattr__(self, "spread", spread)

    @cached_property
    def _standardised(self) -> Array:
        return (self.y - self.centre) / self.spread

    @cached_property
    def _factor(self) -> Array:
        K = matern52(self.X, self.X, self.theta)
        K.flat[:: len(K) + 1] = math.exp(self.theta[-2]) + self.nugget + (self.noise / self.spread) ** 2
        return _cholesky(K)

    @cached_property
    def _ones(self) -> Array:
        """(n,) K^-1 1."""
        return np.asarray(cho_solve((self._factor, True), np.ones(len(self.y)), check_finite=False))

    @cached_property
    def _alpha(self) -> Array:
        beta = self._beta
        return np.asarray(cho_solve((self._factor, True), self._standardised - beta, check_finite=False))

    @cached_property
    def _beta(self) -> float:
        return float(self._ones @ self._standardised) / float(self._ones.sum())

    @property
    def beta(self) -> float:
        """The constant mean, standardised."""
        return self._beta

    @property
    def scales(self) -> Array:
        """(d,) inverse lengthscales, digit for digit those of the kernel."""
        return np.asarray(np.exp(-self.theta[:-2]))

    @property
    def solved(self) -> dict[str, Array]:
        """What a prediction is made of: ``L`` (n, n), ``alpha`` (n,) = K^-1 (y - beta) and ``ones`` (n,) = K^-1 1."""
        return {"L": self._factor, "alpha": self._alpha, "ones": self._ones}

    @property
    def nugget(self) -> float:
        """Variance of the nugget, in units of the variance of y."""
        return math.exp(self.theta[-1])

    @property
    def noise_variance(self) -> float:
        """Variance expected of a future measurement: the nugget and the median reported noise, in units of y."""
        return (self.nugget + float(np.median((self.noise / self.spread) ** 2))) * self.spread**2

    def project(self, U: Array) -> tuple[Array, Array]:
        """What the posterior at U (m, d) is made of.

        Returns
        -------
        V : (n + 1, m)
            Such that the posterior covariance of U and U' is ``k(U, U') - V[:n]' V'[:n] + V[n]' V'[n]``: the data
            take away, the uncertain mean gives back.
        mean : (m,)

        """
        k = matern52(self.X, U, self.theta)
        mean = self._beta + k.T @ self._alpha
        V = np.empty((len(self.X) + 1, len(U)))
        V[:-1] = solve_triangular(self._factor, k, lower=True, check_finite=False)
        V[-1] = (1.0 - self._ones @ k) / math.sqrt(float(self._ones.sum()))
        return V, self.centre + self.spread * mean

    def covariance(self, A: Array, B: Array, VA: Array, VB: Array) -> Array:
        """(a, b) posterior covariance of A (a, d) and B (b, d) whose projections are VA and VB, in units of y."""
        inner = matern52(A, B, self.theta) - VA[:-1].T @ VB[:-1] + np.outer(VA[-1], VB[-1])
        return np.asarray(inner * self.spread**2)

    def variance(self, V: Array) -> Array:
        """(m,) posterior variance of the latent function where the projection is V, in units of y."""
        v = math.exp(self.theta[-2]) - np.einsum("ij,ij->j", V[:-1], V[:-1]) + V[-1] ** 2
        return np.asarray(np.maximum(v, JITTER * math.exp(self.theta[-2])) * self.spread**2)

    def predict(self, U: Array) -> tuple[Array, Array]:
        """(m,) mean and (m,) standard deviation of the latent function at U (m, d)."""
        if not len(U):
            return np.empty(0), np.empty(0)
        V, mean = self.project(U)
        return mean, np.sqrt(self.variance(V))

    def leave_one_out(self) -> LooErrors:
        """Errors at each point when it is left out, its theta kept; the mean is estimated anew each time."""
        inverse = cho_solve((self._factor, True), np.eye(len(self.y)), check_finite=False)
        Q = inverse - np.outer(self._ones, self._ones) / float(self._ones.sum())
        diagonal = np.maximum(np.diag(Q), 1e-300)
        scaled = Q @ self._standardised
        return LooErrors(scaled / diagonal, scaled / np.sqrt(diagonal))

    def at_bounds(self, names: Sequence[str]) -> list[str]:
        """Hyper-parameters that lie at the edge of what they may be, such as ``"m_zp:low"``.

        A lengthscale at its upper bound only says that the coordinate does not matter, and a nugget at its lower that
        there is no noise: neither is reported.
        """
        bounds = Prior(self.X.shape[1]).bounds
        labels = [*names, "variance", "nugget"]
        low = [f"{n}:low" for n, t, (a, _) in zip(labels, self.theta, bounds, strict=True)
               if n != "nugget" and t <= a + 1e-6]  # fmt: skip
        high = [f"{n}:high" for n, t, (_, b) in zip(labels, self.theta, bounds, strict=True)
                if n not in names and t >= b - 1e-6]  # fmt: skip
        return low + high
