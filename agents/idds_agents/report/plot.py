"""The plot of a loop: contour lines with their band in two dimensions, curves in one. Drawn without a display."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idds_agents.report import layers
from idds_agents.report.best import sought
from idds_agents.report.reading import LoopView
from idds_agents.report.style import grid_of, look
from idds_agents.report.surface import GRID, Surface, need_surrogate, observed, surface_of
from idds_core.errors import IddsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CURVE_NODES", "check_target", "draw", "draw_surface"]

CURVE_NODES = 401
_FOOT = 0.035


def draw(view: LoopView, target: str | None = None, nodes: int = GRID) -> Figure:
    """The figure of a loop: its map in one or two dimensions (`nodes` of an axis in two), or the search for an optimum.

    Raises
    ------
    IddsError
        When there is no map yet, no such target, or another dimension.

    """
    check_target(view, target)
    if sought(view):
        from idds_agents.report.search_plot import draw_search

        return draw_search(view, target)
    space, surrogate = view.plan.loop.space, need_surrogate(view)
    return draw_surface(view, surface_of(space, surrogate, CURVE_NODES if space.dimension == 1 else nodes), target)


def check_target(view: LoopView, target: str | None) -> None:
    """Refuse a target that the loop has not.

    Raises
    ------
    IddsError
        E-PLOT-003.

    """
    contours = view.surrogate.targets if view.surrogate is not None else ()
    several = {observed(view, t) for t in contours} - set(contours)
    targets = [*dict.fromkeys([*(t for t in view.plan.loop.targets if t not in several), *contours])]
    if target is not None and target not in targets:
        raise IddsError.of("E-PLOT-003", f"{view.path} has no target {target}", "", view.path,
                           f"Its targets are {', '.join(targets)}.")  # fmt: skip


def draw_surface(view: LoopView, surface: Surface, target: str | None = None, style: str | None = None) -> Figure:
    """The contour lines of a surface in two dimensions, the curves in one."""
    with look(style):
        if len(surface.axes) == 1:
            return _draw_curves(view, surface, [target] if target else list(surface.targets))
        figure, ((axes,),) = grid_of(1, 1, 7.2, 5.9)
        x, y = surface.axes
        layers.map_layers(axes, view, surface, target)

        def place(p: Any) -> tuple[Any, Any]:
            return p.parameters[x.name], p.parameters[y.name]

        measured = view.history.measured
        drawn = layers.evaluated(axes, view, [p.iteration for p in measured], [place(p) for p in measured],
                                 f"evaluated ({len(measured)})")  # fmt: skip
        layers.others(axes, view.history.points, place, transform=axes.transData, counted=True)
        layers.iteration_bar(figure, [axes], drawn, view)
        layers.scale_axes(axes, x, y)
        layers.finish(figure, [axes], view)
    return figure


def _draw_curves(view: LoopView, surface: Surface, targets: list[str]) -> Figure:
    """A panel for each target."""
    (axis,) = surface.axes
    figure, rows = grid_of(len(targets), 1, 7.2, 2.6 + 2.0 / len(targets), sharex=True)
    panels = [row[0] for row in rows]
    for i, (axes, target) in enumerate(zip(panels, targets, strict=True)):
        layers.curve(axes, view, surface, target, i)
        drawn = _draw_observed(axes, view, axis.name, observed(view, target))
    layers.iteration_bar(figure, panels, drawn, view, len(panels))
    layers.scale_axis(panels[-1], "x", axis)
    layers.finish(figure, panels, view)
    return figure


def _draw_observed(axes: Axes, view: LoopView, name: str, target: str) -> Any:
    """Measured points with their error bars; the others at the foot of the panel."""
    seen = [(p.iteration, p.parameters[name], p.observation) for p in view.history.measured if p.observation]
    noisy = [(x, o.values[target], o.sigmas[target]) for _, x, o in seen if o.sigmas.get(target)]
    if noisy:
        x, y, error = zip(*noisy, strict=True)
        axes.errorbar(x, y, yerr=error, fmt="none", ecolor="#777777", elinewidth=0.9, zorder=4)
    places = [(x, o.values[target]) for _, x, o in seen]
    drawn = layers.evaluated(axes, view, [k for k, _, _ in seen], places, f"evaluated ({len(seen)})")
    layers.others(axes, view.history.points, lambda p: (p.parameters[name], _FOOT),
                  transform=axes.get_xaxis_transform(), counted=True)  # fmt: skip
    return drawn
