"""Levels that depend on the point: expressions of the parameters, such as the cross section of a theory."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from idds_core.errors import IddsError
from idds_core.expressions import Expression, ExpressionError
from idds_core.space import Space

__all__ = ["Level", "level_problem"]

Array = NDArray[np.float64]

#: of spaces of more dimensions not every corner is looked at
_CORNERS = 10
_DOMAINS = {"log": (0.0, np.inf), "probit": (0.0, 1.0), "logit": (0.0, 1.0)}


@dataclass(frozen=True)
class Level:
    """The level of a contour as a function of the unit cube: U (m, d) -> (m,).

    Parameters
    ----------
    text : an expression of the parameters
    transform : what it is compared in, so that it must have one everywhere
    space : whose parameters they are; none until it is known

    """

    text: str
    transform: str
    space: Space = field(default_factory=Space)

    @cached_property
    def _expression(self) -> Expression:
        return Expression(self.text, self.space.names)

    def __str__(self) -> str:
        return self.text

    def __call__(self, U: Array) -> Array:
        """The levels at U.

        Raises
        ------
        IddsError
            Where it is no finite number, or has no transform.

        """
        found, point = self.bad(U)
        if point is not None:
            raise IddsError.of("E-LEARNER-007", f"the level {self.text!r} has no {self.transform}", point,
                               "learner.level", "Give a level that has one everywhere in the space.")  # fmt: skip
        return found

    def bad(self, U: Array) -> tuple[Array, str | None]:
        """The levels at U, and where the first of them is no number or has no transform, in words."""
        if not len(U):
            return np.empty(0), None
        points = self.space.from_unit(U)
        value = np.asarray(self._expression(self.space.columns(points)), dtype=float)
        found = np.broadcast_to(value, (len(U),))
        low, high = _DOMAINS.get(self.transform, (-np.inf, np.inf))
        wrong = ~(np.isfinite(found) & (found > low) & (found < high))
        if not wrong.any():
            return found, None
        at = int(np.argmax(wrong))
        where = ", ".join(f"{n} = {v:.4g}" if isinstance(v, float) else f"{n} = {v}" for n, v in points[at].items())
        return found, f"it is {found[at]:g} at {where}"


def level_problem(name: str, text: str, transform: str, space: Space) -> str | None:
    """What is wrong with the level of a contour anywhere in the space, in one line; None: nothing."""
    from idds_learners.design import pool

    level = Level(text, transform, space)
    try:
        if Expression(text, space.names).is_condition:
            return f"level {text!r} of {name} is true or false, no number"
        unit = pool(space, 0).unit
        if space.dimension <= _CORNERS:
            corners = np.array(list(product((0.0, 1.0), repeat=space.dimension)))
            unit = np.vstack([corners[space.allowed_unit(corners)], unit])
        point = level.bad(unit)[1]
    except ExpressionError as error:
        return f"level {text!r} of {name} cannot be used: {error}"
    return (
        f"level {text!r} of {name} has no {transform}: {point}"
        if point and transform != "none"
        else (f"level {text!r} of {name} is not finite: {point}" if point else None)
    )
