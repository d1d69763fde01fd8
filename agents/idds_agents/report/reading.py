"""A loop as a reader sees it: what is on record, at one moment, and the surrogate of it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from idds_agents.catalog import Catalog, LoopPlan
from idds_agents.earlier import earlier_of
from idds_core.errors import IddsError
from idds_core.history import History
from idds_core.ports import Surrogate
from idds_core.sealing import Seal
from idds_core.states import TERMINAL
from idds_core.store import Iteration, LoopRecord, Store, WorkflowRecord

__all__ = ["LoopView", "decided_iterations", "make_importable", "seal_of", "surrogate_of", "view_at", "view_loop"]


@dataclass(frozen=True)
class LoopView:
    """A loop at one moment.

    history : what of it may be shown. now : when it was looked at, seconds since the epoch.
    reasons : point number -> why it ended as it did, where something is said.
    chosen : point number -> why it was chosen, where something is said.
    upto : number of the iteration at whose end it is seen; None: as it stands.
    turns : of the loop as it stands, when it is seen at an earlier end: colours mean the same in both.
    """

    workflow: WorkflowRecord
    record: LoopRecord
    plan: LoopPlan
    iterations: tuple[Iteration, ...]
    history: History
    counters: Mapping[str, int]
    now: float
    reasons: Mapping[int, str] = field(default_factory=dict)
    chosen: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    upto: int | None = None
    turns: int | None = None

    @property
    def path(self) -> str:
        """``workflow[~n]/loop``."""
        return self.plan.path

    @property
    def ended(self) -> bool:
        """Whether the loop has concluded."""
        return self.record.state in TERMINAL["loop"]

    @property
    def evaluations(self) -> int:
        """Number of measured points, but for those that were replaced by a top-up."""
        return len(self.history.measured)

    @property
    def last_turn(self) -> int:
        """Number of the newest iteration of the loop as it stands that has proposed points; 0 for none."""
        return self.turns or max((p.iteration for p in self.history.points), default=0)

    @cached_property
    def points_by_state(self) -> dict[str, int]:
        """State -> number of points in it."""
        return dict(sorted(Counter(str(p.state) for p in self.history.points).items()))

    @property
    def core_hours(self) -> float:
        """What all attempts used so far."""
        return self.counters.get("core_ms", 0) / 3.6e6

    @property
    def elapsed_s(self) -> float:
        """Seconds from the start of the loop to its last closed iteration, or to now while it goes on."""
        closed = [i.elapsed_s for i in self.iterations if i.elapsed_s is not None]
        return closed[-1] if self.ended and closed else max(0.0, self.now - self.record.started)

    @cached_property
    def importance(self) -> dict[str, Any]:
        """Target -> which parameters matter, as the learner has it; nothing where it does not say."""
        learner = _learner(self.plan, self.history)
        told = getattr(learner, "importance", None)
        return dict(_asked(lambda: told(self.history), self.plan)) if told is not None else {}

    @cached_property
    def surrogate(self) -> Surrogate | None:
        """The surrogate of the history, or None while too little is known or when the learner has no map."""
        return surrogate_of(self.plan, self.history)


def seal_of(plan: LoopPlan, loop: LoopRecord, workdir: Path) -> Seal | None:
    """What opens the sealed targets of a loop, once people may see them."""
    return Seal(workdir / ".idds") if plan.loop.blind and loop.unblinded is not None else None


def view_loop(store: Store, workdir: Path, loop_id: int) -> LoopView:
    """The loop as one consistent look at the store finds it."""
    with store.reading():
        record = store.workflows.loop(loop_id)
        plan = Catalog(store, workdir).plan(loop_id)
        seal = seal_of(plan, record, workdir)
        history = store.iterations.history(loop_id, plan.loop, plan.seed, seal=seal)
        return LoopView(
            store.workflows.by_id(record.workflow_id),
            record,
            plan,
            tuple(store.iterations.all(loop_id)),
            replace(history, earlier=earlier_of(store, plan, loop_id)),
            store.counters(loop_id),
            store.now(),
            store.outputs.reasons(loop_id),
            store.iterations.chosen(loop_id),
        )


def decided_iterations(view: LoopView) -> list[int]:
    """Numbers of the iterations that have closed and been decided on: those whose learner state is on record."""
    return [i.number for i in view.iterations if i.closed is not None and i.verdict]


def view_at(view: LoopView, number: int) -> LoopView:
    """The loop as it was when an iteration had closed: its map is made again from the state recorded then.

    Raises
    ------
    IddsError
        When that iteration has not closed.

    """
    known = decided_iterations(view)
    if number not in known:
        why = f"there are {known[0]} to {known[-1]}" if known else "none has closed yet"
        raise IddsError.of("E-REPORT-003", f"{view.path} has no closed iteration {number}", why, view.path,
                           "Give the number of a closed one; 'ls' lists them.")  # fmt: skip
    points = tuple(p for p in view.history.points if p.iteration <= number)
    records = tuple(r for r in view.history.iterations if r.number <= number)
    return replace(
        view,
        iterations=tuple(i for i in view.iterations if i.number <= number),
        history=replace(view.history, points=points, iterations=records),
        upto=number,
        turns=view.last_turn,
    )


def make_importable(plan: LoopPlan) -> None:
    """Let what lives beside the scan file be found: a learner, a condition."""
    bundle = str(plan.bundle)
    if bundle not in sys.path:
        sys.path.insert(0, bundle)


def surrogate_of(plan: LoopPlan, history: History) -> Surrogate | None:
    """The surrogate that the loop's own learner makes of a history, or None.

    Raises
    ------
    IddsError
        When the learner cannot be built again or refuses the history.

    """
    from idds_core.ports import Mapper

    learner = _learner(plan, history)
    return _asked(lambda: learner.surrogate(history), plan) if isinstance(learner, Mapper) else None


def _learner(plan: LoopPlan, history: History) -> Any:
    from idds_core.plugins import LEARNERS, build

    make_importable(plan)
    described = dict(plan.document["learner"] or {})
    if plan.loop.blind and "targets" in described:  # those that the history shows
        described["targets"] = list(history.targets)
    return build(described, LEARNERS) if described.get("type") else None


def _asked(question: Callable[[], Any], plan: LoopPlan) -> Any:
    try:
        return question()
    except IddsError:
        raise
    except Exception as error:  # the user's own learner may raise anything
        raise IddsError.of("E-REPORT-001", "the learner gives no map", f"{type(error).__name__}: {error}", plan.path,
                           "Mend the learner.") from error  # fmt: skip
