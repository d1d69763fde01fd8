"""Values on the way, and the rule that prunes by them: alike however, and however often, it is heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from idds_core.definition import validate
from idds_core.errors import DefinitionError
from idds_core.model import Loop, chain
from idds_core.ports import Heard, JobReport, JobSpec, Reports, ReportState
from idds_core.space import Real, Space
from idds_core.states import TERMINAL, LoopState, PointState
from idds_core.store import LoopRecord
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from idds_learners import Asha, MaxPoints, MedianRule, Sobol
from tests.world import World, function, toy

EPOCHS = 4


@dataclass(frozen=True)
class Faulty:
    """A rule of somebody's."""

    def check(self, own: Reports, others: Sequence[Reports]) -> str | None:
        raise ZeroDivisionError("no others")


class Reporting(ScriptedProvider):
    """Jobs that report x + epoch / 10 at each epoch, `pace` of them a poll, and end after the last."""

    def __init__(self, pace: int = 1, ends: Any = None) -> None:
        super().__init__(self._script)
        self.pace = pace
        self.said: dict[str, int] = {}
        self.notice: dict[str, str] = {}
        self.ends = ends or (lambda spec: success(spec, {"z": arguments(spec)["x"]}))

    def _script(self, spec: JobSpec) -> JobReport | None:
        if spec.key in self.notice:
            return JobReport(ReportState.PRUNED)
        return self.ends(spec) if self.said.get(spec.key, 0) >= EPOCHS else None

    def heard(self) -> list[Heard]:
        found = []
        for key, spec in self.jobs.items():
            done = self.said.get(key, 0)
            upto = min(EPOCHS, done + self.pace)
            self.said[key] = upto
            values = [(epoch, arguments(spec)["x"] + epoch / 10) for epoch in range(done, upto)]
            if values:
                found.append(Heard(key, tuple(values), (upto / EPOCHS, f"epoch {upto}")))
        return found

    def prune(self, reasons: Mapping[str, str]) -> None:
        self.notice.update(reasons)


def loop(rule: Any = None, **more: Any) -> Any:
    return validate(Loop("toy", space=Space(x=Real(0, 1)), body=chain(function("train", "x")), learner=Sobol(["z"]),
                         until=MaxPoints(16), first=4, batch=4, prune=rule, **more))  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Any:
    def make(provider: ScriptedProvider, rule: Any = None, **more: Any) -> World:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return World(folder, provider, loop(rule, **more))

    return make


def run(world: World) -> LoopRecord:
    """To the end; while jobs go on nothing moves for some turns."""
    for _ in range(400):
        world.turn()
        if world.loop.state in TERMINAL["loop"]:
            break
    return world.loop


def states(world: World) -> list[str]:
    return [str(p.state) for p in world.history.points]


def test_without_a_rule_reports_and_progress_are_kept_and_prune_nothing(world: Any) -> None:
    made = world(Reporting())
    assert run(made).state is LoopState.EXHAUSTED
    assert set(states(made)) == {"MEASURED"}
    jobs = made.store.jobs.all(made.loop.id)
    told = made.store.reports.of_jobs([jobs[0].id])[jobs[0].id]
    x = made.history.points[0].parameters["x"]
    assert told == tuple((epoch, x + epoch / 10) for epoch in range(EPOCHS))
    attempts = made.store.jobs.attempts([jobs[0].id])
    (progress,) = made.store.reports.progress(attempts=[a.id for a in attempts])
    assert (progress.fraction, progress.text) == (1.0, "epoch 4")
    assert made.violations() == {}


def test_a_point_worse_than_the_median_is_pruned_and_never_tried_again(world: Any) -> None:
    made = world(Reporting(), MedianRule(least=3, after=1))
    assert run(made).state is LoopState.EXHAUSTED
    history = made.history
    pruned = [p for p in history.points if p.state is PointState.PRUNED]
    assert pruned
    assert all(p.state is PointState.MEASURED for p in history.points[:4])  # there was nothing to compare with
    for point in pruned:
        assert point.last_report == (1, point.parameters["x"] + 0.1)
        assert point.observation is None
        job = made.store.jobs.all(made.loop.id, point=point.number)[0]
        assert (job.state, job.attempts) == ("CANCELLED", 1)
        assert "is worse than the median" in job.reason
    assert made.violations() == {}
    assert type(history).from_json(history.to_json()) == history
    counters = made.store.counters(made.loop.id)
    assert counters["PRUNED"] == len(pruned)


