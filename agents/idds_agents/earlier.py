"""The histories of loops that have ended, for the learner of a loop that reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from idds_agents.catalog import LoopPlan
from idds_core.definition import Definition
from idds_core.history import History
from idds_core.store import LoopRecord, Store

__all__ = ["earlier_of"]


def earlier_of(store: Store, plan: LoopPlan, loop_id: int) -> Mapping[str, History]:
    """Name -> history of the loops that a loop reads: all have ended, so the same question is shown the same again.

    They are in the same revision; of several with that name the one beside the loop counts, then the one farther out.
    """
    if not plan.loop.reads:
        return {}
    record = store.workflows.loop(loop_id)
    definition = Definition(json.loads(store.workflows.by_id(record.workflow_id).definition))
    found: dict[str, History] = {}
    for loop in _before(store, record):
        name = loop.name.rpartition("/")[2]
        if name in plan.loop.reads and name not in found:
            history = store.iterations.history(loop.id, definition.loop(loop.name), 0)
            found[name] = History(history.space, 0, history.targets, history.points)
    return {name: found[name] for name in plan.loop.reads if name in found}


def _before(store: Store, record: LoopRecord) -> list[LoopRecord]:
    """The loops beside a loop, then those beside the loop around it, and so on."""
    found: list[LoopRecord] = []
    here = record
    while here.parent_point is not None:
        found += [loop for loop in store.workflows.inside([here.parent_point]) if loop.id != here.id]
        here = store.workflows.loop(store.points.outer(here.parent_point).loop_id)
    return found
