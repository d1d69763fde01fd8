"""Intermediates go when they may, never before the record is durable, and never unnoted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from idds_agents.catalog import Catalog
from idds_agents.keeper import Keeper
from idds_agents.revising import Draft, amend
from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError
from idds_core.model import Step, chain
from idds_core.ports import JobReport, JobSpec, ReportState
from idds_core.states import LoopState, PointState
from idds_core.testing.fakes import ScriptedProvider, failure
from tests.agents.workflow_kit import scan
from tests.world import World, function, toy


def definition(keep: str) -> Definition:
    make = Step("make", function="somewhere:make", arguments=("x", "y"), keep=keep)
    return toy(points=4, body=chain(make, function("measure", "events")))


def with_file(spec: JobSpec) -> JobReport:
    """A job that leaves a file and a log; one point fails."""
    folder = Path(spec.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log").write_text("log", encoding="utf-8")
    (folder / "inside").mkdir(exist_ok=True)
    (folder / "events").write_text("events", encoding="utf-8")
    if "/p/2/measure/" in spec.folder and "inner" not in spec.folder:
        return failure(spec.key)
    file = {"path": str(folder / "events"), "bytes": 6, "sha256": "x"}
    result = {"key": spec.key, "digest": spec.digest, "values": {"z": 1.0}, "files": {"events": file}}
    return JobReport(ReportState.SUCCEEDED, result)


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.store.close()


def world_of(folder: Path, worlds: list[World], keep: str) -> World:
    for name in ("bundle", "better"):
        (folder / "bundles" / name).mkdir(parents=True)
        code = f"def make(x, y):\n    return 1\ndef measure(events):\n    return '{name}'\n"
        (folder / "bundles" / name / "somewhere.py").write_text(code, encoding="utf-8")
    world = World(folder, ScriptedProvider(with_file), definition(keep))
    worlds.append(world)
    world.run()
    return world


def keeper(world: World) -> Keeper:
    return Keeper(world.store, Catalog(world.store, world.folder, world.workflow.id), world.folder, world.workflow.id)


def left(world: World, step: str) -> dict[int, list[str]]:
    """Point -> what is left in the folder of its first attempt."""
    folders = sorted((world.folder / "toy").rglob(f"{step}/job/0/a/1"))
    return {int(f.parts[-6]): sorted(p.name for p in f.iterdir()) for f in folders}


ALL, LOG = ["events", "inside", "log"], ["log"]


def test_intermediates_go_when_their_point_has_ended_and_logs_stay(tmp_path: Path, worlds: list[World]) -> None:
    world = world_of(tmp_path, worlds, "until_merged")
    assert keeper(world).step() == 3
    assert left(world, "make") == {1: LOG, 2: ALL, 3: LOG, 4: LOG}  # a failed point keeps its files, for people
    assert set(map(tuple, left(world, "measure").values())) == {tuple(ALL)}
    assert keeper(world).step() == 0
    gone = [e for e in _events(world) if e == ("folder", "removed", "keep=until_merged")]
    assert len(gone) == 3
    assert world.violations() == {}
    assert {f.attempt.split("/p/")[1][0] for f in world.store.audit.files() if "/make/" in f.attempt} == {"2"}


def _events(world: World) -> list[tuple[str, str, str]]:
    world.store.audit.seal()
    return [(e.entity, e.new, e.reason) for e in world.store.audit.events(limit=10_000)]


def test_intermediates_are_kept_for_as_long_as_said(tmp_path: Path, worlds: list[World]) -> None:
    world = world_of(tmp_path, worlds, "2d")
    world.clock.advance(2 * 86400 - 10)
    assert keeper(world).step() == 0
    world.clock.advance(20)
    assert keeper(world).step() == 3


def test_always_means_always(tmp_path: Path, worlds: list[World]) -> None:
    world = world_of(tmp_path, worlds, "always")
    world.clock.advance(1e9)
    assert keeper(world).step() == 0


def test_a_death_between_the_note_and_the_removal_is_made_good(
    tmp_path: Path, worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(tmp_path, worlds, "until_merged")

    class Death(BaseException):
        pass

    def die(*_: object) -> None:
        raise Death

    with monkeypatch.context() as patched, pytest.raises(Death):
        patched.setattr(Keeper, "_empty", die)
        keeper(world).step()
    assert left(world, "make")[1] == ALL
    assert world.violations() == {}
    keeper(world).step()
    assert left(world, "make")[1] == LOG


def test_what_was_removed_and_is_needed_again_is_made_again(tmp_path: Path, worlds: list[World]) -> None:
    world = world_of(tmp_path, worlds, "until_merged")
    newest = world.store.workflows.latest("toy")
    assert newest is not None
    draft = Draft(newest, definition("until_merged"), "better", world.folder / "bundles")
    assert amend(world.store, draft, "user", dry=True)[1]["jobs"] == {"measure": 4}
    keeper(world).step()
    made, told = amend(world.store, draft, "user")
    assert told["jobs"] == {"make": 3, "measure": 4}
    assert told["reused"] == {"make": 1}
    assert made is not None
    world.workflow = made
    world._agents()
    world.run()
    assert world.violations() == {}


def test_what_an_open_point_has_taken_over_is_not_removed(tmp_path: Path, worlds: list[World]) -> None:
    world = world_of(tmp_path, worlds, "until_merged")
    newest = world.store.workflows.latest("toy")
    assert newest is not None
    amend(world.store, Draft(newest, definition("until_merged"), "better", world.folder / "bundles"), "u")
    assert keeper(world).step() == 0


def inside(keep: str) -> Definition:
    """A loop inside a loop whose first step's files need not be kept; so for the first step of the outer one."""
    make = Step("make", function="somewhere:make", arguments=("x", "a"), keep=keep)
    begin = Step("begin", function="somewhere:begin", arguments=("a",), keep=keep)
    inner = scan("inner", "x", make, function("measure", "events"), points=2)
    return validate(scan("outer", "a", begin, inner, function("judge", "result"), points=3))


