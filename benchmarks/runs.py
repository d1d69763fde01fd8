"""One run of a method on a problem: what is observed, the errors, and how many evaluations it took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problems import Benchmark
from idds_core.history import History, Observation, Point, derive_seed
from idds_core.ports import Proposal
from idds_core.testing.toys import play
from idds_learners import LevelSet, Sobol

__all__ = [
    "TOLERANCES",
    "Run",
    "Timed",
    "batches",
    "first_of_two",
    "learn",
    "level_set",
    "measured",
    "misclassified",
    "sobol",
]

Measure = Callable[[int, Mapping[str, Any]], Observation]
TOLERANCES = (0.01, 0.003)


@dataclass
class Run:
    """Evaluations and misclassified share after each iteration; the most CPU seconds that an ask took."""

    records: list[tuple[int, float]] = field(default_factory=list)
    cpu_s: float = 0.0

    @property
    def n(self) -> list[float]:
        """N(1 %) and N(0.3 %)."""
        return [first_of_two(self.records, tol) for tol in TOLERANCES]

    def settled(self, tol: float = TOLERANCES[-1]) -> bool:
        """Whether the tolerance was met twice in a row: nothing more to see."""
        return len(self.records) > 1 and max(e for _, e in self.records[-2:]) <= tol


@dataclass
class Timed:
    """A learner whose asks are timed."""

    learner: Any
    cpu_s: list[float] = field(default_factory=list)

    def ask(self, history: History, n: int) -> Proposal:
        began = time.process_time()
        proposal: Proposal = self.learner.ask(history, n)
        self.cpu_s.append(time.process_time() - began)
        return proposal


def batches(first: int, batch: int, budget: int) -> tuple[int, ...]:
    """First design, full batches, and what is left."""
    full, left = divmod(budget - first, batch)
    return (first, *[batch] * full, *([left] if left else []))


def measured(problem: Benchmark, seed: int) -> Measure:
    """What is observed: f, or exp(f) where that is the natural target; its noise depends on seed and number only."""

    def measure(number: int, point: Mapping[str, Any]) -> Observation:
        value = problem.at(point)
        if problem.sigma:
            value += problem.sigma * np.random.default_rng(derive_seed(seed, "noise", number)).normal()
        seen = math.exp(value) if problem.transform == "log" else value
        sigma = problem.sigma * (seen if problem.transform == "log" else 1.0)
        return Observation({"f": seen}, {"f": sigma} if sigma else {})

    return measure


def first_of_two(records: Sequence[tuple[int, float]], tol: float) -> float:
    """The first N of two consecutive records at or below tol; infinite when there is none."""
    for (n, a), (_, b) in pairwise(records):
        if a <= tol and b <= tol:
            return n
    return float("inf")


def misclassified(problem: Benchmark, excluded: NDArray[np.bool_]) -> float:
    """The share of the test points that a map, which says which of them are excluded, gets wrong."""
    return float(np.mean(excluded != problem.truth()[1]))


def _fields(problem: Benchmark) -> dict[str, Any]:
    level = 1.0 if problem.transform == "log" else 0.0
    return {"level": level, "transform": problem.transform, "first": problem.first, "trend": problem.trend}


def level_set(problem: Benchmark) -> LevelSet:
    """LevelSet with its defaults, told what the problem's target is."""
    return LevelSet(("f",), **_fields(problem))


def sobol(problem: Benchmark) -> Sobol:
    """Sobol with the very same surrogate."""
    return Sobol(("f",), **_fields(problem))


def learn(
    problem: Benchmark, learner: Any, seed: int, known: Sequence[Point] = (), tol: float = TOLERANCES[-1]
) -> tuple[Run, tuple[Point, ...]]:
    """One run of a learner of ours until `tol` is met, and its points; `known` ones do not count."""
    run, timed, points = Run(), Timed(learner), tuple(known)
    plan = batches(problem.batch if known else problem.first, problem.batch, problem.budget)
    test = problem.truth()[0]
    for history in play(timed, problem.space, measured(problem, seed), seed=seed, batches=plan, known=known):
        points = history.points
        found = learner.surrogate(history).predict_unit(test)["f"].p_excluded > 0.5
        run.records.append((len(points) - len(known), misclassified(problem, found)))
        if run.settled(tol):
            break
    run.cpu_s = max(timed.cpu_s[1:], default=0.0)
    return run, points
