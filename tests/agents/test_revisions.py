"""A campaign goes on: other budgets, other definitions, points that people bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idds_agents.revising import Draft, amend, extend
from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError, IddsError
from idds_core.model import Workflow, chain
from idds_core.ports import Function, JobSpec
from idds_core.space import Real, Space
from idds_core.states import LoopState, PointState
from idds_core.store import WorkflowRecord
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from tests.world import World, function, honest, toy


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


def jobs(world: World) -> dict[str, int]:
    """Attempts of the revision, by step."""
    found: dict[str, int] = {}
    for job in world.store.jobs.all(world.loop.id):
        if job.attempts:
            found[job.step] = found.get(job.step, 0) + job.attempts
    return found


@pytest.fixture
def sources(world: World) -> World:
    """The bundle has code; "better" has another analysis, "wider" another generation too."""
    make = "from other import f\ndef make(x, y):\n    return {'events': x + y}\n"
    text = f"{make}def measure(events):\n    return {{'z': f}}\n"
    for name, change in (("bundle", ("", "")), ("better", ("'z': f", "'z': 2 * f")), ("wider", ("x + y", "x - y"))):
        folder = world.folder / "bundles" / name
        folder.mkdir(exist_ok=True)
        (folder / "somewhere.py").write_text(text.replace(*change) if name != "bundle" else text, encoding="utf-8")
    return world


def test_new_data_run_only_the_analysis_again(sources: World) -> None:
    sources.run()
    told = amended(sources, toy(points=16), "better")
    assert told["jobs"] == {"measure": 12}
    assert told["reused"] == {"make": 12}
    sources.provider.script = lambda spec: success(spec, {"events": 0.0, "z": 100 + spec.parameters["x"]})
    assert sources.run().state is LoopState.EXHAUSTED
    assert jobs(sources) == {"make": 4, "measure": 16}
    assert len(sources.history.points) == 16
    assert all(p.observation and p.observation.values["z"] >= 100 for p in sources.history.points)
    old = sources.store.iterations.points(1)
    assert [p.parameters for p in sources.history.points[:12]] == [p.parameters for p in old]
    assert all(p.observation and p.observation.values["z"] < 100 for p in old)
    assert sources.violations() == {}


def test_the_analysis_gets_what_the_old_generation_made(sources: World) -> None:
    sources.run()
    before = {p.number: sum(p.parameters.values()) for p in sources.history.points}
    amended(sources, toy(), "better")
    seen: dict[int, float] = {}

    def script(spec: JobSpec) -> Any:
        seen[int(spec.folder.split("/p/")[1].split("/")[0])] = arguments(spec)["events"]
        return measured(spec)

    sources.provider.script = script
    sources.run()
    assert seen == before


def test_a_changed_first_step_runs_everything_again(sources: World) -> None:
    sources.run()
    told = amended(sources, toy(), "wider")
    assert told["jobs"] == {"make": 12, "measure": 12}
    sources.run()
    assert jobs(sources) == {"make": 12, "measure": 12}
    assert sources.violations() == {}


def test_an_amended_revision_is_amended_again_and_finds_the_first_results(sources: World) -> None:
    sources.run()
    first = amended(sources, toy(), "better")
    sources.run()
    assert first["reused"] == {"make": 12}
    extended_definition = toy(points=14)
    follow(sources, extend(sources.store, draft(sources, extended_definition, "better"), "user"), extended_definition)
    sources.run()
    again = amended(sources, toy(points=14), "bundle")
    assert again["jobs"] == {"measure": 14}
    sources.run()
    assert jobs(sources) == {"measure": 14}
    assert sources.violations() == {}


WITH_W = Space(x=Real(0, 1), y=Real(0, 1), w=Real(-1, 1, default=0.5))


def test_one_more_parameter_keeps_the_old_points_at_its_default(sources: World) -> None:
    sources.run()
    old = sources.history.points
    body = chain(function("make", "x", "y", "w"), function("measure", "events"))
    told = amended(sources, toy(points=16, space=WITH_W, body=body), "wider")
    assert (told["jobs"], told["kept"]) == ({}, 12)
    sources.run()
    new = sources.history.points
    assert [p.parameters for p in new[:12]] == [{**p.parameters, "w": 0.5} for p in old]
    assert [p.observation for p in new[:12]] == [p.observation for p in old]
    assert len({p.parameters["w"] for p in new[12:]}) == 4
    assert jobs(sources) == {"make": 4, "measure": 4}
    assert sources.violations() == {}


def test_wider_bounds_keep_the_old_points(sources: World) -> None:
    sources.run()
    old = sources.history.points
    told = amended(sources, toy(points=20, space=Space(x=Real(-3, 5), y=Real(0, 1))))
    assert told["jobs"] == {}
    sources.run()
    new = sources.history.points
    assert [(p.parameters, p.observation) for p in new[:12]] == [(p.parameters, p.observation) for p in old]
    assert any(p.parameters["x"] > 1 or p.parameters["x"] < 0 for p in new[12:])
    assert sources.violations() == {}


def test_another_target_is_seen_in_the_results_there_are(sources: World) -> None:
    sources.run()
    told = amended(sources, toy(targets=("z", "events")))
    assert told["jobs"] == {}
    sources.run()
    assert all(set(p.observation.values) == {"z", "events"} for p in sources.history.points if p.observation)
    with pytest.raises(DefinitionError, match=r"E-REVISE-008 point 1 .*no value of q"):
        amended(sources, toy(targets=("z", "q")))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"space": Space(x=Real(0, 1))}, "E-REVISE-005"),
        ({"space": Space(x=Real(0.4, 1), y=Real(0, 1))}, "E-REVISE-006"),
        ({"space": Space(x=Real(0, 1), y=Real(0, 1), w=Real(0, 1))}, "E-REVISE-007"),
        ({}, "E-REVISE-002"),
    ],
)
def test_what_cannot_be_amended_is_refused_and_writes_nothing(sources: World, change: Any, code: str) -> None:
    sources.run()
    body = chain(function("make", "x"), function("measure", "events"))
    with pytest.raises(DefinitionError, match=code):
        amended(sources, toy(**({**change, "body": body} if code == "E-REVISE-005" else change)))
    assert len(sources.store.workflows.all()) == 1


def test_failed_points_of_a_mended_step_are_measured(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    world = World(tmp_path, ScriptedProvider(lambda s: failure(s.key) if s.parameters["x"] > 0.5 and "events" in
                  arguments(s) else measured(s)))  # fmt: skip
    for name, text in (("bundle", "1"), ("better", "2")):
        (tmp_path / "bundles" / name).mkdir()
        code = f"def make(x, y):\n    return 1\ndef measure(events):\n    return {text}\n"
        (tmp_path / "bundles" / name / "somewhere.py").write_text(code, encoding="utf-8")
    world.run()
    failed = sum(p.state is PointState.FAILED for p in world.history.points)
    assert failed
    world.provider.script = measured
    told = amended(world, toy(), "better")
    assert told["jobs"] == {"measure": 12}
    world.run()
    assert {p.state for p in world.history.points} == {PointState.MEASURED}
    assert world.violations() == {}


# ---------------------------------------------------------------------- nothing half
@pytest.mark.parametrize("verb", ["extend", "amend", "add", "import"])
def test_a_death_at_any_statement_leaves_nothing_and_the_same_again_finishes(
    sources: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Each is one transaction: whichever statement is the last before the death, the record is as it was."""
    sources.run()
    given: dict[str, dict[str, Any]] = {"add": {"points": [{"x": 0.123, "y": 0.5}]}, "import": {"rows": rows(3)}}
    if verb in given:
        sources.store.workflows.command(sources.workflow.id, verb, "user ann", given[verb])

    def act() -> None:
        if verb == "extend":
            extend(sources.store, draft(sources, toy(points=16)), "user")
        elif verb == "amend":
            amend(sources.store, draft(sources, toy(points=16), "better"), "user", sources.folder)
        else:
            sources.conductor.step()

    class Death(BaseException):
        pass

    database = sources.store._db
    deaths = 0
    for _ in range(500):
        left = [deaths]

        def hook(*_: Any, left: list[int] = left) -> None:
            if left[0] == 0:
                raise Death
            left[0] -= 1

        original = database.insert
        monkeypatch.setattr(database, "insert", lambda *a, hook=hook, original=original: (hook(), original(*a))[1])
        moves = database.run
        monkeypatch.setattr(database, "run", lambda *a, hook=hook, moves=moves: (hook(), moves(*a))[1])
        try:
            act()
        except Death:
            monkeypatch.setattr(database, "insert", original)
            monkeypatch.setattr(database, "run", moves)
            assert len(sources.store.workflows.all()) == 1
            assert sources.violations() == {}
            deaths += 1
            continue
        monkeypatch.setattr(database, "insert", original)
        monkeypatch.setattr(database, "run", moves)
        break
    assert deaths > 3
    assert len(sources.store.workflows.all()) == 2
    sources.conductor.step()  # commands that were on record before a death take effect, once
    assert len(sources.store.workflows.all()) == 2
    assert sources.violations() == {}


