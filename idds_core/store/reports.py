"""What jobs say on their way: values by step, and how far they are."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from idds_core.states import AttemptState, PointState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.portable import json_part
from idds_core.store.records import Progress

__all__ = ["Reports"]

_R, _J, _P, _G, _A = tables.report.c, tables.job.c, tables.point.c, tables.progress.c, tables.attempt.c
_ENDED: list[Any] = [sa.literal_column(f"'{state}'") for state in (PointState.MEASURED, PointState.PRUNED)]
#: A pruned job may have said more before it ended; how much is chance, so what counts ends with the value that decided.
_COUNTS = sa.or_(_P.last_report.is_(None), _R.step <= json_part(_P.last_report, 0, sa.BigInteger))
_OTHERS = (
    sa.select(_R.job_id, _R.step, _R.value)
    .select_from(tables.report)
    .join(tables.job, _J.id == _R.job_id)
    .join(tables.point, _P.id == _J.point_id)
    .where(
        _J.loop_id == sa.bindparam("loop"),
        _J.step == sa.bindparam("step"),
        _P.iteration < sa.bindparam("iteration"),
        _P.state.in_(_ENDED),
        _COUNTS,
    )
    .order_by(_P.number, _R.job_id, _R.step)
)
_ITERATION = sa.select(_P.iteration).where(_P.id == sa.bindparam("point"))


class Reports:
    """The store's part for what jobs say on their way."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, rows: Sequence[tuple[int, int, float]]) -> None:
        """Write (job id, step, value); the first value of a step stays."""
        now = self._db.now()
        with self._db.transaction():
            self._db.insert_new(
                tables.report,
                [{"job_id": job, "step": step, "value": value, "at": now} for job, step, value in rows],
            )

    def note(self, progress: Mapping[int, tuple[float, str]]) -> None:
        """How far attempts (by id) are."""
        now = self._db.now()
        with self._db.transaction():
            self._db.put(
                tables.progress,
                [{"attempt_id": i, "fraction": f, "text": text, "at": now} for i, (f, text) in progress.items()],
            )

    def of_jobs(self, job_ids: Collection[int]) -> dict[int, tuple[tuple[int, float], ...]]:
        """Job id -> (step, value) by growing step, of those that reported."""
        found: dict[int, list[tuple[int, float]]] = defaultdict(list)
        query = sa.select(_R.job_id, _R.step, _R.value).where(_R.job_id.in_(list(job_ids)))
        with self._db.reading() as connection:
            for job, step, value in connection.execute(query.order_by(_R.job_id, _R.step)):
                found[job].append((step, value))
        return {job: tuple(rows) for job, rows in found.items()}

    def iteration(self, point_id: int) -> int:
        """Number of the iteration that proposed a point."""
        with self._db.reading() as connection:
            return int(connection.execute(_ITERATION, {"point": point_id}).scalar_one())

    def before(self, loop_id: int, step: str, iteration: int) -> tuple[tuple[tuple[int, float], ...], ...]:
        """Reports of a step at the points of earlier iterations that were measured or pruned, in order of the points.

        They depend on what is decided only, so a rule that compares with them decides alike after any crash.
        """
        found: dict[int, list[tuple[int, float]]] = defaultdict(list)
        values: dict[str, Any] = {"loop": loop_id, "step": step, "iteration": iteration}
        with self._db.reading() as connection:
            for job, number, value in connection.execute(_OTHERS, values):
                found[job].append((number, value))
        return tuple(tuple(rows) for rows in found.values())

    def progress(self, loop_id: int | None = None, attempts: Collection[int] = ()) -> list[Progress]:
        """How far the running attempts of a loop are, or these attempts; newest word first."""
        query = sa.select(_G.attempt_id, _A.path, _G.fraction, _G.text, _G.at).join(
            tables.attempt, _A.id == _G.attempt_id
        )
        if loop_id is not None:
            query = query.where(_A.loop_id == loop_id, _A.state.in_([AttemptState.INTENT, AttemptState.SUBMITTED]))
        else:
            query = query.where(_G.attempt_id.in_(list(attempts)))
        with self._db.reading() as connection:
            return [Progress(*row) for row in connection.execute(query.order_by(_G.at.desc(), _G.attempt_id))]

    @staticmethod
    def text(report: tuple[int, float]) -> str:
        """A report as it is kept with its point."""
        return json.dumps(list(report))
