"""The points of a loop in parallel coordinates: a line for each, whatever the number of parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from idds_agents.report import layers
from idds_agents.report.reading import LoopView
from idds_agents.report.style import MUTED, colour, grid_of, legend_below, look
from idds_agents.report.surface import levels_of
from idds_core.space import Integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_parallel", "excluded_points"]

_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_DECADES = 30.0
_MOST_CHOICES = 8


def excluded_points(view: LoopView, target: str) -> dict[int, bool]:
    """Point number -> whether what was measured there is on the excluded side; empty where no level is known.

    Which side that is the map tells, whichever learner it is from.
    """
    level, surrogate = levels_of(view).get(target), view.surrogate
    points = [(p, p.observation.values[target]) for p in view.history.measured if p.observation]
    if level is None or surrogate is None or not points:
        return {}
    mapped = surrogate.predict([p.parameters for p, _ in points])[target].p_excluded > 0.5
    low = [value < level for _, value in points]
    below = 2 * sum(bool(a) == b for a, b in zip(mapped, low, strict=True)) >= len(points)
    return {p.number: is_low == below for (p, _), is_low in zip(points, low, strict=True)}


def draw_parallel(view: LoopView, target: str, style: str | None = None) -> Figure:
    """An axis for each parameter and one for the target; coloured by exclusion, or by value without a level."""
    space = view.plan.loop.space
    points = view.history.measured
    with look(style):
        figure, ((axes,),) = grid_of(1, 1, max(6.4, 1.7 * (space.dimension + 1)), 4.9)
        values = [p.observation.values[target] for p in points if p.observation]
        scale = _Scale(values)
        unit = space.to_unit([p.parameters for p in points])
        sides = excluded_points(view, target)
        for row, value, p in zip(unit, values, points, strict=True):
            side = sides.get(p.number)
            shade = _shade(scale(value)) if side is None else colour(0) if side else colour(1)
            width, alpha, order = (1.5, 0.85, 3) if side else (1.0, 0.5, 2)
            axes.plot(range(space.dimension + 1), [*row.tolist(), scale(value)], color=shade, linewidth=width,
                      alpha=alpha, zorder=order, solid_joinstyle="round")  # fmt: skip
        _axes(axes, view, target, scale)
        for side, index, words in ((True, 0, "excluded"), (False, 1, "not excluded")):
            count = sum(found is side for found in sides.values())
            if count:
                axes.plot([], [], color=colour(index), label=f"{words} as measured ({count})")
        layers.heading(figure, layers.title(view))
        legend_below(figure, [axes])
    return figure


class _Scale:
    """From values of a target to [0, 1]; by logarithm where they span decades."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low, self.high = (min(values), max(values)) if values else (0.0, 1.0)
        self.log = self.low > 0 and self.high > _DECADES * self.low

    def __call__(self, value: float) -> float:
        low, high = (math.log(v) if self.log else v for v in (self.low, self.high))
        return ((math.log(value) if self.log else value) - low) / ((high - low) or 1.0)

    def back(self, u: float) -> float:
        if self.log:
            return float(self.low * (self.high / self.low) ** u)
        return self.low + u * (self.high - self.low)


def _shade(u: float) -> Any:
    import matplotlib as mpl

    return mpl.colormaps["viridis"](u)


def _axes(axes: Axes, view: LoopView, target: str, scale: _Scale) -> None:
    """A vertical axis for each coordinate, with its own numbers beside it."""
    import numpy as np

    space = view.plan.loop.space
    for i, (name, parameter) in enumerate(space.parameters.items()):
        if hasattr(parameter, "choices"):
            places = [(u, str(c)) for u, c in zip(_middles(len(parameter.choices)), parameter.choices, strict=True)]
            places = places[:_MOST_CHOICES]
        else:
            values = [parameter.from_unit(u) for u in _TICKS]
            if isinstance(parameter, Integer) and parameter.high - parameter.low < _MOST_CHOICES:
                values = list(range(parameter.low, parameter.high + 1))
            places = [(float(parameter.to_unit(np.array(v))), f"{v:.4g}") for v in dict.fromkeys(values)]
        unit = getattr(parameter, "unit", "")
        _axis(axes, i, f"{name}\n[{unit}]" if unit else name, places)
    _axis(axes, space.dimension, target, [(u, f"{scale.back(u):.2g}") for u in _TICKS])
    level = levels_of(view).get(target)
    if level is not None and scale.low < level < scale.high:
        u = scale(level)
        axes.plot([space.dimension - 0.12, space.dimension + 0.12], [u, u], color="#000000", linewidth=2.2, zorder=6,
                  label=f"level {level:g}")  # fmt: skip
    axes.set_xlim(-0.15, space.dimension + 0.45)
    axes.set_ylim(-0.03, 1.03)
    axes.set_axis_off()


def _middles(count: int) -> list[float]:
    return [(i + 0.5) / count for i in range(count)]


def _axis(axes: Axes, x: int, name: str, places: Sequence[tuple[float, str]]) -> None:
    axes.plot([x, x], [0.0, 1.0], color=MUTED, linewidth=1.0, zorder=4)
    axes.text(x, 1.05, name, ha="center", va="bottom")
    for u, words in places:
        axes.plot([x, x + 0.04], [u, u], color=MUTED, linewidth=1.0, zorder=4)
        axes.text(x + 0.06, u, words, va="center", fontsize="small", zorder=7,
                  bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8})  # fmt: skip
