"""What learners of optima have in common: the objectives, which way is better, and what a history says of them.

Nothing heavy is imported here: a scan file imports this module only to state what it wants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idds_core.errors import IddsError
from idds_core.history import History
from idds_core.optima import DIRECTIONS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Objectives", "taken"]


@dataclass(frozen=True)
class Objectives:
    """The objectives (one name or several; by default the loop's targets) and their direction, "min" or "max"."""

    objective: str | Sequence[str] = ()
    direction: str | Mapping[str, str] = "min"

    def __post_init__(self) -> None:
        names = (self.objective,) if isinstance(self.objective, str) else tuple(self.objective)
        object.__setattr__(self, "objective", names)

    @property
    def targets(self) -> tuple[str, ...]:
        """What an observation must have."""
        return tuple(self.objective)

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        found = []
        if len(set(self.targets)) != len(self.targets):
            found.append(f"objective {', '.join(self.targets)} repeats a name")
        given = self.direction
        ways = given if isinstance(given, Mapping) else {"": given}
        found += [f"direction={way!r} is neither min nor max" for way in ways.values() if way not in DIRECTIONS]
        if isinstance(given, Mapping) and self.targets:
            found += [f"direction names {name}, which is no objective" for name in given if name not in self.targets]
        return found

    def names(self, history: History) -> tuple[str, ...]:
        """The objectives that the history shows, in order."""
        names = tuple(t for t in self.targets or history.targets if t in history.targets)
        if not names:
            raise IddsError.of("E-LEARNER-020", "there is no objective", "the history shows "
                               f"{', '.join(history.targets) or 'no target'}", "learner.objective",
                               "Name a target that is measured and not sealed.")  # fmt: skip
        return names

    def ways(self, history: History) -> dict[str, str]:
        """Objective -> "min" or "max"."""
        given = self.direction
        return {n: given.get(n, "min") if isinstance(given, Mapping) else given for n in self.names(history)}

    def values(self, history: History) -> tuple[Array, Array]:
        """(n, m) values of the measured points by number, better when smaller, and (n, m) standard deviations."""
        import numpy as np

        points = sorted(history.measured, key=lambda p: p.number)
        seen = [p.observation for p in points if p.observation is not None]
        ways = self.ways(history)
        signs = np.array([1.0 if way == "min" else -1.0 for way in ways.values()])
        y = np.array([[o.values[n] for n in ways] for o in seen], dtype=float).reshape(-1, len(ways))
        sigma = np.array([[o.sigmas.get(n, 0.0) for n in ways] for o in seen], dtype=float).reshape(-1, len(ways))
        return signs * y, sigma

    def standing(self, history: History) -> dict[str, Any]:
        """Diagnostics that need no model: by objective its direction and best value, and the number of its point.

        With several objectives also how many points are on the front, and the hypervolume it encloses with the worst
        values of the earliest points (as many as there are in the first iteration).
        """
        import numpy as np

        from idds_core.optima import front, hypervolume

        points = sorted(history.measured, key=lambda p: p.number)
        if not points:
            return {"n_measured": 0}
        y, _ = self.values(history)
        ways = self.ways(history)
        best = {
            name: {"direction": way, "best": float(y[i, k]) * (1.0 if way == "min" else -1.0),
                   "point": points[i].number}
            for k, (name, way) in enumerate(ways.items()) for i in [int(np.argmin(y[:, k]))]
        }  # fmt: skip
        found: dict[str, Any] = {"n_measured": len(points), "objectives": best}
        if len(ways) > 1:
            first = max(2, sum(p.iteration == points[0].iteration for p in points))
            found |= {"front": int(front(y).sum()), "hypervolume": hypervolume(y, y[:first].max(axis=0))}
        else:
            (only,) = best.values()
            found["best"] = only["best"]
        return found


def taken(history: History) -> set[tuple[Any, ...]]:
    """The keys of all points there are: none is proposed twice, whatever became of it."""
    names = history.space.names
    return {tuple(p.parameters[name] for name in names) for p in history.points}
