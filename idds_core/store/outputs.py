"""What jobs left behind, for people: their results with the files, and why points ended as they did."""

from __future__ import annotations

import json
from collections.abc import Collection

import sqlalchemy as sa

from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.iterations import Opens
from idds_core.store.records import JobResult

__all__ = ["Outputs"]


class Outputs:
    """The store's part for what is taken away; it only reads."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def results(self, loop_id: int, point: int | None = None, seal: Opens | None = None) -> dict[int, JobResult]:
        """Job id -> its result, of the jobs of a loop (or of one point) that have one; `seal` opens sealed ones."""
        r, a, j = tables.result.c, tables.attempt.c, tables.job.c
        joined = tables.result.join(tables.job, j.id == r.job_id).join(
            tables.attempt, a.id == sa.func.coalesce(r.attempt_id, r.reused_from)
        )
        query = sa.select(r.job_id, a.path, r.result).select_from(joined).where(j.loop_id == loop_id)
        if point is not None:
            query = query.join(tables.point, tables.point.c.id == j.point_id).where(tables.point.c.number == point)
        with self._db.reading() as connection:
            rows = list(connection.execute(query))
        found = {}
        for job_id, path, text in rows:
            result = json.loads(text)
            sealed = result.get("sealed")
            if sealed and seal is not None:
                result = seal.value(sealed)
            values, files = result.get("values", {}), result.get("files", {})
            found[job_id] = JobResult(path, values, files, bool(sealed) and seal is None)
        return found

    def makers(self, jobs: Collection[int]) -> list[int]:
        """Ids of the jobs whose results these jobs have taken over."""
        r, a = tables.result.c, tables.attempt.c
        query = sa.select(a.job_id).join(tables.result, r.reused_from == a.id).where(r.job_id.in_(list(jobs)))
        with self._db.reading() as connection:
            return list(connection.execute(query.order_by(a.id)).scalars())

    def reasons(self, loop_id: int) -> dict[int, str]:
        """Point number -> why it ended as it did, where something is said."""
        c = tables.point.c
        with self._db.reading() as connection:
            query = sa.select(c.number, c.reason).where(c.loop_id == loop_id, c.reason != "").order_by(c.number)
            rows = connection.execute(query).all()
        return {int(row.number): str(row.reason) for row in rows}
