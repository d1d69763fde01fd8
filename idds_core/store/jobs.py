"""Jobs and attempts: claim with intent, submission, the one result, release of the next step."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from idds_core.binding import Given
from idds_core.errors import StoreError
from idds_core.states import AttemptState, JobState, PointState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.job_rows import attempt_end, counts, grouped, job_end
from idds_core.store.job_statements import (
    ADOPT,
    ATTEMPT,
    ATTEMPT_FIELDS,
    CLAIMED,
    COUNT_ATTEMPT,
    LAST_DONE,
    LIVE_COUNT,
    LIVE_KEYS,
    MINE,
    NEXT_READY,
    OF_JOBS,
    OTHERS,
    READY,
    RELEASED,
    RENEW,
    RESULTS,
)
from idds_core.store.points import will_end
from idds_core.store.records import Attempt, Claim, Job, Outcome, place_of
from idds_core.store.workflows import ids

__all__ = ["Jobs"]

_END_COLUMNS = ("failure_class", "failure_code", "signature", "node", "wall_s", "cpu_s", "max_rss")


def _attempt(row: Any) -> Attempt:
    fields = dict(zip(ATTEMPT_FIELDS, row, strict=True))
    return Attempt(**{**fields, "state": AttemptState(fields["state"])})


def _folder(row: Any, loop: str, *, hidden: bool) -> str:
    """The path of a claimed job's new attempt."""
    point = "" if hidden else f"/it/{row.iteration}/p/{row.point}"
    return f"{loop}{point}/{row.step}/job/{place_of(row.variant, row.chunk)}/a/{row.attempts}"


