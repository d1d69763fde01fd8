"""Rows of a revision: what an old point and its jobs become in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from idds_core.history import canonical_json
from idds_core.model import Loop, Step
from idds_core.partition import is_wide
from idds_core.states import JobState, PointState
from idds_core.store.iterations import point_digest
from idds_core.store.points import wide_jobs
from idds_core.store.records import LoopRecord

__all__ = ["KEPT", "How", "NewLoop", "NewPoint", "OldJob", "OldPoint", "Taken", "job_rows", "point_row"]

#: columns of a point that stay as they were
KEPT = ("number", "iteration", "parameters", "digest", "observation", "failure_class", "state", "reason", "created",
        "ended", "last_report", "ingest_no", "wide", "adds", "given")  # fmt: skip


@dataclass(frozen=True, slots=True)
class OldJob:
    """A job of an older revision.

    result, attempt, path : JSON text, and id and path of the attempt that gave it, when DONE.
    """

    step: str
    variant: str
    chunk: int
    state: str
    reason: str
    result: str | None
    digest: str | None
    attempt: int | None
    path: str | None


@dataclass(frozen=True, slots=True)
class OldPoint:
    """A point of an older revision with its jobs, and by name the loops inside; one that a person brought has none.

    given : parameters of the definition that have another value there.
    """

    id: int
    number: int
    iteration: int
    parameters: Mapping[str, Any]
    state: str
    jobs: tuple[OldJob, ...]
    loops: Mapping[str, LoopRecord]
    given: Mapping[str, Any] = field(default_factory=dict)


class How(StrEnum):
    """What becomes of a loop in a revision."""

    STAYS = "stays as it is"
    GOES_ON = "goes on"
    AGAIN = "begins again with its points"
    ANEW = "begins anew"


@dataclass(frozen=True, slots=True)
class NewLoop:
    """What becomes of a loop, and of all that is inside it.

    old : the loop as it was; None when there was none.
    points : what becomes of its points when it begins again with them; they all enter the first iteration.
    """

    old: LoopRecord | None
    how: How
    points: tuple[NewPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class NewPoint:
    """What becomes of an old point in a revision.

    old : the point as it was; None for that of steps which were not there.
    again : places in the body of what runs again; the results of the others are taken over. None: it stays as it is.
    observation : JSON text of what is seen in its results now, when that is something else than before.
    loops : by name, what becomes of the loops inside a point that is open again.
    """

    old: OldPoint | None
    parameters: Mapping[str, Any]
    again: frozenset[int] | None = None
    observation: str | None = None
    loops: Mapping[str, NewLoop] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Its number."""
        return self.old.number if self.old else 1

    @property
    def iteration(self) -> int:
        """The iteration that it enters: the first, or that of what was measured elsewhere."""
        return min(self.old.iteration, 1) if self.old else 1

    def own(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the definition's parameters that it has of its own; one that has as many now has none any more.

        known : the values that the definition gives.
        """
        given = self.old.given if self.old else {}
        return {n: v for n, v in given.items() if self.again is None or n not in known or v > known[n]}


@dataclass(frozen=True, slots=True)
class Taken:
    """A result that is taken over, and the job that gets it: step, variant, chunk."""

    place: tuple[str, str, int]
    job: OldJob


def point_row(
    loop_id: int, kept: Mapping[str, Any] | None, point: NewPoint, values: Mapping[str, Any], now: float, *, wide: bool
) -> dict[str, Any]:
    """The row of a point of a loop that begins again with its points. kept : the columns KEPT of the old one."""
    again = {"state": PointState.OPEN.value, "reason": "", "observation": None, "failure_class": None,
             "created": now, "ended": None}  # fmt: skip
    row: dict[str, Any] = dict.fromkeys(KEPT) if kept is None else {name: kept[name] for name in KEPT}
    row |= {
        "loop_id": loop_id,
        "continued": point.old.id if point.old else None,
        "number": point.number,
        "iteration": point.iteration,
        "parameters": canonical_json(point.parameters),
        "digest": point_digest(point.parameters),
        "given": canonical_json(own) if (own := point.own(values)) else None,
    }
    if point.observation is not None:
        row["observation"] = point.observation
    row |= {"wide": int(wide), "ingest_no": None}  # without a barrier they are counted anew
    if point.again is not None:
        row |= {**again, "last_report": None}
    return row


def job_rows(
    loop_id: int, point_id: int, loop: Loop, values: Mapping[str, Any], point: NewPoint, now: float
) -> tuple[list[dict[str, Any]], list[Taken]]:
    """All jobs of a point that is open again, and the results that those which do not run again take over.

    values : all parameters that its steps see but for the point's own.
    """
    assert point.again is not None
    known = {(job.step, job.variant, job.chunk): job for job in (point.old.jobs if point.old else ())}
    if is_wide(loop.body):
        fresh = wide_jobs(loop.body, {**values, **point.parameters, **point.own(values)})
    else:
        fresh = _plain_jobs(loop.body, point.again)
    rows, taken = [], []
    for job in fresh:
        place = (job["step"], job.get("variant", ""), job.get("chunk", 0))
        was = None if job["step_no"] in point.again else known.get(place)
        ended: dict[str, Any] = {"reason": "", "ended": None}
        if was is not None:
            reason = f"reused from {was.path}" if was.path else was.reason
            ended = {"state": was.state, "reason": reason, "ended": now}
            if was.result is not None:
                taken.append(Taken(place, was))
        rows.append({**job, "loop_id": loop_id, "point_id": point_id, "created": now, **ended})
    return rows, taken


def _plain_jobs(body: Sequence[Step | Loop], again: frozenset[int]) -> list[dict[str, Any]]:
    """One job a step; the first of those that run again may start."""
    first = min(again, default=0)
    return [
        {"step": step.name, "step_no": no, "state": (JobState.READY if no == first else JobState.WAITING).value}
        for no, step in enumerate(body)
    ]