# ---------------------------------------------------------------------- campaigns
def cut(analysis: str = "analyse") -> Definition:
    """Twelve chunks a point, some of them dead, and an analysis of what is left."""
    generate = replace(function("generate", "x", "chunk", attempts=1), split=12, accept=0.7)
    return toy(points=4, body=chain(generate, function("merge", "n"), function(analysis, "total")))


def of_chunks(spec: JobSpec) -> Any:
    assert isinstance(spec.payload, Function)
    given, step = arguments(spec), spec.payload.reference.partition(":")[2]
    if step == "generate":
        return failure("dead") if given["chunk"] % 6 == 2 else success(spec, {"n": given["chunk"]})
    if step == "merge":
        return success(spec, {"total": sum(given["n"])})
    return success(spec, {"z": given["total"] * (2.0 if step == "better" else 1.0)})


def test_new_analysis_of_a_campaign_runs_no_simulation_again(tmp_path: Path) -> None:
    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    world = World(tmp_path, ScriptedProvider(of_chunks), cut())
    world.run()
    seen = {p.number: p.observation for p in world.history.points}
    before = len(world.provider.submissions)
    made, told = amend(world.store, draft(world, cut("better")), "user ann", tmp_path)
    assert told["jobs"] == {"better": 4}
    follow(world, made, cut("better"))
    assert world.run().state is LoopState.EXHAUSTED
    assert len(world.provider.submissions) - before == 4
    for point in world.history.points:
        was, now = seen[point.number], point.observation
        assert was is not None
        assert now is not None
        assert now.values["z"] == 2 * was.values["z"]
        assert now.extras == was.extras == {"share_generate": 10 / 12}
    assert world.violations() == {}


def two_loops(batch: int = 4) -> Definition:
    """A workflow of two loops, one after the other."""
    loop = toy().workflow.loops[0]
    return validate(Workflow("toy", chain(replace(loop, name="one", batch=batch), replace(loop, name="two"))))


def test_a_workflow_of_several_loops_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    world = World(tmp_path, ScriptedProvider(honest), two_loops())
    world.run()
    before = len(world.store.workflows.all())
    for verb in (extended, amended):
        with pytest.raises(IddsError, match="E-REVISE-004"):
            verb(world, two_loops(batch=5))
    assert len(world.store.workflows.all()) == before
    assert "E-REVISE-004" in ask(world, "add", points=[{"x": 0.123, "y": 0.5}])


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
