"""The three agents, meeting only in the store, with a scripted provider."""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_agents.engine import enter, run_loop
from idds_core.errors import DefinitionError, IddsError
from idds_core.model import chain, step
from idds_core.ports import JobReport, JobSpec, ReportState, Submission, SubmissionStatus
from idds_core.states import FailureClass, LoopState, PointState, WorkflowState
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from tests.world import World, function, honest, toy

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def _make(script: Callable[[JobSpec], JobReport | None] = honest, **options: Any) -> World:
        definition = options.pop("definition", None)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return World(folder, ScriptedProvider(script, **options), definition)

    return _make


def test_a_scan_runs_from_definition_to_conclusion(make: Make) -> None:
    world = make()
    loop = world.run()
    assert loop.state is LoopState.EXHAUSTED
    assert loop.reason == "12 of 12 points"
    assert world.store.workflows.by_id(world.workflow.id).state is WorkflowState.FINISHED
    history = world.history
    assert [p.number for p in history.points] == list(range(1, 13))
    assert all(p.observation and p.observation.values["z"] == p.parameters["x"] * p.parameters["y"]
               for p in history.measured)  # fmt: skip
    assert world.violations() == {}


def test_the_next_step_of_a_point_does_not_wait_for_the_other_points(make: Make) -> None:
    def script(spec: JobSpec) -> JobReport | None:
        slow = arguments(spec).get("x") == world.history.points[0].parameters["x"]
        return None if slow else honest(spec)

    world = make(script)
    for _ in range(10):
        world.turn()
    assert [p.state for p in world.history.points] == [PointState.OPEN] + [PointState.MEASURED] * 3


def test_the_seed_of_a_job_depends_on_point_and_step_and_never_on_the_attempt(make: Make) -> None:
    seeds: dict[str, set[int]] = {}

    def script(spec: JobSpec) -> JobReport:
        path = spec.folder.rsplit("/a/", 1)
        seeds.setdefault(path[0], set()).add(spec.seed)
        return honest(spec) if path[1] == "2" else failure(f"first try of {path[0]}")

    world = make(script)
    assert world.run().state is LoopState.EXHAUSTED
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set().union(*seeds.values())) == 24


def test_the_order_of_arrival_changes_nothing(make: Make) -> None:
    waiting: dict[str, int] = {}

    def late(spec: JobSpec) -> JobReport | None:
        waiting[spec.key] = waiting.get(spec.key, 0) + 1
        return honest(spec) if waiting[spec.key] > int(spec.digest, 16) % 7 else None

    assert make(honest).run().state is LoopState.EXHAUSTED
    first, second = make(honest), make(late)
    first.run()
    second.run()
    assert first.history.digest == second.history.digest


# ---------------------------------------------------------------------- failures
def test_a_users_failure_is_tried_three_times_then_the_point_fails(make: Make) -> None:
    bad: list[str] = []

    def by_key(spec: JobSpec) -> JobReport:
        bad[:] = bad or [spec.digest]
        return failure("exit code 3") if spec.digest == bad[0] else honest(spec)

    world = make(by_key)
    assert world.run().state is LoopState.EXHAUSTED
    failed = [p for p in world.history.points if p.state is PointState.FAILED]
    assert [(p.number, p.failure_class) for p in failed] == [(1, "USER")]
    attempts = world.store.jobs.failed_attempts(world.loop.id)
    assert [(a.number, a.failure_code, a.reason) for a in attempts] == [
        (i, "E-JOB-EXIT", "exit code 3") for i in (1, 2, 3)
    ]
    assert world.violations() == {}


def test_a_site_failure_does_not_burn_the_users_retries_but_has_its_own_cap(make: Make) -> None:
    lost = failure("node gone", FailureClass.INFRA, "E-JOB-LOST")
    world = make(lambda _: lost, definition=toy(4, 4))
    for _ in range(200):
        world.turn()
        world.clock.advance(61)
    assert {p.failure_class for p in world.history.points} == {"INFRA"}
    job = world.store.jobs.all(world.loop.id, point=1)[0]
    assert job.attempts == world.settings.infra_attempts
    assert world.violations() == {}


def test_a_lost_job_is_tried_again_after_a_growing_pause(make: Make) -> None:
    lost = failure("node gone", FailureClass.INFRA, "E-JOB-LOST")
    world = make(lambda _: lost, definition=toy(1, 1))
    pauses = []
    for _ in range(6):
        world.run(20)
        due = world.store.jobs.next_ready_at([world.loop.id])
        assert due is not None
        pauses.append(due - world.clock())
        world.clock.advance(max(pauses[-1], 0))
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]


