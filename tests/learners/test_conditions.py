"""When a loop stops."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds_core.history import History, IterationRecord, Observation, Point
from idds_core.plugins import CONDITIONS, build, describe
from idds_core.ports import Condition, Verdict
from idds_core.space import Real, Space
from idds_core.states import PointState, VerdictKind
from idds_core.testing.toys import CIRCLE, play
from idds_learners import BoundaryConverged, CoreHours, LevelSet, MaxIterations, MaxPoints, Sobol, Wall
from idds_learners.conditions import All, Any_, Combinable, Not
from tests.learners.common import quick

K = VerdictKind
SPACE = Space(x=Real(0, 1))


def history(*emvs: Any, residuals: Any = 4, points: Any = 0, state: Any = PointState.MEASURED, **extra: Any) -> Any:
    """Iterations with these emvs and so many residuals each, and points."""
    rows = tuple(
        IterationRecord(
            i, {}, {"emv": e, "kappa": 1.0, "residuals": {"f": [0.5] * residuals}} | extra, 100.0 * i, 2.0 * i
        )
        for i, e in enumerate(emvs, 1)
    )
    seen = Observation({"f": 1.0}) if state is PointState.MEASURED else None
    return History(
        SPACE, 0, ("f",), tuple(Point(i, 1, {"x": i / 1000}, state, seen) for i in range(1, points + 1)), rows
    )


@dataclasses.dataclass(frozen=True)
class Says(Combinable):
    """A condition with a fixed answer."""

    kind: VerdictKind
    bound: bool = False
    left: int | None = None

    def check(self, history: Any) -> Any:
        return Verdict(self.kind, str(self.kind))

    def remaining(self, history: Any) -> Any:
        return self.left

    def bounded(self) -> Any:
        return self.bound


# ---------------------------------------------------------------------- convergence
def test_two_iterations_at_half_the_tolerance_with_eight_residuals_are_convergence() -> None:
    verdict = BoundaryConverged(0.01).check(history(0.02, 0.005, 0.004))
    assert verdict.kind is K.CONVERGED
    assert "0.400%" in verdict.reason
    assert "0.500%" in verdict.reason


def test_each_of_several_contours_may_have_a_tolerance_of_its_own() -> None:
    def told(obs: float, exp: float) -> Any:
        return history(0.02, 0.02, 0.02, targets={"obs": {"emv": obs}, "exp": {"emv": exp}})

    until = BoundaryConverged({"obs": 0.01, "exp": 0.05})
    assert until.check(told(0.004, 0.02)).kind is K.CONVERGED  # half of 0.05 is 0.025
    assert until.check(told(0.004, 0.03)).kind is K.GO_ON
    assert until.check(told(0.006, 0.001)).kind is K.GO_ON
    assert BoundaryConverged({"exp": 0.05}).check(told(0.03, 0.02)).kind is K.GO_ON  # obs has the tightest
    assert BoundaryConverged(0.05).check(told(0.004, 0.02)).kind is K.CONVERGED
    assert build(json.loads(json.dumps(describe(until, CONDITIONS))), CONDITIONS) == until
    (gauge,) = until.gauges(told(0.004, 0.02))
    assert (gauge.value, gauge.limit) == (0.004, 0.005)
    assert BoundaryConverged({"obs": -1}).problems() == ["tol of obs=-1 is not above 0"]


@pytest.mark.parametrize(
    ("past", "why"),
    [
        (history(0.02, 0.006, 0.004), "1 of 2 iterations"),
        (history(0.004, 0.004, 0.006), "0 of 2 iterations"),
        (history(0.004), "4 of 8 residuals"),
        (history(0.004, 0.004, residuals=3), "6 of 8 residuals"),
        (history(0.004, 0.004, residuals=0), "0 of 8 residuals"),
        (history(), "no map yet"),
        (history(0.001, 0.001, 0.001, at_bounds=["f.x:low"]), "unreliable"),
    ],
)
def test_why_not_yet_is_said(past: History, why: str) -> None:
    verdict = BoundaryConverged(0.01).check(past)
    assert verdict.kind is K.GO_ON
    assert why in verdict.reason


def test_a_variance_at_its_bound_does_not_spoil_the_map() -> None:
    assert BoundaryConverged().check(history(0.001, 0.001, 0.001, at_bounds=["f.variance:low", "f.nugget:high"])).stop


def steady(*records: tuple[int, float]) -> Any:
    """Records of (ingested up to, emv), with residuals enough."""
    past = history(*(emv for _, emv in records), residuals=8)
    rows = tuple(
        dataclasses.replace(r, ingested_upto=upto) for r, (upto, _) in zip(past.iterations, records, strict=True)
    )
    return dataclasses.replace(past, iterations=rows)


@pytest.mark.parametrize(
    ("past", "kind"),
    [
        (steady((20, 0.004), (21, 0.004)), K.GO_ON),  # two looks at almost the same points
        (steady((13, 0.02), *((n, 0.004) for n in range(14, 22))), K.GO_ON),
        (steady((12, 0.02), (13, 0.004), *((n, 0.004) for n in range(14, 22))), K.CONVERGED),
        (steady((13, 0.004), (17, 0.006), (21, 0.004)), K.GO_ON),
        (steady((13, 0.004), (21, 0.004)), K.CONVERGED),
        (steady((12, 0.004), (14, 0.004), (21, 0.004)), K.CONVERGED),
    ],
)
def test_in_steady_mode_the_looks_span_as_many_points_as_residuals_are_needed(past: History, kind: VerdictKind) -> None:
    assert BoundaryConverged(0.01).check(past).kind is kind


def test_the_target_with_the_fewest_residuals_counts() -> None:
    past = history(0.001, 0.001, 0.001)
    rows = tuple(dataclasses.replace(r, diagnostics=dict(r.diagnostics) | {"residuals": {"f": [0.1] * 8, "g": [0.1]}})
                 for r in past.iterations)  # fmt: skip
    assert "3 of 8" in BoundaryConverged().check(dataclasses.replace(past, iterations=rows)).reason


def test_a_wider_window_that_remembers_surprises_raises_the_expected_error() -> None:
    rows = [IterationRecord(1, {}, {"emv": 0.1, "kappa": 3.0, "residuals": {"f": [3.0] * 24}})]
    rows += [IterationRecord(i, {}, {"emv": 0.004, "kappa": 1.0, "residuals": {"f": [0.1] * 12}}) for i in (2, 3, 4)]
    past = History(SPACE, 0, ("f",), (), tuple(rows))
    assert BoundaryConverged().check(past).stop
    assert not BoundaryConverged(window=60).check(past).stop


def test_forty_infeasible_points_and_none_measured_are_nothing_feasible() -> None:
    assert BoundaryConverged().check(history(points=40, state=PointState.INFEASIBLE)).kind is K.NOTHING_FEASIBLE
    assert BoundaryConverged().check(history(points=39, state=PointState.INFEASIBLE)).kind is K.GO_ON
    assert BoundaryConverged().check(history(points=60, state=PointState.FAILED)).kind is K.GO_ON
    mixed = history(points=60, state=PointState.INFEASIBLE)
    one = Point(61, 1, {"x": 0.9}, PointState.MEASURED, Observation({"f": 1.0}))
    assert BoundaryConverged().check(dataclasses.replace(mixed, points=(*mixed.points, one))).kind is K.GO_ON


@pytest.mark.parametrize("learner", [LevelSet, Sobol])
def test_it_concludes_a_real_scan_and_the_contour_is_right(learner: Any) -> None:
    mine, until = learner("f", level=CIRCLE.level, transform="none"), BoundaryConverged(0.02)
    for past in play(mine, CIRCLE.space, CIRCLE.observe, batches=(10, *[8] * 10)):
        if until.check(past).stop:
            break
    assert until.check(past).kind is K.CONVERGED
    assert past.iterations[-1].diagnostics["targets"]["f"]["excluded_share"] == pytest.approx(
        CIRCLE.excluded_share, abs=0.02
    )


# ---------------------------------------------------------------------- budgets
def test_points_written_count_whatever_became_of_them_and_imported_ones_do_not() -> None:
    past = history(points=6, state=PointState.FAILED)
    imported = Point(7, 0, {"x": 0.5}, PointState.MEASURED, Observation({"f": 1.0}))
    past = dataclasses.replace(past, points=(*past.points, imported))
    assert MaxPoints(6).check(past) == Verdict(K.BUDGET, "6 of 6 points")
    assert MaxPoints(7).check(past).kind is K.GO_ON
    assert [MaxPoints(n).remaining(past) for n in (4, 6, 10)] == [0, 0, 4]


@pytest.mark.parametrize("budget", [MaxPoints(3), MaxIterations(2)])
def test_a_budget_of_points_or_iterations_waits_for_what_is_pending(budget: Any) -> None:
    past = history(0.1, 0.1, points=3)
    assert budget.check(past).kind is K.BUDGET
    waiting = dataclasses.replace(past, points=(*past.points[:2], past.points[2].as_pending()))
    assert budget.check(waiting).kind is K.GO_ON
    assert budget.remaining(waiting) == 0


def test_iterations_wall_and_core_hours_are_read_from_the_record() -> None:
    past = history(1.0, 1.0, 1.0)
    assert MaxIterations(3).check(past).kind is K.BUDGET
    assert MaxIterations(4).check(past).kind is K.GO_ON
    assert Wall("5m").check(past).kind is K.BUDGET
    assert Wall(301).check(past).reason == "300 of 301 s"
    assert CoreHours(6).check(past).kind is K.BUDGET
    assert CoreHours(6.1).check(past).kind is K.GO_ON


@pytest.mark.parametrize("budget", [Wall(1), CoreHours(1), MaxIterations(1)])
def test_nothing_is_spent_before_the_first_iteration_has_closed(budget: Any) -> None:
    assert not budget.check(history()).stop
    assert budget.remaining(history()) is None


DURATIONS = {
    "90s": 90,
    "1.5 h": 5400,
    "1d 6h": 108000,
    "2 min": 120,
    "90": None,
    "soon": None,
    "3h and": None,
    "": None,
}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_durations(text: str, seconds: float | None) -> None:
    if seconds is None:
        assert Wall(text).problems()
        with pytest.raises(ValueError, match="no duration"):
            Wall(text).check(history())
    else:
        assert Wall(text).seconds == seconds


@pytest.mark.parametrize("wrong", [MaxPoints(0), MaxIterations(-1), CoreHours(float("nan")), Wall(0), Wall("0h"),
                                   BoundaryConverged(0.0), BoundaryConverged(window=4), Any_(()),
                                   MaxPoints(3) | MaxPoints(0), Not((MaxPoints(1), MaxPoints(2)))])  # fmt: skip
def test_what_is_wrong_is_said(wrong: Any) -> None:
    assert wrong.problems()


# ---------------------------------------------------------------------- combinations
def test_combinations_are_flat_and_equal_by_value() -> None:
    a, b, c = MaxPoints(1), Wall("1h"), CoreHours(2)
    assert a | b | c == Any_((a, b, c)) == a | (b | c)
    assert a & b & c == All((a, b, c))
    assert ~a == Not((a,))


def test_only_conditions_combine() -> None:
    with pytest.raises(TypeError):
        _ = MaxPoints(1) | 3  # type: ignore[operator]
    with pytest.raises(TypeError):
        _ = MaxPoints(1) & "x"  # type: ignore[operator]


KINDS = st.sampled_from(list(VerdictKind))


@quick
@given(st.lists(KINDS, min_size=1, max_size=4))
def test_any_takes_the_strongest_and_all_waits_for_the_last(kinds: list[VerdictKind]) -> None:
    conditions = tuple(Says(k) for k in kinds)
    order = list(VerdictKind)
    assert Any_(conditions).check(history()).kind is min(kinds, key=order.index)
    expected = K.GO_ON if K.GO_ON in kinds else min(kinds, key=order.index)
    assert All(conditions).check(history()).kind is expected


def test_reasons_carry_on_the_strongest_first() -> None:
    assert Any_((Says(K.BUDGET), Says(K.CONVERGED))).check(history()).reason == "converged; budget"
    assert "0 of 5 points" in (BoundaryConverged() | MaxPoints(5)).check(history()).reason
    assert All((Says(K.BUDGET), Says(K.GO_ON))).check(history()).reason == "go on"


def test_not_turns_the_verdict_round() -> None:
    assert (~Says(K.BUDGET)).check(history()).kind is K.GO_ON
    assert (~Says(K.GO_ON)).check(history()).stop
    at_least_20 = BoundaryConverged() & MaxPoints(20)
    assert not at_least_20.check(history(0.001, 0.001, 0.001, points=8)).stop
    assert at_least_20.check(history(0.001, 0.001, 0.001, points=20)).kind is K.CONVERGED


def test_what_remains_is_the_least_of_any_and_the_most_of_all() -> None:
    a, b, free = Says(K.GO_ON, left=3), Says(K.GO_ON, left=7), Says(K.GO_ON)
    past = history()
    assert (a | b | free).remaining(past) == 3
    assert (a & b).remaining(past) == 7
    assert (a & free).remaining(past) is None
    assert (free | free).remaining(past) is None
    assert (~a).remaining(past) is None


@pytest.mark.parametrize(
    ("condition", "bounded"),
    [
        (BoundaryConverged(), False),
        (MaxPoints(5), True),
        (MaxIterations(5), True),
        (Wall("1h"), True),
        (CoreHours(3), True),
        (BoundaryConverged() | MaxPoints(5), True),
        (BoundaryConverged() & MaxPoints(5), False),
        (Wall(5) & MaxPoints(5), True),
        (~MaxPoints(5), False),
    ],
)
def test_only_budgets_bound_a_loop(condition: Any, bounded: bool) -> None:
    assert condition.bounded() is bounded
    assert isinstance(condition, Condition)


def test_a_condition_is_its_json() -> None:
    until = (BoundaryConverged(0.01) | MaxPoints(200) | CoreHours(2000) | Wall("12h")) & ~MaxIterations(3)
    assert build(json.loads(json.dumps(describe(until, CONDITIONS))), CONDITIONS) == until
