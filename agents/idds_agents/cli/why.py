"""``why``: why nothing happens, or why a job is where it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from idds_agents.catalog import Catalog, LoopPlan
from idds_agents.cli.text import clean, duration, percent, print_json, say
from idds_agents.cli.where import Target, looking, resolve
from idds_agents.report.document import attempt_document, job_path
from idds_agents.workspace import Workspace
from idds_core.ports import Capabilities
from idds_core.routing import route
from idds_core.states import TERMINAL, JobState, LoopState, Wish
from idds_core.store import Job, Store

__all__ = ["why"]

_MOST = 20


def why(path: str | None, workdir: Path | None, *, as_json: bool) -> int:
    """Explain the state of what is at a path."""
    with looking(workdir) as (workspace, store), store.reading():
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
    steps = [target.step] if target.step else list(dict.fromkeys(j.step for j in live))
    return {
        "path": target.loop_path if target.point is None else _path(target),
        "state": str(target.loop.state),
        "wish": str(target.loop.wish),
        "engine": facts,
        "because": [clean(line) for line in _because(store, target, live, alive=alive)],
        "routing": [_routing(workspace, plan, name, facts) for name in steps],
        "jobs": [_job(workspace, store, plan, job, alive=alive) for job in shown[:_MOST]],
    }


def _path(target: Target) -> str:
    words = [
        target.loop_path,
        "p",
        str(target.point),
        target.step,
        *(["job", str(target.chunk)] if target.chunk else []),
    ]
    return "/".join(w for w in words if w)


def _because(store: Store, target: Target, live: list[Job], *, alive: bool) -> list[str]:
    """The loop's own reasons, most decisive first."""
    loop = target.loop
    if loop.state in TERMINAL["loop"]:
        return [f"it has concluded: {loop.reason}"]
    lines = []
    if loop.wish is Wish.CANCEL:
        lines.append(f"it is being cancelled; {store.jobs.live_count(loop.id)} attempts have not ended yet")
    elif loop.state is LoopState.HELD:
        lines.append(f"it is held: {loop.reason or 'no reason is on record'}; 'resume' lets it go on")
    if not alive:
        lines.append("no engine is at work on this folder: 'idds-core run' with the same file goes on")
    if not live:
        lines.append(_learner(store, loop.id))
    else:
        count = {s: sum(1 for j in live if j.state == s) for s in (JobState.RUNNING, JobState.READY, JobState.WAITING)}
        lines.append(", ".join(f"{n} jobs {s}" for s, n in count.items() if n))
    failed = store.jobs.failed_attempts(loop.id)
    if failed:
        last = failed[-1]
        lines.append(f"last failure: {last.failure_code} {last.reason} ({last.path})")
    return lines


def _learner(store: Store, loop_id: int) -> str:
    last = store.iterations.last(loop_id)
    if last is None:
        return "the learner is at work on the first points"
    if last.closed is not None and not last.verdict:
        ago = duration(max(0.0, store.now() - last.closed))
        return f"the learner is at work: iteration {last.number} closed {ago} ago and is not decided yet"
    return "nothing is open: the next turn of the engine moves on"


def _routing(workspace: Workspace, plan: LoopPlan, step: str, facts: dict[str, Any] | None) -> dict[str, Any]:
    can = _capabilities(workspace, facts)
    found = route(plan.step(step), can)
    return {
        "step": step,
        "providers": [{"name": r.name, "slots": can[r.name].slots, "ok": r.ok, "reason": r.reason} for r in found],
    }


def _capabilities(workspace: Workspace, facts: dict[str, Any] | None) -> dict[str, Capabilities]:
    """By name: what the engine at work has published, or what it would have here."""
    try:
        return {name: Capabilities(**can) for name, can in (facts or {})["providers"].items()}
    except (KeyError, TypeError, AttributeError):
        return {"local": Capabilities(slots=workspace.settings.slots or os.cpu_count() or 1)}


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
