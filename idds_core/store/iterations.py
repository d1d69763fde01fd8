"""Iterations and points: what the learner proposed, what was decided, and the history of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa

from idds_core.history import History, IterationRecord, Observation, Point, canonical_json, strict_json
from idds_core.model import Loop
from idds_core.partition import is_wide
from idds_core.ports import Verdict
from idds_core.states import JobState, PointState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.points import add_loops, wide_jobs
from idds_core.store.records import Iteration, TopUp
from idds_core.store.topups import done_already, own_columns, write_taken

__all__ = ["Decision", "Iterations", "elapsed", "point_digest"]

_COLUMNS = [
    tables.iteration.c[n]
    for n in (
        "id",
        "loop_id",
        "number",
        "asked",
        "proposed",
        "closed",
        "elapsed_s",
        "core_hours",
        "learner_state",
        "diagnostics",
        "verdict",
        "verdict_reason",
        "ingested_upto",
        "pending",
        "took",
        "versions",
    )
]
_OF_LOOP = tables.iteration.c.loop_id == sa.bindparam("loop")
_SINCE = (
    sa.select(*_COLUMNS)
    .where(_OF_LOOP, tables.iteration.c.number > sa.bindparam("after"))
    .order_by(tables.iteration.c.number)
)
_POINT_COLUMNS = (
    "number", "iteration", "parameters", "state", "observation", "failure_class", "ingest_no", "last_report",
    "adds",
)  # fmt: skip
_POINTS = (
    sa.select(*[tables.point.c[name] for name in _POINT_COLUMNS])
    .where(tables.point.c.loop_id == sa.bindparam("loop"), tables.point.c.number > sa.bindparam("after"))
    .order_by(tables.point.c.number)
)
_POINT_IDS = (
    sa.select(tables.point.c.id)
    .where(tables.point.c.loop_id == sa.bindparam("loop"), tables.point.c.number >= sa.bindparam("first"))
    .order_by(tables.point.c.number)
)
_CLOSE = (
    sa.update(tables.iteration)
    .where(tables.iteration.c.id == sa.bindparam("iteration"))
    .values(closed=sa.bindparam("now"), elapsed_s=sa.bindparam("elapsed"), core_hours=sa.bindparam("hours"))
)
_LONGEST = sa.select(sa.func.max(tables.iteration.c.elapsed_s)).where(
    tables.iteration.c.loop_id == sa.bindparam("loop")
)
_DECIDE = (
    sa.update(tables.iteration)
    .where(
        tables.iteration.c.id == sa.bindparam("iteration"),
        tables.iteration.c.verdict.is_(None),
        tables.iteration.c.closed.is_not(None),
    )
    .values(
        learner_state=sa.bindparam("state"),
        diagnostics=sa.bindparam("told"),
        verdict=sa.bindparam("kind"),
        verdict_reason=sa.bindparam("why"),
        took=sa.bindparam("took"),
        versions=sa.bindparam("versions"),
    )
    .returning(tables.iteration.c.id)
)
_NEWEST = sa.select(*_COLUMNS).where(_OF_LOOP).order_by(tables.iteration.c.number.desc()).limit(1)
_OPEN_POINT = sa.exists().where(
    tables.point.c.loop_id == tables.iteration.c.loop_id,
    tables.point.c.iteration == tables.iteration.c.number,
    tables.point.c.state == sa.literal_column("'open'"),  # literal: the partial index must be seen to fit
)
_FINISHED = sa.select(tables.iteration.c.id).where(_OF_LOOP, tables.iteration.c.closed.is_(None), ~_OPEN_POINT)


def point_digest(parameters: Mapping[str, Any]) -> str:
    """Digest of a point's parameters; a result must echo it."""
    return hashlib.sha256(canonical_json(parameters).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the one call after a closed iteration gave: diagnostics, learner state and verdict; seconds it took.

    versions : of what gave it, by name.
    """

    state: Mapping[str, Any]
    diagnostics: Mapping[str, Any]
    verdict: Verdict
    took: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


class Opens(Protocol):
    """What opens sealed targets (:class:`idds_core.sealing.Seal`)."""

    def value(self, text: str) -> dict[str, Any]:
        """The sealed part of an observation."""
        ...


def _observation(data: Mapping[str, Any], seal: Opens | None) -> Observation:
    sealed = data.get("sealed")
    if not sealed or seal is None:
        return Observation.from_json(data)
    more = seal.value(sealed)
    whole = {k: {**data[k], **more[k]} for k in ("values", "sigmas", "extras")}
    return Observation.from_json({**whole, "censored": {**data.get("censored", {}), **more.get("censored", {})}})


def _new_point(number: int, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": number,
        "state": PointState.OPEN.value,
        "parameters": canonical_json(parameters),
        "digest": point_digest(parameters),
    }


def _jobs(
    shared: Mapping[str, Any], loop: Loop, point_ids: Sequence[int], seen: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The jobs of new points, with what each of them sees."""
    wide = is_wide(loop.body)
    return [
        {**shared, "point_id": point_id, **job}
        for point_id, here in zip(point_ids, seen, strict=True)
        for job in (wide_jobs(loop.body, here) if wide else _plain_jobs(loop))
    ]


def _first(took: Mapping[str, float] | None) -> dict[str, str]:
    """What the first answer took, under names of its own: those of later answers come beside them."""
    return {"took": strict_json({f"first_{name}": seconds for name, seconds in took.items()})} if took else {}


def _say_why(rows: Sequence[dict[str, Any]], chosen: Sequence[Mapping[str, Any]]) -> None:
    """Write beside each new point why it was chosen, where that is said."""
    for row, why in zip(rows, chosen or [{}] * len(rows), strict=True):
        row["chosen"] = strict_json(why) if why else None


def _plain_jobs(loop: Loop) -> list[dict[str, Any]]:
    """One job a step; the first may start."""
    return [
        {"step": step.name, "step_no": no, "state": JobState.WAITING.value if no else JobState.READY.value}
        for no, step in enumerate(loop.body)
    ]


def elapsed(db: Database, loop_id: int, started: float) -> float:
    """Seconds since a loop began; a clock that was set back takes nothing from what an earlier iteration has seen."""
    before = db.run(_LONGEST, {"loop": loop_id})[0][0]
    return max(db.now() - started, before or 0.0)


class Iterations:
    """The store's part for iterations and points."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # ------------------------------------------------------------------ reading
    def last(self, loop_id: int) -> Iteration | None:
        """The newest iteration of a loop."""
        found = self._iterations(_NEWEST, loop=loop_id)
        return found[0] if found else None

    def all(self, loop_id: int) -> list[Iteration]:
        """All iterations of a loop, in order."""
        return self._read(loop_id, after=0)

    def _read(self, loop_id: int, *, after: int) -> list[Iteration]:
        return self._iterations(_SINCE, loop=loop_id, after=after)

    def _iterations(self, query: Any, **values: int) -> list[Iteration]:
        rows = self._db.run(query, values)
        return [
            Iteration(
                **{
                    **r._asdict(),
                    "learner_state": json.loads(r.learner_state or "{}"),
                    "diagnostics": json.loads(r.diagnostics or "{}"),
                    "verdict": r.verdict or "",
                    "verdict_reason": r.verdict_reason or "",
                    "pending": tuple(json.loads(r.pending)) if r.pending else (),
                    "took": json.loads(r.took or "{}"),
                    "versions": json.loads(r.versions or "{}"),
                }
            )
            for r in rows
        ]

    def points(self, loop_id: int, after: int = 0, seal: Opens | None = None) -> tuple[Point, ...]:
        """Points of a loop with a number above `after`, ordered by number; sealed targets only with what opens them."""
        rows = self._db.run(_POINTS, {"loop": loop_id, "after": after})
        loads = json.loads
        return tuple(
            Point(
                r[0],
                r[1],
                loads(r[2]),
                PointState(r[3]),
                _observation(loads(r[4]), seal) if r[4] else None,
                r[5],
                r[6],
                tuple(loads(r[7])) if r[7] else None,
                loads(r[8]) if r[8] else None,
            )
            for r in rows
        )

    def history(
        self, loop_id: int, loop: Loop, seed: int, known: History | None = None, seal: Opens | None = None
    ) -> History:
        """What the learner of a loop may see.

        Parameters
        ----------
        loop_id, loop, seed : whose.
        known : the history as it stood when all its points had ended; only what came since is read.
        seal : opens the sealed targets, for people who may see them; a learner never does.

        """
        old_points = known.points if known else ()
        old_records = known.iterations[:-1] if known else ()  # the last one's decision may have been added since
        with self._db.reading():
            closed = [i for i in self._read(loop_id, after=len(old_records)) if i.closed is not None]
            points = old_points + self.points(loop_id, len(old_points), seal)
        records = tuple(
            IterationRecord(
                i.number, i.learner_state, i.diagnostics, i.elapsed_s or 0.0, i.core_hours or 0.0, i.ingested_upto
            )
            for i in closed
        )
        targets = loop.targets if seal else loop.open_targets
        return History(loop.space, seed, targets, points, old_records + records)

    def chosen(self, loop_id: int, number: int | None = None) -> dict[int, Mapping[str, Any]]:
        """Point number -> why it was chosen, where that is told; of all points of a loop, or of one."""
        c = tables.point.c
        with self._db.reading() as connection:
            query = sa.select(c.number, c.chosen).where(c.loop_id == loop_id, c.chosen.is_not(None)).order_by(c.number)
            query = query if number is None else query.where(c.number == number)
            return {r.number: json.loads(r.chosen) for r in connection.execute(query)}

    # ------------------------------------------------------------------ writing
    def add(
        self,
        loop_id: int,
        loop: Loop,
        number: int,
        points: Sequence[Mapping[str, Any]],
        asked: int,
        first_number: int,
        values: Mapping[str, Any] | None = None,
        top_ups: Mapping[int, TopUp] | None = None,
        chosen: Sequence[Mapping[str, Any]] = (),
        took: Mapping[str, float] | None = None,
    ) -> None:
        """An iteration with its points and their jobs, in one transaction; the first step's jobs are ready at once.

        Parameters
        ----------
        values : parameters of the definition, which a step may be split by; those of the loop by default.
        top_ups : number of a point -> what it adds to another; the results that it takes over are there at once.
        chosen : why each point was chosen, in their order; empty where nobody says.
        took : seconds of the first answer, which is about no iteration before: they are kept with the first one.

        """
        tops = top_ups or {}
        now, wide = self._db.now(), is_wide(loop.body)
        turn = {"loop_id": loop_id, "number": number, "asked": asked, "proposed": len(points), "created": now}
        with self._db.transaction():
            self._db.insert(tables.iteration, [{**turn, **_first(took)}])
            self._db.count(loop_id, "iterations", 1)
            shared = {"loop_id": loop_id, "iteration": number, "created": now, **({"wide": 1} if wide else {})}
            rows = [{**shared, **_new_point(n, p), **own_columns(tops, n)} for n, p in enumerate(points, first_number)]
            _say_why(rows, chosen)
            if not rows:
                return
            self._db.insert(tables.point, rows)
            point_ids = [row.id for row in self._db.run(_POINT_IDS, {"loop": loop_id, "first": first_number})]
            given = loop.parameters if values is None else values
            seen = [{**given, **p, **(tops[n].given if n in tops else {})} for n, p in enumerate(points, first_number)]
            jobs = _jobs({"loop_id": loop_id, "created": now}, loop, point_ids, seen)
            begun = {point_ids[n - first_number]: top for n, top in tops.items() if top.taken}
            jobs = done_already(jobs, begun, now) if begun else jobs
            if wide:
                add_loops(self._db, loop_id, loop, number, {i: n for n, i in enumerate(point_ids, first_number)})
            if jobs:  # without steps a person measures the points
                self._db.insert(tables.job, jobs)
            write_taken(self._db, loop_id, begun)
            self._db.count(loop_id, "points", len(rows))
            self._db.count(loop_id, "jobs", len(jobs))

    def decide(self, iteration: Iteration, decision: Decision) -> bool:
        """Write what was decided about a closed iteration, once."""
        values = {
            "iteration": iteration.id,
            "state": strict_json(decision.state),
            "told": strict_json(decision.diagnostics),
            "kind": str(decision.verdict.kind),
            "why": decision.verdict.reason,
            "took": strict_json({**iteration.took, **decision.took}) if iteration.took or decision.took else None,
            "versions": strict_json(decision.versions) if decision.versions else None,
        }
        with self._db.transaction():
            return len(self._db.run(_DECIDE, values)) == 1

    def close_finished(self, loop_id: int, started: float) -> int:
        """Close the iterations of a loop that have no open point; freeze elapsed time and core hours."""
        with self._db.transaction():
            done = [row.id for row in self._db.run(_FINISHED, {"loop": loop_id})]
            if not done:
                return 0
            now = self._db.now()
            used = self._db.counters(loop_id).get("core_ms", 0)
            frozen = {"now": now, "elapsed": elapsed(self._db, loop_id, started), "hours": used / 3.6e6}
            for iteration in done:
                self._db.run(_CLOSE, {"iteration": iteration, **frozen})
        return len(done)

    def drop_open(self, loop_id: int, reason: str, actor: str) -> int:
        """Drop the open points of a loop that has no live job any more."""
        c = tables.point.c
        with self._db.transaction() as connection:
            found = connection.execute(
                sa.select(c.id).where(c.loop_id == loop_id, c.state == PointState.OPEN)
            ).scalars()
            rows = [{"id": i, "reason": reason} for i in found]
            moved = self._db.move("point", rows, PointState.OPEN, PointState.DROPPED, actor=actor)
            self._db.count(loop_id, PointState.DROPPED, len(moved))
        return len(moved)
