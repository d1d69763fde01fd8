"""The numbers behind a figure, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idds_agents.report.export import head, write_whole
from idds_agents.report.reading import LoopView
from idds_agents.report.style import unwritable

__all__ = ["FORMATS", "Table", "add", "figure_csv", "figure_json", "write_data"]

FORMATS = (".json", ".csv")

#: column -> its values; all columns of a table are of one length
Table = dict[str, list[Any]]


def add(table: Table, **row: Any) -> None:
    """One more row; the first one names the columns.

    >>> table: Table = {}
    >>> add(table, x=1.0, y=float("nan")); add(table, x=2.0, y=3)
    >>> table
    {'x': [1.0, 2.0], 'y': [None, 3]}
    """
    for name, value in row.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        table.setdefault(name, []).append(value if finite else None)


def figure_json(view: LoopView, kind: str, tables: Mapping[str, Table], about: Mapping[str, Any]) -> str:
    """Every table of a figure, by column, with what every export begins with; no number where nothing is allowed."""
    document = {**head(view), "kind": kind, **about, "tables": dict(tables)}
    return json.dumps(document, allow_nan=False) + "\n"


def figure_csv(tables: Mapping[str, Table]) -> str:
    """The first table, a row each; numbers at 10 significant digits, nothing where nothing is allowed."""
    table = next(iter(tables.values()))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(_row(row) for row in zip(*table.values(), strict=True))
    return text.getvalue()


def _row(values: Sequence[Any]) -> list[Any]:
    return ["" if v is None else f"{v:.10g}" if isinstance(v, float) else v for v in values]


def write_data(view: LoopView, kind: str, tables: Mapping[str, Table], about: Mapping[str, Any], file: Path) -> None:
    """Write the numbers behind a figure; the end of the name tells the format.

    Raises
    ------
    IddsError
        When the place cannot be written.

    """
    text = figure_csv(tables) if file.suffix.lower() == ".csv" else figure_json(view, kind, tables, about)
    try:
        write_whole(file, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise unwritable(file, error) from error
