"""Problems that nothing was tuned on: draws of Gaussian processes, rotated and warped toys, published shapes.

Each is f on [0, 1]^d with f < 0 excluded. They serve one purpose, to ask how often a loop concludes too early
(`benchmarks/stopping.py`); no learner or condition was chosen by looking at them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.stats import qmc

from idds_learners.kernel import matern

__all__ = ["HELD_OUT", "Shape"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """A named function of the unit cube: f (n, d) -> (n,)."""

    name: str
    dimension: int
    f: Callable[[Array], Array]


def _draw(seed: int, d: int, length: float, level: float) -> Shape:
    """A draw of a Matern-5/2 process, through its values at many points, less the quantile `level` of them."""
    rng = np.random.default_rng([20261127, seed])
    X = qmc.Sobol(d, seed=rng).random(256 if d < 3 else 512)
    lengths = np.log(length * rng.uniform(0.6, 1.6, d))
    theta = np.array([*lengths, -40.0, -30.0, 0.0, 0.0])
    L = cholesky(matern(X, X, theta) + 1e-8 * np.eye(len(X)), lower=True)
    white = rng.normal(size=len(X))
    alpha, cut = solve_triangular(L, white, lower=True, trans=1), float(np.quantile(L @ white, level))
    return Shape(f"draw{seed}-{d}d", d, lambda u: 2.0 * (matern(u, X, theta) @ alpha - cut))


def _turned(u: Array, angle: float) -> Array:
    """The plane turned about the middle of the square."""
    c, s = math.cos(angle), math.sin(angle)
    return np.asarray((u - 0.5) @ np.array([[c, -s], [s, c]]) + 0.5)


def _ripples(u: Array) -> Array:
    x, y = _turned(u, 0.6).T
    return np.asarray(3.0 * (y - 0.5) - 0.8 * np.sin(7.0 * x) * (0.5 + x))


def _ring(u: Array) -> Array:
    x, y = (u**1.3 - 0.45).T
    return np.asarray(6.0 * np.abs(np.hypot(x, 1.4 * y) - 0.28) - 0.5)


def _wedge(u: Array) -> Array:
    x, y = _turned(u, -0.4).T
    return np.asarray(np.maximum(2.0 * (x - 0.7), 3.0 * (0.35 - y)) + 0.3 * np.sin(5.0 * y))


def _threshold(u: Array) -> Array:
    """log mu of a resonance with a threshold: falls with the mass, rises where the decay closes."""
    mass, light = 300.0 + 2700.0 * u[:, 0], 50.0 + 900.0 * u[:, 1]
    open_ = np.maximum(1.0 - (2.0 * light / mass) ** 2, 1e-4)
    return np.asarray(np.clip(mass / 480.0 - 3.2 - 1.5 * np.log(open_), -6.0, 6.0))


def _compressed(u: Array) -> Array:
    """An exclusion in the plane of two masses that fails where they are close to each other."""
    heavy, light = 150.0 + 1050.0 * u[:, 0], 600.0 * u[:, 1]
    gap = np.maximum(heavy - light, 1.0)
    return np.asarray(np.clip(heavy / 170.0 - 4.4 + 60.0 / gap - 0.3 * np.tanh(light / 200.0), -6.0, 6.0))


def _funnel(u: Array) -> Array:
    """A narrow allowed band along a resonance, as a relic density has."""
    mediator, dark = 200.0 + 1800.0 * u[:, 0], 50.0 + 950.0 * u[:, 1]
    return np.asarray(np.log(0.03 + ((mediator - 2.0 * dark) / 900.0) ** 2) + 1.9 + 0.4 * u[:, 0])


def _branin(u: Array) -> Array:
    x, y = 15.0 * u[:, 0] - 5.0, 15.0 * u[:, 1]
    value = (y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6) ** 2
    return np.asarray(np.log(value + 10 * (1 - 1 / (8 * math.pi)) * np.cos(x) + 10 + 1.0) - math.log(41.0))


def _rosenbrock(u: Array) -> Array:
    x, y = 4.0 * u[:, 0] - 2.0, 4.0 * u[:, 1] - 1.0
    return np.asarray(np.log1p(100.0 * (y - x**2) ** 2 + (1 - x) ** 2) - math.log(101.0))


def _ball3(u: Array) -> Array:
    return np.asarray(2.5 * (np.sqrt(((u - 0.4) ** 2 * [1.0, 2.0, 0.5]).sum(1)) - 0.4))


def _saddle3(u: Array) -> Array:
    x, y, z = (2.0 * u - 1.0).T
    return np.asarray(2.0 * x * y + 1.5 * z - 0.4 + 0.5 * np.sin(3.0 * x + z))


def _coupling3(u: Array) -> Array:
    """log mu in two masses and a coupling."""
    mass, light, g = 400.0 + 2600.0 * u[:, 0], 200.0 * u[:, 1], 0.2 * 10.0 ** u[:, 2]
    return np.asarray(np.clip(mass / 500.0 - 2.0 - 2.0 * np.log(g) + (light / 150.0) ** 2 - 1.0, -7.0, 7.0))


HELD_OUT: tuple[Shape, ...] = (
    *(_draw(i, 2, length, level) for i, (length, level) in enumerate(((0.5, 0.4), (0.4, 0.6), (0.35, 0.3), (0.6, 0.5),
                                                                     (0.3, 0.5), (0.45, 0.25)))),
    *(_draw(i, 3, length, level) for i, (length, level) in enumerate(((0.9, 0.4), (0.7, 0.6)), 6)),
    Shape("ripples", 2, _ripples), Shape("ring", 2, _ring), Shape("wedge", 2, _wedge),
    Shape("threshold", 2, _threshold), Shape("compressed", 2, _compressed), Shape("funnel", 2, _funnel),
    Shape("branin", 2, _branin), Shape("rosenbrock", 2, _rosenbrock), Shape("ball3", 3, _ball3),
    Shape("saddle3", 3, _saddle3), Shape("coupling3", 3, _coupling3),
    Shape("slope", 2, lambda u: np.asarray(3.0 * (u[:, 0] + 0.6 * u[:, 1] ** 2 - 0.8))),
)  # fmt: skip
