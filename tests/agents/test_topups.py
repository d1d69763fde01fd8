"""A measured point is topped up: another replicate, or more events, as a new point that says what it adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_agents.catalog import Catalog
from idds_agents.replay import replay
from idds_core.definition import Definition
from idds_core.history import History, Point, derive_seed
from idds_core.model import chain
from idds_core.ports import JobReport, JobSpec
from idds_core.states import LoopState, PointState
from idds_core.store.database import Database
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from idds_learners import LevelSet, MaxPoints
from tests.agents.revision_kit import amended, ask, follow
from tests.agents.test_campaign import cut, step_of
from tests.agents.test_steady import Slow, play
from tests.agents.test_steady import world_of as slow_world
from tests.agents.workflow_kit import answer_nested, nested
from tests.world import InlineThinker, World, function, honest, toy

Script = Callable[[JobSpec], JobReport | None]


def campaign(points: int = 4, events: int = 2500, accept: float = 1.0, **changes: Any) -> Definition:
    """Generate and reconstruct in chunks of 1000 events, merge, analyse."""
    body = chain(
        cut("generate", "x", "events", "first_events", split="1000 events", accept=accept),
        cut("reconstruct", "n", split="1000 events"),
        cut("merge", "m", merge=True),
        cut("analyse", "total"),
    )
    loop = {"points": points, "batch": 2, "body": body, "parameters": {"events": events}, **changes}
    return toy(**loop)


def number_of(spec: JobSpec) -> int:
    """Number of the point that a job is of."""
    return int(spec.folder.split("/p/")[1].split("/")[0])


class Farm:
    """What the jobs of a campaign do, and a note of those that ran: (point, step, chunk)."""

    def __init__(self, dead: Callable[[int, str, int], bool] = lambda *_: False) -> None:
        self.dead = dead
        self.ran: Counter[tuple[int, str, int]] = Counter()
        self.seeds: dict[tuple[int, str, int], int] = {}

    def __call__(self, spec: JobSpec) -> JobReport:
        step, given, number = step_of(spec), arguments(spec), number_of(spec)
        chunk = int(spec.parameters.get("chunk", 0))
        self.ran[number, step, chunk] += 1
        self.seeds[number, step, chunk] = spec.seed
        if self.dead(number, step, chunk):
            return failure(f"dead chunk {spec.key}")
        if step == "generate":
            return success(spec, {"n": given["events"]})
        if step == "reconstruct":
            return success(spec, {"m": given["n"]})
        if step == "merge":
            return success(spec, {"total": sum(given["m"])})
        return success(spec, {"z": float(given["total"]), "z_sigma": float(given["total"]) ** -0.5})

    def of(self, number: int) -> dict[str, list[int]]:
        """Step -> chunks that ran at a point."""
        found: dict[str, list[int]] = {}
        for point, step, chunk in sorted(self.ran):
            if point == number:
                found.setdefault(step, []).append(chunk)
        return found


def world_of(folder: Path, definition: Definition, script: Script, slots: int = 100) -> World:
    folder.mkdir(exist_ok=True)
    return World(folder, ScriptedProvider(script, slots), definition)


def top_up(world: World, point: int, **given: Any) -> str:
    """The answer; the world goes on with the revision, when there is one."""
    answer = ask(world, "top-up", loop="toy", point=point, **given)
    follow(world, world.store.workflows.latest("toy"), world.definition)
    return answer


def z_of(point: Point) -> float | None:
    return point.observation.values["z"] if point.observation else None


def again(world: World) -> tuple[Any, ...]:
    """Differences that a replay finds."""
    plan = Catalog(world.store, world.folder).plan(world.loop.id)
    return replay(world.store, plan, world.loop.id, InlineThinker()).differences


# ---------------------------------------------------------------------- more events
def test_more_events_take_over_the_whole_chunks_and_run_the_others(tmp_path: Path) -> None:
    farm = Farm()
    world = world_of(tmp_path, campaign(), farm)
    world.run()
    assert top_up(world, 3, values={"events": "5000"}).startswith(
        "top-up: p/3 gets 2500 events more (5000 in all) in the next iteration of toy~2, which continues toy"
    )
    assert world.run().state is LoopState.EXHAUSTED
    old, new = world.history.points[2], world.history.points[4]
    assert (z_of(old), z_of(new)) == (2500.0, 5000.0)
    assert new.adds == {"to": 3, "more": {"events": 2500}}
    assert new.parameters == old.parameters
    # the third chunk had only 500 events: it runs again at its new size
    assert farm.of(5) == {"generate": [2, 3, 4], "reconstruct": [2, 3, 4], "merge": [0], "analyse": [0]}
    assert [p.number for p in world.history.measured] == [1, 2, 4, 5]
    assert world.violations() == {}
    assert again(world) == ()


def test_what_was_topped_up_is_topped_up_again_where_it_stands(tmp_path: Path) -> None:
    farm = Farm()
    world = world_of(tmp_path, campaign(events=2000), farm)
    world.run()
    top_up(world, 3, values={"events": 3000})
    world.run()
    assert "p/5 gets 2000 events more (5000 in all)" in top_up(world, 3, values={"events": 5000})
    world.run()
    assert farm.of(6)["generate"] == [3, 4]
    assert world.history.points[5].adds == {"to": 5, "more": {"events": 2000}}
    assert [p.number for p in world.history.measured] == [1, 2, 4, 6]
    assert top_up(world, 5, values={"events": 5000}) == "top-up: nothing to do, p/6 has 5000 events already"
    assert world.violations() == {}
    assert again(world) == ()


def test_seeds_of_old_chunks_stay_and_new_chunks_have_their_own(tmp_path: Path) -> None:
    farm = Farm()
    world = world_of(tmp_path, campaign(), farm)
    world.run()
    top_up(world, 3, values={"events": 4000})
    world.run()
    assert farm.seeds[5, "generate", 3] == derive_seed(7, 5, "generate", 3)
    with world.store.reading() as connection:
        query = (
            "SELECT a.path FROM result r JOIN job j ON j.id = r.job_id JOIN point p ON p.id = j.point_id "
            "JOIN attempt a ON a.id = r.reused_from WHERE p.number = 5 AND j.step = 'generate' ORDER BY j.chunk"
        )
        taken = [row[0] for row in connection.exec_driver_sql(query)]
    assert taken == [f"toy/toy/it/2/p/3/generate/job/{chunk}/a/1" for chunk in (0, 1)]


def test_the_old_observation_counts_until_the_new_one_is_there(tmp_path: Path) -> None:
    world = world_of(tmp_path, campaign(points=8), Farm())
    seen: list[tuple[list[int], list[int]]] = []
    answer = world.thinker.answer

    def listen(request: Any) -> Any:
        history = History.from_json(request["history"])
        seen.append(([p.number for p in history.points], [p.number for p in history.measured]))
        return answer(request)

    world.thinker.answer = listen
    while len(world.history.measured) < 2:
        world.turn()
    assert ask(world, "top-up", point=1, values={"events": 4000}).startswith("top-up: p/1 gets 1500 events more")
    world.run()
    assert seen[1] == ([1, 2], [1, 2])
    numbers, measured = seen[2]
    assert len(numbers) == 5
    assert measured == [2, *range(3, 6)]
    assert world.loop.reason == "8 of 8 points"
    assert len(world.history.points) == 8
    assert again(world) == ()


def test_a_top_up_that_fails_leaves_the_old_observation_and_is_tried_again(tmp_path: Path) -> None:
    broken = [True]
    farm = Farm(lambda number, step, chunk: broken[0] and number == 5 and (step, chunk) == ("generate", 3))
    world = world_of(tmp_path, campaign(), farm)
    world.run()
    top_up(world, 3, values={"events": 5000})
    world.run()
    assert [str(p.state) for p in world.history.points] == ["MEASURED"] * 4 + ["FAILED"]
    assert [p.number for p in world.history.measured] == [1, 2, 3, 4]
    broken[0] = False
    assert ask(world, "retry", loop="toy").startswith("retry: 1 points")
    follow(world, world.store.workflows.latest("toy"), world.definition)
    world.run()
    tried = world.history.points[5]
    assert (tried.adds, z_of(tried)) == ({"to": 3, "more": {"events": 2500}}, 5000.0)
    assert farm.of(6)["generate"] == [2, 3, 4]
    assert world.history.replaced == {3: 6}
    assert world.violations() == {}


def test_the_same_top_up_after_a_failure_tries_again_what_failed(tmp_path: Path) -> None:
    broken = [True]
    farm = Farm(lambda number, step, chunk: broken[0] and number == 5)
    world = world_of(tmp_path, campaign(), farm)
    world.run()
    top_up(world, 3, values={"events": 5000})
    world.run()
    broken[0] = False
    top_up(world, 3, values={"events": 5000})
    assert ask(world, "retry", loop="toy").startswith("retry: nothing to do")
    world.run()
    assert world.history.replaced == {3: 6}
    assert world.violations() == {}


def test_dead_chunks_get_another_try(tmp_path: Path) -> None:
    farm = Farm(lambda number, step, chunk: number <= 4 and (step, chunk) == ("generate", 1))
    world = world_of(tmp_path, campaign(events=4000, accept=0.7), farm)
    world.run()
    assert z_of(world.history.points[2]) == 3000.0
    top_up(world, 3, values={"events": 5000})
    world.run()
    assert farm.of(5)["generate"] == [1, 4]
    assert farm.of(5)["reconstruct"] == [1, 4]
    new = world.history.points[4]
    assert z_of(new) == 5000.0
    assert new.observation is not None
    assert new.observation.extras["share_generate"] == 1.0
    assert world.violations() == {}


def test_chunks_of_an_older_revision_are_found(tmp_path: Path) -> None:
    farm = Farm()
    world = world_of(tmp_path, campaign(events=2000), farm)
    world.run()
    for n in range(2):  # two revisions later the point is only carried on
        top_up(world, 1 + n)
        world.run()
    assert "toy~4" in top_up(world, 3, values={"events": 3000})
    world.run()
    assert farm.of(7)["generate"] == [2]
    assert z_of(world.history.points[6]) == 3000.0
    assert world.violations() == {}


def test_a_top_up_is_carried_on_with_what_it_adds(tmp_path: Path) -> None:
    world = world_of(tmp_path, campaign(), Farm())
    world.run()
    top_up(world, 3, values={"events": 5000})
    world.run()
    before = world.history
    ask(world, "add", loop="toy", points=[{"x": 0.123, "y": 0.5}])
    follow(world, world.store.workflows.latest("toy"), world.definition)
    world.run()
    assert world.history.points[:5] == before.points
    assert world.history.replaced == {3: 5}
    assert world.store.top_ups.given(world.loop.id, 5) == {"events": 5000}
    assert world.violations() == {}


def test_an_amended_analysis_sees_all_the_events_of_a_top_up(tmp_path: Path) -> None:
    farm = Farm()
    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    world = world_of(tmp_path, campaign(), farm)
    world.run()
    top_up(world, 3, values={"events": 5000})
    world.run()
    farm.ran.clear()
    body = chain(*world.definition.workflow.loops[0].body[:3], cut("analyse", "total", "x"))
    told = amended(world, campaign(points=5, body=body))
    assert told["jobs"] == {"analyse": 5}
    world.run()
    assert farm.of(5) == {"analyse": [0]}
    assert z_of(world.history.points[4]) == 5000.0
    assert world.history.replaced == {3: 5}
    assert world.violations() == {}


def test_amended_to_as_many_events_a_top_up_has_no_number_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    world = world_of(tmp_path, campaign(), Farm())
    world.run()
    top_up(world, 3, values={"events": 5000})
    world.run()
    amended(world, campaign(points=5, events=6000))
    world.run()
    assert [z_of(p) for p in world.history.points] == [6000.0] * 5
    assert [p.number for p in world.history.measured] == [1, 2, 4, 5]
    assert world.violations() == {}


# ---------------------------------------------------------------------- what is taken over
def ran_again(tmp_path: Path, body: Any, events: int = 2000) -> Counter[str]:
    """Jobs by step that a top-up from 2000 to 3000 events runs."""
    farm: Counter[tuple[int, str]] = Counter()

    def script(spec: JobSpec) -> JobReport:
        farm[number_of(spec), step_of(spec)] += 1
        return success(spec, {"a": 1, "n": 1, "z": 1.0})

    world = world_of(tmp_path, campaign(points=2, events=events, body=body), script)
    world.run()
    assert top_up(world, 1, values={"events": 3000}).startswith("top-up: p/1 gets")
    world.run()
    assert world.history.replaced == {1: 3}
    assert world.violations() == {}
    return Counter({step: n for (number, step), n in farm.items() if number == 3})


def test_a_step_before_that_asks_for_nothing_of_it_stands(tmp_path: Path) -> None:
    body = chain(cut("card", "x"), cut("generate", "a", split="1000 events"), cut("analyse", "n"))
    assert ran_again(tmp_path, body) == {"generate": 1, "analyse": 1}


def test_a_step_before_that_asks_for_the_number_of_events_runs_again_and_all_after_it(tmp_path: Path) -> None:
    body = chain(cut("card", "x", "events"), cut("generate", "a", split="1000 events"), cut("analyse", "n"))
    assert ran_again(tmp_path, body) == {"card": 1, "generate": 3, "analyse": 1}


def test_a_chunk_that_asks_how_many_there_are_runs_again(tmp_path: Path) -> None:
    body = chain(cut("generate", "x", "chunks", split="1000 events"), cut("analyse", "n"))
    assert ran_again(tmp_path, body) == {"generate": 3, "analyse": 1}


def test_a_step_that_sees_all_chunks_runs_again_and_what_is_cut_anew_after_it(tmp_path: Path) -> None:
    body = chain(
        cut("generate", "x", split="1000 events"),
        cut("calibrate", "n"),
        cut("weigh", "n", split="1000 events"),
        cut("analyse", "n"),
    )
    assert ran_again(tmp_path, body) == {"generate": 1, "calibrate": 1, "weigh": 3, "analyse": 1}


def test_variants_go_on_each_by_itself(tmp_path: Path) -> None:
    names = ("nominal", "up")
    body = chain(
        cut("generate", "x", split="1000 events", foreach=names),
        cut("merge", "n", merge=True),
        cut("analyse", "n"),
    )
    assert ran_again(tmp_path, body) == {"generate": 2, "merge": 2, "analyse": 1}


# ---------------------------------------------------------------------- replicates
def test_a_replicate_is_another_observation_of_the_same_place(tmp_path: Path) -> None:
    farm = Farm()
    world = world_of(tmp_path, campaign(), farm)
    world.run()
    assert top_up(world, 3, replicates=2).startswith("top-up: 2 replicates of p/3")
    world.run()
    new = world.history.points[4:]
    assert [p.adds for p in new] == [{"to": 3, "replicate": True}] * 2
    assert [p.parameters for p in new] == [world.history.points[2].parameters] * 2
    assert [p.number for p in world.history.measured] == [1, 2, 3, 4, 5, 6]
    assert farm.of(5)["generate"] == [0, 1, 2]
    assert len({farm.seeds[n, "generate", 0] for n in (3, 5, 6)}) == 3
    assert world.violations() == {}
    assert again(world) == ()


def test_a_replicate_of_a_topped_up_point_has_as_many_events(tmp_path: Path) -> None:
    farm = Farm()
    world = world_of(tmp_path, campaign(), farm)
    world.run()
    top_up(world, 3, values={"events": 5000})
    world.run()
    assert "1 replicate of p/5" in top_up(world, 3)
    world.run()
    assert farm.of(6)["generate"] == [0, 1, 2, 3, 4]
    assert z_of(world.history.points[5]) == 5000.0
    assert world.history.replaced == {3: 5}


def test_the_same_command_twice_does_what_it_does_once(tmp_path: Path) -> None:
    world = world_of(tmp_path, campaign(points=8), Farm())
    while len(world.history.measured) < 2:
        world.turn()
    assert ask(world, "top-up", point=1, replicates=2).startswith("top-up: 2 replicates")
    assert ask(world, "top-up", point=1, replicates=2).startswith("top-up: nothing to do")
    assert ask(world, "top-up", point=1, replicates=3).startswith("top-up: 1 replicate of p/1")
    assert ask(world, "top-up", point=2, values={"events": 4000}).startswith("top-up: p/2 gets")
    assert ask(world, "top-up", point=2, values={"events": "4000"}).startswith("top-up: nothing to do, p/2 gets")
    assert ask(world, "top-up", point=2, values={"events": 5000}).startswith("E-TOPUP-005")
    world.turn()
    assert len(world.history.pending) >= 4
    assert ask(world, "top-up", point=2, values={"events": 4000}).startswith("top-up: nothing to do, p/2 gets")
    world.run()
    assert sum(p.adds is not None for p in world.history.points) == 4
    assert world.violations() == {}


def test_a_plain_body_is_replicated_too(tmp_path: Path) -> None:
    world = world_of(tmp_path, toy(points=4), honest)
    world.run()
    assert top_up(world, 2).startswith("top-up: 1 replicate of p/2")
    world.run()
    assert world.history.points[4].observation == world.history.points[1].observation
    assert world.violations() == {}


def test_a_point_around_a_loop_is_replicated_with_a_loop_of_its_own(tmp_path: Path) -> None:
    world = world_of(tmp_path, nested(), answer_nested)
    while len(world.history.measured) < 2:
        world.turn()
    assert ask(world, "top-up", loop="outer", point=1).startswith("top-up: 1 replicate of p/1")
    assert world.run().state is LoopState.EXHAUSTED
    (again,) = [p for p in world.history.points if p.adds]
    inner = world.loops()[f"outer/it/{again.iteration}/p/{again.number}/inner"]
    assert inner.state is LoopState.EXHAUSTED
    assert again.observation is not None
    assert world.violations() == {}


def test_what_was_exported_with_its_replicates_is_known_when_it_is_imported(tmp_path: Path) -> None:
    world = world_of(tmp_path, toy(points=4), noisy)
    world.run()
    top_up(world, 2)
    world.run()
    seen = [world.history.points[n] for n in (1, 4)]
    values = [z_of(p) for p in seen]
    assert values[0] != values[1]
    rows = [{"parameters": dict(p.parameters), "values": {"z": z_of(p)}} for p in seen]
    for row in rows:
        assert ask(world, "import", loop="toy", rows=[row]).startswith("import: nothing to do")


def noisy(spec: JobSpec) -> JobReport:
    """The toy, with noise that depends on the seed."""
    return success(spec, {"events": 1.0} if step_of(spec) == "make" else {"z": float(spec.seed % 1009)})


@pytest.mark.parametrize(
    ("sabotage", "promise"),
    [
        ("UPDATE point SET adds = json_set(adds, '$.to', 4) WHERE number = 5 AND adds IS NOT NULL", "a top-up is at"),
        ("UPDATE point SET adds = (SELECT adds FROM point WHERE number = 5 AND adds IS NOT NULL), "
         "parameters = (SELECT parameters FROM point WHERE number = 3 LIMIT 1) "
         "WHERE number = 4 AND continued IS NOT NULL", "a point is replaced by"),
    ],
)  # fmt: skip
def test_a_record_that_was_tampered_with_is_found_out(tmp_path: Path, sabotage: str, promise: str) -> None:
    world = world_of(tmp_path, campaign(), Farm())
    world.run()
    top_up(world, 3, values={"events": 5000})
    world.run()
    with world.store.transaction() as connection:
        connection.exec_driver_sql(sabotage)
    assert any(name.startswith(promise) for name in world.violations())


# ---------------------------------------------------------------------- what cannot be
@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"point": 9}, "E-TOPUP-001"),
        ({"point": 0}, "E-TOPUP-001"),
        ({"point": 3, "values": {"x": 0.5}}, "E-TOPUP-004"),
        ({"point": 3, "values": {"evnts": 5000}}, "E-TOPUP-004"),
        ({"point": 3, "values": {"events": 1000}}, "E-TOPUP-004"),
        ({"point": 3, "values": {"events": "many"}}, "E-TOPUP-004"),
        ({"point": 3, "values": {"events": 10**12}}, "E-TOPUP-004"),
    ],
)
def test_what_cannot_be_added_is_refused_and_writes_nothing(tmp_path: Path, given: Any, code: str) -> None:
    world = world_of(tmp_path, campaign(), Farm())
    world.run()
    assert top_up(world, **given).startswith(code)
    assert len(world.store.workflows.all()) == 1
    assert world.store.queue.waiting(world.loop.id) == []


def test_only_what_was_measured_here_is_topped_up(tmp_path: Path) -> None:
    world = world_of(tmp_path, campaign(), Farm(lambda number, *_: number == 2))
    ask(world, "import", rows=[{"parameters": {"x": 0.5, "y": 0.5}, "values": {"z": 1.0}}])
    world.turn()
    assert ask(world, "top-up", point=3).startswith("E-TOPUP-002")
    world.run()
    assert ask(world, "top-up", point=2).startswith("E-TOPUP-002")
    assert "retry --point 2" in ask(world, "top-up", point=2)
    assert ask(world, "top-up", point=1).startswith("E-TOPUP-003")


def test_a_point_of_a_run_that_was_begun_anew_is_not_taken_for_another(tmp_path: Path) -> None:
    world = world_of(tmp_path, campaign(), Farm())
    world.run()
    world.store.workflows.add(world.definition, "bundle", 7, 2)
    assert ask(world, "top-up", point=3).startswith("E-TOPUP-006")


def test_nothing_enters_a_loop_that_is_about_to_end(tmp_path: Path) -> None:
    world = world_of(tmp_path, campaign(), Farm())
    while not world.store.steady.stopped(world.loop.id):
        world.transformer.start()
        world.transformer.step()
        if world.store.steady.stopped(world.loop.id):
            break
        world.carrier.step()
        world.conductor.step()
    assert world.loop.state is LoopState.ACTIVE
    assert ask(world, "top-up", point=3).startswith("E-POINT-009")
    assert world.loop.reason == "4 of 4 points"
    assert ask(world, "top-up", point=3).startswith("top-up: 1 replicate")


# ---------------------------------------------------------------------- crashes, and loops without a barrier
def test_a_crash_between_any_two_turns_changes_nothing(tmp_path: Path) -> None:
    def played(world: World, each: Callable[[World], None]) -> World:
        asked = 0
        for _ in range(400):
            world.turn()
            each(world)
            if asked == 0 and len(world.history.measured) >= 2:
                asked += ask(world, "top-up", point=1, values={"events": 5000}).startswith("top-up: p/1")
                ask(world, "top-up", point=2)
            if world.loop.state.isupper():
                break
        return world

    dead = lambda number, step, chunk: (number, step, chunk) == (1, "generate", 0)  # noqa: E731
    definition = campaign(points=8, accept=0.6, hold_after=9)
    plain = played(world_of(tmp_path / "plain", definition, Farm(dead), slots=3), lambda _: None)
    often = played(world_of(tmp_path / "often", definition, Farm(dead), slots=3), lambda w: w.restart())
    assert often.loop.state is plain.loop.state is LoopState.EXHAUSTED
    assert often.history.digest == plain.history.digest
    assert [p.adds for p in often.history.points] == [p.adds for p in plain.history.points]
    assert len(plain.history.replaced) == 1
    assert not often.violations()
    assert again(often) == ()


class Died(Exception):
    """The process has ended between two statements."""


def test_a_crash_at_any_statement_writes_all_of_a_top_up_or_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    insert = Database.insert
    left = [10**9]

    def dying(self: Database, table: Any, rows: Any, *more: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Died
        insert(self, table, rows, *more)

    monkeypatch.setattr(Database, "insert", dying)
    world = world_of(tmp_path, campaign(), Farm())
    world.run()
    top_up(world, 3, values={"events": 5000})
    world.conductor.step()
    for statements in range(20):
        world.transformer.start()
        left[0] = statements
        try:
            world.transformer.step()
        except Died:
            left[0] = 10**9
            world.restart()
            assert len(world.history.points) == 4
            assert world.violations() == {}
            continue
        break
    assert statements >= 4
    left[0] = 10**9
    assert world.run().state is LoopState.EXHAUSTED
    assert world.history.replaced == {3: 5}
    assert world.violations() == {}


def test_without_a_barrier_questions_are_asked_as_they_were(tmp_path: Path) -> None:
    farm = Farm()
    world = slow_world(tmp_path, campaign(points=12, batch=3, mode="steady"), Slow(farm))
    asked: list[str] = []

    def each(world: World) -> None:
        if not asked and len(world.history.measured) >= 3:
            asked.append(ask(world, "top-up", point=world.history.measured[0].number, values={"events": 5000}))
            asked.append(ask(world, "top-up", point=world.history.measured[1].number))
        if len(asked) == 2 and sum(p.adds is not None for p in world.history.pending) == 2:
            asked.append("")
            world.restart()

    play(world, each=each)
    assert all(answer.startswith("top-up:") for answer in asked[:2])
    assert len(asked) == 3
    assert len(world.history.points) == 12
    assert len(world.history.replaced) == 1
    (more,) = world.history.replaced.values()
    for row in world.store.iterations.all(world.loop.id):
        then = world.history.as_asked(row.number)
        known = [p.number for p in then.points if p.ingest_no is not None]
        assert (more in known) == bool(then.replaced)
    assert world.violations() == {}
    assert again(world) == ()


def test_a_map_learns_the_noise_of_replicates(tmp_path: Path) -> None:
    """Without a sigma two observations of one place say how large it is."""

    def script(spec: JobSpec) -> JobReport:
        given = arguments(spec)
        noise = (derive_seed(spec.seed) % 1000) / 1000 - 0.5
        return success(spec, {"z": (given["x"] - 0.5) ** 2 + (given["y"] - 0.5) ** 2 + 0.1 * noise})

    learner = LevelSet(("z",), level=0.1, transform="none")
    body = chain(function("measure", "x", "y"))
    definition = toy(16, 4, first=8, body=body, learner=learner, until=MaxPoints(16))
    world = world_of(tmp_path, definition, script)
    while len(world.history.measured) < 8:
        world.turn()
    for point in range(1, 5):
        assert ask(world, "top-up", point=point).startswith("top-up: 1 replicate")
    world.run()
    last = world.history.iterations[-1]
    nugget = last.state["gp"]["z"]["theta"][-1]
    assert nugget > -6.0
    assert last.diagnostics["n_measured"] == 16
    assert {p.state for p in world.history.points} == {PointState.MEASURED}
    assert world.violations() == {}
    assert again(world) == ()
