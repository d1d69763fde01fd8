"""A provider that does to its jobs, and to who calls it, all that providers have been seen to do.

Its state outlives every engine: it is the cluster. What it does wrong is drawn from the schedule's fate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from idds_core.errors import Problem, ProviderError
from idds_core.ports import (
    Capabilities,
    Failure,
    Heard,
    JobReport,
    JobSpec,
    LogChunk,
    ReportState,
    Submission,
    SubmissionStatus,
    Usage,
)
from idds_core.states import FailureClass
from tests.sim.workloads import values_of

__all__ = ["FAULTS", "LAG_S", "Fate", "SimProvider"]

#: how long a job may stay invisible, by the provider's own word
LAG_S = 20.0
_RUN_S, _LATE_S, _MUTE_S, _STRAY_S = 2.0, 200.0, 90.0, 1e6

#: what may become of a call, and of a job
FAULTS = {
    "submit": ("later", "time-out before", "time-out after", "listed late", "time-out, listed late", "mute"),
    "poll": ("time-out", "mute", "left out"),
    "find": ("time-out",),
    "cancel": ("time-out",),
    "forget": ("time-out",),
    "job": ("lost", "vanished", "twice", "late", "garbage", "requeued", "preempted", "cancelled by hand"),
}
_NO_SPACE = JobReport(
    ReportState.FAILED, failure=Failure(FailureClass.INFRA, "E-JOB-DISK", "no space left", "E-JOB-DISK no space left")
)
_GARBAGE = ("nan", "key", "digest", "nothing", "text", "large", "missing")


class Fate(Protocol):
    """Decides, from the seed, what happens."""

    def fault(self, kind: str) -> str | None:
        """One of the faults of that kind, or None: all goes well."""
        ...

    def choice(self, options: Sequence[str]) -> str:
        """One of these."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A number between."""
        ...


@dataclass
class _SimJob:
    """A job as the cluster has it."""

    spec: JobSpec
    starts: float
    ends: float
    listed: float
    end: str = "well"
    cancelled: bool = False
    vanished: bool = False
    garbage: str = ""
    could_write: bool | None = None  # known when it has ended


@dataclass
class Bill:
    """What was asked of the cluster and done there."""

    calls: int = 0
    executions: int = 0
    duplicates: int = 0  # of them, those beyond the first of an attempt
    submissions: dict[str, int] = field(default_factory=dict)


