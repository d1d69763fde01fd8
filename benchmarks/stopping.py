"""How often does a loop conclude too early? `BoundaryConverged(tol)` on problems that nothing was tuned on.

    OMP_NUM_THREADS=1 python -m benchmarks.stopping [--seeds 10] [--tol 0.01] [--json] [--quick]

A run concludes at the first verdict of convergence. It was early when the true misclassified share was above tol then.
The first crossing is the first of two consecutive iterations at or below tol; a run was in time when it concluded
within three times as many evaluations. `coverage` is the share of test points whose true value lay in the 95 % band of
the map when the run concluded. A run that never concluded within its budget is not in time.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import beta, qmc

from benchmarks.held_out import HELD_OUT, Shape
from benchmarks.runs import batches, first_of_two
from benchmarks.script import finish, parser, start, tell
from idds_core.history import Observation
from idds_core.space import Real, Space
from idds_core.states import VerdictKind
from idds_core.testing.toys import play
from idds_learners import BoundaryConverged, LevelSet

#: first design, batch and budget by dimension
PLANS = {2: (10, 4, 150), 3: (16, 8, 320)}


@dataclass(frozen=True)
class Outcome:
    """One run: N at the verdict (None: never), its true error and coverage then, and N at the first crossing."""

    problem: str
    seed: int
    concluded: int | None
    error: float | None
    coverage: float | None
    crossing: float

    def early(self, tol: float) -> bool:
        """Whether the contour was not right yet."""
        return self.error is not None and self.error > tol

    @property
    def in_time(self) -> bool:
        """Whether it concluded, and within three times the first crossing."""
        return self.concluded is not None and self.concluded <= 3 * self.crossing


def run(shape: Shape, seed: int, tol: float) -> Outcome:
    """Play a loop to its verdict, and on to the first crossing if that comes later."""
    space = Space({f"u{i}": Real(0.0, 1.0) for i in range(1, shape.dimension + 1)})
    test = qmc.Sobol(shape.dimension, seed=np.random.default_rng(5)).random(4096)
    truth = shape.f(test)
    learner, condition = LevelSet("f", level=0.0, transform="none"), BoundaryConverged(tol)

    def seen(_: int, point: Any) -> Observation:
        return Observation({"f": float(shape.f(space.to_unit([point]))[0])})

    concluded, error, coverage, records = None, None, None, list[tuple[int, float]]()
    for history in play(learner, space, seen, seed=seed, batches=batches(*PLANS[shape.dimension])):
        maps = learner.surrogate(history)
        assert maps is not None
        found = maps.predict_unit(test)["f"]
        wrong = float(np.mean((found.p_excluded > 0.5) != (truth < 0)))
        records.append((len(history.points), wrong))
        if concluded is None and condition.check(history).kind is VerdictKind.CONVERGED:
            concluded, error = len(history.points), wrong
            coverage = float(np.mean(np.abs(found.mean - truth) <= 1.96 * found.sd))
        if concluded is not None and np.isfinite(first_of_two(records, tol)):
            break
    return Outcome(shape.name, seed, concluded, error, coverage, first_of_two(records, tol))


def summary(outcomes: list[Outcome], tol: float) -> dict[str, Any]:
    """Counts with their 95 % intervals (Clopper and Pearson), and medians."""
    n, early = len(outcomes), sum(o.early(tol) for o in outcomes)
    ended = [o for o in outcomes if o.concluded is not None]
    ratios = [o.concluded / o.crossing for o in ended if o.concluded is not None and np.isfinite(o.crossing)]
    return {
        "runs": n, "early": early, "early_interval": _interval(early, n), "concluded": len(ended),
        "in_time": sum(o.in_time for o in outcomes), "cost": statistics.median(ratios) if ratios else None,
        "coverage": statistics.mean(o.coverage for o in ended if o.coverage is not None) if ended else None,
    }  # fmt: skip


def _interval(k: int, n: int) -> tuple[float, float]:
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    return low, float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0


def show(figures: Mapping[str, Any]) -> None:
    """A line of text."""
    print("all", {key: figures[key] for key in ("runs", "early", "early_interval", "concluded", "in_time", "cost",
                                               "coverage")})  # fmt: skip


def main() -> int:
    """Measure and print."""
    made = parser(__doc__, seeds=10, quick="the problems in two dimensions")
    made.add_argument("--tol", type=float, default=0.01)
    options = made.parse_args()
    figures = start(options)
    shapes = [s for s in HELD_OUT if s.dimension == 2 or not options.quick]
    outcomes = list[Outcome]()
    for shape in shapes:
        ours = [run(shape, seed, options.tol) for seed in range(options.seeds)]
        outcomes += ours
        tell(f"{shape.name:14} {summary(ours, options.tol)}")
    figures |= {"tol": options.tol, "problems": {s.name: s.dimension for s in shapes}, **summary(outcomes, options.tol),
                "each": [vars(o) for o in outcomes]}  # fmt: skip
    return finish(options, figures, show)


if __name__ == "__main__":
    sys.exit(main())
