"""Points that top up others, as they are written: what they take over is there with them, or they are not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from idds_core.ports import JobReport, JobSpec
from idds_core.store import Asked, Taken, TopUp
from idds_core.testing.fakes import ScriptedProvider
from tests.agents.test_topups import Farm, campaign
from tests.world import World, honest, toy


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Four measured points of 2500 events."""
    world = World(tmp_path, ScriptedProvider(Farm()), campaign(points=6))
    while len(world.history.measured) < 4:
        world.turn()
    return world


def write(world: World, top: TopUp, number: int = 5) -> None:
    """One iteration of one point that tops up point 3."""
    loop, at = world.definition.loop("toy"), world.history.points[2].parameters
    world.store.iterations.add(world.loop.id, loop, 3, [at], 1, number, {"events": 2500}, {number: top})


def jobs(world: World, number: int = 5) -> dict[tuple[str, int], str]:
    return {(j.step, j.chunk): j.state for j in world.store.jobs.all(world.loop.id, point=number)}


MORE: Mapping[str, Any] = {"to": 3, "more": {"events": 1500}}


def test_what_is_taken_over_is_done_from_the_beginning(world: World) -> None:
    made_of = world.store.top_ups.made_of(world.loop.id, 3)
    taken = {place: t for place, t in made_of.items() if place[0] == "generate" and place[2] < 2}
    write(world, TopUp(MORE, {"events": 4000}, taken))
    found = jobs(world)
    assert [found["generate", chunk] for chunk in range(4)] == ["DONE", "DONE", "ready", "ready"]
    assert {found["reconstruct", chunk] for chunk in range(4)} == {"waiting"}
    again = world.store.top_ups.made_of(world.loop.id, 5)
    assert again == taken
    assert all(isinstance(t, Taken) and "/p/3/generate/" in t.path for t in again.values())
    assert world.store.counters(world.loop.id)["job DONE"] == 4 * (3 + 3 + 2) + 2
    assert world.store.top_ups.given(world.loop.id, 5) == {"events": 4000}
    assert world.store.top_ups.given(world.loop.id, 3) == {}
    assert world.violations() == {}


def test_a_claim_sees_the_values_of_its_own_point(world: World) -> None:
    write(world, TopUp(MORE, {"events": 4000}))
    claims = world.store.jobs.claim({world.loop.id: "toy/toy"}, 99, "p", "me", 60, lambda j, n: f"{j}-{n}")
    assert {c.parameters["events"] for c in claims if c.point == 5} == {4000}
    assert {c.digest for c in claims if c.point == 5} == {_digest(world, 3)}


def _digest(world: World, number: int) -> str:
    with world.store.reading() as connection:
        query = f"SELECT digest FROM point WHERE number = {number}"
        return str(connection.exec_driver_sql(query).scalar())


def test_what_waits_says_what_it_adds_until_it_enters(world: World) -> None:
    at = world.history.points[2].parameters
    world.store.queue.add(world.loop.id, [Asked({"x": 0.1, "y": 0.1}), Asked(at, None, MORE, {"events": 4000})], "why")
    plain, more = world.store.queue.waiting(world.loop.id)
    assert (plain.adds, plain.given) == (None, {})
    assert (more.adds, more.given, more.parameters) == (MORE, {"events": 4000}, at)
    world.run()
    assert [p.adds for p in world.history.points[:6]] == [None] * 5 + [MORE]
    assert world.store.queue.waiting(world.loop.id) == []
    assert world.store.top_ups.replaced(world.loop.id) == 1


def test_an_iteration_without_top_ups_is_written_as_before(tmp_path: Path) -> None:
    def script(spec: JobSpec) -> JobReport:
        return honest(spec)

    world = World(tmp_path, ScriptedProvider(script), toy())
    world.run()
    with world.store.reading() as connection:
        query = "SELECT count(*) FROM point WHERE adds IS NOT NULL OR given IS NOT NULL"
        assert connection.exec_driver_sql(query).scalar() == 0
