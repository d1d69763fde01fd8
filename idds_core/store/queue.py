"""Points that people bring: some wait for the next iteration, some have been measured elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from idds_core.history import Observation, canonical_json, strict_json
from idds_core.states import PointState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.iterations import point_digest

__all__ = ["IMPORTED", "Asked", "Failed", "Queue", "Waiting"]

#: the iteration of points that were measured elsewhere: no learner proposed them, no budget counts them
IMPORTED = 0

_C = tables.queued.c
_WAITING = (
    sa.select(_C.id, _C.parameters, _C.retry_of, _C.reason, _C.adds, _C.given)
    .where(_C.loop_id == sa.bindparam("loop"), _C.number.is_(None))
    .order_by(_C.id)
)
_TAKEN = sa.update(tables.queued).where(_C.id == sa.bindparam("queued")).values(number=sa.bindparam("new_number"))
_LINK = (
    sa.update(tables.point)
    .where(tables.point.c.loop_id == sa.bindparam("loop"), tables.point.c.number == sa.bindparam("new_number"))
    .values(retry_of=sa.bindparam("origin"))
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A point that enters with the next iteration.

    retry_of : id of the failed point that it tries again.
    adds, given : of one that tops up another, as in :class:`~idds_core.store.records.TopUp`.
    """

    id: int
    parameters: Mapping[str, Any]
    retry_of: int | None
    reason: str
    adds: Mapping[str, Any] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A point that people ask for; fields as of :class:`Waiting`."""

    parameters: Mapping[str, Any]
    retry_of: int | None = None
    adds: Mapping[str, Any] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed point that nothing tries again; fields as of :class:`Waiting`."""

    id: int
    number: int
    parameters: Mapping[str, Any]
    adds: Mapping[str, Any] | None
    given: Mapping[str, Any]


class Queue:
    """The store's part for points that people bring."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def waiting(self, loop_id: int) -> list[Waiting]:
        """Points that wait for the next iteration, in order."""
        rows = self._db.run(_WAITING, {"loop": loop_id})
        return [Waiting(r.id, json.loads(r.parameters), r.retry_of, r.reason, *_topping(r.adds, r.given)) for r in rows]

    def add(self, loop_id: int, points: Sequence[Asked], reason: str) -> None:
        """Let points wait for the next iteration."""
        now = self._db.now()
        rows = [
            {
                "loop_id": loop_id,
                "parameters": canonical_json(p.parameters),
                "retry_of": p.retry_of,
                "reason": reason,
                "created": now,
                "adds": canonical_json(p.adds) if p.adds else None,
                "given": canonical_json(p.given) if p.given else None,
            }
            for p in points
        ]
        if rows:
            with self._db.transaction():
                self._db.insert(tables.queued, rows)

    def entered(self, loop_id: int, waiting: Sequence[Waiting], first_number: int) -> None:
        """These points have entered, numbered from `first_number` on."""
        with self._db.transaction():
            for number, point in enumerate(waiting, first_number):
                self._db.run(_TAKEN, {"queued": point.id, "new_number": number})
                if point.retry_of is not None:
                    self._db.run(_LINK, {"loop": loop_id, "new_number": number, "origin": point.retry_of})

    def brought(self, loop_id: int) -> set[int]:
        """Numbers of the points that people let in: no learner has proposed them."""
        c = tables.queued.c
        with self._db.reading() as connection:
            query = sa.select(c.number).where(c.loop_id == loop_id, c.number.is_not(None))
            return set(connection.execute(query).scalars())

    # ------------------------------------------------------------------ what people measure
    def by_hand(self, loop_id: int, number: int) -> bool:
        """Whether a point has no jobs: a person measures it."""
        c = tables.point.c
        jobs = sa.exists().where(tables.job.c.point_id == c.id)
        query = sa.select(sa.func.count()).where(c.loop_id == loop_id, c.number == number, ~jobs)
        with self._db.reading() as connection:
            return bool(connection.execute(query).scalar())

    def told(self, loop_id: int, number: int, seen: Observation | None, reason: str, actor: str) -> bool:
        """A person has measured a point; without an observation it cannot exist."""
        c = tables.point.c
        state = PointState.INFEASIBLE if seen is None else PointState.MEASURED
        with self._db.transaction() as connection:
            row = connection.execute(sa.select(c.id).where(c.loop_id == loop_id, c.number == number)).scalar_one()
            text = None if seen is None else strict_json(seen.to_json())
            rows = [{"id": row, "reason": reason, "observation": text}]
            moved = self._db.move("point", rows, PointState.OPEN, state, actor=actor, columns=("observation",))
            self._db.count(loop_id, state, len(moved))
        return bool(moved)

    # ------------------------------------------------------------------ who was tried again, who has failed
    def failed(self, loop_id: int) -> list[Failed]:
        """Failed points that nothing tries again."""
        c, again, queued = tables.point.c, tables.point.alias("again"), tables.queued.alias("q")
        tried = sa.or_(
            sa.exists().where(again.c.retry_of == c.id),
            sa.exists().where(queued.c.retry_of == c.id, queued.c.number.is_(None)),
        )
        query = sa.select(c.id, c.number, c.parameters, c.adds, c.given).where(
            c.loop_id == loop_id, c.state.in_([PointState.FAILED, PointState.DROPPED]), ~tried
        )
        with self._db.reading() as connection:
            rows = connection.execute(query.order_by(c.number))
            return [Failed(r.id, r.number, json.loads(r.parameters), *_topping(r.adds, r.given)) for r in rows]

    # ------------------------------------------------------------------ what was measured elsewhere
    def bring(
        self, loop_id: int, points: Sequence[tuple[Mapping[str, Any], Observation]], first_number: int, reason: str
    ) -> None:
        """Write points that were measured elsewhere; their iteration is 0."""
        now = self._db.now()
        rows = [
            {
                "loop_id": loop_id,
                "number": number,
                "iteration": IMPORTED,
                "state": PointState.MEASURED.value,
                "parameters": canonical_json(parameters),
                "digest": point_digest(parameters),
                "observation": strict_json(observation.to_json()),
                "reason": reason,
                "created": now,
                "ended": now,
            }
            for number, (parameters, observation) in enumerate(points, first_number)
        ]
        if rows:
            with self._db.transaction():
                self._db.insert(tables.point, rows)
                self._db.count(loop_id, "points", len(rows))
                self._db.count(loop_id, PointState.MEASURED, len(rows))


def _topping(adds: str | None, given: str | None) -> tuple[Mapping[str, Any] | None, Mapping[str, Any]]:
    return json.loads(adds) if adds else None, json.loads(given) if given else {}
