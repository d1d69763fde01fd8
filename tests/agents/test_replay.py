"""Every question asked again gets the answer on record; where it does not, the first difference is told."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from idds_agents.catalog import Catalog
from idds_agents.learner_host import LearnerHost
from idds_agents.replay import Replay, difference_of, replay
from idds_agents.revising import Draft, extend
from idds_agents.transformer import Answer, Thinker
from idds_core.states import LoopState, PointState
from idds_core.store import open_store
from idds_core.testing.fakes import ScriptedProvider
from idds_learners import BoundaryConverged, CoreHours, MaxPoints, Wall
from tests.agents.cli_kit import Cli
from tests.agents.test_steady import Slow, contour, disc, play, steady, world_of
from tests.world import InlineThinker, World, honest, toy


def again(world: World, thinker: Thinker | None = None) -> Replay:
    plan = Catalog(world.store, world.folder).plan(world.loop.id)
    return replay(world.store, plan, world.loop.id, thinker or InlineThinker())


class Cold:
    """A learner's process of its own for each question."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def think(
        self, document: Mapping[str, Any], history: Mapping[str, Any], bundle: str, wake: Callable[[], None]
    ) -> Future[Answer]:
        host = LearnerHost(self.folder / "cold.log", 120, 10**10)
        try:
            future = host.think(document, history, bundle, wake)
            future.exception(timeout=120)
        finally:
            host.close()
        return future


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[LearnerHost]:
    host = LearnerHost(tmp_path / "warm.log", 120, 10**10)
    yield host
    host.close()


@pytest.mark.parametrize("mode", ["batch", "steady"])
def test_every_answer_is_given_again(tmp_path: Path, mode: str) -> None:
    world = play(world_of(tmp_path, contour(mode=mode, until=MaxPoints(20)), Slow(disc)))
    rows = world.store.iterations.all(world.loop.id)
    assert again(world) == Replay(len(rows) + 1, ())


def test_a_process_that_never_saw_a_question_answers_as_one_that_saw_all(tmp_path: Path, warm: LearnerHost) -> None:
    world = world_of(tmp_path, contour(first=5, until=MaxPoints(10)), Slow(disc))
    world.thinker = warm  # type: ignore[assignment]
    world.transformer.thinker = warm
    for _ in range(5000):
        world.turn()
        for _, _, future in world.transformer._thinking.values():
            future.exception(timeout=120)
        world.clock.advance(1.0)
        if world.loop.state is LoopState.EXHAUSTED:
            break
    rows = world.store.iterations.all(world.loop.id)
    assert again(world, warm) == again(world, Cold(tmp_path)) == Replay(len(rows) + 1, ())


@pytest.mark.parametrize("until", [Wall(150) | MaxPoints(500), CoreHours(0.01) | MaxPoints(500)])
def test_a_verdict_on_time_reads_what_was_frozen(tmp_path: Path, until: Any) -> None:
    world = play(world_of(tmp_path, steady(until=until)))
    world.clock.advance(1e6)
    found = again(world)
    assert found.differences == ()
    assert len(world.history.points) < 500


def test_a_loop_that_is_still_going_on_can_be_replayed(tmp_path: Path) -> None:
    world = world_of(tmp_path, steady(40, 4))
    assert again(world) == Replay(0, ())
    questions = []
    for _ in range(6):
        for _ in range(40):
            world.turn()
            world.clock.advance(1.0)
        found = again(world)
        assert found.differences == ()
        questions.append(found.questions)
    assert questions[0] < questions[-1]


def test_dropped_points_were_pending_when_the_question_was_asked(tmp_path: Path) -> None:
    until = BoundaryConverged(0.3, consecutive=1, min_residuals=1) | MaxPoints(80)
    world = play(world_of(tmp_path, contour(until=until), Slow(disc)))
    assert PointState.DROPPED in {p.state for p in world.history.points}
    assert again(world).differences == ()


