"""The points of a loop as one flat table, the same in every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idds_agents.report.reading import LoopView
from idds_agents.topups import words
from idds_core.history import Point
from idds_core.space import Categorical, Integer, Ordered, Parameter

__all__ = ["OWN_COLUMNS", "Column", "Table", "free_name", "points_table"]

#: Columns of our own; a parameter or value of the same name is called ``parameter.state``, ``extra.number``, ...
OWN_COLUMNS = ("number", "iteration", "state", "failure_class", "reason", "tops_up", "adds")


@dataclass(frozen=True)
class Column:
    """A column: its name, what it is (`kind`), of which name of the user, and its unit.

    kind : "own", "parameter", "target", "sigma", "censored" or "extra". type : "integer", "number" or "text".
    """

    name: str
    kind: str
    of: str
    type: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows; None where there is nothing."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [c.name for c in self.columns]

    def column(self, index: int) -> list[Any]:
        """The values of a column."""
        return [row[index] for row in self.rows]


def _type_of(parameter: Parameter) -> str:
    if isinstance(parameter, (Categorical, Ordered)):
        return "text" if isinstance(parameter.choices[0], str) else "number"
    return "integer" if isinstance(parameter, Integer) else "number"


def points_table(view: LoopView, points: Sequence[Point] | None = None) -> Table:
    """A row for each point: number, iteration, state, parameters, targets with sigmas, extras, failure, reason.

    A target of which some value is only a bound has a column that says on which side of it the truth is.
    The last two columns say which point it tops up, and what it adds. Points that were replaced by such a one are left
    out: their observation is a part of that one's.
    """
    space = view.plan.loop.space
    shown = view.history.current if points is None else points
    extras = sorted({name for p in shown if p.observation for name in p.observation.extras})
    taken = set(OWN_COLUMNS)
    columns = [Column("number", "own", "number", "integer"), Column("iteration", "own", "iteration", "integer"),
               Column("state", "own", "state", "text")]  # fmt: skip
    for name, p in space.parameters.items():
        columns.append(Column(free_name(name, "parameter", taken), "parameter", name, _type_of(p), p.unit))
    for target in view.history.targets:
        columns.append(Column(free_name(target, "target", taken), "target", target, "number"))
        columns.append(Column(free_name(f"{target}_sigma", "sigma", taken), "sigma", target, "number"))
        if any(target in p.observation.censored for p in shown if p.observation):
            columns.append(Column(free_name(f"{target}_censored", "censored", taken), "censored", target, "text"))
    columns += [Column(free_name(name, "extra", taken), "extra", name, "number") for name in extras]
    columns += [Column("failure_class", "own", "failure_class", "text"), Column("reason", "own", "reason", "text"),
                Column("tops_up", "own", "tops_up", "integer"), Column("adds", "own", "adds", "text")]  # fmt: skip
    rows = tuple(tuple(_cell(c, p, view.reasons) for c in columns) for p in shown)
    return Table(tuple(columns), rows)


def free_name(name: str, kind: str, taken: set[str]) -> str:
    """The name, or ``kind.name`` when another column has it already; it is taken from then on."""
    while name in taken:
        name = f"{kind}.{name}"
    taken.add(name)
    return name


def _cell(column: Column, point: Point, reasons: Mapping[int, str]) -> Any:
    if column.kind == "parameter":
        return point.parameters.get(column.of)
    if column.kind == "own":
        if column.of == "reason":
            return _plain(reasons.get(point.number, "")) or None
        if column.of == "tops_up":
            return point.adds["to"] if point.adds else None
        if column.of == "adds":
            return words(point.adds) or None
        value = getattr(point, column.of)
        return value if value is None or column.type == "integer" else str(value)
    seen = point.observation
    if seen is None:
        return None
    if column.kind == "censored":
        return seen.censored.get(column.of)
    source = {"target": seen.values, "sigma": seen.sigmas, "extra": seen.extras}[column.kind]
    value = source.get(column.of)
    return None if value is None else float(value)


def _plain(text: str) -> str:
    """One line without anything that could steer a terminal: the words may be those of somebody's exception."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
