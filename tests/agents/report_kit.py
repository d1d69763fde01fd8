"""Loops for tests of reports: the finished plane, and a large one made up from it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from idds_agents.report.reading import LoopView, view_loop
from idds_core.history import IterationRecord, Observation, Point
from idds_core.states import PointState
from idds_core.store import Iteration, Store, open_store


def opened(folder: Path) -> tuple[Store, LoopView]:
    """The store of a work folder and its first loop."""
    store = open_store(folder / "idds.db", "read")
    return store, view_loop(store, folder, 1)


def enlarged(view: LoopView, points: int = 300, turns: int = 40) -> LoopView:
    """The view with so many points and iterations, whose hyper-parameters are on record."""
    space, rng = view.plan.loop.space, np.random.default_rng(0)
    spread = [p for p in space.from_unit(rng.random((4 * points, 2))) if bool(space.allowed([p])[0])][:points]
    made, records, rows = [], [], []
    for i, place in enumerate(spread):
        u, v = space.to_unit([place])[0]
        r = math.hypot(u - 0.3, v - 0.2)
        values = {t: 0.5 / (1 + math.exp(-9 * (r - edge))) for t, edge in (("obs", 0.4), ("exp", 0.5))}
        made.append(Point(i + 1, 1 + i * turns // points, place, PointState.MEASURED, Observation(values)))
    last = view.history.iterations[-1]
    for k in range(1, turns + 1):
        n = sum(p.iteration <= k for p in made)
        theta = [math.log(0.4), math.log(0.4), -2.0, 0.0, 0.0, math.log(1e-4)]
        fitted = {"theta": theta, "n": n, "centre": 0.0, "spread": 1.0, "far": None}
        state = {"gp": dict.fromkeys(("obs", "exp"), fitted)}
        told = {**last.diagnostics, "residuals": {}}
        records.append(IterationRecord(k, state, told, float(k), 0.0))
        rows.append(Iteration(k, 1, k, 8, 8, 1.0, float(k), 0.0, state, told, "go on", "not yet"))
    history = dataclasses.replace(view.history, points=tuple(made), iterations=tuple(records))
    return dataclasses.replace(view, history=history, iterations=tuple(rows))
