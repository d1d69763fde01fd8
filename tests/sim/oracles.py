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
    yield from _while_held(world)
    yield from budgets(world)


def _after_a_cancel(world: Schedule) -> Iterator[str]:
    """No attempt starts once a cancel has taken effect."""
    late = world.disk.one(
        "SELECT count(*) FROM event e JOIN event c ON c.entity = 'command' AND c.new = 'cancel' AND c.id < e.id"
        " WHERE e.entity = 'job' AND e.new = 'running'"
    )
    if late[0]:
        yield f"{late[0]} attempts started after the cancel"


def _while_held(world: Schedule) -> Iterator[str]:
    """No attempt starts while its loop is held, whoever holds it."""
    wrong = world.disk.one(
        "SELECT count(*) FROM event e JOIN job j ON j.id = e.entity_id WHERE e.entity = 'job' AND e.new = 'running' AND"
        " 'held' = (SELECT h.new FROM event h WHERE h.entity = 'loop' AND h.entity_id = j.loop_id AND h.id < e.id"
        " ORDER BY h.id DESC LIMIT 1)"
    )
    if wrong[0]:
        yield f"{wrong[0]} attempts started while their loop was held"


def budgets(world: Schedule) -> Iterator[str]:
    """What faults may cost: duplicate executions, calls, commits, and time."""
    figures, faults = world.report.figures, world.report.faults
    attempts, slots = figures["attempts"], world.provider.capabilities.slots
    doubles = sum(faults[name] for name in _DOUBLES) + slots * faults["stall"]
    if world.jumped:
        doubles += slots * figures["boots"]
    for name, allowed in {
        "executions": attempts + doubles,
        "duplicates": doubles,
        "calls": 12 * attempts + 10 * faults.total() + 12,
        "commits": 6 * attempts + 10 * faults.total() + 12,
        "seconds": 200 + 160 * faults.total() + world.jumped,
    }.items():
        if figures[name] > allowed:
            yield f"{figures[name]} {name} for {attempts} attempts and {faults.total()} faults, {allowed:.0f} allowed"
