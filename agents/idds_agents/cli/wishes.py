"""``hold``, ``resume``, ``cancel``: a command row and a nudge; without an engine it takes effect at once."""

from __future__ import annotations

import getpass
import time
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_agents.cli.problems import FINE, NOT_CONCLUDED
from idds_agents.cli.text import print_json, say, warn
from idds_agents.cli.where import find_workspace, resolve_loop
from idds_agents.conductor import Conductor
from idds_agents.wakeup import nudge
from idds_agents.workspace import Workspace
from idds_core.errors import Problem
from idds_core.store import Store

__all__ = ["actor", "answered", "wish"]

_PATIENCE_S = 10.0
_POLL_S = 0.05


def wish(verb: str, path: str | None, workdir: Path | None, *, as_json: bool) -> int:
    """Ask for a workflow to be held, resumed or cancelled, and wait for the answer."""
    workspace = find_workspace(workdir)
    workspace.look().close()  # a missing store is told, not made
    workspace.make()
    store = workspace.open()
    try:
        target = resolve_loop(store, path)
        command = store.workflows.command(target.workflow.id, verb, actor())
        nudge(workspace.socket)
        by, answer = answered(workspace, store, command)
        state = str(store.workflows.loop(target.loop.id).state)
        left = store.jobs.live_count(target.loop.id) if verb == "cancel" else 0
    finally:
        store.close()
    if answer is None:
        warn(Problem("E-ENGINE-002", f"the engine has not answered within {_PATIENCE_S:g} s", "", target.loop_path,
                     f"The {verb} is on record and takes effect when it is free; see 'show'."))  # fmt: skip
        return NOT_CONCLUDED
    if as_json:
        print_json({"path": target.loop_path, "verb": verb, "by": by, "answer": answer, "state": state})
    else:
        note = "" if by == "engine" else " (no engine is at work here: written directly)"
        say(f"{target.loop_path}: {answer}, it is {state}{note}")
        if left:
            say(
                f"{left} attempts have not ended yet; "
                + ("the engine ends them" if by == "engine" else "'run' ends them")
            )
    return FINE


def actor() -> str:
    try:
        return f"user {getpass.getuser()}"
    except (OSError, KeyError):
        return "user"


def answered(workspace: Workspace, store: Store, command: int) -> tuple[str, str | None]:
    """Who took the command, and the answer; an engine that begins or ends meanwhile makes no difference."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        answer = store.workflows.command_answer(command)
        if answer is not None:
            return "engine", answer
        if not workspace.lock.taken() and workspace.lock.acquire():
            try:
                Conductor(store, Catalog(store, workspace.folder)).step()
                return "command line", store.workflows.command_answer(command)
            finally:
                workspace.lock.release()
        if time.monotonic() > deadline:
            return "engine", None
        time.sleep(_POLL_S)
