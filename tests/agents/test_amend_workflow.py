"""Workflows of several loops go on with another definition: what is told is what runs, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idds_agents.revising import amend
from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError
from idds_core.model import Workflow, chain
from idds_core.ports import JobReport, JobSpec, ReportState
from idds_core.space import Real, Space
from idds_core.states import LoopState, PointState
from idds_core.testing.fakes import arguments, failure, success
from idds_learners import Follow
from tests.agents.revision_kit import amended, ask, becomes, digests, draft, jobs
from tests.agents.workflow_kit import (
    altered,
    answer_nested,
    answer_sequence,
    changed,
    nested,
    scan,
    sequence,
    step_of,
    whole,
)
from tests.world import World, function

STAYS, GOES_ON, AGAIN, ANEW = "stays as it is", "goes on", "begins again with its points", "begins anew"


def test_a_changed_last_step_of_an_outer_loop_runs_again_and_the_inner_loops_stay(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    told = amended(w, changed(nested(), "judge"))
    assert told["loops"] == {"outer": {AGAIN: 1}, "outer/inner": {STAYS: 3}}
    assert (told["points"], told["kept"], told["measured_again"]) == (15, 12, 3)
    assert (told["jobs"], told["reused"]) == ({"judge": 3}, {"prepare": 3})
    assert w.run().state is LoopState.EXHAUSTED
    assert jobs(w) == told["jobs"]
    whole(w)


def test_a_changed_step_of_an_inner_loop_runs_again_at_all_its_points(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    before = digests(w)
    told = amended(w, changed(nested(), "measure"))
    assert told["loops"] == {"outer": {AGAIN: 1}, "outer/inner": {AGAIN: 3}}
    assert told["jobs"] == {"measure": 12, "judge": 3}
    assert told["reused"] == {"prepare": 3}
    w.run()
    assert jobs(w) == told["jobs"]
    assert digests(w) == before
    whole(w)


def test_a_changed_first_step_makes_everything_that_sees_it_anew(make: Callable[..., World]) -> None:
    w = make("w", sequence(), answer_sequence)
    told = amended(w, changed(sequence(), "prepare"))
    assert told["loops"] == {"coarse": {ANEW: 1}, "fine": {ANEW: 1}}
    assert told["jobs"] == {"prepare": 1, "choose": 1, "summarise": 1}
    w.run()
    assert jobs(w) == {**told["jobs"], "look": 3, "measure": 2}
    whole(w)


def test_a_changed_last_step_of_a_workflow_is_all_that_runs(make: Callable[..., World]) -> None:
    w = make("w", sequence(), answer_sequence)
    told = amended(w, changed(sequence(), "summarise"))
    assert told["loops"] == {"coarse": {STAYS: 1}, "fine": {STAYS: 1}}
    assert (told["points"], told["kept"], told["jobs"]) == (5, 5, {"summarise": 1})
    w.run()
    assert jobs(w) == {"summarise": 1}
    assert (w.folder / "study~2" / "coarse" / "result.json").is_file()
    whole(w)


def test_a_dry_run_tells_the_same_and_writes_nothing(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    made, dry = amend(w.store, draft(w, changed(nested(), "measure")), "user ann", dry=True)
    assert made is None
    assert len(w.store.workflows.all()) == 1
    assert amended(w, changed(nested(), "measure")) == dry


def calibrated() -> Definition:
    """An expensive step that sees nothing of the calibration, then one that does."""
    loop = scan("scan", "x", function("simulate", "x"), function("measure", "events", "scale"), points=4)
    return validate(Workflow("study", chain(function("calibrate"), loop, function("last", "scan"))))


def answer_calibrated(spec: JobSpec) -> JobReport:
    given, step = arguments(spec), step_of(spec)
    outputs: dict[str, dict[str, Any]] = {
        "calibrate": {"scale": 2.0},
        "simulate": {"events": given.get("x")},
        "last": {"n": 1},
    }
    return success(spec, outputs.get(step) or {"z": given["events"] * given["scale"]})


def test_what_sees_nothing_of_a_changed_step_before_the_loop_is_taken_over(make: Callable[..., World]) -> None:
    w = make("w", calibrated(), answer_calibrated)
    told = amended(w, changed(calibrated(), "calibrate"))
    assert told["jobs"] == {"calibrate": 1, "measure": 4, "last": 1}
    assert told["reused"] == {"simulate": 4}
    w.run()
    assert jobs(w) == told["jobs"]
    whole(w)


def test_what_people_brought_to_a_loop_that_begins_anew_is_not_lost(make: Callable[..., World]) -> None:
    w = make("w", sequence(), answer_sequence)
    row = {"parameters": {"y": 0.123}, "values": {"z": 5.0}}
    answer = ask(w, "import", loop="fine", rows=[row])
    assert "study~2" in answer
    w.workflow = w.store.workflows.all()[-1]
    w._agents()
    w.run()
    amended(w, changed(sequence(), "look"))
    w.run()
    points = w.history_of(w.loops()["fine"]).points
    assert [p.parameters["y"] for p in points if p.iteration == 0] == [0.123]
    whole(w)


# ---------------------------------------------------------------------- spaces
def test_wider_ranges_and_one_more_parameter_of_an_inner_loop_keep_its_points(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    outer = nested().workflow.loops[0]
    prepare, inner, judge = outer.body
    wider = altered(inner, space=Space(x=Real(-1, 2), w=Real(0, 1, default=0.5)))
    told = amended(w, validate(replace(outer, body=(prepare, wider, judge))))
    assert told["jobs"] == {"judge": 3}
    w.run()
    inside = [h for name, loop in w.loops().items() if name.endswith("inner") for h in [w.history_of(loop)]]
    assert all(p.parameters["w"] == 0.5 for h in inside for p in h.points)
    whole(w)
    narrow = altered(inner, space=Space(x=Real(0.4, 0.5), w=Real(0, 1, default=0.5)))
    with pytest.raises(DefinitionError, match="E-REVISE-006") as caught:
        amended(w, validate(replace(outer, body=(prepare, narrow, judge))))
    assert [p.where for p in caught.value.problems] == ["body.outer.body.inner.space.x"]


# ---------------------------------------------------------------------- what is there
def test_a_step_and_a_loop_are_added_at_the_end_and_taken_away_again(make: Callable[..., World]) -> None:
    w = make("w", sequence(), answer_sequence)
    body = sequence().workflow.body
    more = scan("more", "u", function("look", "table", "u"), points=2)

    def answers(spec: JobSpec) -> JobReport:
        given = dict(arguments(spec))
        return success(spec, {"z": given["u"]}) if "u" in given else answer_sequence(spec)

    w.provider.script = answers
    longer = validate(Workflow("study", chain(*body, more), {"scale": 2}))
    told = amended(w, longer)
    assert told["loops"] == {"coarse": {STAYS: 1}, "fine": {STAYS: 1}, "more": {ANEW: 1}}
    assert told["jobs"] == {}
    w.run()
    assert jobs(w) == {"look": 2}
    whole(w)
    told = amended(w, sequence())
    assert (told["jobs"], set(told["loops"])) == ({}, {"coarse", "fine"})
    w.run()
    assert set(becomes(w)) == {"", "coarse", "fine"}
    whole(w)


def test_a_step_that_is_put_before_a_loop_is_new_for_all_that_may_see_it(make: Callable[..., World]) -> None:
    w = make("w", calibrated(), answer_calibrated)
    calibrate, loop, last = calibrated().workflow.body
    told = amended(w, validate(Workflow("study", chain(calibrate, function("check"), loop, last))))
    assert told["jobs"] == {"check": 1, "measure": 4, "last": 1}


def test_a_workflow_that_failed_at_a_step_goes_on_from_there(make: Callable[..., World]) -> None:
    broken = [True]

    def answers(spec: JobSpec) -> JobReport:
        if broken[0] and step_of(spec) == "choose":
            return failure("broken")
        return answer_sequence(spec)

    w = make("w", sequence(), answers)
    assert w.loop.state is LoopState.FAILED
    broken[0] = False
    told = amended(w, changed(sequence(), "choose"))
    assert told["loops"] == {"coarse": {STAYS: 1}, "fine": {ANEW: 1}}
    assert w.run().state is LoopState.EXHAUSTED
    assert jobs(w) == {"choose": 1, "measure": 2, "summarise": 1}
    whole(w)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
@pytest.mark.parametrize("step", ["prepare", "measure", "judge"])
def test_a_revision_of_loops_inside_loops_is_cancelled_at_any_time(
    make: Callable[..., World], turns: int, step: str
) -> None:
    w = make("w", nested(), answer_nested)
    amended(w, changed(nested(), step))
    for _ in range(turns):
        w.turn()
    w.store.workflows.command(w.workflow.id, "cancel", "user")
    w.run()
    assert w.loop.state in (LoopState.CANCELLED, LoopState.EXHAUSTED)
    assert all(state.isupper() for state in becomes(w).values())
    assert w.violations() == {}


# ---------------------------------------------------------------------- loops that follow
def halving() -> Definition:
    """Each point is what the last one gave."""
    loop = scan("loop", "v", function("halve", "v"), learner=Follow({"v": 1.0}), points=4)
    return validate(Workflow("study", chain(loop, function("last", "loop"))))


def by(factor: float) -> Callable[[JobSpec], JobReport]:
    def answers(spec: JobSpec) -> JobReport:
        v = arguments(spec).get("v")
        return success(spec, {"n": 1} if v is None else {"v": v * factor, "z": v})

    return answers


def test_a_loop_that_follows_begins_again_where_its_results_are_others(make: Callable[..., World]) -> None:
    w = make("w", halving(), by(0.5))
    other = make("other", halving(), by(0.75))
    told = amended(w, changed(halving(), "halve"))
    assert told["jobs"] == {"halve": 1, "last": 1}
    w.provider.script = by(0.75)
    w.run()
    assert digests(w) == digests(other)
    whole(w)


# ---------------------------------------------------------------------- points of many jobs, files
def split() -> Definition:
    """Chunks, a loop over what they give, and a last step."""
    make = replace(function("make", "chunk"), split=3)
    loop = scan("loop", "x", replace(function("part", "x", "chunk"), split=2), function("sum", "z"), points=2)
    return validate(Workflow("study", chain(make, loop, function("last", "n", "loop"))))


def answer_split(spec: JobSpec) -> JobReport:
    given, step = dict(arguments(spec)), step_of(spec)
    folder = Path(spec.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events").write_text(str(given.get("chunk")), encoding="utf-8")
    values = {"make": {}, "part": {"z": 1.0}, "sum": {"z": 2.0}, "last": {"m": 1}}[step]
    files = {"n": {"path": str(folder / "events"), "bytes": 1, "sha256": "x"}} if step == "make" else {}
    result = {"key": spec.key, "digest": spec.digest, "values": values, "files": files}
    return JobReport(ReportState.SUCCEEDED, result)


def test_jobs_are_counted_chunk_by_chunk(make: Callable[..., World]) -> None:
    w = make("w", split(), answer_split)
    told = amended(w, changed(split(), "part"))
    assert told["jobs"] == {"part": 4, "sum": 2, "last": 1}
    assert told["reused"] == {"make": 3}
    w.run()
    assert jobs(w) == told["jobs"]
    whole(w)


def test_a_file_that_was_removed_is_made_again_and_a_loop_beside_it_stays(make: Callable[..., World]) -> None:
    w = make("w", split(), answer_split)
    for file in w.folder.rglob("make/job/1/a/1/events"):
        file.unlink()
    told = amended(w, changed(split(), "last"))
    assert told["jobs"] == {"make": 3, "last": 1}
    assert told["loops"] == {"loop": {STAYS: 1}}
    w.run()
    assert jobs(w) == told["jobs"]
    whole(w)


def test_a_step_of_which_enough_was_done_is_not_done_again(make: Callable[..., World]) -> None:
    broken = [True]

    def shared() -> Definition:
        make_ = replace(function("make", "chunk", attempts=1), split=3, accept=0.5)
        return validate(Workflow("study", chain(make_, *split().workflow.body[1:])))

    def answers(spec: JobSpec) -> JobReport:
        dead = step_of(spec) == "make" and arguments(spec)["chunk"] == 1
        return failure("dead") if dead or (broken[0] and step_of(spec) == "last") else answer_split(spec)

    w = make("w", shared(), answers)
    broken[0] = False
    told = amended(w, changed(shared(), "last"))
    assert told["jobs"] == {"last": 1}
    assert w.run().state is LoopState.EXHAUSTED
    whole(w)


def test_a_loop_without_a_barrier_begins_again_with_its_points(make: Callable[..., World]) -> None:
    def steady() -> Definition:
        loop = scan("coarse", "x", function("look", "table", "x"), points=5, mode="steady", batch=3)
        return validate(Workflow("study", chain(function("prepare"), loop, function("choose", "result"))))

    w = make("w", steady(), answer_sequence)
    told = amended(w, changed(steady(), "look"))
    assert told["loops"] == {"coarse": {AGAIN: 1}}
    assert told["jobs"] == {"look": 5, "choose": 1}
    w.run()
    assert jobs(w) == told["jobs"]
    whole(w)


# ---------------------------------------------------------------------- what people bring
def bring(w: World, verb: str, **given: Any) -> str:
    answer = ask(w, verb, **given)
    newest = w.store.workflows.latest(w.workflow.name)
    assert newest is not None
    w.workflow = newest
    w._agents()
    w.run()
    return answer


def test_a_point_is_added_to_the_loop_that_its_path_names(make: Callable[..., World]) -> None:
    w = make("w", sequence(), answer_sequence)
    assert "E-POINT-001" in ask(w, "add", points=[{"x": 0.321}])
    assert "E-POINT-001" in ask(w, "add", loop="nothing", points=[{"x": 0.321}])
    assert "study~2" in bring(w, "add", loop="coarse", points=[{"x": 0.999}])
    assert [p.parameters["x"] for p in w.history_of(w.loops()["coarse"]).points][-1] == 0.999
    assert jobs(w) == {"look": 1, "choose": 1, "measure": 2, "summarise": 1}
    whole(w)
    assert "nothing to do" in ask(w, "add", loop="coarse", points=[{"x": 0.999}])


def test_failed_points_of_one_inner_loop_are_tried_again(make: Callable[..., World]) -> None:
    broken = [True]

    def answers(spec: JobSpec) -> JobReport:
        if broken[0] and step_of(spec) == "measure" and "/p/3/inner/it/1/p/2/" in spec.folder:
            return failure("broken")
        return answer_nested(spec)

    w = make("w", nested(), answers)
    broken[0] = False
    name = "outer/it/2/p/3/inner"
    assert bring(w, "retry", loop=name).startswith("retry: 1 points")
    assert jobs(w) == {"measure": 1, "judge": 1}
    inner = w.history_of(w.loops()["outer/it/1/p/3/inner"])
    assert [p.state for p in inner.points].count(PointState.MEASURED) == 4
    assert len(inner.points) == 5
    whole(w)


def test_nothing_is_brought_to_a_loop_whose_point_was_dropped(make: Callable[..., World]) -> None:
    w = make("w", nested(outer=2), lambda spec: answer_nested(spec) if step_of(spec) != "judge" else None)
    w.store.workflows.command(w.workflow.id, "cancel", "user")
    for _ in range(6):
        w.turn()
    assert {p.state for p in w.history.points} == {PointState.DROPPED}
    assert "E-POINT-002" in ask(w, "add", loop="outer/it/1/p/1/inner", points=[{"x": 0.321}])
    assert len(w.store.workflows.all()) == 1
    assert w.violations() == {}


def test_steps_outside_of_loops_that_failed_are_tried_again(make: Callable[..., World]) -> None:
    broken = [True]

    def answers(spec: JobSpec) -> JobReport:
        return failure("away") if broken[0] and step_of(spec) == "choose" else answer_sequence(spec)

    w = make("w", sequence(), answers)
    broken[0] = False
    assert bring(w, "retry").startswith("retry: the steps that failed run again of study~2")
    assert w.loop.state is LoopState.EXHAUSTED
    assert jobs(w) == {"choose": 1, "measure": 2, "summarise": 1}
    whole(w)
