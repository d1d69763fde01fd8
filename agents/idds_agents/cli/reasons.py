"""Why nothing moves: each reason with its fix, the most decisive first. ``why`` and ``doctor`` say the same."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds_agents.catalog import LoopPlan
from idds_agents.cli.text import counted, duration
from idds_agents.workspace import Workspace
from idds_core.ports import Capabilities
from idds_core.routing import route
from idds_core.states import TERMINAL, JobState, LoopState, Wish
from idds_core.store import Job, LoopRecord, Store

__all__ = ["Reason", "capabilities", "disk_reasons", "engine_reason", "reasons"]

_GO_ON = "'idds-core run' with the same file goes on"


@dataclass(frozen=True)
class Reason:
    """Why something does not move.

    reason : a word for scripts; what : for people; fix : what to do about it, empty when only waiting helps.
    """

    reason: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}" if self.fix else self.what


def reasons(workspace: Workspace, store: Store, plan: LoopPlan, loop: LoopRecord, live: Sequence[Job]) -> list[Reason]:
    """All that keeps a loop from moving, the most decisive first; the last failure is told in any case.

    Parameters
    ----------
    live : its jobs that have not ended, or those below what was asked about.

    """
    if loop.state in TERMINAL["loop"]:
        return [Reason("concluded", f"it has concluded: {loop.reason}")]
    facts = workspace.engine_facts()
    found = [
        *_wishes(store, loop, plan.path, alive=facts is not None),
        *engine_reason(workspace),
        *_commands(store, loop, alive=facts is not None),
        *disk_reasons(workspace),
        *(_jobs(workspace, store, plan, live, facts) if live
          else [_learner(workspace, store, loop.id, alive=facts is not None)]),
    ]  # fmt: skip
    failed = store.jobs.failed_attempts(loop.id)
    if failed:
        last = failed[-1]
        fix = f"'idds-core logs {last.path}' has its log"
        found.append(Reason("failure", f"last failure: {last.failure_code} {last.reason} ({last.path})", fix))
    return found


# ---------------------------------------------------------------------- what people want
def _wishes(store: Store, loop: LoopRecord, path: str, *, alive: bool) -> Iterator[Reason]:
    if loop.wish is Wish.CANCEL:
        left = store.jobs.live_count(loop.id)
        fix = "" if alive else "'idds-core run' with the same file ends them"
        yield Reason("cancelling", f"it is being cancelled; {counted(left, 'attempt')} not ended yet", fix)
    elif loop.state is LoopState.HELD:
        then = "" if alive else ", then 'run' with the same file"
        fix = f"'idds-core resume {path.partition('/')[0]}' lets it go on{then}"
        yield Reason("held", f"it is held: {loop.reason or 'no reason is on record'}", fix)
    elif loop.state is LoopState.WAITING:
        yield Reason("waiting", "it waits for what comes before it in the workflow")


def _commands(store: Store, loop: LoopRecord, *, alive: bool) -> Iterator[Reason]:
    waiting = [c for c in store.workflows.open_commands() if c.workflow_id == loop.workflow_id]
    if waiting:
        words = ", ".join(f"'{c.verb}' by {c.actor}" for c in waiting[:5])
        fix = "the engine takes them when it is free" if alive else "the next engine takes them"
        yield Reason("commands", f"{len(waiting)} commands are not taken yet: {words}", fix)


# ---------------------------------------------------------------------- the engine and its machine
def engine_reason(workspace: Workspace) -> Iterator[Reason]:
    """What is wrong with the engine: there is none, it is elsewhere, or it is stopped."""
    facts, note = workspace.engine_facts(), workspace.last_note()
    if facts is None:
        left = f"; the last one was {_named(note)}" if note else ""
        yield Reason("no-engine", f"no engine is at work on this folder{left}", _GO_ON)
        return
    pid = facts.get("pid", workspace.lock.holder())
    if facts.get("host", platform.node()) != platform.node():
        yield Reason("elsewhere", f"its engine is {_named(facts)}, not on this machine", "look there if it hangs")
        return
    state = _process_state(pid)
    if state is None:
        fix = "it is in another container or on another machine; end it there"
        yield Reason("elsewhere", f"the folder is locked, and process {pid} is not on this machine", fix)
    elif state in "Tt":
        fix = f"'fg' in its terminal, or 'kill -CONT {pid}'"
        yield Reason("stopped", f"its engine, process {pid}, is stopped, as by Ctrl-Z", fix)


def _named(facts: Mapping[str, Any]) -> str:
    host = facts.get("host")
    return f"process {facts.get('pid', 'unknown')}{f' on {host}' if host else ''}"


def _process_state(pid: object) -> str | None:
    """The letter of a process's state (R, S, T...); None when there is none of that number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[0]


