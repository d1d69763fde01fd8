"""Tiny workflows, what their steps do, and a learner whose answer depends on all that it may know."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from idds_core.definition import Definition, validate
from idds_core.history import canonical_json
from idds_core.model import Loop, Step, chain
from idds_core.ports import Function, JobSpec
from idds_core.space import Real, Space
from idds_learners import MaxPoints, Sobol
from tests.world import function

__all__ = ["CANCELLED", "WORKLOADS", "answer", "values_of", "workload"]


def _step(name: str, *arguments: str, **more: Any) -> Step:
    return replace(function(name, *arguments, attempts=50), **more)


def _scan(name: str, parameter: str, *body: Any, points: int, batch: int = 2, **more: Any) -> Loop:
    space: Any = {parameter: Real(0, 1)}
    return Loop(
        name, Space(**space), chain(*body), learner=Sobol(), until=MaxPoints(points), batch=batch, first=batch,
        targets=("z",), hold_after=1000, **more,
    )  # fmt: skip


def _batch() -> Loop:
    return _scan("batch", "x", _step("make", "x"), _step("measure", "n"), points=4)


def _steady() -> Loop:
    return _scan("steady", "x", _step("measure", "x"), points=5, mode="steady")


def _campaign() -> Loop:
    body = (_step("make", "x", "chunk", split=2), _step("merge", "n", merge=True), _step("measure", "m"))
    return _scan("campaign", "x", *body, points=2, batch=1)


def _nested() -> Loop:
    inner = _scan("inner", "y", _step("look", "y", "x"), points=2)
    return _scan("nested", "x", inner, _step("judge", "result"), points=2, batch=1)


_MADE = {
    "batch": _batch, "steady": _steady, "campaign": _campaign, "nested": _nested,
    "cancelled": _batch, "cancelled-nested": _nested,
}  # fmt: skip
WORKLOADS = tuple(_MADE)
#: of which somebody asks for the end: what is on record depends on when
CANCELLED = ("cancelled", "cancelled-nested")


@cache
def workload(name: str) -> Definition:
    """The definition of a workload."""
    return validate(_MADE[name]())


def _number(*parts: Any) -> float:
    """A number in (0, 1) that is a function of its arguments, and looks random."""
    digest = hashlib.sha256(canonical_json(parts).encode()).digest()
    return (int.from_bytes(digest[:6], "big") + 1) / (2**48 + 2)


def values_of(spec: JobSpec) -> dict[str, Any]:
    """What a job gives: a function of its step, arguments and seed."""
    assert isinstance(spec.payload, Function)
    step = spec.payload.reference.partition(":")[2]
    given = {name: _content(value) for name, value in spec.payload.arguments.items()}
    name = {"make": "n", "merge": "m"}.get(step, "z")
    return {name: _number(step, given, spec.seed)}


def _content(value: Any) -> Any:
    """A file is what is in it."""
    if isinstance(value, Mapping) and "$file" in value:
        return json.loads(Path(value["$file"]).read_text(encoding="utf-8"))["points"]
    return value


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Learner and conditions: the next points depend on every point, in the order it is told."""
    loop, history = request["loop"], request["history"]
    points = history["points"]
    pending = sum(p["state"] == "open" for p in points)
    left = loop["until"]["n"] - len(points)
    wanted = loop["batch"] - pending if history["iterations"] else loop["first"]
    n = max(0, min(wanted, left))
    known: list[Any] = [
        [p["number"], p["parameters"], p["state"], (p["observation"] or {}).get("values")] for p in points
    ]
    if loop["mode"] == "steady":  # what had ended when it was asked, and how many points it is for, differ
        known = []
    (name,) = loop["space"]["parameters"]
    numbers = [_number(known, history["seed"], len(points) + i) for i in range(n)]
    new = [{name: float(f"{number:.12g}")} for number in numbers]
    stop = left <= 0 and not pending and bool(history["iterations"])
    return {
        "points": [] if stop else new,
        "chosen": [],
        "asked": n,
        "diagnostics": {"known": len(points) - pending},
        "state": {},
        "reason": "",
        "verdict": {"kind": "budget" if stop else "go on", "reason": f"{len(points)} points"},
    }
