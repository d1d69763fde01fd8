"""A learner of one's own beside the scan: where is Himmelblau's function smallest?

``climb.py`` is the learner; it is copied with the scan, and runs in a process of its own, bounded in time and memory.
Its laws are tested like those of the built-in ones: see `tests/examples/test_custom_learner.py`.

Run it: ``idds-core run examples/custom_learner/himmelblau.py``; then ``idds-core replay himmelblau``.
"""

from __future__ import annotations

from climb import Climb

from idds_core import Loop, Real, Space, chain, step
from idds_learners import MaxPoints


@step
def evaluate(x: float, y: float) -> dict[str, float]:
    """D. Himmelblau, Applied Nonlinear Programming (1972): four minima of 0."""
    return {"f": (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2}


def define(max_points: int = 120) -> Loop:
    """The campaign: ten points at a time."""
    return Loop(
        "himmelblau",
        space=Space(x=Real(-5, 5), y=Real(-5, 5)),
        body=chain(evaluate),
        learner=Climb(),
        until=MaxPoints(max_points),
        first=10,
        batch=10,
    )
