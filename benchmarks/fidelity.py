"""How many events at each point: core hours to 1 % misclassified, chosen by the learner beside one number for all.

    OMP_NUM_THREADS=1 python -m benchmarks.fidelity --seeds 12

noisy2 with an error of 0.2 at 10,000 events that falls with their square root. A point costs a fixed part and a part
for each event, in core hours. Tuning seeds, from 1000 on; first design and batches as in the problem, until two records
in a row are at or below 1 % or the core hours are spent.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.problems import PROBLEMS
from benchmarks.runs import level_set, misclassified
from idds_core.history import Observation, derive_seed
from idds_core.parameters import Ordered
from idds_core.space import Space
from idds_core.testing.toys import play
from idds_learners import Events, LevelSet

PROBLEM = PROBLEMS["noisy2"]
#: error of f at so many events
SIGMA, AT = 0.2, 10_000
CHOICES = (1_000, 3_000, 10_000, 30_000, 100_000)
COST = "0.1 + 2e-5 * events"
TOLERANCE = 0.01


def cost(events: float) -> float:
    """Core hours of a point."""
    return 0.1 + 2e-5 * events


def learner(first: int) -> LevelSet:
    """The learner; with one choice there is nothing to choose."""
    return replace(level_set(PROBLEM), events=Events("events", cost=COST, first=first))


def hours(seed: int, choices: tuple[int, ...], budget: float) -> float:
    """Core hours until two records in a row are at or below 1 %; infinite when they are spent before."""
    space = Space({**PROBLEM.space.parameters, "events": Ordered(choices)})
    asks = learner(choices[len(choices) // 2])

    def measure(number: int, point: Mapping[str, Any]) -> Observation:
        sigma = SIGMA * math.sqrt(AT / point["events"])
        noise = sigma * np.random.default_rng(derive_seed(seed, "noise", number)).normal()
        return Observation({"f": PROBLEM.at({k: v for k, v in point.items() if k != "events"}) + noise}, {"f": sigma})

    test, reached = PROBLEM.truth()[0], math.inf
    for history in play(asks, space, measure, seed=seed, batches=(PROBLEM.first, *[PROBLEM.batch] * 400)):
        spent = sum(cost(p.parameters["events"]) for p in history.points)
        maps = asks.surrogate(history)
        assert maps is not None
        if misclassified(PROBLEM, maps.predict_unit(test)["f"].p_excluded > 0.5) > TOLERANCE:
            reached = math.inf
        elif math.isfinite(reached):
            return reached
        else:
            reached = spent
        if spent > budget:
            break
    return math.inf


def study(seeds: int, budget: float) -> dict[str, Any]:
    """Core hours by seed, with each number of events alone and with all of them to choose from."""
    found: dict[str, Any] = {}
    for name, choices in (("chosen", CHOICES), *((str(n), (n,)) for n in reversed(CHOICES))):
        runs = sorted(hours(seed, choices, budget) for seed in range(1000, 1000 + seeds))
        quartiles = [float(np.quantile(runs, q, method="lower")) for q in (0.25, 0.75)]
        found[name] = {"runs": runs, "median": statistics.median(runs), "quartiles": quartiles}
        print(json.dumps({name: {**found[name], "runs": [round(r, 2) for r in runs]}}), file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--budget", type=float, default=40.0, help="core hours of a run")
    options = parser.parse_args()
    for name, told in study(options.seeds, options.budget).items():
        print(f"{name:>8} events: {told['median']:.4g} core hours to 1 %, quartiles {told['quartiles']}")


if __name__ == "__main__":
    main()
