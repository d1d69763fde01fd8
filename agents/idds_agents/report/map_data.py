"""The numbers behind maps: contour lines as a table, and every target on the grid that was drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from idds_agents.report.figure_data import Table, add
from idds_agents.report.surface import CURVES, Surface

__all__ = ["line_table", "map_documents"]

_Panels = Sequence[tuple[Mapping[str, Any], Surface]]
_DIGITS = 8


def line_table(panels: _Panels, target: str | None) -> Table:
    """Lines of some surfaces, a row for each node: what is fixed in its panel, target, curve, segment, x and y.

    panels : for each what is fixed in it, and its surface.
    """
    held = list(dict.fromkeys(name for fixed, _ in panels for name in fixed))
    table: Table = {n: [] for n in ("panel", *(f"fixed.{n}" for n in held), "x_name", "y_name", "target", "curve",
                                    "segment", "x", "y")}  # fmt: skip
    for number, (fixed, surface) in enumerate(panels, 1):
        x_name, y_name = [*surface.grid.names, None][:2]
        start = {"panel": number, **{f"fixed.{n}": fixed.get(n) for n in held}, "x_name": x_name, "y_name": y_name}
        names = [t for t in surface.targets if target in (None, t)]
        for line in (line for name in names for curve in CURVES for line in surface.lines(name, curve)):
            shown = {**start, "target": line.target, "curve": line.curve, "segment": line.segment}
            for x, *y in line.points.tolist():
                add(table, **shown, x=x, y=y[0] if y else None)
    return table


def map_documents(panels: _Panels, target: str | None) -> list[dict[str, Any]]:
    """Every target on the grid of each panel: arrays (ny, nx), or (nx,), null where nothing is allowed."""
    return [
        {
            "panel": number,
            "fixed": dict(fixed),
            "axes": {n: values.tolist() for n, values in zip(surface.grid.names, surface.grid.axes, strict=True)},
            "targets": {
                t: {what: _short(getattr(p, what).tolist()) for what in ("mean", "sd", "p_excluded")}
                for t, p in surface.grid.predictions.items()
                if target in (None, t)
            },
        }
        for number, (fixed, surface) in enumerate(panels, 1)
    ]


def _short(value: Any) -> Any:
    """Numbers in so many digits as a drawing needs."""
    if isinstance(value, list):
        return [_short(v) for v in value]
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
