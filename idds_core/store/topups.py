"""Points that top up others: what a point is made of, and the writing of one that begins with what another has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from idds_core.history import canonical_json
from idds_core.states import JobState, PointState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.portable import json_part
from idds_core.store.records import Place, Taken, TopUp

__all__ = ["TopUps", "done_already", "own_columns", "write_taken"]

# A point that was only carried on has its jobs under the row that it continues.
_DONE = sa.text(
    """
    WITH RECURSIVE chain(id) AS (
        SELECT id FROM point WHERE loop_id = :loop AND number = :number
        UNION ALL
        SELECT p.continued FROM chain JOIN point p ON p.id = chain.id
        WHERE p.continued IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job WHERE job.point_id = chain.id))
    SELECT j.step, j.variant, j.chunk, r.result, r.digest, a.id, a.path
    FROM chain JOIN job j ON j.point_id = chain.id JOIN result r ON r.job_id = j.id
    JOIN attempt a ON a.id = coalesce(r.attempt_id, r.reused_from)
    ORDER BY j.id
    """
)


class TopUps:
    """The store's part for points that top up others; it only reads, new points are written with their iteration."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def given(self, loop_id: int, number: int) -> dict[str, Any]:
        """Parameters of the definition that have another value at a point."""
        c = tables.point.c
        with self._db.reading() as connection:
            query = sa.select(c.given).where(c.loop_id == loop_id, c.number == number)
            found: dict[str, Any] = json.loads(connection.execute(query).scalar() or "{}")
        return found

    def replaced(self, loop_id: int) -> int:
        """Number of the points of a loop that were measured and replaced."""
        c = tables.point.c
        more = json_part(c.adds, "more", sa.Text).is_not(None)
        with self._db.reading() as connection:
            query = sa.select(sa.func.count()).where(c.loop_id == loop_id, c.state == PointState.MEASURED, more)
            return int(connection.execute(query).scalar() or 0)

    def made_of(self, loop_id: int, number: int) -> dict[Place, Taken]:
        """The results of a point's jobs."""
        with self._db.reading() as connection:
            rows = connection.execute(_DONE, {"loop": loop_id, "number": number})
            return {(r[0], r[1], r[2]): Taken(r[3], r[4], r[5], r[6]) for r in rows}


def own_columns(tops: Mapping[int, TopUp], number: int) -> dict[str, str | None]:
    """What a top-up writes into its point's row; all rows of an iteration have the same columns."""
    if not tops:
        return {}
    top = tops.get(number)
    return {
        "adds": canonical_json(top.adds) if top else None,
        "given": canonical_json(top.given) if top and top.given else None,
    }


def done_already(jobs: Sequence[Mapping[str, Any]], begun: Mapping[int, TopUp], now: float) -> list[dict[str, Any]]:
    """The jobs of new points; those whose result is taken over (by point id) are done."""
    found = []
    for job in jobs:
        top = begun.get(job["point_id"])
        taken = top.taken.get((job["step"], job["variant"], job["chunk"])) if top else None
        ended = {"state": JobState.DONE.value, "reason": f"reused from {taken.path}", "ended": now} if taken else {}
        found.append({**job, "reason": "", "ended": None, **ended})
    return found


def write_taken(db: Database, loop_id: int, begun: Mapping[int, TopUp]) -> None:
    """The results that new points (id -> top-up) take over, in the open transaction."""
    c = tables.job.c
    for point_id, top in begun.items():
        with db.reading() as connection:
            query = sa.select(c.id, c.step, c.variant, c.chunk).where(c.point_id == point_id, c.state == JobState.DONE)
            ids = {(r.step, r.variant, r.chunk): r.id for r in connection.execute(query)}
        rows = [
            {"job_id": i, "result": t.result, "digest": t.digest, "reused_from": t.attempt}
            for place, i in ids.items()
            for t in (top.taken[place],)
        ]
        db.insert(tables.result, rows)
        db.count(loop_id, f"job {JobState.DONE}", len(rows))
