"""Which parameters matter, as the learner's surrogate has it: parts of the variance, and lengthscales."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from idds_agents.report import facts, layers
from idds_agents.report.figure_data import Table, add
from idds_agents.report.reading import LoopView
from idds_agents.report.style import MUTED, colour, grid_of, legend_below, look
from idds_core.errors import IddsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Weights", "draw_importance", "importance_table", "importance_tables", "pair_table", "weights_of"]

_MOST_PAIRS = 5


@dataclass(frozen=True)
class Weights:
    """What is known of a target.

    main, total : parameter -> share of the variance of the surrogate's mean, alone and with all others; empty where
        the learner does not tell.
    pairs : (parameter, parameter, share of both together beyond what each does alone), the largest first.
    lengthscales : parameter -> as a share of the range; empty where the learner does not tell.
    """

    main: dict[str, float] = field(default_factory=dict)
    total: dict[str, float] = field(default_factory=dict)
    pairs: tuple[tuple[str, str, float], ...] = ()
    lengthscales: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The parameters, in the order of the space."""
        return list(self.main or self.lengthscales)

    @property
    def inverse(self) -> dict[str, float]:
        """Parameter -> 1 / lengthscale, as a share of their sum."""
        whole = sum(1.0 / s for s in self.lengthscales.values())
        return {n: 1.0 / s / whole for n, s in self.lengthscales.items()}

    @property
    def bars(self) -> dict[str, float]:
        """What a bar stands for: the share that a parameter has a part in, else the inverse of its lengthscale."""
        return self.total or self.inverse


def weights_of(view: LoopView, target: str | None = None) -> dict[str, Weights]:
    """By target; nothing of one that the learner says nothing of."""
    told: dict[str, Any] = view.importance
    scales = {h["target"]: {n: s for n, s in h["lengthscales"].items() if s > 0} for h in facts.health(view)}
    found = {}
    for name in dict.fromkeys((*told, *scales)):
        parts = told.get(name, {})
        pairs = tuple((*p["parameters"], p["share"]) for p in parts.get("pairs", ()))
        known = Weights(dict(parts.get("main", {})), dict(parts.get("total", {})), pairs, scales.get(name, {}))
        if known.names and target in (None, name):
            found[name] = known
    return found


def importance_tables(view: LoopView, target: str | None = None) -> tuple[dict[str, Weights], dict[str, Table]]:
    """What is drawn, and its tables.

    Raises
    ------
    IddsError
        E-REPORT-002 when the learner has no surrogate that tells.

    """
    found = weights_of(view, target)
    if not found:
        raise IddsError.of("E-REPORT-002", f"{view.path} has no map", "its learner has told no lengthscales", view.path,
                           "Wait for more points, or use a learner that has a map.")  # fmt: skip
    return found, {"importance": importance_table(found), "interactions": pair_table(found)}


def importance_table(found: dict[str, Weights]) -> Table:
    """A row for each target and parameter."""
    table: Table = {}
    for target, known in found.items():
        for name in known.names:
            add(table, target=target, parameter=name, main=known.main.get(name), total=known.total.get(name),
                lengthscale=known.lengthscales.get(name), importance=known.inverse.get(name))  # fmt: skip
    return table


def pair_table(found: dict[str, Weights]) -> Table:
    """A row for each target and pair that acts together."""
    table: Table = {"target": [], "first": [], "second": [], "share": []}
    for target, known in found.items():
        for first, second, share in known.pairs:
            add(table, target=target, first=first, second=second, share=share)
    return table


def draw_importance(view: LoopView, found: dict[str, Weights], style: str | None = None) -> Figure:
    """Bars, those that matter most above: dark what a parameter does alone, pale with others; below them pairs."""
    names = list(dict.fromkeys(n for known in found.values() for n in known.names))
    names.sort(key=lambda n: max(known.bars.get(n, 0.0) for known in found.values()))
    pairs = list(dict.fromkeys(p[:2] for known in found.values() for p in known.pairs[:_MOST_PAIRS]))
    rows = [*reversed(pairs), *names]
    thick = 0.8 / len(found)
    with look(style):
        figure, ((axes,),) = grid_of(1, 1, 6.6, 1.5 + 0.34 * len(rows) * (1 + 0.45 * (len(found) - 1)))
        for i, (target, known) in enumerate(found.items()):
            both = {(a, b): share for a, b, share in known.pairs}
            for k, row in enumerate(rows):
                y = k + 0.4 - thick * (i + 0.5)
                alone = both.get(row, 0.0) if isinstance(row, tuple) else known.main.get(row, known.bars.get(row, 0.0))
                whole = max(alone, known.total.get(row, 0.0)) if isinstance(row, str) else alone
                axes.barh(y, whole, thick * 0.9, color=colour(i), alpha=0.3)
                axes.barh(y, alone, thick * 0.9, color=colour(i), label=target if k == 0 else None)
                scale = known.lengthscales.get(row) if isinstance(row, str) else None
                text = f"  lengthscale {scale:.3g}" if scale else f"  {100 * whole:.3g} %"
                axes.text(whole, y, text, va="center", fontsize="small", color=MUTED)
        axes.set_yticks(
            range(len(rows)), [r if isinstance(r, str) else " \N{MULTIPLICATION SIGN} ".join(r) for r in rows]
        )
        axes.tick_params(axis="y", length=0, which="both")
        top = max(max(known.bars.values()) for known in found.values())
        axes.set_xlim(0.0, max(min(1.0, top), 0.05) * 1.35)
        if all(known.main for known in found.values()):
            axes.set_xlabel("share of the variance: dark alone, pale together with others")
        else:
            axes.set_xlabel("importance: 1 / lengthscale, as a share of the sum")
        axes.set_title(layers.title(view), loc="left", pad=9)
        legend_below(figure, [axes])
    return figure
