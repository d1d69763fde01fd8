"""Replay tells a record that was changed, in each kind of loop, and another version of what answers."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from idds_agents.catalog import Catalog
from idds_agents.replay import Difference, Replay, replay
from idds_core.ports import JobReport, JobSpec
from idds_core.testing.fakes import ScriptedProvider, arguments, success
from idds_learners import LevelSet, MaxPoints
from tests.agents.cli_kit import Cli
from tests.agents.test_steady import Slow, disc, play, world_of
from tests.agents.test_steady import contour as of_contour
from tests.agents.workflow_kit import answer_nested, nested, world
from tests.world import World, honest, toy


def again(made: World, loop: str = "") -> Replay:
    record = made.loops()[loop] if loop else made.loop
    plan = Catalog(made.store, made.folder).plan(record.id)
    return replay(made.store, plan, record.id, made.thinker)


def first(made: World, sabotage: str, loop: str = "") -> Difference:
    """The first difference after somebody was at the database; before, there is none."""
    assert again(made, loop).differences == ()
    with contextlib.closing(sqlite3.connect(made.store.path, isolation_level=None)) as raw:
        raw.execute(sabotage)
    return again(made, loop).differences[0]


STEADY = {
    "a proposal": (
        "UPDATE point SET parameters = json_set(parameters, '$.x', 0.125) WHERE number = 9",
        "proposal",
        "point 9, x: 0.125 on record, ",
    ),
    "a verdict": (
        "UPDATE iteration SET verdict = 'converged' WHERE number = 2",
        "verdict",
        "kind: converged on record, go on replayed",
    ),
    "what was known": (
        "UPDATE point SET observation = json_set(observation, '$.values.z', 0.4) WHERE ingest_no = 2",
        "",
        " on record, ",
    ),
}


@pytest.mark.parametrize("what", STEADY)
def test_in_steady_mode_what_was_changed_is_told(tmp_path: Path, what: str) -> None:
    sabotage, kind, words = STEADY[what]
    made = play(world_of(tmp_path, of_contour(first=5, until=MaxPoints(15)), Slow(disc)))
    found = first(made, sabotage)
    assert kind in found.what
    assert words in found.text


def test_a_loop_inside_a_point_is_replayed_by_itself(tmp_path: Path) -> None:
    made = world(tmp_path / "nested", nested(), answer_nested)
    made.run()
    inner = "outer/it/1/p/2/inner"
    point = f"(SELECT min(id) FROM point WHERE loop_id = {made.loops()[inner].id})"
    found = first(made, f"UPDATE point SET parameters = json_set(parameters, '$.x', 0.5) WHERE id = {point}", inner)
    assert (found.iteration, found.what) == (1, "proposal")
    assert found.text.startswith("point 1, x: 0.5 on record, ")
    assert again(made, "outer").differences == ()
    assert again(made, "outer/it/1/p/1/inner").differences == ()


def _both(spec: JobSpec) -> JobReport:
    given = arguments(spec)
    if "x" in given:
        return honest(spec)
    return success(spec, {"z": given["events"], "hidden": 0.4321 + given["events"]})


def test_sealed_targets_are_no_part_of_a_question_or_of_what_differs(tmp_path: Path) -> None:
    (tmp_path / ".idds").mkdir()
    definition = toy(targets=("z", "hidden"), blind=("hidden",), learner=LevelSet(["z", "hidden"], level=0.3))
    made = World(tmp_path, ScriptedProvider(_both), definition)
    made.run()
    sealed = "json_set(observation, '$.sealed', 'nobody looks here')"
    with contextlib.closing(sqlite3.connect(made.store.path, isolation_level=None)) as raw:
        raw.execute(f"UPDATE point SET observation = {sealed} WHERE number = 2")
    found = first(made, "UPDATE point SET observation = json_set(observation, '$.values.z', 0.9) WHERE number = 2")
    assert "0.4321" not in found.text
    assert "hidden" not in found.text


def test_another_version_of_what_answers_is_told_and_is_no_difference(tmp_path: Path) -> None:
    made = world_of(tmp_path, of_contour(first=5, until=MaxPoints(15)), Slow(disc))
    real = made.thinker.answer

    def older(request: Mapping[str, Any]) -> Mapping[str, Any]:
        found = dict(real(request))
        return {**found, "versions": {**found["versions"], "numpy": "1.0.0"}}

    made.thinker.answer = older
    play(made)
    assert made.store.iterations.last(made.loop.id).versions["numpy"] == "1.0.0"  # type: ignore[union-attr]
    assert again(made).versions == {}
    made.thinker.answer = real
    found = again(made)
    assert (found.differences, found.versions) == ((), {"numpy": ("1.0.0",)})


def test_replay_names_the_versions_and_a_tampered_verdict(cli: Cli, finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "plane-run"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("*.sock"))
    with contextlib.closing(sqlite3.connect(copy / "idds.db", isolation_level=None)) as raw:
        raw.execute("UPDATE iteration SET versions = json_set(versions, '$.scipy', '0.1')")
        raw.execute("UPDATE iteration SET verdict = 'converged' WHERE number = 1")
    done = cli("replay", "--workdir", copy)
    assert done.code == 3
    assert "plane/plane/it/1: verdict differs: kind: converged on record, go on replayed" in done.out
    assert "answers on record are by scipy 0.1, those of now by another version" in done.out
    assert json.loads(cli("replay", "--workdir", copy, "--json").out)["versions"] == {"scipy": ["0.1"]}
    checked = cli("verify", "--replay", "--workdir", copy)
    assert checked.code == 3
    assert "every proposal and verdict is given again by its learner" in checked.out
    assert "plane/plane/it/1: verdict: kind: converged on record, go on replayed" in checked.out
