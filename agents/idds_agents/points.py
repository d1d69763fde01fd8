"""Points of many jobs: what a job of one sees, and what may move at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from idds_agents.catalog import Catalog, LoopPlan, Outputs
from idds_core.binding import joined
from idds_core.history import Observation, derive_seed
from idds_core.model import Loop, Step
from idds_core.partition import Advance, advance, chunk_values, parts, shares
from idds_core.states import LoopState, PointState, Wish
from idds_core.store import Claim, PlainJob, Store

__all__ = ["advance_points", "cut_problem", "job_inputs", "job_values", "losses_allowed", "point_path", "with_shares"]

_LOST_INPUT = "its input is lost"
_FIELDS = 4  # words of a path after the point: step, job, <c>, a, <M>


def point_path(attempt: str) -> str:
    """The path of the point of an attempt."""
    return attempt.rsplit("/", _FIELDS + 1)[0]


def job_values(body: Sequence[Step | Loop], values: Mapping[str, Any], claim: Claim | PlainJob) -> dict[str, Any]:
    """Parameters as one job of many sees them: its variant and chunk, and the shares reached before it."""
    step = body[claim.step_no]
    assert isinstance(step, Step)
    found = {**values, **chunk_values(step, values, claim.variant, claim.chunk)}
    if any(isinstance(e, Step) and e.split != 1 for e in body[: claim.step_no]):
        found["shares"] = shares(body[: claim.step_no], values, claim.upstream)
    return found


def job_inputs(
    catalog: Catalog, plan: LoopPlan, job: Claim | PlainJob, point: str
) -> tuple[dict[str, Any], Outputs, int]:
    """What a job is given: parameters, outputs of what is before it, in order, and its seed. point : its path."""
    step = plan.step(job.step)
    chunk = (job.chunk,) if job.chunk else ()
    seed = derive_seed(plan.seed, job.point, job.step, *chunk)  # variants share it: what differs is the cause
    values = {**plan.values, **job.parameters}
    outputs = [
        *catalog.outputs(job.loop_id),
        *joined(plan.loop.body, step, job.upstream, job.variant, job.chunk),
    ]
    if plan.wide:
        outputs += catalog.loop_files(plan, job.point_id, point, job.step_no)
        values = job_values(plan.loop.body, values, job)
    return values, outputs, seed


def losses_allowed(plan: LoopPlan, claim: Claim) -> int:
    """How many jobs of a step may fail alike in a row: as the loop says, and what the step accepts at a point."""
    step = plan.step(claim.step)
    if step.accept == 1:
        return plan.loop.hold_after
    jobs = sum(part.step == step.name for part in parts(plan.loop.body, {**plan.values, **claim.parameters}))
    return plan.loop.hold_after + int((1 - step.accept) * jobs)


def with_shares(observation: Observation, plan: LoopPlan, claim: Claim | PlainJob) -> Observation:
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
