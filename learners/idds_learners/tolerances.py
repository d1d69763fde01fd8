"""Tolerances of a contour: one for all targets, or one for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["scaled", "tightest", "tolerance_problems"]


def tolerance_problems(tol: object) -> list[str]:
    """Everything that is wrong with a tolerance.

    >>> tolerance_problems({"obs": 0.01, "exp": 0}), tolerance_problems({})
    (['tol of exp=0 is not above 0'], ['tol names no target'])
    """
    given = {f"tol of {t}": v for t, v in tol.items()} if isinstance(tol, Mapping) else {"tol": tol}
    wrong = {
        name: value
        for name, value in given.items()
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value <= 0
    }
    return [f"{name}={value!r} is not above 0" for name, value in wrong.items()] if given else ["tol names no target"]


def tightest(tol: float | Mapping[str, float]) -> float:
    """The smallest of the tolerances.

    >>> tightest({"obs": 0.01, "exp": 0.05}), tightest(0.02)
    (0.01, 0.02)
    """
    return min(tol.values()) if isinstance(tol, Mapping) else tol


def scaled(tol: float | Mapping[str, float], diagnostics: Mapping[str, Any]) -> float:
    """The largest emv of the targets, each on the scale of the tightest tolerance.

    A target that has no tolerance of its own has the tightest.

    >>> told = {"emv": 0.02, "targets": {"obs": {"emv": 0.004}, "exp": {"emv": 0.02}}}
    >>> scaled(0.01, told), scaled({"obs": 0.01, "exp": 0.05}, told)
    (0.02, 0.004)
    """
    if not isinstance(tol, Mapping):
        return float(diagnostics["emv"])
    least, told = tightest(tol), diagnostics.get("targets", {})
    if not told:
        return float(diagnostics["emv"])
    return max(float(d["emv"]) * least / tol.get(target, least) for target, d in told.items())
