"""The plot of a loop: contour lines with their band in two dimensions, curves in one. Drawn without a display."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.report.best import sought
from idds_agents.report.export import write_whole
from idds_agents.report.reading import LoopView
from idds_agents.report.surface import GRID, Axis, Surface, forbidden, levels_of, need_surrogate, surface_of
from idds_core.errors import IddsError
from idds_core.history import Point
from idds_core.states import PointState

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["COLOURS", "FORBIDDEN", "FORMATS", "STYLE", "draw", "draw_surface", "save", "title"]

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito: told apart by everybody, and in grey by the dashes
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
FORBIDDEN, _INK = "#e3e3e6", "#222222"
STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "axes.linewidth": 0.8,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "idds",
    "pdf.fonttype": 42,
    "hatch.linewidth": 0.5,
}
_CURVE_NODES = 401
_DECADES = 30.0
_FOOT = 0.035


def draw(view: LoopView, target: str | None = None, nodes: int = GRID) -> Figure:
    """The figure of a loop: its map in one or two dimensions (`nodes` of an axis in two), or the search for an optimum.

    Raises
    ------
    IddsError
        When there is no map yet, no such target, or another dimension.

    """
    targets = view.plan.loop.targets
    if target is not None and target not in targets:
        raise IddsError.of("E-PLOT-003", f"{view.path} has no target {target}", "", view.path,
                           f"Its targets are {', '.join(targets)}.")  # fmt: skip
    if sought(view):
        from idds_agents.report.search_plot import draw_search

        return draw_search(view, target)
    space, surrogate = view.plan.loop.space, need_surrogate(view)
    if space.dimension == 1:
        surface = surface_of(space, surrogate, _CURVE_NODES)
        return _draw_curves(view, surface, [target] if target else list(surface.targets))
    return draw_surface(view, surface_of(space, surrogate, nodes), target)


def save(figure: Figure, path: Path) -> None:
    """Write the figure; the end of the name tells the format.

    Raises
    ------
    IddsError
        For another ending, or a place that cannot be written.

    """
    import matplotlib as mpl

    if path.suffix.lower() not in FORMATS:
        raise IddsError.of("E-PLOT-004", f"{path.name} is no plot", f"its ending is {path.suffix or 'missing'}",
                           str(path), f"Use one of {', '.join(FORMATS)}.")  # fmt: skip
    # no date inside: the same loop gives the same file
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
    try:
        with mpl.rc_context(STYLE):
            write_whole(path, lambda partial: figure.savefig(partial, dpi=200, metadata=metadata))
    except OSError as error:
        raise IddsError.of("E-FILE-020", f"{path} cannot be written", error.strerror or str(error), str(path),
                           "Give another -o FILE.") from error  # fmt: skip


def _figure(width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)
    return figure, list(axes[:, 0])


def title(view: LoopView) -> str:
    """What a figure of a loop is called."""
    n = view.evaluations
    state = str(view.record.state) if view.upto is None else f"iteration {view.upto}"
    return f"{view.path}: {state}, {n} evaluation{'s' if n != 1 else ''}"


def _level_text(view: LoopView, target: str) -> str:
    level = levels_of(view).get(target)
    return f"{target} = {level:g}" if level is not None else target


# ---------------------------------------------------------------------- two dimensions
def draw_surface(view: LoopView, surface: Surface, target: str | None = None) -> Figure:
    """The contour lines of a surface."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, (axes,) = _figure(7.2, 5.9)
        x, y = surface.axes
        targets = [t for t in surface.targets if target in (None, t)]
        if len(targets) == 1:
            _draw_excluded(axes, surface, targets[0])
        for i, name in enumerate(targets):
            _draw_band(axes, surface, name, COLOURS[i % len(COLOURS)], faint=len(targets) > 2)
        _draw_forbidden(axes, surface)
        for i, name in enumerate(targets):
            _draw_line(axes, surface, name, _level_text(view, name), i)
        measured = [(p.parameters[x.name], p.parameters[y.name]) for p in view.history.measured]
        drawn = _draw_measured(axes, view, measured)
        _draw_others(axes, view, lambda p: (p.parameters[x.name], p.parameters[y.name]), axes.transData)
        _draw_bar(figure, [axes], drawn, view)
        _scale(axes, x, y)
        _finish(figure, [axes], view)
    return figure


