"""Laws that every provider keeps. Subclass :class:`ProviderLaws` in a test and give it its two fixtures."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from idds_core.ports import JobReport, JobSpec, Provider, ReportState, SubmissionStatus
from idds_core.states import FailureClass

__all__ = ["MakeSpec", "ProviderLaws"]


class MakeSpec(Protocol):
    """Makes the spec of a toy job.

    behaviour : "succeed" (a result with at least one value), "fail" (the user's fault), "fatal" (no second try mends
    it), "linger" (runs until it is cancelled). key : the key to carry.
    """

    def __call__(self, behaviour: str, key: str) -> JobSpec:
        """The spec."""
        ...


class ProviderLaws:
    """Give fixtures ``provider`` (a fresh one, without jobs) and ``make_spec`` (see :class:`MakeSpec`).

    >>> class TestMine(ProviderLaws):
    ...     patience = 120.0
    """

    #: Seconds within which a toy job ends, and seconds between two looks.
    patience = 60.0
    period = 0.02

    def settle(self, provider: Provider, handles: Sequence[str]) -> dict[str, JobReport]:
        """Poll until every job has ended."""
        pause, deadline = threading.Event(), time.monotonic() + self.patience
        while True:
            reports = dict(provider.poll(handles))
            if all(handle in reports and reports[handle].state.ended for handle in handles):
                return reports
            states = {handle: str(reports[handle].state) if handle in reports else "unknown" for handle in handles}
            assert time.monotonic() < deadline, f"no end within {self.patience} s: {states}"
            pause.wait(self.period)

    def started(self, provider: Provider, specs: Sequence[JobSpec]) -> list[str]:
        """Submit; returns the handles."""
        handles = []
        for spec, answer in zip(specs, provider.submit(specs), strict=True):
            assert answer.key == spec.key
            assert answer.status is SubmissionStatus.OK, answer
            assert answer.handle
            handles.append(answer.handle)
        return handles

    def test_submission_answers_every_spec_in_order(self, provider: Provider, make_spec: MakeSpec) -> None:
        """Also an empty batch, and each job with a handle of its own."""
        assert list(provider.submit([])) == []
        handles = self.started(provider, [make_spec("succeed", f"law-order-{i}") for i in range(5)])
        assert len(set(handles)) == 5
        self.settle(provider, handles)

    def test_a_result_echoes_key_and_digest(self, provider: Provider, make_spec: MakeSpec) -> None:
        """Every job has its own result, and it carries values."""
        specs = [make_spec("succeed", f"law-echo-{i}") for i in range(3)]
        handles = self.started(provider, specs)
        reports = self.settle(provider, handles)
        for spec, handle in zip(specs, handles, strict=True):
            report = reports[handle]
            assert report.state is ReportState.SUCCEEDED, report
            assert report.failure is None
            assert report.result is not None
            assert (report.result["key"], report.result["digest"]) == (spec.key, spec.digest)
            assert report.result["values"]
            assert set(report.result) == {"key", "digest", "values", "files"}

    def test_an_end_never_changes(self, provider: Provider, make_spec: MakeSpec) -> None:
        """A later poll tells the same, also after a cancel that came too late."""
        handles = self.started(provider, [make_spec("succeed", "law-end")])
        first = self.settle(provider, handles)
        provider.cancel(handles)
        assert dict(provider.poll(handles)) == first

    def test_an_unknown_handle_is_missing(self, provider: Provider) -> None:
        """Unknown is unknown; nothing raises."""
        assert dict(provider.poll(["law-unknown"])) == {}
        assert dict(provider.poll([])) == {}
        provider.cancel(["law-unknown"])
        provider.forget(["law-unknown"])
        assert provider.tail("law-unknown").text == ""

    def test_what_was_submitted_is_found_by_its_key(self, provider: Provider, make_spec: MakeSpec) -> None:
        """And what was not is not."""
        if not provider.capabilities.finds:
            return
        spec = make_spec("linger", "law-find")
        handles = self.started(provider, [spec])
        assert dict(provider.find([spec.key, "law-never"])) == {spec.key: handles[0]}
        provider.cancel(handles)
        self.settle(provider, handles)

    def test_a_key_that_is_submitted_twice_runs_once(self, provider: Provider, make_spec: MakeSpec) -> None:
        """The second answer has the handle of the first."""
        if not provider.capabilities.finds:
            return
        spec = make_spec("succeed", "law-twice")
        first, second = self.started(provider, [spec]), self.started(provider, [spec])
        assert first == second
        self.settle(provider, first)

    def test_a_cancelled_job_ends(self, provider: Provider, make_spec: MakeSpec) -> None:
        """What runs and what waits: CANCELLED each, and the provider goes on."""
        count = provider.capabilities.slots + 2
        handles = self.started(provider, [make_spec("linger", f"law-cancel-{i}") for i in range(count)])
        provider.cancel(handles)
        provider.cancel(handles)
        for report in self.settle(provider, handles).values():
            assert report.state is ReportState.CANCELLED, report
            assert report.result is None
        after = self.started(provider, [make_spec("succeed", "law-cancel-after")])
        assert self.settle(provider, after)[after[0]].state is ReportState.SUCCEEDED

    def test_failures_say_who_can_mend_them(self, provider: Provider, make_spec: MakeSpec) -> None:
        """With a code, one line, and equal signatures for equal errors."""
        specs = [make_spec("fail", "law-fail-1"), make_spec("fail", "law-fail-2"), make_spec("fatal", "law-fatal")]
        handles = self.started(provider, specs)
        failures = [self.settle(provider, handles)[handle].failure for handle in handles]
        for failure, class_ in zip(failures, (FailureClass.USER, FailureClass.USER, FailureClass.FATAL), strict=True):
            assert failure is not None
            assert failure.class_ is class_
            assert failure.code.startswith("E-")
            assert failure.message
            assert "\n" not in failure.message
        assert failures[0] is not None
        assert failures[1] is not None
        assert failures[0].signature == failures[1].signature != ""

    def test_what_is_forgotten_is_gone(self, provider: Provider, make_spec: MakeSpec) -> None:
        """From poll and from find; forgetting twice is harmless."""
        spec = make_spec("succeed", "law-forget")
        handles = self.started(provider, [spec])
        self.settle(provider, handles)
        provider.forget(handles)
        provider.forget(handles)
        assert dict(provider.poll(handles)) == {}
        assert dict(provider.find([spec.key])) == {}

    def test_a_refusal_says_why(self, provider: Provider, make_spec: MakeSpec) -> None:
        """A bad spec among good ones is refused with a reason, and the others run."""
        good, bad = make_spec("succeed", "law-good"), make_spec("succeed", "law bad/KEY")
        answers = list(provider.submit([bad, good]))
        assert answers[0].status is SubmissionStatus.REFUSED
        assert answers[0].reason
        assert answers[1].handle is not None
        assert self.settle(provider, [answers[1].handle])[answers[1].handle].state is ReportState.SUCCEEDED
