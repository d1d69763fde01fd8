"""The benchmark scripts measure what they say."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.fidelity import told
from benchmarks.held_out import HELD_OUT
from benchmarks.levelset import summary
from benchmarks.problems import PROBLEMS
from benchmarks.proxy import Reading, quick
from benchmarks.runs import Run, batches, first_of_two, learn, level_set
from benchmarks.stopping import Outcome, run
from benchmarks.stopping import summary as stops

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_counts_only_when_it_stays_below_the_tolerance_for_two_records() -> None:
    assert first_of_two([(10, 0.005), (11, 0.02), (12, 0.009), (13, 0.01)], 0.01) == 12
    assert math.isinf(first_of_two([(10, 0.005), (11, 0.02), (12, 0.009)], 0.01))


def test_batches_use_up_the_budget() -> None:
    assert batches(10, 8, 30) == (10, 8, 8, 4)
    assert batches(12, 1, 12) == (12,)


def test_failures_are_part_of_the_medians() -> None:
    never, soon = Run([(10, 0.5), (11, 0.5)]), Run([(10, 0.002), (11, 0.002)])
    found = summary([soon, never, never])
    assert found["n_1pct"] is None
    assert found["reached"] == [1, 1]
    assert summary([soon, soon, never])["n_1pct"] == 10


def test_the_script_says_what_was_asked_of_it_in_json() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.levelset",
        "--problem",
        "monoH3proxy",
        "--method",
        "ours",
        "--seeds",
        "1",
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: Any = json.loads(done.stdout)
    ours = found["problems"]["monoH3proxy"]["ours"]
    assert {"n_1pct", "n_03pct", "quartiles", "reached"} <= set(ours)
    assert ours["n_1pct"] <= 32
    assert "peers" in found


@pytest.mark.parametrize("shape", HELD_OUT, ids=lambda s: s.name)
def test_every_held_out_problem_has_a_contour(shape: Any) -> None:
    f = shape.f(np.random.default_rng(0).random((2000, shape.dimension)))
    assert np.isfinite(f).all()
    assert 0.05 < np.mean(f < 0) < 0.95


def test_held_out_problems_are_others_than_those_the_learner_was_tuned_on() -> None:
    assert len({s.name for s in HELD_OUT}) == len(HELD_OUT) >= 20
    assert not {s.name for s in HELD_OUT} & set(PROBLEMS)


def test_an_early_stop_is_counted_with_its_interval() -> None:
    good = Outcome("a", 0, 40, 0.004, 0.95, 26)
    early, never = Outcome("a", 1, 20, 0.02, 0.8, 60), Outcome("a", 2, None, None, None, 30)
    found = stops([good] * 18 + [early, never], 0.01)
    assert (found["early"], found["concluded"], found["in_time"]) == (1, 19, 19)
    assert found["early_interval"][0] < 0.05 < found["early_interval"][1]


def test_a_loop_on_an_easy_slope_concludes_and_is_right() -> None:
    slope = next(s for s in HELD_OUT if s.name == "slope")
    found = run(slope, 0, 0.01)
    assert found.concluded is not None
    assert found.error is not None
    assert found.error <= 0.01


def test_core_hours_are_those_from_which_on_the_median_stays_below_the_tolerance() -> None:
    bad, good = np.full(20, 0.02), np.full(20, 0.02)
    good[5:] = 0.005  # from 1.2 core hours on
    good[8] = 0.02
    found = told(np.array([good, good, bad]), 4.0)
    assert found["core_hours"] == pytest.approx(2.0)
    assert found["median_at"] == {"2": 0.5, "4": 0.5}
    assert found["share_below_at_end"] == pytest.approx(2 / 3)
    assert math.isinf(told(np.array([good, bad, bad]), 4.0)["core_hours"])


def test_a_quick_loop_is_shown_to_a_learner_as_the_engine_does_it() -> None:
    problem = dataclasses.replace(PROBLEMS["monoH3"], budget=24)
    asks = Reading(dataclasses.replace(level_set(problem), trend="quick.f"), {"quick": quick(1000, 96, 0.0)})
    run, points = learn(problem, asks, 1000)
    assert len(points) == 24
    assert run.records[-1][1] < 0.03
