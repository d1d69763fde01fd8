"""The picture of a comparison: both contours, and what exactly one of them excludes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idds_agents.report.compare import Comparison
from idds_agents.report.style import COLOURS, FORBIDDEN, grid_of, legend_below, look
from idds_agents.report.surface import forbidden

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_comparison"]

_SURE = 1e3
_MOST_NAME = 60


def draw_comparison(comparison: Comparison) -> Figure:
    """A panel for each target."""
    with look():
        n = len(comparison.targets)
        figure, (panels,) = grid_of(1, n, 6.6, 6.2)
        for axes, target in zip(panels, comparison.targets, strict=True):
            _panel(axes, comparison, target)
        legend_below(figure, panels[:1], most=1 if n == 1 else 2)
    return figure


def _panel(axes: Axes, comparison: Comparison, target: str) -> None:
    import numpy as np

    surfaces = comparison.surfaces
    scores = [s.score(target) for s in surfaces]
    sides = (comparison.a, comparison.b)
    for i in (0, 1):
        only = np.fmin(scores[i], -scores[1 - i])
        if (only > 0).any():
            axes.contourf(*surfaces[0].grid.axes, only, levels=[0.0, _SURE], colors=[COLOURS[i]], alpha=0.3, zorder=1)
        axes.fill([], [], color=COLOURS[i], alpha=0.3, linewidth=0, label=f"excluded by {'AB'[i]} only")
    if not surfaces[0].grid.allowed.all():
        x, y, outside = forbidden(surfaces[0])
        axes.contourf(x, y, outside, levels=[0.5, 1.5], colors=[FORBIDDEN], zorder=2)
    for i, (side, surface) in enumerate(zip(sides, surfaces, strict=True)):
        style: dict[str, Any] = {"color": COLOURS[i], "linewidth": 2.0, "linestyle": ("-", (0, (5, 1.6)))[i]}
        for line in surface.lines(target):
            axes.plot(line.points[:, 0], line.points[:, 1], zorder=4, **style)
        name = side.name if len(side.name) <= _MOST_NAME else "..." + side.name[-_MOST_NAME:]
        # a name may hold a dollar sign, and would be read as mathematics
        text = f"{'AB'[i]}: {name}, {side.view.evaluations} evaluations"
        axes.plot([], [], label=text.replace("$", r"\$"), **style)
    _frame(axes, comparison, target)


def _frame(axes: Axes, comparison: Comparison, target: str) -> None:
    x, y = comparison.surfaces[0].axes
    axes.set_xscale("log" if x.log else "linear")
    axes.set_yscale("log" if y.log else "linear")
    axes.set_xlim(x.values[0], x.values[-1])
    axes.set_ylim(y.values[0], y.values[-1])
    axes.set_xlabel(x.label)
    axes.set_ylabel(y.label)
    found = comparison.overlap(target)
    axes.set_title(f"{target}: {100 * found.difference:.3g} % of the space differs, overlap {found.union_share:.3f}",
                   loc="left", fontsize=11)  # fmt: skip
