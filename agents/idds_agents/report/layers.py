"""What plots of a loop are made of: lines, bands, forbidden regions, points, titles; in the style of the moment."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from idds_agents.report.reading import LoopView
from idds_agents.report.style import DASHES, FORBIDDEN, INK, colour, legend_below
from idds_agents.report.surface import Axis, Surface, forbidden, levels_of, observed, rule
from idds_core.history import Point
from idds_core.states import PointState

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as MplAxis
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["curve", "evaluated", "finish", "heading", "iteration_bar", "level_text", "map_layers", "others",
    "plain_bar", "plain_decades", "scale_axes", "scale_axis", "spans_decades", "title"]  # fmt: skip

_DECADES = 30.0
_PLAIN_DECADES = 5.0
_BAND = "\N{PLUS-MINUS SIGN}1\N{GREEK SMALL LETTER SIGMA} band"
_MARKS: Mapping[PointState, tuple[str, dict[str, Any]]] = {
    PointState.FAILED: ("failed", {"marker": "x", "color": "#000000", "s": 42, "linewidths": 1.5}),
    PointState.INFEASIBLE: ("infeasible", {"marker": "o", "facecolors": "none", "edgecolors": "#555555", "s": 34}),
    PointState.PRUNED: ("pruned", {"marker": "v", "facecolors": "none", "edgecolors": "#555555", "s": 28}),
    PointState.OPEN: ("running", {"marker": "D", "facecolors": "none", "edgecolors": "#999999", "s": 22}),
}


# ---------------------------------------------------------------------- words
def title(view: LoopView) -> str:
    """Which loop, and how far it is."""
    n = view.evaluations
    state = str(view.record.state) if view.upto is None else f"iteration {view.upto}"
    return f"{view.path}: {state}, {n} evaluation{'s' if n != 1 else ''}"


def level_text(view: LoopView, target: str) -> str:
    """A target with its level."""
    level = levels_of(view).get(target)
    return f"{target} = {level:g}" if level is not None else target


def heading(figure: Figure, text: str) -> None:
    """A title above all panels."""
    import matplotlib as mpl

    figure.suptitle(text, x=0.01, ha="left", fontsize=mpl.rcParams["axes.titlesize"])


def finish(figure: Figure, panels: list[Axes], view: LoopView) -> None:
    """Title above the first panel, one legend below all."""
    panels[0].set_title(title(view), loc="left", pad=9)
    figure.draw_without_rendering()
    legend_below(figure, panels)


# ---------------------------------------------------------------------- a map in two dimensions
def map_layers(axes: Axes, view: LoopView, surface: Surface, target: str | None, *, alone: bool = True) -> bool:
    """Excluded side, bands, forbidden region and contour lines; of one target, or of all. Whether there are lines.

    alone : no other panel has the legend's lines, so that it must say which are missing.
    """
    targets = [t for t in surface.targets if target in (None, t)]
    if len(targets) == 1:
        _excluded_side(axes, surface, targets[0])
    theory = surface.bands if target is None else {}
    for name, pair in theory.items():
        shade = colour(targets.index(f"{name}.nominal") if f"{name}.nominal" in targets else targets.index(pair[0]))
        axes.contourf(*surface.grid.axes, surface.between(name), levels=[0.0, 1e6], colors=[shade], alpha=0.28,
                      zorder=1)  # fmt: skip
        axes.fill([], [], color=shade, alpha=0.28, linewidth=0, label=f"{name}: up to down")
    edges = {name for pair in theory.values() for name in pair}
    for i, name in enumerate(targets):
        if name in edges:  # their own bands would hide the one between them
            continue
        alpha = 0.12 if len(targets) > 2 else 0.22
        axes.contourf(*surface.grid.axes, surface.score(name), levels=[-1.0, 1.0], colors=[colour(i)], alpha=alpha,
                      zorder=1)  # fmt: skip
    _draw_forbidden(axes, surface)
    drawn = [_draw_line(axes, surface, name, level_text(view, name), i, alone=alone, band=name not in edges)
             for i, name in enumerate(targets)]  # fmt: skip
    return any(drawn)


def _excluded_side(axes: Axes, surface: Surface, target: str) -> None:
    """A tint where the target is excluded, so that nobody has to guess the side; with several it would be clutter."""
    score = surface.score(target)
    if not (score > 0).any():
        return
    axes.contourf(*surface.grid.axes, score, levels=[0.0, 1e3], colors=[colour(0)], alpha=0.07, zorder=0)
    axes.fill([], [], color=colour(0), alpha=0.1, linewidth=0, label="excluded")


def _draw_forbidden(axes: Axes, surface: Surface) -> None:
    """The region where nothing is, on a finer grid of its own: its border has no stairs."""
    if surface.grid.allowed.all():
        return
    x, y, outside = forbidden(surface)
    axes.contourf(x, y, outside, levels=[0.5, 1.5], colors=[FORBIDDEN], zorder=2)
    axes.fill([], [], color=FORBIDDEN, label=rule(surface))


def _draw_line(axes: Axes, surface: Surface, target: str, label: str, index: int, *, alone: bool, band: bool) -> bool:
    style: dict[str, Any] = {"color": colour(index), "linestyle": DASHES[index % len(DASHES)], "linewidth": 2.2}
    lines = surface.lines(target)
    for line in lines:
        axes.plot(line.points[:, 0], line.points[:, 1], zorder=4, **style)
    if lines or alone:
        axes.plot([], [], label=(f"{label} ({_BAND})" if band else label) if lines else f"{label}: no line", **style)
    return bool(lines)


def scale_axes(axes: Axes, x: Axis, y: Axis) -> None:
    """Ranges, scales and names of both axes."""
    scale_axis(axes, "x", x)
    scale_axis(axes, "y", y)


def scale_axis(axes: Axes, which: str, axis: Axis) -> None:
    """Range, scale and name of the axis "x" or "y"; a logarithm of few decades has plain numbers."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    axes.set(**{f"{which}scale": "log" if axis.log else "linear", f"{which}label": axis.label,
                f"{which}lim": (axis.values[0], axis.values[-1])})  # fmt: skip
    drawn = getattr(axes, f"{which}axis")
    if axis.log:
        plain_decades(drawn, float(axis.values[0]), float(axis.values[-1]))
    elif all(float(v).is_integer() for v in axis.values):  # there is nothing between whole numbers
        drawn.set_major_locator(MaxNLocator(integer=True))
        drawn.set_minor_locator(NullLocator())


