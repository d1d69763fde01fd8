"""A campaign goes on with another definition: what changed runs again, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idds_agents.revising import extend
from idds_core.definition import Definition
from idds_core.errors import DefinitionError
from idds_core.model import chain
from idds_core.ports import Function, JobSpec
from idds_core.space import Real, Space
from idds_core.states import LoopState, PointState
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from tests.agents.revision_kit import amended, draft, follow, jobs, measured
from tests.world import World, function, toy


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


# ---------------------------------------------------------------------- points of many jobs
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
    told = amended(world, cut("better"))
    assert told["jobs"] == {"better": 4}
    assert world.run().state is LoopState.EXHAUSTED
    assert len(world.provider.submissions) - before == 4
    for point in world.history.points:
        was, now = seen[point.number], point.observation
        assert was is not None
        assert now is not None
        assert now.values["z"] == 2 * was.values["z"]
        assert now.extras == was.extras == {"share_generate": 10 / 12}
    assert world.violations() == {}
