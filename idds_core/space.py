"""The parameter space: kinds of parameters, units, constraints, and the map to the unit cube."""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from idds_core.errors import DefinitionError, Problem
from idds_core.expressions import Expression, ExpressionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Categorical", "Integer", "Log", "Parameter", "Real", "Space", "round12"]

MAX_INTEGER = 2**50
STRICT: dict[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


def round12(value: float) -> float:
    """The number at 12 significant digits, so that a proposal is the same wherever it is written down."""
    return float(f"{value:.12g}")


def _number(value: object) -> bool:
    """Whether it is a number of which floats can be made."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an int beyond all floats
        return False


def _range_problem(name: str, low: object, high: object) -> Problem | None:
    where = f"space.{name}"
    if not (_number(low) and _number(high)):
        return Problem(
            "E-SPACE-001",
            f"the range of {name} is not two finite numbers",
            f"low={low!r}, high={high!r}",
            where,
            "Give two finite numbers.",
        )
    if not low < high:  # type: ignore[operator]
        return Problem(
            "E-SPACE-002",
            f"{name} has no range",
            f"low {low} is not below high {high}",
            where,
            "Swap them or widen the range.",
        )
    if not math.isfinite(float(high) - float(low)):  # type: ignore[arg-type]
        return Problem(
            "E-SPACE-010",
            f"the range of {name} is too wide",
            f"high - low of {low} and {high} is no number",
            where,
            "Narrow it, or use Log.",
        )
    if round12(float(low)) == round12(float(high)):  # type: ignore[arg-type]
        return Problem(
            "E-SPACE-010",
            f"the range of {name} is too narrow",
            "low and high agree in 12 digits",
            where,
            "Widen it, or give the difference as the parameter.",
        )
    return None


@dataclass(frozen=True, slots=True)
class Real:
    """A real number in [low, high], measured on a linear scale."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    low: float
    high: float
    unit: str = ""
    kind: Literal["real"] = "real"

    def problems(self, name: str) -> list[Problem]:
        """What is wrong with it."""
        found = _range_problem(name, self.low, self.high)
        return [found] if found else []

    def holds(self, value: object) -> bool:
        """Whether the value is one of this parameter's."""
        return _number(value) and self.low <= value <= self.high  # type: ignore[operator]

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values, natural -> [0, 1]."""
        return (values - self.low) / (self.high - self.low)

    def from_unit(self, u: float) -> float:
        """One coordinate, [0, 1] -> natural, at 12 significant digits."""
        return min(max(round12(self.low + u * (self.high - self.low)), self.low), self.high)


@dataclass(frozen=True, slots=True)
class Log:
    """A positive real number in [low, high], measured on a logarithmic scale (couplings, cross sections)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    low: float
    high: float
    unit: str = ""
    kind: Literal["log"] = "log"

    def problems(self, name: str) -> list[Problem]:
        """What is wrong with it."""
        found = _range_problem(name, self.low, self.high)
        if found is None and self.low <= 0:
            found = Problem(
                "E-SPACE-003",
                f"{name} has no logarithm",
                f"low {self.low} is not above 0",
                f"space.{name}",
                "Raise low above 0 or use Real.",
            )
        return [found] if found else []

    def holds(self, value: object) -> bool:
        """Whether the value is one of this parameter's."""
        return _number(value) and self.low <= value <= self.high  # type: ignore[operator]

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values, natural -> [0, 1]."""
        import numpy as np

        low = math.log(self.low)
        scaled: NDArray[np.float64] = (np.log(values) - low) / (math.log(self.high) - low)
        return scaled

    def from_unit(self, u: float) -> float:
        """One coordinate, [0, 1] -> natural, at 12 significant digits."""
        low = math.log(self.low)
        value = round12(math.exp(low + u * (math.log(self.high) - low)))
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number in [low, high], both included."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    low: int
    high: int
    unit: str = ""
    kind: Literal["integer"] = "integer"

    def problems(self, name: str) -> list[Problem]:
        """What is wrong with it."""
        found = _range_problem(name, self.low, self.high)
        if found is None and not (isinstance(self.low, int) and isinstance(self.high, int)):
            found = Problem(
                "E-SPACE-001",
                f"the range of {name} is not two whole numbers",
                f"low={self.low!r}, high={self.high!r}",
                f"space.{name}",
                "Use whole numbers or Real.",
            )
        if found is None and max(abs(self.low), abs(self.high)) > MAX_INTEGER:
            found = Problem(
                "E-SPACE-010",
                f"the range of {name} is too wide",
                f"beyond {MAX_INTEGER} floats have gaps",
                f"space.{name}",
                "Narrow it, or use Log.",
            )
        return [found] if found else []

    def holds(self, value: object) -> bool:
        """Whether the value is one of this parameter's."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values, natural -> the middle of their cell in [0, 1]."""
        return (values - self.low + 0.5) / (self.high - self.low + 1)

    def from_unit(self, u: float) -> int:
        """One coordinate, [0, 1] -> the value in whose cell it lies."""
        return min(self.low + int(u * (self.high - self.low + 1)), self.high)


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of a few named choices, without order."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    choices: tuple[str, ...]
    unit: str = ""
    kind: Literal["categorical"] = "categorical"

    def __post_init__(self) -> None:
        if isinstance(self.choices, list):  # as people write it
            object.__setattr__(self, "choices", tuple(self.choices))

    def problems(self, name: str) -> list[Problem]:
        """What is wrong with it."""
        choices = self.choices
        fine = isinstance(choices, tuple) and choices and all(isinstance(c, str) and c.isprintable() for c in choices)
        if fine and all(choices) and len(set(choices)) == len(choices):
            return []
        return [
            Problem(
                "E-SPACE-005",
                f"{name} has no proper choices",
                f"{choices!r}",
                f"space.{name}",
                "Give a list of different, non-empty, printable strings.",
            )
        ]

    def holds(self, value: object) -> bool:
        """Whether the value is one of this parameter's."""
        return isinstance(value, str) and value in self.choices

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Choices -> the middle of their cell in [0, 1]."""
        import numpy as np

        index = {c: i for i, c in enumerate(self.choices)}
        return (np.array([index[v] for v in values.tolist()], dtype=float) + 0.5) / len(self.choices)

    def from_unit(self, u: float) -> str:
        """One coordinate, [0, 1] -> the choice in whose cell it lies."""
        return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]


def _is_name(name: object) -> bool:
    """ASCII only: Python reads some letters of an expression as others."""
    fine = isinstance(name, str) and name.isascii() and name.isidentifier()
    return fine and not keyword.iskeyword(name)


Parameter = Real | Log | Integer | Categorical
_KINDS: dict[str, type[Parameter]] = {"real": Real, "log": Log, "integer": Integer, "categorical": Categorical}


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
            if not _is_name(name):
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
                        "Use Real, Log, Integer or Categorical.",
                    )
                )
        return found + self._constraint_problems(sampled=not found)

    def _constraint_problems(self, sampled: bool) -> list[Problem]:
        """What is wrong with the constraints, tried at points when the parameters themselves are fine."""
        import numpy as np

        found: list[Problem] = []
        points = self._probes() if sampled and self.constraints else []
        met = np.ones(len(points), bool)
        for i, text in enumerate(self.constraints):
            try:
                expression = Expression(text, [n for n in self.names if isinstance(n, str)])
                if not expression.is_condition:
                    raise ExpressionError("it is a number, and never true or false")
                here = self._meets(self.columns(points), len(points), expression)
            except ExpressionError as error:
                found.append(
                    Problem(
                        "E-SPACE-009",
                        f"constraint {text!r} cannot be read",
                        str(error),
                        f"space.constraints[{i}]",
                        "Compare expressions of the parameters, for example 'm_zp > m_a + 125'.",
                    )
                )
                continue
            met &= here
            if points and not here.any():
                found.append(
                    Problem(
                        "E-SPACE-004",
                        f"constraint {text!r} excludes every point",
                        f"none of {len(points)} points meets it",
                        f"space.constraints[{i}]",
                        "Widen a range or loosen the constraint.",
                    )
                )
        if not found and points and not met.any():
            found.append(
                Problem(
                    "E-SPACE-004",
                    "the constraints together exclude every point",
                    f"none of {len(points)} points meets {' and '.join(self.constraints)}",
                    "space.constraints",
                    "Widen a range or loosen a constraint.",
                )
            )
        return found

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
            parameters[name] = _KINDS[str(fields.pop("kind"))](**fields)
        return cls(parameters, constraints=data.get("constraints", ()))

    def to_json(self) -> dict[str, Any]:
        """The space as JSON."""
        import dataclasses

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
        """(n, d) in the unit cube -> points, numbers at 12 significant digits."""
        items = tuple(self.parameters.items())
        return [{name: p.from_unit(float(x)) for (name, p), x in zip(items, row, strict=True)} for row in u]

    def allowed(self, points: Sequence[Mapping[str, Any]]) -> NDArray[np.bool_]:
        """(n,) whether each point meets all constraints."""
        import numpy as np

        if not (self.constraints and points):
            return np.ones(len(points), bool)
        return self._meets(self.columns(points), len(points), *self._expressions)

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
        if not bool(self.allowed([point])[0]):
            return f"it does not meet {' and '.join(self.constraints)}"
        return ""
