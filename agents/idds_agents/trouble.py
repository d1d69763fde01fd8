"""When a loop is held because of something that another attempt will not mend."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_agents.outcomes import HOLDS
from idds_agents.points import losses_allowed
from idds_core.states import FailureClass, LoopState
from idds_core.store import LoopRecord, Outcome, Store

__all__ = ["hold_on_trouble", "hold_when_full", "stopping"]


def stopping(store: Store, catalog: Catalog, loop: LoopRecord) -> bool:
    """Whether a loop without a barrier has its verdict: nothing more starts, and what runs is not waited for."""
    return catalog.plan(loop.id).loop.mode == "steady" and store.steady.stopped(loop.id)


def hold_on_trouble(store: Store, catalog: Catalog, workdir: Path, outcomes: Iterable[Outcome], actor: str) -> None:
    """Hold a loop on what only a person can mend, or whose jobs fail alike, instead of burning its budget."""
    for o in outcomes:
        if o.failure is not None and o.failure.code in HOLDS:
            loop = store.workflows.loop(o.claim.loop_id)
            if loop.state is LoopState.ACTIVE:
                where = workdir / o.claim.attempt.path
                reason = HOLDS[o.failure.code].format(f"{o.failure.message[:300]} ({where})")
                store.workflows.move_loop(loop, LoopState.HELD, reason, actor)
        if o.failure is None or o.failure.class_ is FailureClass.INFRA or not o.failure.signature:
            continue
        loop = store.workflows.loop(o.claim.loop_id)
        if loop.state is not LoopState.ACTIVE or stopping(store, catalog, loop):
            continue
        limit = losses_allowed(catalog.plan(loop.id), o.claim)
        count = store.jobs.identical_failures(loop.id, o.claim.step, o.failure.signature)
        if count >= limit:
            reason = (
                f"E-LOOP-001 {count} jobs of step {o.claim.step} failed alike in a row: {o.failure.message[:300]} "
                f"(log: {o.claim.attempt.path}/log). Mend it, then 'resume'."
            )
            store.workflows.move_loop(loop, LoopState.HELD, reason, actor)


def hold_when_full(store: Store, catalog: Catalog, folder: Path, free: int, least: int) -> None:
    """Hold what is active when less than `least` bytes are free, while there is still room to say why."""
    if free >= least:
        return
    reason = (
        f"E-DISK-001 only {free // 10**6} MB are free in {folder} (limit {least // 10**6} MB). "
        "Free some space, then 'resume'."
    )
    with store.transaction():
        for loop in catalog.live_loops():
            if loop.state is LoopState.ACTIVE:
                store.workflows.move_loop(loop, LoopState.HELD, reason, "engine")
