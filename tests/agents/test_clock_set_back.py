"""A clock that was set back between two engines: nothing waits for the old time, no time on record shrinks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idds_core import chain
from idds_core.ports import JobSpec
from idds_core.states import FailureClass, LoopState
from idds_core.testing.fakes import ScriptedProvider, failure
from tests.world import World, function, honest, toy

DAYS = 2 * 86400.0


def due(world: World) -> float:
    """Seconds until the next job may start."""
    at = world.store.jobs.next_ready_at([world.loop.id])
    return 0.0 if at is None else at - world.clock()


@pytest.mark.parametrize("class_", [FailureClass.INFRA, FailureClass.USER])
def test_a_pause_that_began_before_the_clock_was_set_back_is_as_long_as_it_was_to_be(
    tmp_path: Path, class_: FailureClass
) -> None:
    failing = True

    def script(spec: JobSpec) -> Any:
        return failure("away", class_, "E-JOB-LOST") if failing else honest(spec)

    body = chain(function("make", "x", "y", attempts=50, wait=600.0), function("measure", "events"))
    world = World(tmp_path, ScriptedProvider(script), toy(points=2, batch=2, body=body, hold_after=1000))
    for _ in range(8):
        world.turn()
    pause = due(world)
    assert 0.0 < pause <= 600.0
    world.clock.advance(-DAYS)
    assert due(world) > DAYS
    world.restart()
    assert due(world) == pytest.approx(pause)
    failing = False
    world.clock.advance(601.0)
    assert world.run().state is LoopState.EXHAUSTED
    assert world.violations() == {}


@pytest.mark.parametrize("mode", ["batch", "steady"])
def test_elapsed_time_never_shrinks(tmp_path: Path, mode: str) -> None:
    world = World(tmp_path, ScriptedProvider(honest), toy(mode=mode))
    world.clock.advance(100.0)
    while len(world.store.iterations.all(world.loop.id)) < 2:
        world.turn()
    world.clock.advance(-DAYS)
    world.restart()
    assert world.run().state is LoopState.EXHAUSTED
    times = [turn.elapsed_s or 0.0 for turn in world.store.iterations.all(world.loop.id)]
    assert times == sorted(times)
    assert times[-1] > 0.0