def plain_decades(drawn: MplAxis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis as people write numbers, as far as they are short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = math.log10(high / low)
    if decades > _PLAIN_DECADES:
        return
    drawn.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,)))
    drawn.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    drawn.set_minor_formatter(NullFormatter())


# ---------------------------------------------------------------------- a curve in one
def curve(axes: Axes, view: LoopView, surface: Surface, target: str, index: int) -> None:
    """The mean with its band, and the level."""
    (axis,), p = surface.axes, surface.grid.predictions[target]
    axes.fill_between(axis.values, p.mean - p.sd, p.mean + p.sd, color=colour(index), alpha=0.22, linewidth=0)
    axes.plot(axis.values, p.mean, color=colour(index), linewidth=2.0, label=f"{target} ({_BAND})")
    level = surface.grid.levels.get(target)
    dashed: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2))}
    if isinstance(level, (int, float)):
        axes.axhline(level, label=f"level {level:g}", **dashed)
    elif level is not None:
        axes.plot(axis.values, level, label=f"level of {target}", **dashed)
    axes.set_ylabel(observed(view, target))
    axes.set_yscale("log" if spans_decades(p.mean - p.sd, p.mean) else "linear")


def spans_decades(low: NDArray[np.float64], mean: NDArray[np.float64]) -> bool:
    """Whether a curve is better seen on a logarithmic scale."""
    import numpy as np

    known = np.isfinite(low)
    return bool(known.any() and (low[known] > 0).all() and mean[known].max() > _DECADES * mean[known].min())


# ---------------------------------------------------------------------- points
def evaluated(axes: Axes, view: LoopView, turns: Sequence[int], places: Sequence[tuple[Any, Any]], label: str) -> Any:
    """Measured points coloured by iteration; what was drawn, for the colour bar."""
    axes.scatter([], [], color="#555a66", s=26, label=label)
    return axes.scatter([x for x, _ in places], [y for _, y in places], c=list(turns), cmap="cividis_r", vmin=1,
                        vmax=max(2, view.last_turn), s=26, edgecolors="#ffffff", linewidths=0.6, zorder=5,
                        clip_on=False)  # fmt: skip


def others(
    axes: Axes, points: Iterable[Point], place: Callable[[Point], tuple[Any, Any]], *, transform: Any, counted: bool
) -> None:
    """Points without an observation, each kind by a mark of its own; their number in the legend, if counted."""
    points = list(points)
    for state, (label, style) in _MARKS.items():
        found = [place(p) for p in points if p.state is state]
        if found:
            x, y = zip(*found, strict=True)
            text = f"{label} ({len(found)})" if counted else label
            axes.scatter(x, y, label=text, transform=transform, zorder=6, clip_on=False, **style)


def plain_bar(bar: Any, words: str) -> None:
    """A colour bar that says what it counts, without a frame."""
    bar.set_label(words)
    bar.outline.set_visible(False)
    bar.ax.minorticks_off()
    bar.ax.tick_params(direction="out", length=3.5)


def iteration_bar(figure: Figure, panels: list[Axes], drawn: Any, view: LoopView, rows: int = 1) -> None:
    """Which colour is which iteration; with one iteration there is nothing to tell."""
    from matplotlib.ticker import MaxNLocator

    if view.last_turn > 1:
        bar = figure.colorbar(drawn, ax=panels, pad=0.015, aspect=32 * rows,
                              ticks=MaxNLocator(integer=True, nbins=8))  # fmt: skip
        plain_bar(bar, "iteration")
        if bar.solids is not None:  # else it is the one picture in a vector drawing
            bar.solids.set(rasterized=False, edgecolor="face")
