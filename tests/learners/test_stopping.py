"""When the search for an optimum stops."""

from typing import Any

import pytest

from idds_core.history import History, IterationRecord, Observation, Point
from idds_core.ports import Gauge
from idds_core.space import Real, Space
from idds_core.states import PointState, VerdictKind
from idds_core.testing.toys import play
from idds_core.yaml.conditions import parse_condition, write_condition
from idds_learners import ExpectedImprovementBelow, MaxPoints, NoImprovement, Optimum, RegretBelow

K = VerdictKind
SPACE = Space(x=Real(0, 1))


def history(*values: Any, told: Any = (), targets: tuple[str, ...] = ("f",)) -> History:
    rows = [v if isinstance(v, tuple) else (v,) for v in values]
    points = tuple(
        Point(i, 1, {"x": i / 1000}, PointState.MEASURED, Observation(dict(zip(targets, row, strict=True))))
        for i, row in enumerate(rows, 1)
    )
    return History(SPACE, 0, targets, points, tuple(IterationRecord(i, {}, d) for i, d in enumerate(told, 1)))


# ---------------------------------------------------------------------- no improvement
def test_the_search_stops_when_so_many_points_have_brought_nothing() -> None:
    until = NoImprovement(3)
    assert until.check(history()).reason == "nothing was measured yet"
    assert until.check(history(3.0, 2.0, 2.0, 2.5)).kind is K.GO_ON
    verdict = until.check(history(3.0, 2.0, 2.0, 2.5, 9.0))
    assert verdict.kind is K.CONVERGED
    assert verdict.reason == "no improvement above 0 in the last 3 points"


def test_a_success_below_the_tolerance_is_none() -> None:
    assert NoImprovement(2, tolerance=0.5).check(history(3.0, 2.8, 2.6)).kind is K.CONVERGED
    assert NoImprovement(2, tolerance=0.5).check(history(3.0, 2.8, 2.4)).kind is K.GO_ON


def test_which_way_is_better_says_the_learner_or_the_condition() -> None:
    rising = history(1.0, 2.0, 3.0)
    assert NoImprovement(2).check(rising).kind is K.CONVERGED
    assert NoImprovement(2, direction="max").check(rising).kind is K.GO_ON
    told = [{"objectives": {"f": {"direction": "max"}}}]
    assert NoImprovement(2).check(history(1.0, 2.0, 3.0, told=told)).kind is K.GO_ON


def test_of_several_objectives_the_hypervolume_counts() -> None:
    told = [{"objectives": {"a": {"direction": "min"}, "b": {"direction": "min"}}}]
    both = ("a", "b")
    assert NoImprovement(2).check(history((3.0, 3.0), (1.0, 4.0), (2.0, 2.0), told=told, targets=both)).kind is K.GO_ON
    worse = history((1.0, 1.0), (2.0, 2.0), (3.0, 3.0), told=told, targets=both)
    assert NoImprovement(2).check(worse).kind is K.CONVERGED


# ---------------------------------------------------------------------- what the learner says
@pytest.mark.parametrize(("condition", "name"), [(ExpectedImprovementBelow, "expected_improvement"),
                                                 (RegretBelow, "regret_bound")])  # fmt: skip
def test_a_diagnostic_must_be_low_twice_in_a_row(condition: Any, name: str) -> None:
    def check(*values: float) -> Any:
        return condition(0.1).check(history(told=[{name: v} for v in values]))

    assert (
        condition(0.1).check(history(told=[{}])).reason
        == f"the learner says nothing of its {name.replace('_', ' ')} yet"
    )
    assert check(0.05).kind is K.GO_ON
    assert check(0.05, 0.2).kind is K.GO_ON
    verdict = check(0.5, 0.05, 0.1)
    assert verdict.kind is K.CONVERGED
    assert "at or below 0.1 on 2 iterations in a row" in verdict.reason


def test_a_search_ends_by_itself_near_the_optimum() -> None:
    until = RegretBelow(0.01) | MaxPoints(200)
    for seen in play(Optimum(), SPACE, lambda _, p: Observation({"f": (p["x"] - 0.3) ** 2}), batches=(4,) * 20):
        if until.check(seen).stop:
            break
    assert until.check(seen).kind is K.CONVERGED
    assert seen.values("f").min() < 0.01


def test_goals_and_budgets_are_told_with_where_they_stand() -> None:
    until = NoImprovement(5) | ExpectedImprovementBelow(0.1) | RegretBelow(0.2) | MaxPoints(9)
    seen = history(1.0, 2.0, told=[{"expected_improvement": 0.5}])
    assert until.gauges(seen) == [
        Gauge("points without improvement", 1.0, 5.0),
        Gauge("expected_improvement", 0.5, 0.1, goal=True),
        Gauge("points", 2.0, 9.0),
    ]


def test_they_are_written_and_read_as_text() -> None:
    text = (
        "NoImprovement(30, 0.001) | ExpectedImprovementBelow(0.01) | RegretBelow(0.05, consecutive=3) | MaxPoints(99)"
    )
    spec = parse_condition(text, {})
    assert [c["type"] for c in spec["conditions"]] == ["no_improvement", "expected_improvement_below", "regret_below",
                                                       "max_points"]  # fmt: skip
    assert parse_condition(str(write_condition(spec)), {}) == parse_condition(text.replace("consecutive=", ""), {})


def test_fields_that_cannot_work_are_named() -> None:
    assert NoImprovement(0, -1.0, direction="up").problems() == [
        "points=0 is not a number from 1 on", "tolerance=-1.0 is not a number from 0 on",
        "direction='up' is neither min nor max"]  # fmt: skip
    assert RegretBelow(float("nan"), 0).problems() == [
        "bound=nan is not a number from 0 on", "consecutive=0 is not a number from 1 on"]  # fmt: skip
    assert not (NoImprovement(3) | RegretBelow(0.1)).bounded()
