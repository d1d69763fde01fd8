"""scikit-optimize's Optimizer as a learner. Upstream is archived: it is imported here alone, and late."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from idds_core.history import History
from idds_core.ports import Proposal
from idds_core.space import Categorical, Integer, Log, Ordered, Real
from idds_core.supporting import Supports
from idds_learners.objectives import Objectives, taken
from idds_learners.peers import need

__all__ = ["ESTIMATORS", "Skopt"]

ESTIMATORS = ("GP", "RF", "ET", "GBRT")
#: for each point that is not new or not allowed, it is asked for so many more; each costs a fit
_MORE = 2


@dataclass(frozen=True)
class Skopt(Objectives):
    """scikit-optimize's Optimizer with a Gaussian process, a random forest or extra trees.

    Each question makes an Optimizer and tells it all that was measured, so a fit is made once a question, and random
    numbers are the iteration's. A parameter that does not apply is at rest, as everywhere. It has one objective and
    does not know of pending points, so steady mode is refused. In YAML ``skopt:gp: {objective: loss}``, or
    ``skopt:forest``, ``skopt:extra_trees``.

    Parameters
    ----------
    estimator : "GP", "RF" (forest) or "ET" (extra trees); gradient-boosted trees (GBRT) raise with scikit-learn 1.9
    acquisition : "gp_hedge", "EI", "LCB" or "PI"
    first : points of the first design

    """

    variants: ClassVar[tuple[str, Mapping[str, str]]] = (
        "estimator", {"gp": "GP", "forest": "RF", "extra_trees": "ET", "gbrt": "GBRT"})  # fmt: skip

    estimator: str = "GP"
    acquisition: str = "gp_hedge"
    first: int = 10

    supports: ClassVar[Supports] = Supports(objectives=1, pending=False, noise=False)

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        found = super().problems()
        if self.estimator == "GBRT":
            found.append("estimator GBRT does not work with scikit-learn 1.9; use ET, RF or GP")
        elif self.estimator not in ESTIMATORS:
            found.append(f"estimator {self.estimator!r} is none of GP, RF, ET")
        if self.acquisition not in ("gp_hedge", "EI", "LCB", "PI"):
            found.append(f"acquisition {self.acquisition!r} is none of gp_hedge, EI, LCB, PI")
        if not isinstance(self.first, int) or self.first < 1:
            found.append(f"first={self.first!r} is no number of points")
        return found + need("skopt", extra="hpo")

    def ask(self, history: History, n: int) -> Proposal:
        """At most n new points: a Sobol design first, then those of the Optimizer."""
        from idds_learners.design import fill

        self.names(history)
        known, diagnostics = taken(history), self.standing(history)
        left = max(self.first - len(history.measured), 0)
        design = min(left, n) if history.measured else n
        points = fill(history.space, history.seed, known, design)
        if len(points) < n and history.measured:
            points += self._asked(history, {*known, *(tuple(p.values()) for p in points)}, n - len(points))
        reason = "" if points or n <= 0 else "every point of the space has been proposed"
        return Proposal(tuple(points), diagnostics, {}, reason)

    def _asked(self, history: History, known: set[tuple[Any, ...]], n: int) -> list[dict[str, Any]]:
        """N points of an Optimizer that knows the history; where it repeats itself, the next of the sequence."""
        import skopt

        from idds_learners.design import fill

        y, _ = self.values(history)
        points = sorted(history.measured, key=lambda p: p.number)
        rng = history.rng("skopt")
        found: list[dict[str, Any]] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a package that nobody mends any more
            optimizer = skopt.Optimizer(_dimensions(history), self.estimator, n_initial_points=0,
                                        acq_func=self.acquisition, random_state=int(rng.integers(2**31)))  # fmt: skip
            told = [_told(history, p.parameters) for p in points]
            optimizer.tell(told, [float(v) for v in y[:, 0]])
            wanted = n
            for _ in range(2):
                asked = optimizer.ask(n_points=wanted)
                for values in asked:
                    (point,) = history.space.settled([_point(history, values)])
                    key = tuple(point[name] for name in history.space.names)
                    if len(found) < n and key not in known and not history.space.point_problem(point):
                        known.add(key)
                        found.append(point)
                if len(found) == n:
                    break
                wanted = n + _MORE * (n - len(found))
        return found + fill(history.space, history.seed, known, n - len(found))


def _dimensions(history: History) -> list[Any]:
    from skopt import space as sk

    found: list[Any] = []
    for p in history.space.parameters.values():
        if isinstance(p, (Real, Log)):
            prior = "log-uniform" if isinstance(p, Log) else "uniform"
            found.append(sk.Real(float(p.low), float(p.high), prior=prior))
        elif isinstance(p, Integer):
            found.append(sk.Integer(p.low, p.high))
        elif isinstance(p, Ordered) and len(p.choices) > 1:
            found.append(sk.Integer(0, len(p.choices) - 1))
        else:
            found.append(sk.Categorical(list(p.choices)))
    return found


def _told(history: History, point: Mapping[str, Any]) -> list[Any]:
    return [
        p.choices.index(point[n]) if isinstance(p, Ordered) and len(p.choices) > 1 else point[n]
        for n, p in history.space.parameters.items()
    ]


def _point(history: History, values: Sequence[Any]) -> dict[str, Any]:
    """Python's own types, at the digits of a record."""
    point: dict[str, Any] = {}
    for (name, p), value in zip(history.space.parameters.items(), values, strict=True):
        own = value.item() if hasattr(value, "item") else value
        if isinstance(p, (Real, Log)):
            point[name] = min(max(float(f"{float(own):.12g}"), p.low), p.high)
        elif isinstance(p, Integer):
            point[name] = int(own)
        elif isinstance(p, Categorical):
            point[name] = str(own)
        else:
            point[name] = p.choices[int(own)] if len(p.choices) > 1 else p.choices[0]
    return point
