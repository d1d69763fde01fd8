"""Workflows: steps before, inside and after loops, loops in sequence, a loop inside a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idds_core.definition import validate
from idds_core.errors import DefinitionError, StoreError
from idds_core.model import Workflow, chain, command
from idds_core.ports import JobReport, JobSpec
from idds_core.states import LoopState, PointState, WorkflowState
from idds_core.testing.fakes import failure, success
from tests.agents.workflow_kit import answer_nested, answer_sequence, nested, scan, sequence, step_of, world
from tests.world import function


def test_steps_and_loops_run_one_after_the_other(tmp_path: Path) -> None:
    w = world(tmp_path, sequence(), answer_sequence)
    assert w.run().state is LoopState.EXHAUSTED  # as its loops
    assert w.store.workflows.by_id(w.workflow.id).state is WorkflowState.FINISHED
    loops = w.loops()
    assert {name: loop.state for name, loop in loops.items()} == dict.fromkeys(("", "coarse", "fine"), "EXHAUSTED")
    best = max(p.observation.values["z"] for p in w.history_of(loops["coarse"]).points if p.observation)
    for point in w.history_of(loops["fine"]).points:
        assert point.observation is not None
        assert point.observation.values["z"] == best + point.parameters["y"] + 3
    given = w.store.jobs.given(1, 9)
    assert given[-1].result["values"] == {"total": 2 * 5}
    assert not w.violations()


def test_paths_of_steps_outside_of_loops_are_short(tmp_path: Path) -> None:
    w = world(tmp_path, sequence(), answer_sequence)
    w.run()
    ids = [j.id for loop in w.loops().values() for j in w.store.jobs.all(loop.id)]
    paths = {a.path for a in w.store.jobs.attempts(ids)}
    assert {"study/prepare/job/0/a/1", "study/coarse/it/1/p/2/look/job/0/a/1"} <= paths
    assert (tmp_path / "study/coarse/result.json").exists()


def test_a_crash_between_any_two_turns_of_a_sequence_changes_nothing(tmp_path: Path) -> None:
    plain = world(tmp_path / "plain", sequence(), answer_sequence)
    plain.run()
    often = world(tmp_path / "often", sequence(), answer_sequence)
    for _ in range(200):
        often.turn()
        if often.loop.state.isupper():
            break
        often.restart()
    for name, loop in plain.loops().items():
        assert often.loops()[name].state is loop.state
        assert often.history_of(often.loops()[name]).digest == plain.history_of(loop).digest
    assert not often.violations()


def test_a_loop_inside_a_loop_runs_once_for_each_point(tmp_path: Path) -> None:
    w = world(tmp_path, nested(), answer_nested)
    assert w.run().state is LoopState.EXHAUSTED
    loops = w.loops()
    assert sorted(loops) == ["outer", *(f"outer/it/{k}/p/{n}/inner" for k, n in ((1, 1), (1, 2), (2, 3)))]
    for point in w.history.points:
        assert point.observation is not None
        inner = w.history_of(loops[f"outer/it/{point.iteration}/p/{point.number}/inner"])
        assert point.observation.values["z"] == max(p.observation.values["z"] for p in inner.points if p.observation)
        assert point.observation.values["z"] > 11 * point.parameters["a"]
    assert not w.violations()


def test_inner_loops_of_different_points_have_seeds_of_their_own(tmp_path: Path) -> None:
    w = world(tmp_path, nested(), answer_nested)
    w.run()
    inner = [w.history_of(loop) for name, loop in w.loops().items() if name.endswith("inner")]
    assert len({tuple(p.parameters["x"] for p in history.points) for history in inner}) == len(inner)


def test_an_inner_loop_that_fails_fails_its_point_only(tmp_path: Path) -> None:
    def broken(spec: JobSpec) -> JobReport:
        if step_of(spec) == "measure" and "/p/2/inner/" in spec.folder:
            return failure(f"broken {spec.key}")
        return answer_nested(spec)

    w = world(tmp_path, nested(), broken)
    w.run()
    assert [p.state for p in w.history.points] == [PointState.MEASURED, PointState.FAILED, PointState.MEASURED]
    assert w.store.points.reason(w.loop.id, 2) == "its loop inner ended FAILED"
    assert not w.violations()


def test_a_workflow_whose_first_step_fails_has_failed_and_starts_nothing_more(tmp_path: Path) -> None:
    w = world(tmp_path, sequence(), lambda spec: failure("no table"))
    loop = w.run()
    assert (loop.state, loop.reason) == (LoopState.FAILED, "E-LOOP-003 prepare failed")
    assert w.store.workflows.by_id(w.workflow.id).state is WorkflowState.FAILED
    assert {name: loop.state for name, loop in w.loops().items() if name} == dict.fromkeys(
        ("coarse", "fine"), "CANCELLED"
    )
    assert not w.violations()


@pytest.mark.parametrize("definition", [sequence, nested])
@pytest.mark.parametrize("turns", [1, 2, 4, 7, 11])
def test_a_cancel_at_any_time_ends_all_of_it(tmp_path: Path, definition: Any, turns: int) -> None:
    answers = answer_sequence if definition is sequence else answer_nested
    w = world(tmp_path, definition(), answers)
    for _ in range(turns):
        w.turn()
    w.store.workflows.command(w.workflow.id, "cancel", "user")
    w.run()
    assert w.store.workflows.by_id(w.workflow.id).state is WorkflowState.CANCELLED
    assert all(loop.state.isupper() for loop in w.loops().values())
    assert not w.violations()


def test_hold_and_resume_reach_all_loops(tmp_path: Path) -> None:
    w = world(tmp_path, nested(), answer_nested)
    for _ in range(4):
        w.turn()
    w.store.workflows.command(w.workflow.id, "hold", "user")
    w.run()
    assert {loop.state for loop in w.loops().values()} <= {LoopState.HELD, LoopState.WAITING}
    w.store.workflows.command(w.workflow.id, "resume", "user")
    assert w.run().state is LoopState.EXHAUSTED


def test_a_workflow_of_steps_alone_runs(tmp_path: Path) -> None:
    w = world(
        tmp_path,
        validate(Workflow("plain", chain(function("one"), function("two", "n")))),
        lambda s: success(s, {"n": 1}),
    )
    loop = w.run()
    assert (loop.state, loop.reason) == (LoopState.CONVERGED, "all steps have run")
    assert not w.violations()


def test_mistakes_inside_are_named_by_their_place() -> None:
    inner = scan("inner", "x", function("measure", "nothing"))
    with pytest.raises(DefinitionError) as caught:
        validate(Workflow("w", chain(command("make", "x", outputs={"e": "e.txt"}), scan("outer", "x", inner))))
    told = {(p.code, p.where) for p in caught.value.problems}
    assert ("E-STEP-011", "body.outer.body.inner.body.measure.arguments") not in told  # 'e' is a single output
    assert ("E-DEF-016", "body.outer.body.inner.space.x") in told
    assert ("E-STEP-009", "body.outer.body.inner") in told


def test_what_a_loop_has_found_that_cannot_be_written_is_one_clear_word_and_is_written_later(tmp_path: Path) -> None:
    w = world(tmp_path, nested(), answer_nested)
    file = tmp_path / "outer/outer/it/1/p/1/inner/result.new"
    file.parent.mkdir(parents=True)
    file.symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"^E-STORE-002 the disk is full or failing: .*No space left on device"):
        w.run()
    file.unlink()
    w.restart()
    assert w.run().state is LoopState.EXHAUSTED
    assert len(w.history.measured) == 3
    assert not w.violations()
