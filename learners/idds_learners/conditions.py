"""When to stop: convergence of the boundary, budgets, and their combinations with ``|``, ``&`` and ``~``.

Nothing heavy is imported here: a scan file imports this module only to state what it wants.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from idds_core.history import History
from idds_core.ports import Condition, Gauge, Verdict
from idds_core.states import PointState, VerdictKind
from idds_learners.tolerances import scaled, tightest, tolerance_problems

__all__ = ["All", "Any_", "BoundaryConverged", "Combinable", "CoreHours", "MaxIterations", "MaxPoints", "Not",
    "Wall"]  # fmt: skip

_PRECEDENCE = list(VerdictKind)
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d)\s*")


class Combinable:
    """Gives conditions their operators; a subclass defines `check`, and `bounded` where it bounds the loop."""

    def check(self, history: History) -> Verdict:
        """The verdict on the history as it stands."""
        raise NotImplementedError

    def remaining(self, history: History) -> int | None:
        """How many more points it allows; None: any number."""
        del history
        return None

    def bounded(self) -> bool:
        """Whether it is sure to stop the loop some day."""
        return False

    def gauges(self, history: History) -> list[Gauge]:
        """Its goals and budgets, and where they stand."""
        from idds_learners.gauges import gauges

        return gauges(self, history)

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        return []

    def __or__(self, other: Condition) -> Any_:
        return Any_((*_parts(self, Any_), *_parts(other, Any_))) if _is_condition(other) else NotImplemented

    def __and__(self, other: Condition) -> All:
        return All((*_parts(self, All), *_parts(other, All))) if _is_condition(other) else NotImplemented

    def __invert__(self) -> Not:
        return Not((self,))


def _is_condition(value: object) -> bool:
    return callable(getattr(value, "check", None))


def _parts(condition: Any, kind: type) -> tuple[Any, ...]:
    """The members of a combination of the same kind, so that ``a | b | c`` is flat."""
    return condition.conditions if isinstance(condition, kind) else (condition,)  # type: ignore[attr-defined]


def _positive(name: str, value: object) -> list[str]:
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    return [] if fine else [f"{name}={value!r} is not above 0"]


# ---------------------------------------------------------------------- convergence
@dataclass(frozen=True)
class BoundaryConverged(Combinable):
    """The contour is known well enough.

    Stops as *converged* when on each of the last `consecutive` closed iterations the expected misclassified volume
    (``emv``, the largest over the targets, its standard deviations inflated by the learner's kappa) was at most
    ``tol / 2``, at least `min_residuals` one-batch-ahead residuals are on record for every target, and no lengthscale
    lies at its lower bound (a map like that is useless, however sure it is). Where the residuals of the last `window`
    ask for a larger kappa than the learner's own, emv is raised in proportion.

    In steady mode an iteration may bring a single point, and two looks at almost the same points are one look: there
    emv must have been that low on all iterations while the last ``(consecutive - 1) * min_residuals`` points came in.

    Stops as *nothing feasible* when at least `give_up` points have ended INFEASIBLE and none was ever measured;
    failed points count neither way.

    It is no bound: a loop needs a budget as well.

    Parameters
    ----------
    tol : share of the feasible unit cube that may be on the wrong side of the contour; of several contours one for
        each, as in ``{"obs": 0.01, "exp": 0.05}``, and a target that has none has the tightest
    consecutive : closed iterations in a row
    min_residuals : residuals there must be, for each target
    window : newest residuals that count
    give_up : infeasible points after which nothing feasible is believed to exist

    """

    tol: float | Mapping[str, float] = 0.01
    consecutive: int = 2
    min_residuals: int = 8
    window: int = 24
    give_up: int = 40

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        names = ("consecutive", "min_residuals", "window", "give_up")
        found = tolerance_problems(self.tol) + [text for name in names for text in _positive(name, getattr(self, name))]
        if not found and self.window < self.min_residuals:
            found.append(f"window={self.window} is below min_residuals={self.min_residuals}")
        return found

    def check(self, history: History) -> Verdict:
        """Converged, nothing feasible, or go on with the reason why not yet."""
        infeasible = sum(p.state is PointState.INFEASIBLE for p in history.points)
        if infeasible >= self.give_up and not any(p.state is PointState.MEASURED for p in history.points):
            return Verdict(VerdictKind.NOTHING_FEASIBLE, f"all {infeasible} points that ended are infeasible")
        needed, tol = self._needed(history), tightest(self.tol)
        looked = [(i, r.diagnostics) for i, r in enumerate(history.iterations, 1)][-needed:]
        if not looked or "emv" not in looked[-1][1]:
            return Verdict(VerdictKind.GO_ON, "there is no map yet")
        text = f"expected misclassified share {self._emv(history, *looked[-1]):.3%}"
        bad = [name for name in looked[-1][1].get("at_bounds", ()) if _useless(name)]
        if bad:
            return Verdict(VerdictKind.GO_ON, f"the map is unreliable: the length scale of {', '.join(bad)} is at its "
                           f"lower bound ({text})")  # fmt: skip
        counts = [len(r) for r in _residuals(history, len(history.iterations)).values()]
        if not counts or min(counts) < self.min_residuals:
            return Verdict(VerdictKind.GO_ON, f"{min(counts, default=0)} of {self.min_residuals} residuals ({text})")
        good = 0
        for number, diagnostics in reversed(looked):
            if "emv" not in diagnostics or self._emv(history, number, diagnostics) > 0.5 * tol:
                break
            good += 1
        if good < needed:
            return Verdict(VerdictKind.GO_ON, f"{text}; {good} of {needed} iterations at or below "
                           f"{0.5 * tol:.3%}")  # fmt: skip
        return Verdict(VerdictKind.CONVERGED, f"{text}, at or below {0.5 * tol:.3%} on {good} iterations in a row "
                       f"(half of tol={tol:.3%}; kappa {looked[-1][1].get('kappa', 1.0):.2f})")  # fmt: skip

    def _needed(self, history: History) -> int:
        """On how many of the last iterations emv must be low: `consecutive`, more in steady mode."""
        upto = [r.ingested_upto for r in history.iterations]
        if not upto or upto[-1] is None:
            return self.consecutive
        since = upto[-1] - (self.consecutive - 1) * self.min_residuals
        # back to the newest question that knew no more than `since`; one that was never asked, when there is none
        return max(self.consecutive, 1 + sum(n is not None and n > since for n in upto))

    def _emv(self, history: History, number: int, diagnostics: Mapping[str, Any]) -> float:
        """The emv of the number-th record, raised where this condition's window asks for a larger kappa."""
        found = _residuals(history, number).values()
        own = max((_kappa(r[-self.window :]) for r in found), default=1.0)
        return scaled(self.tol, diagnostics) * max(1.0, own / max(float(diagnostics.get("kappa", own)), 1.0))


def _useless(name: str) -> bool:
    """Whether a parameter at its bound (``target.name:low``) spoils the map."""
    return name.endswith(":low") and not name.endswith(("variance:low", "nugget:low"))


def _kappa(residuals: list[float]) -> float:
    return math.sqrt(max(1.0, sum(r * r for r in residuals) / len(residuals))) if residuals else 1.0


def _residuals(history: History, number: int) -> dict[str, list[float]]:
    """All residuals on the first `number` records, oldest first, by target."""
    found: dict[str, list[float]] = {}
    for record in history.iterations[:number]:
        for target, values in record.diagnostics.get("residuals", {}).items():
            found.setdefault(target, []).extend(values)
    return found


# ---------------------------------------------------------------------- budgets
@dataclass(frozen=True)
class MaxPoints(Combinable):
    """At most `n` points, whatever becomes of them; the last batch is trimmed to it. Imported points do not count.

    In steady mode those that are still pending are waited for.
    """

    n: int

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        return _positive("n", self.n)

    def remaining(self, history: History) -> int | None:
        """How many more points there may be."""
        return max(0, self.n - sum(p.iteration > 0 for p in history.points))

    def check(self, history: History) -> Verdict:
        """Budget, once `n` points are written and have ended."""
        written = sum(p.iteration > 0 for p in history.points)
        pending = len(history.pending)
        text = f"{written} of {self.n} points"
        return _budget(written >= self.n and not pending, f"{text}, {pending} pending" if pending else text)

    def bounded(self) -> bool:
        """It is a bound."""
        return True


@dataclass(frozen=True)
class MaxIterations(Combinable):
    """At most `n` iterations. In steady mode, where each question is one, points still pending are waited for."""

    n: int

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        return _positive("n", self.n)

    def remaining(self, history: History) -> int | None:
        """None, but no more points while the last ones are waited for."""
        return 0 if history.pending and len(history.iterations) >= self.n else None

    def check(self, history: History) -> Verdict:
        """Budget, once `n` iterations have closed and nothing is pending."""
        closed = len(history.iterations)
        return _budget(closed >= self.n and not history.pending, f"{closed} of {self.n} iterations")

    def bounded(self) -> bool:
        """It is a bound."""
        return True


@dataclass(frozen=True)
class Wall(Combinable):
    """At most so much time since the loop began, by the record of the last closed iteration.

    Parameters
    ----------
    limit : seconds, or text such as ``"12h"``, ``"90 min"``, ``"1d 6h"``

    Examples
    --------
    >>> Wall("1d 6h").seconds, Wall(90).seconds, Wall("soon").problems()
    (108000.0, 90.0, ["limit='soon' is no duration such as 12h, 90min or 1d 6h"])

    """

    limit: str | float

    @property
    def seconds(self) -> float:
        """The limit in seconds.

        Raises
        ------
        ValueError
            When the text is no duration.

        """
        if not isinstance(self.limit, str):
            return float(self.limit)
        parts = _DURATION.findall(self.limit)
        if not parts or _DURATION.sub("", self.limit):
            raise ValueError(f"limit={self.limit!r} is no duration such as 12h, 90min or 1d 6h")
        return sum(float(number) * _UNITS[unit] for number, unit in parts)

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        try:
            return _positive("limit", self.seconds)
        except (TypeError, ValueError) as error:
            return [str(error)]

    def check(self, history: History) -> Verdict:
        """Budget, once the time was spent when the last iteration closed."""
        spent = history.iterations[-1].elapsed_s if history.iterations else 0.0
        return _budget(spent >= self.seconds, f"{spent:.0f} of {self.seconds:.0f} s")

    def bounded(self) -> bool:
        """It is a bound."""
        return True


@dataclass(frozen=True)
class CoreHours(Combinable):
    """At most so many core hours, by the record of the last closed iteration."""

    limit: float

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        return _positive("limit", self.limit)

    def check(self, history: History) -> Verdict:
        """Budget, once the core hours were spent when the last iteration closed."""
        spent = history.iterations[-1].core_hours if history.iterations else 0.0
        return _budget(spent >= self.limit, f"{spent:.4g} of {self.limit:g} core hours")

    def bounded(self) -> bool:
        """It is a bound."""
        return True


def _budget(stop: bool, text: str) -> Verdict:
    return Verdict(VerdictKind.BUDGET if stop else VerdictKind.GO_ON, text)


# ---------------------------------------------------------------------- combinations
@dataclass(frozen=True)
class _Combination(Combinable):
    conditions: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "conditions", tuple(self.conditions))

    def problems(self) -> list[str]:
        """Everything that is wrong with its members."""
        if not self.conditions:
            return [f"{type(self).__name__} combines nothing"]
        return [text for c in self.conditions for text in getattr(c, "problems", list)()]

    def _remaining(self, history: History) -> Iterator[int | None]:
        for c in self.conditions:
            remaining = getattr(c, "remaining", None)
            yield remaining(history) if remaining is not None else None

    def _bounded(self) -> Iterator[bool]:
        for c in self.conditions:
            yield bool(getattr(c, "bounded", lambda: False)())


