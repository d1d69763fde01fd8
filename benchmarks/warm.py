"""One more parameter: a scan in four dimensions that begins with the points of one in three, against one from scratch.

    python -m benchmarks.warm --seeds 5

monoH3 is scanned until its contour is right to 1 %; then the mass m_x of the dark matter, fixed until then, becomes a
parameter (monoH4), and the old points enter at the value it had. Counted are the new evaluations until two consecutive
iterations are right to 1 % and 2 %. Use one BLAS thread (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.learners import batches, first_of_two, learners_for, measured
from benchmarks.problems import PROBLEMS
from idds_core.history import Point
from idds_core.testing.toys import play

M_X = 200.0
"""GeV, the mass that monoH3 has fixed."""
TOLERANCES = (0.01, 0.02)


def evaluations(name: str, seed: int, known: Sequence[Point], budget: int) -> tuple[list[float], tuple[Point, ...]]:
    """New evaluations until each tolerance was met on two iterations in a row, and all points at the end."""
    problem = PROBLEMS[name]
    learner = learners_for(problem)[0]
    u, excluded = problem.truth()
    records: list[tuple[int, float]] = []
    points: tuple[Point, ...] = tuple(known)
    first = problem.batch if known else problem.first
    plan = batches(first, problem.batch, budget)
    for history in play(learner, problem.space, measured(problem, seed), seed=seed, batches=plan, known=known):
        found = learner.surrogate(history).predict_unit(u)["f"].p_excluded > 0.5
        records.append((len(history.points) - len(known), float(np.mean(found != excluded))))
        points = history.points
        if len(records) > 1 and max(error for _, error in records[-2:]) <= min(TOLERANCES):
            break
    return [first_of_two(records, tol) for tol in TOLERANCES], points


def study(seed: int) -> dict[str, Any]:
    """Both ways for one seed."""
    _, old = evaluations("monoH3", seed, (), PROBLEMS["monoH3"].budget)
    moved = [dataclasses.replace(p, iteration=0, parameters={**p.parameters, "m_x": M_X}) for p in old]
    warm, _ = evaluations("monoH4", seed, moved, PROBLEMS["monoH4"].budget)
    scratch, _ = evaluations("monoH4", seed, (), PROBLEMS["monoH4"].budget)
    return {"seed": seed, "old": len(old), "scratch": scratch, "warm": warm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    runs = []
    for seed in range(1, options.seeds + 1):
        runs.append(study(seed))
        print(json.dumps(runs[-1]), flush=True)
    for i, tol in enumerate(TOLERANCES):
        scratch = statistics.median(r["scratch"][i] for r in runs)
        warm = statistics.median(r["warm"][i] for r in runs)
        print(
            f"to {100 * tol:g} %: from scratch {scratch:g}, with the old points {warm:g} new ones, {warm / scratch:.2f}"
        )


if __name__ == "__main__":
    main()
