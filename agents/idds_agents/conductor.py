"""The conductor: takes commands, releases the next step, closes iterations, concludes, cancels what is left."""

from __future__ import annotations

from idds_agents.catalog import Catalog
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


class Conductor:
    """One conductor; any number may run."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog
        self._requests = Requests(store, catalog)

    def step(self) -> int:
        """Everything that can be moved now, in one transaction; returns how much."""
        with self._store.transaction():
            moved = self.commands()
            moved += self._store.jobs.release(_ACTOR)
            for loop in self._catalog.live_loops():
                moved += self._conduct(loop)
        return moved

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
            if workflow.state in (WorkflowState.ACTIVE, WorkflowState.HELD):
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
        moved = self._store.iterations.close_finished(loop.id, loop.started)
        last = self._store.iterations.last(loop.id)
        if last is None or not last.verdict or loop.state is not LoopState.ACTIVE:
            return moved
        kind = VerdictKind(last.verdict)
        if kind in _ENDS:
            self._conclude(loop, *self._end(loop, kind, last.verdict_reason))
            moved += 1
        return moved

    def _end(self, loop: LoopRecord, kind: VerdictKind, reason: str) -> tuple[LoopState, str]:
        """The end a verdict means; a loop in which nothing could be measured has failed, whatever its budget says."""
        counters = self._store.counters(loop.id)
        failed = counters.get(PointState.FAILED, 0)
        if failed and not counters.get(PointState.MEASURED) and not counters.get(PointState.INFEASIBLE):
            return LoopState.FAILED, f"E-LOOP-002 none of {failed} points could be measured; {reason}"
        return _ENDS[kind], reason

    def _cancel(self, loop: LoopRecord) -> int:
        moved = self._store.jobs.cancel_unstarted(loop.id, "the loop was cancelled", _ACTOR)
        if self._store.jobs.live_count(loop.id):
            return moved
        moved += self._store.iterations.drop_open(loop.id, "the loop was cancelled", _ACTOR)
        self._store.iterations.close_finished(loop.id, loop.started)
        self._conclude(loop, LoopState.CANCELLED, "cancelled by the user")
        return moved + 1

    def _conclude(self, loop: LoopRecord, state: LoopState, reason: str) -> None:
        self._store.workflows.move_loop(loop, state, reason, _ACTOR)
        rest = [other for other in self._store.workflows.loops(loop.workflow_id) if other.id != loop.id]
        if any(other.state in (LoopState.WAITING, LoopState.ACTIVE, LoopState.HELD) for other in rest):
            return
        ends = {LoopState.CANCELLED: WorkflowState.CANCELLED, LoopState.FAILED: WorkflowState.FAILED}
        self._store.workflows.finish(loop.workflow_id, ends.get(state, WorkflowState.FINISHED), reason, _ACTOR)
