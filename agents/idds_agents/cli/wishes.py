"""``hold``, ``resume``, ``cancel``: a command row and a nudge; without an engine it takes effect at once."""

from __future__ import annotations

import getpass
from pathlib import Path

from idds_agents import requests
from idds_agents.cli.problems import FINE, NOT_CONCLUDED
from idds_agents.cli.text import counted, print_json, say, warn
from idds_agents.cli.where import find_workspace, resolve_loop
from idds_agents.wakeup import nudge
from idds_core.errors import Problem

__all__ = ["actor", "wish"]


def wish(verb: str, path: str | None, workdir: Path | None, *, as_json: bool) -> int:
    """Ask for a workflow to be held, resumed or cancelled, and wait for the answer."""
    workspace = find_workspace(workdir, path)
    workspace.look().close()  # a missing store is told, not made
    workspace.make()
    store = workspace.open()
    try:
        target = resolve_loop(store, path)
        command = store.workflows.command(target.workflow.id, verb, actor())
        nudge(workspace.socket)
        by, answer = requests.answered(workspace, store, command)
        state = str(store.workflows.loop(target.loop.id).state)
        left = store.jobs.live_count(target.loop.id) if verb == "cancel" else 0
    finally:
        store.close()
    if answer is None:
        late = f"the engine has not answered within {requests.PATIENCE_S:g} s"
        warn(Problem("E-ENGINE-002", late, "", target.loop_path,
                     f"The {verb} is on record and takes effect when it is free; see 'show'."))  # fmt: skip
        return NOT_CONCLUDED
    if as_json:
        print_json({"path": target.loop_path, "verb": verb, "by": by, "answer": answer, "state": state})
    else:
        note = "" if by == "engine" else " (no engine is at work here: written directly)"
        say(f"{target.loop_path}: {answer}, it is {state}{note}")
        if left:
            say(
                f"{counted(left, 'attempt')} not ended yet; "
                + ("the engine ends them" if by == "engine" else "'run' ends them")
            )
    return FINE


def actor() -> str:
    """Who asks, as events name them."""
    try:
        return f"user {getpass.getuser()}"
    except (OSError, KeyError):
        return "user"
