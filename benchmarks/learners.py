"""Evaluations until the contour is right to 1 % and 0.3 %: LevelSet against Sobol with the very same surrogate.

    python -m benchmarks.learners --quick
    python -m benchmarks.learners --problems monoH2e fast2D --seeds 10 --json

Use one BLAS thread (OMP_NUM_THREADS=1). N(tol) is the first of two consecutive records at or below tol.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.problems import PROBLEMS, Benchmark
from idds_core.history import History, Observation, derive_seed
from idds_core.ports import Proposal
from idds_core.testing.toys import play
from idds_learners import LevelSet, Sobol

Measure = Callable[[int, Mapping[str, Any]], Observation]
TOLERANCES = (0.01, 0.003)
QUICK = ("monoH2e", "fast2D", "noisy2")


@dataclasses.dataclass
class _Timed:
    """A learner whose asks are timed."""

    learner: Any
    cpu_s: list[float] = dataclasses.field(default_factory=list)

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


def first_of_two(records: list[tuple[int, float]], tol: float) -> float:
    """The first N of two consecutive records at or below tol; infinite when there is none."""
    for (n, a), (_, b) in pairwise(records):
        if a <= tol and b <= tol:
            return n
    return float("inf")


def study(problem: Benchmark, learner: Any, seed: int) -> dict[str, Any]:
    """One run: the error after each iteration, N(1 %), N(0.3 %) and the CPU seconds an ask took."""
    u, excluded = problem.truth()
    records: list[tuple[int, float]] = []
    timed = _Timed(learner)
    plan = batches(learner.first or problem.first, problem.batch, problem.budget)
    for history in play(timed, problem.space, measured(problem, seed), seed=seed, batches=plan):
        maps = learner.surrogate(history)
        found = maps.predict_unit(u)["f"].p_excluded > 0.5
        records.append((len(history.points), float(np.mean(found != excluded))))
        if len(records) > 2 and max(e for _, e in records[-2:]) <= TOLERANCES[-1]:
            break
    return {
        "problem": problem.name, "learner": type(learner).__name__, "seed": seed, "records": records,
        "n": [first_of_two(records, tol) for tol in TOLERANCES], "cpu_s": max(timed.cpu_s[1:]), "final": records[-1][1],
    }  # fmt: skip


def learners_for(problem: Benchmark, maximin: float | None = None) -> list[Any]:
    """LevelSet and Sobol with their defaults; maximin: another share of exploring points for LevelSet."""
    level = 1.0 if problem.transform == "log" else 0.0
    sobol = Sobol(("f",), level=level, transform=problem.transform, first=problem.first)
    level_set = LevelSet(("f",), level=level, transform=problem.transform, first=problem.first)
    return [level_set if maximin is None else dataclasses.replace(level_set, maximin=maximin), sobol]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK)} on 5 seeds")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=None)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--maximin", type=float, default=None, help="LevelSet's share of exploring points")
    parser.add_argument("--json", action="store_true", help="one JSON object a line: problem, learner, medians, runs")
    options = parser.parse_args()
    names = options.problems or (QUICK if options.quick else tuple(PROBLEMS))
    for name in names:
        for learner in learners_for(PROBLEMS[name], options.maximin):
            seeds = range(1, (5 if options.quick else options.seeds) + 1)
            runs = [study(PROBLEMS[name], learner, seed) for seed in seeds]
            medians = [statistics.median(r["n"][i] for r in runs) for i in range(len(TOLERANCES))]
            if options.json:
                found = {"problem": name, "learner": type(learner).__name__, "seeds": len(runs)}
                found["medians"] = [m if np.isfinite(m) else None for m in medians]
                found |= {"finals": [r["final"] for r in runs], "cpu_s": max(r["cpu_s"] for r in runs)}
                print(json.dumps(found), flush=True)
            else:
                print(f"{name:9s} {type(learner).__name__:9s} N(1 %) {medians[0]:6g}  N(0.3 %) {medians[1]:6g}  "
                      f"ask <= {max(r['cpu_s'] for r in runs):.2f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
