"""Loops without a barrier: topped up as points end, with the order on record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from idds_agents.report.document import iteration_document
from idds_core.definition import Definition
from idds_core.history import derive_seed
from idds_core.model import chain
from idds_core.ports import JobReport, JobSpec
from idds_core.states import LoopState, PointState
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from idds_learners import BoundaryConverged, LevelSet, MaxIterations, MaxPoints, Wall
from tests.stores import by_hand
from tests.world import World, function, honest, toy

pytestmark = pytest.mark.every_store

Script = Callable[[JobSpec], JobReport | None]


def steady(points: int = 12, batch: int = 4, **changes: Any) -> Definition:
    return toy(points, batch, **{"mode": "steady", **changes})


class Slow:
    """Jobs that take a while on the world's clock: a number of seconds that depends on the point alone."""

    def __init__(self, script: Script = honest, seconds: Callable[[JobSpec], float] | None = None) -> None:
        self.script = script
        self.seconds = seconds or (lambda spec: 1.0 + derive_seed(spec.digest) % 97)
        self.world: World | None = None
        self.began: dict[str, float] = {}

    def __call__(self, spec: JobSpec) -> JobReport | None:
        assert self.world is not None
        began = self.began.setdefault(spec.key, self.world.clock())
        return self.script(spec) if self.world.clock() - began >= self.seconds(spec) else None


def world_of(folder: Path, definition: Definition, slow: Slow | None = None) -> World:
    slow = slow or Slow()
    slow.world = World(folder, ScriptedProvider(slow), definition)
    return slow.world


def play(world: World, *, turns: int = 5000, each: Callable[[World], None] = lambda _: None) -> World:
    """Second by second until the loop has ended."""
    for _ in range(turns):
        world.turn()
        each(world)
        if world.loop.state not in (LoopState.ACTIVE, LoopState.HELD):
            return world
        world.clock.advance(1.0)
    raise AssertionError(world.loop)


def test_a_slow_point_holds_nobody_up(tmp_path: Path) -> None:
    first: list[str] = []

    def seconds(spec: JobSpec) -> float:
        first[:] = first or [spec.digest]
        return 300.0 if spec.digest == first[0] and "x" in arguments(spec) else 1.0

    world = world_of(tmp_path, steady(), Slow(seconds=seconds))
    for _ in range(60):
        world.turn()
        world.clock.advance(1.0)
    states = [p.state for p in world.history.points]
    assert states == [PointState.OPEN] + [PointState.MEASURED] * 11
    assert play(world).loop.state is LoopState.EXHAUSTED
    assert world.loop.reason == "12 of 12 points"
    assert world.violations() == {}
    by_number = {p.number: p.ingest_no for p in world.history.points}
    assert by_number[1] == 12


@pytest.mark.parametrize("top_up", [1, 2, 4])
def test_as_many_points_pend_as_the_batch_says(tmp_path: Path, top_up: int) -> None:
    world = world_of(tmp_path, steady(20, 4, top_up=top_up))
    most: list[int] = []
    play(world, each=lambda w: most.append(len(w.history.pending)))
    assert max(most) == 4
    asked = [(i.asked, len(i.pending)) for i in world.store.iterations.all(world.loop.id)]
    before = [(0, 0), *asked]
    for (_, pending), (n, _) in zip(before, asked, strict=False):
        assert n <= 4 - pending
    assert all(n >= top_up for n, _ in asked[:-5])
    assert sum(n for n, _ in asked) == 20
    assert world.violations() == {}


def test_the_order_in_which_points_ended_is_dense_and_on_record(tmp_path: Path) -> None:
    world = play(world_of(tmp_path, steady(20, 4)))
    numbers = [p.ingest_no for p in world.history.points]
    assert sorted(n for n in numbers if n is not None) == list(range(1, 21))
    assert numbers != sorted(n for n in numbers if n is not None)
    rows = world.store.iterations.all(world.loop.id)
    upto = [i.ingested_upto for i in rows]
    assert [iteration_document(i)["pending"] for i in rows] == [list(i.pending) for i in rows]
    assert None not in upto
    assert upto == sorted(n for n in upto if n is not None)
    assert upto[-1] == 20