class SimProvider:
    """The cluster, as an engine reaches it; `edge` cuts the process that calls, before and after each call."""

    name = "simulated"

    def __init__(
        self,
        clock: Callable[[], float],
        fate: Fate,
        edge: Callable[[str], None],
        submitted: Callable[[JobSpec, float | None], bool],
        can_write: Callable[[], bool],
    ) -> None:
        self._now, self._fate, self.edge, self._submitted = clock, fate, edge, submitted
        self._can_write = can_write
        self._jobs: dict[str, _SimJob] = {}
        self._mute_until = 0.0
        self.bill = Bill()

    @property
    def capabilities(self) -> Capabilities:
        """Room for a few; honest about its lag."""
        return Capabilities(slots=4, listing_lag_s=LAG_S, back_off_s=1.0)

    # ------------------------------------------------------------------ calls
    def submit(self, specs: Sequence[JobSpec]) -> Sequence[Submission]:
        """Take jobs, or not, or take them and not say so."""
        self._call("submit")
        fault = self._fate.fault("submit")
        if fault == "time-out before":
            raise _down("submit")
        if fault == "mute":
            self._mute_until = self._now() + self._fate.uniform(1, _MUTE_S)
            raise _down("submit")
        answers = [self._take(spec, later=fault == "later", hidden="listed late" in (fault or "")) for spec in specs]
        if fault in ("time-out after", "time-out, listed late"):
            raise _down("submit")
        self.edge("provider.submit: after")
        return answers

    def heal(self) -> None:
        """From now on it answers."""
        self._mute_until = 0.0

    def _take(self, spec: JobSpec, *, later: bool, hidden: bool) -> Submission:
        if later:
            return Submission(spec.key, SubmissionStatus.LATER, None, "try again later")
        now = self._now()
        self.bill.submissions[spec.key] = self.bill.submissions.get(spec.key, 0) + 1
        job = self._jobs.get(spec.key)
        stray = self._submitted(spec, job.starts if job is not None and job.listed > now else None)
        if job is not None and job.listed <= now:  # a provider knows its own keys, once it lists them
            return Submission(spec.key, SubmissionStatus.OK, spec.key)
        self.bill.executions += 1
        if job is not None:
            self.bill.duplicates += 1
            return Submission(spec.key, SubmissionStatus.OK, spec.key)
        job = _SimJob(spec, now, now + self._fate.uniform(0.1, _RUN_S), now)
        if hidden:
            job.listed = now + self._fate.uniform(0.1, LAG_S * 0.9)
        self._spoil(job)
        if stray:  # nobody waits for it: let it be seen
            job.ends = now + _STRAY_S
        self._jobs[spec.key] = job
        return Submission(spec.key, SubmissionStatus.OK, spec.key)

    def _spoil(self, job: _SimJob) -> None:
        fault = self._fate.fault("job")
        if fault is None:
            return
        job.end = fault
        if fault == "late":
            job.ends += self._fate.uniform(1, _LATE_S)
        elif fault == "garbage":
            job.garbage = self._fate.choice(_GARBAGE)
        elif fault in ("twice", "requeued"):
            self.bill.executions += 1
            self.bill.duplicates += 1
            job.ends += self._fate.uniform(0.1, _RUN_S)
        elif fault == "cancelled by hand":
            job.cancelled = True
        elif fault == "vanished":
            job.vanished = True

    def find(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Handles of what is listed."""
        self._call("find")
        if self._fate.fault("find"):
            raise _down("find")
        found = {key: key for key in keys if self._listed(key)}
        self.edge("provider.find: after")
        return found

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """What is known of what is listed."""
        self._call("poll")
        fault = self._fate.fault("poll")
        if fault == "mute":
            self._mute_until = self._now() + self._fate.uniform(1, _MUTE_S)
        if fault in ("mute", "time-out"):
            raise _down("poll")
        seen = [handle for handle in handles if self._listed(handle)]
        if fault == "left out":
            seen = seen[1:]
        reports = {handle: self._report(self._jobs[handle]) for handle in seen}
        self.edge("provider.poll: after")
        return reports

    def cancel(self, handles: Sequence[str]) -> None:
        """They end as cancelled, unless they have ended."""
        self._call("cancel")
        if self._fate.fault("cancel"):
            raise _down("cancel")
        for handle in handles:
            job = self._jobs.get(handle)
            if job is not None and job.ends > self._now():
                job.cancelled = True
                job.ends = self._now()
        self.edge("provider.cancel: after")

    def forget(self, handles: Sequence[str]) -> None:
        """Drop them."""
        self._call("forget")
        if self._fate.fault("forget"):
            raise _down("forget")
        for handle in handles:
            self._jobs.pop(handle, None)
        self.edge("provider.forget: after")

    def tail(self, handle: str, offset: int = 0) -> LogChunk:
        """Nothing was printed."""
        del handle
        return LogChunk("", offset)

    def heard(self) -> Sequence[Heard]:
        """Nobody says anything on its way."""
        return ()

    def running_keys(self) -> list[str]:
        """Keys of what is listed and runs."""
        self._call("running_keys")
        found = [key for key, job in self._jobs.items() if self._listed(key) and job.ends > self._now()]
        self.edge("provider.running_keys: after")
        return found

    # ------------------------------------------------------------------ inside
    def _call(self, name: str) -> None:
        self.edge(f"provider.{name}: before")
        self.bill.calls += 1
        if self._now() < self._mute_until:
            raise _down(name)

    def _listed(self, key: str) -> bool:
        job = self._jobs.get(key)
        return job is not None and not job.vanished and job.listed <= self._now()

    def _report(self, job: _SimJob) -> JobReport:
        now = self._now()
        if now < job.ends:
            middle = (job.starts + job.ends) / 2
            waits = job.end == "requeued" and now > middle
            return JobReport(ReportState.QUEUED if waits else ReportState.RUNNING)
        if job.cancelled:
            return JobReport(ReportState.CANCELLED)
        if job.end in ("lost", "preempted"):
            code = "E-JOB-LOST" if job.end == "lost" else "E-JOB-SIGNAL"
            state = ReportState.LOST if job.end == "lost" else ReportState.FAILED
            return JobReport(state, failure=Failure(FailureClass.INFRA, code, job.end, f"{code} {job.end}"))
        if job.could_write is None:
            job.could_write = self._can_write()
        if not job.could_write:
            return _NO_SPACE
        result = {"key": job.spec.key, "digest": job.spec.digest, "values": values_of(job.spec), "files": {}}
        if job.end == "garbage":
            return JobReport(ReportState.SUCCEEDED, _garbled(result, job.garbage), usage=Usage(1.0, 1.0, 1000))
        return JobReport(ReportState.SUCCEEDED, result, usage=Usage(1.0, 1.0, 1000))

    def next_event(self) -> float | None:
        """When something will change here."""
        now = self._now()
        times = [t for job in self._jobs.values() if not job.vanished for t in (job.ends, job.listed) if t > now]
        if self._mute_until > now:
            times.append(self._mute_until)
        return min(times, default=None)

    def still_running(self) -> list[str]:
        """Keys of what runs and can be listed, now or later."""
        return [key for key, job in self._jobs.items() if job.ends > self._now() and not job.vanished]


def _down(call: str) -> ProviderError:
    return ProviderError(Problem("E-PROVIDER-001", "the provider does not answer", f"{call} timed out"))


def _garbled(result: dict[str, Any], how: str) -> Mapping[str, Any] | None:
    if how == "nothing":
        return None
    if how == "text":
        return {**result, "values": dict.fromkeys(result["values"], "a word")} if "z" in result["values"] else None
    if how == "large":
        return {**result, "values": {**result["values"], "more": "x" * 1_100_000}}
    if how == "missing":
        return {k: v for k, v in result.items() if k != "values"} if "z" in result["values"] else None
    if how == "nan":
        return {**result, "values": dict.fromkeys(result["values"], float("nan"))}
    return {**result, how: "of another", "values": dict.fromkeys(result["values"], 0.5)}