@pytest.mark.parametrize(
    "ends",
    [
        None,
        lambda spec: failure("it went wrong after the verdict"),
        lambda spec: JobReport(ReportState.INFEASIBLE, failure=failure().failure),
    ],
    ids=["succeeded", "failed", "infeasible"],
)
def test_how_fast_it_is_heard_and_how_the_job_ends_makes_no_difference(world: Any, ends: Any) -> None:
    rule = MedianRule(least=3, after=1)
    slow = world(Reporting(), rule)
    run(slow)
    worse = {p.number for p in slow.history.points if p.state is PointState.PRUNED}

    def end(spec: JobSpec) -> JobReport:
        x = arguments(spec)["x"]
        lost = any(p.parameters["x"] == x and p.number in worse for p in slow.history.points)
        return (ends if lost and ends else lambda s: success(s, {"z": x}))(spec)

    fast = world(Reporting(pace=EPOCHS, ends=end), rule)  # all is said and done before anybody could decide
    run(fast)
    assert states(fast) == states(slow)
    assert fast.history.digest == slow.history.digest
    assert [p.last_report for p in fast.history.points] == [p.last_report for p in slow.history.points]
    assert fast.violations() == {}


def test_only_the_best_of_a_rung_go_on(world: Any) -> None:
    made = world(Reporting(), Asha(first=1, factor=3))
    assert run(made).state is LoopState.EXHAUSTED
    history = made.history
    pruned = [p for p in history.points if p.state is PointState.PRUNED]
    assert pruned
    assert all(p.state is PointState.MEASURED for p in history.points[:4])  # there was nothing to compare with
    for point in pruned:
        assert point.last_report is not None
        assert point.last_report[0] in (1, 3)  # the rungs
        job = made.store.jobs.all(made.loop.id, point=point.number)[0]
        assert (job.state, job.attempts) == ("CANCELLED", 1)
        assert "is not among the best" in job.reason
    best = min(history.points, key=lambda p: p.parameters["x"])
    assert best.state is PointState.MEASURED
    assert made.violations() == {}


@pytest.mark.parametrize("rule", [Asha(factor=2), Asha(minimize=False)])
@pytest.mark.parametrize("dies_after", [5, 23, 41])
def test_successive_halving_is_the_same_after_any_crash(world: Any, rule: Asha, dies_after: int) -> None:
    undisturbed = world(Reporting(), rule)
    run(undisturbed)
    made = world(Reporting(pace=2), rule)
    for count in range(dies_after * 4):
        part = ("start", "step", "poll", "collect", "claim", "dispatch", "conduct")[count % 7]
        agent: Any = {"start": made.transformer, "step": made.transformer}.get(part, made.carrier)
        made.conductor.step() if part == "conduct" else getattr(agent, part)()
    made.provider.said.clear()
    made.restart()
    assert run(made).state is LoopState.EXHAUSTED
    assert made.history.digest == undisturbed.history.digest
    assert made.violations() == {}


@pytest.mark.parametrize("dies_after", [*range(1, 60, 3)])
def test_an_engine_that_dies_anywhere_prunes_the_same(world: Any, dies_after: int) -> None:
    rule = MedianRule(least=3, after=1)
    undisturbed = world(Reporting(), rule)
    run(undisturbed)
    made = world(Reporting(), rule)
    for count in range(dies_after * 4):
        part = ("start", "step", "poll", "collect", "claim", "dispatch", "conduct")[count % 7]
        agent: Any = {"start": made.transformer, "step": made.transformer}.get(part, made.carrier)
        made.conductor.step() if part == "conduct" else getattr(agent, part)()
    made.provider.said.clear()  # a file is read from its beginning again
    made.restart()
    assert run(made).state is LoopState.EXHAUSTED
    assert made.history.digest == undisturbed.history.digest
    assert made.violations() == {}


def test_a_step_may_prune_its_own_point(world: Any) -> None:
    def ends(spec: JobSpec) -> JobReport:
        report = failure("hopeless")
        return JobReport(ReportState.PRUNED, failure=report.failure)

    made = world(Reporting(pace=2, ends=ends))
    assert run(made).state is LoopState.EXHAUSTED
    assert set(states(made)) == {"PRUNED"}
    first = made.history.points[0]
    assert first.last_report == (EPOCHS - 1, first.parameters["x"] + (EPOCHS - 1) / 10)
    assert made.violations() == {}


def test_a_rule_that_fails_holds_the_loop(world: Any) -> None:
    made = world(Reporting(), Faulty())
    record = run(made)
    assert record.state is LoopState.HELD
    assert record.reason.startswith("E-PRUNE-001 the rule to prune failed: ZeroDivisionError: no others")


def test_a_rule_is_checked_with_the_definition() -> None:
    with pytest.raises(DefinitionError) as caught:
        loop(MedianRule(least=0))
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("E-DEF-005", "body.toy.prune")
    assert "least=0 is not a whole number" in problem.why
    with pytest.raises(DefinitionError) as caught:
        loop(MaxPoints(3))
    assert "MaxPoints is no prune rule" in str(caught.value)
    assert validate(Loop(**vars(loop(MedianRule()).workflow.loops[0]))).text == loop(MedianRule()).text
    assert '"prune":null' in toy().text
