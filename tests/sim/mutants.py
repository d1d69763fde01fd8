"""Sabotages of what the engine promises, each with the words of the oracle that must see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from idds_agents import carrier, outcomes, points, transformer
from idds_agents.apart import Agents, Wake
from idds_agents.carrier import Carrier
from idds_agents.conductor import Conductor
from idds_agents.doubts import Doubts, Settled
from idds_agents.engine import Engine
from idds_agents.transformer import Transformer
from idds_core.errors import StoreError
from idds_core.history import strict_json
from idds_core.states import LoopState
from idds_core.store import database, iterations, moves, tables
from idds_core.store.database import Database
from idds_core.store.jobs import Jobs
from tests.sim import schedule
from tests.sim.machine import SimDatabase
from tests.sim.runs import run
from tests.sim.workloads import CANCELLED, WORKLOADS

__all__ = ["MUTANTS", "Mutant", "caught_at"]

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutant:
    """A sabotage, and what the oracle that catches it says.

    fenced : False where two things guard the same, and the other one is off as well.
    workload : the only one in which it can be seen. apart : whether its agents are.
    """

    apply: Callable[[Patch], None]
    says: tuple[str, ...]
    fenced: bool = True
    workload: str | None = None
    apart: bool = False


def _no_compare_and_set(patch: Patch) -> None:
    real = moves.move_statement

    @cache
    def without(entity: str, ends: bool, columns: tuple[str, ...]) -> Any:
        given = real(entity, ends, columns)
        table = given.table
        first, _ = given.whereclause.clauses
        bare = sa.update(table).values({getattr(c, "key", c): v for c, v in given._values.items()}).where(first)
        return bare.where(sa.bindparam("old_") == sa.bindparam("old_")).returning(table.c.id)

    patch.setattr(database, "move_statement", without)


def _late_results_replace(patch: Patch) -> None:
    real = Jobs._end_attempts

    def all_moved(self: Jobs, given: Any, actor: str) -> set[int]:
        real(self, given, actor)
        return {o.claim.attempt.id for o in given}

    patch.setattr(Jobs, "_end_attempts", all_moved)


def _no_reaper(patch: Patch) -> None:
    patch.setattr(Carrier, "reap", lambda _: 0)


def _no_intent(patch: Patch) -> None:
    real = Carrier.claim

    def at_once(self: Carrier) -> int:
        found = real(self)
        self.dispatch()
        return found

    patch.setattr(Carrier, "claim", at_once)


def _no_lag(patch: Patch) -> None:
    def now(self: Doubts, claims: Any, *, taken: bool, restarted: bool = False) -> None:
        self._open.update({c.attempt.key: (self._now(), c, taken, restarted) for c in claims})

    patch.setattr(Doubts, "raise_for", now)


def _no_look(patch: Patch) -> None:
    def blind(self: Doubts) -> list[Settled]:
        found = [Settled(c, taken, again, None) for _, c, taken, again in self._open.values()]
        self._open.clear()
        return found

    patch.setattr(Doubts, "settle", blind)


def _arrival_order(patch: Patch) -> None:
    point = tables.point.c
    patch.setattr(iterations, "_POINTS", iterations._POINTS.order_by(None).order_by(point.ended, point.number.desc()))


def _no_validation(patch: Patch) -> None:
    def checked(claim: Any, result: Any, caps: Any) -> tuple[dict[str, Any], str]:
        found = {"values": dict((result or {}).get("values", {})), "files": {}}
        return found, strict_json(found)

    patch.setattr(outcomes, "_checked", checked)


def _no_lease(patch: Patch) -> None:
    patch.setattr(Database, "check_fence", lambda _: None)


def _retry_of_terminal(patch: Patch) -> None:
    real = Jobs.release

    def again(self: Jobs, actor: str) -> int:
        done = self._db.run(sa.select(tables.job.c.id).where(tables.job.c.state == "DONE", tables.job.c.attempts == 1))
        self._db.move("job", [{"id": row.id} for row in done[:1]], "DONE", "ready", actor=actor)
        return real(self, actor)

    patch.setattr(database, "may_move", lambda *_: True)
    patch.setattr(Jobs, "release", again)


def _told_too_early(patch: Patch) -> None:
    real = Conductor.step

    def telling(self: Conductor) -> int:
        found = real(self)
        self.deliver()
        return found

    patch.setattr(Conductor, "step", telling)


def _cancel_forgets(patch: Patch) -> None:
    patch.setattr(Conductor, "_cleared", lambda *_: True)


def _seed_of_attempt(patch: Patch) -> None:
    real = points.job_inputs

    def inputs(catalog: Any, plan: Any, job: Any, point: str) -> Any:
        values, outputs, seed = real(catalog, plan, job, point)
        return values, outputs, seed + job.attempt.number

    patch.setattr(carrier, "job_inputs", inputs)


def _cancelled_is_cancelled(patch: Patch) -> None:
    patch.setattr(Carrier, "_unless_wanted", lambda _self, _claim, report: report)


def _lost_for_ever(patch: Patch) -> None:
    patch.setattr(Doubts, "unlisted", lambda *_: [])


def _lost_at_once(patch: Patch) -> None:
    def at_once(self: Doubts, asked: Any, listed: Any) -> list[str]:
        return [handle for handle in asked if handle not in listed]

    patch.setattr(Doubts, "unlisted", at_once)
    _no_lag(patch)


def _no_adoption(patch: Patch) -> None:
    patch.setattr(Carrier, "recover", lambda _: 0)


def _disk_full_swallowed(patch: Patch) -> None:
    real = Engine.turn

    def going_on(self: Engine) -> bool:
        try:
            return real(self)
        except StoreError as error:
            if error.code != "E-STORE-002":
                raise
            return False

    patch.setattr(Engine, "turn", going_on)


def _held_is_active(patch: Patch) -> None:
    real = Carrier._loops
    patch.setattr(Carrier, "_loops", lambda self: [replace(loop, state=LoopState.ACTIVE) for loop in real(self)])


def _proposal_taken_as_it_is(patch: Patch) -> None:
    patch.setattr(transformer, "proposal_problem", lambda *_: "")


def _no_sweep(patch: Patch) -> None:
    real = Agents.sweep
    begun: set[Agents] = set()

    def once(self: Agents) -> list[Wake]:
        if self in begun:
            return []
        begun.add(self)
        return real(self)

    patch.setattr(Agents, "sweep", once)


def _lease_ignored(patch: Patch) -> None:
    real = Carrier.recover
    patch.setattr(Carrier, "recover", lambda self, expired=False: real(self))


def _asked_before(patch: Patch) -> None:
    real = Transformer.step

    def before(self: Transformer) -> int:
        catalog: Any = self._catalog
        known = catalog.live_loops()
        vars(self)["_catalog"] = SimpleNamespace(live_loops=lambda: known, plan=catalog.plan)
        try:
            return real(self)
        finally:
            vars(self)["_catalog"] = catalog

    patch.setattr(Transformer, "step", before)


_HISTORY = "another history than without faults"
MUTANTS = {
    "no-compare-and-set": Mutant(_no_compare_and_set, ("unbroken chains", "last event"), fenced=False),
    "late-results-count": Mutant(_late_results_replace, ("the engine ended", "result"), fenced=False),
    "no-reaper": Mutant(_no_reaper, ("jobs that nobody owns still run",)),
    "no-intent": Mutant(_no_intent, ("without an intent", "inside of a transaction")),
    "no-listing-lag": Mutant(_no_lag, ("within the listing lag", "executions")),
    "no-look": Mutant(_no_look, ("within the listing lag", "executions")),
    "arrival-order": Mutant(_arrival_order, (_HISTORY, "another answer"), workload="batch"),
    "no-validation": Mutant(_no_validation, (_HISTORY, "the engine ended")),
    "no-lease": Mutant(_no_lease, ("wrote after another",)),
    "retry-of-terminal": Mutant(_retry_of_terminal, ("legal moves", "the engine ended")),
    "told-too-early": Mutant(_told_too_early, ("not on record",)),
    "cancel-forgets-children": Mutant(_cancel_forgets, ("under a terminal",), workload=CANCELLED[1]),
    "seed-of-the-attempt": Mutant(_seed_of_attempt, (_HISTORY,)),
    "cancelled-is-cancelled": Mutant(_cancelled_is_cancelled, ("does not end",)),
    "lost-for-ever": Mutant(_lost_for_ever, ("does not end",)),
    "lost-at-once": Mutant(_lost_at_once, ("executions", "within the listing lag", "still run")),
    "disk-full-swallowed": Mutant(_disk_full_swallowed, ("does not end", "the engine ended")),
    "held-is-active": Mutant(_held_is_active, ("while their loop was held",)),
    "proposal-not-validated": Mutant(_proposal_taken_as_it_is, (_HISTORY, "the engine ended")),
    "no-sweep": Mutant(_no_sweep, ("does not end",), apart=True),
    "lease-ignored": Mutant(_lease_ignored, ("duplicates", "executions"), apart=True),
    "asked-before-the-transaction": Mutant(_asked_before, ("under a terminal",), workload=CANCELLED[1], apart=True),
    "no-adoption": Mutant(_no_adoption, ("does not end",)),
}


def caught_at(name: str, limit: int, first: int = 0) -> tuple[int, str] | None:
    """How many schedules it took until its oracle saw the mutant, and what it said; None when none did."""
    mutant = MUTANTS[name]
    for workload in WORKLOADS:
        schedule.fault_free(workload)  # before anything is broken
    compiled = dict(SimDatabase._compiled_once)
    with pytest.MonkeyPatch.context() as patch:
        mutant.apply(patch)
        try:
            for n in range(limit):
                report = run(first + n, name=mutant.workload, fenced=mutant.fenced, apart=mutant.apart)
                for found in report.violations:
                    if any(words in found for words in mutant.says):
                        return n + 1, found
        finally:
            SimDatabase._compiled_once.clear()
            SimDatabase._compiled_once.update(compiled)
    return None
