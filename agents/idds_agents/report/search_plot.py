"""The plot of a search for an optimum: values and the best so far, the front, and the parameters side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idds_agents.report.best import bests, front_of, progress, sought, volumes
from idds_agents.report.figure_data import Table
from idds_agents.report.layers import title
from idds_agents.report.reading import LoopView
from idds_agents.report.style import colour, grid_of, look
from idds_core.errors import IddsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_search", "progress_table"]

_SOFT = "#8a8f99"
_DECADES = 30.0
_MOST_LINES = 300


def _ways(view: LoopView, target: str | None) -> dict[str, str]:
    """Objective -> direction, of one or of all."""
    if not sought(view):
        raise IddsError.of("E-PLOT-007", f"{view.path} has no search to draw", "its learner looks for a contour",
                           view.path, "Leave --kind out.")  # fmt: skip
    ways = {t: way for t, way in sought(view).items() if target in (None, t)}
    if not ways:
        raise IddsError.of("E-PLOT-003", f"{target} is no objective of {view.path}", "", view.path,
                           f"It is after {', '.join(sought(view))}.")  # fmt: skip
    if not bests(view):
        raise IddsError.of("E-REPORT-002", f"{view.path} has nothing to draw", "no point is measured yet", view.path,
                           "Wait for the first points.")  # fmt: skip
    return ways


def draw_search(view: LoopView, target: str | None = None, style: str | None = None) -> Figure:
    """Convergence of each objective; the front of the first two; parallel coordinates, the best points darkest.

    Raises
    ------
    IddsError
        When nothing is measured yet, or the target is no objective.

    """
    ways = _ways(view, target)
    pairs = [tuple(ways)[:2]] if len(ways) > 1 else []
    with look(style):
        grown = volumes(view) if pairs else []
        figure, rows = grid_of(len(ways) + len(pairs) + bool(grown) + 1, 1, 7.2, 2.9)
        panels = [row[0] for row in rows]
        for i, (name, way) in enumerate(ways.items()):
            _convergence(panels[i], view, name, way, colour(i))
        if pairs:
            _front(panels[len(ways)], view, *pairs[0])
        if grown:
            _volume(panels[-2], grown)
        _parallel(panels[-1], view, *next(iter(ways.items())))
        panels[0].set_title(title(view), loc="left", pad=9)
    return figure


def progress_table(view: LoopView, target: str | None = None) -> Table:
    """Of each evaluation, in order: its number, and by objective its value and the best so far."""
    measured = sorted(p.number for p in view.history.measured)
    table: Table = {"evaluation": [*range(1, len(measured) + 1)], "number": [*measured]}
    for name, way in _ways(view, target).items():
        table[name], table[f"{name}.best"] = progress(view, name, way)
    return table


def _convergence(axes: Axes, view: LoopView, target: str, way: str, colour: str) -> None:
    values, best = progress(view, target, way)
    turns = range(1, len(values) + 1)
    axes.scatter(turns, values, s=16, color=_SOFT, linewidths=0, label="measured")
    axes.step(turns, best, where="post", color=colour, linewidth=2.0, label=f"best so far: {best[-1]:.6g}")
    if min(values) > 0 and max(values) > _DECADES * min(values):
        axes.set_yscale("log")
    axes.set_ylabel(f"{target} ({'smaller' if way == 'min' else 'larger'} is better)")
    axes.set_xlabel("evaluation")
    axes.legend()


def _front(axes: Axes, view: LoopView, first: str, second: str) -> None:
    def places(points: Any) -> tuple[list[float], list[float]]:
        seen = [p.observation.values for p in points if p.observation]
        return [v[first] for v in seen], [v[second] for v in seen]

    axes.scatter(*places(view.history.measured), s=16, color=_SOFT, linewidths=0, label="measured")
    kept = front_of(view)
    axes.scatter(*places(kept), s=28, color=colour(1), zorder=3, label=f"on the front ({len(kept)})")
    axes.set_xlabel(first)
    axes.set_ylabel(second)
    axes.legend()


def _volume(axes: Axes, grown: list[tuple[int, float]]) -> None:
    axes.step(*zip(*grown, strict=True), where="post", color=colour(1), linewidth=2.0, marker="o", markersize=3.5)
    axes.set_xlabel("evaluation")
    axes.set_ylabel("hypervolume of the front")


def _parallel(axes: Axes, view: LoopView, target: str, way: str) -> None:
    """One line a point through its parameters, each from its lowest to its highest; by rank of the value."""
    from matplotlib import colormaps

    from idds_agents.report.best import ranked

    space, order = view.plan.loop.space, ranked(view, target, way)[:_MOST_LINES]
    unit = space.to_unit([b.point.parameters for b in order])
    shades = colormaps["cividis_r"]
    for rank in range(len(order) - 1, -1, -1):
        share = 1.0 - rank / max(len(order) - 1, 1)
        axes.plot(range(space.dimension), unit[rank], color=shades(share), linewidth=0.7 + 1.6 * share**3,
                  alpha=0.35 + 0.65 * share, marker="o" if space.dimension == 1 else None)  # fmt: skip
    axes.set_xticks(range(space.dimension), [*space.names])
    axes.set_yticks([0, 1], ["lowest", "highest"])
    axes.set_xlim(-0.1, space.dimension - 0.9)
    axes.set_ylabel(f"darker: better {target}")
