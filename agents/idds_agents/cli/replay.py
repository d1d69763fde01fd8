"""``replay``: ask the learner of a loop every question again, and say where an answer is not the recorded one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from idds_agents.cli.problems import FINE, NOT_CONCLUDED
from idds_agents.cli.text import print_json, say
from idds_agents.cli.where import looking, resolve_loop

if TYPE_CHECKING:
    from idds_agents.catalog import LoopPlan
    from idds_agents.replay import Replay
    from idds_agents.workspace import Workspace
    from idds_core.store import Store

__all__ = ["answered_again", "replay"]

_SHOWN = 20


def replay(path: str | None, workdir: Path | None, *, as_json: bool) -> int:
    """Print what differs, if anything; the record is only read, and an engine may be at work on it."""
    with looking(workdir, path) as (workspace, store):
        plan, found = answered_again(workspace, store, resolve_loop(store, path).loop.id)
    equal = not found.differences
    if as_json:
        print_json({"path": plan.path, "mode": plan.loop.mode, "questions": found.questions, "equal": equal,
                    "versions": {name: list(seen) for name, seen in found.versions.items()},
                    "differences": [{"path": f"{plan.path}/it/{d.iteration}", "what": d.what, "text": d.text}
                                    for d in found.differences]})  # fmt: skip
        return FINE if equal else NOT_CONCLUDED
    for d in found.differences[:_SHOWN]:
        say(f"{plan.path}/it/{d.iteration}: {d.what} differs: {d.text}")
    if len(found.differences) > _SHOWN:
        say(f"{len(found.differences) - _SHOWN} more; --json has them all")
    for name, seen in found.versions.items():
        say(f"{plan.path}: answers on record are by {name} {', '.join(seen)}, those of now by another version")
    answers = "every answer is the one on record" if equal else f"{len(found.differences)} differences"
    say(f"{plan.path}: {found.questions} questions asked again, {answers}")
    return FINE if equal else NOT_CONCLUDED


def answered_again(workspace: Workspace, store: Store, loop_id: int) -> tuple[LoopPlan, Replay]:
    """The plan of a loop, and what came of asking its learner again.

    Raises
    ------
    IddsError
        When learner or conditions cannot answer at all; the learner's log is left behind.

    """
    from idds_agents.catalog import Catalog
    from idds_agents.learner_host import LearnerHost
    from idds_agents.replay import replay as ask_again

    plan = Catalog(store, workspace.folder).plan(loop_id)
    home = Path(tempfile.mkdtemp(prefix="idds-core-replay-"))
    settings = workspace.settings
    host = LearnerHost(home / "learner.log", settings.learner_seconds, settings.learner_memory)
    try:
        found = ask_again(store, plan, loop_id, host)
    finally:
        host.close()
    shutil.rmtree(home, ignore_errors=True)
    return plan, found
