"""How many events at each point: core hours to 1 % misclassified, chosen by the learner beside one number for all.

    OMP_NUM_THREADS=1 python -m benchmarks.fidelity --seeds 12

noisy2 with an error of 0.2 at 10,000 events that falls with their square root. A point costs a fixed part and a part
for each event, in core hours. Tuning seeds, from 1000 on; first design and batches as in the problem. A run is a curve
of the misclassified share against the core hours spent. With noise a single curve crosses 1 % back and forth, so what
is told is when the median over the seeds is at or below 1 % for good, up to the budget, and the median at some hours.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problems import PROBLEMS
from benchmarks.runs import level_set, misclassified
from benchmarks.script import finish, parser, start, tell
from idds_core.history import Observation, derive_seed
from idds_core.parameters import Ordered
from idds_core.space import Space
from idds_core.testing.toys import play
from idds_learners import Events, LevelSet

PROBLEM = PROBLEMS["noisy2"]
#: error of f at so many events
SIGMA, AT = 0.2, 10_000
CHOICES = (1_000, 3_000, 10_000, 30_000, 100_000)
#: core hours of an event
EACH = 2e-5
TOLERANCE = 0.01
#: of the first design, where it can be chosen
FIRST = 3_000
#: core hours from one place of a curve to the next, and those that are told
STEP = 0.2
SHOWN = (2, 4, 6, 8, 12, 16, 24, 40, 60)

Array = NDArray[np.float64]


def cost(events: float, fixed: float) -> float:
    """Core hours of a point."""
    return fixed + EACH * events


def learner(first: int, fixed: float) -> LevelSet:
    """The learner; with one choice there is nothing to choose."""
    return replace(level_set(PROBLEM), events=Events("events", cost=f"{fixed} + {EACH} * events", first=first))


def curve(seed: int, choices: tuple[int, ...], budget: float, fixed: float) -> Array:
    """(len(AT_HOURS),) misclassified share when so many core hours are spent, 1 before there is a map."""
    space = Space({**PROBLEM.space.parameters, "events": Ordered(choices)})
    asks = learner(FIRST if FIRST in choices else choices[0], fixed)

    def measure(number: int, point: Mapping[str, Any]) -> Observation:
        sigma = SIGMA * math.sqrt(AT / point["events"])
        noise = sigma * np.random.default_rng(derive_seed(seed, "noise", number)).normal()
        return Observation({"f": PROBLEM.at({k: v for k, v in point.items() if k != "events"}) + noise}, {"f": sigma})

    hours = np.arange(STEP, budget + STEP / 2, STEP)
    test, found = PROBLEM.truth()[0], np.ones(len(hours))
    for history in play(asks, space, measure, seed=seed, batches=(PROBLEM.first, *[PROBLEM.batch] * 400)):
        spent = sum(cost(p.parameters["events"], fixed) for p in history.points)
        if spent > budget:
            break
        maps = asks.surrogate(history)
        assert maps is not None
        found[hours >= spent] = misclassified(PROBLEM, maps.predict_unit(test)["f"].p_excluded > 0.5)
    return found


def told(curves: Array, budget: float) -> dict[str, Any]:
    """Of the curves (seeds, hours): when the median is below the tolerance for good, and the median at some hours."""
    hours = np.arange(STEP, budget + STEP / 2, STEP)
    median = np.median(curves, axis=0)
    above = np.flatnonzero(median > TOLERANCE)
    first = 0 if not len(above) else int(above[-1]) + 1
    reached = float(hours[first]) if first < len(hours) else math.inf
    at = {f"{h:g}": round(100 * float(np.interp(h, hours, median)), 2) for h in SHOWN if h <= budget}
    return {"core_hours": reached, "median_at": at, "share_below_at_end": float(np.mean(curves[:, -1] <= TOLERANCE))}


def show(figures: Mapping[str, Any]) -> None:
    """A line for each number of events."""
    for events, row in figures["events"].items():
        print(f"{events}: " + ", ".join(f"{key} {value}" for key, value in row.items()))


def main() -> int:
    """Measure and print."""
    made = parser(__doc__, seeds=12, quick="chosen numbers, and 10,000 alone")
    made.add_argument("--budget", type=float, default=24.0, help="core hours of a run")
    made.add_argument("--fixed", type=float, default=0.1, help="core hours of a point without events")
    made.add_argument("--events", type=int, action="append", help="only these, each alone; 0: chosen")
    options = made.parse_args()
    figures, rows = start(options), {}
    for events in options.events or ((0, 10_000) if options.quick else (0, *CHOICES)):
        choices = (events,) if events else CHOICES
        curves = [curve(s, choices, options.budget, options.fixed) for s in range(1000, 1000 + options.seeds)]
        rows[str(events or "chosen")] = told(np.array(curves), options.budget)
        tell(f"{events or 'chosen'} is done")
    return finish(options, figures | {"events": rows}, show)


if __name__ == "__main__":
    sys.exit(main())
