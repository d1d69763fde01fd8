"""Why a point is where it is, whoever chose it, and what the learner's answers took."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from idds_agents.learner_child import answer as child_answer
from idds_agents.report.choice import choice, choice_text
from idds_agents.revising import Draft, extend
from idds_core.history import Observation
from idds_core.store.queue import Asked
from idds_core.testing.fakes import ScriptedProvider
from idds_learners import LevelSet
from tests.agents.cli_kit import Cli
from tests.agents.test_replay import again
from tests.world import World, honest, toy


def world_of(folder: Path, provider: Any = honest, points: int = 12, **changes: Any) -> World:
    learner = LevelSet("z", level=0.3, transform="none", first=4)
    return World(folder, ScriptedProvider(provider), toy(points, learner=learner, **changes))


def why(world: World, number: int) -> dict[str, Any]:
    point = world.history.points[number - 1]
    return choice(world.store, world.loop.id, number, point.iteration)


def test_each_point_says_why_it_was_chosen(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.run()
    assert {why(world, n)["why"] for n in range(1, 5)} == {"first design"}
    later = [why(world, n) for n in range(5, 13)]
    assert {c["why"] for c in later} == {"refine", "explore"}
    refined = next(c for c in later if c["why"] == "refine")
    assert set(refined["expected"]["z"]) == {"mean", "sd", "p_excluded"}
    assert refined["text"].startswith("it was chosen to refine the contour: 1st of ")
    assert "% of the space out of doubt; the map had z = " in refined["text"]


def test_points_that_people_brought_say_so(tmp_path: Path) -> None:
    world = world_of(tmp_path, points=16)
    world.store.queue.bring(world.loop.id, [({"x": 0.1, "y": 0.1}, Observation({"z": 0.01}))], 1, "from 2019")
    world.turn()
    world.store.queue.add(world.loop.id, [Asked({"x": 0.5, "y": 0.25})], "asked for by hand")
    world.run()
    brought = next(p for p in world.history.points if p.parameters == {"x": 0.5, "y": 0.25})
    assert why(world, 1)["text"] == "it was imported: measured elsewhere, and chosen by nobody here"
    assert why(world, brought.number)["text"] == "a person added it: asked for by hand"
    assert why(world, 2)["why"] == "first design"


def test_nobody_says_why_is_said_too() -> None:
    assert choice_text({}) == "its learner does not say why it chose it"
    assert choice_text({"why": "a hunch", "score": 2.5}) == "a hunch: score 2.5"
    odd: dict[str, Any] = {"why": "refine", "rank": "x", "score": None, "expected": {"z": 3, "y": {"mean": "n"}}}
    assert choice_text(odd) == "it was chosen to refine the contour"


def test_an_engine_that_dies_after_the_answer_says_the_same_why_afterwards(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "torn").mkdir()
    whole, torn = world_of(tmp_path / "whole"), world_of(tmp_path / "torn")
    whole.run()
    for _ in range(200):
        torn.turn()
        torn.restart()
        if torn.loop.state == "EXHAUSTED":
            break
    assert torn.store.iterations.chosen(torn.loop.id) == whole.store.iterations.chosen(whole.loop.id)
    assert len(torn.store.iterations.chosen(torn.loop.id)) == 12


def test_what_an_answer_took_is_on_record_and_replay_does_not_look_at_it(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    ticks = iter(range(10_000))
    world.thinker.answer = lambda request: child_answer(request, lambda: float(next(ticks)) ** 2)
    world.run()
    rows = world.store.iterations.all(world.loop.id)
    assert all(row.took["ask"] > row.took["fit"] > 0 for row in rows)
    assert len({row.took["ask"] for row in rows}) == len(rows)  # no two are alike, and no answer depends on them
    assert set(rows[0].took) == {"ask", "fit", "first_ask"}  # the first answer is about no iteration before
    assert set(rows[1].took) == {"ask", "fit"}
    assert again(world).differences == ()
    assert "took" not in str(world.history.to_json())


def test_a_revision_keeps_why_and_how_long(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.run()
    before = [why(world, n) for n in range(1, 13)]
    took = [row.took for row in world.store.iterations.all(world.loop.id)]
    more = toy(16, learner=LevelSet("z", level=0.3, transform="none", first=4))
    newest = world.store.workflows.by_id(world.workflow.id)
    new = extend(world.store, Draft(newest, more, "bundle", world.folder / "bundles"), "user ann")
    (loop,) = world.store.workflows.loops(new.id)
    points = world.store.iterations.points(loop.id)
    assert [choice(world.store, loop.id, p.number, p.iteration) for p in points] == before
    rows = world.store.iterations.all(loop.id)
    assert [row.took for row in rows[:-1]] == took[:-1]
    assert rows[-1].took == {}  # it is asked about again


def test_a_learner_that_says_why_of_another_number_of_points_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = LevelSet.ask
    monkeypatch.setattr(LevelSet, "ask", lambda self, history, n: dataclasses.replace(
        asked(self, history, n), chosen=({"why": "refine"},)))  # fmt: skip
    world = world_of(tmp_path)
    with pytest.raises(ValueError, match="it says of 1 points why they were chosen, and proposes 4"):
        world.run()


# ---------------------------------------------------------------------- the command line
def test_why_and_show_say_it_for_people_and_for_scripts(cli: Cli, finished: Path) -> None:
    path = cli("ls", "plane/it/3", "--workdir", finished, "--json").json[0]["path"]
    done = cli("why", path, "--workdir", finished, "--json").json
    assert done["chosen"]["why"] in ("refine", "explore")
    assert set(done["chosen"]) <= {"why", "rank", "of", "score", "expected", "text"}
    assert set(done["chosen"]["expected"]) == {"obs", "exp"}
    assert f"  {done['chosen']['text']}\n" in cli("why", path, "--workdir", finished).out
    shown = cli("show", path, "--workdir", finished, "--json").json
    assert shown["chosen"] == done["chosen"]
    assert done["chosen"]["text"] in cli("show", path, "--workdir", finished).out
    assert cli("why", "plane", "--workdir", finished, "--json").json["chosen"] is None
    listed = cli("show", "plane/it/3", "--workdir", finished, "--json").json["points"]
    assert listed[0]["chosen"] == done["chosen"]
    assert "  refine" in cli("show", "plane/it/3", "--workdir", finished).out


def test_show_tells_how_good_the_map_is_how_much_is_excluded_and_what_answers_took(cli: Cli, finished: Path) -> None:
    shown = cli("show", "plane", "--workdir", finished, "--json").json
    assert set(shown["excluded"]) == {"obs", "exp"}
    for found in shown["excluded"].values():
        low, high = found["range"]
        assert 0 <= low <= found["share"] <= high <= 1
    assert set(shown["verdicts"][-1]["took"]) == {"ask", "fit"}
    out = cli("show", "plane", "--workdir", finished).out
    assert "target  excluded [%]" in out
    assert "largest unexplored ball: radius 0." in out
    assert "the learner took: ask " in out
    assert "at bounds" in cli("show", "plane/it/2", "--workdir", finished).out