def _draw_excluded(axes: Axes, surface: Surface, target: str) -> None:
    """A tint where the target is excluded, so that nobody has to guess the side; with several it would be clutter."""
    score = surface.score(target)
    if not (score > 0).any():
        return
    axes.contourf(*surface.grid.axes, score, levels=[0.0, 1e3], colors=[COLOURS[0]], alpha=0.07, zorder=0)
    axes.fill([], [], color=COLOURS[0], alpha=0.1, linewidth=0, label="excluded")


def _draw_band(axes: Axes, surface: Surface, target: str, colour: str, *, faint: bool) -> None:
    alpha = 0.12 if faint else 0.22
    axes.contourf(*surface.grid.axes, surface.score(target), levels=[-1.0, 1.0], colors=[colour], alpha=alpha, zorder=1)


def _draw_forbidden(axes: Axes, surface: Surface) -> None:
    """The region against the constraints, on a finer grid of its own: its border has no stairs."""
    if surface.grid.allowed.all():
        return
    x, y, outside = forbidden(surface)
    axes.contourf(x, y, outside, levels=[0.5, 1.5], colors=[FORBIDDEN], zorder=2)
    label = " and ".join(surface.space.constraints)
    axes.fill([], [], color=FORBIDDEN, label=f"not {label}" if len(label) < 40 else "not allowed")


def _draw_line(axes: Axes, surface: Surface, target: str, label: str, index: int) -> None:
    colour, dash = COLOURS[index % len(COLOURS)], _DASHES[index % len(_DASHES)]
    style: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 2.2}
    lines = surface.lines(target)
    for line in lines:
        axes.plot(line.points[:, 0], line.points[:, 1], zorder=4, **style)
    text = f"{label} (\N{PLUS-MINUS SIGN}1\N{GREEK SMALL LETTER SIGMA} band)"
    axes.plot([], [], label=text if lines else f"{label}: no line", **style)


def _scale(axes: Axes, x: Axis, y: Axis) -> None:
    axes.set_xscale("log" if x.log else "linear")
    axes.set_yscale("log" if y.log else "linear")
    axes.set_xlim(x.values[0], x.values[-1])
    axes.set_ylim(y.values[0], y.values[-1])
    axes.set_xlabel(x.label)
    axes.set_ylabel(y.label)


# ---------------------------------------------------------------------- points
_MARKS: Mapping[PointState, tuple[str, dict[str, Any]]] = {
    PointState.FAILED: ("failed", {"marker": "x", "color": "#000000", "s": 42, "linewidths": 1.5}),
    PointState.INFEASIBLE: ("infeasible", {"marker": "o", "facecolors": "none", "edgecolors": "#555555", "s": 34}),
    PointState.PRUNED: ("pruned", {"marker": "v", "facecolors": "none", "edgecolors": "#555555", "s": 28}),
    PointState.OPEN: ("running", {"marker": "D", "facecolors": "none", "edgecolors": "#999999", "s": 22}),
}


def _draw_measured(axes: Axes, view: LoopView, places: list[tuple[float, float]]) -> Any:
    """Measured points coloured by iteration; what was drawn, for the colour bar."""
    turns = [p.iteration for p in view.history.measured]
    axes.scatter([], [], color="#555a66", s=26, label=f"evaluated ({len(turns)})")
    return axes.scatter([x for x, _ in places], [y for _, y in places], c=turns, cmap="cividis_r", vmin=1,
                        vmax=max(2, view.last_turn), s=26, edgecolors="#ffffff", linewidths=0.6, zorder=5,
                        clip_on=False)  # fmt: skip


def _draw_others(axes: Axes, view: LoopView, place: Callable[[Point], tuple[Any, Any]], transform: Any) -> None:
    """Points without an observation, each kind by a mark of its own."""
    for state, (label, style) in _MARKS.items():
        found = [place(p) for p in view.history.points if p.state is state]
        if found:
            x, y = zip(*found, strict=True)
            text = f"{label} ({len(found)})"
            axes.scatter(x, y, label=text, transform=transform, zorder=6, clip_on=False, **style)


