"""Results by digest: what is known already, and the taking over of it, with its provenance."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from idds_core.binding import Given
from idds_core.states import JobState, PointState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.job_statements import RESULTS
from idds_core.store.points import ends_as

__all__ = ["Known", "PlainJob", "Reuse"]

_J, _P, _R, _A = tables.job.c, tables.point.c, tables.result.c, tables.attempt.c
_COLUMNS = (
    _J.id, _J.loop_id, _J.point_id, _P.number, _P.iteration, _P.parameters, _J.step, _J.step_no, _J.variant, _J.chunk,
    _J.wide, _P.given,
)  # fmt: skip
_READY = (
    sa.select(*_COLUMNS)
    .join(tables.point, _P.id == _J.point_id)
    .where(_J.state == sa.literal_column("'ready'"), _J.loop_id == sa.bindparam("loop"))
    .order_by(_J.id)
)
_UNKNOWN = (
    sa.select(*_COLUMNS)
    .join(tables.point, _P.id == _J.point_id)
    .join(tables.result, _R.job_id == _J.id)
    .where(_J.loop_id == sa.bindparam("loop"), _R.digest.is_(None), _R.attempt_id.is_not(None))
    .order_by(_J.id)
)
_BY_DIGEST = (
    sa.select(_R.attempt_id, _A.path, _R.result)
    .join(tables.attempt, _A.id == _R.attempt_id)
    .where(_R.digest == sa.bindparam("digest"))
    .order_by(_R.job_id)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class PlainJob:
    """A job with what its digest is made of.

    parameters : of the point, with those of the definition that have another value there.
    wide : whether its point has other jobs beside it.
    upstream : results of the jobs of steps before it at the same point, in order.
    """

    job_id: int
    loop_id: int
    point_id: int
    point: int
    iteration: int
    parameters: Mapping[str, Any]
    step: str
    step_no: int
    variant: str
    chunk: int
    wide: int
    upstream: tuple[Given, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A result there is: the attempt that gave it, its path, and the result as JSON text."""

    attempt: int
    path: str
    result: str


class Reuse:
    """The store's part for results that are taken over."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def ready(self, loop_id: int, known: Collection[int] = ()) -> list[PlainJob]:
        """Jobs of a loop that may start, but for those that are known."""
        return self._jobs(_READY, loop_id, known)

    def without_digest(self, loop_id: int) -> list[PlainJob]:
        """Finished jobs of a loop whose results have no digest yet."""
        return self._jobs(_UNKNOWN, loop_id)

    def _jobs(self, query: Any, loop_id: int, known: Collection[int] = ()) -> list[PlainJob]:
        with self._db.reading():
            rows = [r for r in self._db.run(query, {"loop": loop_id}) if r.id not in known]
            later = sorted({r.point_id for r in rows if r.step_no > 0})
            upstream: dict[int, list[tuple[int, Given]]] = defaultdict(list)
            if later:
                for point_id, no, step, text, variant, chunk in self._db.run(RESULTS, {"ids": json.dumps(later)}):
                    upstream[point_id].append((no, Given(step, json.loads(text), variant, chunk)))
        return [
            PlainJob(r.id, r.loop_id, r.point_id, r.number, r.iteration,
                     json.loads(r.parameters) | json.loads(r.given or "{}"), r.step, r.step_no, r.variant, r.chunk,
                     r.wide, tuple(given for no, given in upstream[r.point_id] if no < r.step_no))
            for r in rows
        ]  # fmt: skip

    def write_digests(self, digests: Mapping[int, str]) -> None:
        """Job -> digest of its result."""
        with self._db.transaction() as connection:
            for job, digest in digests.items():
                connection.execute(sa.update(tables.result).where(_R.job_id == job).values(digest=digest))

    def known(self, digest: str) -> Known | None:
        """A result of that digest."""
        rows = self._db.run(_BY_DIGEST, {"digest": digest})
        return Known(*rows[0]) if rows else None

    def take(
        self,
        job: PlainJob,
        digest: str,
        known: Known,
        point_state: PointState | None,
        observation: str | None,
        actor: str,
    ) -> bool:
        """The job is done with a known result and never had an attempt. False when it was not ready any more."""
        reason = f"reused from {known.path}"
        with self._db.transaction():
            rows = [{"id": job.job_id, "reason": reason}]
            if not self._db.move("job", rows, JobState.READY, JobState.DONE, actor=actor):
                return False
            row = {"job_id": job.job_id, "result": known.result, "digest": digest, "reused_from": known.attempt}
            self._db.insert(tables.result, [row])
            self._db.count(job.loop_id, f"job {JobState.DONE}", 1)
            if job.wide:
                self._db.touched.add(job.point_id)
            if job.wide and point_state is PointState.INFEASIBLE:  # what else runs there is ended first
                ends_as(self._db, job.point_id, point_state, json.loads(known.result)["infeasible"])
            elif point_state is not None:
                point = [{"id": job.point_id, "reason": reason, "observation": observation}]
                self._db.move("point", point, PointState.OPEN, point_state, actor=actor, columns=("observation",))
                self._db.count(job.loop_id, point_state, 1)
                if point_state is not PointState.MEASURED:
                    self._cancel(job.point_id, f"point is {point_state}", actor)
        return True

    def _cancel(self, point_id: int, reason: str, actor: str) -> None:
        with self._db.reading() as connection:
            query = sa.select(_J.id).where(_J.point_id == point_id, _J.state == JobState.WAITING)
            waiting: Sequence[int] = connection.execute(query).scalars().all()
        rows = [{"id": i, "reason": reason} for i in waiting]
        self._db.move("job", rows, JobState.WAITING, JobState.CANCELLED, actor=actor)
