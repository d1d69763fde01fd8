"""Points of many jobs, and the loops inside them: what stands where, and how such a point ends."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from idds_core.history import strict_json
from idds_core.model import Loop, Step
from idds_core.partition import Element, parts
from idds_core.states import TERMINAL, FailureClass, JobState, LoopState, PointState, Wish
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.records import LoopRecord, Outcome, OuterPoint

__all__ = ["Points", "add_loops", "ends_as", "wide_jobs", "will_end"]

_P, _J, _L = tables.point.c, tables.job.c, tables.loop.c
_NOTHING = strict_json({"values": {}, "sigmas": {}, "extras": {}})
_WIDE_OPEN = sa.select(_P.id).where(_P.state == sa.literal_column("'open'"), _P.wide == 1).order_by(_P.id)
_ENDING = sa.select(_P.id).where(_P.state == sa.literal_column("'open'"), _P.ending.is_not(None))
_HEAD = sa.select(_P.id, _P.loop_id, _P.ending).where(
    _P.id == sa.bindparam("point"), _P.state == sa.literal_column("'open'")
)
_JOBS = (
    sa.select(_J.id, _J.step_no, _J.variant, _J.chunk, _J.quanta, _J.state)
    .where(_J.point_id == sa.bindparam("point"))
    .order_by(_J.step_no, _J.id)
)
_LOOPS = (
    sa.select(_L.id, _L.step_no, _L.state).where(_L.parent_point == sa.bindparam("point")).order_by(_L.step_no, _L.id)
)
_OUTER = sa.select(_P.loop_id, _P.iteration, _P.number, _P.parameters, _P.given).where(_P.id == sa.bindparam("point"))
_WILL_END = (
    sa.update(tables.point)
    .where(_P.id == sa.bindparam("point"), _P.state == sa.literal_column("'open'"), _P.ending.is_(None))
    .values(ending=sa.bindparam("how"))
)


def wide_jobs(body: Sequence[Step | Loop], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the jobs of a point whose body has more than one job a step, or a loop; the first step's may start."""
    return [
        {
            "step": part.step,
            "step_no": part.step_no,
            "variant": part.variant,
            "chunk": part.chunk,
            "quanta": part.quanta,
            "wide": 1,
            "state": JobState.WAITING.value if part.step_no else JobState.READY.value,
        }
        for part in parts(body, values)
    ]


def add_loops(db: Database, loop_id: int, loop: Loop, iteration: int, points: Mapping[int, int]) -> None:
    """The loops inside new points (id -> number), waiting; somebody will look at the points soon."""
    db.touched.update(points)
    inner = [(no, e.name) for no, e in enumerate(loop.body) if isinstance(e, Loop)]
    if not inner:
        return
    (name, workflow_id, wish) = db.run(_OWN, {"loop": loop_id})[0]
    rows = [
        {
            "workflow_id": workflow_id,
            "name": f"{name}/it/{iteration}/p/{number}/{own}" if name else own,
            "wish": wish,
            "state": LoopState.WAITING.value,
            "created": db.now(),
            "parent_point": point_id,
            "step_no": no,
        }
        for point_id, number in points.items()
        for no, own in inner
    ]
    db.generation += 1
    db.insert(tables.loop, rows)


_OWN = sa.select(_L.name, _L.workflow_id, _L.wish).where(_L.id == sa.bindparam("loop"))


def will_end(db: Database, outcomes: Sequence[Outcome]) -> None:
    """These outcomes end their points as soon as nothing of them runs any more; the first one counts."""
    for o in outcomes:
        ends_as(db, o.claim.point_id, str(o.point_state), o.reason, o.last_report)


def ends_as(db: Database, point_id: int, state: str, reason: str, last_report: str | None = None) -> None:
    """A point ends like this as soon as nothing of it runs any more; the first word counts."""
    how = {"state": str(state), "reason": reason, "failure_class": None, "last_report": last_report}
    db.run(_WILL_END, {"point": point_id, "how": strict_json(how)})