def test_a_fatal_failure_is_never_retried(make: Make) -> None:
    world = make(lambda _: failure("no module", FailureClass.FATAL, "E-JOB-IMPORT"), definition=toy(4, 4))
    world.run()
    assert {j.attempts for j in world.store.jobs.all(world.loop.id) if j.step == "make"} == {1}


def test_an_infeasible_point_is_no_failure_and_is_not_retried(make: Make) -> None:
    def script(spec: JobSpec) -> JobReport:
        if arguments(spec).get("x", 1.0) < 0.5:
            return JobReport(ReportState.INFEASIBLE, {"key": spec.key, "digest": spec.digest, "infeasible": "closed"})
        return honest(spec)

    world = make(script)
    assert world.run().state is LoopState.EXHAUSTED
    infeasible = world.history.infeasible
    assert infeasible
    assert all(p.parameters["x"] < 0.5 and p.failure_class is None for p in infeasible)
    assert world.store.counters(world.loop.id).get("attempt FAILED", 0) == 0
    assert world.violations() == {}


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"z": math.nan}, "z is not finite"),
        ({"z": math.inf}, "z is not finite"),
        ({"z": "high"}, "not a number"),
        ({"z": True}, "not a number"),
        ({"z": None}, "not a number"),
        ({"y": 1.0}, "no value of z"),
        ({}, "no value of z"),
        ({"z": 1.0, "z_sigma": -1.0}, "negative"),
        ({"z": 1.0, "z_sigma": "small"}, "not a number"),
        ({"z": 1.0, "note": math.nan}, "not finite"),
        ({"z": 1.0, "note": "x" * 2_000_000}, "bytes, more than"),
    ],
)
def test_a_result_that_is_no_observation_is_an_invalid_result(make: Make, values: dict[str, Any], what: str) -> None:
    world = make(lambda spec: honest(spec) if "x" in arguments(spec) else success(spec, values), definition=toy(1, 1))
    world.run()
    (first, *_) = world.store.jobs.failed_attempts(world.loop.id)
    assert first.reason.startswith("INVALID_RESULT")
    assert what in first.reason
    assert world.history.points[0].observation is None
    assert world.violations() == {}


def test_the_result_of_another_attempt_or_point_is_rejected(make: Make) -> None:
    def script(spec: JobSpec) -> JobReport:
        return JobReport(ReportState.SUCCEEDED, {"key": spec.key, "digest": "other", "values": {"z": 1.0}, "files": {}})

    world = make(script, definition=toy(1, 1))
    world.run()
    assert world.store.jobs.failed_attempts(world.loop.id)[0].reason.startswith("INVALID_RESULT: it is of")


def test_extra_numbers_are_kept_and_teach_nothing(make: Make) -> None:
    world = make(lambda spec: success(spec, {"events": 1.0, "z": 2.0, "n": 7, "tag": "a"}), definition=toy(1, 1))
    world.run()
    observation = world.history.points[0].observation
    assert observation is not None
    assert dict(observation.values) == {"z": 2.0}
    assert dict(observation.extras) == {"events": 1.0, "n": 7.0}


def test_a_step_that_always_fails_holds_the_loop_with_one_message(make: Make) -> None:
    world = make(lambda _: failure("ValueError: no such tune"), definition=toy(100, 10))
    loop = world.run()
    assert loop.state is LoopState.HELD
    assert loop.reason.startswith("E-LOOP-001")
    assert "jobs of step make failed alike in a row: ValueError: no such tune" in loop.reason
    assert "/log" in loop.reason
    assert len(world.history.points) == 10


def test_a_loop_in_which_nothing_could_be_measured_has_failed(make: Make) -> None:
    world = make(lambda _: failure("ValueError: no such tune"), definition=toy(4, 4))
    loop = world.run()
    assert loop.state is LoopState.FAILED
    assert loop.reason == "E-LOOP-002 none of 4 points could be measured; 4 of 4 points"
    assert world.store.workflows.by_id(world.workflow.id).state is WorkflowState.FAILED


def test_equal_failures_with_successes_between_do_not_hold_the_loop(make: Make) -> None:
    def script(spec: JobSpec) -> JobReport:
        return failure("bad luck") if int(spec.digest, 16) % 3 == 0 else honest(spec)

    world = make(script, slots=1, definition=toy(30, 6))
    assert world.run(5000).state is LoopState.EXHAUSTED
    assert {p.state for p in world.history.points} == {PointState.FAILED, PointState.MEASURED}


