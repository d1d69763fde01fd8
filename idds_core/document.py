"""The shape of a definition's document: from values to JSON, from JSON to values, and what does not fit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from idds_core.errors import Problem
from idds_core.model import FunctionStep, Loop, Step, Workflow
from idds_core.parameters import KINDS
from idds_core.space import Space

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["PROTOCOL", "plain", "shape_problems", "workflow_of"]

PROTOCOL = 1
_OF_LOOPS = {"space", "learner", "until", "body"}
_FIX = "Give what the field takes; a misspelt name is refused."


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries and tuples as lists, all the way down; anything else is left for others to judge."""
    if isinstance(value, Space):
        return {"parameters": plain(value.parameters), "constraints": plain(value.constraints)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(Step if isinstance(value, FunctionStep) else value)]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


@cache
def _adapter() -> TypeAdapter[Workflow]:
    from pydantic import TypeAdapter

    return TypeAdapter(Workflow)


def _json(document: Mapping[str, Any]) -> str:
    """The model's part as JSON text; what is no JSON becomes an object that fits nowhere."""
    body = {k: v for k, v in document.items() if k != "protocol"}
    return json.dumps(body, default=lambda value: {"no JSON": repr(value)[:80]})


def workflow_of(document: Mapping[str, Any]) -> Workflow:
    """The model of a document that has no :func:`shape_problems`."""
    return _adapter().validate_json(_json(document))


def shape_problems(document: Any) -> list[Problem]:
    """Everything in a document that has not the type its field has, is missing, or is not known at all.

    Whole numbers are not true or false, numbers are finite, text is not a number: nothing is converted.
    """
    from pydantic import ValidationError

    if not isinstance(document, Mapping) or document.get("protocol") != PROTOCOL:
        given = document.get("protocol") if isinstance(document, Mapping) else document
        return [
            Problem(
                "E-DEF-014",
                "the document is of another version",
                f"protocol {given!r}, not {PROTOCOL}"[:120],
                "protocol",
                "Use the version of idds-core that wrote it.",
            )
        ]
    try:
        _adapter().validate_json(_json(document))
    except ValidationError as error:
        found = [_problem(e["loc"], e["msg"], document) for e in error.errors(include_url=False)]
        return list(dict.fromkeys(p for p in found if p is not None))
    except (ValueError, RecursionError) as error:
        return [Problem("E-DEF-013", "the document is no JSON", str(error), "", "Use finite numbers, strings, lists.")]
    return []


def _problem(loc: Sequence[str | int], message: str, document: Mapping[str, Any]) -> Problem | None:
    """One line for a mistake; None for what only says that a parameter is not of another kind."""
    names: list[str] = []
    here: Any = document
    parts = list(loc)
    for i, part in enumerate(parts):
        before = parts[max(0, i - 3) : i]
        if before[-2:-1] == ["body"]:  # which of the two it was read as
            looks = Loop if isinstance(here, Mapping) and _OF_LOOPS & set(here) else Step
            if part != looks.__name__:
                return None
            continue
        if before[:2] == ["space", "parameters"] and len(before) == 3:  # the kind that was tried
            kind = here.get("kind") if isinstance(here, Mapping) else None
            if kind in KINDS and part != KINDS[kind].__name__:
                return None
            if isinstance(here, Mapping) and kind not in KINDS:
                why, fix = f"its kind is {kind!r}", f"Use {', '.join(KINDS)}."
                return Problem("E-DEF-013", f"{names[-1]} is no parameter", why, ".".join(names), fix)
            continue
        here = _below(here, part)
        if not (part == "parameters" and before[-1:] == ["space"]):  # as a user writes it: space.m_zp
            names.append(_name(part, here))
    where = ".".join(names).replace(".[", "[")
    what = where.rpartition(".")[2] or "the document"
    return Problem("E-DEF-013", f"{what} cannot be used", message, where, _FIX)


def _below(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _name(part: str | int, value: Any) -> str:
    """Loops and steps by their names, as a user knows them."""
    name = value.get("name") if isinstance(part, int) and isinstance(value, Mapping) else part
    if isinstance(name, str):
        return name
    return f"[{part}]" if isinstance(part, int) else str(part)
