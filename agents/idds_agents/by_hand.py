"""Loops without steps: a person asks for points, measures them, and tells.

No engine has to be at work: whoever asks turns conductor and transformer for a moment, as the owner of the folder.
While an engine has the folder, it does both, and asking is looking.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds_agents.catalog import Catalog
from idds_agents.conductor import Conductor
from idds_agents.engine import enter
from idds_agents.learner_host import LearnerHost
from idds_agents.requests import answered
from idds_agents.transformer import Transformer
from idds_agents.wakeup import nudge
from idds_agents.workspace import Workspace
from idds_core.bundle import make_bundle
from idds_core.definition import Definition, validate
from idds_core.errors import IddsError
from idds_core.history import Point
from idds_core.model import Loop, Workflow
from idds_core.settings import Settings
from idds_core.states import TERMINAL, LoopState
from idds_core.store import LoopRecord, Store

__all__ = ["Asked", "ask", "ask_loop", "begun", "tell_loop"]

_PATIENCE_S = 30.0
_POLL_S = 0.05
_TURNS = 100


@dataclass(frozen=True)
class Asked:
    """The points that a person may measure now, and where the loop stands."""

    loop: LoopRecord
    points: tuple[Point, ...]


def ask(workspace: Workspace, store: Store, loop: LoopRecord, n: int | None = None) -> Asked:
    """The open points of a loop without steps, at most `n`; the learner is asked for new ones when there are none.

    Raises
    ------
    IddsError
        When steps measure the points, or an engine at work gives none in time.

    """
    if Catalog(store, workspace.folder).plan(loop.id).loop.body:
        raise IddsError.of("E-TELL-003", f"{loop.name} is measured by its steps", "a person asks a loop without steps",
                           loop.name, "Use 'idds-core run', or a loop with body=chain().")  # fmt: skip
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        found = _open(store, loop)
        if found.points or found.loop.state is not LoopState.ACTIVE:
            return Asked(found.loop, found.points[:n])
        if workspace.lock.acquire():
            try:
                _turn(workspace, store, loop)
            finally:
                workspace.lock.release()
            found = _open(store, loop)
            return Asked(found.loop, found.points[:n])
        if time.monotonic() > deadline:
            raise IddsError.of("E-ENGINE-002", f"the engine gave no point within {_PATIENCE_S:g} s", "", loop.name,
                               "See 'idds-core why'.")  # fmt: skip
        time.sleep(_POLL_S)


def _open(store: Store, loop: LoopRecord) -> Asked:
    with store.reading():
        points = store.iterations.points(loop.id)
        return Asked(store.workflows.loop(loop.id), tuple(p for p in points if str(p.state) == "open"))


def _turn(workspace: Workspace, store: Store, loop: LoopRecord) -> None:
    """Conductor and transformer, until a person is needed again."""
    catalog = Catalog(store, workspace.folder, loop.workflow_id)
    settings = workspace.settings
    answer = threading.Event()
    host = LearnerHost(workspace.folder / "learner.log", settings.learner_seconds, settings.learner_memory)
    conductor, transformer = Conductor(store, catalog), Transformer(store, catalog, host, answer.set)
    try:
        for _ in range(_TURNS):
            conductor.step()
            if not transformer.start():
                return
            answer.wait(settings.learner_seconds + _PATIENCE_S)
            answer.clear()
            transformer.step()
    finally:
        host.close()


def begun(workspace: Workspace, definition: Definition, source: Path | None, seed: int) -> None:
    """Put a definition on record when it is not; an engine that has the folder has done so."""
    workspace.make()
    if not workspace.lock.acquire():
        return
    try:
        store = workspace.open()
        try:
            empty = workspace.state_folder / "nothing"
            empty.mkdir(exist_ok=True)
            bundle, _ = make_bundle(source or empty, workspace.bundles, workspace.folder if source else None)
            enter(store, definition, bundle, seed)
        finally:
            store.close()
    finally:
        workspace.lock.release()


# ---------------------------------------------------------------------- from Python
@contextlib.contextmanager
def _here(
    loop: Loop | Workflow, workdir: str | Path | None, seed: int
) -> Iterator[tuple[Workspace, Store, LoopRecord]]:
    definition = validate(loop)
    workspace = Workspace(workdir or f"{definition.name}-run", Settings())
    begun(workspace, definition, None, seed)
    store = workspace.open()
    try:
        workflow = store.workflows.latest(definition.name)
        assert workflow is not None
        yield workspace, store, store.workflows.loops(workflow.id)[0]
    finally:
        store.close()


def ask_loop(
    loop: Loop | Workflow, n: int | None = None, workdir: str | Path | None = None, seed: int = 0
) -> list[Point]:
    """What :meth:`idds_core.Loop.ask` does."""
    with _here(loop, workdir, seed) as (workspace, store, record):
        return list(ask(workspace, store, record, n).points)


def tell_loop(
    loop: Loop | Workflow,
    point: int,
    values: dict[str, Any],
    infeasible: str | None = None,
    workdir: str | Path | None = None,
    seed: int = 0,
) -> LoopState:
    """What :meth:`idds_core.Loop.tell` does."""
    with _here(loop, workdir, seed) as (workspace, store, record):
        given = {"loop": record.name, "point": point, "values": values, "infeasible": infeasible}
        command = store.workflows.command(record.workflow_id, "tell", "user", given)
        nudge(workspace.socket)
        text = answered(workspace, store, command)[1] or ""
        if text.startswith("E-"):
            code, _, what = text.partition(" ")
            raise IddsError.of(code, what.rstrip("."))
        if store.workflows.loop(record.id).state not in TERMINAL["loop"]:
            ask(workspace, store, record)
        return store.workflows.loop(record.id).state
