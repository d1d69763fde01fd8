"""The plot of a search for an optimum: values and the best so far, the front, and the parameters side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idds_agents.report.best import bests, front_of, progress, sought
from idds_agents.report.plot import COLOURS, STYLE, title
from idds_agents.report.reading import LoopView
from idds_core.errors import IddsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_search"]

_INK, _SOFT = "#222222", "#8a8f99"
_DECADES = 30.0
_MOST_LINES = 300


def draw_search(view: LoopView, target: str | None = None) -> Figure:
    """Convergence of each objective; the front of the first two; parallel coordinates, the best points darkest.

    Raises
    ------
    IddsError
        When nothing is measured yet.

    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ways = {t: way for t, way in sought(view).items() if target in (None, t)}
    if not ways:
        raise IddsError.of("E-PLOT-003", f"{target} is no objective of {view.path}", "", view.path,
                           f"It is after {', '.join(sought(view))}.")  # fmt: skip
    if not bests(view):
        raise IddsError.of("E-REPORT-002", f"{view.path} has nothing to draw", "no point is measured yet", view.path,
                           "Wait for the first points.")  # fmt: skip
    pairs = [tuple(ways)[:2]] if len(ways) > 1 else []
    with mpl.rc_context(STYLE):
        count = len(ways) + len(pairs) + 1
        figure = Figure(figsize=(7.2, 1.2 + 2.6 * count), layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(count, 1, squeeze=False)[:, 0])
        for i, (name, way) in enumerate(ways.items()):
            _convergence(panels[i], view, name, way, COLOURS[i % len(COLOURS)])
        if pairs:
            _front(panels[len(ways)], view, *pairs[0])
        _parallel(panels[-1], view, *next(iter(ways.items())))
        panels[0].set_title(title(view), loc="left", fontsize=11.5, color=_INK, pad=9)
    return figure


def _convergence(axes: Axes, view: LoopView, target: str, way: str, colour: str) -> None:
    values, best = progress(view, target, way)
    turns = range(1, len(values) + 1)
    axes.scatter(turns, values, s=16, color=_SOFT, linewidths=0, label="measured")
    axes.step(turns, best, where="post", color=colour, linewidth=2.0, label=f"best so far: {best[-1]:.6g}")
    if min(values) > 0 and max(values) > _DECADES * min(values):
        axes.set_yscale("log")
    axes.set_ylabel(f"{target} ({'smaller' if way == 'min' else 'larger'} is better)")
    axes.set_xlabel("evaluation")
    axes.legend(frameon=False, fontsize=9.5)


def _front(axes: Axes, view: LoopView, first: str, second: str) -> None:
    def places(points: Any) -> tuple[list[float], list[float]]:
        seen = [p.observation.values for p in points if p.observation]
        return [v[first] for v in seen], [v[second] for v in seen]

    axes.scatter(*places(view.history.measured), s=16, color=_SOFT, linewidths=0, label="measured")
    kept = front_of(view)
    axes.scatter(*places(kept), s=28, color=COLOURS[1], zorder=3, label=f"on the front ({len(kept)})")
    axes.set_xlabel(first)
    axes.set_ylabel(second)
    axes.legend(frameon=False, fontsize=9.5)


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
