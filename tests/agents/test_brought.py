"""Points that people bring: added, measured elsewhere, tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idds_core.ports import JobSpec
from idds_core.states import LoopState, PointState
from idds_core.testing.fakes import ScriptedProvider, failure
from tests.agents.revision_kit import ask, follow, measured, rows
from tests.agents.workflow_kit import two_loops
from tests.world import World, honest, toy


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


def test_what_is_brought_belongs_to_a_loop_that_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, ScriptedProvider(honest), two_loops())
    while world.loops()["one"].state is not LoopState.EXHAUSTED:
        world.turn()
    point = {"x": 0.123, "y": 0.5}
    assert "E-POINT-001" in ask(world, "add", loop="three", points=[point])
    assert "E-POINT-002" in ask(world, "add", loop="one", points=[point])


def test_what_failed_here_is_not_brought_from_elsewhere(tmp_path: Path) -> None:
    world = World(tmp_path, ScriptedProvider(lambda spec: failure(spec.key)))
    while not any(p.state is PointState.FAILED for p in world.history.points):
        world.turn()
    failed = next(p for p in world.history.points if p.state is PointState.FAILED)
    assert "E-POINT-006" in ask(world, "import", rows=[{"parameters": dict(failed.parameters), "values": {"z": 1.0}}])


def test_nobody_tells_a_loop_what_is_sealed(tmp_path: Path) -> None:
    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    world = World(tmp_path, ScriptedProvider(measured), toy(targets=("z", "w"), blind=("w",)))
    row = {"parameters": {"x": 0.5, "y": 0.5}, "values": {"z": 1.0, "w": 2.0}}
    assert "E-BLIND-006" in ask(world, "import", rows=[row], source="points.csv")