def test_the_learner_sees_what_is_pending_and_nothing_that_came_later(tmp_path: Path) -> None:
    world = world_of(tmp_path, steady(20, 4))
    seen: list[Mapping[str, Any]] = []
    answer = world.thinker.answer

    def listen(request: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.append(json.loads(json.dumps(request["history"])))
        return answer(request)

    world.thinker.answer = listen
    play(world)
    iterations = world.store.iterations.all(world.loop.id)
    for history, row in zip(seen[1:], iterations, strict=True):
        pending = tuple(p["number"] for p in history["points"] if p["state"] == "open")
        assert pending == row.pending
        known = [p["ingest_no"] for p in history["points"] if p["state"] != "open"]
        assert sorted(known) == list(range(1, (row.ingested_upto or 0) + 1))
        record = history["iterations"][-1]
        assert (record["elapsed_s"], record["core_hours"]) == (row.elapsed_s, row.core_hours)
        assert world.history.as_asked(row.number).to_json() == history


def test_a_question_asked_again_after_a_crash_is_the_same_question(tmp_path: Path) -> None:
    """The engine dies when the question is frozen; more points end before the next one asks it."""
    world = world_of(tmp_path, steady(20, 4))
    questions: dict[int, set[str]] = {}
    answer = world.thinker.answer
    asked = 0

    def listen(request: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal asked
        asked += 1
        history = request["history"]
        questions.setdefault(len(history["iterations"]), set()).add(json.dumps(history))
        if asked % 2:
            raise RuntimeError("killed")
        return answer(request)

    world.thinker.answer = listen
    thinking = world.transformer._thinking
    for _ in range(3000):
        thinking = world.transformer._thinking
        world.transformer.start()
        broken = [i for i, (_, _, future) in thinking.items() if future.done() and future.exception()]
        if broken:
            world.carrier.step()
            world.clock.advance(40.0)
            world.carrier.step()  # what has ended meanwhile is on record
            world.conductor.step()
            world.restart()
            continue
        world.turn()
        world.clock.advance(1.0)
        if world.loop.state is LoopState.EXHAUSTED:
            break
    assert world.loop.state is LoopState.EXHAUSTED
    assert all(len(found) == 1 for found in questions.values())
    assert asked > 2 * len(questions) - 2
    assert world.violations() == {}


def test_a_crash_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    for every in (1, 2, 5):
        folder = tmp_path / str(every)
        folder.mkdir()
        world = world_of(folder, steady(14, 4))
        count = 0

        def crash(world: World, every: int = every) -> None:
            nonlocal count
            count += 1
            if count % (7 * every) == 0:
                world.restart()

        play(world, each=crash)
        assert world.loop.state is LoopState.EXHAUSTED
        assert [p.state for p in world.history.points] == [PointState.MEASURED] * 14
        assert world.violations() == {}


def test_failed_and_infeasible_points_are_replaced_and_counted(tmp_path: Path) -> None:
    def script(spec: JobSpec) -> JobReport | None:
        if int(spec.digest, 16) % 4 == 1:
            return failure(f"no {spec.digest}")
        return honest(spec)

    world = play(world_of(tmp_path, steady(24, 4), Slow(script)))
    states = {p.state for p in world.history.points}
    assert states == {PointState.MEASURED, PointState.FAILED}
    assert sorted(p.ingest_no or 0 for p in world.history.points) == list(range(1, 25))
    assert world.violations() == {}


def test_a_bound_in_iterations_waits_for_what_is_pending(tmp_path: Path) -> None:
    world = play(world_of(tmp_path, steady(0, 4, until=MaxIterations(6))))
    assert world.loop.state is LoopState.EXHAUSTED
    assert len(world.history.points) == 4 + 5
    assert {p.state for p in world.history.points} == {PointState.MEASURED}
    assert world.violations() == {}


def disc(spec: JobSpec) -> JobReport | None:
    given = arguments(spec)
    return success(spec, {"z": (given["x"] - 0.5) ** 2 + (given["y"] - 0.5) ** 2})


def contour(**changes: Any) -> Definition:
    return steady(
        **{
            "batch": 4,
            "first": 10,
            "body": chain(function("measure", "x", "y")),
            "learner": LevelSet(("z",), level=0.1, transform="none"),
            "until": BoundaryConverged(0.02) | MaxPoints(80),
            **changes,
        }
    )


@pytest.fixture(scope="module")
def converged(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A loop that has converged with points still pending; only looked at."""
    return play(world_of(tmp_path_factory.mktemp("converged"), contour(), Slow(disc)))


def test_a_converged_loop_cancels_what_is_still_pending(converged: World) -> None:
    world = converged
    assert world.loop.state is LoopState.CONVERGED
    states = [p.state for p in world.history.points]
    assert states.count(PointState.DROPPED) + states.count(PointState.MEASURED) == len(states) < 80
    assert PointState.DROPPED in states
    assert world.provider.cancelled
    last = world.store.iterations.last(world.loop.id)
    assert last is not None
    assert last.verdict == "converged"
    assert last.pending
    assert world.violations() == {}
    assert sorted(p.ingest_no or 0 for p in world.history.points) == list(range(1, len(states) + 1))


def test_convergence_is_not_declared_on_looks_at_the_same_points(converged: World) -> None:
    world = converged
    looks = world.store.iterations.all(world.loop.id)
    last = looks[-1].ingested_upto or 0
    good = [i for i in looks if (i.ingested_upto or 0) > last - 8]
    assert all(i.diagnostics["emv"] <= 0.01 for i in good)
    assert len(good) >= 2


def test_time_is_frozen_when_the_question_is_asked_and_ends_the_loop(tmp_path: Path) -> None:
    world = play(world_of(tmp_path, steady(until=Wall(200) | MaxPoints(10_000))))
    rows = world.store.iterations.all(world.loop.id)
    assert world.loop.state is LoopState.EXHAUSTED
    assert (rows[-1].elapsed_s or 0) >= 200 > (rows[-2].elapsed_s or 0)
    assert world.history.iterations[-1].elapsed_s == rows[-1].elapsed_s
    assert world.violations() == {}


def test_cancel_drops_what_is_pending(tmp_path: Path) -> None:
    world = world_of(tmp_path, steady(40, 4))
    for _ in range(150):
        world.turn()
        world.clock.advance(1.0)
    world.store.workflows.command(world.workflow.id, "cancel", "me")
    play(world)
    assert world.loop.state is LoopState.CANCELLED
    assert {p.state for p in world.history.points} == {PointState.MEASURED, PointState.DROPPED}
    assert world.violations() == {}


def test_hold_and_resume_lose_nothing(tmp_path: Path) -> None:
    world = world_of(tmp_path, steady(20, 4))
    for _ in range(100):
        world.turn()
        world.clock.advance(1.0)
    world.store.workflows.command(world.workflow.id, "hold", "me")
    for _ in range(400):
        world.turn()
        world.clock.advance(1.0)
    assert world.loop.state is LoopState.HELD
    assert not world.history.pending or world.carrier.in_flight == 0
    world.store.workflows.command(world.workflow.id, "resume", "me")
    assert play(world).loop.state is LoopState.EXHAUSTED
    assert len(world.history.measured) == 20
    assert world.violations() == {}


def test_a_learner_with_nothing_to_propose_is_stuck_only_when_nothing_is_pending(tmp_path: Path) -> None:
    world = world_of(tmp_path, steady(20, 4))
    answer = world.thinker.answer

    def dry(request: Mapping[str, Any]) -> Mapping[str, Any]:
        found = dict(answer(request))
        return {**found, "points": [], "reason": "dry"} if request["history"]["iterations"] else found

    world.thinker.answer = dry
    play(world)
    assert world.loop.state is LoopState.STALLED
    assert world.loop.reason == "dry"
    assert len(world.history.measured) == 4
    verdicts = [i.verdict for i in world.store.iterations.all(world.loop.id)]
    assert verdicts == ["go on"] * (len(verdicts) - 1) + ["stalled"]
    assert len(verdicts) > 1


@pytest.mark.parametrize(
    ("sabotage", "promise"),
    [
        ("UPDATE point SET ingest_no = 99 WHERE number = 2", "ingest numbers are dense"),
        ("UPDATE point SET ingest_no = 1 WHERE number = 2", "ingest numbers are dense"),
        ("UPDATE iteration SET pending = '[]' WHERE number = 2", "the pending points of a question"),
        ("UPDATE iteration SET ingested_upto = 0 WHERE number = 3", "a question never forgets"),
    ],
)
def test_a_record_that_was_tampered_with_is_found_out(tmp_path: Path, sabotage: str, promise: str) -> None:
    world = play(world_of(tmp_path, steady()))
    by_hand(world.store, sabotage)
    assert any(name.startswith(promise) for name in world.violations())


def test_a_batch_has_no_ingest_numbers(tmp_path: Path) -> None:
    world = play(world_of(tmp_path, toy()))
    assert {p.ingest_no for p in world.history.points} == {None}
    assert {i.ingested_upto for i in world.store.iterations.all(world.loop.id)} == {None}
