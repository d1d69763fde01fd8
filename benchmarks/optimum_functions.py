"""Standard functions to minimise, each as it is usually defined, with the spaces that they are minimised in.

Sources: Surjanovic & Bingham, *Virtual Library of Simulation Experiments*; the mixed ones are our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from idds_core import Categorical, Integer, Log, Ordered, Real, Space

__all__ = ["FUNCTIONS", "Task"]

Value = Callable[[Mapping[str, Any]], float]


@dataclass(frozen=True)
class Task:
    """Something to minimise: its space, its value without noise, and the noise of a measurement."""

    name: str
    space: Space
    value: Value
    noise: float = 0.0
    kind: str = "function"


def _of_vector(function: Callable[[Any], float]) -> Value:
    return lambda p: float(function(np.array(list(p.values()), dtype=float)))


def _box(d: int, low: float, high: float) -> Space:
    return Space({f"x{i}": Real(low, high) for i in range(d)})


def branin(x: Any) -> float:
    a = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return float(a**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10)


_A3 = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
_P3 = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
_A6 = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
                [17, 8, 0.05, 10, 0.1, 14]])  # fmt: skip
_P6 = 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                       [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])  # fmt: skip
_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])


def hartmann(x: Any) -> float:
    A, P = (_A3, _P3) if len(x) == 3 else (_A6, _P6)
    return float(-(_WEIGHTS * np.exp(-(A * (x - P) ** 2).sum(axis=1))).sum())


def ackley(x: Any) -> float:
    rms, mean = math.sqrt(float(np.mean(x**2))), float(np.mean(np.cos(2 * math.pi * x)))
    return -20 * math.exp(-0.2 * rms) - math.exp(mean) + 20 + math.e


def goldstein_price(x: Any) -> float:
    a, b = x
    one = 1 + (a + b + 1) ** 2 * (19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2)
    two = 30 + (2 * a - 3 * b) ** 2 * (18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2)
    return float(one * two)


def camel(x: Any) -> float:
    a, b = x
    return float((4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (-4 + 4 * b**2) * b**2)


def rosenbrock(x: Any) -> float:
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def levy(x: Any) -> float:
    w = 1 + (x - 1) / 4
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)
    return float(np.sin(math.pi * w[0]) ** 2 + middle.sum()
                 + (w[-1] - 1) ** 2 * (1 + np.sin(2 * math.pi * w[-1]) ** 2))  # fmt: skip


def rastrigin(x: Any) -> float:
    return float(10 * len(x) + (x**2 - 10 * np.cos(2 * math.pi * x)).sum())


def michalewicz(x: Any) -> float:
    i = np.arange(1, len(x) + 1)
    return float(-(np.sin(x) * np.sin(i * x**2 / math.pi) ** 20).sum())


def styblinski(x: Any) -> float:
    return float(0.5 * (x**4 - 16 * x**2 + 5 * x).sum())


def shekel(x: Any) -> float:
    beta = 0.1 * np.array([1, 2, 2, 4, 4, 6, 3])
    C = np.array([[4, 1, 8, 6, 3, 2, 5], [4, 1, 8, 6, 7, 9, 3], [4, 1, 8, 6, 3, 2, 5], [4, 1, 8, 6, 7, 9, 3]])
    return float(-(1 / (((x[:, None] - C) ** 2).sum(axis=0) + beta)).sum())


def dixon_price(x: Any) -> float:
    i = np.arange(2, len(x) + 1)
    return float((x[0] - 1) ** 2 + (i * (2 * x[1:] ** 2 - x[:-1]) ** 2).sum())


def schwefel(x: Any) -> float:
    return float(418.9829 * len(x) - (x * np.sin(np.sqrt(np.abs(x)))).sum())


def beale(x: Any) -> float:
    a, b = x
    return float((1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2)


def mixed(p: Mapping[str, Any]) -> float:
    """A choice moves the valley, an integer and an ordered parameter shape it."""
    shift = {"a": 0.2, "b": 0.5, "c": 0.8, "d": 0.35}[p["kind"]]
    base = {"a": 0.3, "b": 0.0, "c": 0.15, "d": 0.5}[p["kind"]]
    depth = (p["depth"] - 6) ** 2 / 25
    size = (math.log2(p["size"]) - 6) ** 2 / 10
    rate = (math.log10(p["rate"]) + 2.5) ** 2 / 4
    return float(base + 4 * (p["x"] - shift) ** 2 + depth + size + rate + 0.2 * math.sin(8 * p["x"]) * depth)


def conditional(p: Mapping[str, Any]) -> float:
    """Two models, each with parameters of its own."""
    if p["model"] == "svc":
        c, g = math.log10(p["c"]), math.log10(p["gamma"])
        kernel = 0.0 if p["kernel"] == "rbf" else 0.1 + 0.05 * abs(p["degree"] - 3)
        return float(0.2 + 0.1 * (c - 1) ** 2 + 0.1 * (g + 2) ** 2 + 0.05 * c * g / 4 + kernel)
    if p["model"] == "trees":
        return float(0.25 + 0.01 * (p["depth"] - 8) ** 2 + 0.3 * (p["share"] - 0.6) ** 2)
    return float(0.35 + 0.02 * (p["neighbours"] - 7) ** 2 / 4)


CONDITIONAL = Space(
    model=Categorical(["svc", "trees", "knn"]),
    c=Log(1e-3, 1e3, when="model == 'svc'"),
    gamma=Log(1e-5, 10, when="model == 'svc'"),
    kernel=Categorical(["rbf", "poly"], when="model == 'svc'"),
    degree=Integer(2, 5, when="kernel == 'poly'"),
    depth=Integer(1, 20, when="model == 'trees'"),
    share=Real(0.05, 1, when="model == 'trees'"),
    neighbours=Integer(1, 40, when="model == 'knn'"),
)
MIXED = Space(
    kind=Categorical(["a", "b", "c", "d"]), depth=Integer(1, 12), size=Ordered([8, 16, 32, 64, 128, 256]),
    rate=Log(1e-5, 1), x=Real(0, 1),
)  # fmt: skip


def _outlying(p: Mapping[str, Any]) -> float:
    """Branin, but a twentieth of the plane fails with a huge value."""
    x = np.array([p["x"], p["y"]])
    wild = math.sin(12.9898 * x[0] + 78.233 * x[1]) > 0.99
    return branin(x) * (1e4 if wild else 1.0)


FUNCTIONS: tuple[Task, ...] = (
    Task("branin", Space(x=Real(-5, 10), y=Real(0, 15)), _of_vector(branin)),
    Task("hartmann3", _box(3, 0, 1), _of_vector(hartmann)),
    Task("hartmann6", _box(6, 0, 1), _of_vector(hartmann)),
    Task("ackley5 with noise", _box(5, -5, 10), _of_vector(ackley), 0.5),
    Task("hartmann3 with noise", _box(3, 0, 1), _of_vector(hartmann), 0.1),
    Task("branin with outliers", Space(x=Real(-5, 10), y=Real(0, 15)), _outlying),
    Task("goldstein-price", _box(2, -2, 2), _of_vector(goldstein_price)),
    Task("camel", Space(x=Real(-3, 3), y=Real(-2, 2)), _of_vector(camel)),
    Task("rosenbrock4", _box(4, -2, 2), _of_vector(rosenbrock)),
    Task("levy4", _box(4, -10, 10), _of_vector(levy)),
    Task("rastrigin3", _box(3, -5.12, 5.12), _of_vector(rastrigin)),
    Task("michalewicz5", _box(5, 0, math.pi), _of_vector(michalewicz)),
    Task("styblinski4", _box(4, -5, 5), _of_vector(styblinski)),
    Task("shekel7", _box(4, 0, 10), _of_vector(shekel)),
    Task("dixon-price5", _box(5, -10, 10), _of_vector(dixon_price)),
    Task("schwefel2", _box(2, -500, 500), _of_vector(schwefel)),
    Task("beale", _box(2, -4.5, 4.5), _of_vector(beale)),
    Task("mixed", MIXED, mixed),
    Task("conditional", CONDITIONAL, conditional),
    Task("conditional with noise", CONDITIONAL, conditional, 0.03),
)
