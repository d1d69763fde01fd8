"""Conditions as text, as a person writes them: ``BoundaryConverged(0.01) | MaxPoints(300)``. Read, never evaluated."""

from __future__ import annotations

import ast
from typing import Any

from idds_core.errors import DefinitionError, did_you_mean
from idds_core.plugins import CONDITIONS, registered, resolve

__all__ = ["read_condition"]

_WHERE = "until"
_FIX = 'Write for example "BoundaryConverged(0.01) | MaxPoints(300)".'


def read_condition(text: str) -> Any:
    """The condition that a text stands for.

    Raises
    ------
    DefinitionError
        When it is no combination of known conditions with plain values.

    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _refused(text, str(error)) from None
    return _condition(tree, text)


def _refused(text: str, why: str, fix: str = _FIX) -> DefinitionError:
    return DefinitionError.of("E-UNTIL-001", f"{text[:80]!r} is no condition", why, _WHERE, fix)


def _condition(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd)):
        left, right = _condition(node.left, text), _condition(node.right, text)
        return left | right if isinstance(node.op, ast.BitOr) else left & right
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        return ~_condition(node.operand, text)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise _refused(text, f"{ast.unparse(node)[:80]} is no condition with its values")
    names = {entry.attr.rstrip("_"): name for name, entry in registered(CONDITIONS).items()}
    plugin = names.get(node.func.id, node.func.id if node.func.id in registered(CONDITIONS) else None)
    if plugin is None:
        hint = did_you_mean(node.func.id, names) or f"Known are {', '.join(sorted(names))}."
        raise _refused(text, f"there is no {node.func.id}", hint)
    try:
        given = [ast.literal_eval(a) for a in node.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
        return resolve(plugin, CONDITIONS)(*given, **named)
    except (ValueError, TypeError) as error:
        raise _refused(text, f"{node.func.id}: {error}") from None
