"""A learner of your own: a frozen dataclass with `ask(history, n)`. The engine does the rest.

This one looks where it matters for a contour, without any model: half-way between two measured points, one above and
one below the level, that are nearest to each other. It is a toy to begin with; `LevelSet` needs far fewer points.

    idds-core validate scan.py
    idds-core plan scan.py
    idds-core run scan.py
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import exp, hypot
from typing import Any

from idds_core import Loop, Real, Space, chain, step
from idds_core.history import History
from idds_core.ports import Proposal
from idds_learners import MaxPoints


@dataclass(frozen=True)
class Nearest:
    """Bisects the nearest pairs of points on both sides of a level.

    Fields are JSON: numbers, text, lists. Same history, same answer: random numbers come from `history.rng()`, and
    what must be remembered goes into `Proposal(state=...)`.
    """

    targets: tuple[str, ...] = ("cls",)
    level: float = 0.05

    def problems(self) -> list[str]:
        """What is wrong with the fields, in words; told before anything runs."""
        return [] if 0 < self.level < 1 else [f"level {self.level} is no CLs"]

    def ask(self, history: History, n: int) -> Proposal:
        """At most n new points of the space."""
        target = self.targets[0]
        measured = [(p.parameters, p.observation.values[target]) for p in history.measured if p.observation]
        above = [p for p, value in measured if value > self.level]
        below = [p for p, value in measured if value <= self.level]
        pairs = sorted(product(above, below), key=lambda pair: self._distance(history.space, *pair))
        known = {tuple(p.parameters.values()) for p in history.points}
        found: list[dict[str, Any]] = []
        for one, other in pairs:
            middle = self._middle(history.space, one, other)
            if len(found) < n and self._distance(history.space, one, other) > 0.02:
                self._add(middle, history.space, known, found)
        rng = history.rng()
        for u in rng.random((20 * n, history.space.dimension)):  # and somewhere, while there are no pairs
            if len(found) < n:
                self._add(history.space.from_unit(u[None, :])[0], history.space, known, found)
        return Proposal(tuple(found), diagnostics={"pairs": len(pairs)})

    @staticmethod
    def _distance(space: Space, one: Any, other: Any) -> float:
        a, b = space.to_unit([one, other])
        return hypot(*(a - b))

    @staticmethod
    def _middle(space: Space, one: Any, other: Any) -> dict[str, Any]:
        return space.from_unit(space.to_unit([one, other]).mean(axis=0, keepdims=True))[0]

    @staticmethod
    def _add(point: dict[str, Any], space: Space, known: set[Any], found: list[dict[str, Any]]) -> None:
        """Take a point that is in the space and was not proposed before."""
        key = tuple(point.values())
        if key not in known and not space.point_problem(point):
            known.add(key)
            found.append(point)


@step
def limit(x: float, y: float) -> dict[str, float]:
    """What is measured at a point: put your own here."""
    return {"cls": 1 / (1 + exp(-8 * (hypot(x, y) - 1)))}


scan = Loop(
    "custom",
    space=Space(x=Real(0, 2), y=Real(0, 2), constraints=["x + y < 3"]),
    body=chain(limit),
    learner=Nearest(level=0.05),
    until=MaxPoints(40),
)
