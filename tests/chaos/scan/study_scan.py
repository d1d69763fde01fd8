"""Studies to be killed: a step, a loop of split points with a sealed target or a loop inside a loop, a last step."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Literal

from idds_core import Context, File, Infeasible, Loop, Real, Retry, Space, Workflow, chain, command, step
from idds_learners import BoundaryConverged, Follow, LevelSet, MaxPoints, Sobol, When

_LAST = {"all": "all.json"}


def burn(rounds: int) -> None:
    """Some CPU time, so that there is something to be killed in."""
    text = b"x"
    for _ in range(rounds):
        text = hashlib.sha256(text).digest()


@step
def prepare() -> dict[str, Any]:
    """What all loops see."""
    return {"edge": 0.55}


@step(split=5, foreach=("nominal", "up"), accept=0.7, retry=Retry(attempts=2))
def generate(ctx: Context, x: float, y: float, edge: float, variant: str) -> dict[str, float]:
    """A chunk; one in ten dies for good."""
    burn(3_000)
    if ctx.rng().random() < 0.1:
        raise RuntimeError("dead")
    radius = math.hypot(x, y) * (1.01 if variant == "up" else 1.0)
    return {"part": 1 / (1 + math.exp(-9 * (radius - edge))) + 0.002 * ctx.rng().normal()}


@step(merge=True)
def merge(part: list[float]) -> dict[str, float]:
    """The mean of the chunks."""
    return {"mean": sum(part) / len(part)}


@step
def analyse(mean: dict[str, float], x: float) -> dict[str, float]:
    """Two targets, one of them sealed."""
    if x > 0.97:
        raise Infeasible("too far")
    return {"obs": mean["up"], "exp": mean["nominal"], "exp_sigma": 0.002}


@step
def start(g: float) -> dict[str, float]:
    """Where the inner loop begins."""
    burn(3_000)
    return {"base": 1.0 + g}


@step
def improve(v: float, base: float) -> dict[str, float]:
    """One step of Heron's method."""
    burn(3_000)
    new = 0.5 * (v + base / v)
    return {"v": new, "shift": new - v}


@step
def judge(result: File) -> dict[str, float]:
    """The root that the inner loop has found."""
    points = json.loads(Path(result).read_text())["points"]
    return {"root": points[-1]["parameters"]["v"]}


def define(kind: Literal["campaign", "nested"] = "campaign") -> Workflow:
    """Points of 14 jobs with a sealed target; or a loop in each point of a loop. Steps outside of loops around it."""
    if kind == "campaign":
        scan = Loop(
            "scan",
            Space(x=Real(0, 1), y=Real(0, 1)),
            chain(generate, merge, analyse),
            LevelSet(("obs", "exp"), level=0.5),
            BoundaryConverged(1e-6) | MaxPoints(18),
            blind=("obs",),
            hold_after=1000,
        )
        return Workflow("study", chain(prepare, scan, command("last", "cp {scan.result} all.json", outputs=_LAST)))
    until = When("abs(shift) < 1e-6") | MaxPoints(20)
    inner = Loop("inner", Space(v=Real(0.1, 10)), chain(improve), Follow({"v": 3.0}), until, targets=("shift",))
    outer = Loop(
        "outer", Space(g=Real(0, 3)), chain(start, inner, judge), Sobol(), MaxPoints(5), batch=3, targets=("root",)
    )
    return Workflow("study", chain(prepare, outer, command("last", "cp {outer.result} all.json", outputs=_LAST)))
