"""What bounds a loop: points, core hours, time; read from its document, before anything has run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from idds_core.errors import IddsError
from idds_core.history import History
from idds_core.model import Loop, Step
from idds_core.partition import parts
from idds_core.plugins import CONDITIONS, build
from idds_core.space import Space

__all__ = ["Budget", "Cost", "budget_of", "cost_of"]


@dataclass(frozen=True)
class Budget:
    """The most that a loop's conditions allow; None is no bound. Seconds of wall time, core hours."""

    points: int | None = None
    core_hours: float | None = None
    wall_s: float | None = None


@dataclass(frozen=True)
class Cost:
    """Bounds that follow from the budget and from what the steps ask for; None where there is none.

    jobs, attempts : without and with all retries.
    core_hours : when every job uses its whole wall time once; `core_hours_retried` with all retries.
    """

    jobs: int | None
    attempts: int | None
    core_hours: float | None
    core_hours_retried: float | None


def budget_of(loop: Mapping[str, Any]) -> Budget:
    """The budget of a loop's document.

    >>> spec = {"type": "any", "conditions": [{"type": "max_points", "n": 60}, {"type": "core_hours", "limit": 5.0}]}
    >>> budget_of({"until": spec, "first": 10, "batch": 8})
    Budget(points=60, core_hours=5.0, wall_s=None)
    """
    until = loop["until"]
    return Budget(
        _least(until, lambda c: _points(c, loop)),
        _least(until, lambda c: float(c["limit"]) if c["type"] == "core_hours" else None),
        _least(until, _seconds),
    )


def _least(condition: Mapping[str, Any], bound: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Of any of several the least bound holds; of all of them the largest, if each has one."""
    kind = condition.get("type")
    if kind not in ("any", "all", "not"):
        return bound(condition)
    found = [_least(member, bound) for member in condition["conditions"]]
    known: Iterable[Any] = [value for value in found if value is not None]
    if kind == "any":
        return min(known, default=None)
    return max(found) if kind == "all" and found and None not in found else None


def _points(condition: Mapping[str, Any], loop: Mapping[str, Any]) -> int | None:
    if condition["type"] == "max_iterations":
        return int(loop["first"]) + (int(condition["n"]) - 1) * int(loop["batch"])
    built = _built(condition)
    remaining = getattr(built, "remaining", None)
    if remaining is None:
        return None
    try:
        left = remaining(History(Space()))
    except Exception:  # noqa: BLE001 - somebody's condition, asked before there is anything: it bounds nothing then
        return None
    return left if isinstance(left, int) else None


def _seconds(condition: Mapping[str, Any]) -> float | None:
    seconds = getattr(_built(condition), "seconds", None) if condition["type"] == "wall" else None
    return seconds if isinstance(seconds, float) else None


def _built(condition: Mapping[str, Any]) -> Any:
    try:
        return build(condition, CONDITIONS)
    except IddsError:
        return None


def cost_of(loop: Loop, points: int | None) -> Cost:
    """What so many points cost at most; loops inside it not counted."""
    if points is None:
        return Cost(None, None, None, None)
    widest = {name: getattr(p, "high", None) for name, p in loop.space.parameters.items()}
    try:
        count = Counter(part.step for part in parts(loop.body, {**widest, **loop.parameters}))
    except (ValueError, TypeError, KeyError):  # it is cut by what is known only when it runs
        return Cost(None, None, None, None)
    jobs = attempts = 0
    hours = retried = 0.0
    for step in loop.body:
        if isinstance(step, Step):
            n, tries = points * count[step.name], step.retry.attempts
            each = step.requires.cores * step.requires.walltime / 3600
            jobs += n
            attempts += n * tries
            hours += n * each
            retried += n * tries * each
    return Cost(jobs, attempts, hours, retried)
