"""Where the conditions of this package stand: what reports show as goals and budgets."""

from __future__ import annotations

from typing import Any

from idds_core.history import History
from idds_core.ports import Gauge
from idds_learners.conditions import All, Any_, BoundaryConverged, CoreHours, MaxIterations, MaxPoints, Wall
from idds_learners.tolerances import scaled, tightest

__all__ = ["gauges"]


def gauges(condition: Any, history: History) -> list[Gauge]:
    """The goals and budgets of a condition; those of its members for a combination, none for what is unknown.

    >>> from idds_core.space import Real, Space
    >>> [(g.name, g.value, g.limit) for g in gauges(MaxPoints(5) | Wall("1h"), History(Space(x=Real(0, 1))))]
    [('points', 0.0, 5.0), ('time', 0.0, 3600.0)]
    """
    last = history.iterations[-1] if history.iterations else None
    match condition:
        case Any_() | All():
            return [g for c in condition.conditions for g in getattr(c, "gauges", lambda _: [])(history)]
        case BoundaryConverged():
            known = [scaled(condition.tol, r.diagnostics) for r in history.iterations if "emv" in r.diagnostics]
            return [Gauge("emv", known[-1] if known else 1.0, 0.5 * tightest(condition.tol), goal=True)]
        case MaxPoints():
            return [Gauge("points", float(sum(p.iteration > 0 for p in history.points)), float(condition.n))]
        case MaxIterations():
            return [Gauge("iterations", float(len(history.iterations)), float(condition.n))]
        case Wall():
            return [Gauge("time", last.elapsed_s if last else 0.0, condition.seconds, "s")]
        case CoreHours():
            return [Gauge("core hours", last.core_hours if last else 0.0, condition.limit, "h")]
    return []
