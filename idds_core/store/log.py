"""What the event log must say, looked at in one pass: the chain, each entity's moves, and where they have led."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from idds_core.states import MOVES
from idds_core.store import chain, tables

__all__ = ["COUNTED", "LAST_EVENT", "LOG", "check_log"]

_MOST = 20
_CHAIN = "the events are a chain of hashes, and none is missing"
_LEGAL = "events make unbroken chains of legal moves"
COUNTED = "each move of an entity has its event"
LAST_EVENT = {e: f"the state of {'an' if e[0] in 'aeiou' else 'a'} {e} is that of its last event" for e in MOVES}
#: what must hold for the log to be believed
LOG = frozenset({_CHAIN, _LEGAL})


def check_log(connection: sa.Connection) -> dict[str, list[str]]:
    """Invariant -> what violates it, at most 20 of each."""
    broken: list[str] = []
    illegal: list[str] = []
    last: dict[str, dict[int, tuple[str, int]]] = {entity: {} for entity in MOVES}  # id -> (state, number of moves)
    for event in chain.walk(connection, broken):
        moves = MOVES.get(event.entity)
        if moves is None:
            continue
        seen = last[event.entity]
        before, n = seen.get(event.entity_id, (event.old, 0))
        if before != event.old or event.new not in moves.get(event.old, ()):
            illegal.append(
                f"event {event.id}: {event.entity} {event.entity_id} {event.old} -> {event.new} after {before}"
            )
        seen[event.entity_id] = (event.new, n + 1)
    found = {_CHAIN: broken[:_MOST], _LEGAL: illegal[:_MOST]}
    uncounted: list[str] = []
    for entity, seen in last.items():
        wrong: list[str] = []
        _compare(connection, entity, seen, wrong, uncounted)
        found[LAST_EVENT[entity]] = wrong[:_MOST]
    return {**found, COUNTED: uncounted[:_MOST]}


def _compare(
    connection: sa.Connection, entity: str, seen: dict[int, tuple[str, int]], wrong: list[str], uncounted: list[str]
) -> None:
    """Rows of an entity against its events; an entity that was made in its state has no move, and no event."""
    c: Any = tables.metadata.tables[entity].c
    for row in connection.execute(sa.select(c.id, c.state, c.version)):
        state, moves = seen.pop(row.id, (row.state, 0))
        if state != row.state:
            wrong.append(f"{entity} {row.id}: {row.state}, its last event says {state}")
        if moves != row.version:
            uncounted.append(f"{entity} {row.id}: {row.version} moves, {moves} events")
    uncounted += [f"{entity} {id_}: there is none, but it has {n} events" for id_, (_, n) in seen.items()]
