"""One more parameter: a scan in four dimensions that begins with the points of one in three, against one from scratch.

    python -m benchmarks.warm --seeds 5

monoH3 is scanned until its contour is right to 1 %; then the mass m_x of the dark matter, fixed until then, becomes a
parameter (monoH4), and the old points enter at the value it had. Counted are the new evaluations until two consecutive
iterations are right to 1 % and 2 %. Use one BLAS thread (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.problems import PROBLEMS
from benchmarks.runs import first_of_two, learn, level_set
from benchmarks.script import finish, parser, start, tell
from idds_core.history import Point

M_X = 200.0
"""GeV, the mass that monoH3 has fixed."""
TOLERANCES, QUICK = (0.01, 0.02), (0.02,)


def evaluations(
    name: str, seed: int, tolerances: Sequence[float], known: Sequence[Point] = ()
) -> tuple[list[float], tuple[Point, ...]]:
    """New evaluations until each tolerance was met on two iterations in a row, and all points at the end."""
    problem = PROBLEMS[name]
    run, points = learn(problem, level_set(problem), seed, known, min(tolerances))
    return [first_of_two(run.records, tol) for tol in tolerances], points


def study(seed: int, tolerances: Sequence[float]) -> dict[str, Any]:
    """Both ways for one seed; infinite where a tolerance was never met."""
    _, old = evaluations("monoH3", seed, tolerances)
    moved = [dataclasses.replace(p, iteration=0, parameters={**p.parameters, "m_x": M_X}) for p in old]
    warm, _ = evaluations("monoH4", seed, tolerances, moved)
    scratch, _ = evaluations("monoH4", seed, tolerances)
    return {"seed": seed, "old": len(old), "scratch": scratch, "warm": warm}


def summary(runs: Sequence[Mapping[str, Any]], tolerances: Sequence[float]) -> dict[str, dict[str, float | None]]:
    """By tolerance: the medians of both ways, infinite for never, and their ratio where both got there."""
    found: dict[str, dict[str, float | None]] = {}
    for i, tol in enumerate(tolerances):
        scratch, warm = (statistics.median(r[way][i] for r in runs) for way in ("scratch", "warm"))
        known = math.isfinite(scratch) and math.isfinite(warm)
        found[f"{tol:.0%}"] = {"scratch": scratch, "warm": warm, "ratio": warm / scratch if known else None}
    return found


def show(figures: Mapping[str, Any]) -> None:
    """A line of text for each tolerance."""
    for tol, row in figures["medians"].items():
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(f"to {tol}: from scratch {row['scratch']:g}, with the old points {row['warm']:g} new ones, ratio {ratio}")


def main() -> int:
    """Measure and print."""
    options = parser(__doc__, seeds=5, quick="to 2 % only").parse_args()
    figures, tolerances = start(options), QUICK if options.quick else TOLERANCES
    runs = []
    for seed in range(1, options.seeds + 1):
        runs.append(study(seed, tolerances))
        tell(str(runs[-1]))
    figures |= {"medians": summary(runs, tolerances), "each": runs}
    return finish(options, figures, show)


if __name__ == "__main__":
    sys.exit(main())
