"""A loop whose learner chooses how many events there are at each point, run by the agents."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from idds_agents.report.choice import choice_text
from idds_core.definition import Definition, validate
from idds_core.model import Loop, chain
from idds_core.ports import JobReport, JobSpec
from idds_core.space import Ordered, Real, Space
from idds_core.states import LoopState
from idds_core.testing.fakes import arguments, success
from idds_learners import Events, LevelSet, MaxPoints
from tests.agents.workflow_kit import altered, step_of, whole, world
from tests.world import function


def definition(points: int = 22) -> Definition:
    """Chunks of 1000 events, then a limit whose error falls with their number."""
    space = Space(x=Real(0, 1), y=Real(0, 1), events=Ordered((1000, 4000, 9000)))
    learner = LevelSet("z", level=0.8, transform="none", first=6, events=Events("events", cost="1 + 0.001 * events"))
    simulate = altered(function("simulate", "x", "y", "events"), split="1000 events")
    body = chain(simulate, function("fit", "x", "y", "n"))
    return validate(Loop("toy", space, body, learner, MaxPoints(points), batch=8, first=6))


def answer(spec: JobSpec) -> JobReport:
    given = arguments(spec)
    if step_of(spec) == "simulate":
        return success(spec, {"n": given["events"]})
    sigma = 10.0 / math.sqrt(sum(given["n"]))
    noise = float(np.random.default_rng(spec.seed).normal())
    return success(spec, {"z": given["x"] + given["y"] ** 2 + sigma * noise, "z_sigma": sigma})


def test_each_point_is_cut_into_chunks_of_its_own_number_of_events_and_replays(tmp_path: Path) -> None:
    w = world(tmp_path, definition(), answer)
    assert w.run().state is LoopState.EXHAUSTED
    whole(w)
    points = w.history.points
    assert {p.parameters["events"] for p in points} > {4000}
    jobs = [j for j in w.store.jobs.all(w.loop.id) if j.step == "simulate"]
    assert len(jobs) == sum(p.parameters["events"] // 1000 for p in points)
    told = w.store.iterations.chosen(w.loop.id)
    refined = next(p for p in points if told[p.number]["why"] == "refine")
    text = f"{refined.parameters['events']} events take "
    assert text in choice_text(told[refined.number])


def test_a_crash_between_any_two_turns_changes_no_number_of_events(tmp_path: Path) -> None:
    plain, often = (world(tmp_path / name, definition(14), answer) for name in ("plain", "often"))
    plain.run()
    for _ in range(200):
        often.turn()
        if often.loop.state.isupper():
            break
        often.restart()
    assert often.history.digest == plain.history.digest
    whole(often)
