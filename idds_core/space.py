"""The parameter space: parameters, constraints, and the map to the unit cube."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from idds_core.errors import DefinitionError, Problem
from idds_core.expressions import Expression, ExpressionError
from idds_core.parameters import (
    KINDS,
    STRICT,
    Categorical,
    Integer,
    Log,
    Ordered,
    Parameter,
    Real,
    is_name,
    resting,
    round12,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["STRICT", "Categorical", "Integer", "Log", "Ordered", "Parameter", "Real", "Space", "round12"]


@dataclass(frozen=True, init=False)
class Space:
    """Named parameters and the constraints that their values must meet.

    Constraints are expressions in the parameters' names (comparisons, arithmetic, a few functions); a point that does
    not meet them is never sampled. Nothing is checked at construction: :meth:`problems` lists all mistakes at once.

    >>> space = Space(m_zp=Real(400, 2800, unit="GeV"), m_a=Real(200, 1200), constraints=["m_zp > m_a + 125"])
    >>> space.names, space.problems()
    (('m_zp', 'm_a'), [])
    >>> space.allowed([{"m_zp": 500.0, "m_a": 300.0}, {"m_zp": 500.0, "m_a": 400.0}]).tolist()
    [True, False]
    """

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()

    def __init__(
        self,
        parameters: Mapping[str, Parameter] | None = None,
        /,
        constraints: Iterable[str] = (),
        **named: Parameter,
    ) -> None:
        object.__setattr__(self, "parameters", {**(parameters or {}), **named})
        whole = isinstance(constraints, str)
        object.__setattr__(self, "constraints", (constraints,) if whole else tuple(constraints))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(self.parameters)

    @property
    def dimension(self) -> int:
        """Number of parameters; each has one coordinate of the unit cube."""
        return len(self.parameters)

    # ------------------------------------------------------------------ validation
    def problems(self) -> list[Problem]:
        """Everything that is wrong with the space."""
        found: list[Problem] = []
        if not self.parameters:
            found.append(Problem("E-SPACE-006", "the space has no parameter", where="space", fix="Add one."))
        for name, parameter in self.parameters.items():
            if not is_name(name):
                found.append(
                    Problem(
                        "E-SPACE-007",
                        f"{name!r} is no name for a parameter",
                        "",
                        f"space.{name}",
                        "Use letters, digits and underscores, and no word of Python.",
                    )
                )
            if isinstance(parameter, Parameter):
                found.extend(parameter.problems(str(name)))
            else:
                found.append(
                    Problem(
                        "E-SPACE-008",
                        f"{name} is no parameter",
                        f"{parameter!r}",
                        f"space.{name}",
                        "Use Real, Log, Integer, Categorical or Ordered.",
                    )
                )
        found += self._when_problems()
        return found + self._constraint_problems(sampled=not found)

    def _when_problems(self) -> list[Problem]:
        """What is wrong with the conditions under which parameters apply."""
        found: list[Problem] = []
        before: list[str] = []
        for name, parameter in self.parameters.items():
            text = getattr(parameter, "when", "")
            try:
                if text != "" and not Expression(text, before).is_condition:
                    raise ExpressionError("it is a number, and never true or false")
            except ExpressionError as error:
                fix = "Compare parameters that come before it, for example when=\"model == 'svc'\"."
                found.append(Problem("E-SPACE-012", f"it cannot be told when {name} applies", str(error),
                                     f"space.{name}.when", fix))  # fmt: skip
            if is_name(name):
                before.append(name)
        return found

    def _constraint_problems(self, sampled: bool) -> list[Problem]:
        """What is wrong with the constraints, tried at points when the parameters themselves are fine."""
        import numpy as np

        points = self._probes() if sampled and self.constraints else []
        met = np.ones(len(points), bool)
        found: list[Problem] = []
        for i, text in enumerate(self.constraints):
            place = f"space.constraints[{i}]"
            try:
                here = self._tried(text, points)
            except ExpressionError as error:
                fix = "Compare expressions of the parameters, for example 'm_zp > m_a + 125'."
                found.append(Problem("E-SPACE-009", f"constraint {text!r} cannot be read", str(error), place, fix))
                continue
            met &= here
            if points and not here.any():
                found.append(_excludes(f"constraint {text!r} excludes", f"{len(points)} points meets it", place))
        if not found and points and not met.any():
            why = f"{len(points)} points meets {' and '.join(self.constraints)}"
            found.append(_excludes("the constraints together exclude", why, "space.constraints"))
        return found

    def _tried(self, text: str, points: Sequence[Mapping[str, Any]]) -> NDArray[np.bool_]:
        """(n,) whether each point meets the constraint. Raises ExpressionError when it is none."""
        expression = Expression(text, [n for n in self.names if isinstance(n, str)])
        if not expression.is_condition:
            raise ExpressionError("it is a number, and never true or false")
        return self._meets(self.columns(points), len(points), expression)

    def _probes(self) -> list[dict[str, Any]]:
        """Points of the whole box: random ones, and its corners while they are few."""
        import numpy as np

        u = np.random.default_rng(0).random((4096, self.dimension))
        if self.dimension <= 12:
            u = np.vstack([u, np.array(np.meshgrid(*[[0.0, 1.0]] * self.dimension)).reshape(self.dimension, -1).T])
        return self.from_unit(u)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Space:
        """The space of a validated document (see :meth:`to_json`)."""
        parameters: dict[str, Parameter] = {}
        for name, given in data["parameters"].items():
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
            parameters[name] = KINDS[str(fields.pop("kind"))](**fields)
        return cls(parameters, constraints=data.get("constraints", ()))

    def to_json(self) -> dict[str, Any]:
        """The space as JSON."""
        return {
            "parameters": {
                n: {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(p).items()}
                for n, p in self.parameters.items()
            },
            "constraints": list(self.constraints),
        }

    # ------------------------------------------------------------------ points
    @cached_property
    def _expressions(self) -> tuple[Expression, ...]:
        try:
            return tuple(Expression(text, self.names) for text in self.constraints)
        except ExpressionError as error:
            raise DefinitionError(Problem("E-SPACE-009", "a constraint cannot be read", str(error))) from error

    @cached_property
    def _rules(self) -> dict[str, Expression]:
        return {name: Expression(p.when, self.names) for name, p in self.parameters.items() if p.when}

    def columns(self, points: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
        """Points as one array for each parameter."""
        import numpy as np

        return {name: np.array([p[name] for p in points]) for name in self.names}

    def to_unit(self, points: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Points -> (n, d) in the unit cube."""
        import numpy as np

        if not points:
            return np.empty((0, self.dimension))
        columns = self.columns(points)
        return np.stack([p.to_unit(columns[name]) for name, p in self.parameters.items()], axis=1)

    def from_unit(self, u: NDArray[np.float64]) -> list[dict[str, Any]]:
        """(n, d) in the unit cube -> points, numbers at 12 significant digits; what does not apply is at rest."""
        items = tuple(self.parameters.items())
        return self.settled(
            [{name: p.from_unit(float(x)) for (name, p), x in zip(items, row, strict=True)} for row in u]
        )

    @property
    def conditional(self) -> bool:
        """Whether there are parameters that do not always apply."""
        return any(p.when for p in self.parameters.values())

    def applies(self, points: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.bool_]]:
        """Name -> (n,) whether the parameter applies at each point.

        It does where its `when` is true and all parameters that are named there apply themselves.
        """
        return self.applies_columns(self.columns(points), len(points))

    def applies_columns(self, columns: Mapping[str, NDArray[Any]], n: int) -> dict[str, NDArray[np.bool_]]:
        """The same of n points given as columns."""
        import numpy as np

        columns = dict(columns)
        found: dict[str, NDArray[np.bool_]] = {}
        for name, parameter in self.parameters.items():
            rule = self._rules.get(name)
            met = np.ones(n, bool)
            if rule is not None and n:
                met &= self._meets(columns, n, rule)
                for other in rule.names:
                    met &= found[other]
                columns[name] = np.where(met, columns[name], np.asarray(resting(parameter)))
            found[name] = met
        return found

    def settled(self, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same points with every parameter that does not apply where it stands then; so no two are alike."""
        if not (self.conditional and points):
            return points
        found = [dict(p) for p in points]
        for name, met in self.applies(points).items():
            rest = resting(self.parameters[name])
            for point, fine in zip(found, met.tolist(), strict=True):
                if not fine:
                    point[name] = rest
        return found

    def allowed(self, points: Sequence[Mapping[str, Any]]) -> NDArray[np.bool_]:
        """(n,) whether each point meets all constraints."""
        import numpy as np

        if not (self.constraints and points):
            return np.ones(len(points), bool)
        return self.allowed_columns(self.columns(points), len(points))

    def allowed_columns(self, columns: Mapping[str, NDArray[Any]], n: int) -> NDArray[np.bool_]:
        """(n,) the same of points given as columns."""
        return self._meets(columns, n, *self._expressions)

    def allowed_unit(self, u: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) whether each row of the unit cube, taken as the point it stands for, meets all constraints."""
        import numpy as np

        return self.allowed(self.from_unit(u)) if self.constraints else np.ones(len(u), bool)

    @staticmethod
    def _meets(columns: Mapping[str, NDArray[Any]], n: int, *expressions: Expression) -> NDArray[np.bool_]:
        import numpy as np

        met = np.ones(n, bool)
        for expression in expressions if n else ():
            met &= np.broadcast_to(np.asarray(expression(columns), dtype=bool), (n,))
        return met

    def point_problem(self, point: Mapping[str, Any]) -> str:
        """Why `point` is not in the space; empty when it is."""
        if set(point) != set(self.names):
            return f"its parameters are {', '.join(sorted(map(str, point))) or 'none'}, not {', '.join(self.names)}"
        for name, parameter in self.parameters.items():
            if not parameter.holds(point[name]):
                return f"{name}={point[name]!r} is outside its range"
        for name, value in self.settled([dict(point)])[0].items():
            if point[name] != value:
                return f"{name} does not apply ({self.parameters[name].when}), so it must be {value!r}"
        if not bool(self.allowed([point])[0]):
            return f"it does not meet {' and '.join(self.constraints)}"
        return ""


def _excludes(what: str, why: str, where: str) -> Problem:
    fix = "Widen a range or loosen a constraint."
    return Problem("E-SPACE-004", f"{what} every point", f"none of {why}", where, fix)
