"""Contour lines and the map of a loop as flat tables, and any table as CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.report.export import head
from idds_agents.report.extras import need
from idds_agents.report.points import Column, Table, free_name
from idds_agents.report.reading import LoopView
from idds_agents.report.surface import Surface, level_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["contour_table", "map_json", "map_table", "table_csv", "table_json", "table_parquet"]

_MAP = ("mean", "sd", "p_excluded")


def contour_table(surface: Surface, target: str | None = None) -> Table:
    """A row for each point of each line: target, curve, segment, and the parameters of the axes."""
    taken: set[str] = set()
    own = (("target", "text"), ("curve", "text"), ("segment", "integer"))
    columns = [Column(free_name(name, "own", taken), "own", name, kind) for name, kind in own]
    columns += [Column(free_name(a.name, "parameter", taken), "parameter", a.name, "number", a.unit)
                for a in surface.axes]  # fmt: skip
    lines = [line for line in surface.all_lines() if target in (None, line.target)]
    rows = [(line.target, line.curve, line.segment, *point) for line in lines for point in line.points.tolist()]
    return Table(tuple(columns), tuple(rows))


def map_table(surface: Surface) -> Table:
    """A row for each node of the grid: parameters, whether it is allowed, and what is predicted there."""
    import numpy as np

    taken = {"allowed"}
    grid = surface.grid
    columns = [Column(free_name(a.name, "parameter", taken), "parameter", a.name, "number", a.unit)
               for a in surface.axes]  # fmt: skip
    columns.append(Column("allowed", "own", "allowed", "integer"))
    mesh = np.meshgrid(*grid.axes)  # (ny, nx): the shape of the map
    arrays: list[list[Any]] = [axis.ravel().tolist() for axis in mesh]
    arrays.append(grid.allowed.ravel().astype(int).tolist())
    for target, found in grid.predictions.items():
        for what in _MAP:
            columns.append(Column(free_name(f"{target}_{what}", "map", taken), what, target, "number"))
            arrays.append(_filled(getattr(found, what).ravel()))
    return Table(tuple(columns), tuple(zip(*arrays, strict=True)))


def _filled(values: NDArray[np.float64]) -> Any:
    """Nested lists with None where there is no number."""
    import numpy as np

    filled = values.astype(object)
    filled[np.isnan(values)] = None
    return filled.tolist()


# ---------------------------------------------------------------------- as files
def table_csv(table: Table) -> str:
    """CSV with a head; numbers as they are, nothing where there is nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.names)
    writer.writerows(table.rows)
    return text.getvalue()


def table_json(view: LoopView, table: Table, name: str) -> str:
    """The rows as objects under `name`, after what every JSON export begins with."""
    columns = [{"name": c.name, "kind": c.kind, "of": c.of, "type": c.type, "unit": c.unit} for c in table.columns]
    rows = [dict(zip(table.names, row, strict=True)) for row in table.rows]
    return json.dumps({**head(view), "columns": columns, name: rows}, indent=1, allow_nan=False) + "\n"


def map_json(view: LoopView, surface: Surface) -> str:
    """The map as arrays (ny, nx), or (nx,) in one dimension; null where nothing is allowed."""
    grid = surface.grid
    document = {
        **head(view),
        "level": level_words(view),
        "axes": [{"name": a.name, "unit": a.unit, "log": a.log, "values": a.values.tolist()} for a in surface.axes],
        "allowed": grid.allowed.tolist(),
        "map": {t: {what: _filled(getattr(found, what)) for what in _MAP} for t, found in grid.predictions.items()},
    }
    return json.dumps(document, allow_nan=False) + "\n"


def table_parquet(view: LoopView, table: Table, path: Path) -> None:
    """Write Parquet; units and kinds go with the columns, the digest with the file.

    Raises
    ------
    IddsError
        When pyarrow is not there.

    """
    arrow = need("pyarrow", "data", "--format parquet")
    parquet = need("pyarrow.parquet", "data", "--format parquet")
    types = {"integer": arrow.int64(), "number": arrow.float64(), "text": arrow.string()}
    fields = [arrow.field(c.name, types[c.type], metadata={"kind": c.kind, "unit": c.unit}) for c in table.columns]
    schema = arrow.schema(fields, metadata={"idds": json.dumps(head(view))})
    arrays = [arrow.array(table.column(i), type=types[c.type]) for i, c in enumerate(table.columns)]
    parquet.write_table(arrow.Table.from_arrays(arrays, schema=schema), path)
