"""``why``: why nothing happens, or why a job is where it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from idds_agents.catalog import Catalog, LoopPlan
from idds_agents.cli.reasons import capabilities, reasons
from idds_agents.cli.text import clean, duration, percent, print_json, say
from idds_agents.cli.where import Target, looking, resolve
from idds_agents.report.document import attempt_document, job_path
from idds_agents.workspace import Workspace
from idds_core.routing import route
from idds_core.states import TERMINAL, JobState
from idds_core.store import Job, Store, place_of

__all__ = ["why"]

_MOST = 20


def why(path: str | None, workdir: Path | None, *, as_json: bool) -> int:
    """Explain the state of what is at a path."""
    with looking(workdir, path) as (workspace, store), store.reading():
        document = _explained(workspace, store, resolve(store, path))
    if as_json:
        print_json(document)
        return 0
    say(f"{document['path']}  {document['state']}  (wish: {document['wish']})")
    for line in document["because"]:
        say(f"  {line}")
    for step in document["routing"]:
        for found in step["providers"]:
            # the embedded engine has this one provider and gives it everything
            word = "fits" if found["ok"] else "does not fit, and runs there all the same"
            say(f"  step {step['step']}: {found['name']} ({found['slots']} slots) {word}: {found['reason']}")
    for job in document["jobs"]:
        say(f"  {job['path']}  {job['state']}: {job['because']}")
    return 0


def _explained(workspace: Workspace, store: Store, target: Target) -> dict[str, Any]:
    plan = Catalog(store, workspace.folder).plan(target.loop.id)
    facts = workspace.engine_facts()
    alive = facts is not None
    jobs = target.jobs(store)
    live = [j for j in jobs if j.state not in TERMINAL["job"]]
    shown = jobs if target.point is not None else live
    everything = live or [j for j in store.jobs.all(target.loop.id) if j.state not in TERMINAL["job"]]
    found = reasons(workspace, store, plan, target.loop, everything)
    steps = [target.step] if target.step else list(dict.fromkeys(j.step for j in live))
    return {
        "path": target.loop_path if target.point is None else _path(target),
        "state": str(target.loop.state),
        "wish": str(target.loop.wish),
        "engine": facts,
        "because": [clean(str(reason)) for reason in found],
        "reasons": [{name: clean(text) for name, text in asdict(reason).items()} for reason in found],
        "routing": [_routing(workspace, plan, name, facts) for name in steps],
        "jobs": [_job(workspace, store, plan, job, alive=alive) for job in shown[:_MOST]],
    }


def _path(target: Target) -> str:
    words = [
        target.loop_path,
        "p",
        str(target.point),
        target.step,
        *(["job", place_of(target.variant, target.chunk)] if target.chunk is not None else []),
    ]
    return "/".join(w for w in words if w)


def _routing(workspace: Workspace, plan: LoopPlan, step: str, facts: dict[str, Any] | None) -> dict[str, Any]:
    can = capabilities(workspace, facts)
    found = route(plan.step(step), can)
    return {
        "step": step,
        "providers": [{"name": r.name, "slots": can[r.name].slots, "ok": r.ok, "reason": r.reason} for r in found],
    }


def _job(workspace: Workspace, store: Store, plan: LoopPlan, job: Job, *, alive: bool) -> dict[str, Any]:
    attempts = store.jobs.attempts([job.id])
    return {
        "path": job_path(plan.path, job),
        "state": job.state,
        "because": clean(_job_because(store, plan, job, alive=alive)),
        "not_before": job.not_before or None,
        "attempts": [attempt_document(a, workspace.folder) for a in attempts],
    }


def _job_because(store: Store, plan: LoopPlan, job: Job, *, alive: bool) -> str:
    attempts = store.jobs.attempts([job.id])
    last = attempts[-1] if attempts else None
    if job.state == JobState.WAITING:
        names = [s.name for s in plan.loop.body]
        return f"it needs what step {names[names.index(job.step) - 1]} of this point makes"
    if job.state == JobState.READY:
        failed = f"; attempt {last.number} {last.state}: {last.failure_code} {last.reason}" if last else ""
        wait = job.not_before - store.now()
        if wait > 0:
            return f"it may start again in {duration(wait)}{failed}"
        return f"it waits for a free slot{failed}" if alive else f"it waits for an engine{failed}"
    if job.state == JobState.RUNNING and last is not None:
        took = duration(max(0.0, store.now() - last.created))
        said = next(iter(store.reports.progress(attempts=[last.id])), None)
        words = f"; {percent(said.fraction, said.text)}" if said else ""
        return f"attempt {last.number} is {last.state} on {last.provider} for {took}{words}"
    return job.reason or (f"attempt {last.number} {last.state}" if last else "")
