"""Which loops have concluded, where their attempts were, and the event that says that something was removed."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from idds_core.states import TERMINAL
from idds_core.store import tables
from idds_core.store.database import Database

__all__ = ["Ended", "Freed", "Retention"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A loop that has concluded."""

    loop_id: int
    path: str
    ended: float


@dataclass(frozen=True, slots=True)
class Freed:
    """What cleaning a loop frees, or has freed: folders of attempts, files, bytes on disk."""

    path: str
    attempts: int
    files: int
    bytes: int


class Retention:
    """The store's part for cleaning up."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def ended_loops(self, before: float | None = None) -> list[Ended]:
        """Loops that have concluded, before a time; a loop that is not terminal is never among them."""
        loop, workflow = tables.loop.c, tables.workflow.c
        query = (
            sa.select(loop.id, workflow.name, workflow.revision, loop.name.label("loop"), loop.ended)
            .join(tables.workflow, workflow.id == loop.workflow_id)
            .where(loop.state.in_(sorted(TERMINAL["loop"])), loop.ended.is_not(None))
            .order_by(loop.id)
        )
        if before is not None:
            query = query.where(loop.ended < before)
        with self._db.reading() as connection:
            return [
                Ended(i, f"{name if revision == 1 else f'{name}~{revision}'}/{own}", ended)
                for i, name, revision, own, ended in connection.execute(query)
            ]

    def folders(self, loop_id: int) -> list[str]:
        """Folders, relative to the work folder, of a loop's attempts that have ended."""
        c = tables.attempt.c
        query = sa.select(c.path).where(c.loop_id == loop_id, c.state.in_(sorted(TERMINAL["attempt"]))).order_by(c.id)
        with self._db.reading() as connection:
            return list(connection.execute(query).scalars())

    def note(self, loop_id: int, text: str, actor: str) -> None:
        """Write down what is about to be removed; written before, so that nothing goes without a word."""
        row = {"entity": "clean", "entity_id": loop_id, "old": "kept", "new": "cleaned", "actor": actor}
        with self._db.transaction() as connection:
            connection.execute(sa.insert(tables.event), {**row, "reason": text, "at": self._db.now()})
