"""The statements of a move: the compare-and-set of many rows at once, and the event of each."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

from idds_core.store import tables
from idds_core.store.portable import elements, field

__all__ = ["event_statement", "move_statement"]

_TABLES = {
    "workflow": tables.workflow,
    "loop": tables.loop,
    "point": tables.point,
    "job": tables.job,
    "attempt": tables.attempt,
}


@cache
def move_statement(entity: str, ends: bool, columns: tuple[str, ...]) -> Any:
    """Move the bound `rows` from `old_` to `new_`; returns the ids of those that were there. columns : set as well."""
    table = _TABLES[entity]
    given = elements("rows")
    values: dict[str, Any] = {
        "state": sa.bindparam("new_"),
        "version": table.c.version + 1,
        "reason": field(given, table.c.reason),
        **{name: field(given, table.c[name]) for name in columns},
    }
    if ends:
        values["ended"] = sa.bindparam("now_")
    else:
        values["ended"] = None
    return (
        sa.update(table)
        .values(values)
        .where(table.c.id == field(given, table.c.id), table.c.state == sa.bindparam("old_"))
        .returning(table.c.id)
    )


@cache
def event_statement() -> Any:
    """An event for each of the bound `rows`."""
    given = elements("rows")
    picked = sa.select(
        sa.bindparam("entity_", type_=sa.Text),
        field(given, tables.point.c.id),
        sa.bindparam("old_", type_=sa.Text),
        sa.bindparam("new_", type_=sa.Text),
        sa.bindparam("actor_", type_=sa.Text),
        field(given, tables.event.c.reason),
        sa.bindparam("now_", type_=sa.Float),
    )
    return sa.insert(tables.event).from_select(["entity", "entity_id", "old", "new", "actor", "reason", "at"], picked)