class Jobs:
    """The store's part for jobs and attempts."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # ------------------------------------------------------------------ claiming
    def claim(
        self,
        loops: Mapping[int, str],
        limit: int,
        provider: str,
        owner: str,
        lease_s: float,
        key: Callable[[int, int], str],
        hidden: Collection[int] = (),
    ) -> list[Claim]:
        """Take ready jobs: each becomes running with a new attempt in the state intent, in one transaction.

        Parameters
        ----------
        loops : id -> path of the loops that may be claimed from.
        key : (job id, attempt number) -> the attempt's key.
        hidden : loops of one point, which paths leave out.

        """
        now = self._db.now()
        with self._db.transaction():
            values = {"now": now, "loops": json.dumps(list(loops)), "limit": limit}
            wanted = [row.id for row in self._db.run(READY, values)]
            if not wanted:
                return []
            self._db.move("job", ids(wanted), JobState.READY, JobState.RUNNING, actor=owner)
            chosen = {"ids": json.dumps(wanted)}
            self._db.run(COUNT_ATTEMPT, chosen)
            rows = self._db.run(CLAIMED, chosen)
            attempts = [
                {
                    "job_id": r.id,
                    "loop_id": r.loop_id,
                    "number": r.attempts,
                    "key": key(r.id, r.attempts),
                    "provider": provider,
                    "path": _folder(r, loops[r.loop_id], hidden=r.loop_id in hidden),
                    "owner": owner,
                    "lease_until": now + lease_s,
                    "state": AttemptState.INTENT.value,
                    "created": now,
                }
                for r in rows
            ]
            self._db.insert(tables.attempt, attempts)
            for loop_id, count in counts(r.loop_id for r in rows):
                self._db.count(loop_id, "attempts", count)
            return self._claims(OF_JOBS, chosen)

    def live(self, *, owner: str | None = None, not_owner: str | None = None, expired: bool = False) -> list[Claim]:
        """Claims whose attempt has not ended, of an owner or of all others; expired : of them, whose lease is over."""
        before = self._db.now() if expired else float("inf")
        with self._db.reading():
            return self._claims(MINE if owner else OTHERS, {"owner": owner or not_owner, "before": before})

    def live_keys(self) -> set[str]:
        """Keys of all attempts of the store that have not ended, whoever owns them."""
        return {row.key for row in self._db.run(LIVE_KEYS)}

    def _claims(self, query: Any, values: Mapping[str, Any]) -> list[Claim]:
        rows = self._db.run(query, values)
        later = sorted({r.point_id for r in rows if r.step_no > 0})
        upstream = self._upstream(later) if later else {}
        n = len(ATTEMPT)
        return [
            Claim(
                r.job_id,
                r.loop_id,
                r.point_id,
                r[n + 1],
                json.loads(r.parameters) | (json.loads(r.given) if r.given else {}),
                r.digest,
                r.step,
                r.step_no,
                r.variant,
                r.chunk,
                r.wide,
                r.user_failures,
                r.infra_failures,
                _attempt(r[:n]),
                tuple(given for no, given in upstream.get(r.point_id, ()) if no < r.step_no),
            )
            for r in rows
        ]

    def _upstream(self, points: list[int]) -> dict[int, list[tuple[int, Given]]]:
        found: dict[int, list[tuple[int, Given]]] = defaultdict(list)
        for point_id, no, step, text, variant, chunk in self._db.run(RESULTS, {"ids": json.dumps(points)}):
            found[point_id].append((no, Given(step, json.loads(text), variant, chunk)))
        return found

    def given(self, point_id: int, before: int) -> list[Given]:
        """Results at a point of the steps before a place in its body."""
        return [given for no, given in self._upstream([point_id]).get(point_id, ()) if no < before]

    def submitted(self, handles: Mapping[int, str], actor: str) -> None:
        """The provider took these attempts (id -> handle)."""
        rows = [{"id": i, "handle": handle} for i, handle in handles.items()]
        self._db.move("attempt", rows, AttemptState.INTENT, AttemptState.SUBMITTED, actor=actor, columns=("handle",))

    def adopt(self, attempts: Collection[int], owner: str, lease_s: float) -> None:
        """These live attempts are this owner's from now on."""
        values = {"ids": json.dumps(list(attempts)), "owner": owner, "until": self._db.now() + lease_s}
        with self._db.transaction():
            self._db.run(ADOPT, values)

    def renew(self, attempts: Collection[int], owner: str, lease_s: float) -> set[int]:
        """Of these attempts those that are live and still this owner's; they are for another lease."""
        values = {"ids": json.dumps(list(attempts)), "owner": owner, "until": self._db.now() + lease_s}
        with self._db.transaction():
            return {row[0] for row in self._db.run(RENEW, values)}

    def mend_pauses(self, loops: Collection[int]) -> None:
        """A pause begins now if the clock was set back since it began; else it would last until the clock is there."""
        c, now = tables.job.c, self._db.now()
        last = sa.select(sa.func.max(tables.attempt.c.ended)).where(tables.attempt.c.job_id == c.id).scalar_subquery()
        where = (c.state == JobState.READY, c.not_before > now, c.loop_id.in_(list(loops)), last > now)
        with self._db.transaction() as connection:
            connection.execute(sa.update(tables.job).where(*where).values(not_before=c.not_before - (last - now)))

    # ------------------------------------------------------------------ results
    def finish(self, outcomes: Sequence[Outcome], actor: str) -> list[Outcome]:
        """Write how attempts ended: attempt, result, job, point and events, all in one transaction.

        Returns
        -------
        The outcomes that took effect; what came late is kept as a late result.

        """
        if not outcomes:
            return []
        with self._db.transaction() as connection:
            moved = self._end_attempts(outcomes, actor)
            fresh = [o for o in outcomes if o.claim.attempt.id in moved]
            late = [o for o in outcomes if o.claim.attempt.id not in moved]
            if late:
                connection.execute(sa.insert(tables.late_result), [self._late(o) for o in late])
            self._end_jobs(fresh, actor)
            self._end_points(connection, fresh, actor)
            self._count(fresh)
        return fresh

    def _end_attempts(self, outcomes: Sequence[Outcome], actor: str) -> set[int]:
        moved: set[int] = set()
        for key, group in grouped(outcomes, lambda o: (o.was, o.attempt_state)):
            rows = [attempt_end(o) for o in group]
            moved.update(self._db.move("attempt", rows, key[0], key[1], actor=actor, columns=_END_COLUMNS))
        return moved

    def _end_jobs(self, outcomes: Sequence[Outcome], actor: str) -> None:
        results = [
            {"job_id": o.claim.job_id, "attempt_id": o.claim.attempt.id, "result": o.result}
            for o in outcomes
            if o.job_state == JobState.DONE
        ]
        if results:
            self._db.insert(tables.result, results)
        for key, group in grouped(outcomes, lambda o: o.job_state):
            columns: tuple[str, ...] = () if key == JobState.DONE else ("user_failures", "infra_failures", "not_before")
            rows = [job_end(o) for o in group]
            moved = self._db.move("job", rows, JobState.RUNNING, key, actor=actor, columns=columns)
            if len(moved) != len(rows):  # a live attempt under a job that is not running: never commit that
                raise StoreError.of("E-STORE-011", "an attempt ended whose job was not running", str(rows))

    def _end_points(self, connection: sa.Connection, outcomes: Sequence[Outcome], actor: str) -> None:
        wide = [o for o in outcomes if o.claim.wide]
        self._db.touched.update(o.claim.point_id for o in wide)
        will_end(self._db, [o for o in wide if o.point_state in (PointState.INFEASIBLE, PointState.PRUNED)])
        ending = [
            o
            for o in outcomes
            if o.point_state is not None and (not o.claim.wide or o.point_state == PointState.MEASURED)
        ]
        for key, group in grouped(ending, lambda o: str(o.point_state)):
            rows = [
                {
                    "id": o.claim.point_id,
                    "reason": o.reason,
                    "observation": o.observation,
                    "failure_class": str(o.failure.class_) if o.failure else None,
                    "last_report": o.last_report,
                }
                for o in group
            ]
            columns: tuple[str, ...] = ("observation", "failure_class")
            if key == PointState.PRUNED:
                columns = (*columns, "last_report")
            moved = set(self._db.move("point", rows, PointState.OPEN, key, actor=actor, columns=columns))
            for loop_id, count in counts(o.claim.loop_id for o in group if o.claim.point_id in moved):
                self._db.count(loop_id, key, count)
            if key != PointState.MEASURED:
                self._cancel_jobs(connection, tables.job.c.point_id.in_(moved), f"point is {key}", actor)

    def _cancel_jobs(self, connection: sa.Connection, where: Any, reason: str, actor: str) -> int:
        c, count = tables.job.c, 0
        for state in (JobState.WAITING, JobState.READY):
            found = connection.execute(sa.select(c.id).where(c.state == state, where)).scalars()
            rows = [{"id": i, "reason": reason} for i in found]
            count += len(self._db.move("job", rows, state, JobState.CANCELLED, actor=actor))
        return count

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        for o in outcomes:
            self._db.count(o.claim.loop_id, f"attempt {o.attempt_state}", 1)
            if o.job_state != JobState.READY:
                self._db.count(o.claim.loop_id, f"job {o.job_state}", 1)
            self._db.count(o.claim.loop_id, "core_ms", round(o.usage.wall_s * o.cores * 1000))

    def _late(self, outcome: Outcome) -> dict[str, Any]:
        report = {"attempt_state": outcome.attempt_state, "reason": outcome.reason, "result": outcome.result}
        return {"attempt_id": outcome.claim.attempt.id, "report": json.dumps(report), "at": self._db.now()}

    def keep_late(self, outcomes: Sequence[Outcome]) -> None:
        """Reports that came after their job had ended: for people, never for a history."""
        if outcomes:
            with self._db.transaction() as connection:
                connection.execute(sa.insert(tables.late_result), [self._late(o) for o in outcomes])

    # ------------------------------------------------------------------ the conductor's moves
    def release(self, actor: str) -> int:
        """Jobs whose step before is DONE at their point become ready."""
        with self._db.transaction():
            found = [row.id for row in self._db.run(RELEASED)]
            return len(self._db.move("job", ids(found), JobState.WAITING, JobState.READY, actor=actor))

    def cancel_unstarted(self, loop_id: int, reason: str, actor: str) -> int:
        """Jobs of a loop that wait or are ready will never run."""
        with self._db.transaction() as connection:
            return self._cancel_jobs(connection, tables.job.c.loop_id == loop_id, reason, actor)

    def live_count(self, loop_id: int) -> int:
        """Number of a loop's attempts that have not ended."""
        return int(self._db.run(LIVE_COUNT, {"loop": loop_id})[0][0])

    def identical_failures(self, loop_id: int, step: str, signature: str) -> int:
        """Number of jobs of a step that failed with this signature since the step last succeeded."""
        a, j = tables.attempt.c, tables.job.c
        of_step = sa.and_(a.loop_id == loop_id, j.step == step)
        joined = tables.attempt.join(tables.job, j.id == a.job_id)
        last = (
            sa.select(a.ended)
            .select_from(joined)
            .where(of_step, a.state == AttemptState.SUCCEEDED)
            .order_by(a.ended.desc())
            .limit(1)
        )
        query = (
            sa.select(sa.func.count(a.job_id.distinct()))
            .select_from(joined)
            .where(
                of_step,
                a.state == AttemptState.FAILED,
                a.signature == signature,
                a.ended > sa.func.coalesce(last.scalar_subquery(), 0.0),
            )
        )
        with self._db.reading() as connection:
            return int(connection.execute(query).scalar() or 0)

    def last_done(self, loop_id: int, limit: int) -> list[tuple[str, str]]:
        """(path of the attempt, step) of the jobs of a loop that were done last."""
        return [(row.path, row.step) for row in self._db.run(LAST_DONE, {"loop": loop_id, "limit": limit})]

    def next_ready_at(self, loops: Collection[int]) -> float | None:
        """The earliest time at which a ready job of these loops may start."""
        (value,) = self._db.run(NEXT_READY, {"loops": json.dumps(list(loops))})[0]
        return None if value is None else float(value)

    # ------------------------------------------------------------------ for people
    def all(self, loop_id: int, states: Collection[str] = (), point: int | None = None) -> list[Job]:
        """Jobs of a loop."""
        j, p = tables.job.c, tables.point.c
        query = (
            sa.select(
                j.id,
                j.loop_id,
                p.number,
                p.iteration,
                j.step,
                j.step_no,
                j.variant,
                j.chunk,
                j.state,
                j.reason,
                j.attempts,
                j.not_before,
            )
            .join(tables.point, p.id == j.point_id)
            .where(j.loop_id == loop_id)
            .order_by(p.number, j.step_no, j.variant, j.chunk)
        )
        if states:
            query = query.where(j.state.in_(list(states)))
        if point is not None:
            query = query.where(p.number == point)
        with self._db.reading() as connection:
            rows: list[Any] = list(connection.execute(query))
        return [Job(*row) for row in rows]

    def attempts(self, job_ids: Collection[int]) -> list[Attempt]:
        """Attempts of jobs, in order."""
        c = tables.attempt.c
        with self._db.reading() as connection:
            query = sa.select(*ATTEMPT).where(c.job_id.in_(list(job_ids))).order_by(c.job_id, c.number)
            return [_attempt(row) for row in connection.execute(query)]

    def failed_attempts(self, loop_id: int) -> list[Attempt]:
        """Attempts of a loop that failed or were lost, in order."""
        c = tables.attempt.c
        wanted = (AttemptState.FAILED, AttemptState.LOST)
        with self._db.reading() as connection:
            query = sa.select(*ATTEMPT).where(c.loop_id == loop_id, c.state.in_(wanted)).order_by(c.id)
            return [_attempt(row) for row in connection.execute(query)]
