"""A fast simulation first: evaluations of the dear one to 1 % and 0.3 % when its learner reads what the cheap one gave.

    OMP_NUM_THREADS=1 python -m benchmarks.proxy --seeds 6

The dear loop is monoH3; the quick one measures `mono_quick`, one signal region with a cruder acceptance, at so many
points of a Sobol sequence, without and with noise (a standard deviation of log mu). `exact` is the theory as a function
(monoH3proxy), `without` no trend at all. Counted are the dear evaluations alone.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.problems import PROBLEMS, mono_quick
from benchmarks.runs import learn, level_set
from benchmarks.script import finish, parser, start, tell
from idds_core.history import History, Observation, Point
from idds_core.ports import Proposal
from idds_core.states import PointState
from idds_learners import LevelSet, Sobol

MONO = PROBLEMS["monoH3"]
#: points of the quick loop, and the noise of each
QUICK = ((64, 0.0), (128, 0.0), (256, 0.0), (256, 0.2))


def quick(seed: int, n: int, sigma: float) -> History:
    """What the quick loop has measured."""
    points = Sobol().ask(History(MONO.space, seed), n).points
    columns = {name: np.array([p[name] for p in points]) for name in MONO.space.names}
    mu = np.exp(mono_quick(columns) + sigma * np.random.default_rng(seed).normal(size=n))
    seen = [Observation({"f": float(v)}, {"f": sigma * float(v)} if sigma else {}) for v in mu]
    rows = enumerate(zip(points, seen, strict=True), 1)
    return History(MONO.space, 0, ("f",), tuple(Point(i, 1, p, PointState.MEASURED, o) for i, (p, o) in rows))


@dataclass(frozen=True)
class Reading:
    """A learner that is shown an earlier loop, as the engine does it."""

    learner: LevelSet
    earlier: Mapping[str, History]

    def ask(self, history: History, n: int) -> Proposal:
        return self.learner.ask(replace(history, earlier=self.earlier), n)

    def surrogate(self, history: History) -> Any:
        return self.learner.surrogate(replace(history, earlier=self.earlier))


def study(name: str, seeds: int, n: int = 0, sigma: float = 0.0) -> dict[str, Any]:
    """Evaluations of the dear loop with so many quick points; 0: those of the problem of that name as it is."""
    problem, found = PROBLEMS[name], []
    for seed in range(1000, 1000 + seeds):
        learner: Any = level_set(problem)
        if n:
            learner = Reading(replace(learner, trend="quick.f"), {"quick": quick(seed, n, sigma)})
        found.append(learn(problem, learner, seed)[0].n)
    medians = [statistics.median(run[i] for run in found) for i in range(2)]
    return {"quick": n, "noise": sigma, "runs": found, "medians": medians}


def show(figures: Mapping[str, Any]) -> None:
    """A line for each trend."""
    for row in figures["trends"]:
        print(", ".join(f"{key} {value}" for key, value in row.items()))


def main() -> int:
    """Measure and print."""
    options = parser(__doc__, seeds=6, quick="256 points without noise alone").parse_args()
    figures, rows = start(options), []
    cases = [("without", "monoH3", 0, 0.0), ("exact", "monoH3proxy", 0, 0.0)]
    cases += [("quick", "monoH3", n, sigma) for n, sigma in QUICK if not options.quick or (n, sigma) == (256, 0.0)]
    for trend, problem, n, sigma in cases:
        rows.append({"trend": trend, **study(problem, options.seeds, n, sigma)})
        tell(f"{trend} {n or ''} is done")
    return finish(options, figures | {"trends": rows}, show)


if __name__ == "__main__":
    sys.exit(main())
