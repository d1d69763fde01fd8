"""When the search for an optimum has found enough: conditions on the best value, and on what the learner says of it.

Nothing heavy is imported here: a scan file imports this module only to state what it wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idds_core.history import History
from idds_core.optima import DIRECTIONS
from idds_core.ports import Gauge, Verdict
from idds_core.states import VerdictKind
from idds_learners.conditions import Combinable

__all__ = ["ExpectedImprovementBelow", "NoImprovement", "RegretBelow"]


def _number(name: str, value: object, low: float) -> list[str]:
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value < float("inf")
    return [] if fine else [f"{name}={value!r} is not a number from {low:g} on"]


@dataclass(frozen=True)
class NoImprovement(Combinable):
    """The best value has not become better by more than `tolerance` while the last `points` points were measured.

    Stops as *converged*. With a learner of several objectives it is their hypervolume that must have grown; which way
    is better says the learner. It is no bound: a loop needs a budget as well.

    Parameters
    ----------
    points : how many measured points without success
    tolerance : in units of the objective (of the hypervolume, with several)
    objective : the target that counts; by default what the learner is after, or the first target
    direction : "min" or "max"; by default what the learner says, or "min"

    """

    points: int = 20
    tolerance: float = 0.0
    objective: str = ""
    direction: str = ""

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        found = _number("points", self.points, 1) + _number("tolerance", self.tolerance, 0.0)
        if self.direction not in ("", *DIRECTIONS):
            found.append(f"direction={self.direction!r} is neither min nor max")
        return found

    def check(self, history: History) -> Verdict:
        """Converged, or go on with how long ago the last success was."""
        since = self._since(history)
        if since is None:
            return Verdict(VerdictKind.GO_ON, "nothing was measured yet")
        text = f"no improvement above {self.tolerance:g} in the last {since} points"
        return Verdict(VerdictKind.CONVERGED if since >= self.points else VerdictKind.GO_ON, text)

    def gauges(self, history: History) -> list[Gauge]:
        """Points since the last success, as a budget."""
        return [Gauge("points without improvement", float(self._since(history) or 0), float(self.points))]

    def _since(self, history: History) -> int | None:
        """Number of points measured after the last success; None when none was measured."""
        points = sorted(history.measured, key=lambda p: (p.ingest_no or 0, p.number))
        ways = self._ways(history)
        if not points or not ways:
            return None
        signs = {name: 1.0 if way == "min" else -1.0 for name, way in ways.items()}
        rows = [[s * p.observation.values[n] for n, s in signs.items()] for p in points if p.observation is not None]
        scores = [row[0] for row in rows] if len(signs) == 1 else _volumes(rows)
        best, last = scores[0], 0
        for i, score in enumerate(scores):
            if score < best - self.tolerance:
                best, last = score, i
        return len(scores) - 1 - last

    def _ways(self, history: History) -> dict[str, str]:
        told: Mapping[str, Any] = {}
        for record in reversed(history.iterations):
            if isinstance(record.diagnostics.get("objectives"), Mapping):
                told = record.diagnostics["objectives"]
                break
        names = [self.objective] if self.objective else [n for n in told if n in history.targets]
        names = names or list(history.targets[:1])
        return {n: self.direction or told.get(n, {}).get("direction", "min") for n in names if n in history.targets}


def _volumes(rows: list[list[float]]) -> list[float]:
    """Minus the hypervolume of the first 1, 2, ... rows, seen from the worst of all."""
    import numpy as np

    from idds_core.optima import hypervolume

    y = np.array(rows)
    reference = y.max(axis=0) + 1e-9 * (1.0 + np.abs(y).max(axis=0))
    return [-hypervolume(y[: i + 1], reference) for i in range(len(y))]


@dataclass(frozen=True)
class _Below(Combinable):
    """A diagnostic of the learner is at or below a bound, on some closed iterations in a row."""

    bound: float
    consecutive: int = 2

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        return _number("bound", self.bound, 0.0) + _number("consecutive", self.consecutive, 1)

    def check(self, history: History) -> Verdict:
        """Converged, or go on with how far away it is."""
        words = self._name().replace("_", " ")
        values = [r.diagnostics.get(self._name()) for r in history.iterations][-self.consecutive :]
        if not values or not isinstance(values[-1], (int, float)):
            return Verdict(VerdictKind.GO_ON, f"the learner says nothing of its {words} yet")
        text = f"{words} {values[-1]:.4g}"
        good = [isinstance(v, (int, float)) and v <= self.bound for v in values]
        if len(good) == self.consecutive and all(good):
            text += f", at or below {self.bound:g} on {len(good)} iterations in a row"
            return Verdict(VerdictKind.CONVERGED, text)
        return Verdict(VerdictKind.GO_ON, f"{text}, not below {self.bound:g} on {self.consecutive} iterations in a row")

    def gauges(self, history: History) -> list[Gauge]:
        """The goal, once the learner has said something."""
        known = [r.diagnostics[self._name()] for r in history.iterations if self._name() in r.diagnostics]
        return [Gauge(self._name(), float(known[-1]), self.bound, goal=True)] if known else []

    @staticmethod
    def _name() -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class ExpectedImprovementBelow(_Below):
    """The most promising point is not expected to improve by more than `bound`, in units of the objective.

    Stops as *converged*, after `consecutive` closed iterations in a row. For learners that say their
    ``expected_improvement``, such as :class:`~idds_learners.optimum.Optimum` with one objective. It is no bound.

    Parameters
    ----------
    bound : improvement that is not worth a point
    consecutive : closed iterations in a row

    """

    @staticmethod
    def _name() -> str:
        return "expected_improvement"


@dataclass(frozen=True)
class RegretBelow(_Below):
    """The best value is within `bound` of the optimum, as far as the learner's model is right.

    The learner says it as ``regret_bound``: the best upper bound at a measured point less the lowest lower bound
    anywhere that was looked at, each two standard deviations from the mean [Makarova et al., AutoML 2022]. Stops as
    *converged*, after `consecutive` closed iterations in a row. It is no bound of the loop.

    Parameters
    ----------
    bound : regret that can be lived with, in units of the objective
    consecutive : closed iterations in a row

    """

    @staticmethod
    def _name() -> str:
        return "regret_bound"