def test_a_refused_job_fails_with_the_text_of_the_refusal(make: Make) -> None:
    world = make(definition=toy(1, 1))
    world.provider.answer = lambda s: Submission(s.key, SubmissionStatus.REFUSED, None, "account expired")
    world.run()
    (attempt,) = world.store.jobs.failed_attempts(world.loop.id)
    assert attempt.reason == "account expired"


def test_retry_later_abandons_the_attempt_and_burns_nothing(make: Make) -> None:
    world = make(definition=toy(1, 1))
    world.provider.answer = lambda s: Submission(s.key, SubmissionStatus.LATER, None, "queue full")
    for _ in range(20):
        world.turn()
        world.clock.advance(2)
    assert world.history.points[0].state is PointState.OPEN
    world.provider.answer = lambda s: Submission(s.key, SubmissionStatus.OK, s.key)
    world.clock.advance(2)
    assert world.run().state is LoopState.EXHAUSTED
    assert world.violations() == {}


def test_an_argument_that_stands_for_nothing_fails_the_job_and_says_so(make: Make) -> None:
    body = chain(function("make", "x", "y"), function("measure", "a", "b"))
    world = make(definition=toy(1, 1, body=body))
    world.run()
    (attempt,) = world.store.jobs.failed_attempts(world.loop.id)
    assert attempt.failure_code == "E-JOB-BIND"
    assert "argument a, b of measure stands for nothing" in attempt.reason


# ---------------------------------------------------------------------- wishes
def test_hold_starts_nothing_new_and_resume_goes_on(make: Make) -> None:
    world = make(slots=2)
    world.turn()
    world.turn()
    world.store.workflows.command(world.workflow.id, "hold", "me")
    world.run(30)
    measured = len(world.history.measured)
    submitted = len(world.provider.submissions)
    assert world.loop.state is LoopState.HELD
    world.run(30)
    assert len(world.provider.submissions) == submitted
    world.store.workflows.command(world.workflow.id, "resume", "me")
    assert world.run().state is LoopState.EXHAUSTED
    assert len(world.history.measured) == 12 > measured
    assert world.violations() == {}


def test_cancel_ends_everything_and_a_late_result_goes_to_the_audit_record(make: Make) -> None:
    running: dict[str, Any] = {"answer": None}
    world = make(lambda spec: honest(spec) if running["answer"] else None)
    world.turn()
    world.turn()
    assert world.carrier.in_flight == 4
    world.provider.cancel = lambda handles: running.update(answer=True)  # type: ignore[method-assign]
    world.store.workflows.command(world.workflow.id, "cancel", "me")
    loop = world.run()
    assert loop.state is LoopState.CANCELLED
    assert world.store.workflows.by_id(world.workflow.id).state is WorkflowState.CANCELLED
    assert {p.state for p in world.history.points} == {PointState.DROPPED}
    with world.store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM late_result").scalar() == 4
    assert world.violations() == {}


def test_a_command_for_what_has_ended_says_so(make: Make) -> None:
    world = make()
    world.run()
    number = world.store.workflows.command(world.workflow.id, "cancel", "me")
    world.conductor.step()
    assert world.store.workflows.command_answer(number) == "cancel: nothing to do, toy is FINISHED"
    assert world.loop.state is LoopState.EXHAUSTED


@pytest.mark.parametrize("verb", ["resume", "hold"])
def test_nothing_takes_back_a_cancel(make: Make, verb: str) -> None:
    """Half of it has been cancelled when the next wish comes: whatever went on would wait for that for ever."""
    world = make(lambda _: None)
    world.turn()
    world.turn()
    world.provider.cancel = lambda _: None  # type: ignore[method-assign, assignment]
    world.store.workflows.command(world.workflow.id, "cancel", "me")
    world.turn()
    number = world.store.workflows.command(world.workflow.id, verb, "me")
    world.turn()
    assert world.store.workflows.command_answer(number) == f"{verb}: nothing to do, toy is being cancelled"
    world.provider.script = honest
    assert world.run().state is LoopState.CANCELLED
    assert world.violations() == {}