class Points:
    """The store's part for points of many jobs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # ------------------------------------------------------------------ reading
    def take_touched(self, *, every: bool) -> list[int]:
        """Open points at which something may move: those touched since the last call, or all there are."""
        touched, self._db.touched = self._db.touched, set()
        return [row.id for row in self._db.run(_WIDE_OPEN)] if every else sorted(touched)

    def touch(self, point_id: int) -> None:
        """Something has ended at a point; somebody looks soon."""
        self._db.touched.add(point_id)

    def ending(self) -> set[int]:
        """Points that will end: nobody wants what still runs there."""
        return {row.id for row in self._db.run(_ENDING)}

    def elements(self, point_id: int) -> tuple[int, Mapping[str, Any] | None, list[Element], list[Element]] | None:
        """(loop, how it will end, jobs, loops inside) of an open point; None when it has ended."""
        head = self._db.run(_HEAD, {"point": point_id})
        if not head:
            return None
        jobs = [Element(*row) for row in self._db.run(_JOBS, {"point": point_id})]
        loops = [Element(i, no, "", 0, 1, state) for i, no, state in self._db.run(_LOOPS, {"point": point_id})]
        return head[0].loop_id, json.loads(head[0].ending) if head[0].ending else None, jobs, loops

    def open_of(self, loop_id: int) -> list[int]:
        """Points of a loop that have not ended."""
        with self._db.reading() as connection:
            query = sa.select(_P.id).where(_P.loop_id == loop_id, _P.state == PointState.OPEN).order_by(_P.id)
            return list(connection.execute(query).scalars())

    def reason(self, loop_id: int, number: int) -> str:
        """Why a point ended as it did."""
        with self._db.reading() as connection:
            query = sa.select(_P.reason).where(_P.loop_id == loop_id, _P.number == number)
            return connection.execute(query).scalar() or ""

    def outer(self, point_id: int) -> OuterPoint:
        """The point around a loop."""
        (row,) = self._db.run(_OUTER, {"point": point_id})
        parameters = json.loads(row.parameters) | json.loads(row.given or "{}")
        return OuterPoint(row.loop_id, row.iteration, row.number, parameters)

    def live_inside(self, loop_id: int) -> int:
        """Number of loops inside the points of a loop that have not ended."""
        inside = sa.select(_P.id).where(_P.loop_id == loop_id)
        query = sa.select(sa.func.count()).where(_L.parent_point.in_(inside), _L.state.not_in(TERMINAL["loop"]))
        with self._db.reading() as connection:
            return int(connection.execute(query).scalar() or 0)

    # ------------------------------------------------------------------ writing
    def release(self, jobs: Collection[int], actor: str) -> int:
        """These waiting jobs may start."""
        return len(self._db.move("job", [{"id": i} for i in jobs], JobState.WAITING, JobState.READY, actor=actor))

    def cancel(self, jobs: Collection[int], reason: str, actor: str) -> int:
        """These jobs will never start: their input is lost."""
        rows = [{"id": i, "reason": reason} for i in jobs]
        return len(self._db.move("job", rows, JobState.WAITING, JobState.CANCELLED, actor=actor))

    def lose(self, point_id: int, reason: str, failure_class: str) -> None:
        """The point will end as FAILED."""
        how = {"state": str(PointState.FAILED), "reason": reason, "failure_class": failure_class}
        self._db.run(_WILL_END, {"point": point_id, "how": strict_json(how)})

    def failure_class(self, point_id: int) -> str:
        """The class of the first job of a point that failed; what a loop in it failed of is the user's to mend."""
        a = tables.attempt.c
        query = (
            sa.select(a.failure_class)
            .join(tables.job, _J.id == a.job_id)
            .where(_J.point_id == point_id, _J.state == JobState.FAILED, a.failure_class.is_not(None))
            .order_by(_J.step_no, _J.variant, _J.chunk, a.number.desc())
            .limit(1)
        )
        with self._db.reading() as connection:
            return connection.execute(query).scalar() or str(FailureClass.USER)

    def clear(self, point_id: int, reason: str, actor: str) -> int:
        """Nothing more starts at a point: jobs are cancelled, loops inside are told so."""
        moved = 0
        jobs = self._db.run(_JOBS, {"point": point_id})
        for state in (JobState.WAITING, JobState.READY):
            rows = [{"id": row.id, "reason": reason} for row in jobs if row.state == state]
            moved += len(self._db.move("job", rows, state, JobState.CANCELLED, actor=actor))
        for loop in self._db.run(_LOOPS, {"point": point_id}):
            if loop.state == LoopState.WAITING:
                moved += self._cancel_waiting(loop.id, reason, actor)
            elif loop.state not in TERMINAL["loop"]:
                self._wish_cancel(loop.id)
        return moved

    def _cancel_waiting(self, loop_id: int, reason: str, actor: str) -> int:
        """A loop that has not begun never will; one that begins again with its points has some that are open."""
        moved = 0
        for point in self.open_of(loop_id):
            moved += self.clear(point, reason, actor)
            moved += self.end(point, {"state": PointState.DROPPED, "reason": reason}, loop_id, actor)
        rows = [{"id": loop_id, "reason": reason}]
        return moved + len(self._db.move("loop", rows, LoopState.WAITING, LoopState.CANCELLED, actor=actor))

    def _wish_cancel(self, loop_id: int) -> None:
        """A loop and all that is inside it."""
        self._db.generation += 1
        name, workflow_id, _ = self._db.run(_OWN, {"loop": loop_id})[0]
        with self._db.transaction() as connection:
            inside = sa.or_(_L.id == loop_id, _L.name.startswith(f"{name}/it/", autoescape=True))
            connection.execute(
                sa.update(tables.loop).where(_L.workflow_id == workflow_id, inside).values(wish=str(Wish.CANCEL))
            )

    def end(self, point_id: int, how: Mapping[str, Any], loop_id: int, actor: str) -> int:
        """Move a point, of which nothing runs any more, to its end."""
        row = {
            "id": point_id,
            "reason": how["reason"],
            "failure_class": how.get("failure_class"),
            "observation": _NOTHING if how["state"] == PointState.MEASURED else None,
        }
        columns: tuple[str, ...] = ("observation", "failure_class")
        if how.get("last_report"):
            row["last_report"] = how["last_report"]
            columns = (*columns, "last_report")
        moved = self._db.move("point", [row], PointState.OPEN, how["state"], actor=actor, columns=columns)
        if moved:
            self._db.count(loop_id, how["state"], 1)
        return len(moved)

    def start_loop(self, loop: LoopRecord, actor: str) -> bool:
        """A waiting loop has what it needs; its clock starts."""
        moved = self._db.move("loop", [{"id": loop.id}], LoopState.WAITING, LoopState.ACTIVE, actor=actor)
        if moved:
            self._db.run(_STARTED, {"loop": loop.id, "now": self._db.now()})
            self._db.touched.update(self.open_of(loop.id))  # in a revision it may have had points before it began
        return bool(moved)


_STARTED = sa.update(tables.loop).where(_L.id == sa.bindparam("loop")).values(created=sa.bindparam("now"))
