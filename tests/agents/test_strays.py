"""A job under our prefix that the record does not own is cancelled while an engine runs, not only when it begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from idds_agents.engine import Engine
from idds_agents.wakeup import Waker
from idds_core.settings import Settings
from idds_core.states import LoopState
from idds_core.testing.fakes import ManualClock, ScriptedProvider
from tests.world import World, honest, toy


class _Listing(ScriptedProvider):
    """Lists what it was given and nobody has cancelled."""

    def running_keys(self) -> list[str]:
        return [key for key in self.jobs if key not in self.cancelled]


class _Waits(Waker):
    """An engine that waits lets time pass, and each time something may happen."""

    def __init__(self, clock: ManualClock, happens: Callable[[], None]) -> None:
        super().__init__()
        self._clock, self._happens = clock, happens

    def wait(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self._happens()


def test_a_stray_that_comes_up_during_a_run_is_cancelled_at_the_next_sweep(tmp_path: Path) -> None:
    provider = _Listing(honest)
    provider.script = lambda _: None
    w = World(tmp_path, provider, toy(points=4))
    stray, foreign = f"{w.store.id}-99-1", "another-store-1-1"
    seen: list[set[str]] = []

    def happens() -> None:
        if not provider.jobs:  # the learner has only just answered
            return
        seen.append(set(provider.cancelled))
        if stray not in provider.jobs:  # an engine that stalled wakes up, and sends what it had meant to send
            spec = next(iter(provider.jobs.values()))
            provider.jobs |= {stray: spec, foreign: spec}
        if stray in provider.cancelled:
            provider.script = honest

    settings = Settings(sweep_seconds=10.0)
    waker = _Waits(w.clock, happens)
    engine = Engine(w.store, provider, w.thinker, waker, tmp_path, settings, w.workflow.id)
    assert engine.run().state is LoopState.EXHAUSTED
    assert seen[:2] == [set(), {stray}]
    assert provider.cancelled == {stray}
    assert len(w.history.measured) == 4
    assert w.violations() == {}
