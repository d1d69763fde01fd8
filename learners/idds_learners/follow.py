"""The general loop: the next parameters are what the last iteration put out, until a condition on them is met."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from idds_core.errors import IddsError
from idds_core.expressions import Expression, ExpressionError
from idds_core.history import History, Point
from idds_core.parameters import Integer
from idds_core.ports import Proposal, Verdict
from idds_core.states import VerdictKind
from idds_core.supporting import Supports
from idds_learners.conditions import Combinable

__all__ = ["Follow", "When"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _seen(point: Point) -> dict[str, Any]:
    """All numbers of a measured point by name: what was measured wins over what was asked for."""
    found = dict(point.parameters)
    if point.observation is not None:
        found |= {**point.observation.extras, **point.observation.values}
    return found


def _newest(history: History, points: Sequence[Point]) -> Point:
    """The last of some points in the order of what was proposed: a top-up stands where it adds to."""
    known = {p.number: p for p in history.points}

    def place(point: Point) -> tuple[int, int]:
        here = point
        while here.adds:
            here = known[here.adds["to"]]
        return here.number, point.number

    return max(points, key=place)


@dataclass(frozen=True)
class Follow:
    """One point at a time: the first is `start`, each next one what the last step returned by the parameters' names.

    A parameter that it did not return stays as it is. It has no map, and needs none: a calibration that iterates, a
    minimiser of your own, a chain that goes on until its output settles. Stop it with :class:`When`.

    Parameters
    ----------
    start : name -> value of every parameter
    targets : what an observation must have; none by default

    Examples
    --------
    >>> from idds_core import Real, Space
    >>> Follow({"x": 0.5}).ask(History(Space(x=Real(0, 1))), 8).points
    ({'x': 0.5},)

    """

    sequential: ClassVar[bool] = True
    supports: ClassVar[Supports] = Supports(objectives=None, pending=False)

    start: Mapping[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = ()

    def ask(self, history: History, n: int) -> Proposal:
        """The one next point, or why there is none."""
        point, reason = self._next(history)
        if not reason:
            reason = history.space.point_problem(point)
            if reason:
                reason = f"the next point is not in the space: {reason}"
        if not reason and any(dict(p.parameters) == point for p in history.points):
            reason = "the parameters repeat: it has come to a fixed point or a circle"
        return Proposal((), reason=reason) if reason or n < 1 else Proposal((point,))

    def _next(self, history: History) -> tuple[dict[str, Any], str]:
        if history.pending:
            return {}, "the last point has not ended"
        if not history.points:
            return dict(self.start), ""
        last = _newest(history, [p for p in history.points if p.observation is not None or not p.adds])
        if last.observation is None:
            return {}, f"point {last.number} ended {last.state}: there is nothing to follow"
        seen = _seen(last)
        return {name: _fitting(history.space.parameters[name], seen[name]) for name in history.space.names}, ""


def _fitting(parameter: Any, value: Any) -> Any:
    """Observations are floats; a whole number stays one."""
    whole = isinstance(parameter, Integer) and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


@dataclass(frozen=True)
class When(Combinable):
    """Stop as *converged* when an expression on the last measured point is true.

    Parameters
    ----------
    expression : of targets, other numbers that the last step returned, and parameters, like "abs(shift) < 1e-3"

    Examples
    --------
    >>> When("abs(shift) < 1e-3").problems()
    []

    """

    expression: str

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        try:
            parsed = self._parsed()
        except ExpressionError as error:
            return [f"{self.expression!r}: {error}"]
        return [] if parsed.is_condition else [f"{self.expression!r} is neither true nor false"]

    def _parsed(self) -> Expression:
        text = self.expression if isinstance(self.expression, str) else ""
        return Expression(self.expression, _NAME.findall(text))

    def check(self, history: History) -> Verdict:
        """Converged, once it is true of the last measured point."""
        if not history.measured:
            return Verdict(VerdictKind.GO_ON, "nothing was measured yet")
        last = _newest(history, history.measured)
        seen, parsed = _seen(last), self._parsed()
        missing = sorted(parsed.names - set(seen))
        if missing:
            raise IddsError.of(
                "E-LEARNER-008",
                f"{', '.join(missing)} of the condition {self.expression!r} is not measured",
                f"there are {', '.join(sorted(seen))}",
                f"point {last.number}",
                "Let the last step return it.",
            )
        told = ", ".join(f"{name} = {seen[name]:.6g}" for name in sorted(parsed.names))
        kind = VerdictKind.CONVERGED if parsed(seen) else VerdictKind.GO_ON
        return Verdict(kind, f"{self.expression} ({told})")
