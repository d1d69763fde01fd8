"""Workflows of several loops go on with another budget: each ends as one that had it from the beginning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError
from idds_core.model import Workflow, chain
from idds_core.ports import JobReport, JobSpec
from idds_core.states import LoopState, PointState
from idds_core.testing.fakes import arguments, failure, success
from idds_learners import Follow
from tests.agents.revision_kit import becomes, digests, draft, extended, jobs
from tests.agents.workflow_kit import (
    altered,
    answer_nested,
    answer_sequence,
    nested,
    scan,
    sequence,
    step_of,
    whole,
    world,
)
from tests.world import World, function


def test_the_last_loop_goes_on_and_only_what_follows_runs_again(make: Callable[..., World]) -> None:
    w = make("w", sequence(), answer_sequence)
    other = make("other", sequence(fine=5), answer_sequence)
    extended(w, sequence(fine=5))
    assert becomes(w) == {"": "active", "coarse": "EXHAUSTED", "fine": "waiting"}
    assert w.run().state is LoopState.EXHAUSTED
    assert jobs(w) == {"measure": 3, "summarise": 1}
    assert digests(w) == digests(other)
    assert w.store.jobs.given(_root(w), 9)[-1].result["values"] == {"total": 2 * 8}
    whole(w)


def _root(w: World) -> int:
    """Id of the point of the workflow's own steps."""
    (point,) = w.store.revisions.points(w.loop.id)
    return point.id


def test_an_earlier_loop_goes_on_and_a_later_one_that_sees_what_it_gives_begins_anew(
    make: Callable[..., World],
) -> None:
    w = make("w", sequence(), answer_sequence)
    other = make("other", sequence(coarse=6), answer_sequence)
    extended(w, sequence(coarse=6))
    w.run()
    assert jobs(w) == {"look": 3, "choose": 1, "measure": 2, "summarise": 1}
    assert digests(w) == digests(other)
    whole(w)
    job = next(j for j in w.store.jobs.all(w.loop.id) if j.step == "prepare")
    assert (job.state, job.reason) == ("DONE", "reused from study/prepare/job/0/a/1")


def test_what_is_extended_again_and_again_stays_whole(make: Callable[..., World]) -> None:
    w = make("w", sequence(), answer_sequence)
    other = make("other", sequence(coarse=5, fine=4), answer_sequence)
    extended(w, sequence(coarse=5))
    w.run()
    extended(w, sequence(coarse=5, fine=4))
    w.run()
    assert w.workflow.path == "study~3"
    assert jobs(w) == {"measure": 2, "summarise": 1}
    assert digests(w) == digests(other)
    whole(w)


def independent(first: int = 2, second: int = 2) -> Definition:
    """Two loops that see nothing of each other, and a step that sees one of them."""
    one = scan("one", "x", function("look", "x"), points=first)
    two = scan("two", "y", function("make", "y"), function("take", "n"), points=second)
    return validate(Workflow("pair", chain(one, two, function("only", "two"), function("both", "one", "two"))))


def answer_independent(spec: JobSpec) -> JobReport:
    given = arguments(spec)
    return success(spec, {"n": given["y"]} if "y" in given else {"z": given.get("x", given.get("n", 0.0))})


def test_a_loop_that_asks_for_nothing_of_what_changed_stays(make: Callable[..., World]) -> None:
    w = make("w", independent(), answer_independent)
    extended(w, independent(first=4))
    assert becomes(w) == {"": "active", "one": "waiting", "two": "EXHAUSTED"}
    w.run()
    assert jobs(w) == {"look": 2, "both": 1}
    whole(w)


def partly(first: int = 2) -> Definition:
    """The second loop sees the first one's result in its last step only."""
    one = scan("one", "x", function("look", "x"), points=first)
    two = scan("two", "y", function("make", "y"), function("join", "n", "one"), points=2)
    return validate(Workflow("pair", chain(one, two)))


