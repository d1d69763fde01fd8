"""A campaign goes on with another budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from idds_core.errors import DefinitionError
from idds_core.space import Real, Space
from idds_core.states import LoopState
from idds_core.testing.fakes import ScriptedProvider
from tests.agents.revision_kit import extended, measured
from tests.world import World, toy


def test_a_scan_that_was_extended_ends_as_one_that_had_the_budget_from_the_beginning(
    world: World, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    (whole / "bundles" / "bundle").mkdir(parents=True)
    other = World(whole, ScriptedProvider(measured), toy(points=24))
    other.run()
    world.run()
    extended(world, toy(points=24))
    assert world.run().state is LoopState.EXHAUSTED
    assert len(world.history.points) == 24
    assert world.history.digest == other.history.digest
    assert [i.number for i in world.history.iterations] == [i.number for i in other.history.iterations]
    assert world.violations() == {}


def test_an_extension_leaves_the_older_revision_as_it_was(world: World) -> None:
    world.run()
    first, history = world.workflow, world.history
    with world.store.reading() as connection:
        query = "SELECT * FROM point UNION ALL SELECT * FROM point ORDER BY 1"
        before = connection.exec_driver_sql(query).fetchall()
    extended(world, toy(points=24))
    world.run()
    assert world.workflow.path == "toy~2"
    assert (world.workflow.revision, world.workflow.continues) == (2, first.id)
    again = world.store.iterations.history(
        world.store.workflows.loops(first.id)[0].id, toy().workflow.loops[0], first.seed
    )
    assert again == history
    with world.store.reading() as connection:
        query = "SELECT * FROM point WHERE loop_id = 1 UNION ALL SELECT * FROM point WHERE loop_id = 1 ORDER BY 1"
        assert connection.exec_driver_sql(query).fetchall() == before
    paths = {a.path for j in world.store.jobs.all(world.loop.id) for a in world.store.jobs.attempts([j.id])}
    assert len(paths) == 24
    assert all(path.startswith("toy~2/toy/it/") for path in paths)
    assert {int(path.split("/")[5]) for path in paths} == set(range(13, 25))


def test_what_more_than_a_budget_changes_is_refused_with_the_difference(world: World) -> None:
    world.run()
    other = toy(points=24, space=Space(x=Real(0, 2), y=Real(0, 1)))
    with pytest.raises(DefinitionError) as caught:
        extended(world, other)
    assert [p.code for p in caught.value.problems] == ["E-REVISE-003"]
    assert "body.toy.space.x: Real(low=0.0, high=1.0) -> Real(low=0.0, high=2.0)" in str(caught.value)
    with pytest.raises(DefinitionError, match="E-REVISE-002"):
        extended(world, toy())
    world.workflow = world.store.workflows.all()[0]
    assert len(world.store.workflows.all()) == 1


def test_a_workflow_that_goes_on_is_not_extended(world: World) -> None:
    world.turn()
    with pytest.raises(DefinitionError, match="E-REVISE-001"):
        extended(world, toy(points=24))


def test_time_and_core_hours_go_on_and_the_pause_does_not_count(world: World) -> None:
    world.run()
    used = world.history.iterations[-1].core_hours
    world.clock.advance(100_000)
    extended(world, toy(points=24))
    world.clock.advance(50)
    world.run()
    last = world.history.iterations[-1]
    assert last.core_hours == pytest.approx(2 * used)
    assert 50 <= last.elapsed_s < 1000
