"""The kinds of parameters: real, logarithmic, integer, categorical, ordered, each with its map to [0, 1]."""

from __future__ import annotations

import keyword
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from idds_core.errors import Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KINDS", "STRICT", "Categorical", "Integer", "Log", "Ordered", "Parameter", "Real", "is_name", "resting",
    "round12"]  # fmt: skip

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


def _default_problem(name: str, parameter: Parameter) -> Problem | None:
    """The default is where points lie that were measured before there was the parameter."""
    if parameter.default is None or parameter.holds(parameter.default):
        return None
    return Problem(
        "E-SPACE-011",
        f"the default of {name} is none of its values",
        f"default={parameter.default!r}",
        f"space.{name}.default",
        "Give a value in its range.",
    )


@dataclass(frozen=True, slots=True)
class Real:
    """A real number in [low, high], measured on a linear scale.

    default : its value at points that were measured before there was this parameter (``idds-core amend``), and where
        it does not apply.
    when : a condition on parameters before it, such as ``"model == 'svc'"``; where it is not met the parameter does
        not apply, and stands at its default (without one, in the middle of its range). Empty: it always applies.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    low: float
    high: float
    unit: str = ""
    kind: Literal["real"] = "real"
    default: float | None = None
    when: str = ""

    def problems(self, name: str) -> list[Problem]:
        """What is wrong with it."""
        found = _range_problem(name, self.low, self.high) or _default_problem(name, self)
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
    default: float | None = None
    when: str = ""

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
        found = found or _default_problem(name, self)
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
    default: int | None = None
    when: str = ""

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
        found = found or _default_problem(name, self)
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
    default: str | None = None
    when: str = ""

    if TYPE_CHECKING:

        def __init__(
            self, choices: Sequence[str], unit: str = "", *, default: str | None = None, when: str = ""
        ) -> None: ...

    def __post_init__(self) -> None:
        if isinstance(self.choices, list):  # as people write it
            object.__setattr__(self, "choices", tuple(self.choices))

    def problems(self, name: str) -> list[Problem]:
        """What is wrong with it."""
        choices = self.choices
        fine = isinstance(choices, tuple) and choices and all(isinstance(c, str) and c.isprintable() for c in choices)
        if fine and all(choices) and len(set(choices)) == len(choices):
            found = _default_problem(name, self)
            return [found] if found else []
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


@dataclass(frozen=True, slots=True)
class Ordered:
    """One of a few values in order, all numbers or all text: ``Ordered([16, 32, 64])``, ``Ordered(["low", "high"])``.

    Learners know that neighbours are alike; how far apart they are is learnt.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    choices: tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
    unit: str = ""
    kind: Literal["ordered"] = "ordered"
    default: float | str | None = None
    when: str = ""

    if TYPE_CHECKING:

        def __init__(
            self,
            choices: Sequence[int] | Sequence[float] | Sequence[str],
            unit: str = "",
            *,
            default: float | str | None = None,
            when: str = "",
        ) -> None: ...

    def __post_init__(self) -> None:
        if isinstance(self.choices, list):  # as people write it
            object.__setattr__(self, "choices", tuple(self.choices))

    def problems(self, name: str) -> list[Problem]:
        """What is wrong with it."""
        choices: Any = self.choices
        some = isinstance(choices, tuple) and bool(choices)
        numbers = some and all(_number(c) for c in choices) and len(set(map(float, choices))) == len(choices)
        texts = some and all(isinstance(c, str) and c and c.isprintable() for c in choices)
        if numbers or (texts and len(set(choices)) == len(choices)):
            found = _default_problem(name, self)
            return [found] if found else []
        return [
            Problem(
                "E-SPACE-005",
                f"{name} has no proper choices",
                f"{choices!r}",
                f"space.{name}",
                "Give a list of different finite numbers, or of different, non-empty, printable strings.",
            )
        ]

    def holds(self, value: object) -> bool:
        """Whether the value is one of this parameter's."""
        return not isinstance(value, bool) and isinstance(value, (int, float, str)) and value in self.choices

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Choices -> the middle of their cell in [0, 1]."""
        import numpy as np

        index = {c: i for i, c in enumerate(self.choices)}
        return (np.array([index[v] for v in values.tolist()], dtype=float) + 0.5) / len(self.choices)

    def from_unit(self, u: float) -> int | float | str:
        """One coordinate, [0, 1] -> the choice in whose cell it lies."""
        return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]


def resting(parameter: Parameter) -> Any:
    """Where a parameter stands that does not apply: at its default, else in the middle.

    >>> resting(Integer(1, 9)), resting(Real(0, 1, default=0.25))
    (5, 0.25)
    """
    if parameter.default is None:
        return parameter.from_unit(0.5)
    if isinstance(parameter, Ordered):  # the choice itself: 32 for a default of 32.0
        return next(c for c in parameter.choices if c == parameter.default)
    return parameter.default


def is_name(name: object) -> bool:
    """Whether expressions can use the name. ASCII only: Python reads some other letters as different ones."""
    return isinstance(name, str) and name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


Parameter = Real | Log | Integer | Categorical | Ordered
KINDS: dict[str, type[Parameter]] = {
    "real": Real,
    "log": Log,
    "integer": Integer,
    "categorical": Categorical,
    "ordered": Ordered,
}
