"""The figures of a loop by name, each drawn and as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.report.best import sought
from idds_agents.report.cuts import ordered, slices
from idds_agents.report.figure_data import FORMATS, Table, write_data
from idds_agents.report.importance import draw_importance, importance_tables
from idds_agents.report.map_data import line_table, map_documents
from idds_agents.report.plot import CURVE_NODES, check_target, draw_surface
from idds_agents.report.plot_learner import (
    convergence_table,
    draw_convergence,
)
from idds_agents.report.plot_points import draw_parallel, excluded_points
from idds_agents.report.plot_shape import draw_pairs, draw_profiles, pair_shares, pair_tables, profile_table
from idds_agents.report.plot_slices import draw_slices
from idds_agents.report.points import points_table
from idds_agents.report.reading import LoopView
from idds_agents.report.search_plot import draw_search, progress_table
from idds_agents.report.shape import cloud, excluded_volume, profile
from idds_agents.report.style import save
from idds_agents.report.surface import GRID, Surface, need_surrogate, observed, surface_of
from idds_core.errors import IddsError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["KINDS", "MOST_SLICES", "SLICE_NODES", "Drawing", "Wanted", "drawing", "kind_of", "write_figure"]

SLICE_NODES = 81
MOST_SLICES = 12


@dataclass(frozen=True)
class Wanted:
    """What is to be drawn.

    kind : one of :data:`KINDS`; None: the contour, slices where there are more than two axes, or the search where an
        optimum is looked for.
    target : only this one; fixed : parameter -> values that slices are cut at; style : of an experiment.
    """

    kind: str | None = None
    target: str | None = None
    fixed: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    style: str | None = None


@dataclass(frozen=True)
class Drawing:
    """A figure: its numbers are known, it is drawn when it is asked for.

    tables : name -> columns; the first is the one that a CSV file has. more : what else its JSON says.
    """

    kind: str
    draw: Callable[[], Figure]
    tables: Mapping[str, Table]
    more: Callable[[], Mapping[str, Any]] = dict


def kind_of(view: LoopView, wanted: Wanted) -> str:
    """The kind that is meant.

    Raises
    ------
    IddsError
        E-PLOT-007 for an unknown one.

    """
    if wanted.kind is not None:
        if wanted.kind not in KINDS:
            raise IddsError.of("E-PLOT-007", f"there is no plot {wanted.kind}", "", view.path,
                               did_you_mean(wanted.kind, list(KINDS)) or f"Use one of {', '.join(KINDS)}.")  # fmt: skip
        return wanted.kind
    if sought(view):
        return "search"
    space = view.plan.loop.space
    return "contour" if not wanted.fixed and space.dimension == len(ordered(space)) <= 2 else "slices"


def drawing(view: LoopView, wanted: Wanted) -> Drawing:
    """A figure of a loop.

    Raises
    ------
    IddsError
        For an unknown kind or target, when there is no map yet and the figure needs one, or for slices that leave
        nothing to draw.

    """
    check_target(view, wanted.target)
    kind = kind_of(view, wanted)
    return KINDS[kind](view, wanted)


def write_figure(view: LoopView, found: Drawing, file: Path, style: str | None = None) -> None:
    """Draw it, or write its numbers: the end of the name tells which.

    Raises
    ------
    IddsError
        For an unknown ending, or a place that cannot be written.

    """
    if file.suffix.lower() in FORMATS:
        more = found.more() if file.suffix.lower() == ".json" else {}
        write_data(view, found.kind, found.tables, more, file)
    else:
        save(found.draw(), file, style)


def _contour(view: LoopView, wanted: Wanted) -> Drawing:
    space, surrogate = view.plan.loop.space, need_surrogate(view)
    surface = surface_of(space, surrogate, CURVE_NODES if space.dimension == 1 else GRID)
    panels: list[tuple[Mapping[str, Any], Surface]] = [({}, surface)]
    return Drawing(
        "contour",
        lambda: draw_surface(view, surface, wanted.target, wanted.style),
        {"lines": line_table(panels, wanted.target), "points": points_columns(view)},
        lambda: {"maps": map_documents(panels, wanted.target)},
    )


def _slices(view: LoopView, wanted: Wanted) -> Drawing:
    need_surrogate(view)
    found = slices(view, SLICE_NODES, MOST_SLICES, wanted.fixed)
    panels = [(cut.fixed, cut.surface) for cut in found.cuts]
    return Drawing(
        "slices",
        lambda: draw_slices(view, found, wanted.target, wanted.style),
        {"lines": line_table(panels, wanted.target), "points": points_columns(view)},
        lambda: {
            "through": {"what": found.centre.text, "parameters": dict(found.centre.parameters)},
            "left_out": found.left_out,
            "maps": map_documents(panels, wanted.target),
        },
    )


def points_columns(view: LoopView) -> Table:
    """All points, as in the export of that name."""
    table = points_table(view)
    return {
        column.name: list(values)
        for column, values in zip(
            table.columns, zip(*table.rows, strict=True) if table.rows else [[]] * len(table.columns), strict=True
        )
    }


def _profile(view: LoopView, wanted: Wanted) -> Drawing:
    surrogate = need_surrogate(view)
    targets = [wanted.target] if wanted.target else list(surrogate.targets)
    found = [p for name in view.plan.loop.space.names for p in profile(view, name, targets)]
    return Drawing("profile", lambda: draw_profiles(view, found, wanted.style), {"profiles": profile_table(found)})


def _pairs(view: LoopView, wanted: Wanted) -> Drawing:
    target = wanted.target or need_surrogate(view).targets[0]
    found = cloud(view)
    shares = pair_shares(view, found, target)
    tables = {**pair_tables(view, shares, target), "points": points_columns(view)}
    return Drawing("pairs", lambda: draw_pairs(view, shares, target, wanted.style), tables,
                   lambda: {"excluded": excluded_volume(found)})  # fmt: skip


def _parallel(view: LoopView, wanted: Wanted) -> Drawing:
    target = observed(view, wanted.target) if wanted.target else view.history.targets[0]
    table = points_columns(view)
    sides = excluded_points(view, target)
    table["excluded"] = [sides.get(p.number) for p in view.history.points]
    return Drawing("parallel", lambda: draw_parallel(view, target, wanted.style), {"points": table},
                   lambda: {"target": target})  # fmt: skip


def _importance(view: LoopView, wanted: Wanted) -> Drawing:
    found, tables = importance_tables(view, wanted.target)
    return Drawing("importance", lambda: draw_importance(view, found, wanted.style), tables)


def _convergence(view: LoopView, wanted: Wanted) -> Drawing:
    if sought(view):
        return _search(view, wanted)
    table = convergence_table(view)
    if not any(n.endswith(".emv") for n in table):
        raise IddsError.of("E-REPORT-002", f"{view.path} has no map", "its learner has told nothing of one", view.path,
                           "Wait for more points, or use a learner that has a map.")  # fmt: skip
    return Drawing("convergence", lambda: draw_convergence(view, table, wanted.style), {"iterations": table})


def _search(view: LoopView, wanted: Wanted) -> Drawing:
    table = progress_table(view, wanted.target)
    return Drawing("search", lambda: draw_search(view, wanted.target, wanted.style),
                   {"search": table, "points": points_columns(view)})  # fmt: skip


KINDS: dict[str, Callable[[LoopView, Wanted], Drawing]] = {
    "contour": _contour,
    "slices": _slices,
    "profile": _profile,
    "pairs": _pairs,
    "parallel": _parallel,
    "importance": _importance,
    "convergence": _convergence,
    "search": _search,
}
