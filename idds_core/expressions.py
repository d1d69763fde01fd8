"""Expressions that users write: a small whitelist of the Python grammar, never ``eval``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

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
_FUNCTIONS = ("abs", "sqrt", "log", "log10", "exp", "min", "max", "sin", "cos", "tan", "hypot")


class ExpressionError(ValueError):
    """The text is not an expression of the small language."""


class Expression:
    """A parsed expression, evaluated on scalars or numpy columns.

    Parameters
    ----------
    text : str
        Comparisons, ``and``, ``or``, ``not``, arithmetic, ``abs sqrt log log10 exp min max sin cos tan hypot``.
    names : iterable of str
        The names that may appear.

    >>> Expression("m_zp > m_a + 125", ["m_zp", "m_a"])({"m_zp": 400.0, "m_a": 200.0})
    True

    """

    def __init__(self, text: str, names: Iterable[str]) -> None:
        if not isinstance(text, str):
            raise ExpressionError(f"{text!r} is not text")
        if len(text) > MAX_LENGTH:
            raise ExpressionError(f"longer than {MAX_LENGTH} characters")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ExpressionError("not a Python expression") from None
        self.text = text
        self.names: set[str] = set()
        self._known = frozenset(names)
        self._check(tree.body, 0)
        self._body = tree.body

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The value for the given variables (scalars or arrays of equal shape)."""
        return _evaluate(self._body, values)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def _check(self, node: ast.AST, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")
        children: list[ast.expr]
        match node:
            case ast.Constant(value=bool()):
                children = []
            case ast.Constant(value=int() | float() | str()):
                children = []
            case ast.Name(id=name):
                if name not in self._known:
                    raise ExpressionError(
                        f"unknown name {name!r}, known are {', '.join(sorted(self._known)) or 'none'}"
                    )
                self.names.add(name)
                children = []
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                if isinstance(op, ast.Pow):
                    _check_power(right)
                children = [left, right]
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY or isinstance(op, ast.Not):
                children = [operand]
            case ast.BoolOp(values=values):
                children = values
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(o) in _COMPARE for o in ops):
                children = [left, *others]
            case ast.Call(func=ast.Name(id=function), args=args, keywords=[]) if function in _FUNCTIONS and args:
                children = args
            case _:
                raise ExpressionError(f"{ast.unparse(node)!r} is not allowed")
        for child in children:
            self._check(child, depth + 1)


def _check_power(node: ast.expr) -> None:
    exponent = node.operand if isinstance(node, ast.UnaryOp) else node
    if not (isinstance(exponent, ast.Constant) and isinstance(exponent.value, (int, float))):
        raise ExpressionError("an exponent must be a number")
    if abs(exponent.value) > MAX_POWER:
        raise ExpressionError(f"an exponent above {MAX_POWER}")


def _evaluate(node: ast.AST, values: Mapping[str, Any]) -> Any:
    import numpy as np

    match node:
        case ast.Constant(value=value):
            return value
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
            return _call(function, [_evaluate(a, values) for a in args])
    raise ExpressionError(f"cannot evaluate {ast.dump(node)}")


def _call(function: str, arguments: list[Any]) -> Any:
    import numpy as np

    if function in ("min", "max"):
        return reduce(np.minimum if function == "min" else np.maximum, arguments)
    try:
        return getattr(np, function)(*arguments)
    except (TypeError, ValueError) as error:
        raise ExpressionError(f"{function}: {error}") from None