def files_of(world: World, step: str) -> int:
    return sum((folder / "events").exists() for folder in world.folder.rglob(f"{step}/job/0/a/1"))


def test_a_loop_inside_a_loop_comes_to_be_while_the_keeper_works(tmp_path: Path, worlds: list[World]) -> None:
    world = World(tmp_path, ScriptedProvider(with_file), inside("until_merged"))
    worlds.append(world)
    mine = keeper(world)
    removed = 0
    for _ in range(60):
        world.turn()
        removed += mine.step()
        open_points = [p for p in world.history.points if p.state is PointState.OPEN]
        assert files_of(world, "begin") >= sum(p.number in _begun(world) for p in open_points)
        if world.loop.state.isupper():
            break
    removed += mine.step()
    assert world.loop.state is LoopState.EXHAUSTED
    assert (files_of(world, "make"), files_of(world, "begin")) == (0, 0)
    assert files_of(world, "judge") == 3
    assert removed == 6 + 3
    assert world.violations() == {}


def _begun(world: World) -> set[int]:
    return {job.point for job in world.store.jobs.all(world.loop.id, ["DONE"]) if job.step == "begin"}


def test_a_death_between_the_note_and_the_removal_inside_a_loop_is_made_good(
    tmp_path: Path, worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, ScriptedProvider(with_file), inside("until_merged"))
    worlds.append(world)
    world.run()
    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "_empty", lambda *_: None)
        keeper(world).step()
    assert files_of(world, "make") == 6
    keeper(world).step()
    assert files_of(world, "make") == 0


@pytest.mark.parametrize("keep", ["", "forever", "3 fortnights"])
def test_what_cannot_be_kept_is_refused(keep: str) -> None:
    with pytest.raises(DefinitionError, match=r"E-STEP-013 .*body.toy.body.make.keep"):
        definition(keep)
