"""When a point is not worth going on with: rules on the values that jobs report on their way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from idds_core.ports import Reports

__all__ = ["Asha", "MedianRule"]


@dataclass(frozen=True)
class MedianRule:
    """Prune a job whose best value so far is worse than the median of the others at the same step [Golovin 2017].

    minimize : whether smaller is better.
    after : reports with a step below this one prune nothing.
    least : how many others must have come as far.

    >>> others = [[(1, 0.9), (2, v)] for v in (0.1, 0.2, 0.3, 0.4, 0.5)]
    >>> MedianRule().check([(1, 0.8), (2, 0.7)], others)
    'step 2: 0.7 is worse than the median 0.3 of 5 others'
    >>> MedianRule().check([(1, 0.8), (2, 0.2)], others) is None
    True
    """

    minimize: bool = True
    after: int = 0
    least: int = 5

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        found = []
        if not isinstance(self.minimize, bool):
            found.append(f"minimize={self.minimize!r} is not true or false")
        for name, low in (("after", 0), ("least", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                found.append(f"{name}={value!r} is not a whole number from {low} on")
        return found

    def check(self, own: Reports, others: Sequence[Reports]) -> str | None:
        """See :class:`idds_core.ports.Pruner`."""
        if not own or own[-1][0] < self.after:
            return None
        step = own[-1][0]
        there = [self._at(one, step) for one in others if one and one[-1][0] >= step]
        if len(there) < self.least:
            return None
        middle, best = median(there), self._best(own)
        if (best <= middle) if self.minimize else (best >= middle):
            return None
        return f"step {step}: {best:.6g} is worse than the median {middle:.6g} of {len(there)} others"

    def _best(self, reports: Reports) -> float:
        values = [value for _, value in reports]
        return min(values) if self.minimize else max(values)

    @staticmethod
    def _at(reports: Reports, step: int) -> float:
        """The value at the step, or at the last one before it; the first one when there is none before."""
        before = [value for number, value in reports if number <= step]
        return before[-1] if before else reports[0][1]


@dataclass(frozen=True)
class Asha:
    """Asynchronous successive halving: at each rung only the best 1 / `factor` go on [Li et al., MLSys 2020].

    Rungs are the steps `first`, `first` x `factor`, `first` x `factor`^2, ... A job is judged once at each rung that it
    has passed, by its best value up to there, among all that have come as far (earlier iterations that were measured or
    pruned, and itself). With fewer than `factor` of them nothing is pruned.

    minimize : whether smaller is better.
    first : the step of the lowest rung.
    factor : one in so many goes on.

    >>> others = [[(1, v), (2, v), (3, v)] for v in (0.1, 0.2, 0.3, 0.4, 0.5)]
    >>> Asha().check([(1, 0.25)], others)
    'rung 1: 0.25 is not among the best 2 of 6'
    >>> Asha().check([(1, 0.15)], others) is None
    True
    >>> Asha().check([(1, 0.15), (2, 0.9)], others) is None  # between two rungs
    True
    """

    minimize: bool = True
    first: int = 1
    factor: int = 3

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        found = [] if isinstance(self.minimize, bool) else [f"minimize={self.minimize!r} is not true or false"]
        for name, low in (("first", 1), ("factor", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                found.append(f"{name}={value!r} is not a whole number from {low} on")
        return found

    def check(self, own: Reports, others: Sequence[Reports]) -> str | None:
        """See :class:`idds_core.ports.Pruner`."""
        rung = self._rung(own)
        if rung is None:
            return None
        mine = self._upto(own, rung)
        there = [self._upto(one, rung) for one in others if one and one[-1][0] >= rung and one[0][0] <= rung]
        total = len(there) + 1
        if total < self.factor:
            return None
        kept = max(1, total // self.factor)
        better = sum(value < mine if self.minimize else value > mine for value in there)
        return None if better < kept else f"rung {rung}: {mine:.6g} is not among the best {kept} of {total}"

    def _rung(self, own: Reports) -> int | None:
        """The rung that the last report has just reached; None when it has reached none."""
        if not own:
            return None
        before = own[-2][0] if len(own) > 1 else -math.inf
        rung, found = self.first, None
        while rung <= own[-1][0]:
            if before < rung and own[0][0] <= rung:
                found = rung
            rung *= self.factor
        return found

    def _upto(self, reports: Reports, rung: int) -> float:
        values = [value for step, value in reports if step <= rung]
        return min(values) if self.minimize else max(values)
