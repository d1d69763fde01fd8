"""A scan to be killed: a command, then a function, at points a level-set learner chooses."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Literal

from idds_core import Context, File, Loop, Real, Space, chain, command, step
from idds_learners import BoundaryConverged, LevelSet, MaxPoints, Wall


def burn(rounds: int) -> None:
    """Some CPU time, so that there is something to be killed in."""
    text = b"x"
    for _ in range(rounds):
        text = hashlib.sha256(text).digest()


@step
def measure(ctx: Context, events: File) -> dict[str, float]:
    """CLs of a disc, with a little noise that is the same in each attempt."""
    burn(20_000)
    radius = float(Path(events).read_text())
    noise = ctx.rng().normal(0.0, 0.002)
    return {"cls": 0.1 / (1.0 + math.exp(-30.0 * (radius - 0.09))) + abs(noise), "cls_sigma": 0.002}


def define(max_points: int = 34, mode: Literal["batch", "steady"] = "batch", wall: str = "100d") -> Loop:
    """About 34 points in 4 iterations; in steady mode, in about 25. No wall ends it but one that is shorter."""
    return Loop(
        "chaos",
        space=Space(x=Real(0, 1), y=Real(0, 1), constraints=["x + y < 1.8"]),
        body=chain(command("simulate", "./simulate.sh {x} {y} {seed}", outputs={"events": "events.txt"}), measure),
        learner=LevelSet(("cls",), level=0.05, transform="probit"),
        until=BoundaryConverged(1e-6) | MaxPoints(max_points) | Wall(wall),
        mode=mode,
    )
