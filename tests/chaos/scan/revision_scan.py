"""Workflows to be continued, and killed while that is done: a campaign of one loop, and a loop inside a loop."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from idds_core import Context, File, Loop, Real, Space, Workflow, chain, command, step
from idds_learners import Follow, LevelSet, MaxPoints, Sobol


def burn(rounds: int) -> None:
    """Some CPU time, so that there is something to be killed in."""
    text = b"x"
    for _ in range(rounds):
        text = hashlib.sha256(text).digest()


@step(split=3, foreach=("nominal", "up"))
def generate(ctx: Context, x: float, y: float, variant: str) -> dict[str, float]:
    """A chunk of a simulation that sees nothing of the calibration."""
    burn(2_000)
    return {"part": x + y * (1.1 if variant == "up" else 1.0) + 0.01 * ctx.rng().normal()}


@step(merge=True)
def merge(part: list[float]) -> dict[str, float]:
    """The mean of the chunks."""
    return {"mean": sum(part) / len(part)}


@step
def analyse(mean: dict[str, float], factor: float) -> dict[str, float]:
    """What the learner sees."""
    burn(2_000)
    return {"cls": 0.05 * factor * (mean["up"] + mean["nominal"]) / 2, "cls_sigma": 0.001}


@step
def prepare() -> dict[str, float]:
    """What all loops see."""
    return {"edge": 2.0}


@step
def start(ctx: Context, g: float, factor: float, edge: float) -> dict[str, Any]:
    """Where the inner loop begins, and a file for it."""
    Path(ctx.file("base")).write_text(str(edge + g * factor))
    return {"base": ctx.file("base")}


@step
def improve(v: float, base: File) -> dict[str, float]:
    """One step of Heron's method."""
    burn(2_000)
    new = 0.5 * (v + float(Path(base).read_text()) / v)
    return {"v": new, "shift": new - v}


@step
def judge(result: File) -> dict[str, float]:
    """The root that the inner loop has found."""
    return {"root": json.loads(Path(result).read_text())["points"][-1]["parameters"]["v"]}


def define(
    kind: Literal["campaign", "nested"] = "campaign", points: int = 12, inner: int = 3, factor: float = 1.0
) -> Loop | Workflow:
    """A campaign of 7 jobs a point; or a step, an outer loop of 4 points with a loop in each, and a last step."""
    if kind == "campaign":
        body = chain(generate, merge, analyse)
        learner = LevelSet(("cls",), level=0.05, transform="none")
        space = Space(x=Real(0, 1), y=Real(0, 1))
        return Loop("going", space, body, learner, MaxPoints(points), first=8, batch=4, parameters={"factor": factor})
    heron = Loop("inner", Space(v=Real(0.1, 10)), chain(improve), Follow({"v": 3.0}), MaxPoints(inner),
                 targets=("shift",))  # fmt: skip
    outer = Loop("outer", Space(g=Real(0, 3)), chain(start, heron, judge), Sobol(), MaxPoints(4), batch=2, first=2,
                 targets=("root",))  # fmt: skip
    last = command("last", "cp {outer.result} all.json", outputs={"all": "all.json"})
    return Workflow("going", chain(prepare, outer, last), {"factor": factor})
