"""What the provider has is not always known: it does not answer, lists late, lists no more, or somebody meddles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from idds_core.errors import Problem, ProviderError
from idds_core.ports import Capabilities, JobSpec, Submission
from idds_core.states import LoopState
from idds_core.testing.fakes import ScriptedProvider
from tests.world import World, honest, toy


class Unsteady(ScriptedProvider):
    """Calls named in `down` time out; `accepts`: submit does what was asked all the same. `hidden`: not listed."""

    def __init__(self, lag: float = 0.0) -> None:
        super().__init__(honest)
        self.lag = lag
        self.down: set[str] = set()
        self.accepts = False
        self.hidden: set[str] = set()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(100, listing_lag_s=self.lag)

    def _may_fail(self, call: str) -> None:
        if call in self.down:
            raise ProviderError(Problem("E-P-001", "the provider does not answer", call))

    def submit(self, specs: Sequence[JobSpec]) -> Sequence[Submission]:
        if self.accepts or "submit" not in self.down:
            answers = super().submit(specs)
        self._may_fail("submit")
        return answers

    def find(self, keys: Sequence[str]) -> Any:
        self._may_fail("find")
        return {key: key for key in super().find(keys) if key not in self.hidden}

    def poll(self, handles: Sequence[str]) -> Any:
        self._may_fail("poll")
        return super().poll([h for h in handles if h not in self.hidden])

    def cancel(self, handles: Sequence[str]) -> None:
        self._may_fail("cancel")
        super().cancel(handles)

    def forget(self, handles: Sequence[str]) -> None:
        self._may_fail("forget")
        super().forget(handles)

    def running_keys(self) -> list[str]:
        self._may_fail("running_keys")
        return [key for key in self.jobs if key not in self.cancelled]


def world(folder: Path, **options: Any) -> tuple[World, Unsteady]:
    provider = Unsteady(**options)
    return World(folder, provider, toy(points=4)), provider


def started(folder: Path, **options: Any) -> tuple[World, Unsteady]:
    """Four jobs run, and go on running."""
    w, provider = world(folder, **options)
    provider.script = lambda _: None
    w.turn()
    w.turn()
    assert len(provider.submissions) == 4
    return w, provider


def attempts(w: World) -> int:
    return w.store.counters(w.loop.id)["attempts"]


def ends_well(w: World, provider: Unsteady, expected: int = 8) -> None:
    provider.script = honest
    assert w.run().state is LoopState.EXHAUSTED
    assert len(w.history.measured) == 4
    assert attempts(w) == expected
    assert w.violations() == {}


@pytest.mark.parametrize("accepts", [True, False])
def test_a_submission_that_timed_out_is_looked_for_before_it_is_sent_again(tmp_path: Path, accepts: bool) -> None:
    w, provider = world(tmp_path)
    provider.down, provider.accepts = {"submit"}, accepts
    w.turn()
    w.turn()
    provider.down = set()
    ends_well(w, provider)
    assert len(provider.submissions) == 8  # each once


def test_what_may_not_be_listed_yet_is_not_sent_again(tmp_path: Path) -> None:
    w, provider = started(tmp_path, lag=30.0)
    provider.hidden = set(provider.submissions)
    w.restart()
    w.clock.advance(20)
    w.turn()
    assert len(provider.submissions) == 4
    provider.hidden = set()
    ends_well(w, provider)


def test_a_provider_that_does_not_answer_loses_nothing(tmp_path: Path) -> None:
    w, provider = started(tmp_path)
    provider.down = {"submit", "find", "poll", "cancel", "forget", "running_keys"}
    for _ in range(20):
        w.clock.advance(60)
        w.turn()
        assert w.carrier.reap() == 0
    w.restart()
    provider.down = set()
    ends_well(w, provider)


def test_a_job_that_is_listed_no_more_is_lost_and_runs_again(tmp_path: Path) -> None:
    w, provider = started(tmp_path)
    provider.hidden = {provider.submissions[0]}
    w.turn()
    w.clock.advance(5)
    w.turn()
    assert attempts(w) == 4  # one listing without it says nothing, nor two in a moment
    w.clock.advance(6)
    ends_well(w, provider, 9)


def test_a_job_that_is_left_out_once_is_not_lost(tmp_path: Path) -> None:
    w, provider = started(tmp_path)
    for _ in range(5):
        provider.hidden = {provider.submissions[0]}
        w.turn()
        provider.hidden = set()
        w.clock.advance(60)
        w.turn()
    ends_well(w, provider)


def test_a_job_that_somebody_cancelled_at_the_site_runs_again(tmp_path: Path) -> None:
    w, provider = started(tmp_path)
    provider.cancelled = {provider.submissions[0]}
    w.turn()
    ends_well(w, provider, 9)


def test_a_cancel_that_was_not_heard_is_said_again(tmp_path: Path) -> None:
    w, provider = started(tmp_path)
    w.store.workflows.command(w.workflow.id, "cancel", "user")
    provider.down = {"cancel"}
    for _ in range(3):
        w.turn()
    assert not provider.cancelled
    provider.down = set()
    assert w.run().state is LoopState.CANCELLED
    assert w.violations() == {}


def test_what_was_never_taken_is_not_sent_after_a_cancel(tmp_path: Path) -> None:
    w, provider = world(tmp_path)
    provider.down = {"submit", "find"}
    w.turn()
    w.turn()
    w.store.workflows.command(w.workflow.id, "cancel", "user")
    w.turn()
    provider.down = set()
    assert w.run().state is LoopState.CANCELLED
    assert provider.submissions == []
    assert w.violations() == {}


def test_the_reaper_reads_the_record_after_the_listing(tmp_path: Path) -> None:
    """Another engine may have begun a job between the two: it is not a stray."""
    w, provider = world(tmp_path)
    provider.script = lambda _: None
    listing = provider.running_keys

    def late() -> list[str]:
        w.turn()
        w.turn()
        return listing()

    provider.running_keys = late  # type: ignore[method-assign]
    assert w.carrier.reap() == 0
    assert len(provider.submissions) == 4
    assert not provider.cancelled


def test_while_a_cancelled_loop_still_ends_verify_finds_nothing(tmp_path: Path) -> None:
    w, provider = started(tmp_path)
    one, *others = provider.submissions
    provider.cancel = lambda handles: provider.cancelled.add(one)  # type: ignore[method-assign]
    w.store.workflows.command(w.workflow.id, "cancel", "user")
    for _ in range(3):
        w.turn()
    assert provider.cancelled == {one}
    assert w.loop.state is LoopState.ACTIVE
    assert w.violations() == {}
    provider.cancelled.update(others)
    assert w.run().state is LoopState.CANCELLED


def test_a_loop_that_another_engine_has_ended_is_not_ended_again(tmp_path: Path) -> None:
    w, _ = world(tmp_path)
    seen = w.loop
    ended = w.run()
    w.conductor._conclude(seen, LoopState.STALLED, "too late")
    assert w.loop == ended
    assert w.violations() == {}
