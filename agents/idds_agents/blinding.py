"""Sealed targets: what a crash has left open is closed, and unblinding opens all of it, on record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_core.sealing import Seal
from idds_core.states import TERMINAL
from idds_core.store import LoopRecord, Store

__all__ = ["close_left_open", "unblind"]


def _folders(store: Store, catalog: Catalog, workdir: Path, loop: LoopRecord) -> Iterator[Path]:
    """Folders of the ended attempts of the step that sees sealed targets."""
    last = catalog.plan(loop.id).loop.body[-1].name
    jobs = [job.id for job in store.jobs.all(loop.id) if job.step == last]
    for attempt in store.jobs.attempts(jobs):
        if attempt.state in TERMINAL["attempt"]:
            yield workdir / attempt.path


def close_left_open(store: Store, workdir: Path, workflow_id: int) -> int:
    """Seal what an engine that died had not sealed yet; returns how many folders."""
    catalog, closed = Catalog(store, workdir), 0
    for loop in store.workflows.loops(workflow_id):
        if not catalog.plan(loop.id).loop.blind or loop.unblinded is not None:
            continue
        seal = Seal(workdir / ".idds", make=True)
        closed += sum(seal.close_folder(folder) for folder in _folders(store, catalog, workdir, loop))
    return closed


def unblind(store: Store, workdir: Path, loop: LoopRecord, actor: str, reason: str) -> int:
    """Let people see the sealed targets of a loop: the event first, then the folders; returns how many were opened.

    The learner goes on without them: what it proposes never depends on who has looked. Calling it again opens what a
    crash has left closed.
    """
    seal = Seal(workdir / ".idds")
    store.workflows.unblind(loop.id, actor, reason)
    store.audit.seal_all()  # no engine may ever come
    catalog = Catalog(store, workdir)
    return sum(seal.open_folder(folder) for folder in _folders(store, catalog, workdir, loop))
