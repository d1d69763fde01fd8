"""Small charts of what a learner says of its map, iteration by iteration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from idds_agents.report.best import progress, sought
from idds_agents.report.pictures import COLOURS
from idds_agents.report.reading import LoopView
from idds_agents.report.svg import Box, Scale
from idds_core.ports import Gauge

__all__ = ["charts", "finite", "search_charts", "title_of"]

#: diagnostic -> title, factor, unit, whether a logarithm shows it better, and a value to compare with
_KNOWN: Mapping[str, tuple[str, float, str, bool, float | None]] = {
    "emv": ("Expected misclassified share", 100.0, "%", True, None),
    "band_volume": ("Share of the space inside the ±1σ band", 100.0, "%", True, None),
    "kappa": ("kappa: how much the uncertainty is inflated", 1.0, "", False, 1.0),
    "loo_rmse": ("Leave-one-out error, in units of the spread", 1.0, "", False, None),
    "loo_z2": ("Leave-one-out z²: 1 is as large as expected", 1.0, "", True, 1.0),
    "approximation_error": ("Move of the mean with a third less of the inducing points, in sd", 1.0, "", False, 1.0),
    "excluded_share": ("Share of the space that is excluded", 100.0, "%", False, None),
    "unexplored_volume": ("Largest ball without a point, as a share of the space", 100.0, "%", False, None),
    "expected_improvement": ("Expected improvement of the most promising point", 1.0, "", True, None),
    "regret_bound": ("Bound of the regret", 1.0, "", True, None),
    "hypervolume": ("Hypervolume of the front", 1.0, "", False, None),
}
_MOST = 8
_WIDE = 30.0
_DECADES = 12.0
_ABOVE_ZERO = 1e-9


def finite(value: Any) -> bool:
    """Whether it is a number that can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def title_of(name: str) -> str:
    """What a diagnostic is called for people.

    >>> title_of("emv"), title_of("own")
    ('Expected misclassified share', 'own')
    """
    return _KNOWN[name][0] if name in _KNOWN else name


def search_charts(view: LoopView) -> list[dict[str, Any]]:
    """For each objective of a search the values by evaluation, and the best so far."""
    found = []
    for target, direction in sought(view).items():
        values, best = progress(view, target, direction)
        if not values:
            continue
        steps = [(n, v) for n, v in enumerate(best, 1) if n in (1, len(best)) or v != best[n - 2]]
        log = min(values) > 0 and max(values) > _WIDE * min(values)
        found.append(_chart(f"Best {target} so far", "", [("", steps)], None, "", log=log, by="evaluation"))
    return found


def charts(view: LoopView, gauges: Sequence[Gauge]) -> list[dict[str, Any]]:
    """A chart for each known diagnostic; of a learner with others, of those."""
    records = [(r.number, r.diagnostics) for r in view.history.iterations if r.diagnostics]
    goals = {g.name: g.limit for g in gauges if g.goal}
    names = [name for name in _KNOWN if any(_series(records, name))]
    others = sorted({k for _, d in records for k, v in d.items() if finite(v)}) if not names else []
    found = []
    for name in names or others[:_MOST]:
        title, factor, unit, log, beside = _KNOWN.get(name, (name, 1.0, "", False, None))
        lines = [(label, [(k, factor * v) for k, v in points]) for label, points in _series(records, name)]
        limit = factor * goals[name] if name in goals else beside
        words = "goal" if name in goals else "expected"
        found.append(_chart(title, unit, lines, limit, words, log=log))
    took = _took(view)
    words = " and ".join(f"{part} ({mark})" for (part, _), mark in zip(took, ("line", "dashes", "dots"), strict=False))
    return [*found, _chart(f"What the learner took: {words}", "s", took, None, "", log=True)] if took else found


def _took(view: LoopView) -> list[tuple[str, list[tuple[int, float]]]]:
    """Seconds of the answers by part."""
    parts = dict.fromkeys(part for i in view.iterations for part in i.took if not part.startswith("first_"))
    return [(part, [(i.number, i.took[part]) for i in view.iterations if part in i.took]) for part in parts]


def _series(records: Sequence[tuple[int, Mapping[str, Any]]], name: str) -> list[tuple[str, list[tuple[int, float]]]]:
    """The values of a diagnostic by target; of the loop as a whole where it is not told by target."""
    targets = list(dict.fromkeys(t for _, d in records if isinstance(d.get("targets"), Mapping) for t in d["targets"]))
    found = []
    for target in targets:
        of = [(k, d.get("targets", {}).get(target, {})) for k, d in records]
        points = [(k, float(v[name])) for k, v in of if isinstance(v, Mapping) and finite(v.get(name))]
        if points:
            found.append((str(target), points))
    if not found:
        points = [(k, float(d[name])) for k, d in records if finite(d.get(name))]
        found = [("", points)] if points else []
    return found


def _chart(
    title: str,
    unit: str,
    lines: Sequence[tuple[str, list[tuple[int, float]]]],
    limit: float | None,
    words: str,
    *,
    log: bool,
    by: str = "iteration",
) -> dict[str, Any]:
    seen = [v for _, points in lines for _, v in points] + ([] if limit is None else [limit])
    if log:  # a share of nothing has no logarithm: it lies at the foot
        above = [v for v in seen if v > _ABOVE_ZERO]
        log = bool(above) and max(above) > 3 * min(above)
    if log:
        low, high = max(min(above), max(above) / 10**_DECADES) / 1.3, max(above) * 1.3
    else:
        low, high = min([0.0, *seen]), max(seen) * 1.08 or 1.0
    last = max(k for _, points in lines for k, _ in points)
    box = Box(400, 190, Scale(1, max(last, 2), 52, 388), Scale(low, high, 156, 10, log))
    drawn = []
    for i, (label, points) in enumerate(lines):
        places = [(round(float(box.x(k)), 1), round(float(box.y(max(v, low))), 1)) for k, v in points]
        drawn.append(
            {
                "label": label,
                "colour": i % COLOURS,
                "path": "M" + "L".join(f"{x} {y}" for x, y in places),
                "dots": [
                    {"x": x, "y": y, "k": k, "words": f"{label} {by} {k}: {v:.4g} {unit}".strip()}
                    for (x, y), (k, v) in zip(places, points, strict=True)
                ],
            }
        )
    return {
        "x_label": by,
        "title": f"{title}{f' [{unit}]' if unit else ''}",
        "frame": box,
        "x_ticks": box.x.ticks(8, whole=True),
        "y_ticks": box.y.ticks(5),
        "lines": drawn,
        "limit": None if limit is None else round(float(box.y(limit)), 1),
        "limit_words": "" if limit is None else f"{words} {limit:.3g} {unit}".strip(),
    }