def disk_reasons(workspace: Workspace) -> Iterator[Reason]:
    """What is wrong with the disks of the folder and of its database: full, or not to be written."""
    least = workspace.settings.min_free_bytes
    for folder in dict.fromkeys((workspace.folder, workspace.database.parent)):
        free = shutil.disk_usage(folder).free
        if free < max(least, 1):
            what = f"only {free // 10**6} MB are free in {folder} (limit {least // 10**6} MB)"
            yield Reason(
                "disk", what, "free some space; 'idds-core clean --older-than 0d --dry-run' says what could go"
            )
    if not os.access(workspace.database, os.W_OK):
        yield Reason("read-only", f"{workspace.database} cannot be written", "mend its permissions, or the disk's")


# ---------------------------------------------------------------------- jobs and the learner
def _jobs(
    workspace: Workspace, store: Store, plan: LoopPlan, live: Sequence[Job], facts: Mapping[str, Any] | None
) -> Iterator[Reason]:
    now = store.now()
    ready = [j for j in live if j.state == JobState.READY]
    due = [j for j in ready if j.not_before <= now]
    running = [j for j in live if j.state == JobState.RUNNING]
    waiting = [j for j in live if j.state == JobState.WAITING]
    can = capabilities(workspace, facts)
    yield from _routes(plan, ready, can)
    if ready and not due and not running:
        first = min(j.not_before for j in ready)
        yield Reason("back-off", f"all {len(ready)} ready jobs wait after a failure; the first may start again in "
                     f"{duration(first - now)}", "nothing to do, or mend what failed meanwhile")  # fmt: skip
    slots = sum(c.slots for c in can.values())
    used = sum(plan.step(j.step).requires.cores for j in running)
    if due and facts is not None and used >= slots:
        yield Reason("slots", f"all {slots} slots are taken by {len(running)} jobs, {len(due)} wait for one",
                     "give more --slots when the machine has room")  # fmt: skip
    going = "running" if facts is not None else "were running when the engine ended"
    counts = ", ".join(f"{counted(len(jobs), 'job')} {name}" for name, jobs in
                       ((going, running), ("ready", ready), ("waiting", waiting)) if jobs)  # fmt: skip
    note = f" for earlier steps of their {'points' if len(waiting) > 1 else 'point'}" if waiting else ""
    yield Reason("jobs", f"{counts}{note}")


def _routes(plan: LoopPlan, ready: Sequence[Job], can: Mapping[str, Capabilities]) -> Iterator[Reason]:
    for name in dict.fromkeys(j.step for j in ready):
        routes = route(plan.step(name), can)
        if not any(r.ok for r in routes):
            why = "; ".join(f"{r.name}: {r.reason}" for r in routes)
            yield Reason("no-provider", f"no provider fits step {name}: {why}", "give more --slots, or ask for less")


def capabilities(workspace: Workspace, facts: Mapping[str, Any] | None) -> dict[str, Capabilities]:
    """By name: what the engine at work has published, or what it would have here."""
    try:
        return {name: Capabilities(**can) for name, can in (facts or {})["providers"].items()}
    except (KeyError, TypeError, AttributeError):
        return {"local": Capabilities(slots=workspace.settings.slots or os.cpu_count() or 1)}


def _learner(workspace: Workspace, store: Store, loop_id: int, *, alive: bool) -> Reason:
    last = store.iterations.last(loop_id)
    limit = f"it may take {duration(workspace.settings.learner_seconds)}"
    if last is None:
        what = "the learner is at work on the first points" if alive else "there are no points yet"
        return Reason("learner", what, limit if alive else "")
    if last.closed is not None and not last.verdict:
        ago = duration(max(0.0, store.now() - last.closed))
        if not alive:
            return Reason("learner", f"iteration {last.number} closed {ago} ago, and nobody asks the learner")
        what = f"the learner is at work: iteration {last.number} closed {ago} ago and is not decided yet"
        return Reason("learner", what, f"{limit}; its log is learner.log")
    return Reason("turn", "nothing is open: the next turn of the engine moves on")
