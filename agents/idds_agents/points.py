"""Points of many jobs: what a job of one sees, what may move at it, and what a loop inside leaves behind."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from idds_agents.catalog import Catalog, LoopPlan
from idds_core.history import History, Observation
from idds_core.model import Loop, Step
from idds_core.partition import Advance, advance, chunk_values, parts, shares
from idds_core.states import LoopState, PointState, Wish
from idds_core.store import Claim, LoopRecord, Store

__all__ = ["advance_points", "cut_problem", "job_values", "leave_result", "losses_allowed", "point_path", "with_shares"]

_LOST_INPUT = "its input is lost"
_FIELDS = 4  # words of a path after the point: step, job, <c>, a, <M>


def point_path(attempt: str) -> str:
    """The path of the point of an attempt."""
    return attempt.rsplit("/", _FIELDS + 1)[0]


def job_values(body: Sequence[Step | Loop], values: Mapping[str, Any], claim: Claim) -> dict[str, Any]:
    """Parameters as one job of many sees them: its variant and chunk, and the shares reached before it."""
    step = body[claim.step_no]
    assert isinstance(step, Step)
    found = {**values, **chunk_values(step, values, claim.variant, claim.chunk)}
    if any(isinstance(e, Step) and e.split != 1 for e in body[: claim.step_no]):
        found["shares"] = shares(body[: claim.step_no], values, claim.upstream)
    return found


def losses_allowed(plan: LoopPlan, claim: Claim) -> int:
    """How many jobs of a step may fail alike in a row: as the loop says, and what the step accepts at a point."""
    step = plan.step(claim.step)
    if step.accept == 1:
        return plan.loop.hold_after
    jobs = sum(part.step == step.name for part in parts(plan.loop.body, {**plan.values, **claim.parameters}))
    return plan.loop.hold_after + int((1 - step.accept) * jobs)


def with_shares(observation: Observation, plan: LoopPlan, claim: Claim) -> Observation:
    """The observation with the share of each split step that it is made of, as ``share_<step>``."""
    reached = shares(plan.loop.body, {**plan.values, **claim.parameters}, claim.upstream)
    return replace(observation, extras={**observation.extras, **{f"share_{s}": v for s, v in reached.items()}})


def cut_problem(plan: LoopPlan, points: Sequence[Mapping[str, Any]]) -> str:
    """Why points cannot be cut into jobs; empty when they can."""
    if not plan.wide:
        return ""
    try:
        for point in points:
            parts(plan.loop.body, {**plan.values, **point})
    except (ValueError, TypeError, KeyError) as error:
        return f"it cannot be cut into jobs: {error}"
    return ""


# ---------------------------------------------------------------------- what may move
def advance_points(store: Store, catalog: Catalog, actor: str, *, every: bool) -> int:
    """Move what can be moved at the points of many jobs at which something has ended; returns how much.

    every : look at all such points, as after a restart.
    """
    moved = 0
    for point_id in store.points.take_touched(every=every):
        moved += _advance(store, catalog, actor, point_id)
    return moved


def _advance(store: Store, catalog: Catalog, actor: str, point_id: int) -> int:
    found = store.points.elements(point_id)
    if found is None:
        return 0
    loop_id, ending, jobs, loops = found
    plan = catalog.plan(loop_id)
    if ending is not None:
        moved = store.points.clear(point_id, ending["reason"], actor)
        _, _, jobs, loops = store.points.elements(point_id) or found
        if advance(plan.loop.body, jobs, loops).over:
            moved += store.points.end(point_id, ending, loop_id, actor)
        return moved
    step = advance(plan.loop.body, jobs, loops)
    if step.lost:
        store.points.lose(point_id, step.lost, store.points.failure_class(point_id))
        return 1 + _advance(store, catalog, actor, point_id)
    moved = store.points.release(step.release, actor)
    moved += _start(store, step, loop_id, actor)
    if step.cancel:
        moved += store.points.cancel(step.cancel, _LOST_INPUT, actor)
        return moved + _advance(store, catalog, actor, point_id)
    if step.over:  # its last element is a loop
        moved += store.points.end(point_id, {"state": PointState.MEASURED, "reason": ""}, loop_id, actor)
    return moved


def _start(store: Store, step: Advance, loop_id: int, actor: str) -> int:
    """Start loops whose turn it is, unless the one around them is held."""
    if not step.loops:
        return 0
    around = store.workflows.loop(loop_id)
    if around.state is not LoopState.ACTIVE or around.wish is not Wish.RUN:
        return 0
    return sum(store.points.start_loop(store.workflows.loop(i), actor) for i in step.loops)


# ---------------------------------------------------------------------- what a loop leaves behind
def leave_result(catalog: Catalog, loop: LoopRecord, state: LoopState, reason: str, history: History) -> Path:
    """Write what a loop inside of something has found, for the steps after it; the same history gives the same file."""
    plan = catalog.plan(loop.id)
    content = {
        "path": plan.path,
        "state": str(state),
        "reason": reason,
        "targets": list(plan.loop.targets),
        "points": [_as_json(p) for p in history.current],
    }
    file = catalog.loop_file(plan.path)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    with new.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
    return file


def _as_json(point: Any) -> dict[str, Any]:
    found = {"number": point.number, "parameters": dict(point.parameters), "state": str(point.state)}
    if point.observation is not None:
        found |= {"values": dict(point.observation.values), "sigmas": dict(point.observation.sigmas)}
    return found
