"""Definitions and facts as small pieces of HTML, for notebooks. Text of any origin is escaped; nothing is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["facts_html", "loop_html"]

_CELL = 'style="text-align:left;vertical-align:top;padding:1px 12px 1px 0"'


def facts_html(title: str, rows: Mapping[str, str]) -> str:
    """A title with a table of names and texts.

    >>> "&lt;b&gt;" in facts_html("plane", {"reason": "<b>"})
    True
    """
    lines = "".join(f"<tr><th {_CELL}>{escape(k)}</th><td {_CELL}>{escape(v)}</td></tr>" for k, v in rows.items())
    return f"<div><b>{escape(title)}</b><table>{lines}</table></div>"


def loop_html(loop: Any) -> str:
    """A loop's definition: its space, then its other fields that are not at their default."""
    rows = {}
    for name, parameter in loop.space.parameters.items():
        rows[name] = _value(parameter)
    if loop.space.constraints:
        rows["constraints"] = ", ".join(map(str, loop.space.constraints))
    for field in dataclasses.fields(loop):
        value = getattr(loop, field.name)
        if field.name in ("name", "space") or value in ((), {}, None) or value == field.default:
            continue
        rows[field.name] = _value(value)
    return facts_html(f"loop {loop.name}", rows)


def _value(value: Any) -> str:
    """A value in a line: what is named by its name, dataclasses by what differs from their defaults."""
    name = getattr(value, "name", None)
    if isinstance(name, str):
        return name
    if isinstance(value, (tuple, list)):
        return ", ".join(_value(v) for v in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        said = [f"{f.name}={_value(getattr(value, f.name))}" for f in dataclasses.fields(value)
                if f.name != "kind" and getattr(value, f.name) != f.default]  # fmt: skip
        return f"{type(value).__name__}({', '.join(said)})"
    return str(value)
