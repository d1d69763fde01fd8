"""Why each point was chosen, as learners tell it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from idds_core.history import History
from idds_core.space import Real, Space
from idds_core.stopwatch import listening, part
from idds_core.testing.toys import CIRCLE
from idds_learners import LevelSet, Sobol
from tests.learners.test_level_set import circle


def asked(n: int = 10) -> tuple[History, Any]:
    history = circle(batches=(10, 8))[-1]
    return history, LevelSet("f", level=CIRCLE.level, transform="none").ask(history, n)


def test_before_there_is_a_map_all_points_are_of_the_first_design() -> None:
    answer = LevelSet("f").ask(History(Space(x=Real(0, 1), y=Real(0, 1)), targets=("f",)), 3)
    assert [c["rank"] for c in answer.chosen] == [1, 2, 3]
    assert {(c["why"], c["of"]) for c in answer.chosen} == {("first design", 3)}
    assert not any("expected" in c or "score" in c for c in answer.chosen)


def test_a_batch_says_which_points_refine_and_which_explore_and_ranks_them() -> None:
    history, answer = asked()
    count = Counter(c["why"] for c in answer.chosen)
    assert count == {"refine": 5, "explore": 5}
    refine = [c for c in answer.chosen if c["why"] == "refine"]
    assert [c["rank"] for c in refine] == list(range(1, 6))
    assert refine[0]["score"] == max(c["score"] for c in refine)
    assert min(c["score"] for c in refine) > 0
    assert sum(c["score"] for c in refine) < answer.diagnostics["emv"]  # each what it takes beside those before
    assert all(c["of"] == count[c["why"]] for c in answer.chosen)
    assert json.loads(json.dumps(answer.chosen, allow_nan=False)) == list(answer.chosen)
    explored = next(i for i, c in enumerate(answer.chosen) if c["why"] == "explore")
    unit = history.space.to_unit([*(p.parameters for p in history.points), *answer.points[: explored + 1]])
    near = np.sqrt(((unit[:-1] - unit[-1]) ** 2).sum(axis=1)).min()
    assert answer.chosen[explored]["score"] == pytest.approx(near, rel=1e-5)


def test_the_score_of_the_first_pick_is_about_what_it_takes_from_the_expected_error() -> None:
    history, answer = asked(1)
    assert 0 < answer.chosen[0]["score"] < answer.diagnostics["emv"]
    assert history.points


def test_what_the_map_had_at_a_point_is_told_in_natural_units() -> None:
    history, answer = asked()
    maps = LevelSet("f", level=CIRCLE.level, transform="none").surrogate(history)
    assert maps is not None
    there = maps.predict(answer.points)["f"]
    for i, told in enumerate(answer.chosen):
        assert told["expected"]["f"]["mean"] == pytest.approx(there.mean[i], rel=1e-5)
        assert told["expected"]["f"]["sd"] == pytest.approx(there.sd[i], rel=1e-5)
        assert told["expected"]["f"]["p_excluded"] == pytest.approx(there.p_excluded[i], rel=1e-5)


def test_a_sequence_says_that_it_is_one() -> None:
    answer = Sobol().ask(History(Space(x=Real(0, 1))), 2)
    assert [(c["why"], c["rank"], c["of"]) for c in answer.chosen] == [("sequence", 1, 2), ("sequence", 2, 2)]


def test_the_share_that_is_excluded_lies_within_its_range() -> None:
    told = asked()[1].diagnostics["targets"]["f"]
    low, high = told["excluded_range"]
    assert 0 < low <= told["excluded_volume"] <= high < 1
    assert told["excluded_volume"] == pytest.approx(told["excluded_share"], abs=0.05)


def test_the_time_of_a_fit_is_heard_and_no_part_of_the_answer() -> None:
    history, quiet = asked()
    ticks = iter(range(1000))
    with listening(lambda: float(next(ticks))) as took, part("ask"):
        loud = LevelSet("f", level=CIRCLE.level, transform="none").ask(history, 10)
    assert took == {"fit": 1.0, "ask": 3.0}
    assert loud == quiet
