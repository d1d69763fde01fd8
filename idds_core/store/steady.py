"""Loops without a barrier: the order in which points ended, and what was known when a question was asked.

Both are facts of the record. A question is frozen in the row of the newest iteration before the learner is asked:
whoever asks it, and however often, rebuilds the same history (`History.as_asked`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from idds_core.states import VerdictKind
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.iterations import elapsed

__all__ = ["Steady"]

_P, _I = tables.point.c, tables.iteration.c
_OF_LOOP = _P.loop_id == sa.bindparam("loop")
_OPEN: Any = sa.literal_column("'open'")  # literal: the partial index must be seen to fit

_ENDED = (
    sa.select(_P.id)
    .where(_OF_LOOP, _P.state != _OPEN, _P.ingest_no.is_(None))
    .order_by(_P.ended, _P.number)  # who ended in the same commit: by number
)
_UPTO = sa.select(sa.func.coalesce(sa.func.max(_P.ingest_no), 0)).where(_OF_LOOP)
_PENDING = sa.select(_P.number).where(_OF_LOOP, _P.state == _OPEN).order_by(_P.number)
_INGEST = (
    sa.update(tables.point)
    .where(_P.id == sa.bindparam("point"), _P.ingest_no.is_(None))
    .values(ingest_no=sa.bindparam("number"))
)
_NEWEST = (
    sa.select(_I.id, _I.number, _I.closed).where(_I.loop_id == sa.bindparam("loop")).order_by(_I.number.desc()).limit(1)
)
_VERDICT = sa.select(_I.verdict).where(_I.loop_id == sa.bindparam("loop")).order_by(_I.number.desc()).limit(1)
_KNOWN = sa.select(sa.func.coalesce(sa.func.max(_I.ingested_upto), 0)).where(_I.loop_id == sa.bindparam("loop"))
_CLOSE = (
    sa.update(tables.iteration)
    .where(_I.id == sa.bindparam("iteration"), _I.closed.is_(None))
    .values(
        closed=sa.bindparam("now"),
        elapsed_s=sa.bindparam("elapsed"),
        core_hours=sa.bindparam("hours"),
        ingested_upto=sa.bindparam("upto"),
        pending=sa.bindparam("open"),
    )
)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where a loop stands: last ingest number, numbers of the open points."""

    upto: int
    pending: list[int]


class Steady:
    """The store's part for steady mode."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def stopped(self, loop_id: int) -> bool:
        """Whether the newest iteration's verdict was to stop: what is still pending is not wanted any more."""
        found = self._db.run(_VERDICT, {"loop": loop_id})
        return bool(found) and found[0].verdict not in (None, str(VerdictKind.GO_ON))

    def ingest(self, loop_id: int) -> int:
        """Give the next ingest numbers to the points that have ended since; returns how many."""
        with self._db.transaction():
            ended = [row.id for row in self._db.run(_ENDED, {"loop": loop_id})]
            if ended:
                first = self._scalar(_UPTO, loop_id) + 1
                for number, point in enumerate(ended, first):
                    self._db.run(_INGEST, {"point": point, "number": number})
        return len(ended)

    def close(self, loop_id: int, started: float, batch: int, top_up: int) -> int:
        """Ingest what has ended, and close the newest iteration when it is time for the next question.

        It is time when `top_up` points have been ingested since the last question and there is room for as many
        among `batch` pending ones, or when nothing is pending any more. What is known, what is pending, elapsed time
        and core hours are frozen in the row.

        Returns
        -------
        1 when the iteration was closed, else 0.

        """
        with self._db.transaction():
            self.ingest(loop_id)
            newest = self._db.run(_NEWEST, {"loop": loop_id})
            if not newest or newest[0].closed is not None:
                return 0
            here = self._standing(loop_id)
            new = here.upto - self._scalar(_KNOWN, loop_id)
            if here.pending and (new < top_up or len(here.pending) > batch - top_up):
                return 0
            self._freeze(loop_id, newest[0].id, here, started)
        return 1

    def _standing(self, loop_id: int) -> _Standing:
        pending = [row.number for row in self._db.run(_PENDING, {"loop": loop_id})]
        return _Standing(self._scalar(_UPTO, loop_id), pending)

    def _freeze(self, loop_id: int, iteration: int, here: _Standing, started: float) -> None:
        now = self._db.now()
        used = self._db.counters(loop_id).get("core_ms", 0)
        values = {
            "iteration": iteration,
            "now": now,
            "elapsed": elapsed(self._db, loop_id, started),
            "hours": used / 3.6e6,
            "upto": here.upto,
            "open": json.dumps(here.pending, separators=(",", ":")),
        }
        self._db.run(_CLOSE, values)

    def _scalar(self, query: Any, loop_id: int) -> int:
        return int(self._db.run(query, {"loop": loop_id})[0][0])
