"""Expressions that users write: a small whitelist of the Python grammar, never ``eval``."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

from idds_core.errors import did_you_mean

__all__ = ["Expression", "ExpressionError"]

MAX_LENGTH = 500
MAX_DEPTH = 20
MAX_POWER = 16

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
# How many arguments each function takes. numpy would write into a second one: it is `out` there.
_FUNCTIONS = dict.fromkeys(("abs", "sqrt", "log", "log10", "exp", "sin", "cos", "tan"), (1, 1)) | {
    "hypot": (2, 2),
    "min": (2, 100),
    "max": (2, 100),
}


class ExpressionError(ValueError):
    """The text is not an expression of the small language, or its parts do not fit together."""


class Expression:
    """A parsed expression, evaluated on scalars or numpy columns.

    Numbers are floats throughout: nothing overflows silently, and a division by zero is an infinity that fails its
    comparison.

    Parameters
    ----------
    text : str
        Comparisons, ``and``, ``or``, ``not``, arithmetic, ``abs sqrt log log10 exp min max sin cos tan hypot``.
        Text in quotes may only be compared for being equal or not.
    names : iterable of str
        The names that may appear.

    Attributes
    ----------
    names : set of str
        Those that do appear.
    is_condition : bool
        Whether it is true or false, not a number.

    >>> Expression("m_zp > m_a + 125", ["m_zp", "m_a"])({"m_zp": 400.0, "m_a": 200.0})
    True

    """

    def __init__(self, text: str, names: Iterable[str]) -> None:
        if not isinstance(text, str):
            raise ExpressionError(f"{text!r} is not text")
        if len(text) > MAX_LENGTH:
            raise ExpressionError(f"longer than {MAX_LENGTH} characters")
        try:
            with warnings.catch_warnings():  # of the tokenizer, about what is refused below anyway
                warnings.simplefilter("ignore")
                tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ExpressionError("not a Python expression") from None
        self.text = text
        self.names: set[str] = set()
        self._known = frozenset(names)
        self._check(tree.body, 0)
        self._body = tree.body
        self.is_condition = _is_condition(tree.body)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The value for the given variables (scalars or arrays of equal shape).

        Raises
        ------
        ExpressionError
            When a value is of the wrong kind for what is done with it, for example text in a sum.

        """
        import numpy as np

        try:
            with np.errstate(all="ignore"):
                result = _evaluate(self._body, {name: _column(values[name]) for name in self.names})
        except (TypeError, ValueError) as error:
            raise ExpressionError(f"{self.text!r} cannot be evaluated: {error}") from None
        return result.item() if isinstance(result, np.generic) else result

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def _check(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")
        for child in self._children(node):
            self._check(child, depth + 1)

    def _children(self, node: ast.expr) -> list[ast.expr]:
        """What is below an allowed node."""
        match node:
            case ast.Constant(value=int() | float() as value):
                if not _is_finite(value):
                    raise ExpressionError("a number is too large")
                return []
            case ast.Name(id=name):
                self._check_name(name)
                return []
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                if isinstance(op, ast.Pow):
                    _check_power(right)
                return [left, right]
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY or isinstance(op, ast.Not):
                return [operand]
            case ast.BoolOp(values=values):
                return values
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(o) in _COMPARE for o in ops):
                only_equal = all(isinstance(o, (ast.Eq, ast.NotEq)) for o in ops)
                return [t for t in (left, *others) if not (only_equal and _is_text(t))]
            case ast.Call(func=ast.Name(id=function), args=args, keywords=[]) if function in _FUNCTIONS:
                low, high = _FUNCTIONS[function]
                if not low <= len(args) <= high:
                    raise ExpressionError(f"{function} takes {low} argument{'s' * (low > 1)}, not {len(args)}")
                return args
        raise ExpressionError(f"{_shown(node)} is not allowed")

    def _check_name(self, name: str) -> None:
        if name not in self._known:
            known = ", ".join(sorted(self._known)) or "none"
            hint = did_you_mean(name, self._known)
            raise ExpressionError(f"unknown name {name!r}, known are {known}" + (f". {hint}" if hint else ""))
        self.names.add(name)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_condition(node: ast.expr) -> bool:
    match node:
        case ast.Compare() | ast.Constant(value=bool()):
            return True
        case ast.BoolOp(values=values):
            return all(_is_condition(v) for v in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _is_condition(operand)
    return False


def _shown(node: ast.expr) -> str:
    try:
        text = ast.unparse(node)
    except RecursionError:
        return type(node).__name__
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _check_power(node: ast.expr) -> None:
    exponent = node.operand if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY else node
    value = exponent.value if isinstance(exponent, ast.Constant) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ExpressionError("an exponent must be a number")
    if abs(value) > MAX_POWER:
        raise ExpressionError(f"an exponent above {MAX_POWER}")


def _column(value: Any) -> Any:
    """A variable as numpy sees it: whole numbers as floats, or their powers would wrap around."""
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind in "iuO":
        array = array.astype(float)
    return array[()]


def _evaluate(node: ast.AST, values: Mapping[str, Any]) -> Any:
    import numpy as np

    match node:
        case ast.Constant(value=bool() as value):
            return np.bool_(value)
        case ast.Constant(value=str() as text):
            return np.str_(text)
        case ast.Constant(value=value):
            return np.float64(value)  # type: ignore[arg-type]  # only numbers are left
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return np.logical_not(_evaluate(operand, values))
        case ast.UnaryOp(op=unary, operand=operand):
            return _UNARY[type(unary)](_evaluate(operand, values))
        case ast.BoolOp(op=ast.And(), values=parts):
            return reduce(np.logical_and, [_evaluate(p, values) for p in parts])
        case ast.BoolOp(values=parts):
            return reduce(np.logical_or, [_evaluate(p, values) for p in parts])
        case ast.Compare(left=left, ops=ops, comparators=others):
            terms = [_evaluate(t, values) for t in (left, *others)]
            results = [_COMPARE[type(o)](a, b) for o, a, b in zip(ops, terms, terms[1:], strict=False)]
            return results[0] if len(results) == 1 else reduce(np.logical_and, results)
        case ast.Call(func=ast.Name(id=function), args=args):
            found = [_evaluate(a, values) for a in args]
            if function in ("min", "max"):
                return reduce(np.minimum if function == "min" else np.maximum, found)
            return getattr(np, function)(*found)
    raise ExpressionError(f"cannot evaluate {ast.dump(node)}")
