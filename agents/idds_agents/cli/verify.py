"""``verify``: every promise about the record that can be checked, each with its count of violations."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.cli.problems import FINE, NOT_CONCLUDED
from idds_agents.cli.replay import answered_again
from idds_agents.cli.text import print_json, say
from idds_agents.cli.where import looking
from idds_core.errors import IddsError
from idds_core.store import ResultFile, Store

if TYPE_CHECKING:
    from idds_agents.workspace import Workspace
    from idds_core.store import Mend

__all__ = ["verify"]

_SHOWN = 5
_HOW = {"statement": "while no engine is at work, in the database", "restore": "by command", "hand": "by hand"}


def verify(
    workdir: Path | None, *, deep: bool, replay: bool, head: str | None, repair_plan: bool, as_json: bool
) -> int:
    """Print each invariant with its count; 0 everywhere is fine.

    Parameters
    ----------
    deep : read the files and compare their checksums.
    replay : ask the learners every question again.
    head : a head of the chain that somebody has noted down: it must still be there.
    repair_plan : say what would mend each violation.

    """
    plan: list[Mend] = []
    with looking(workdir) as (workspace, store):
        sealed, hash_ = store.audit.head()
        files = _files(store, workspace.folder, deep=deep)
        found = {**store.audit.verify(), **files, **(_replayed(workspace, store) if replay else {})}
        if head is not None:
            lost = [] if store.audit.has_sealed(head) else [f"{head} is of no event"]
            found["the head that was noted down is in the chain"] = lost
        if repair_plan:
            from idds_agents.mending import repair_plan as planned

            plan = planned(store, workspace.database, workspace.folder, found, files)
    wrong = any(found.values())
    if as_json:
        document: dict[str, Any] = {"fine": not wrong, "sealed": sealed, "head": hash_}
        document |= {"invariants": {n: len(v) for n, v in found.items()},
                     "violations": {n: v for n, v in found.items() if v}}  # fmt: skip
        print_json(document | ({"plan": [dataclasses.asdict(mend) for mend in plan]} if repair_plan else {}))
        return NOT_CONCLUDED if wrong else FINE
    for line in [*_counted(found), f"{sealed} events are sealed, the head of the chain is {hash_ or 'nothing'}"]:
        say(line)
    for line in _planned(plan) if repair_plan else ():
        say(line)
    say("violated" if wrong else "fine")
    return NOT_CONCLUDED if wrong else FINE


def _counted(found: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        line
        for name, violations in found.items()
        for line in (f"{len(violations):>4}  {name}", *(f"        {text}" for text in violations[:_SHOWN]))
    ]


def _planned(plan: Sequence[Mend]) -> list[str]:
    if not plan:
        return ["nothing is to be mended"]
    lines = ["what would be done (nothing was changed):"]
    for n, mend in enumerate(plan, 1):
        lines += [f"{n:>4}  {mend.invariant}: {mend.rows}", f"        {_HOW[mend.by]}: {mend.act}"]
    return lines


def _replayed(workspace: Workspace, store: Store) -> dict[str, list[str]]:
    wrong = []
    for workflow in store.workflows.all():
        for loop in store.workflows.loops(workflow.id):
            if not loop.name:  # a workflow's own steps ask nobody
                continue
            try:
                plan, again = answered_again(workspace, store, loop.id)
                wrong += [f"{plan.path}/it/{d.iteration}: {d.what}: {d.text}" for d in again.differences]
            except IddsError as error:
                wrong.append(f"{workflow.path}/{loop.name}: {error}")
    return {"every proposal and verdict is given again by its learner": wrong}


def _files(store: Store, folder: Path, *, deep: bool) -> dict[str, list[str]]:
    missing, size, content = [], [], []
    for file in store.audit.files():
        path, name = _place(file, folder), f"{file.attempt} {file.name}"
        if path is None:
            missing.append(f"{name}: {file.path}")
        elif path.stat().st_size != file.bytes:
            size.append(f"{name}: {path.stat().st_size} bytes, not {file.bytes}")
        elif deep and _sha256(path) != file.sha256:
            content.append(f"{name}: {path}")
    found = {"every file of a result exists": missing, "every file of a result has its size": size}
    return {**found, "every file of a result has its checksum": content} if deep else found


def _place(file: ResultFile, folder: Path) -> Path | None:
    """Where the file is: at its recorded place, or at the same place below a work folder that was moved."""
    recorded = Path(file.path)
    _, here, rest = file.path.partition(f"/{file.attempt}/")
    moved = folder / file.attempt / rest if here else recorded
    return next((p for p in (recorded, moved) if p.is_file()), None)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
