"""Stand-ins with which agents are tested: a clock that is set, a provider that is scripted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from idds_core.ports import (
    Capabilities,
    Failure,
    Function,
    JobReport,
    JobSpec,
    LogChunk,
    ReportState,
    Submission,
    SubmissionStatus,
    Usage,
)
from idds_core.states import FailureClass

__all__ = ["ManualClock", "ScriptedProvider", "failure", "success"]


class ManualClock:
    """Time as the test says.

    >>> clock = ManualClock(10.0)
    >>> clock.advance(5)
    >>> clock()
    15.0
    """

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """The time, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


def success(spec: JobSpec, values: Mapping[str, Any]) -> JobReport:
    """The report of a job that gave these values."""
    result = {"key": spec.key, "digest": spec.digest, "values": dict(values), "files": {}}
    return JobReport(ReportState.SUCCEEDED, result, usage=Usage(1.0, 1.0, 1000))


def failure(
    message: str = "it failed", class_: FailureClass = FailureClass.USER, code: str = "E-JOB-EXIT"
) -> JobReport:
    """The report of a job that failed; equal messages have equal signatures."""
    state = ReportState.LOST if code == "E-JOB-LOST" else ReportState.FAILED
    return JobReport(state, failure=Failure(class_, code, message, f"{code} {message}"))


class ScriptedProvider:
    """A provider that answers as it is told.

    Parameters
    ----------
    script : spec -> the report the job ends with, or None while it runs.
    slots : room for jobs.

    """

    name = "scripted"

    def __init__(self, script: Callable[[JobSpec], JobReport | None], slots: int = 100) -> None:
        self.script = script
        self.slots = slots
        self.jobs: dict[str, JobSpec] = {}
        self.submissions: list[str] = []
        self.cancelled: set[str] = set()
        self.answer: Callable[[JobSpec], Submission] = lambda s: Submission(s.key, SubmissionStatus.OK, s.key)

    @property
    def capabilities(self) -> Capabilities:
        """As many slots as said."""
        return Capabilities(self.slots)

    def submit(self, specs: Sequence[JobSpec]) -> Sequence[Submission]:
        """One answer for each spec."""
        answers = [self.answer(spec) for spec in specs]
        for spec, answer in zip(specs, answers, strict=True):
            self.submissions.append(spec.key)
            if answer.status is SubmissionStatus.OK:
                self.jobs[spec.key] = spec
        return answers

    def find(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Jobs that were submitted and not forgotten."""
        return {key: key for key in keys if key in self.jobs}

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """What the script says."""
        found: dict[str, JobReport] = {}
        for handle in handles:
            if handle in self.cancelled:
                found[handle] = JobReport(ReportState.CANCELLED)
            elif handle in self.jobs:
                found[handle] = self.script(self.jobs[handle]) or JobReport(ReportState.RUNNING)
        return found

    def cancel(self, handles: Sequence[str]) -> None:
        """The jobs end as cancelled at the next poll."""
        self.cancelled.update(handles)

    def forget(self, handles: Sequence[str]) -> None:
        """Drop them."""
        for handle in handles:
            self.jobs.pop(handle, None)

    def tail(self, handle: str, offset: int = 0) -> LogChunk:
        """Nothing was printed."""
        del handle
        return LogChunk("", offset)


def arguments(spec: JobSpec) -> Mapping[str, Any]:
    """Arguments of a function job."""
    assert isinstance(spec.payload, Function)
    return spec.payload.arguments
