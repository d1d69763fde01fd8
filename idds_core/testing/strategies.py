"""Spaces and histories of every kind for hypothesis: what the laws of learners are tried on, and useful for more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from idds_core.history import History, IterationRecord, Observation, Point
from idds_core.space import Categorical, Integer, Log, Ordered, Parameter, Real, Space
from idds_core.states import PointState
from idds_core.supporting import Supports

__all__ = ["histories", "spaces"]

#: how the values of a history are: smooth, constant, noise, of wild scale, in two steps
SHAPES = ("smooth", "constant", "noise", "wild", "steps")
_SIZES = (0, 1, 2, 3, 5, 9, 17, 40, 90, 500)


@st.composite
def spaces(draw: st.DrawFn, supports: Supports | None = None) -> Space:
    """A space of one to eight parameters of the kinds that are supported, some of them conditional."""
    can = supports or Supports()
    dimension = draw(st.integers(1, 8))
    parameters: dict[str, Parameter] = {}
    for i in range(dimension):
        kind = draw(st.sampled_from(can.kinds))
        when = ""
        first = parameters.get("p0")
        if can.conditional and i and isinstance(first, Categorical) and draw(st.integers(0, 2)) == 0:
            when = f"p0 == '{first.choices[0]}'"
        parameters[f"p{i}"] = _parameter(draw, kind, when)
    numbers = [n for n, p in parameters.items() if isinstance(p, (Real, Integer))]
    limited = can.constraints and numbers and draw(st.booleans())
    return Space(parameters, constraints=[f"{numbers[0]} < 0.9 * 10"] if limited else [])


def _parameter(draw: st.DrawFn, kind: str, when: str) -> Parameter:
    if kind == "real":
        return Real(-3.0, draw(st.sampled_from([-2.999, 1.0, 10.0])), when=when)
    if kind == "log":
        return Log(1e-4, draw(st.sampled_from([1.01e-4, 1.0, 1e6])), when=when)
    if kind == "integer":
        return Integer(0, draw(st.sampled_from([1, 7, 1000])), when=when)
    if kind == "ordered":
        choices: Any = draw(st.sampled_from([(8, 16, 32), (0.5, 2.5), ("low", "middle", "high")]))
        return Ordered(choices, when=when)
    return Categorical([f"c{i}" for i in range(draw(st.integers(1, 4)))], when=when)


@st.composite
def histories(
    draw: st.DrawFn, supports: Supports | None = None, targets: tuple[str, ...] = ("f",), *, positive: bool = False
) -> History:
    """A history of up to 500 points: measured, failed, infeasible, pruned, pending, some of them twice the same."""
    space, seed = draw(spaces(supports)), draw(st.integers(0, 2**31))
    shape, size = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(_SIZES))
    rng = np.random.default_rng(seed)
    found = [p for p in space.from_unit(rng.random((2 * size + 20, space.dimension))) if not space.point_problem(p)]
    found = found[:size]
    doubled: bool = draw(st.booleans())
    if found and doubled:
        found += [found[0]] * min(3, size)  # as after an import
    states = _states(draw, rng, len(found), pending=supports is None or supports.pending)
    points = []
    for i, (parameters, state) in enumerate(zip(found, states, strict=True), 1):
        seen = None
        if state is PointState.MEASURED:
            values = {t: _value(shape, space, parameters, rng) for t in targets}
            if positive:
                values = {t: 1e-3 + abs(v) for t, v in values.items()}
            seen = Observation(values, {targets[0]: 0.1} if rng.random() < 0.3 else {})
        failed = "USER" if state is PointState.FAILED else None
        report = (3, 1.5) if state is PointState.PRUNED else None
        points.append(Point(i, 1 + (i - 1) // 10, parameters, state, seen, failed, last_report=report))
    records = tuple(IterationRecord(k) for k in range(1, 1 + max((p.iteration for p in points), default=0)))
    return History(space, seed, targets, tuple(points), records)


def _states(draw: st.DrawFn, rng: np.random.Generator, n: int, *, pending: bool) -> list[PointState]:
    bad = draw(st.sampled_from([0.0, 0.2, 1.0]))
    others = [PointState.FAILED, PointState.INFEASIBLE, PointState.PRUNED]
    states = [others[int(rng.integers(3))] if rng.random() < bad else PointState.MEASURED for _ in range(n)]
    if pending and n and draw(st.booleans()):
        states[-1] = PointState.OPEN
    return states


def _value(shape: str, space: Space, point: Mapping[str, Any], rng: np.random.Generator) -> float:
    u = space.to_unit([point])[0]
    if shape == "constant":
        return 0.25
    if shape == "noise":
        return float(rng.normal())
    if shape == "wild":
        return float(np.exp(20 * rng.normal()))
    distance = float(((u - 0.3) ** 2).sum())
    return float(distance > 0.2) if shape == "steps" else distance
