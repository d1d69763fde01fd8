"""Plots of a map in many parameters, seen from one or two of them: profiles, and pairs with their shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from idds_agents.report import layers
from idds_agents.report.figure_data import Table, add
from idds_agents.report.parameter_axes import axis_label, bin_cells, bin_edges, on_axis, set_axis
from idds_agents.report.reading import LoopView
from idds_agents.report.shape import Cloud, Profile, Share, share
from idds_agents.report.style import FORBIDDEN, INK, MUTED, colour, grid_of, legend_below, look
from idds_agents.report.surface import levels_of
from idds_core.space import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_pairs", "draw_profiles", "pair_shares", "pair_tables", "profile_table"]

_CELL = 2.15
_IN_BAND = "share in the \N{PLUS-MINUS SIGN}1\N{GREEK SMALL LETTER SIGMA} band"
_BAND_MAP, _EXCLUDED_MAP = "Oranges", "Blues"


# ---------------------------------------------------------------------- profiles
def draw_profiles(view: LoopView, profiles: Sequence[Profile], style: str | None = None) -> Figure:
    """A row for each target, a column for each parameter."""
    space = view.plan.loop.space
    names, targets = (list(dict.fromkeys(getattr(p, what) for p in profiles)) for what in ("name", "target"))
    with look(style):
        width = 3.3 if len(names) > 1 else 6.4
        figure, rows = grid_of(
            len(targets), len(names), width, 3.0 if len(names) > 1 else 4.6, sharex="col", sharey="row"
        )
        for p in profiles:
            i = targets.index(p.target)
            _profile(rows[i][names.index(p.name)], view, p, i)
        for row, target in zip(rows, targets, strict=True):
            row[0].set_ylabel(target)
            of = [p for p in profiles if p.target == target]
            if all(layers.spans_decades(p.low, p.high) for p in of):
                row[0].set_yscale("log")
        for axes, name in zip(rows[-1], names, strict=True):
            axes.set_xlabel(axis_label(space, name))
        layers.heading(figure, f"{layers.title(view)}\nlowest and highest mean over all other parameters")
        legend_below(figure, [axes for row in rows for axes in row], most=4)
    return figure


def _profile(axes: Axes, view: LoopView, p: Profile, index: int) -> None:
    space, shade = view.plan.loop.space, colour(index)
    x = on_axis(space, p.name, p.values)
    label = f"{p.target}, lowest to highest"
    if hasattr(space.parameters[p.name], "choices"):
        axes.bar(x, p.high - p.low, bottom=p.low, width=0.6, color=shade, alpha=0.25, label=label)
        axes.scatter([*x, *x], [*p.low, *p.high], color=shade, s=14, zorder=4)
    else:
        axes.fill_between(x, p.low, p.high, color=shade, alpha=0.18, linewidth=0, label=label)
        for mean, sd in ((p.low, p.low_sd), (p.high, p.high_sd)):
            axes.plot(x, mean, color=shade, linewidth=1.8)
            axes.fill_between(x, mean - sd, mean + sd, color=shade, alpha=0.3, linewidth=0)
    level = levels_of(view).get(p.target)
    if level is not None:
        axes.axhline(level, color=INK, linewidth=1.0, linestyle=(0, (4, 2)), label=f"level {level:g}")
    set_axis(axes, "x", space, p.name)


def profile_table(profiles: Sequence[Profile]) -> Table:
    """A row for each value of each parameter and target."""
    table: Table = {}
    for p in profiles:
        columns = (p.low.tolist(), p.low_sd.tolist(), p.high.tolist(), p.high_sd.tolist())
        for value, low, low_sd, high, high_sd in zip(p.values, *columns, strict=True):
            add(table, parameter=p.name, value=value, target=p.target, lowest=low, lowest_sd=low_sd, highest=high,
                highest_sd=high_sd)  # fmt: skip
    return table


# ---------------------------------------------------------------------- pairs
Shares = Mapping[tuple[str, ...], Share]


def pair_shares(view: LoopView, found: Cloud, target: str) -> Shares:
    """The shares of a target by one parameter, and by each pair (x, y) of them."""
    space = view.plan.loop.space
    names = space.names
    keys = [(n,) for n in names] + [(x, y) for i, y in enumerate(names) for x in names[:i]]
    return {key: share(space, found, target, key) for key in keys}


def draw_pairs(view: LoopView, shares: Shares, target: str, style: str | None = None) -> Figure:
    """Below the diagonal what is excluded, with the points; above it the band; on it both along one parameter."""
    space = view.plan.loop.space
    names, d = space.names, space.dimension
    pairs, single = ([s for s in shares.values() if s.band.ndim == n] for n in (2, 1))
    top = _largest([s.excluded for s in single] + [s.band for s in single]) * 1.08
    with look(style):
        figure, rows = grid_of(d, d, max(_CELL, 5.2 / d), max(_CELL, 4.8 / d) * 0.92)
        drawn: dict[str, Any] = {}
        for i, y in enumerate(names):
            for j, x in enumerate(names):
                axes = rows[i][j]
                if i == j:
                    _diagonal(axes, space, x, shares[x,], top)
                elif j < i:
                    drawn["excluded"] = _tiles(axes, space, x, y, shares[x, y].excluded, _EXCLUDED_MAP,
                                               _largest([s.excluded for s in pairs]))  # fmt: skip
                    _scatter(axes, view, x, y)
                else:
                    drawn["band"] = _tiles(axes, space, x, y, shares[y, x].band.T, _BAND_MAP,
                                           _largest([s.band for s in pairs]))  # fmt: skip
                _outer(axes, space, names, i, j)
        panels = [axes for row in rows for axes in row]
        if drawn:
            for name, words in (
                ("excluded", f"{target}: share that is excluded"),
                ("band", _IN_BAND),
            ):
                bar = figure.colorbar(drawn[name], ax=panels, pad=0.012, aspect=45, shrink=0.9)
                layers.plain_bar(bar, words)
        layers.heading(figure, f"{layers.title(view)}\nshares over all parameters that a panel does not show")
        legend_below(figure, panels, most=4)
    return figure


def _largest(shares: Sequence[Any]) -> float:
    """The largest number in some arrays; 1 where there is none above zero."""
    import numpy as np

    values = np.concatenate([s[np.isfinite(s)] for s in shares] or [np.empty(0)])
    return float(values.max()) if values.size and values.max() > 0 else 1.0


def _tiles(axes: Axes, space: Space, x: str, y: str, values: Any, shades: str, most: float) -> Any:
    axes.set_facecolor(FORBIDDEN)  # where no point is allowed
    return axes.pcolormesh(bin_edges(space, x), bin_edges(space, y), values, cmap=shades, vmin=0.0, vmax=most,
                           zorder=0, edgecolors="face", linewidth=0.2)  # fmt: skip


def _scatter(axes: Axes, view: LoopView, x: str, y: str) -> None:
    space = view.plan.loop.space
    for state, points, style in _kinds(view):
        xs, ys = (on_axis(space, n, [p.parameters[n] for p in points]) for n in (x, y))
        axes.scatter(xs, ys, label=f"{state} ({len(points)})", zorder=3, **style)


def _kinds(view: LoopView) -> list[tuple[str, list[Any], dict[str, Any]]]:
    """Measured points, and those that ended otherwise."""
    measured = list(view.history.measured)
    rest = [p for p in view.history.points if p.observation is None]
    found: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("evaluated", measured, {"s": 9, "color": INK, "edgecolors": "#ffffff", "linewidths": 0.4})
    ]
    if rest:
        found.append(("without a value", rest, {"s": 14, "marker": "x", "color": MUTED, "linewidths": 0.9}))
    return found


def _diagonal(axes: Axes, space: Space, name: str, found: Share, top: float) -> None:
    edges = bin_edges(space, name)
    for values, label, index, style in (
        (found.excluded, "share excluded", 0, "-"),
        (found.band, "share in the band", 1, (0, (4, 1.5))),
    ):
        axes.stairs(values, edges, color=colour(index), linewidth=1.5, linestyle=style, label=label)
    axes.set_ylim(0.0, top)
    set_axis(axes, "x", space, name)


def _outer(axes: Axes, space: Space, names: Sequence[str], i: int, j: int) -> None:
    """Scales in all panels, words only at the outer edge; the diagonal counts in shares."""
    set_axis(axes, "x", space, names[j])
    if i != j:
        set_axis(axes, "y", space, names[i])
    axes.tick_params(labelsize="small", labelbottom=i == len(names) - 1, labelleft=j == 0 and i > 0)
    if i == len(names) - 1:
        axes.set_xlabel(axis_label(space, names[j]))
    if j == 0:
        axes.set_ylabel(axis_label(space, names[i]) if i else "share")
    if i == j == 0:
        axes.tick_params(labelleft=True)


def pair_tables(view: LoopView, shares: Shares, target: str) -> dict[str, Table]:
    """Shares by pairs, and by single parameters; bins by their edges in natural units, choices by name."""
    space = view.plan.loop.space
    pairs: Table = {
        n: [] for n in ("target", "x_name", "y_name", "x_low", "x_high", "y_low", "y_high", "excluded", "band")
    }
    single: Table = {n: [] for n in ("target", "name", "low", "high", "excluded", "band")}
    for key, found in shares.items():
        cells = [bin_cells(space, name) for name in key]
        if len(key) == 1:
            for (low, high), excluded, band in zip(cells[0], found.excluded.tolist(), found.band.tolist(), strict=True):
                add(single, target=target, name=key[0], low=low, high=high, excluded=excluded, band=band)
            continue
        for r, (y_low, y_high) in enumerate(cells[1]):
            for c, (x_low, x_high) in enumerate(cells[0]):
                add(pairs, target=target, x_name=key[0], y_name=key[1], x_low=x_low, x_high=x_high, y_low=y_low,
                    y_high=y_high, excluded=float(found.excluded[r, c]), band=float(found.band[r, c]))  # fmt: skip
    return {"pairs": pairs, "single": single}
