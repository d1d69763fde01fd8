"""What comes out of the store: frozen values, never rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from idds_core.binding import Given
from idds_core.ports import Failure, Usage
from idds_core.states import AttemptState, LoopState, Wish, WorkflowState

__all__ = [
    "Attempt",
    "Claim",
    "Command",
    "EventRecord",
    "Iteration",
    "Job",
    "JobResult",
    "LoopRecord",
    "Message",
    "Outcome",
    "OuterPoint",
    "Place",
    "Progress",
    "ResultFile",
    "Taken",
    "TopUp",
    "WorkflowRecord",
    "place_of",
]  # fmt: skip


#: what names a job at a point: step, variant, chunk
Place = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class WorkflowRecord:
    """A workflow as it stands."""

    id: int
    name: str
    revision: int
    definition: str
    bundle: str
    seed: int
    state: WorkflowState
    wish: Wish
    reason: str
    continues: int | None = None
    reuse: int = 0

    @property
    def path(self) -> str:
        """Its path: ``name`` or ``name~revision``."""
        return self.name if self.revision == 1 else f"{self.name}~{self.revision}"


@dataclass(frozen=True, slots=True)
class LoopRecord:
    """A loop as it stands."""

    id: int
    workflow_id: int
    name: str
    state: LoopState
    wish: Wish
    reason: str
    created: float
    parent_point: int | None = None
    step_no: int = 0
    unblinded: float | None = None
    before_s: float = 0.0

    @property
    def started(self) -> float:
        """Since when its time counts: what the revisions before it took is part of it, the time between is not."""
        return self.created - self.before_s


@dataclass(frozen=True, slots=True)
class OuterPoint:
    """The point around a loop: its own loop, its place there and its parameters."""

    loop_id: int
    iteration: int
    number: int
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Iteration:
    """A decision record as it stands; `verdict` is empty until the closed iteration has been decided on.

    ingested_upto, pending : in steady mode, what was known when it closed, and the numbers of the points that were not.
    took : seconds of the learner's answer, by part ("ask", "fit"), at the first iteration also those of the answer
        that it comes from ("first_ask", "first_fit"); no part of a history.
    versions : of Python and the libraries that gave the learner's answer, by name; no part of a history either.
    """

    id: int
    loop_id: int
    number: int
    asked: int
    proposed: int
    closed: float | None
    elapsed_s: float | None
    core_hours: float | None
    learner_state: Mapping[str, Any]
    diagnostics: Mapping[str, Any]
    verdict: str
    verdict_reason: str
    ingested_upto: int | None = None
    pending: tuple[int, ...] = ()
    took: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands, for people."""

    id: int
    loop_id: int
    point: int
    iteration: int
    step: str
    step_no: int
    variant: str
    chunk: int
    state: str
    reason: str
    attempts: int
    not_before: float

    @property
    def place(self) -> str:
        """Its word in a path: ``3``, or ``jes_up.3`` of a variant."""
        return place_of(self.variant, self.chunk)


def place_of(variant: str, chunk: int) -> str:
    """A job's word in a path, after ``job/``."""
    return f"{variant}.{chunk}" if variant else str(chunk)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt as it stands."""

    id: int
    job_id: int
    loop_id: int
    number: int
    key: str
    path: str
    provider: str
    handle: str | None
    state: AttemptState
    reason: str
    failure_class: str | None = None
    failure_code: str | None = None
    signature: str | None = None
    created: float = 0.0
    ended: float | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    max_rss: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed job with its new attempt (or a found one with its live attempt), and what is needed to run it.

    parameters : of the point, with those of the definition that have another value there.
    wide : whether its point has other jobs beside it, so that its end is not the end of the point.
    upstream : results of the finished jobs of steps before it at the same point, in order.
    """

    job_id: int
    loop_id: int
    point_id: int
    point: int
    parameters: Mapping[str, Any]
    digest: str
    step: str
    step_no: int
    variant: str
    chunk: int
    wide: int
    user_failures: int
    infra_failures: int
    attempt: Attempt
    upstream: tuple[Given, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, and what it means for its job and point. All of it is written in one transaction.

    Attributes
    ----------
    attempt_state : the attempt's end.
    job_state : DONE, FAILED, CANCELLED, or ready for another attempt.
    point_state : the point's end, or None when the point goes on.
    result : JSON text of the job's result, when DONE.
    observation : JSON text, when the point is MEASURED.
    cores : how many cores the attempt had; its core hours are its wall time times them.
    was : the state that the attempt is in now: submitted, unless the provider never took it.
    last_report : JSON text of (step, value), when the point is PRUNED.
    counts : whether the failure counts against the cap of its class (an engine's own restart does not).

    """

    claim: Claim
    attempt_state: AttemptState
    job_state: str
    point_state: str | None = None
    result: str | None = None
    observation: str | None = None
    failure: Failure | None = None
    reason: str = ""
    usage: Usage = Usage()
    node: str = ""
    not_before: float = 0.0
    counts: bool = True
    cores: int = 1
    was: AttemptState = AttemptState.SUBMITTED
    last_report: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt is, by its own word."""

    attempt_id: int
    path: str
    fraction: float
    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Message:
    """A message to the outside that has not arrived.

    target : who gets it: a reference or a fingerprint, never a secret.
    """

    id: int
    target: str
    kind: str
    title: str
    body: str
    tries: int
    created: float


@dataclass(frozen=True, slots=True)
class Command:
    """A wish written by another terminal."""

    id: int
    workflow_id: int
    verb: str
    actor: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One move."""

    id: int
    seal_no: int | None
    entity: str
    entity_id: int
    old: str
    new: str
    actor: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Taken:
    """A result that is taken over, as JSON text, with its digest, the attempt that gave it, and that one's path."""

    result: str
    digest: str | None
    attempt: int
    path: str


@dataclass(frozen=True, slots=True)
class TopUp:
    """What a new point adds to an old one.

    adds : as in :class:`idds_core.history.Point`.
    given : parameters of the definition that have another value at the point.
    taken : the results of the old point that it begins with.
    """

    adds: Mapping[str, Any]
    given: Mapping[str, Any] = field(default_factory=dict)
    taken: Mapping[Place, Taken] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file that a result names: attempt's path, output's name, where it was, and what it must be."""

    attempt: str
    name: str
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a job: the path of the attempt that gave it, its values, and by output name where the file was.

    files : name -> ``{"path", "bytes", "sha256"}``.
    sealed : whether it is sealed; then it seems to have nothing.
    """

    attempt: str
    values: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    sealed: bool = False
