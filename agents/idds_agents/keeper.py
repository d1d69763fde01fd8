"""The keeper: removes intermediates that a step says need not be kept, once their point has ended.

First the note, durable, then the folder: a death between the two leaves a folder that is noted as gone, and the next
engine removes it. Logs stay.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_core.model import Step, parse_seconds
from idds_core.store import Store

__all__ = ["Keeper"]

_ACTOR = "keeper"
_KEPT = frozenset({"log"})
_CHUNK = 500


class Keeper:
    """Works for the loops of one workflow; a loop whose steps keep everything costs nothing."""

    def __init__(self, store: Store, catalog: Catalog, workdir: Path, workflow_id: int) -> None:
        self._store = store
        self._workdir = workdir
        self._begun = False
        self._rules: list[tuple[int, str, str]] = []
        for loop in store.workflows.loops(workflow_id):
            steps = [element for element in catalog.plan(loop.id).loop.body if isinstance(element, Step)]
            self._rules += [(loop.id, step.name, step.keep) for step in steps if step.keep != "always"]

    def step(self) -> int:
        """Remove what is due; returns how many folders."""
        if self._rules and not self._begun:
            self._begun = True
            for loop in {loop for loop, _, _ in self._rules}:
                for path in self._store.keeping.removed(loop):
                    self._empty(path)
        return sum(self._remove(*rule) for rule in self._rules)

    def _remove(self, loop: int, step: str, keep: str) -> int:
        seconds = 0.0 if keep == "until_merged" else parse_seconds(keep)
        due = self._store.keeping.due(loop, step, self._store.now() - seconds)
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
