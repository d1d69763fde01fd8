"""The plot of a loop in many parameters: panels with the contour on planes through one point, or curves along lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from idds_agents.report import layers
from idds_agents.report.cuts import NEAR, Slice, Slices, fixed_text, near
from idds_agents.report.reading import LoopView
from idds_agents.report.style import MUTED, grid_of, legend_below, look
from idds_core.history import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_slices"]

_WIDTH, _HEIGHT, _WORDS = 3.7, 3.0, 1.1
_WIDE = 44
_FOOT = 0.035


def draw_slices(view: LoopView, found: Slices, target: str | None = None, style: str | None = None) -> Figure:
    """A panel for each cut."""
    count = len(found.cuts)
    columns = 2 if count in (2, 4) else min(3, count)
    with look(style):
        lines = math.ceil(count / columns)
        size = (_WIDTH, _HEIGHT + _WORDS / lines) if count > 1 else (6.6, 5.4)
        figure, rows = grid_of(lines, columns, *size)
        panels = [axes for row in rows for axes in row]
        for axes in panels[count:]:
            axes.set_axis_off()
        drawn = None
        for axes, cut in zip(panels, found.cuts, strict=False):
            drawn = _panel(axes, view, cut, target)
        if drawn is not None:
            layers.iteration_bar(figure, panels, drawn, view, len(rows))
        layers.heading(figure, _title(view, found))
        legend_below(figure, panels[:count], most=min(3, 1 + columns))
    return figure


def _title(view: LoopView, found: Slices) -> str:
    words = f"slices through {found.centre.text}"
    if found.asked:  # what was asked for is said by each panel
        rest = {n for cut in found.cuts for n, v in cut.fixed.items() if n not in found.asked}
        rest -= {n for cut in found.cuts for n, v in cut.fixed.items() if v != found.centre.parameters[n]}
        words = f"{', '.join(sorted(rest))} as in {found.centre.text}" if rest else ""
    left_out = f"{found.left_out} more slices are not drawn" if found.left_out else ""
    return "\n".join([layers.title(view), *filter(None, ["; ".join(filter(None, [words, left_out]))])])


def _panel(axes: Axes, view: LoopView, cut: Slice, target: str | None) -> Any:
    """The map of a cut with the points near it; what was drawn, for the colour bar."""
    words = fixed_text(view.plan.loop.space, cut.fixed)
    axes.set_title("at " + _broken(words) if words else "", loc="left", fontsize="small", color=MUTED)
    if len(cut.surface.axes) == 1:
        return _curves(axes, view, cut, target)
    x, y = cut.surface.axes
    if not layers.map_layers(axes, view, cut.surface, target, alone=False):
        axes.text(0.5, 0.93, "no contour here", transform=axes.transAxes, ha="center", va="top", color=MUTED,
                  fontsize="small", zorder=7, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip

    def place(p: Point) -> tuple[Any, Any]:
        return p.parameters[x.name], p.parameters[y.name]

    close = [p for p in view.history.points if near(view.plan.loop.space, p, cut)]
    measured = [p for p in close if p.observation]
    drawn = layers.evaluated(axes, view, [p.iteration for p in measured], [place(p) for p in measured],
                             f"evaluated, within {NEAR:g} of the slice")  # fmt: skip
    far = [place(p) for p in view.history.measured if p not in measured]
    if far:
        axes.scatter([x for x, _ in far], [y for _, y in far], s=5, color=MUTED, alpha=0.45, linewidths=0, zorder=3,
                     label="evaluated, farther away")  # fmt: skip
    layers.others(axes, close, place, transform=axes.transData, counted=False)
    layers.scale_axes(axes, x, y)
    return drawn


def _curves(axes: Axes, view: LoopView, cut: Slice, target: str | None) -> Any:
    """All targets along a line; the level of each."""
    (axis,), p = cut.surface.axes, cut.surface.grid.predictions
    targets = [t for t in cut.surface.targets if target in (None, t)]
    for i, name in enumerate(targets):
        layers.curve(axes, view, cut.surface, name, i)
    axes.set_ylabel(", ".join(targets))
    log = all(layers.spans_decades(p[t].mean - p[t].sd, p[t].mean) for t in targets)
    axes.set_yscale("log" if log else "linear")
    close = [q for q in view.history.points if near(view.plan.loop.space, q, cut)]
    drawn = None
    for name in targets:
        seen = [(q.iteration, q.parameters[axis.name], q.observation.values[name]) for q in close if q.observation]
        drawn = layers.evaluated(axes, view, [k for k, _, _ in seen], [(x, v) for _, x, v in seen],
                                 f"evaluated, within {NEAR:g} of the slice")  # fmt: skip
    layers.others(axes, close, lambda q: (q.parameters[axis.name], _FOOT), transform=axes.get_xaxis_transform(),
                  counted=False)  # fmt: skip
    layers.scale_axis(axes, "x", axis)
    return drawn


def _broken(words: str) -> str:
    """In two lines where one would be too long for a panel."""
    if len(words) <= _WIDE:
        return words
    parts = words.split(", ")
    half = (len(parts) + 1) // 2
    return ", ".join(parts[:half]) + ",\n" + ", ".join(parts[half:])
