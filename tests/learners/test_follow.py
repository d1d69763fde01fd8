"""The general loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from idds_core.errors import IddsError
from idds_core.history import History, Observation, Point
from idds_core.model import Loop, chain
from idds_core.parameters import Integer, Real
from idds_core.ports import JobReport, JobSpec
from idds_core.space import Space
from idds_core.states import LoopState, PointState, VerdictKind
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from idds_learners import Follow, MaxPoints, When
from tests.world import World, function

SPACE = Space(x=Real(0, 10), n=Integer(1, 5))


def history(*points: Point) -> History:
    """A history with a target z."""
    return History(SPACE, 0, ("z",), points)


def measured(number: int, at: float, count: int, **extras: float) -> Point:
    """A measured point."""
    return Point(number, number, {"x": at, "n": count}, PointState.MEASURED, Observation({"z": 1.0}, {}, extras))


def test_the_next_point_is_what_the_last_one_put_out() -> None:
    proposal = Follow({"x": 1.0, "n": 2}).ask(history(measured(1, 1.0, 2, x=3.5, n=4.0)), 8)
    assert proposal.points == ({"x": 3.5, "n": 4},)
    assert isinstance(proposal.points[0]["n"], int)


def test_what_was_not_put_out_stays() -> None:
    assert Follow({"x": 1.0, "n": 2}).ask(history(measured(1, 1.0, 2, x=3.5)), 1).points == ({"x": 3.5, "n": 2},)


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (measured(1, 1.0, 2, x=11.0), "not in the space"),
        (measured(1, 1.0, 2, x=1.0), "repeat"),
        (Point(1, 1, {"x": 1.0, "n": 2}, PointState.FAILED, None, "USER"), "nothing to follow"),
        (Point(1, 1, {"x": 1.0, "n": 2}), "has not ended"),
    ],
)
def test_there_is_no_next_point_without_a_reason(last: Point, why: str) -> None:
    proposal = Follow({"x": 1.0, "n": 2}).ask(history(last), 1)
    assert not proposal.points
    assert why in proposal.reason


def test_a_condition_on_what_was_measured() -> None:
    when = When("abs(shift) < 0.1 and z > 0")
    assert when.check(history()).kind is VerdictKind.GO_ON
    assert when.check(history(measured(1, 1, 1, shift=0.5))).kind is VerdictKind.GO_ON
    verdict = when.check(history(measured(1, 1, 1, shift=-0.05)))
    assert verdict.kind is VerdictKind.CONVERGED
    assert "shift = -0.05" in verdict.reason


def test_a_condition_on_what_is_not_measured_says_so() -> None:
    with pytest.raises(IddsError, match="E-LEARNER-008 shfit"):
        When("shfit < 1").check(history(measured(1, 1, 1, shift=0.5)))


@pytest.mark.parametrize("text", ["z +", "z + 1", "__import__('os')", 5])
def test_what_is_no_condition_is_refused(text: Any) -> None:
    assert When(text).problems()


def babylon(spec: JobSpec) -> JobReport:
    """One step of Heron's method for the square root of 2."""
    x = arguments(spec)["x"]
    new = 0.5 * (x + 2 / x)
    return success(spec, {"x": new, "shift": new - x})


def test_a_loop_that_follows_its_own_output(tmp_path: Any) -> None:
    loop = Loop(
        "root", Space(x=Real(0.5, 5)), chain(function("heron", "x")), Follow({"x": 3.0}),
        When("abs(shift) < 1e-9") | MaxPoints(20), targets=("shift",),
    )  # fmt: skip
    from idds_core.definition import validate

    w = World(tmp_path, ScriptedProvider(babylon), validate(loop))
    assert w.run().state is LoopState.CONVERGED
    last = w.history.points[-1]
    assert last.parameters["x"] == pytest.approx(2**0.5, abs=1e-9)
    assert 4 < len(w.history.points) < 9
    assert not w.violations()


def test_a_loop_that_follows_a_failure_stalls(tmp_path: Any) -> None:
    from idds_core.definition import validate

    loop = Loop("root", Space(x=Real(0.5, 5)), chain(function("heron", "x")), Follow({"x": 3.0}),
                MaxPoints(20), targets=("shift",))  # fmt: skip
    answers = lambda spec: failure("no") if "/p/2/" in spec.folder else babylon(spec)  # noqa: E731
    w = World(tmp_path, ScriptedProvider(answers), validate(loop))
    assert w.run().state is LoopState.STALLED
    assert "nothing to follow" in w.loop.reason


def test_a_top_up_stands_where_it_adds_to() -> None:
    first, last = measured(1, 1.0, 2, x=3.0), measured(2, 3.0, 2, x=4.0)
    again = replace(measured(3, 1.0, 2, x=9.0), adds={"to": 1, "replicate": True})
    assert Follow({"x": 1.0, "n": 2}).ask(history(first, last, again), 1).points == ({"x": 4.0, "n": 2},)
    more = replace(measured(3, 3.0, 2, x=5.0), adds={"to": 2, "more": {"events": 10}})
    assert Follow({"x": 1.0, "n": 2}).ask(history(first, last, more), 1).points == ({"x": 5.0, "n": 2},)
    failed = replace(more, state=PointState.FAILED, observation=None)
    assert Follow({"x": 1.0, "n": 2}).ask(history(first, last, failed), 1).points == ({"x": 4.0, "n": 2},)
    assert When("x > 6").check(history(first, last, again)).kind is VerdictKind.GO_ON
