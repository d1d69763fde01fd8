"""What would mend a record by hand: statements, for what follows from the rest of it. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from idds_core.states import MOVES
from idds_core.store import chain, tables
from idds_core.store.invariants import COUNTERS_HOLD
from idds_core.store.log import COUNTED, LAST_EVENT, LOG

__all__ = ["Mend", "statements"]


@dataclass(frozen=True, slots=True)
class Mend:
    """What would be done about a violation.

    invariant : its name.
    rows : which rows or files, for people.
    by : "statement", "restore" or "hand".
    act : the statement or command; for people where it is by hand.
    """

    invariant: str
    rows: str
    by: str
    act: str


def statements(
    connection: sa.Connection, violated: Iterable[str], miscounted: Iterable[tuple[int, str, int, int]]
) -> list[Mend]:
    """Statements that mend what they can: counters by a recount, and states by a log that is whole itself."""
    wrong = set(violated)
    found = [
        Mend(
            COUNTERS_HOLD, f"counter {name} of loop {loop}: {shown}, recount {real}", "statement",
            f"INSERT INTO counter (loop_id, name, value) VALUES ({loop}, '{name}', {real - shown})"
            f" ON CONFLICT (loop_id, name) DO UPDATE SET value = value + {real - shown};",
        )
        for loop, name, shown, real in miscounted
    ]  # fmt: skip
    if not wrong & LOG:
        found += _by_the_log(connection)
    return found


def _by_the_log(connection: sa.Connection) -> Iterator[Mend]:
    last: dict[tuple[str, int], tuple[str, int]] = {}
    for event in chain.walk(connection, []):
        if event.entity in MOVES:
            _, n = last.get((event.entity, event.entity_id), ("", 0))
            last[event.entity, event.entity_id] = (event.new, n + 1)
    for entity in MOVES:
        c: Any = tables.metadata.tables[entity].c
        for row in connection.execute(sa.select(c.id, c.state, c.version)):
            state, n = last.get((entity, row.id), (row.state, 0))
            if (state, n) == (row.state, row.version):
                continue
            name = LAST_EVENT[entity] if state != row.state else COUNTED
            rows = f"{entity} {row.id}: {row.state} after {row.version} moves, by its events {state} after {n}"
            yield Mend(name, rows, "statement",
                       f"UPDATE {entity} SET state = '{state}', version = {n} WHERE id = {row.id};")  # fmt: skip
