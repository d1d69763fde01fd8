"""A campaign goes on: other budgets, other definitions, points that people bring."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from idds_agents.revising import Draft, amend, extend
from idds_core.definition import Definition
from idds_core.errors import DefinitionError
from idds_core.model import chain
from idds_core.ports import JobSpec
from idds_core.space import Real, Space
from idds_core.states import LoopState, PointState
from idds_core.store import WorkflowRecord
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from idds_learners import MaxPoints
from tests.world import World, function, toy


def measured(spec: JobSpec) -> Any:
    return success(spec, {"events": sum(v for v in spec.parameters.values()), "z": spec.parameters["x"]})


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    return World(tmp_path, ScriptedProvider(measured))


def draft(world: World, definition: Definition, bundle: str = "bundle") -> Draft:
    newest = world.store.workflows.latest("toy")
    assert newest is not None
    return Draft(newest, definition, bundle, world.folder / "bundles")


def follow(world: World, made: WorkflowRecord | None, definition: Definition) -> None:
    """The world turns with another revision from now on."""
    assert made is not None
    world.workflow, world.definition = made, definition
    world._agents()


def extended(world: World, definition: Definition) -> None:
    follow(world, extend(world.store, draft(world, definition), "user ann"), definition)


def ask(world: World, verb: str, **given: Any) -> str:
    command = world.store.workflows.command(world.workflow.id, verb, "user ann", given)
    world.conductor.step()
    return world.store.workflows.command_answer(command) or ""


# ---------------------------------------------------------------------- extend
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
    assert "loops.toy.space.x: Real(low=0.0, high=1.0) -> Real(low=0.0, high=2.0)" in str(caught.value)
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


# ---------------------------------------------------------------------- points that people bring
def test_a_point_that_was_added_enters_the_next_iteration(world: World) -> None:
    world.turn()
    assert ask(world, "add", points=[{"x": 0.123, "y": 0.5}]) == "add: 1 points enter the next iteration"
    assert ask(world, "add", points=[{"x": 0.123, "y": 0.5}]).startswith("add: nothing to do")
    world.run()
    (point,) = [p for p in world.history.points if p.parameters == {"x": 0.123, "y": 0.5}]
    assert (point.state, point.iteration) == (PointState.MEASURED, 2)
    assert world.violations() == {}


def test_a_point_that_is_added_to_a_concluded_loop_makes_a_revision(world: World) -> None:
    world.run()
    answer = ask(world, "add", points=[{"x": 0.123, "y": 0.5}])
    assert "toy~2, which continues toy" in answer
    made = world.store.workflows.latest("toy")
    follow(world, made, world.definition)
    assert world.run().state is LoopState.EXHAUSTED
    assert len(world.history.points) == 13
    assert world.history.points[-1].parameters == {"x": 0.123, "y": 0.5}
    assert world.violations() == {}


@pytest.mark.parametrize("point", [{"x": 2.0, "y": 0.5}, {"x": 0.5}, 7])
def test_a_point_outside_the_space_is_refused(world: World, point: Any) -> None:
    assert ask(world, "add", points=[{"x": 0.3, "y": 0.3}, point]).startswith("E-POINT-003")
    assert world.store.queue.waiting(world.loop.id) == []


def rows(n: int) -> list[Mapping[str, Any]]:
    return [{"parameters": {"x": i / 20, "y": 0.5}, "values": {"z": 1.0 + i, "z_sigma": 0.1}} for i in range(n)]


def test_what_was_measured_elsewhere_is_known_and_costs_no_budget(world: World) -> None:
    assert ask(world, "import", rows=rows(3), source="old.csv").startswith("import: 3 points")
    assert ask(world, "import", rows=rows(3), source="old.csv").startswith("import: nothing to do")
    world.run()
    brought = [p for p in world.history.points if p.iteration == 0]
    assert [p.observation.values["z"] for p in brought if p.observation] == [1.0, 2.0, 3.0]
    assert len(world.history.points) == 12 + 3
    assert sum(p.iteration == 1 for p in world.history.points) == 4  # never below a batch
    assert world.violations() == {}


def test_the_first_design_shrinks_by_what_was_brought(world: World) -> None:
    world.definition = toy(first=10)
    world.store.workflows.add(toy(first=10), "bundle", 7, 2)
    follow(world, world.store.workflows.latest("toy"), world.definition)
    ask(world, "import", rows=rows(3))
    world.turn()
    assert sum(p.iteration == 1 for p in world.history.points) == 7


def test_an_answer_to_a_question_without_the_brought_points_is_asked_again(world: World) -> None:
    world.transformer.start()
    ask(world, "import", rows=rows(3))
    world.transformer.step()
    assert len(world.history.points) == 3
    world.run()
    assert [p.number for p in world.history.points] == list(range(1, 16))
    assert world.thinker.asked == 5
    assert world.violations() == {}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"parameters": {"x": 0.1, "y": 0.5}, "values": {}}, "E-POINT-004"),
        ({"parameters": {"x": 0.1, "y": 5}, "values": {"z": 1}}, "E-POINT-003"),
        ({"parameters": {"x": 0.0, "y": 0.5}, "values": {"z": 7.0}}, "E-POINT-005"),
    ],
)
def test_an_import_is_whole_or_not_at_all(world: World, row: Any, code: str) -> None:
    assert ask(world, "import", rows=[*rows(2), row]).startswith(code)
    assert world.history.points == ()


def test_failed_points_are_tried_again_as_new_points(tmp_path: Path) -> None:
    broken = [True]

    def script(spec: JobSpec) -> Any:
        if broken[0] and spec.parameters["x"] > 0.5:
            return failure(f"away at {spec.parameters}")
        return measured(spec)

    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    world = World(tmp_path, ScriptedProvider(script))
    world.run()
    failed = [p for p in world.history.points if p.state is PointState.FAILED]
    assert failed
    broken[0] = False
    assert ask(world, "retry").startswith(f"retry: {len(failed)} points")
    assert ask(world, "retry").startswith("retry: nothing to do")
    follow(world, world.store.workflows.latest("toy"), world.definition)
    world.run()
    new = world.history.points[12:]
    assert [p.parameters for p in new] == [p.parameters for p in failed]
    assert {p.state for p in new} == {PointState.MEASURED}
    assert [p.state for p in world.history.points[:12]].count(PointState.FAILED) == len(failed)
    with world.store.reading() as connection:
        query = ("SELECT count(*) FROM point p JOIN point o ON o.id = p.retry_of WHERE o.loop_id = p.loop_id "
                 "AND o.parameters = p.parameters")  # fmt: skip
        assert connection.exec_driver_sql(query).scalar() == len(failed)
    assert world.violations() == {}


# ---------------------------------------------------------------------- amend
def amended(world: World, definition: Definition, bundle: str = "bundle") -> dict[str, Any]:
    made, told = amend(world.store, draft(world, definition, bundle), "user ann", world.folder)
    follow(world, made, definition)
    return told