def _strongest(verdicts: Iterable[Verdict]) -> VerdictKind:
    return min((v.kind for v in verdicts), key=_PRECEDENCE.index)


def _texts(verdicts: Iterable[Verdict]) -> str:
    return "; ".join(v.reason for v in verdicts if v.reason)


@dataclass(frozen=True)
class Any_(_Combination):  # noqa: N801  any() is taken
    """Stops when one of its conditions does; the strongest kind counts, and its reason comes first."""

    def check(self, history: History) -> Verdict:
        """Converged before nothing feasible before stalled before budget; the others' reasons follow."""
        verdicts = sorted((c.check(history) for c in self.conditions), key=lambda v: _PRECEDENCE.index(v.kind))
        return Verdict(_strongest(verdicts), _texts(verdicts))

    def remaining(self, history: History) -> int | None:
        """The least that any of them allows."""
        return min((r for r in self._remaining(history) if r is not None), default=None)

    def bounded(self) -> bool:
        """Whether one of them is a bound."""
        return any(self._bounded())


@dataclass(frozen=True)
class All(_Combination):
    """Stops when all of its conditions do; the strongest kind counts."""

    def check(self, history: History) -> Verdict:
        """Go on while one of them says so."""
        verdicts = [c.check(history) for c in self.conditions]
        if all(v.stop for v in verdicts):
            return Verdict(_strongest(verdicts), _texts(sorted(verdicts, key=lambda v: _PRECEDENCE.index(v.kind))))
        return Verdict(VerdictKind.GO_ON, _texts(v for v in verdicts if not v.stop))

    def remaining(self, history: History) -> int | None:
        """The most that any of them allows: the loop goes on until the last has stopped."""
        found = list(self._remaining(history))
        if not found or any(r is None for r in found):
            return None
        return max(r for r in found if r is not None)

    def bounded(self) -> bool:
        """Whether all of them are bounds."""
        return all(self._bounded())


@dataclass(frozen=True)
class Not(_Combination):
    """Stops (as budget) as long as its one condition would not; of use inside ``&``. Never a bound."""

    def problems(self) -> list[str]:
        """Everything that is wrong with its member."""
        found = super().problems()
        return [*found, f"Not has {len(self.conditions)} conditions, not one"] if len(self.conditions) > 1 else found

    def check(self, history: History) -> Verdict:
        """The opposite."""
        verdict = self.conditions[0].check(history)
        kind = VerdictKind.GO_ON if verdict.stop else VerdictKind.BUDGET
        return Verdict(kind, f"not: {verdict.reason}" if verdict.reason else "")
