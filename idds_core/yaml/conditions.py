"""When to stop, as text: ``BoundaryConverged(0.01) | MaxPoints(150)``. A whitelisted grammar, never ``eval``.

Calls of registered conditions, joined by ``|``, ``&`` and ``~`` as in Python. An argument is a number, a text, a list
of these, or the name of a parameter of the definition.
"""

from __future__ import annotations

import ast
import keyword
import warnings
from collections.abc import Mapping
from typing import Any

from idds_core.errors import did_you_mean
from idds_core.plugins import CONDITIONS, registered

__all__ = ["ALL", "ANY", "NOT", "ConditionError", "class_names", "fields_of", "parse_condition", "write_condition"]

ANY, ALL, NOT = "any", "all", "not"
MAX_LENGTH, MAX_DEPTH = 2000, 30
_SIGNS = {ANY: " | ", ALL: " & "}


class ConditionError(ValueError):
    """The text is no condition; `mistakes` are pairs of what is wrong and how to mend it."""

    def __init__(self, *mistakes: tuple[str, str]) -> None:
        super().__init__("; ".join(why for why, _ in mistakes))
        self.mistakes = mistakes


def class_names(group: str) -> dict[str, str]:
    """Name of the class -> registered name, for all plugins of a group; nothing is imported."""
    return {entry.value.rpartition(":")[2]: name for name, entry in registered(group).items()}


def fields_of(cls: Any) -> dict[str, bool]:
    """Fields that a plugin's class takes, in order, and whether each must be given."""
    import dataclasses

    if not dataclasses.is_dataclass(cls):
        return {}
    missing = dataclasses.MISSING
    return {f.name: f.default is missing and f.default_factory is missing for f in dataclasses.fields(cls) if f.init}


def parse_condition(text: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The condition as JSON.

    Parameters
    ----------
    text : what was written.
    values : what names in it stand for.

    Raises
    ------
    ConditionError
        When it is none.

    >>> parse_condition("MaxPoints(n) | ~Wall('2h')", {"n": 60})["conditions"][0]
    {'type': 'max_points', 'n': 60}

    """
    if len(text) > MAX_LENGTH:
        raise ConditionError((f"it is longer than {MAX_LENGTH} characters", "Give it as a mapping: any: [...]."))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        fix = "For example: BoundaryConverged(0.01) | MaxPoints(150)."
        raise ConditionError(("it is no expression", fix)) from None
    reader = _Reader(values)
    found = reader.condition(tree, 0)
    if reader.mistakes:
        raise ConditionError(*reader.mistakes)
    return found


class _Reader:
    """One tree of the grammar; `values` are what names stand for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.mistakes: list[tuple[str, str]] = []

    def _no(self, why: str, fix: str) -> dict[str, Any]:
        """Write a mistake down and go on: all of them are told at once."""
        self.mistakes.append((why, fix))
        return {"type": ""}

    def condition(self, node: ast.expr, depth: int) -> dict[str, Any]:
        """A call, or conditions joined by signs."""
        if depth > MAX_DEPTH:
            return self._no(f"it is nested deeper than {MAX_DEPTH}", "Make it flatter.")
        match node:
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() as op, right=right):
                kind = ANY if isinstance(op, ast.BitOr) else ALL
                members: list[Any] = []
                for side in (left, right):  # as the operators do it: a | b | c is flat
                    made = self.condition(side, depth + 1)
                    members += made["conditions"] if made["type"] == kind else [made]
                return {"type": kind, "conditions": members}
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return {"type": NOT, "conditions": [self.condition(operand, depth + 1)]}
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self._call(name, args, keywords)
            case ast.BoolOp():
                return self._no("'and' and 'or' do not join conditions", "Use & and |.")
            case ast.UnaryOp(op=ast.Not()):
                return self._no("'not' does not turn a condition round", "Use ~.")
            case ast.Name(id=name) if name in class_names(CONDITIONS):
                return self._no(f"{name} stands alone", f"Call it: {name}(...).")
        return self._no(f"{ast.unparse(node)[:60]} is no condition", "Use for example MaxPoints(150).")

    def _call(self, name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> dict[str, Any]:
        from idds_core.plugins import resolve

        names = class_names(CONDITIONS)
        if name not in names:
            known = [n for n in names if names[n] not in (ANY, ALL, NOT)]
            return self._no(f"there is no condition {name}", did_you_mean(name, known) or _one_of(known))
        fields = list(fields_of(resolve(names[name], CONDITIONS)))
        if len(args) > len(fields):
            return self._no(f"{name} takes {len(fields)} values, not {len(args)}", f"They are {', '.join(fields)}.")
        found = dict(zip(fields, map(self._value, args), strict=False))
        for given in keywords:
            if given.arg is None or given.arg in found:
                self._no(f"{name} gets {given.arg or '**'} twice", "Give it once.")
            elif given.arg not in fields:
                self._no(f"{name} has no {given.arg}", did_you_mean(given.arg, fields) or _one_of(fields))
            else:
                found[given.arg] = self._value(given.value)
        return {"type": names[name], **found}

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=ast.Constant(value=int() | float() as value)):
                return -value if isinstance(op, ast.USub) else value
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._value(item) for item in items]
            case ast.Name(id=name) if name in self._values:
                return self._values[name]
            case ast.Name(id=name):
                hint = did_you_mean(name, self._values) or "Give a number, or quote text."
                return self._no(f"{name} is no parameter", hint)
        return self._no(f"{ast.unparse(node)[:60]} is no value", "Give a number, or quote text.")


