"""Parameters of all kinds as axes of plots: where their values are, how their bins are cut, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from idds_agents.report import layers
from idds_core.space import Integer, Log, Space

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["axis_label", "bin_cells", "bin_edges", "on_axis", "set_axis", "unit_edges"]

_BINS = 16


def axis_label(space: Space, name: str) -> str:
    """Name and unit of a parameter."""
    unit = getattr(space.parameters[name], "unit", "")
    return f"{name} [{unit}]" if unit else name


def on_axis(space: Space, name: str, values: Sequence[Any]) -> list[float]:
    """Where values of a parameter are on an axis: choices at whole numbers from 0."""
    parameter = space.parameters[name]
    if hasattr(parameter, "choices"):
        return [float(parameter.choices.index(v)) for v in values]
    return [float(v) for v in values]


def _span(space: Space, name: str) -> tuple[float, float]:
    """Both ends of a parameter's axis: whole numbers and choices have room to both sides."""
    parameter = space.parameters[name]
    if hasattr(parameter, "choices"):
        return -0.5, len(parameter.choices) - 0.5
    room = 0.5 if isinstance(parameter, Integer) else 0.0
    return parameter.low - room, parameter.high + room


def set_axis(axes: Axes, which: str, space: Space, name: str) -> None:
    """Range, scale and ticks of a parameter on the axis "x" or "y"."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    parameter, (low, high) = space.parameters[name], _span(space, name)
    log = isinstance(parameter, Log)
    drawn = getattr(axes, f"{which}axis")
    axes.set(**{f"{which}scale": "log" if log else "linear", f"{which}lim": (low, high)})
    if log:
        layers.plain_decades(drawn, low, high)
    elif isinstance(parameter, Integer):
        drawn.set_major_locator(MaxNLocator(integer=True))
    elif hasattr(parameter, "choices"):
        drawn.set_ticks(range(len(parameter.choices)), [str(c) for c in parameter.choices])
    if isinstance(parameter, Integer) or hasattr(parameter, "choices"):
        drawn.set_minor_locator(NullLocator())


# ---------------------------------------------------------------------- bins
def unit_edges(space: Space, name: str) -> NDArray[np.float64]:
    """(k + 1,) edges of a parameter's bins in the unit cube: a bin for each choice, and for each of few integers."""
    import numpy as np

    parameter = space.parameters[name]
    count = _BINS
    if hasattr(parameter, "choices"):
        count = len(parameter.choices)
    elif isinstance(parameter, Integer):
        count = min(_BINS, parameter.high - parameter.low + 1)
    return np.linspace(0.0, 1.0, count + 1)


def bin_edges(space: Space, name: str) -> list[float]:
    """The same on the parameter's axis."""
    (low, high), log = _span(space, name), isinstance(space.parameters[name], Log)
    return [float(low * (high / low) ** u if log else low + u * (high - low)) for u in unit_edges(space, name)]


def bin_cells(space: Space, name: str) -> list[tuple[Any, Any]]:
    """Both ends of each bin, in natural units; a choice is both ends of its own."""
    parameter, edges = space.parameters[name], bin_edges(space, name)
    if hasattr(parameter, "choices"):
        return [(c, c) for c in parameter.choices]
    return list(pairwise(edges))