@pytest.fixture(scope="module")
def concluded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a loop of three iterations."""
    folder = tmp_path_factory.mktemp("concluded")
    world = play(world_of(folder, contour(mode="batch", first=4, until=MaxPoints(12)), Slow(disc)))
    assert again(world).differences == ()
    world.store.close()
    return folder


@pytest.mark.parametrize(
    ("sabotage", "iteration", "what", "words"),
    [
        (
            "UPDATE point SET parameters = json_set(parameters, '$.x', 0.125) WHERE number = 7",
            2,
            "proposal",
            ["point 7, x: 0.125 on record, ", " replayed (by 0."],
        ),
        ("UPDATE iteration SET asked = 3 WHERE number = 2", 2, "proposal", ["asked for: 3 on record, 4 replayed"]),
        (
            "UPDATE iteration SET verdict = 'stalled' WHERE number = 3",
            3,
            "verdict",
            ["kind: stalled on record, budget"],
        ),
        (
            "UPDATE iteration SET diagnostics = json_set(diagnostics, '$.emv', 0.5) WHERE number = 2",
            2,
            "diagnostics",
            ["emv: 0.5 on record, ", "replayed (by 0.", "(digest "],
        ),
        (
            "UPDATE iteration SET learner_state = json_set(learner_state, '$.gp.z.n', 77) WHERE number = 2",
            2,
            "state",
            ["gp, z, n: 77 on record, 8 replayed (by 69)"],
        ),
    ],
)
def test_what_differs_is_told(
    tmp_path: Path, concluded: Path, sabotage: str, iteration: int, what: str, words: list[str]
) -> None:
    copy = sqlite3.connect(tmp_path / "idds.db", isolation_level=None)
    with contextlib.closing(sqlite3.connect(concluded / "idds.db")) as original:
        original.backup(copy)
    copy.execute(sabotage)
    copy.close()
    store = open_store(tmp_path / "idds.db", "read")
    first = replay(store, Catalog(store, tmp_path).plan(1), 1, InlineThinker()).differences[0]
    store.close()
    assert (first.iteration, first.what) == (iteration, what)
    for word in words:
        assert word in first.text


def test_a_result_that_was_changed_or_came_in_another_order_is_found_out(tmp_path: Path) -> None:
    world = play(world_of(tmp_path, contour(first=5, until=MaxPoints(15)), Slow(disc)))
    raw = sqlite3.connect(tmp_path / "idds.db", isolation_level=None)
    (kept,) = raw.execute("SELECT observation FROM point WHERE ingest_no = 7").fetchone()
    raw.execute("UPDATE point SET observation = json_set(observation, '$.values.z', 0.3) WHERE ingest_no = 7")
    assert again(world).differences != ()
    raw.execute("UPDATE point SET observation = ? WHERE ingest_no = 7", [kept])
    assert again(world).differences == ()
    rows = world.store.iterations.all(world.loop.id)
    upto = next(i.ingested_upto for i in rows if (i.ingested_upto or 0) > 7)  # the next one was not known then
    raw.execute("UPDATE point SET ingest_no = 2 * ? + 1 - ingest_no WHERE ingest_no IN (?, ? + 1)", [upto] * 3)
    assert again(world).differences != ()
    raw.close()


def test_differences_are_found_wherever_they_are() -> None:
    assert difference_of({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}) == ""
    assert difference_of({"a": 1}, {"a": 1.0}) == "a: 1 on record, 1.0 replayed (by 0)"
    assert difference_of({"a": 1}, {}) == "a: 1 on record, nothing replayed"
    assert difference_of({}, {"a": True}) == "a: nothing on record, True replayed"
    assert difference_of({"a": [1]}, {"a": {"b": 1}}) == "a: [1] on record, {'b': 1} replayed"


# ---------------------------------------------------------------------- the command line
def test_replay_of_a_real_scan_is_equal_and_writes_nothing(cli: Cli, finished: Path) -> None:
    before = sorted(p for p in finished.rglob("*") if not p.name.startswith("idds.db"))
    done = cli("replay", "plane", "--workdir", finished, "--json")
    assert done.code == 0, done.out
    shown = done.json
    verdicts = cli("show", "plane", "--workdir", finished, "--json").json["verdicts"]
    assert shown == {
        "path": "plane/plane",
        "mode": "batch",
        "questions": len(verdicts) + 1,
        "equal": True,
        "versions": {},
        "differences": [],
    }
    assert sorted(p for p in finished.rglob("*") if not p.name.startswith("idds.db")) == before


def test_replay_says_where_the_record_was_changed(cli: Cli, finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "plane-run"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("*.sock"))
    raw = sqlite3.connect(copy / "idds.db")
    with raw:
        raw.execute("UPDATE point SET parameters = json_set(parameters, '$.m_a', 333.25) WHERE number = 12")
    raw.close()
    done = cli("replay", "--workdir", copy)
    assert done.code == 3
    first, *_, last = done.out.splitlines()
    assert first.startswith("plane/plane/it/2: proposal differs: point 12, m_a: 333.25 on record, ")
    assert " replayed (by " in first
    assert last.startswith("plane/plane: 4 questions asked again, ")
    assert last.endswith(" differences")
    shown = json.loads(cli("replay", "--workdir", copy, "--json").out)
    assert shown["equal"] is False
    assert shown["differences"][0]["path"] == "plane/plane/it/2"


def test_replay_of_what_is_no_loop_is_one_line(cli: Cli, finished: Path) -> None:
    done = cli("replay", "plane/it/1", "--workdir", finished)
    assert done.code == 4
    assert done.err.startswith("E-PATH-009 ")


# ---------------------------------------------------------------------- with what people brought
def honest_world(tmp_path: Path) -> World:
    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    return World(tmp_path, ScriptedProvider(honest))


def brought(world: World, verb: str, **given: Any) -> None:
    world.store.workflows.command(world.workflow.id, verb, "user ann", given)
    world.conductor.step()


def test_points_that_people_let_in_are_no_differences(tmp_path: Path) -> None:
    world = honest_world(tmp_path)
    while len(world.history.iterations) < 2:
        world.turn()
    brought(world, "add", points=[{"x": 0.123, "y": 0.5}])
    brought(world, "import", rows=[{"parameters": {"x": 0.321, "y": 0.5}, "values": {"z": 1.0}}])
    world.run()
    assert len(world.history.points) == 14
    found = again(world)
    assert (found.questions, found.differences) == (4, ())


def test_a_revision_answers_for_its_own_questions(tmp_path: Path) -> None:
    world = honest_world(tmp_path)
    world.run()
    first = world.workflow
    newest = world.store.workflows.latest("toy")
    assert newest is not None
    made = extend(world.store, Draft(newest, toy(points=20), "bundle", world.folder / "bundles"), "user ann")
    world.workflow, world.definition = made, toy(points=20)
    world._agents()
    world.run()
    assert len(world.history.points) == 20
    assert again(world).differences == ()
    assert again(world).questions == 3  # the last one of the old revision is decided anew
    world.workflow, world.definition = first, toy()
    assert again(world) == Replay(4, ())
