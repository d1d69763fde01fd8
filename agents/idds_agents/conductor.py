"""The conductor: takes commands, releases the next step, closes iterations, concludes, cancels what is left."""

from __future__ import annotations

from idds_agents.catalog import Catalog
from idds_agents.points import advance_points
from idds_agents.postman import Postman
from idds_agents.requests import REQUESTS, Requests
from idds_core.states import LoopState, PointState, VerdictKind, Wish, WorkflowState
from idds_core.store import LoopRecord, Store

__all__ = ["Conductor"]

_ENDS = {
    VerdictKind.CONVERGED: LoopState.CONVERGED,
    VerdictKind.BUDGET: LoopState.EXHAUSTED,
    VerdictKind.STALLED: LoopState.STALLED,
    VerdictKind.NOTHING_FEASIBLE: LoopState.NOTHING_FEASIBLE,
}
_WISHES = {"hold": Wish.HOLD, "resume": Wish.RUN, "cancel": Wish.CANCEL}
_ACTOR = "conductor"
_SWEEP_S = 30.0
#: A loop fails often when so many points failed, and this share of those that have ended.
_MANY, _SHARE = 5, 0.2


class Conductor:
    """One conductor; any number may run."""

    def __init__(self, store: Store, catalog: Catalog, postman: Postman | None = None) -> None:
        self._store = store
        self._catalog = catalog
        self._swept = float("-inf")
        self.postman = postman
        self._told: set[int] = set()  # loops of which it is told that they fail often
        self._requests = Requests(store, catalog)

    def step(self) -> int:
        """Everything that can be moved now, in one transaction; returns how much."""
        with self._store.transaction():
            moved = self.commands()
            moved += self._store.jobs.release(_ACTOR)
            moved += self._conduct_all()
            now = self._store.now()
            every = now - self._swept > _SWEEP_S  # what was touched is a hint: it dies with a process
            self._swept = now if every else self._swept
            further = advance_points(self._store, self._catalog, _ACTOR, every=every)
            if further:  # it may have ended the last point of an iteration
                moved += further + self._conduct_all()
            if self._store.outbox.targets:
                for loop in self._catalog.live_loops():
                    self._count_failures(loop)
            if self.postman is not None:
                self.postman.collect()
        return moved

    def _conduct_all(self) -> int:
        return sum(self._conduct(loop) for loop in self._catalog.live_loops())

    def deliver(self) -> None:
        """Send what is in the outbox; after the commit."""
        if self.postman is not None:
            self.postman.dispatch()

    def _count_failures(self, loop: LoopRecord) -> None:
        if loop.id in self._told:
            return
        counters = self._store.counters(loop.id)
        failed = counters.get(PointState.FAILED, 0)
        ended = sum(counters.get(state, 0) for state in PointState)
        if failed >= _MANY and failed >= _SHARE * ended:
            self._told.add(loop.id)
            self._store.outbox.failed_often(loop.id, failed, ended)

    # ------------------------------------------------------------------ wishes
    def commands(self) -> int:
        """Take the commands that people at other terminals wrote."""
        commands = self._store.workflows.open_commands()
        for command in commands:
            if command.verb in REQUESTS:
                self._store.workflows.answer(command, self._requests.take(command))
                continue
            wish = _WISHES[command.verb]
            workflow = self._store.workflows.by_id(command.workflow_id)
            if wish is not Wish.CANCEL and workflow.wish is Wish.CANCEL:  # half of it may be cancelled already
                answer = f"{command.verb}: nothing to do, {workflow.path} is being cancelled"
            elif workflow.state in (WorkflowState.ACTIVE, WorkflowState.HELD):
                self._store.workflows.wish(workflow.id, wish)
                self._obey(workflow.id, wish)
                answer = f"{command.verb}: done"
            else:
                answer = f"{command.verb}: nothing to do, {workflow.path} is {workflow.state}"
            self._store.workflows.answer(command, answer)
        return len(commands)

    def _obey(self, workflow_id: int, wish: Wish) -> None:
        """Hold and resume are facts at once; a cancel is one when nothing runs any more."""
        for loop in self._store.workflows.loops(workflow_id):
            if wish is Wish.HOLD and loop.state is LoopState.ACTIVE:
                self._store.workflows.move_loop(loop, LoopState.HELD, "by the user", "user")
            elif wish is Wish.RUN and loop.state is LoopState.HELD:
                self._store.workflows.move_loop(loop, LoopState.ACTIVE, "resumed by the user", "user")

    # ------------------------------------------------------------------ a loop
    def _conduct(self, loop: LoopRecord) -> int:
        if loop.wish is Wish.CANCEL:
            return self._cancel(loop)
        if self._catalog.plan(loop.id).hidden:
            return self._conduct_hidden(loop)
        moved = self._close(loop)
        last = self._store.iterations.last(loop.id)
        if last is None or not last.verdict or loop.state is not LoopState.ACTIVE:
            return moved
        kind = VerdictKind(last.verdict)
        if kind in _ENDS:
            if self._steady(loop) and not self._cleared(loop, f"the loop has stopped: {kind}"):
                return moved
            self._conclude(loop, *self._end(loop, kind, last.verdict_reason))
            moved += 1
        return moved

    def _conduct_hidden(self, loop: LoopRecord) -> int:
        """The workflow's own steps: when their one point has ended, so has all of it."""
        moved = self._store.iterations.close_finished(loop.id, loop.started)
        (point,) = self._store.iterations.points(loop.id)
        if point.state is PointState.OPEN or loop.state is not LoopState.ACTIVE:
            return moved
        why = self._store.points.reason(loop.id, point.number)
        self._conclude(loop, *self._hidden_end(loop, point.state, why))
        return moved + 1

    def _hidden_end(self, loop: LoopRecord, point: PointState, why: str) -> tuple[LoopState, str]:
        inside = [other for other in self._store.workflows.loops(loop.workflow_id) if other.id != loop.id]
        if point is PointState.MEASURED:
            short = [o for o in inside if "/" not in o.name and o.state is not LoopState.CONVERGED]
            if short:
                return LoopState.EXHAUSTED, f"{short[0].name} ended {short[0].state}: {short[0].reason}"
            return LoopState.CONVERGED, "all steps have run"
        if point is PointState.INFEASIBLE:
            return LoopState.NOTHING_FEASIBLE, why
        return LoopState.FAILED, f"E-LOOP-003 {why}"

    def _end(self, loop: LoopRecord, kind: VerdictKind, reason: str) -> tuple[LoopState, str]:
        """The end a verdict means; a loop in which nothing could be measured has failed, whatever its budget says."""
        counters = self._store.counters(loop.id)
        failed = counters.get(PointState.FAILED, 0)
        if failed and not counters.get(PointState.MEASURED) and not counters.get(PointState.INFEASIBLE):
            return LoopState.FAILED, f"E-LOOP-002 none of {failed} points could be measured; {reason}"
        return _ENDS[kind], reason

    def _cancel(self, loop: LoopRecord) -> int:
        if not self._cleared(loop, "the loop was cancelled"):
            return 0
        self._close(loop)
        self._conclude(loop, LoopState.CANCELLED, "cancelled by the user")
        return 1

    def _cleared(self, loop: LoopRecord, reason: str) -> bool:
        """Cancel what has not started, drop what is left; whether nothing of the loop runs any more."""
        self._store.jobs.cancel_unstarted(loop.id, reason, _ACTOR)
        if self._catalog.plan(loop.id).wide:
            for point in self._store.points.open_of(loop.id):
                self._store.points.clear(point, reason, _ACTOR)
        if self._store.jobs.live_count(loop.id) or self._store.points.live_inside(loop.id):
            return False
        self._store.iterations.drop_open(loop.id, reason, _ACTOR)
        if self._steady(loop):
            self._store.steady.ingest(loop.id)
        return True

    def _steady(self, loop: LoopRecord) -> bool:
        return self._catalog.plan(loop.id).loop.mode == "steady"

    def _close(self, loop: LoopRecord) -> int:
        """Close what can be closed; in steady mode, freeze the next question when its time has come."""
        if self._steady(loop):
            plan = self._catalog.plan(loop.id).loop
            return self._store.steady.close(loop.id, loop.started, plan.batch, plan.top_up)
        return self._store.iterations.close_finished(loop.id, loop.started)

    def _conclude(self, loop: LoopRecord, state: LoopState, reason: str) -> None:
        if loop.parent_point is not None:  # the point around it goes on
            self._catalog.leave_result(loop, state, reason)
            self._store.workflows.move_loop(loop, state, reason, _ACTOR)
            self._store.points.touch(loop.parent_point)
            return
        if not self._store.workflows.move_loop(loop, state, reason, _ACTOR):
            return  # somebody else was faster
        ends = {LoopState.CANCELLED: WorkflowState.CANCELLED, LoopState.FAILED: WorkflowState.FAILED}
        self._store.workflows.finish(loop.workflow_id, ends.get(state, WorkflowState.FINISHED), reason, _ACTOR)
