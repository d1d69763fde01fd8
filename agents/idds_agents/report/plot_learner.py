"""The plot of what a learner says of its map: how it converges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from idds_agents.report import facts, layers
from idds_agents.report.charts import finite
from idds_agents.report.figure_data import Table, add
from idds_agents.report.reading import LoopView
from idds_agents.report.style import DASHES, INK, MUTED, colour, grid_of, legend_below, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["convergence_table", "draw_convergence"]

_WHOLE = ("kappa", "loo_rmse", "loo_z2", "emv", "unexplored_volume", "unexplored_radius")
_OF_TARGET = ("emv", "kappa", "loo_rmse", "loo_z2", "band_volume", "excluded_share", "excluded_volume")
_ABOVE_ZERO = 1e-9


def convergence_table(view: LoopView) -> Table:
    """A row for each iteration that was decided on: what the learner told, by target where it did, and what it took."""
    rows = [i for i in view.iterations if i.diagnostics]
    targets = list(dict.fromkeys(t for i in rows for t in _by_target(i.diagnostics)))
    parts = sorted({part for i in rows for part in i.took})
    table: Table = {}
    for i in rows:
        numbers: dict[str, Any] = {key: i.diagnostics.get(key) for key in _WHOLE}
        for t in targets:
            told = _by_target(i.diagnostics).get(t, {})
            low, high = told.get("excluded_range") or (None, None)
            numbers |= {f"{t}.{key}": told.get(key) for key in _OF_TARGET}
            numbers |= {f"{t}.excluded_low": low, f"{t}.excluded_high": high}
        numbers |= {f"{part}_s": i.took.get(part) for part in parts}
        known = {key: float(v) if finite(v) else None for key, v in numbers.items()}
        add(table, iteration=i.number, evaluations=_evaluations(view, i.number), verdict=i.verdict, **known)
    return table


def _by_target(told: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    found = told.get("targets")
    return {str(t): d for t, d in found.items() if isinstance(d, Mapping)} if isinstance(found, Mapping) else {}


def _evaluations(view: LoopView, number: int) -> int:
    return sum(p.iteration <= number for p in view.history.measured)


def draw_convergence(view: LoopView, table: Table, style: str | None = None) -> Figure:
    """Four panels over the number of evaluations: doubt that is left, what is excluded, health, what is unexplored."""
    targets = list(dict.fromkeys(n.rpartition(".")[0] for n in table if n.endswith(".emv")))
    x = table["evaluations"]
    goal = next((g.limit for g in facts.gauges_of(view) if g.goal and g.name == "emv"), None)
    with look(style):
        figure, ((doubt, excluded), (health, rest)) = grid_of(2, 2, 4.5, 3.2, sharex=True)
        for i, t in enumerate(targets):
            _line(doubt, x, table[f"{t}.emv"], colour(i), t)
            _line(excluded, x, table[f"{t}.excluded_volume"], colour(i), t)
            low, high = (_percent(table[f"{t}.excluded_{end}"]) for end in ("low", "high"))
            excluded.fill_between(x, low, high, color=colour(i), alpha=0.2, linewidth=0)
            _line(rest, x, table[f"{t}.band_volume"], colour(i), t)
        if goal:
            doubt.axhline(100 * goal, color=INK, linewidth=1.0, linestyle=(0, (4, 2)), label="goal")
        _line(rest, x, table["unexplored_volume"], MUTED, "largest unexplored ball")
        _health(health, x, table)
        for axes in (doubt, rest):
            _logarithmic(axes)
        heads = ("expected misclassified share", "excluded, and its range", "health of the map",
                 "share in the band, and unexplored")  # fmt: skip
        for axes, words in zip((doubt, excluded, health, rest), heads, strict=True):
            axes.set_title(words, loc="left", fontsize="small", color=MUTED)
            axes.set_ylabel("" if axes is health else "share of the space [%]")
        for axes in (health, rest):
            axes.set_xlabel("evaluations")
        layers.heading(figure, layers.title(view))
        legend_below(figure, [doubt, excluded, rest, health], most=4)
    return figure


def _percent(values: Sequence[float | None]) -> list[float]:
    return [100.0 * v if v is not None else float("nan") for v in values]


def _line(axes: Axes, x: Sequence[float], values: Sequence[float | None], shade: str, label: str) -> None:
    axes.plot(x, _percent(values), color=shade, linewidth=1.8, marker="o", markersize=3.5, label=label)


def _health(axes: Axes, x: Sequence[float], table: Table) -> None:
    """Three numbers that are 1, or small, when all is well."""
    words = (
        ("kappa", "kappa"),
        ("loo_z2", "leave-one-out z\N{SUPERSCRIPT TWO}"),
        ("loo_rmse", "leave-one-out error / spread"),
    )
    for i, (name, label) in enumerate(words):
        y = [v if v is not None else float("nan") for v in table[name]]
        axes.plot(x, y, color=INK, alpha=1.0 - 0.28 * i, linestyle=DASHES[i], linewidth=1.5, label=label)
    axes.axhline(1.0, color=MUTED, linewidth=0.8)
    axes.set_ylim(bottom=0.0)


def _logarithmic(axes: Axes) -> None:
    """On a logarithmic scale, where anything is above zero; what is not has no place there."""
    import numpy as np

    lines = [(line, np.asarray(line.get_ydata(), dtype=float)) for line in axes.get_lines()]
    values = [float(v) for _, y in lines for v in y if v > _ABOVE_ZERO]
    if values and max(values) > 3 * min(values):
        for line, y in lines:
            line.set_ydata(np.where(y > _ABOVE_ZERO, y, np.nan))
        axes.set_yscale("log")
        axes.set_ylim(bottom=min(values) / 1.6)
        layers.plain_decades(axes.yaxis, min(values), max(values))
