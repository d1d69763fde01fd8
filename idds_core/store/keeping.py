"""Folders of attempts that need not be kept: which, and the note that they are gone."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from idds_core.states import PointState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.portable import values_of

__all__ = ["Keeping"]


class Keeping:
    """The store's part for intermediates."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def due(self, loops: Sequence[int], step: str, before: float) -> list[tuple[int, str]]:
        """Attempts (id, path) of a step whose points ended well, at `before` or earlier, and that nobody needs.

        A failed point keeps its folders, for people; so does a result that an open point has taken over.
        """
        a, j, p = tables.attempt.c, tables.job.c, tables.point.c
        taken, user, needing = tables.result.alias("taken"), tables.job.alias("user"), tables.point.alias("needing")
        needed = (
            sa.exists()
            .where(taken.c.reused_from == a.id, user.c.id == taken.c.job_id, needing.c.id == user.c.point_id)
            .where(needing.c.state == PointState.OPEN)
        )
        query = (
            sa.select(a.id, a.path)
            .join(tables.job, j.id == a.job_id)
            .join(tables.point, p.id == j.point_id)
            .where(
                a.loop_id.in_(values_of("loops")),
                j.step == step,
                a.removed.is_(None),
                a.ended.is_not(None),
                ~needed,
            )
            .where(p.state.in_([PointState.MEASURED, PointState.INFEASIBLE]), p.ended <= before)
            .order_by(a.id)
        )
        with self._db.reading() as connection:
            return [(row.id, row.path) for row in connection.execute(query, {"loops": json.dumps(list(loops))})]

    def removed(self, loop_id: int) -> list[str]:
        """Paths of a loop's attempts whose folders are to be gone."""
        c = tables.attempt.c
        with self._db.reading() as connection:
            query = sa.select(c.path).where(c.loop_id == loop_id, c.removed.is_not(None)).order_by(c.id)
            return list(connection.execute(query).scalars())

    def note(self, attempts: Sequence[int], reason: str, actor: str) -> None:
        """Write down that the folders of these attempts are to be gone, before they are."""
        now = self._db.now()
        with self._db.transaction() as connection:
            connection.execute(
                sa.update(tables.attempt).where(tables.attempt.c.id.in_(list(attempts))).values(removed=now)
            )
            rows = [
                {"entity": "folder", "entity_id": i, "old": "kept", "new": "removed", "actor": actor, "reason": reason,
                 "at": now}
                for i in attempts
            ]  # fmt: skip
            connection.execute(sa.insert(tables.event), rows)
