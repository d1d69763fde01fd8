"""A scan whose jobs leave large files, for a small disk."""

from __future__ import annotations

from pathlib import Path

from idds_core import Context, File, Loop, Real, Space, chain, step
from idds_learners import MaxPoints, Sobol


@step
def make(ctx: Context, x: float) -> File:
    """400 kB of events."""
    events = ctx.file("events.bin")
    Path(events).write_bytes(repr(x).encode().ljust(400_000))
    return events


@step
def measure(events: File) -> dict[str, float]:
    """What the events say."""
    return {"y": float(Path(events).read_bytes())}


def define(max_points: int = 40) -> Loop:
    """16 MB of events in all."""
    return Loop(
        "large",
        space=Space(x=Real(0, 1)),
        body=chain(make, measure),
        learner=Sobol(),
        targets=("y",),
        until=MaxPoints(max_points),
    )
