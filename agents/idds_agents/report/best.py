"""What a loop that looks for an optimum has found: the best point of each objective, and the front of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idds_agents.report.reading import LoopView, make_importable
from idds_core.errors import IddsError
from idds_core.history import Point
from idds_core.optima import directions, front, running_best
from idds_core.plugins import LEARNERS, build
from idds_core.ports import Mapper

__all__ = ["Best", "best_documents", "bests", "front_of", "progress", "ranked", "sought", "volumes"]


@dataclass(frozen=True)
class Best:
    """The best measured point of an objective."""

    target: str
    direction: str
    value: float
    point: Point


def sought(view: LoopView) -> dict[str, str]:
    """Objective -> "min" or "max" of a loop that draws no map; none of one whose learner does.

    A learner that names objectives is after them. One without a map, such as a sweep of a loop's own targets, is taken
    to be after the smallest values.
    """
    document = view.plan.document.get("learner", {})
    if view.plan.hidden or not document:
        return {}
    if "objective" not in document and document.get("targets") and _draws(view, document):
        return {}
    return directions(document, view.history.targets)


def _draws(view: LoopView, document: Mapping[str, Any]) -> bool:
    make_importable(view.plan)
    try:
        return isinstance(build(document, LEARNERS), Mapper)
    except IddsError:
        return False


def _seen(view: LoopView, target: str) -> list[tuple[float, Point]]:
    points = sorted(view.history.measured, key=lambda p: p.number)
    return [(p.observation.values[target], p) for p in points if p.observation is not None]


def ranked(view: LoopView, target: str, direction: str) -> list[Best]:
    """All measured points, the best first, the earliest of equals."""
    sign = 1.0 if direction == "min" else -1.0
    order = sorted(_seen(view, target), key=lambda entry: (sign * entry[0], entry[1].number))
    return [Best(target, direction, value, point) for value, point in order]


def bests(view: LoopView) -> list[Best]:
    """The best point of each objective; none while nothing is measured."""
    found = (ranked(view, target, direction)[:1] for target, direction in sought(view).items())
    return [best for first in found for best in first]


def progress(view: LoopView, target: str, direction: str) -> tuple[list[float], list[float]]:
    """Values by number of evaluation, and the best of them so far."""
    values = [value for value, _ in _seen(view, target)]
    return values, running_best(values, direction)


def front_of(view: LoopView) -> list[Point]:
    """Points that nothing beats in all objectives, by number; none with a single objective."""
    import numpy as np

    ways = sought(view)
    points = [p for p in sorted(view.history.measured, key=lambda p: p.number) if p.observation is not None]
    if len(ways) < 2 or not points:
        return []
    signs = [1.0 if way == "min" else -1.0 for way in ways.values()]
    rows = [[s * p.observation.values[t] for t, s in zip(ways, signs, strict=True)] for p in points if p.observation]
    return [p for p, kept in zip(points, front(np.array(rows)).tolist(), strict=True) if kept]


def volumes(view: LoopView) -> list[tuple[int, float]]:
    """(evaluations, hypervolume of the front) of each iteration whose learner told it."""
    told = [(i.number, i.diagnostics.get("hypervolume")) for i in view.iterations]
    return [(sum(p.iteration <= n for p in view.history.measured), float(v)) for n, v in told
            if isinstance(v, (int, float))]  # fmt: skip


def best_documents(view: LoopView) -> dict[str, Any]:
    """``best`` and, with several objectives, ``front``, for ``show``; empty for a loop that draws a map."""
    found: dict[str, Any] = {}
    best = bests(view)
    if best:
        found["best"] = [
            {"target": b.target, "direction": b.direction, "value": b.value, "point": b.point.number,
             "parameters": dict(b.point.parameters)} for b in best
        ]  # fmt: skip
    on_front = front_of(view)
    if on_front:
        found["front"] = [p.number for p in on_front]
    known = volumes(view)
    if known:
        found["hypervolume"] = known[-1][1]
    return found
