"""A scan in chunks to be killed while its points are topped up."""

from __future__ import annotations

import hashlib
from pathlib import Path

from idds_core import Context, File, Loop, Real, Space, chain, step
from idds_learners import LevelSet, MaxPoints


@step(split="100 events")
def generate(ctx: Context, x: float, events: int) -> File:
    """A chunk whose mean depends on its seed, after some CPU time in which it can be killed."""
    text = b"x"
    for _ in range(60_000):
        text = hashlib.sha256(text).digest()
    made = Path(ctx.file("mean.txt"))
    made.write_text(f"{events} {x + ctx.rng().normal(0.0, events**-0.5)}", encoding="utf-8")
    return File(str(made))


@step
def analyse(parts: list[File]) -> dict[str, float]:
    """The mean of all chunks."""
    rows = [Path(part).read_text(encoding="utf-8").split() for part in parts]
    n = sum(int(events) for events, _ in rows)
    return {"z": sum(int(events) * float(mean) for events, mean in rows) / n, "z_sigma": n**-0.5, "n": float(n)}


def define(events: int = 250) -> Loop:
    """Six points in two iterations."""
    return Loop(
        "topup",
        space=Space(x=Real(0, 1)),
        body=chain(generate, analyse),
        first=3,
        batch=3,
        learner=LevelSet("z", level=0.5, transform="none"),
        until=MaxPoints(6),
        parameters={"events": events},
    )
