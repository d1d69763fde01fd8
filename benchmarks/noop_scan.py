"""A scan whose jobs do nothing but tell when they ran: what is left is the engine."""

from __future__ import annotations

import time

from idds_core import Loop, Real, Space, chain, step
from idds_learners import MaxPoints, Sobol


@step
def work(x: float) -> dict[str, float]:
    """Nothing, and when."""
    now = time.time()
    return {"y": x, "start": now, "end": time.time()}


def define(points: int = 1000, batch: int = 500) -> Loop:
    """A loop of `points` no-op jobs, `batch` for each iteration."""
    return Loop(
        "noop",
        space=Space(x=Real(0, 1)),
        body=chain(work),
        learner=Sobol(),
        targets=("y",),
        batch=batch,
        first=batch,
        until=MaxPoints(points),
    )
