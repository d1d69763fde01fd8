"""A learner that is no Python: where is a curve lowest?

``thirds.awk`` reads each question as a line of JSON and writes its answer as another; any language can do that. It runs
in the folder of the scan's copy, within the learner's limits of time and memory.

Run it: ``idds-core run examples/other_language/scan.py``; then ``idds-core show``.
"""

from __future__ import annotations

import math

from idds_core import Loop, Real, Space, chain, step
from idds_learners import CommandLearner, MaxPoints


@step
def measure(x: float) -> dict[str, float]:
    """Lowest at about 4.05."""
    return {"f": (x - 4.0) ** 2 - 0.1 * math.sin(x)}


def define(max_points: int = 24) -> Loop:
    """Four points at a time."""
    learner = CommandLearner("awk -f thirds.awk", "f")
    return Loop("lowest", Space(x=Real(0, 10)), chain(measure), learner, MaxPoints(max_points), first=4, batch=4)