def test_results_of_a_later_loop_are_taken_over_up_to_the_step_that_sees_what_changed(
    make: Callable[..., World],
) -> None:
    w = make("w", partly(), answer_independent)
    other = make("other", partly(first=4), answer_independent)
    extended(w, partly(first=4))
    w.run()
    assert jobs(w) == {"look": 2, "join": 2}
    assert digests(w) == digests(other)
    whole(w)


# ---------------------------------------------------------------------- loops inside loops
def test_an_inner_loop_goes_on_at_every_point_and_what_follows_it_runs_again(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    other = make("other", nested(inner=7), answer_nested)
    extended(w, nested(inner=7))
    assert {p.state for p in w.history.points} == {PointState.OPEN}
    assert w.run().state is LoopState.EXHAUSTED
    assert jobs(w) == {"measure": 9, "judge": 3}
    assert digests(w) == digests(other)
    whole(w)


def test_an_outer_loop_goes_on_and_its_old_points_stay_with_all_that_is_inside(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    other = make("other", nested(outer=5), answer_nested)
    extended(w, nested(outer=5))
    w.run()
    assert jobs(w) == {"prepare": 2, "measure": 8, "judge": 2}
    assert digests(w) == digests(other)
    assert set(becomes(w).values()) == {"EXHAUSTED"}
    whole(w)


def test_a_point_whose_last_step_sees_nothing_of_its_inner_loop_keeps_an_observation(
    make: Callable[..., World],
) -> None:
    def unseen(points: int) -> Definition:
        inner = scan("inner", "x", function("measure", "x", "a"), points=points)
        return validate(scan("outer", "a", function("prepare", "a"), inner, function("judge", "base"), points=3))

    def answers(spec: JobSpec) -> JobReport:
        given = arguments(spec)
        return success(spec, {"base": 1.0} if step_of(spec) == "prepare" else {"z": given.get("x", given.get("base"))})

    w = make("w", unseen(2), answers)
    other = make("other", unseen(4), answers)
    extended(w, unseen(4))
    w.run()
    assert jobs(w) == {"measure": 6, "judge": 3}
    assert digests(w) == digests(other)
    whole(w)


def deep(innermost: int = 2) -> Definition:
    """Three loops, each inside the one before."""
    low = scan("low", "x", function("measure", "x", "b"), points=innermost)
    middle = scan("middle", "b", low, function("best", "result"), points=2)
    return validate(scan("high", "a", middle, function("pick", "result", "a"), points=2))


def answer_deep(spec: JobSpec) -> JobReport:
    if step_of(spec) == "measure":
        return success(spec, {"z": arguments(spec)["x"] + arguments(spec)["b"]})
    return answer_nested(spec)


def test_loops_at_any_depth_go_on(make: Callable[..., World]) -> None:
    w = make("w", deep(), answer_deep)
    other = make("other", deep(innermost=4), answer_deep)
    extended(w, deep(innermost=4))
    w.run()
    assert jobs(w) == {"measure": 8, "best": 4, "pick": 2}
    assert digests(w) == digests(other)
    whole(w)


def test_a_point_that_failed_with_its_inner_loop_is_measured_when_that_goes_on(make: Callable[..., World]) -> None:
    broken = [True]

    def answers(spec: JobSpec) -> JobReport:
        if broken[0] and step_of(spec) == "measure" and "/p/2/inner/" in spec.folder:
            return failure(f"broken {spec.key}")
        return answer_nested(spec)

    w = make("w", nested(hold_after=99), answers)
    assert [str(p.state) for p in w.history.points] == ["MEASURED", "FAILED", "MEASURED"]
    broken[0] = False
    extended(w, nested(inner=6, hold_after=99))
    w.run()
    assert {p.state for p in w.history.points} == {PointState.MEASURED}
    whole(w)


# ---------------------------------------------------------------------- other kinds of loops
def followed(points: int) -> Definition:
    """At each outer point, a loop whose next point is what the last one gave."""
    inner = scan("inner", "v", function("halve", "v"), learner=Follow({"v": 1.0}), points=points)
    outer = scan("outer", "a", inner, function("judge", "result", "a"), points=3)
    return validate(Workflow("study", chain(outer, function("last", "outer"))))


def answer_followed(spec: JobSpec) -> JobReport:
    if step_of(spec) == "halve":
        v = arguments(spec)["v"]
        return success(spec, {"v": v / 2, "z": v})
    return success(spec, {"n": 1}) if step_of(spec) == "last" else answer_nested(spec)


def test_a_loop_that_follows_goes_on_where_it_was(make: Callable[..., World]) -> None:
    w = make("w", followed(3), answer_followed)
    other = make("other", followed(6), answer_followed)
    extended(w, followed(6))
    w.run()
    assert jobs(w) == {"halve": 9, "judge": 3, "last": 1}
    assert digests(w) == digests(other)
    whole(w)


def steady(points: int) -> Definition:
    """A loop without a barrier between two steps."""
    loop = scan("coarse", "x", function("look", "table", "x"), points=points, mode="steady", batch=3)
    return validate(Workflow("study", chain(function("prepare"), loop, function("choose", "result"))))


def test_a_loop_without_a_barrier_goes_on(make: Callable[..., World]) -> None:
    w = make("w", steady(5), answer_sequence)
    extended(w, steady(9))
    w.run()
    points = w.history_of(w.loops()["coarse"]).points
    assert [p.state for p in points] == [PointState.MEASURED] * 9
    assert jobs(w) == {"look": 4, "choose": 1}
    whole(w)


# ---------------------------------------------------------------------- whatever happened before
@pytest.mark.parametrize("turns", [1, 3, 6, 9, 12])
def test_a_workflow_that_was_cancelled_at_any_time_goes_on(tmp_path: Path, turns: int) -> None:
    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    w = world(tmp_path, sequence(), answer_sequence)
    for _ in range(turns):
        w.turn()
    w.store.workflows.command(w.workflow.id, "cancel", "user")
    w.run()
    extended(w, sequence(fine=4))
    assert w.run().state is LoopState.EXHAUSTED
    assert {state for name, state in becomes(w).items() if name} == {"EXHAUSTED"}
    assert w.violations() == {}


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 6])
def test_a_revision_that_is_cancelled_at_any_time_ends(make: Callable[..., World], turns: int) -> None:
    w = make("w", partly(), answer_independent)
    extended(w, partly(first=4))
    for _ in range(turns):
        w.turn()
    w.store.workflows.command(w.workflow.id, "cancel", "user")
    w.run()
    assert set(becomes(w).values()) <= {"CANCELLED", "EXHAUSTED"}
    assert w.violations() == {}


