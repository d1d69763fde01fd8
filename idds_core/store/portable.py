"""The few expressions that SQLite and PostgreSQL write differently: lists bound as one JSON text, and its parts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["elements", "field", "json_part", "values_of"]


class _Elements(FunctionElement[Any]):
    """The elements of a bound JSON array, as rows with one column ``value``."""

    name = "elements"
    inherit_cache = True


@compiles(_Elements)
def _in_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"


@compiles(_Elements, "postgresql")
def _in_postgres(element: Any, compiler: Any, **kw: Any) -> str:
    return f"jsonb_array_elements(CAST({compiler.process(element.clauses, **kw)} AS jsonb))"


class _Part(FunctionElement[Any]):
    """A part of a column that holds JSON text, as text or number: the column, and a key or place."""

    name = "part"
    inherit_cache = True


@compiles(_Part)
def _part_in_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    column, key = element.clauses
    return f"{compiler.process(column, **kw)} ->> {compiler.process(key, **kw)}"


@compiles(_Part, "postgresql")
def _part_in_postgres(element: Any, compiler: Any, **kw: Any) -> str:
    column, key = element.clauses
    return f"CAST({compiler.process(column, **kw)} AS jsonb) ->> {compiler.process(key, **kw)}"


def elements(name: str) -> Any:
    """A bound JSON array as a table with one column ``value``."""
    return _Elements(sa.bindparam(name, type_=sa.Text)).table_valued("value", name=f"given_{name}")


def field(given: Any, column: Any) -> Any:
    """The field of an array's objects that has a column's name, as a value of that column."""
    return sa.cast(given.c.value.op("->>")(sa.literal_column(f"'{column.name}'")), column.type)


def values_of(name: str) -> Any:
    """The whole numbers of a bound JSON array: one statement for a list of any length."""
    return sa.select(sa.cast(elements(name).c.value, sa.Integer))


def json_part(column: Any, key: str | int, type_: Any) -> Any:
    """A field (or element) of the JSON that a column holds; NULL where there is none."""
    place = str(key) if isinstance(key, int) else f"'{key}'"
    return sa.cast(_Part(column, sa.literal_column(place)), type_)
