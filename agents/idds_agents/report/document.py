"""A loop, a point and a job as JSON documents; what ``show --json`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idds_agents.report.reading import LoopView
from idds_core.history import Point
from idds_core.states import AttemptState
from idds_core.store import Attempt, Iteration, Job, LoopRecord, Progress, Store

__all__ = ["attempt_document", "failures", "job_document", "job_path", "loop_document", "point_document", "point_path"]


def loop_document(view: LoopView, store: Store) -> dict[str, Any]:
    """A loop: state, reason, counts, digest, verdicts and failed attempts."""
    failed = store.jobs.failed_attempts(view.record.id)
    workdir = view.plan.bundle.parent.parent
    classes, codes = failures(failed)
    return {
        "path": view.path,
        "workflow": view.workflow.path,
        "state": str(view.record.state),
        "wish": str(view.record.wish),
        "reason": view.record.reason,
        "workflow_state": str(view.workflow.state),
        "evaluations": view.evaluations,
        "iterations": len(view.iterations),
        "points": view.points_by_state,
        "failures": classes,
        "failures_by_code": codes,
        "digest": view.history.digest,
        "seed": view.workflow.seed,
        "targets": list(view.plan.loop.targets),
        "sealed": [] if view.record.unblinded is not None else list(view.plan.loop.blind),
        "core_hours": view.core_hours,
        "elapsed_s": view.elapsed_s,
        "workdir": str(workdir),
        "verdicts": [iteration_document(i) for i in view.iterations],
        "loops": [inside_document(view, loop) for loop in _inside(view, store)],
        "failed_attempts": [attempt_document(a, workdir) for a in failed],
    }


def _inside(view: LoopView, store: Store) -> list[LoopRecord]:
    """Loops inside the loop, at any depth."""
    start = f"{view.record.name}/" if view.record.name else ""
    others = [other for other in store.workflows.loops(view.workflow.id) if other.id != view.record.id]
    return [other for other in others if other.name.startswith(start)]


def inside_document(view: LoopView, loop: LoopRecord) -> dict[str, Any]:
    """A loop inside another, in short."""
    return {"path": f"{view.workflow.path}/{loop.name}", "state": str(loop.state), "reason": loop.reason}


def failures(attempts: Sequence[Attempt]) -> tuple[dict[str, int], dict[str, int]]:
    """Number of failed attempts by class, and by code."""
    classes = Counter(a.failure_class or "INFRA" for a in attempts)
    codes = Counter(a.failure_code for a in attempts if a.failure_code)
    return dict(sorted(classes.items())), dict(sorted(codes.items()))


def iteration_document(iteration: Iteration) -> dict[str, Any]:
    """An iteration: the decision record; in steady mode with what was known, and what was pending, when it closed."""
    known = {"ingested_upto": iteration.ingested_upto, "pending": list(iteration.pending)}
    return {
        "iteration": iteration.number,
        "asked": iteration.asked,
        "proposed": iteration.proposed,
        "closed": iteration.closed is not None,
        "verdict": iteration.verdict,
        "reason": iteration.verdict_reason,
        "elapsed_s": iteration.elapsed_s,
        "core_hours": iteration.core_hours,
        "diagnostics": dict(iteration.diagnostics),
        **({} if iteration.ingested_upto is None else known),
    }


def point_path(loop: str, iteration: int, number: int) -> str:
    """The path of a point; a workflow's own steps have one that paths leave out."""
    return f"{loop}/it/{iteration}/p/{number}" if "/" in loop else loop


def job_path(loop: str, job: Job) -> str:
    """The path of a job."""
    return f"{point_path(loop, job.iteration, job.point)}/{job.step}/job/{job.place}"


def point_document(
    loop: str, point: Point, jobs: Sequence[dict[str, Any]], replaced_by: int | None = None
) -> dict[str, Any]:
    """A point: parameters, what was measured, what it adds to another or which one counts in its place, its jobs."""
    return {
        "path": point_path(loop, point.iteration, point.number),
        "number": point.number,
        "iteration": point.iteration,
        "state": str(point.state),
        "parameters": dict(point.parameters),
        "observation": point.observation.to_json() if point.observation else None,
        "failure_class": point.failure_class,
        "last_report": dict(zip(("step", "value"), point.last_report, strict=True)) if point.last_report else None,
        "adds": dict(point.adds) if point.adds else None,
        "replaced_by": replaced_by,
        "jobs": list(jobs),
    }


def job_document(
    loop: str, job: Job, attempts: Sequence[Attempt], workdir: Path, store: Store | None = None
) -> dict[str, Any]:
    """A job with its attempts; with a store also what they said on their way."""
    reports: Sequence[tuple[int, float]] = ()
    said: dict[int, Progress] = {}
    if store is not None:
        reports = store.reports.of_jobs([job.id]).get(job.id, ())
        said = {p.attempt_id: p for p in store.reports.progress(attempts=[a.id for a in attempts])}
    return {
        "path": job_path(loop, job),
        "step": job.step,
        "state": job.state,
        "reason": job.reason,
        "not_before": job.not_before or None,
        "reports": [{"step": step, "value": value} for step, value in reports],
        "attempts": [attempt_document(a, workdir, said.get(a.id)) for a in attempts],
    }


def attempt_document(attempt: Attempt, workdir: Path, progress: Progress | None = None) -> dict[str, Any]:
    """An attempt: where it ran, how it ended, where its log is."""
    log = workdir / attempt.path / "log"
    ok = attempt.state is AttemptState.SUCCEEDED
    return {
        "path": attempt.path,
        "state": str(attempt.state),
        "class": attempt.failure_class,
        "code": attempt.failure_code,
        "message": "" if ok else attempt.reason,
        "provider": attempt.provider,
        "created": attempt.created,
        "ended": attempt.ended,
        "wall_s": attempt.wall_s,
        "cpu_s": attempt.cpu_s,
        "max_rss": attempt.max_rss,
        "progress": {"fraction": progress.fraction, "text": progress.text, "at": progress.at} if progress else None,
        "log": str(log) if log.exists() else None,
    }