# ---------------------------------------------------------------------- the learner
@pytest.mark.parametrize(
    ("points", "what"),
    [
        ([{"x": 2.0, "y": 0.5}], "x=2.0 is outside its range"),
        ([{"x": float("nan"), "y": 0.5}], "outside its range"),
        ([{"x": 0.5}], "its parameters are x, not x, y"),
        ([{"x": 0.5, "y": 0.5}] * 2, "point 2 was proposed before"),
        ([{"x": i / 10, "y": 0.5} for i in range(9)], "9 points, asked for 4"),
        (["here"], "point 1 is 'here'"),
    ],
)
def test_a_bad_proposal_holds_the_loop_before_anything_runs(make: Make, points: list[Any], what: str) -> None:
    world = make()
    real = world.thinker.answer
    world.thinker.answer = lambda request: {**real(request), "points": points}
    loop = world.run()
    assert loop.state is LoopState.HELD
    assert loop.reason.startswith("E-LEARNER-001")
    assert what in loop.reason
    assert world.provider.submissions == []
    world.thinker.answer = real
    world.store.workflows.command(world.workflow.id, "resume", "me")
    assert world.run().state is LoopState.EXHAUSTED


def test_a_learner_without_points_stalls_the_loop_and_says_why(make: Make) -> None:
    world = make()
    real = world.thinker.answer

    def silent(request: Any) -> dict[str, Any]:
        answer = dict(real(request))
        return {**answer, "points": [], "reason": "nothing left to learn"} if request["history"]["points"] else answer

    world.thinker.answer = silent
    loop = world.run()
    assert (loop.state, loop.reason) == (LoopState.STALLED, "nothing left to learn")


# ---------------------------------------------------------------------- death
@pytest.mark.parametrize("dies_after", range(1, 40))
def test_an_engine_that_dies_between_any_two_parts_changes_nothing(make: Make, dies_after: int) -> None:
    """The parts of a turn, cut after each of the first 40; what was not submitted is submitted, nothing runs twice."""
    undisturbed = make()
    undisturbed.run()
    world = make()
    done = 0
    while done < dies_after:
        for part in ("start", "step", "poll", "collect", "claim", "dispatch", "conduct"):
            agent: Any = {"start": world.transformer, "step": world.transformer}.get(part, world.carrier)
            world.conductor.step() if part == "conduct" else getattr(agent, part)()
            done += 1
            if done == dies_after:
                break
    world.restart()
    assert world.run().state is LoopState.EXHAUSTED
    assert world.history.digest == undisturbed.history.digest
    assert len(set(world.provider.submissions)) == len(world.provider.submissions)
    assert world.violations() == {}


def test_what_the_provider_lost_in_a_crash_runs_again_and_burns_nothing(make: Make) -> None:
    world = make()
    for _ in range(3):
        world.turn()
        world.provider.jobs.clear()
        world.restart()
    assert world.run().state is LoopState.EXHAUSTED
    with world.store.reading() as connection:
        query = "SELECT sum(user_failures), sum(infra_failures) FROM job"
        assert connection.exec_driver_sql(query).one() == (0, 0)
    assert world.violations() == {}


# ---------------------------------------------------------------------- refusals
def test_what_the_provider_refuses_is_never_tried_again(make: Make) -> None:
    world = make()
    world.provider.answer = lambda spec: Submission(spec.key, SubmissionStatus.REFUSED, None, "the account expired")
    loop = world.run()
    assert loop.state in (LoopState.HELD, LoopState.FAILED)
    attempts = world.store.jobs.failed_attempts(loop.id)
    assert {(a.number, a.failure_class, a.failure_code, a.reason) for a in attempts} == {
        (1, FailureClass.FATAL, "E-JOB-REFUSED", "the account expired")
    }
    assert world.violations() == {}


def test_a_workflow_that_has_not_ended_does_not_begin_anew(make: Make) -> None:
    world = make()
    with pytest.raises(DefinitionError, match=r"^E-RUN-002 toy has not ended: it is active"):
        enter(world.store, world.definition, "bundle", 7, fresh=True)


def test_steps_without_a_source_cannot_be_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a module that somebody made by hand: it has no file."""
    module = types.ModuleType("floating")
    exec("def make(x, y): return {'z': x * y}\nmake.__module__ = 'floating'", vars(module))
    monkeypatch.setitem(sys.modules, "floating", module)
    made = step(module.make)
    with pytest.raises(IddsError, match=r"^E-RUN-003 the source of the steps cannot be found"):
        run_loop(toy(body=chain(made)).workflow.loops[0], tmp_path / "work")