def _draw_bar(figure: Figure, panels: list[Axes], drawn: Any, view: LoopView) -> None:
    """Which colour is which iteration; with one iteration there is nothing to tell."""
    from matplotlib.ticker import MaxNLocator

    if view.last_turn > 1:
        bar = figure.colorbar(drawn, ax=panels, pad=0.015, aspect=32 * len(panels),
                              ticks=MaxNLocator(integer=True, nbins=8))  # fmt: skip
        bar.set_label("iteration")
        bar.outline.set_visible(False)
        if bar.solids is not None:  # else it is the one picture in a vector drawing
            bar.solids.set(rasterized=False, edgecolor="face")


# ---------------------------------------------------------------------- one dimension
def _draw_curves(view: LoopView, surface: Surface, targets: list[str]) -> Figure:
    import matplotlib as mpl

    (axis,) = surface.axes
    name = axis.name
    with mpl.rc_context(STYLE):
        figure, panels = _figure(7.2, 2.0 + 2.6 * len(targets), len(targets))
        for i, (axes, target) in enumerate(zip(panels, targets, strict=True)):
            colour, p = COLOURS[i % len(COLOURS)], surface.grid.predictions[target]
            axes.fill_between(axis.values, p.mean - p.sd, p.mean + p.sd, color=colour, alpha=0.22, linewidth=0)
            label = f"{target} (\N{PLUS-MINUS SIGN}1\N{GREEK SMALL LETTER SIGMA} band)"
            axes.plot(axis.values, p.mean, color=colour, linewidth=2.0, label=label)
            level = levels_of(view).get(target)
            if level is not None:
                axes.axhline(level, color=_INK, linewidth=1.0, linestyle=(0, (4, 2)), label=f"level {level:g}")
            drawn = _draw_observed(axes, view, name, target)
            axes.set_ylabel(target)
            axes.set_yscale("log" if _spans_decades(p.mean - p.sd, p.mean) else "linear")
        _draw_bar(figure, panels, drawn, view)
        panels[-1].set_xlabel(axis.label)
        panels[-1].set_xscale("log" if axis.log else "linear")
        panels[-1].set_xlim(axis.values[0], axis.values[-1])
        _finish(figure, panels, view)
    return figure


def _spans_decades(low: NDArray[np.float64], mean: NDArray[np.float64]) -> bool:
    """Whether a curve is better seen on a logarithmic scale."""
    import numpy as np

    known = np.isfinite(low)
    return bool(known.any() and (low[known] > 0).all() and mean[known].max() > _DECADES * mean[known].min())


def _draw_observed(axes: Axes, view: LoopView, name: str, target: str) -> Any:
    """Measured points with their error bars; the others at the foot of the panel."""
    seen = [(p.parameters[name], p.observation) for p in view.history.measured if p.observation]
    noisy = [(x, o.values[target], o.sigmas[target]) for x, o in seen if o.sigmas.get(target)]
    if noisy:
        x, y, error = zip(*noisy, strict=True)
        axes.errorbar(x, y, yerr=error, fmt="none", ecolor="#777777", elinewidth=0.9, zorder=4)
    drawn = _draw_measured(axes, view, [(x, o.values[target]) for x, o in seen])
    _draw_others(axes, view, lambda p: (p.parameters[name], _FOOT), axes.get_xaxis_transform())
    return drawn


def _finish(figure: Figure, panels: list[Axes], view: LoopView) -> None:
    panels[0].set_title(title(view), loc="left", fontsize=11.5, color=_INK, pad=9)
    figure.draw_without_rendering()
    told: dict[str, Any] = {}  # what is the same in every panel is told once
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        told |= dict(zip(labels, handles, strict=True))
    figure.legend(list(told.values()), list(told), loc="outside lower center", ncols=min(3, len(told)), frameon=False,
                  fontsize=9.5, handlelength=2.6)  # fmt: skip
