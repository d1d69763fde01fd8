"""The transformer: asks the learner about a closed iteration, writes the verdict and the next points and jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol

from idds_agents.catalog import Catalog, LoopPlan
from idds_agents.earlier import earlier_of
from idds_agents.points import cut_problem
from idds_agents.takeover import top_ups
from idds_core.errors import IddsError
from idds_core.history import History, canonical_json
from idds_core.ports import Verdict
from idds_core.states import LoopState, VerdictKind, Wish
from idds_core.store import Decision, Iteration, LoopRecord, Store, Waiting

__all__ = ["Answer", "Thinker", "Transformer", "proposal_problem", "verdict_of"]

_ACTOR = "transformer"


class Answer(dict[str, Any]):
    """What the learner's process answers: points, diagnostics, state, reason, verdict, asked.

    It may also say why each point was `chosen`, and what the answer `took` in seconds by part.
    """


class Thinker(Protocol):
    """Runs learner and conditions, bounded in time and memory, away from the agents."""

    def think(
        self, document: Mapping[str, Any], history: Mapping[str, Any], bundle: str, wake: Callable[[], None]
    ) -> Future[Answer]:
        """The answer to a history, later; `wake` is called when it is there."""
        ...


def proposal_problem(points: Sequence[Any], n: int, history: History) -> str:
    """Why a proposal cannot be taken; empty when it can. Nothing runs before this has been asked."""
    if len(points) > n:
        return f"it proposed {len(points)} points, asked for {n}"
    names = history.space.names
    seen = {tuple(p.parameters[name] for name in names) for p in history.points}
    for i, point in enumerate(points):
        if not isinstance(point, Mapping):
            return f"point {i + 1} is {point!r}"
        wrong = history.space.point_problem(point)
        if wrong:
            return f"point {i + 1} is not in the space: {wrong}"
        values = tuple(point[name] for name in names)
        if values in seen:
            return f"point {i + 1} was proposed before: {canonical_json(dict(point))}"
        seen.add(values)
    return ""


def verdict_of(answer: Answer, history: History) -> Verdict:
    """The verdict that an answer means: a learner with nothing to propose and nothing to wait for is stuck."""
    verdict = Verdict(VerdictKind(answer["verdict"]["kind"]), answer["verdict"]["reason"])
    if answer["points"] or verdict.stop or history.pending:
        return verdict
    return Verdict(VerdictKind.STALLED, answer["reason"] or "the learner proposed no point")


class Transformer:
    """One transformer. `start` calls the learner (never inside a transaction), `step` writes what it said."""

    def __init__(self, store: Store, catalog: Catalog, thinker: Thinker, wake: Callable[[], None]) -> None:
        self._store = store
        self._catalog = catalog
        self.thinker = thinker
        self._wake = wake
        self._known: dict[int, History] = {}  # what was asked about last: all of it has ended, so it stays as it is
        self._earlier: dict[int, Mapping[str, History]] = {}  # by loop, what it reads: that has ended as well
        self._thinking: dict[int, tuple[int, History, Future[Answer]]] = {}

    @property
    def busy(self) -> bool:
        """Whether the learner is at work."""
        return any(not future.done() for _, _, future in self._thinking.values())

    def start(self) -> int:
        """Ask the learners of loops that need an answer."""
        started = 0
        for loop in self._catalog.live_loops():
            if loop.id in self._thinking or not self._wanted(loop) or self._catalog.plan(loop.id).hidden:
                continue
            last = self._store.iterations.last(loop.id)
            if last is not None and (last.closed is None or last.verdict):
                continue
            plan = self._catalog.plan(loop.id)
            history = self._question(loop, plan, last.number if last else 0)
            future = self.thinker.think(plan.document, history.to_json(), str(plan.bundle), self._wake)
            self._thinking[loop.id] = (last.number if last else 0, history, future)
            started += 1
        return started

    def _question(self, loop: LoopRecord, plan: LoopPlan, number: int) -> History:
        """What the learner is shown when the iteration of that number has closed."""
        if loop.id not in self._earlier:
            self._earlier[loop.id] = earlier_of(self._store, plan, loop.id)
        if plan.loop.mode == "steady":  # points may have ended since the question was frozen
            history = self._store.iterations.history(loop.id, plan.loop, plan.seed).as_asked(number)
        else:
            history = self._store.iterations.history(loop.id, plan.loop, plan.seed, self._known.get(loop.id))
            self._known[loop.id] = history
        return replace(history, earlier=self._earlier[loop.id])

    @staticmethod
    def _wanted(loop: LoopRecord) -> bool:
        return loop.state is LoopState.ACTIVE and loop.wish is Wish.RUN

    def step(self) -> int:
        """Write the answers that have come, in one transaction: verdict, next iteration, points, jobs."""
        if not any(future.done() for _, _, future in self._thinking.values()):
            return 0
        moved = 0
        with self._store.transaction():  # whether a loop still wants its answer is asked in it
            for loop in self._catalog.live_loops():
                thought = self._thinking.get(loop.id)
                if thought is None or not thought[2].done():
                    continue
                del self._thinking[loop.id]
                if self._wanted(loop):  # otherwise the answer is dropped; the same question gives it again
                    moved += self._take(loop, *thought)
        return moved

    def _take(self, loop: LoopRecord, number: int, history: History, future: Future[Answer]) -> int:
        plan = self._catalog.plan(loop.id)
        try:
            answer = future.result()
            wrong = proposal_problem(answer["points"], answer["asked"], history) or cut_problem(plan, answer["points"])
            if wrong:
                raise IddsError.of(
                    "E-LEARNER-001",
                    "the learner's proposal cannot be used",
                    wrong,
                    f"iteration {number + 1} of {plan.path}",
                    "Mend the learner, then 'resume'.",
                )
        except IddsError as error:
            self._store.workflows.move_loop(loop, LoopState.HELD, str(error), _ACTOR)
            return 1
        last = self._store.iterations.last(loop.id)
        written = self._store.counters(loop.id).get("points", 0)
        if (last.number if last else 0) != number or written != len(history.points):
            return 0  # points were brought meanwhile: the question is another one now
        self._write(loop, plan, last, answer, history)
        return 1

    def _write(
        self, loop: LoopRecord, plan: LoopPlan, last: Iteration | None, answer: Answer, history: History
    ) -> None:
        verdict = verdict_of(answer, history)
        waiting = self._store.queue.waiting(loop.id)  # what people asked for comes first
        told = answer.get("chosen", ())  # a foreign process may say nothing of it
        chosen = told if len(told) == len(answer["points"]) else [{}] * len(answer["points"])
        proposed = list(zip(answer["points"], chosen, strict=True))
        entries, verdict = _with_waiting(proposed, waiting, history, verdict)
        if last is not None:
            took, versions = answer.get("took", {}), answer.get("versions", {})
            decision = Decision(answer["state"], answer["diagnostics"], verdict, took, versions)
            if not self._store.iterations.decide(last, decision):
                return
        number = last.number if last else 0
        if not verdict.stop or last is None:
            first = len(history.points) + 1
            tops = top_ups(self._store, plan, loop.id, waiting, first)
            points, reasons = [p for p, _ in entries], [why for _, why in entries]
            took = answer.get("took") if last is None else None
            self._store.iterations.add(
                loop.id, plan.loop, number + 1, points, answer["asked"], first, plan.values, tops, reasons, took
            )
            self._store.queue.entered(loop.id, waiting, first)


_Entry = tuple[Mapping[str, Any], Mapping[str, Any]]  # a point, and why it was chosen


def _with_waiting(
    proposed: Sequence[_Entry], waiting: Sequence[Waiting], history: History, verdict: Verdict
) -> tuple[list[_Entry], Verdict]:
    """The points that people asked for, then the learner's; a loop does not stop before the former are measured."""
    if not waiting:
        return list(proposed), verdict
    names = history.space.names
    known = {tuple(w.parameters[n] for n in names) for w in waiting}
    brought: list[_Entry] = [
        (w.parameters, {"why": "added" if w.retry_of is None else "retry", "reason": w.reason}) for w in waiting
    ]
    entries = brought + [e for e in proposed if tuple(e[0][n] for n in names) not in known]
    if verdict.stop:
        verdict = Verdict(VerdictKind.GO_ON, f"{len(waiting)} points that were asked for come first; {verdict.reason}")
    return entries, verdict
