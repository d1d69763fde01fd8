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

from benchmarks.problems import PROBLEMS
from benchmarks.runs import first_of_two, learn, level_set
from idds_core.history import Point

M_X = 200.0
"""GeV, the mass that monoH3 has fixed."""
TOLERANCES = (0.01, 0.02)


def evaluations(name: str, seed: int, known: Sequence[Point] = ()) -> tuple[list[float], tuple[Point, ...]]:
    """New evaluations until each tolerance was met on two iterations in a row, and all points at the end."""
    problem = PROBLEMS[name]
    run, points = learn(problem, level_set(problem), seed, known, min(TOLERANCES))
    return [first_of_two(run.records, tol) for tol in TOLERANCES], points


def study(seed: int) -> dict[str, Any]:
    """Both ways for one seed."""
    _, old = evaluations("monoH3", seed)
    moved = [dataclasses.replace(p, iteration=0, parameters={**p.parameters, "m_x": M_X}) for p in old]
    warm, _ = evaluations("monoH4", seed, moved)
    scratch, _ = evaluations("monoH4", seed)
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
