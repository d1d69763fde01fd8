"""What must be true: the store's own invariants at any time, and more in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from idds_agents.catalog import Catalog
from idds_agents.replay import replay
from idds_core.store import Store
from tests.sim.workloads import CANCELLED

if TYPE_CHECKING:
    from tests.sim.schedule import Schedule

__all__ = ["budgets", "in_the_end", "invariants"]

#: faults that make a job run once more than its attempts say
_DOUBLES = ("job: twice", "job: requeued")


def invariants(store: Store) -> Iterator[str]:
    """What `verify` finds."""
    for name, found in store.audit.verify().items():
        if found:
            yield f"{name}: {found[:3]}"


def in_the_end(store: Store, world: Schedule) -> Iterator[str]:
    """The invariants, the end that was due, the history of a run without faults, and each question asked again."""
    yield from invariants(store)
    catalog = Catalog(store, world.folder)
    digests = []
    for loop in store.workflows.loops(world.workflow_id):
        plan = catalog.plan(loop.id)
        digests.append(f"{loop.name} {store.iterations.history(loop.id, plan.loop, plan.seed).digest}")
        if not world.ended(loop):
            yield f"loop {loop.name} is {loop.state}: {loop.reason}"
        if world.deep:
            for difference in replay(store, plan, loop.id, world.thinker()).differences:
                yield f"a question has another answer now: {difference}"
    world.report.digest = " ".join(sorted(digests))
    if world.report.workload in CANCELLED:
        world.report.digest = ""
        yield from _after_a_cancel(world)
    elif not world.calm and world.report.digest != (expected := world.fault_free(world.report.workload)):
        yield f"another history than without faults: {world.report.digest}, not {expected}"
    if not world.messages:
        yield "nobody was told how it ended"
    running = world.provider.still_running()
    if running:
        yield f"jobs that nobody owns still run: {running}"
    yield from budgets(world)


def _after_a_cancel(world: Schedule) -> Iterator[str]:
    """No attempt starts once a cancel has taken effect."""
    late = world.disk.one(
        "SELECT count(*) FROM event e JOIN event c ON c.entity = 'command' AND c.new = 'cancel' AND c.id < e.id"
        " WHERE e.entity = 'job' AND e.new = 'running'"
    )
    if late[0]:
        yield f"{late[0]} attempts started after the cancel"


def budgets(world: Schedule) -> Iterator[str]:
    """What faults may cost: executions, calls, commits, and time."""
    figures, faults = world.report.figures, world.report.faults
    slots = world.provider.capabilities.slots
    allowed = figures["attempts"] + sum(faults[name] for name in _DOUBLES) + slots * faults["stall"]
    if world.jumped:
        allowed += slots * figures["boots"]
    if figures["executions"] > allowed:
        yield f"{figures['executions']} executions of {figures['attempts']} attempts, {allowed} allowed"
    if figures["calls"] > 7 * figures["turns"] + 4 * figures["boots"]:
        yield f"{figures['calls']} calls of the provider in {figures['turns']} turns"
    if figures["commits"] > 3 * figures["turns"] + 4 * figures["boots"]:
        yield f"{figures['commits']} commits in {figures['turns']} turns"
    if figures["seconds"] > (limit := 300 + 260 * faults.total() + world.jumped):
        yield f"it took {figures['seconds']} s, {limit:.0f} allowed"
