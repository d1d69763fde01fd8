"""The protocols: what a learner, a condition and a provider must be. The docstrings are the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from idds_core.states import FailureClass, VerdictKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from idds_core.history import History
    from idds_core.model import Requirements

__all__ = ["Capabilities", "Command", "Condition", "Failure", "Function", "Gauge", "Heard", "JobReport",
    "JobSpec", "Learner", "LogChunk", "Mapper", "Payload", "Portable", "Prediction", "Proposal", "Provider",
    "Pruner", "ReportState", "Submission", "SubmissionStatus", "Surrogate", "Usage", "Verdict"]  # fmt: skip


# ---------------------------------------------------------------------- learners and conditions
Reports = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a learner answers.

    Attributes
    ----------
    points : tuple of mappings
        At most the number asked for, each a full set of parameter values inside the space. Empty: `reason` says why.
    diagnostics : Mapping
        JSON: what a person or a condition wants to know of the history as it stands (`emv`, `kappa`, `loo_rmse`,
        `at_bounds`, `residuals`, ...). Stored with the iteration that has just closed.
    state : Mapping
        JSON: what the learner wants to find again in ``history.iterations[-1].state`` (fitted hyper-parameters and
        the number of points they were fitted on). Part of the history, so part of what the answer depends on.
    reason : str
        Why there are no points, or fewer than asked.
    chosen : tuple of mappings
        JSON: why each point, in their order, for people; empty, or as long as `points`. ``why`` is one of
        "first design", "sequence", "refine", "explore", a strategy, or the learner's own words; ``rank`` (from 1) its
        place among those of the batch that were chosen for the same reason, ``of`` how many those are, ``score`` what
        it was ranked by, and ``expected`` target -> ``{"mean", "sd", "p_excluded"}`` as the map had it there. Stored
        with the point, no part of the history.

    """

    points: tuple[Mapping[str, Any], ...] = ()
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    chosen: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition answers: stop or not, of which kind, and why in words."""

    kind: VerdictKind = VerdictKind.GO_ON
    reason: str = ""

    @property
    def stop(self) -> bool:
        """Whether the loop is to stop."""
        return self.kind is not VerdictKind.GO_ON


@runtime_checkable
class Learner(Protocol):
    """Decides where to measure next. A frozen dataclass of JSON fields: same history, same answer.

    It may also have ``supports``, a :class:`idds_core.supporting.Supports`; without one it supports everything. And
    ``space_problem(space) -> str``, why it cannot work in a space (empty: it can), and ``reads``, a mapping from names
    of loops before its own to the targets of theirs that it reads in ``history.earlier``.

    It may also have ``sequential = True``, a class attribute: each point follows from what the one before it gave, so
    that in a revision those after a point that is measured again mean nothing.
    """

    def ask(self, history: History, n: int) -> Proposal:
        """At most `n` new points, inside the space, none pending.

        Random numbers come from ``history.rng()`` (the loop's seed and the iteration), never from elsewhere.
        """
        ...


@dataclass(frozen=True, slots=True)
class Gauge:
    """Where a condition stands, for people: a budget and what is spent of it, or a goal and how far away it is.

    name : what is measured ("points"); of a goal the diagnostic that is looked at ("emv").
    value, limit : in `unit`; a goal is reached at or below its limit, a budget is spent at it.
    """

    name: str
    value: float
    limit: float
    unit: str = ""
    goal: bool = False


@runtime_checkable
class Condition(Protocol):
    """Decides whether to go on.

    It may also have ``remaining(history) -> int | None``: how many more points it allows (None: any number); the
    engine trims the last batch to it. And ``gauges(history) -> Sequence[Gauge]``: what reports show of it.
    """

    def check(self, history: History) -> Verdict:
        """The verdict on the history as it stands; the diagnostics of the last closed iteration are in
        ``history.iterations[-1].diagnostics``.
        """
        ...


@runtime_checkable
class Pruner(Protocol):
    """Decides whether a running job is worth going on with, from the values it reports on its way.

    A frozen dataclass of JSON fields, and a pure function: the engine asks it again after a crash, and for each report
    in turn. It is called in the engine's own process, so it must be quick.
    """

    def check(self, own: Reports, others: Sequence[Reports]) -> str | None:
        """Why to prune, in words, or None.

        own : (step, value) of this job up to now, by growing step.
        others : those of the same step of the body at the points of earlier iterations that were measured or pruned.
        """
        ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """A target at n points, in natural units, with s inflated by kappa.

    mean, sd, p_excluded : (n,) arrays; `lower` and `upper` are the +-1 sigma band.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    p_excluded: NDArray[np.float64]


class Surrogate(Protocol):
    """A map of every target, fitted to a history."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        ...

    def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Prediction]:
        """Prediction of each target at the points."""
        ...


@runtime_checkable
class Mapper(Protocol):
    """A learner that has a map; reports and the command line reach it through this port only."""

    def surrogate(self, history: History) -> Surrogate | None:
        """The surrogate of the history, or None while too little is known."""
        ...


@runtime_checkable
class Portable(Protocol):
    """A surrogate that can be taken away, and be evaluated without the package it is from."""

    def portable(self) -> tuple[Mapping[str, Any], Mapping[str, NDArray[np.float64]]]:
        """A JSON document and arrays; its `code` evaluates them with numpy alone.

        `code` defines ``evaluate(folder, target, points) -> (mean, sd)``, which reads ``surrogate.json`` and
        ``surrogate.npz`` of a folder.
        """
        ...


# ---------------------------------------------------------------------- providers
@dataclass(frozen=True, slots=True)
class Command:
    """A command line, placeholders already filled in.

    argv : what to run, without a shell.
    outputs : name -> file name in the job's folder that must exist afterwards.
    result : file name in the job's folder with a JSON object of values, or None.
    env : additions to the environment.
    """

    argv: tuple[str, ...]
    outputs: Mapping[str, str] = field(default_factory=dict)
    result: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Function:
    """A Python function by reference.

    reference : ``module:qualname``, importable from `bundle`.
    bundle : absolute path of the folder with the source.
    arguments : name -> JSON value; a file is ``{"$file": "<absolute path>"}``.
    context : whether the function takes ``ctx``.
    own_folder : whether it runs in the attempt's folder although it takes no ``ctx``: what it writes must be found.
    """

    reference: str
    bundle: str
    arguments: Mapping[str, Any]
    context: bool = False
    own_folder: bool = False


Payload = Command | Function


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One attempt, as a provider gets it.

    key : the attempt's deterministic name, <= 63 characters of [a-z0-9-].
    folder : absolute path of the attempt's folder (made by the provider when it needs it).
    digest : digest of the point; echoed in the result.
    parameters : values of the point and of the definition (JSON), also given to commands as ``params.json``.
    checkpoint : absolute path of a folder of the job, the same for all its attempts; made by who first needs it.
    """

    key: str
    folder: str
    payload: Payload
    requires: Requirements
    seed: int
    digest: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    log_limit: int = 10_000_000
    output_limit: int = 1_000_000
    checkpoint: str = ""


class SubmissionStatus(StrEnum):
    """What a provider says of a job it was given."""

    OK = "ok"
    REFUSED = "refused"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to one spec. A refusal's text is the job's first log line."""

    key: str
    status: SubmissionStatus
    handle: str | None = None
    reason: str = ""


class ReportState(StrEnum):
    """What a provider knows of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"
    PRUNED = "pruned"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self not in (ReportState.QUEUED, ReportState.RUNNING)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not succeed: class, code, one line, and the signature that tells equal errors."""

    class_: FailureClass
    code: str
    message: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a job used: seconds of wall and CPU time, bytes of memory at the peak."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    max_rss: int = 0


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a provider says of a job.

    result : the parsed result of a job that SUCCEEDED: ``{"key", "digest", "values": {...}, "files": {name:
        {"path", "bytes", "sha256"}}}``; not yet validated against the step (the carrier does).
    """

    state: ReportState
    result: Mapping[str, Any] | None = None
    failure: Failure | None = None
    usage: Usage = Usage()
    node: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a running job has said since it was last asked: reports (step, value) in order, how far it is."""

    handle: str
    reports: tuple[tuple[int, float], ...] = ()
    progress: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of a log, and the offset where to go on."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do.

    slots : jobs that run at once; queue : further jobs worth handing over ahead.
    commands, functions : which payloads it takes.
    back_off_s : pause before a job lost there for the second time is tried again; it doubles each time, up to a minute.
    finds : whether `find` is reliable; listing_lag_s : how long a job may stay invisible after submission.
    """

    slots: int
    queue: int = 0
    memory: int | None = None
    commands: bool = True
    functions: bool = True
    back_off_s: float = 1.0
    finds: bool = True
    listing_lag_s: float = 0.0


class Provider(Protocol):
    """Somewhere that runs jobs. All calls are for batches; none raises for the fault of one job.

    A provider that does not answer raises :class:`~idds_core.errors.ProviderError`: the engine takes nothing for
    granted then, and asks again.

    It may also have ``heard() -> Sequence[Heard]`` (what running jobs said since the last call; saying it twice is no
    harm; what a job said before its end is told no later than its end), ``prune(reasons: Mapping[handle, str])`` (end
    jobs with notice: PRUNED or CANCELLED) and ``drain()`` (start nothing more of what is queued).
    """

    name: str

    @property
    def capabilities(self) -> Capabilities:
        """Published and real-time abilities."""
        ...

    def submit(self, specs: Sequence[JobSpec]) -> Sequence[Submission]:
        """One answer for each spec, in order."""
        ...

    def find(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Handles by our key, after a crash; a key that is not there is positively not there."""
        ...

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """What is known. A missing handle is unknown, never done."""
        ...

    def cancel(self, handles: Sequence[str]) -> None:
        """A request; poll says when it has happened."""
        ...

    def forget(self, handles: Sequence[str]) -> None:
        """The ends of these jobs are on record: what was kept for `find` and `poll` may go."""
        ...

    def tail(self, handle: str, offset: int = 0) -> LogChunk:
        """The log from `offset` on."""
        ...
