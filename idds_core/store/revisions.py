"""Revisions: a workflow that continues a concluded one. Each is made in one transaction, or not at all.

Nothing of the older revision changes. Its points are written again below the new one, with their numbers, so that
whoever reads a loop's history reads one loop; `point.continued` says which row it was.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from idds_core.definition import Definition
from idds_core.errors import IddsError
from idds_core.history import canonical_json
from idds_core.model import Loop
from idds_core.partition import is_wide
from idds_core.states import TERMINAL, JobState, PointState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.iterations import point_digest
from idds_core.store.points import wide_jobs
from idds_core.store.records import LoopRecord, WorkflowRecord
from idds_core.store.workflows import Workflows

__all__ = ["NewPoint", "OldJob", "OldPoint", "Revisions"]

_CARRIED = ("points", "iterations", "core_ms", *(str(s) for s in PointState if s is not PointState.OPEN))
_KEPT = ("number", "iteration", "parameters", "digest", "observation", "failure_class", "state", "reason", "created",
         "ended", "last_report", "ingest_no", "chosen")  # fmt: skip
_TURN = ("number", "asked", "proposed", "ingested_upto", "pending", "learner_state", "diagnostics", "verdict",
         "verdict_reason", "elapsed_s", "core_hours", "created", "closed", "took")  # fmt: skip

# A point that was only carried on has its jobs under the row that it continues.
_JOBS = sa.text(
    """
    WITH RECURSIVE chain(origin, id) AS (
        SELECT id, id FROM point WHERE loop_id = :loop
        UNION ALL
        SELECT chain.origin, p.continued FROM chain JOIN point p ON p.id = chain.id
        WHERE p.continued IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job WHERE job.point_id = chain.id))
    SELECT chain.origin, j.step, j.variant, j.chunk, j.state, j.reason, r.result, r.digest,
           coalesce(r.attempt_id, r.reused_from)
    FROM chain JOIN job j ON j.point_id = chain.id LEFT JOIN result r ON r.job_id = j.id
    ORDER BY chain.origin, j.step_no, j.id
    """
)


@dataclass(frozen=True, slots=True)
class OldJob:
    """A job of an older revision. result, attempt : JSON text, and id of the attempt that gave it, when DONE."""

    step: str
    variant: str
    chunk: int
    state: str
    reason: str
    result: str | None
    digest: str | None
    attempt: int | None


@dataclass(frozen=True, slots=True)
class OldPoint:
    """A point of an older revision with its jobs; one that a person brought has none."""

    id: int
    number: int
    iteration: int
    parameters: Mapping[str, Any]
    state: str
    jobs: tuple[OldJob, ...]


@dataclass(frozen=True, slots=True)
class NewPoint:
    """What becomes of an old point in a revision.

    redo : index of the first step that runs again; the results before it are taken over. None: it stays as it is.
    observation : JSON text of what is seen in its results now, when that is something else than before.
    """

    old: OldPoint
    parameters: Mapping[str, Any]
    redo: int | None = None
    observation: str | None = None


class Revisions:
    """The store's part for revisions."""

    def __init__(self, database: Database, workflows: Workflows) -> None:
        self._db = database
        self._workflows = workflows

    def points(self, loop_id: int) -> list[OldPoint]:
        """Points of a loop with their jobs, in order."""
        c = tables.point.c
        with self._db.reading() as connection:
            jobs: dict[int, list[OldJob]] = defaultdict(list)
            for origin, *fields in connection.execute(_JOBS, {"loop": loop_id}):
                jobs[origin].append(OldJob(*fields))
            query = sa.select(c.id, c.number, c.iteration, c.parameters, c.state).where(c.loop_id == loop_id)
            rows = connection.execute(query.order_by(c.number)).all()
        return [OldPoint(r[0], r[1], r[2], json.loads(r[3]), r[4], tuple(jobs[r[0]])) for r in rows]

    def carried(self, loop_id: int) -> set[int]:
        """Iterations that were taken over from the revision before: what was asked for them was asked there."""
        c = tables.point.c
        with self._db.reading() as connection:
            query = sa.select(c.iteration).where(c.loop_id == loop_id, c.continued.is_not(None)).distinct()
            return set(connection.execute(query).scalars())

    def make(
        self,
        old: WorkflowRecord,
        definition: Definition,
        bundle: str,
        points: Mapping[str, Sequence[NewPoint]] | None,
        *,
        actor: str,
        reason: str,
    ) -> WorkflowRecord:
        """A new revision, ready to run.

        Parameters
        ----------
        old : the newest revision; it must have ended.
        points : loop -> what becomes of its points; they all enter the first iteration. None: everything goes on as it
            stands, and the last iteration is decided anew.

        """
        with self._db.transaction() as connection:
            newest = self._workflows.latest(old.name)
            if newest is None or newest.id != old.id or newest.state not in TERMINAL["workflow"]:
                raise IddsError.of("E-REVISE-001", f"{old.path} cannot be continued now", "it goes on, or is continued",
                                   old.path, "See 'idds-core ls'.")  # fmt: skip
            _refuse_several_loops(definition, old.path)
            made = self._workflows.add(definition, bundle, old.seed, old.revision + 1, continues=old.id)
            before = {loop.name: loop for loop in self._workflows.loops(old.id)}
            for loop in self._workflows.loops(made.id):
                if points is None:
                    self._carry_on(connection, before[loop.name], loop)
                else:
                    self._begin_again(
                        connection, before[loop.name], loop, definition.loop(loop.name), points[loop.name]
                    )
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

    # ------------------------------------------------------------------ everything as it stands
    def _carry_on(self, connection: sa.Connection, old: LoopRecord, new: LoopRecord) -> None:
        p, i = tables.point, tables.iteration
        columns = [p.c[name] for name in _KEPT]
        rows = sa.select(sa.literal(new.id), p.c.id, *columns).where(p.c.loop_id == old.id).order_by(p.c.number)
        connection.execute(sa.insert(p).from_select(["loop_id", "continued", *_KEPT], rows))
        self._link_retries(connection, new)
        turns = sa.select(sa.literal(new.id), *[i.c[n] for n in _TURN]).where(i.c.loop_id == old.id)
        connection.execute(sa.insert(i).from_select(["loop_id", *_TURN], turns.order_by(i.c.number)))
        last = sa.select(sa.func.max(i.c.number)).where(i.c.loop_id == new.id).scalar_subquery()
        nothing = dict.fromkeys(("learner_state", "diagnostics", "verdict", "verdict_reason", "took"))
        connection.execute(sa.update(i).where(i.c.loop_id == new.id, i.c.number == last).values(nothing))
        self._clock(connection, old, new)
        for name, value in self._db.counters(old.id).items():
            if name in _CARRIED:
                self._db.count(new.id, name, value)

    def _clock(self, connection: sa.Connection, old: LoopRecord, new: LoopRecord) -> None:
        """What the older revisions took counts; the time between does not."""
        c = tables.iteration.c
        took = connection.execute(sa.select(sa.func.max(c.elapsed_s)).where(c.loop_id == old.id)).scalar()
        spent = old.before_s if took is None else took
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
            .where(mine.c.loop_id == new.id)
        )
        for point, origin in connection.execute(query).all():
            connection.execute(sa.update(tables.point).where(tables.point.c.id == point).values(retry_of=origin))

    # ------------------------------------------------------------------ with another definition
    def _begin_again(
        self, connection: sa.Connection, old: LoopRecord, new: LoopRecord, loop: Loop, points: Sequence[NewPoint]
    ) -> None:
        """All old points in one iteration: what was decided on other results or another space says nothing any more."""
        now = self._db.now()
        self._clock(connection, old, new)
        self._db.count(new.id, "core_ms", self._db.counters(old.id).get("core_ms", 0))
        if not points:
            return
        first = [p for p in points if p.old.iteration > 0]
        if first:
            turn = {"loop_id": new.id, "number": 1, "asked": 0, "proposed": len(first), "created": now}
            self._db.insert(tables.iteration, [turn])
            self._db.count(new.id, "iterations", 1)
        c = tables.point.c
        kept = {row.id: row._asdict() for row in connection.execute(
            sa.select(c.id, *[c[n] for n in _KEPT]).where(c.loop_id == old.id))}  # fmt: skip
        self._db.insert(tables.point, [_row(new.id, kept[p.old.id], p, now, wide=is_wide(loop.body)) for p in points])
        self._link_retries(connection, new)
        ids = {row.number: row.id for row in connection.execute(sa.select(c.number, c.id).where(c.loop_id == new.id))}
        self._jobs(new.id, loop, {ids[p.old.number]: p for p in points if p.redo is not None}, now)
        self._db.count(new.id, "points", len(points))
        for state, count in Counter(p.old.state for p in points if p.redo is None).items():
            self._db.count(new.id, state, count)

    def _jobs(self, loop_id: int, loop: Loop, points: Mapping[int, NewPoint], now: float) -> None:
        """Jobs of points that are measured again: what came before the first changed step is taken over."""
        numbers = {step.name: no for no, step in enumerate(loop.body)}
        wide = is_wide(loop.body)
        rows: list[dict[str, Any]] = []
        results: list[tuple[tuple[int, str, str, int], OldJob]] = []
        for point_id, point in points.items():
            assert point.redo is not None
            for job in point.old.jobs:
                no = numbers.get(job.step, point.redo)
                if no < point.redo:
                    if not wide:
                        rows.append(_job(loop_id, point_id, job.step, no, job.state, now, job))
                    if job.result is not None:
                        results.append(((point_id, job.step, job.variant, job.chunk), job))
            if wide:
                rows += _cut_again(loop_id, point_id, loop, point, now)
                self._db.touched.add(point_id)
                continue
            for no, step in enumerate(loop.body[point.redo :], point.redo):
                state = JobState.READY if no == point.redo else JobState.WAITING
                rows.append(_job(loop_id, point_id, step.name, no, state.value, now))
        if not rows:
            return
        self._db.insert(tables.job, rows)
        self._db.count(loop_id, "jobs", len(rows))
        if results:
            c = tables.job.c
            with self._db.reading() as connection:
                query = sa.select(c.point_id, c.step, c.variant, c.chunk, c.id).where(c.loop_id == loop_id)
                ids = {(r[0], r[1], r[2], r[3]): r[4] for r in connection.execute(query)}
            taken = [
                {"job_id": ids[key], "result": job.result, "digest": job.digest, "reused_from": job.attempt}
                for key, job in results
            ]
            self._db.insert(tables.result, taken)


