"""A loop as a reader sees it: what is on record, at one moment, and the surrogate of it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from idds_agents.catalog import Catalog, LoopPlan
from idds_agents.report.visible import visible_history, visible_reasons
from idds_core.errors import IddsError
from idds_core.history import History
from idds_core.ports import Surrogate
from idds_core.states import TERMINAL
from idds_core.store import Iteration, LoopRecord, Store, WorkflowRecord

__all__ = ["LoopView", "surrogate_of", "view_loop"]


@dataclass(frozen=True)
class LoopView:
    """A loop at one moment.

    history : what of it may be shown. now : when it was looked at, seconds since the epoch.
    reasons : point number -> why it ended as it did, where something is said.
    """

    workflow: WorkflowRecord
    record: LoopRecord
    plan: LoopPlan
    iterations: tuple[Iteration, ...]
    history: History
    counters: Mapping[str, int]
    now: float
    reasons: Mapping[int, str] = field(default_factory=dict)

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
        """Number of measured points."""
        return len(self.history.measured)

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
        return closed[-1] if self.ended and closed else max(0.0, self.now - self.record.created)

    @cached_property
    def surrogate(self) -> Surrogate | None:
        """The surrogate of the history, or None while too little is known or when the learner has no map."""
        return surrogate_of(self.plan, self.history)


def view_loop(store: Store, workdir: Path, loop_id: int) -> LoopView:
    """The loop as one consistent look at the store finds it."""
    with store.reading():
        record = store.workflows.loop(loop_id)
        plan = Catalog(store, workdir).plan(loop_id)
        return LoopView(
            store.workflows.by_id(record.workflow_id),
            record,
            plan,
            tuple(store.iterations.all(loop_id)),
            visible_history(plan.loop, store.iterations.history(loop_id, plan.loop, plan.seed)),
            store.counters(loop_id),
            store.now(),
            visible_reasons(plan.loop, store.outputs.reasons(loop_id)),
        )


def surrogate_of(plan: LoopPlan, history: History) -> Surrogate | None:
    """The surrogate that the loop's own learner makes of a history, or None.

    Raises
    ------
    IddsError
        When the learner cannot be built again or refuses the history.

    """
    from idds_core.plugins import LEARNERS, build
    from idds_core.ports import Mapper

    bundle = str(plan.bundle)
    if bundle not in sys.path:  # the learner may live beside the scan file
        sys.path.insert(0, bundle)
    learner: Any = build(plan.document["learner"], LEARNERS)
    if not isinstance(learner, Mapper):
        return None
    try:
        return learner.surrogate(history)
    except IddsError:
        raise
    except Exception as error:  # the user's own learner may raise anything
        raise IddsError.of("E-REPORT-001", "the learner gives no map", f"{type(error).__name__}: {error}", plan.path,
                           "Mend the learner.") from error  # fmt: skip