def test_a_death_between_any_two_turns_of_a_revision_changes_nothing(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    other = make("other", nested(inner=6), answer_nested)
    extended(w, nested(inner=6))
    for _ in range(300):
        w.turn()
        if w.loop.state.isupper():
            break
        w.restart()
    assert digests(w) == digests(other)
    whole(w)


def test_more_than_a_budget_is_refused_wherever_it_is(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    other = nested().workflow.loops[0]
    inner = other.body[1]
    changed = validate(replace(other, body=(other.body[0], altered(inner, targets=("y",)), other.body[2])))
    with pytest.raises(DefinitionError, match=r"E-REVISE-003.*body\.outer\.body\.inner\.targets"):
        extended(w, changed)


def test_a_loop_that_is_renamed_moved_or_alone_is_refused(make: Callable[..., World]) -> None:
    w = make("w", independent(), answer_independent)
    one, two, *steps = independent().workflow.body
    for body in ((altered(one, name="first"), two), (two, one)):
        with pytest.raises(DefinitionError, match="E-REVISE-004"):
            extended(w, validate(Workflow("pair", chain(*body, *map(_asking_nothing, steps)))))
    with pytest.raises(DefinitionError, match="E-REVISE-004"):
        extended(w, validate(Workflow("pair", chain(one))))
    assert len(w.store.workflows.all()) == 1
    assert draft(w, independent()).same


def _asking_nothing(step: Any) -> Any:
    return replace(step, arguments=())
