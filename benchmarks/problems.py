"""Benchmark problems with known answers: f < 0 is excluded. Each is a space, a function and how it is to be scanned.

The monoH family is a toy dark-Higgs mono-H(bb) search with two counting regions; fast2D is a test case of the
excursion package, written out; islands2 has an island of 1.9 % of the volume; noisy2 has Monte Carlo noise; quad6 is a
tilted bowl in six dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import pdtr
from scipy.stats import qmc

from idds_core.space import Log, Real, Space

Array = NDArray[np.float64]
Columns = Mapping[str, Array]


@dataclass(frozen=True)
class Benchmark:
    """A problem: f of columns of natural values; first design, batch, budget; sigma of the noise that is added to f.

    transform : what the learner is told of the observation; log: a signal strength exp(f) is observed, none: f itself.
    trend : a cheap proxy of f, ``module:function``, that learners may use.
    """

    name: str
    space: Space
    f: Callable[[Columns], Array]
    first: int
    batch: int
    budget: int
    sigma: float = 0.0
    transform: str = "log"
    trend: str | None = None

    def at_unit(self, u: Array) -> Array:
        """(n,) f at u (n, d) of the unit cube."""
        return self.f(self.columns(u))

    def at(self, point: Mapping[str, Any]) -> float:
        """f at one point."""
        return float(self.f({k: np.array([v], dtype=float) for k, v in point.items()})[0])

    def columns(self, u: Array) -> Columns:
        """Natural values, by parameter, of u (n, d)."""
        found = {}
        for x, (name, p) in zip(u.T, self.space.parameters.items(), strict=True):
            assert isinstance(p, (Real, Log))
            span = math.log(p.high / p.low) if isinstance(p, Log) else p.high - p.low
            found[name] = p.low * np.exp(x * span) if isinstance(p, Log) else p.low + x * span
        return found

    def valid(self, u: Array) -> NDArray[np.bool_]:
        """(n,) whether u (n, d) meets the constraints."""
        return self.space.allowed_unit(u)

    def truth(self) -> tuple[Array, NDArray[np.bool_]]:
        """(m, d) test points of the valid region, 2^13 (d < 4) or 2^14 before the cut, and whether each is excluded."""
        return _truth(self.name)


@lru_cache(maxsize=16)
def _truth(name: str) -> tuple[Array, NDArray[np.bool_]]:
    problem = PROBLEMS[name]
    d = problem.space.dimension
    u = qmc.Sobol(d, scramble=True, seed=np.random.default_rng(20240607)).random_base2(13 if d < 4 else 14)
    u = u[problem.valid(u)]
    return u, problem.at_unit(u) < 0


@cache
def s95(b: float, n: int) -> float:
    """The signal excluded at 95 % CLs in a counting experiment: P(N <= n | s + b) / P(N <= n | b) = 0.05."""
    return float(brentq(lambda s: pdtr(n, s + b) / pdtr(n, b) - 0.05, 1e-6, 200.0, xtol=1e-12))


def _positive(x: Array) -> Array:
    return np.maximum(x, 1e-9)


def mono_h(m_z: Array, m_s: Array, g: Array | float = 1.0, m_x: Array | float = 200.0) -> Array:
    """log mu_up of the toy mono-H(bb) search; masses in GeV."""
    ps = _positive(1.0 - (2.0 * m_x / m_z) ** 2) ** 1.5
    ps2 = _positive(1.0 - ((m_s + 2.0 * m_x) / m_z) ** 2) ** 0.5
    signal = 4e4 * g**2 * np.exp(-m_z / 420.0) * (1000.0 / m_z) * ps * ps2
    br = 1.0 / (1.0 + np.exp((m_s - 135.0) / 9.0))
    rad = 1.0 / (1.0 + (m_s / 120.0) ** 2) + 0.15
    met = 0.32 * m_z * (1.0 - 0.0012 * m_s)
    eff1 = 0.25 / (1.0 + np.exp(-(met - 180.0) / 45.0))
    eff2 = 0.35 / (1.0 + np.exp(-(met - 520.0) / 90.0))
    s1, s2 = (0.2 * signal * br * eff * rad for eff in (eff1, eff2))
    limits = np.minimum(math.log(s95(40.0, 40)) - np.log(s1 + 1e-12), math.log(s95(6.0, 6)) - np.log(s2 + 1e-12))
    return np.asarray(np.clip(limits, -9.0, 9.0))


def mono_proxy(m_z: Array, m_s: Array, g: Array, m_x: Array | float = 200.0) -> Array:
    """Minus the log of the cross section times branching, up to constants: all of f but the acceptance."""
    ps = _positive(1.0 - (2.0 * m_x / m_z) ** 2) ** 1.5
    ps2 = _positive(1.0 - ((m_s + 2.0 * m_x) / m_z) ** 2) ** 0.5
    br = 1.0 / (1.0 + np.exp((m_s - 135.0) / 9.0))
    signal = g**2 * np.exp(-m_z / 420.0) * (1000.0 / m_z) * ps * ps2 * br
    return np.asarray(np.clip(-np.log(signal + 1e-12), -15.0, 15.0))


def mono_quick(c: Columns) -> Array:
    """What a fast simulation has for the f of monoH3: one region of the two, and a cruder acceptance."""
    m_z, m_s, g = c["m_z"], c["m_s"], c["g"]
    ps = _positive(1.0 - (400.0 / m_z) ** 2) ** 1.5
    ps2 = _positive(1.0 - ((m_s + 400.0) / m_z) ** 2) ** 0.5
    br = 1.0 / (1.0 + np.exp((m_s - 135.0) / 9.0))
    efficiency = 0.25 / (1.0 + np.exp(-(0.3 * m_z - 200.0) / 70.0))
    signal = 8e3 * g**2 * np.exp(-m_z / 420.0) * (1000.0 / m_z) * ps * ps2 * br * efficiency
    return np.asarray(np.clip(math.log(s95(40.0, 40)) - np.log(signal + 1e-12), -9.0, 9.0))


def _mono(c: Columns) -> Array:
    return mono_h(c["m_z"], c["m_s"], c.get("g", np.array(1.0)), c.get("m_x", np.array(200.0)))


def _fast2d(c: Columns) -> Array:
    x, y = 1.5 * c["u1"], 1.5 * c["u2"]
    xs = 12.0 * np.exp(-x / 2.0) + 0.1 * np.cos(10.0 * y + 1.0) + 0.2 * np.cos(15.0 * x)
    n = xs * np.tanh(1.3 * x - y + 1.0)
    return np.asarray(3.0 * (-np.log1p(np.exp(2.0 * (n - 5.0))) - math.log(0.05)))


def _islands2(c: Columns) -> Array:
    u1, u2 = c["u1"], c["u2"]
    a = 5.0 * np.exp(-((u1 - 0.3) ** 2 / 0.03 + (u2 - 0.6) ** 2 / 0.05))
    b = 4.0 * np.exp(-((u1 - 0.8) ** 2 / 0.006 + (u2 - 0.2) ** 2 / 0.009))
    s = s95(6.0, 6)
    return np.asarray(math.log(s) - np.log(0.55 * s * (a + b) + 0.3))


def _quad6(c: Columns) -> Array:
    total = np.array(0.02)
    for i, (a, x) in enumerate(zip((3, 2, 1.5, 1, 0.7, 0.4), (0.35, 0.5, 0.6, 0.4, 0.55, 0.5), strict=True), 1):
        total = total + a * (c[f"u{i}"] - x) ** 2
    return np.asarray(np.log(total) - math.log(0.57))


def _cube(d: int) -> Space:
    return Space({f"u{i}": Real(0.0, 1.0) for i in range(1, d + 1)})


_M_Z, _M_S = Real(350.0, 3350.0, unit="GeV"), Real(30.0, 230.0, unit="GeV")
_EASY = Space(m_z=Real(600.0, 3000.0, unit="GeV"), m_s=Real(30.0, 130.0, unit="GeV"))
_MONO3 = Space(m_z=_M_Z, m_s=_M_S, g=Log(0.15, 2.0), constraints=["m_z > 405"])
_MONO4 = Space(m_z=_M_Z, m_s=_M_S, g=Log(0.15, 2.0), m_x=Real(50.0, 800.0, unit="GeV"),
               constraints=["m_z > 2.02 * m_x"])  # fmt: skip

PROBLEMS = {
    p.name: p
    for p in (
        Benchmark("monoH2", Space(m_z=_M_Z, m_s=_M_S, constraints=["m_z > 405"]), _mono, 10, 4, 80),
        Benchmark("monoH2e", _EASY, _mono, 6, 1, 30),
        Benchmark("monoH3", _MONO3, _mono, 16, 8, 240),
        Benchmark("monoH3proxy", _MONO3, _mono, 16, 8, 160, trend=f"{__name__}:mono_proxy"),
        Benchmark("monoH4", _MONO4, _mono, 32, 16, 224),
        Benchmark("monoH4proxy", _MONO4, _mono, 32, 16, 160, trend=f"{__name__}:mono_proxy"),
        Benchmark("fast2D", _cube(2), _fast2d, 6, 1, 50, transform="none"),
        Benchmark("islands2", _cube(2), _islands2, 24, 4, 60),
        Benchmark("noisy2", _EASY, _mono, 12, 8, 84, sigma=0.2, transform="none"),
        Benchmark("quad6", _cube(6), _quad6, 32, 32, 224),
    )
}


#: the largest number of points a side that is tried, by dimension
_GRIDS = {2: 60, 3: 28, 4: 14}


def grid_error(problem: Benchmark, k: int) -> tuple[int, float]:
    """Evaluations and misclassified share of multilinear interpolation on k^d points of f, or of f - proxy."""
    from scipy.interpolate import RegularGridInterpolator

    d = problem.space.dimension
    axis = np.linspace(0.0, 1.0, k)
    nodes = np.stack(np.meshgrid(*[axis] * d, indexing="ij"), axis=-1).reshape(-1, d)
    u, excluded = problem.truth()
    with np.errstate(all="ignore"):
        values = problem.at_unit(nodes) - _proxy(problem, nodes)
    found = RegularGridInterpolator((axis,) * d, values.reshape((k,) * d))(u) + _proxy(problem, u)
    return int(problem.valid(nodes).sum()), float(np.mean((found < 0) != excluded))


def _proxy(problem: Benchmark, u: Array) -> Array:
    return mono_proxy(**problem.columns(u)) if problem.trend else np.zeros(len(u))


def grid_needed(problem: Benchmark) -> dict[str, float | None]:
    """The fewest evaluations with which a grid is right to 1 % and 0.3 %; None: more than is tried."""
    found: dict[str, float | None] = {"n_1pct": None, "n_03pct": None}
    if problem.space.dimension not in _GRIDS:
        return found
    for k in range(3, _GRIDS[problem.space.dimension]):
        n, error = grid_error(problem, k)
        for name, tol in (("n_1pct", 0.01), ("n_03pct", 0.003)):
            if error <= tol and found[name] is None:
                found[name] = n
        if found["n_03pct"] is not None:
            break
    return found
