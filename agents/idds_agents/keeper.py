"""The keeper: removes intermediates that a step says need not be kept, once their point has ended.

First the note, durable, then the folder: a death between the two leaves a folder that is noted as gone, and the next
engine removes it. Logs stay.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_core.model import Step, parse_seconds
from idds_core.store import LoopRecord, Store

__all__ = ["Keeper"]

_ACTOR = "keeper"
_KEPT = frozenset({"log"})
_CHUNK = 500


class Keeper:
    """Works for the loops of one workflow; one whose steps keep everything costs nothing.

    Loops inside loops come to be while it works: at each step it looks for those that it does not know.
    """

    def __init__(self, store: Store, catalog: Catalog, workdir: Path, workflow_id: int) -> None:
        self._store = store
        self._catalog = catalog
        self._workdir = workdir
        self._workflow_id = workflow_id
        self._seen: set[int] = set()
        self._rules: dict[tuple[str, str], list[int]] = {}  # (step, how long it is kept) -> loops
        definition = catalog.definition(store.workflows.by_id(workflow_id))
        steps = [step for _, step in definition.workflow.steps()]
        self._idle = all(step.keep == "always" for step in steps)

    def step(self) -> int:
        """Remove what is due; returns how many folders."""
        if self._idle:
            return 0
        for loop in self._store.workflows.loops(self._workflow_id):
            if loop.id not in self._seen:
                self._meet(loop)
        return sum(self._remove(step, keep, loops) for (step, keep), loops in self._rules.items())

    def _meet(self, loop: LoopRecord) -> None:
        """A loop that was not there before; what a death has left of its folders is removed."""
        self._seen.add(loop.id)
        steps = [e for e in self._catalog.plan(loop.id).loop.body if isinstance(e, Step) and e.keep != "always"]
        for step in steps:
            self._rules.setdefault((step.name, step.keep), []).append(loop.id)
        for path in self._store.keeping.removed(loop.id) if steps else ():
            self._empty(path)

    def _remove(self, step: str, keep: str, loops: Sequence[int]) -> int:
        seconds = 0.0 if keep == "until_merged" else parse_seconds(keep)
        due = self._store.keeping.due(loops, step, self._store.now() - seconds)
        for start in range(0, len(due), _CHUNK):
            some = due[start : start + _CHUNK]
            self._store.keeping.note([i for i, _ in some], f"keep={keep}", _ACTOR)
            for _, path in some:
                self._empty(path)
        return len(due)

    def _empty(self, path: str) -> None:
        """Everything in the folder but the log."""
        with contextlib.suppress(OSError):
            for entry in (self._workdir / path).iterdir():
                if entry.name in _KEPT:
                    continue
                with contextlib.suppress(OSError):
                    if entry.is_dir() and not entry.is_symlink():
                        shutil.rmtree(entry)
                    else:
                        entry.unlink()
