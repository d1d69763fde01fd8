"""Revisions: a workflow that continues a concluded one. Each is made in one transaction, or not at all.

Nothing of the older revision changes. Its points are written again below the new one, with their numbers, so that
whoever reads a loop's history reads one loop; `point.continued` says which row it was.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from idds_core.definition import Definition
from idds_core.errors import IddsError
from idds_core.model import Loop
from idds_core.partition import is_wide
from idds_core.states import TERMINAL, LoopState, PointState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.records import LoopRecord, WorkflowRecord
from idds_core.store.revision_rows import KEPT, How, NewLoop, NewPoint, OldJob, OldPoint, Taken, job_rows, point_row
from idds_core.store.workflows import Workflows

__all__ = ["Revisions"]

_CARRIED = ("points", "iterations", "core_ms", *(str(s) for s in PointState if s is not PointState.OPEN))
_TURN = ("number", "asked", "proposed", "ingested_upto", "pending", "learner_state", "diagnostics", "verdict",
         "verdict_reason", "elapsed_s", "core_hours", "created", "closed", "took", "versions")  # fmt: skip

# A point that was only carried on has its jobs under the row that it continues.
_JOBS = sa.text(
    """
    WITH RECURSIVE chain(origin, id) AS (
        SELECT id, id FROM point WHERE loop_id = :loop
        UNION ALL
        SELECT chain.origin, p.continued FROM chain JOIN point p ON p.id = chain.id
        WHERE p.continued IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job WHERE job.point_id = chain.id))
    SELECT chain.origin, j.step, j.variant, j.chunk, j.state, j.reason, r.result, r.digest, a.id, a.path
    FROM chain JOIN job j ON j.point_id = chain.id LEFT JOIN result r ON r.job_id = j.id
    LEFT JOIN attempt a ON a.id = coalesce(r.attempt_id, r.reused_from)
    ORDER BY chain.origin, j.step_no, j.id
    """
)
_ORIGIN = sa.text(
    """
    WITH RECURSIVE chain(id) AS (
        SELECT id FROM point WHERE loop_id = :loop AND number = :number
        UNION ALL
        SELECT p.continued FROM chain JOIN point p ON p.id = chain.id
        WHERE p.continued IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job WHERE job.point_id = chain.id))
    SELECT p.loop_id FROM chain JOIN job j ON j.point_id = chain.id JOIN point p ON p.id = chain.id LIMIT 1
    """
)


class Revisions:
    """The store's part for revisions."""

    def __init__(self, database: Database, workflows: Workflows) -> None:
        self._db = database
        self._workflows = workflows

    # ------------------------------------------------------------------ reading
    def points(self, loop_id: int) -> list[OldPoint]:
        """Points of a loop with their jobs and the loops inside, in order."""
        c = tables.point.c
        with self._db.reading() as connection:
            jobs: dict[int, list[OldJob]] = defaultdict(list)
            for origin, *fields in connection.execute(_JOBS, {"loop": loop_id}):
                jobs[origin].append(OldJob(*fields))
            inside = self.inside(loop_id)
            query = sa.select(c.id, c.number, c.iteration, c.parameters, c.state, c.given).where(c.loop_id == loop_id)
            rows = connection.execute(query.order_by(c.number)).all()
        return [
            OldPoint(r.id, r.number, r.iteration, json.loads(r.parameters), r.state, tuple(jobs[r.id]),
                     inside.get(r.id, {}), json.loads(r.given or "{}"))
            for r in rows
        ]  # fmt: skip

    def inside(self, loop_id: int) -> dict[int, dict[str, LoopRecord]]:
        """The loops inside the points of a loop: by id of the point, then by their own name."""
        c = tables.point.c
        with self._db.reading() as connection:
            points = connection.execute(sa.select(c.id).where(c.loop_id == loop_id)).scalars().all()
        found: dict[int, dict[str, LoopRecord]] = defaultdict(dict)
        for record in self._workflows.inside(points):
            assert record.parent_point is not None
            found[record.parent_point][_own_name(record)] = record
        return dict(found)

    def carried(self, loop_id: int) -> set[int]:
        """Iterations that were taken over from the revision before: what was asked for them was asked there."""
        c = tables.point.c
        with self._db.reading() as connection:
            query = sa.select(c.iteration).where(c.loop_id == loop_id, c.continued.is_not(None)).distinct()
            return set(connection.execute(query).scalars())

    def origin(self, loop_id: int, number: int) -> int:
        """The loop that has the jobs of a point: itself, or that of the revision in which the point was measured."""
        with self._db.reading() as connection:
            return connection.execute(_ORIGIN, {"loop": loop_id, "number": number}).scalar() or loop_id

    # ------------------------------------------------------------------ writing
    def make(
        self, old: WorkflowRecord, definition: Definition, bundle: str, top: NewLoop, *, actor: str, reason: str
    ) -> WorkflowRecord:
        """A new revision, ready to run.

        Parameters
        ----------
        old : the newest revision; it must have ended.
        top : what becomes of the loop that is not inside another, and so of all the others.

        """
        with self._db.transaction() as connection:
            newest = self._workflows.latest(old.name)
            if newest is None or newest.id != old.id or newest.state not in TERMINAL["workflow"]:
                raise IddsError.of("E-REVISE-001", f"{old.path} cannot be continued now", "it goes on, or is continued",
                                   old.path, "See 'idds-core ls'.")  # fmt: skip
            made = self._workflows.add(definition, bundle, old.seed, old.revision + 1, continues=old.id)
            (loop,) = self._workflows.loops(made.id)
            parameters = definition.workflow.parameters
            self._fill(loop, definition.loop(loop.name), parameters, top)
            connection.execute(
                sa.insert(tables.event),
                {
                    "entity": "revision",
                    "entity_id": made.id,
                    "old": old.path,
                    "new": made.path,
                    "actor": actor,
                    "reason": reason,
                    "at": self._db.now(),
                },
            )
        return made

    def _fill(self, new: LoopRecord, loop: Loop, around: Mapping[str, Any], plan: NewLoop) -> None:
        """What a loop has from its older revision. around : parameters that are seen in it from outside."""
        if plan.old is None or plan.how is How.ANEW:
            if plan.how is How.AGAIN:  # steps outside of loops that were not there
                self._begin_again(new, loop, around, plan)
            return
        self._clock(plan.old, new, ended=plan.how is How.STAYS)
        if plan.how is How.AGAIN:
            self._begin_again(new, loop, around, plan)
        else:
            self._carry_on(plan.old, new, loop)
        if plan.how is How.GOES_ON:
            self._forget_decision(new)

    def _inside(self, around: LoopRecord, point: tuple[int, int, int], no: int, name: str, plan: NewLoop) -> LoopRecord:
        """The row of a loop inside a point (id, iteration, number); one that stays is what it was at once."""
        point_id, iteration, number = point
        stays = plan.old is not None and plan.how is How.STAYS
        row: dict[str, Any] = {
            "workflow_id": around.workflow_id,
            "name": f"{around.name}/it/{iteration}/p/{number}/{name}" if around.name else name,
            "state": LoopState.WAITING.value,
            "created": self._db.now(),
            "parent_point": point_id,
            "step_no": no,
        }
        with self._db.transaction() as connection:
            if stays:
                assert plan.old is not None
                c = tables.loop.c
                was = connection.execute(sa.select(c.state, c.reason, c.created, c.ended).where(c.id == plan.old.id))
                row |= was.one()._asdict()
            self._db.generation += 1
            key = connection.execute(sa.insert(tables.loop), row).inserted_primary_key
        assert key is not None
        return self._workflows.loop(key[0])

    # ------------------------------------------------------------------ everything as it stands
    def _carry_on(self, old: LoopRecord, new: LoopRecord, loop: Loop) -> None:
        """All points, iterations and loops inside, as they are."""
        p, i = tables.point, tables.iteration
        columns = [p.c[name] for name in KEPT]
        with self._db.transaction() as connection:
            rows = sa.select(sa.literal(new.id), p.c.id, *columns).where(p.c.loop_id == old.id).order_by(p.c.number)
            connection.execute(sa.insert(p).from_select(["loop_id", "continued", *KEPT], rows))
            self._link_retries(connection, new)
            turns = sa.select(sa.literal(new.id), *[i.c[n] for n in _TURN]).where(i.c.loop_id == old.id)
            connection.execute(sa.insert(i).from_select(["loop_id", *_TURN], turns.order_by(i.c.number)))
        for name, value in self._db.counters(old.id).items():
            if name in _CARRIED:
                self._db.count(new.id, name, value)
        inside = self.inside(old.id)
        if inside:
            for old_id, point in self._points_of(new).items():
                self._stay(new, point, loop, inside.get(old_id, {}))

    def _stay(
        self, around: LoopRecord, point: tuple[int, int, int], loop: Loop, inside: Mapping[str, LoopRecord]
    ) -> None:
        """The loops inside a point that stays as it is, and all that is inside them."""
        for no, element in enumerate(loop.body):
            if isinstance(element, Loop) and element.name in inside:
                plan = NewLoop(inside[element.name], How.STAYS)
                record = self._inside(around, point, no, element.name, plan)
                self._fill(record, element, {}, plan)

    def _points_of(self, new: LoopRecord) -> dict[int, tuple[int, int, int]]:
        """Id of the point that is continued -> (id, iteration, number) of the new one."""
        c = tables.point.c
        with self._db.reading() as connection:
            query = sa.select(c.continued, c.id, c.iteration, c.number).where(c.loop_id == new.id)
            return {r[0]: (r[1], r[2], r[3]) for r in connection.execute(query)}

    def _forget_decision(self, new: LoopRecord) -> None:
        """The last iteration is decided anew."""
        i = tables.iteration
        nothing = dict.fromkeys(("learner_state", "diagnostics", "verdict", "verdict_reason", "took", "versions"))
        last = sa.select(sa.func.max(i.c.number)).where(i.c.loop_id == new.id).scalar_subquery()
        with self._db.transaction() as connection:
            connection.execute(sa.update(i).where(i.c.loop_id == new.id, i.c.number == last).values(nothing))

    def _clock(self, old: LoopRecord, new: LoopRecord, *, ended: bool) -> None:
        """What the older revisions took counts; the time between does not."""
        c = tables.iteration.c
        with self._db.transaction() as connection:
            took = connection.execute(sa.select(sa.func.max(c.elapsed_s)).where(c.loop_id == old.id)).scalar()
            spent = old.before_s if took is None or ended else took
            values = {"before_s": spent, "unblinded": old.unblinded}
            connection.execute(sa.update(tables.loop).where(tables.loop.c.id == new.id).values(values))

    @staticmethod
    def _link_retries(connection: sa.Connection, new: LoopRecord) -> None:
        """A retry points to the row of its own loop."""
        mine, old, tried = tables.point.alias("mine"), tables.point.alias("old"), tables.point.alias("tried")
        query = (
            sa.select(mine.c.id, tried.c.id)
            .join(old, old.c.id == mine.c.continued)
            .join(tried, sa.and_(tried.c.continued == old.c.retry_of, tried.c.loop_id == mine.c.loop_id))
            .where(mine.c.loop_id == new.id, old.c.retry_of.is_not(None))
        )
        for point, origin in connection.execute(query).all():
            connection.execute(sa.update(tables.point).where(tables.point.c.id == point).values(retry_of=origin))

    # ------------------------------------------------------------------ with another definition
    def _begin_again(self, new: LoopRecord, loop: Loop, around: Mapping[str, Any], plan: NewLoop) -> None:
        """All old points in one iteration: what was decided on other results or another space says nothing any more."""
        if plan.old is not None:
            self._db.count(new.id, "core_ms", self._db.counters(plan.old.id).get("core_ms", 0))
        points = plan.points
        if not points:
            return
        first = sum(p.iteration > 0 for p in points)
        if first:
            turn = {"loop_id": new.id, "number": 1, "asked": 0, "proposed": first, "created": self._db.now()}
            self._db.insert(tables.iteration, [turn])
            self._db.count(new.id, "iterations", 1)
        values = {**around, **loop.parameters}
        self._insert_points(plan, new, values, wide=is_wide(loop.body))
        c = tables.point.c
        with self._db.reading() as connection:
            query = sa.select(c.number, c.id, c.iteration).where(c.loop_id == new.id)
            ids = {r.number: (r.id, r.iteration, r.number) for r in connection.execute(query)}
        self._jobs(new.id, loop, values, {ids[p.number][0]: p for p in points if p.again is not None})
        for point in points:
            seen = {**values, **point.parameters, **point.own(values)}
            self._loops(new, ids[point.number], loop, seen, point)
        self._db.count(new.id, "points", len(points))
        for state, count in Counter(p.old.state for p in points if p.old and p.again is None).items():
            self._db.count(new.id, state, count)

    def _insert_points(self, plan: NewLoop, new: LoopRecord, values: Mapping[str, Any], *, wide: bool) -> None:
        c, now = tables.point.c, self._db.now()
        with self._db.transaction() as connection:
            columns = [c.id, *[c[n] for n in KEPT]]
            query = sa.select(*columns).where(c.loop_id == (plan.old.id if plan.old else None))
            kept = {row.id: row._asdict() for row in connection.execute(query)}
            rows = [
                point_row(new.id, kept[p.old.id] if p.old else None, p, values, now, wide=wide) for p in plan.points
            ]
            self._db.insert(tables.point, rows)
            self._link_retries(connection, new)

    def _loops(
        self, around: LoopRecord, at: tuple[int, int, int], loop: Loop, values: Mapping[str, Any], point: NewPoint
    ) -> None:
        """The loops inside a point of a loop that begins again with its points."""
        if point.again is None:
            self._stay(around, at, loop, point.old.loops if point.old else {})
            return
        self._db.touched.add(at[0])
        for no, element in enumerate(loop.body):
            if isinstance(element, Loop):
                plan = point.loops[element.name]
                self._fill(self._inside(around, at, no, element.name, plan), element, values, plan)

    def _jobs(self, loop_id: int, loop: Loop, values: Mapping[str, Any], points: Mapping[int, NewPoint]) -> None:
        """Jobs of the points that are open again (by id), and the results that are taken over."""
        now = self._db.now()
        rows: list[dict[str, Any]] = []
        results: list[tuple[int, Taken]] = []
        for point_id, point in points.items():
            found, taken = job_rows(loop_id, point_id, loop, values, point, now)
            rows += found
            results += [(point_id, each) for each in taken]
        if not rows:
            return
        self._db.insert(tables.job, rows)
        self._db.count(loop_id, "jobs", len(rows))
        if results:
            self._db.insert(tables.result, self._results(loop_id, results))

    def _results(self, loop_id: int, taken: Sequence[tuple[int, Taken]]) -> list[dict[str, Any]]:
        c = tables.job.c
        with self._db.reading() as connection:
            query = sa.select(c.point_id, c.step, c.variant, c.chunk, c.id).where(c.loop_id == loop_id)
            ids = {(r[0], r[1], r[2], r[3]): r[4] for r in connection.execute(query)}
        return [
            {"job_id": ids[point_id, *each.place], "result": each.job.result, "digest": each.job.digest,
             "reused_from": each.job.attempt}
            for point_id, each in taken
        ]  # fmt: skip


def _own_name(record: LoopRecord) -> str:
    return record.name.rpartition("/")[2]
