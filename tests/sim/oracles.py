"""What must be true: the store's own invariants at any time, and more in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from idds_agents.catalog import Catalog
from idds_agents.replay import replay
from idds_core.store import Store

if TYPE_CHECKING:
    from tests.sim.schedule import Schedule

__all__ = ["in_the_end", "invariants"]


def invariants(store: Store) -> Iterator[str]:
    """What `verify` finds."""
    for name, found in store.audit.verify().items():
        if found:
            yield f"{name}: {found[:3]}"


def in_the_end(store: Store, world: Schedule) -> Iterator[str]:
    """The invariants, the end that was due, the history of a run without faults, and each question asked again."""
    from tests.sim.schedule import fault_free

    yield from invariants(store)
    catalog = Catalog(store, world.folder)
    digests = []
    for loop in store.workflows.loops(world.workflow_id):
        plan = catalog.plan(loop.id)
        history = store.iterations.history(loop.id, plan.loop, plan.seed)
        digests.append(f"{loop.name} {history.digest}")
        if not world.ended(loop):
            yield f"loop {loop.name} is {loop.state}: {loop.reason}"
    world.report.digest = " ".join(sorted(digests))
    if world.booted > 1 or world.report.faults:
        expected = fault_free(world.report.workload)
        if world.report.digest != expected:
            yield f"another history than without faults: {world.report.digest}, not {expected}"