def _one_of(names: Any) -> str:
    return f"Known are {', '.join(sorted(names))}."


# ---------------------------------------------------------------------- writing
def write_condition(spec: Any) -> str | None:
    """The text that :func:`parse_condition` reads as this JSON; None when there is none.

    >>> both = [{"type": "max_points", "n": 5}, {"type": "wall", "limit": "2h"}]
    >>> write_condition({"type": "any", "conditions": both})
    "MaxPoints(5) | Wall('2h')"
    """
    text = _written(spec, 0)
    if text is None or len(text) > MAX_LENGTH:
        return None
    try:
        same = _as_text(_short(parse_condition(text, {}))) == _as_text(_short(spec))
    except ConditionError:
        return None
    return text if same else None


def _as_text(spec: Any) -> str:
    import json

    return json.dumps(spec, sort_keys=True)


def _defaults(kind: str) -> dict[str, Any]:
    import dataclasses

    from idds_core.plugins import resolve

    missing = dataclasses.MISSING
    return {f.name: f.default for f in dataclasses.fields(resolve(kind, CONDITIONS)) if f.default is not missing}


def _short(spec: Any) -> Any:
    """Without what is at its default."""
    if spec["type"] in (ANY, ALL, NOT):
        return {**spec, "conditions": [_short(member) for member in spec["conditions"]]}
    defaults = _defaults(spec["type"])
    return {k: v for k, v in spec.items() if k == "type" or not _same(v, defaults, k)}


def _same(value: Any, defaults: Mapping[str, Any], name: str) -> bool:
    return name in defaults and type(value) is type(defaults[name]) and bool(value == defaults[name])


def _written(spec: Any, depth: int) -> str | None:
    if not isinstance(spec, Mapping) or depth > MAX_DEPTH:
        return None
    kind = spec.get("type")
    if kind in (ANY, ALL, NOT):
        return _joined(str(kind), spec.get("conditions"), depth)
    names = {name: cls for cls, name in class_names(CONDITIONS).items()}
    if kind not in names:
        return None
    short, words, in_order = _short(spec), [], True
    fields = list(fields_of(_class(str(kind))))
    short |= {name: spec[name] for name in fields[:1] if name in spec}  # what it is about is said
    for name in fields:
        if name not in short:
            in_order = False
            continue
        value = short[name]
        if not _is_plain(value) or keyword.iskeyword(name):
            return None
        words.append(repr(value) if in_order else f"{name}={value!r}")
    return f"{names[str(kind)]}({', '.join(words)})"


def _class(kind: str) -> Any:
    from idds_core.plugins import resolve

    return resolve(kind, CONDITIONS)


def _joined(kind: str, members: Any, depth: int) -> str | None:
    """Members with the sign between them; what binds less tightly is put in parentheses."""
    wanted = isinstance(members, list) and (len(members) == 1 if kind == NOT else len(members) > 1)
    if not wanted:
        return None
    words = []
    for member in members:
        text = _written(member, depth + 1)
        if text is None:
            return None
        joined = member["type"] == ANY or (kind == NOT and member["type"] == ALL)
        words.append(f"({text})" if joined else text)
    return f"~{words[0]}" if kind == NOT else _SIGNS[kind].join(words)


def _is_plain(value: Any) -> bool:
    """Whether its repr is read back as the same JSON value."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and abs(value) < 1e300)
