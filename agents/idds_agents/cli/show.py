"""``show`` and ``ls``: what there is, as documents and as lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idds_agents.cli.diagnosis import diagnosis
from idds_agents.cli.lines import figures
from idds_agents.cli.reasons import disk_reasons
from idds_agents.cli.text import columns, counts, duration, number, percent, print_json, say
from idds_agents.cli.where import Target, looking, resolve
from idds_agents.report.choice import choice, choice_document
from idds_agents.report.document import (
    attempt_document,
    iteration_document,
    job_document,
    job_path,
    loop_document,
    point_document,
    point_path,
)
from idds_agents.report.failure_kinds import explained
from idds_agents.report.reading import LoopView, view_loop
from idds_agents.topups import said_of
from idds_core.history import History, Observation
from idds_core.states import TERMINAL
from idds_core.store import Job, Store

__all__ = ["ls", "show"]

_LAST = 8  # reports that are shown to people
_KINDS = 20  # kinds of failures, likewise
_WHOSE = {"USER": "the step", "INFRA": "the site", "FATAL": "the definition"}


def show(path: str | None, workdir: Path | None, *, as_json: bool) -> int:
    """Print the object at a path."""
    with looking(workdir, path) as (workspace, store):
        target = resolve(store, path)
        document = _document(store, target, workspace.folder)
        stuck = target.point is None and target.loop.state not in TERMINAL["loop"]
        disk = [str(reason) for reason in disk_reasons(workspace)] if stuck else []
    if as_json:
        print_json(document)
    else:
        for line in _lines(document):
            say(line)
        for line in disk:
            say(f"  {'disk':<16} {line}")
    return 0


def _document(store: Store, target: Target, folder: Path) -> dict[str, Any]:
    if target.point is not None:
        return _below_point(store, target, folder)
    view = view_loop(store, folder, target.loop.id)
    if target.iteration is None:
        return loop_document(view, store)
    return _iteration(view, target.iteration)


def _iteration(view: LoopView, number_: int) -> dict[str, Any]:
    record = next((i for i in view.iterations if i.number == number_), None)  # 0: what was measured elsewhere
    points = [p for p in view.history.points if p.iteration == number_]
    return {
        "path": f"{view.path}/it/{number_}",
        **(iteration_document(record) if record else {"iteration": number_}),
        "points": [
            point_document(
                view.path,
                p,
                (),
                view.history.replaced.get(p.number),
                chosen=choice_document(view.chosen.get(p.number, {}), p.iteration),
            )
            for p in points
        ],
    }


def _below_point(store: Store, target: Target, folder: Path) -> dict[str, Any]:
    """A point, the jobs of one of its steps, a job, or an attempt."""
    jobs = target.jobs(store)
    documents = [job_document(target.loop_path, job, store.jobs.attempts([job.id]), folder, store) for job in jobs]
    if target.step is None:
        history = view_loop(store, folder, target.loop.id).history
        point = next(p for p in history.points if p.number == target.point)
        chosen = choice(store, target.loop.id, point.number, point.iteration)
        return point_document(target.loop_path, point, documents, history.replaced.get(point.number), chosen=chosen)
    if target.attempt is not None:
        attempt = target.attempts(store, jobs)[0]
        return attempt_document(attempt, folder, next(iter(store.reports.progress(attempts=[attempt.id])), None))
    if len(documents) == 1:
        return documents[0]
    return {"path": documents[0]["path"].rsplit("/job/", 1)[0], "jobs": documents}


# ---------------------------------------------------------------------- as lines
def _lines(document: dict[str, Any]) -> list[str]:
    """A document for people: facts, then tables of what is below."""
    lines = [f"{document.get('path', '')}  {document.get('state', document.get('verdict', ''))}".rstrip()]
    shown = {"path", "state", "workdir", "verdicts", "failed_attempts", "jobs", "attempts", "diagnostics", "loops",
             "reports", "took", "excluded", "chosen"}  # fmt: skip
    for name, value in document.items():
        if name in shown or value in (None, "", {}, []) or (name == "points" and isinstance(value, list)):
            continue
        lines.append(f"  {name.replace('_', ' '):<16} {_fact(name, value)}")
    if document.get("chosen"):
        lines.append(f"  {'chosen':<16} {document['chosen']['text']}")
    if document.get("diagnostics"):
        lines.append(f"  {'map':<16} {figures(document['diagnostics'])}")
    decided = [v for v in document.get("verdicts") or [document] if v.get("diagnostics")]
    if decided:
        lines += ["", *diagnosis(decided[-1]["diagnostics"], decided[-1].get("took", {}))]
    lines += _tables(document)
    return lines


def _pair(name: str, value: Any) -> str:
    text = _fact("", value)
    return f"{name} {text}" if text[:2] in ("> ", "< ") else f"{name}={text}"  # a bound says its own sign


def _fact(name: str, value: Any) -> str:
    if name == "elapsed_s":
        return duration(float(value))
    if name in ("points", "failures", "failures_by_code"):
        return counts(value)
    if name == "best":
        words = {"min": "smallest", "max": "largest"}
        return "; ".join(f"{words[b['direction']]} {b['target']} {number(b['value'])} at point {b['point']} "
                         f"({_fact('', b['parameters'])})" for b in value)  # fmt: skip
    if name == "adds":
        return said_of(value)
    if name == "observation" and isinstance(value, dict):
        seen = {**value, "values": Observation.from_json(value).said}
        value = {k: v for k, v in seen.items() if k != "censored"}
    if isinstance(value, dict):
        return ", ".join(_pair(k, v) for k, v in value.items() if v not in ({}, None))
    return ", ".join(map(str, value)) if isinstance(value, list) else number(value)


def _tables(document: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if document.get("verdicts"):
        rows = [
            [v["iteration"], v["proposed"], v["verdict"] or "open", figures(v["diagnostics"]), v["reason"]]
            for v in document["verdicts"]
        ]
        lines += ["", *columns(rows, ["iteration", "points", "verdict", "map", "reason"])]
    if document.get("loops"):
        rows = [[inside["path"], inside["state"], inside["reason"]] for inside in document["loops"]]
        lines += ["", *columns(rows, ["loop inside", "state", "reason"])]
    if isinstance(document.get("points"), list):
        head = ["point", "state", "chosen", "parameters", "observation", "top-up"]
        rows = [
            [p["path"], p["state"], p["chosen"]["why"] or "", _fact("", p["parameters"]), _seen(p),
             said_of(p["adds"], p["replaced_by"])]
            for p in document["points"]
        ]  # fmt: skip
        if not any(row[-1] for row in rows):
            head, rows = head[:-1], [row[:-1] for row in rows]
        lines += ["", *columns(rows, head)]
    for job in document.get("jobs", ()):
        lines += ["", f"{job['path']}  {job['state']}  {job['reason']}".rstrip(), *_attempts(job["attempts"])]
        lines += _reports(job)
    if "attempts" in document:
        lines += ["", *_attempts(document["attempts"]), *_reports(document)]
    if document.get("failed_attempts"):
        lines += ["", *_failures(document["failed_attempts"])]
    return lines


def _failures(found: list[dict[str, Any]]) -> list[str]:
    """Failed attempts by kind, the most frequent first: a campaign has thousands of a few kinds."""
    kinds: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for attempt in found:
        kinds.setdefault((attempt["class"] or "INFRA", attempt["code"] or "", attempt["message"]), []).append(attempt)
    ranked = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [
        [len(some), _WHOSE.get(class_, class_), code, some[-1]["path"], message]
        for (class_, code, message), some in ranked[:_KINDS]
    ]
    lines = columns(rows, ["failed attempts", "of", "code", "the last one", "message"])
    if len(ranked) > _KINDS:
        lines.append(f"{len(ranked) - _KINDS} more kinds; 'idds-core logs' prints all their logs")
    meant = explained((code, class_, some[-1]["path"]) for (class_, code, _), some in ranked[:_KINDS] if code)
    return [*lines, "", *(f"{code}: {words}" for code, words in meant)]


def _seen(point: dict[str, Any]) -> str:
    observation = point["observation"]
    return _fact("", Observation.from_json(observation).said) if observation else ""


def _reports(job: dict[str, Any]) -> list[str]:
    """The last values that the job reported."""
    found = job.get("reports") or []
    left_out = f"{len(found) - _LAST} more before; " if len(found) > _LAST else ""
    words = ", ".join(f"step {r['step']}: {number(r['value'])}" for r in found[-_LAST:])
    return [f"reported: {left_out}{words}"] if found else []


def _attempts(found: list[dict[str, Any]]) -> list[str]:
    rows = [[a["path"], a["state"], a["code"] or "", a["message"] or _said(a)] for a in found]
    return columns(rows, ["attempt", "state", "code", "message"])


def _said(attempt: dict[str, Any]) -> str:
    said = attempt.get("progress")
    return percent(said["fraction"], said["text"]) if said else ""


# ---------------------------------------------------------------------- ls
def ls(path: str | None, workdir: Path | None, *, as_json: bool) -> int:
    """Print what is below a path: workflows, iterations, points or jobs."""
    with looking(workdir, path) as (workspace, store):
        head, rows = _workflows(store) if path is None else _below(store, resolve(store, path), workspace.folder)
    if as_json:
        print_json([dict(zip(head, row, strict=True)) for row in rows])
    else:
        for line in columns(rows, head):
            say(line)
    return 0


_Listing = tuple[list[str], list[list[Any]]]


def _workflows(store: Store) -> _Listing:
    rows: list[list[Any]] = []
    for workflow in store.workflows.all():
        for loop in store.workflows.loops(workflow.id):
            found = store.counters(loop.id)
            path = f"{workflow.path}/{loop.name}".rstrip("/")
            evaluations = found.get("MEASURED", 0) - store.top_ups.replaced(loop.id)
            rows.append([path, str(loop.state), found.get("iterations", 0), evaluations, loop.reason])
    return ["path", "state", "iterations", "evaluations", "reason"], rows


def _below(store: Store, target: Target, folder: Path) -> _Listing:
    if target.point is not None:
        return _jobs(store, target)
    if target.iteration is not None:
        return _points(target.loop_path, view_loop(store, folder, target.loop.id).history, target.iteration)
    if not target.loop.name:
        return _hidden(store, target)
    rows: list[list[Any]] = [
        [f"{target.loop_path}/it/{i.number}", i.verdict or ("closed" if i.closed else "open"), i.proposed,
         i.verdict_reason]
        for i in store.iterations.all(target.loop.id)
    ]  # fmt: skip
    return ["path", "verdict", "points", "reason"], rows


def _hidden(store: Store, target: Target) -> _Listing:
    """A workflow's own steps, and its loops, in their order."""
    jobs = [(j.step_no, [job_path(target.loop_path, j), j.state, j.reason]) for j in target.jobs(store)]
    others = [o for o in store.workflows.loops(target.workflow.id) if o.name and "/" not in o.name]
    loops = [(o.step_no, [f"{target.loop_path}/{o.name}", str(o.state), o.reason]) for o in others]
    return ["path", "state", "reason"], [row for _, row in sorted([*jobs, *loops], key=lambda each: each[0])]


def _points(loop: str, history: History, iteration: int) -> _Listing:
    rows: list[list[Any]] = [
        [point_path(loop, p.iteration, p.number), str(p.state), _fact("", dict(p.parameters)),
         _fact("", p.observation.said) if p.observation else "",
         said_of(p.adds, history.replaced.get(p.number))]
        for p in history.points
        if p.iteration == iteration
    ]  # fmt: skip
    return ["path", "state", "parameters", "observation", "top_up"], rows


def _jobs(store: Store, target: Target) -> _Listing:
    jobs: list[Job] = target.jobs(store)
    if target.chunk is None:
        rows: list[list[Any]] = [[job_path(target.loop_path, j), j.state, j.attempts, j.reason] for j in jobs]
        return ["path", "state", "attempts", "reason"], rows
    attempts = target.attempts(store, jobs)
    return ["path", "state", "code", "message"], [
        [a.path, str(a.state), a.failure_code or "", a.reason] for a in attempts
    ]
