"""What a learner says of its map, as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idds_agents.cli.text import columns
from idds_agents.report.charts import finite

__all__ = ["approximated", "diagnosis"]

# diagnostic of a target -> head of its column, and what it is multiplied by; shares are told in per cent
_COLUMNS = {
    "excluded_volume": ("excluded [%]", 100.0),
    "band_volume": ("band [%]", 100.0),
    "emv": ("emv [%]", 100.0),
    "loo_rmse": ("loo error", 1.0),
    "loo_z2": ("z^2", 1.0),
    "kappa": ("kappa", 1.0),
    "approximation_error": ("approximation", 1.0),
}


def diagnosis(diagnostics: Mapping[str, Any], took: Mapping[str, float]) -> list[str]:
    r"""A table of the targets, the largest unexplored ball, and what the answer took; nothing where nothing is told.

    >>> print(*diagnosis({"targets": {"obs": {"emv": 0.0123, "kappa": 1.5, "at_bounds": ["g:low"]}},
    ...                   "unexplored_radius": 0.25, "unexplored_volume": 0.03}, {"ask": 0.0571}), sep="\n")
    target  emv [%]  kappa  at bounds
    obs     1.23     1.5    g:low
    largest unexplored ball: radius 0.25 in the unit cube, 3 % of the space
    the learner took: ask 0.0571 s
    """
    targets = diagnostics.get("targets")
    by_target = {t: d for t, d in targets.items() if isinstance(d, Mapping)} if isinstance(targets, Mapping) else {}
    known = [key for key in _COLUMNS if any(finite(d.get(key)) for d in by_target.values())]
    lines = []
    if known:
        rows = [[target, *(_cell(told, key) for key in known), _bounds(told)] for target, told in by_target.items()]
        lines += columns(rows, ["target", *(_COLUMNS[key][0] for key in known), "at bounds"])
    radius: Any = diagnostics.get("unexplored_radius")
    volume: Any = diagnostics.get("unexplored_volume")
    if finite(radius) and finite(volume):
        lines.append(
            f"largest unexplored ball: radius {radius:.3g} in the unit cube, {100 * volume:.3g} % of the space"
        )
    words = approximated(diagnostics)
    if words:
        lines.append(words)
    if took:
        words = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in took.items())
        lines.append(f"the learner took: {words}")
    return lines


def approximated(diagnostics: Mapping[str, Any]) -> str:
    """What the surrogate is made of, where it is no exact process; empty where it is, or says nothing.

    >>> approximated({"approximation": {"points": 5000, "inducing": 1500, "since": 8, "compared": 512,
    ...                                 "difference": 0.0512}})
    '5000 points are seen through 1500 of them and the newest 8; with a third less of these the mean moves by 0.0512 sd'
    """
    told = diagnostics.get("approximation")
    numbers = [told.get(key) for key in ("points", "inducing", "since", "difference")] if isinstance(told, dict) else []
    if not numbers or not all(map(finite, numbers)):
        return ""
    points, inducing, since, difference = numbers
    return (f"{points:.0f} points are seen through {inducing:.0f} of them and the newest {since:.0f}; "
            f"with a third less of these the mean moves by {difference:.3g} sd")  # fmt: skip


def _cell(told: Mapping[str, Any], key: str) -> str:
    value: Any = told.get(key)
    if not finite(value):
        return ""
    text = f"{_COLUMNS[key][1] * value:.3g}"
    span = told.get("excluded_range")
    if key == "excluded_volume" and isinstance(span, list) and len(span) == 2 and all(map(finite, span)):
        text += f" ({100 * span[0]:.3g} to {100 * span[1]:.3g})"
    return text


def _bounds(told: Mapping[str, Any]) -> str:
    found = told.get("at_bounds")
    return ", ".join(map(str, found)) if isinstance(found, list) and found else "none"