def _refuse_several_loops(definition: Definition, path: str) -> None:
    workflow = definition.workflow
    if workflow.root is not None or any(isinstance(e, Loop) for e in workflow.loops[0].body):
        raise IddsError.of("E-REVISE-004", f"{path} cannot be continued",
                           "it has steps outside of its loop, or more loops than one", path,
                           "Run it with --fresh.")  # fmt: skip


def _row(loop_id: int, kept: Mapping[str, Any], point: NewPoint, now: float, *, wide: bool) -> dict[str, Any]:
    row = {
        **{name: kept[name] for name in _KEPT},
        "loop_id": loop_id,
        "continued": point.old.id,
        "iteration": min(point.old.iteration, 1),
        "parameters": canonical_json(point.parameters),
        "digest": point_digest(point.parameters),
    }
    if point.observation is not None:
        row["observation"] = point.observation
    row |= {"wide": int(wide), "ingest_no": None}  # without a barrier they are counted anew
    if point.redo is not None:
        again = {"state": PointState.OPEN.value, "reason": "", "observation": None, "failure_class": None}
        row.update(again, created=now, ended=None)
    return row


def _cut_again(loop_id: int, point_id: int, loop: Loop, point: NewPoint, now: float) -> list[dict[str, Any]]:
    """All jobs of a point of many: those before the first changed step as they ended, the others waiting."""
    assert point.redo is not None
    known = {(j.step, j.variant, j.chunk): j for j in point.old.jobs}
    rows = []
    for job in wide_jobs(loop.body, {**loop.parameters, **point.parameters}):
        was = known.get((job["step"], job["variant"], job["chunk"])) if job["step_no"] < point.redo else None
        state = was.state if was else JobState.WAITING.value if point.redo else job["state"]
        ended = {"reason": was.reason, "ended": now} if was else {"reason": "", "ended": None}
        rows.append({**job, "loop_id": loop_id, "point_id": point_id, "state": state, "created": now, **ended})
    return rows


def _job(
    loop_id: int, point_id: int, step: str, no: int, state: str, now: float, old: OldJob | None = None
) -> dict[str, Any]:
    return {
        "loop_id": loop_id,
        "point_id": point_id,
        "step": step,
        "step_no": no,
        "variant": old.variant if old else "",
        "chunk": old.chunk if old else 0,
        "state": state,
        "reason": old.reason if old else "",
        "created": now,
        "ended": now if old else None,
    }
