"""A learner of one's own: a (1 + n) evolution strategy for the smallest value of a target.

Around the best point so far it draws n points from a normal distribution in the unit cube. Its width grows by a factor
when the last iteration has found a better point, and shrinks when it has not (the one-fifth rule of Rechenberg).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from idds_core.history import History
from idds_core.ports import Proposal


@dataclass(frozen=True)
class Climb:
    """Goes downhill.

    Parameters
    ----------
    targets : the one target that is made small
    width : standard deviation of the first step, in the unit cube
    grow, shrink : factors of the width after an iteration with and without success

    """

    targets: tuple[str, ...] = ("f",)
    width: float = 0.25
    grow: float = 1.5
    shrink: float = 0.7

    def problems(self) -> list[str]:
        """What is wrong with the fields, in words; told before anything runs."""
        found = [] if len(self.targets) == 1 else [f"{len(self.targets)} targets, one can be made small"]
        if not 0 < self.shrink < 1 < self.grow:
            found.append(f"shrink={self.shrink} and grow={self.grow} are not on both sides of 1")
        return found if 0 < self.width <= 1 else [*found, f"width={self.width} is not in (0, 1]"]

    def ask(self, history: History, n: int) -> Proposal:
        """At most n new points: even ones while nothing is known, then some around the best."""
        rng, dimension = history.rng(), history.space.dimension
        best, width = self._state(history)
        taken = {tuple(p.parameters[name] for name in history.space.names) for p in history.points}
        found: list[dict[str, object]] = []
        for _ in range(200 * n):
            if len(found) == n:
                break
            u = rng.random(dimension) if best is None else best + width * rng.standard_normal(dimension)
            point = history.space.from_unit(np.clip(u, 0.0, 1.0)[None, :])[0]
            key = tuple(point[name] for name in history.space.names)
            if key not in taken and not history.space.point_problem(point):
                taken.add(key)
                found.append(point)
        reason = "" if found or n < 1 else "no new point was found around the best one"
        return Proposal(tuple(found), diagnostics={"width": width}, state={"width": width}, reason=reason)

    def _state(self, history: History) -> tuple[np.ndarray | None, float]:
        """The best point in the unit cube, and the width that follows from what the last iteration has found."""
        measured = history.measured
        if not measured:
            return None, self.width
        values = history.values(self.targets[0])
        best = int(np.argmin(values))
        last = history.iterations[-1].number if history.iterations else 0
        # the last record may hold the very answer that is asked for: what counts came before
        widths = [r.state["width"] for r in history.iterations[:-1] if "width" in r.state]
        before = widths[-1] if widths else self.width
        factor = self.grow if measured[best].iteration == last else self.shrink
        return history.unit([measured[best]])[0], float(min(0.5, max(1e-6, before * factor)))
