"""What differs between two definitions, for people and for the rules of what may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from idds_core.history import canonical_json
from idds_core.plugins import CONDITIONS, LEARNERS, registered, resolve

__all__ = ["Change", "differences", "spelled"]

_MISSING = "nothing"
_JOINED = {"any": " | ", "all": " & "}
_WHOLE = ("type", "kind")  # plugins and parameters are told as a whole


@dataclass(frozen=True, slots=True)
class Change:
    """One field of a definition that has another value.

    where : as errors name places: ``body.toy.until``, ``body.toy.body.measure.run``.
    old, new : as a person writes them; "nothing" for what is not there.
    """

    where: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.where}: {self.old} -> {self.new}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """All changes from one definition's document to another's, in the order of the documents.

    >>> a = {"name": "toy", "body": [{"name": "toy", "batch": 4, "until": {"type": "max_points", "n": 12}}]}
    >>> b = {"name": "toy", "body": [{"name": "toy", "batch": 4, "until": {"type": "max_points", "n": 24}}]}
    >>> print(*differences(a, b))
    body.toy.until: MaxPoints(n=12) -> MaxPoints(n=24)
    """
    return list(_walk("", old, new))


def _walk(where: str, old: Any, new: Any) -> Iterator[Change]:
    if canonical_json(old) == canonical_json(new):
        if isinstance(old, Mapping) and where.endswith("space.parameters") and list(old) != list(new):
            yield Change(where.removesuffix(".parameters"), ", ".join(old), ", ".join(new))
        return
    if _is_tree(old) and _is_tree(new):
        for name in dict.fromkeys([*old, *new]):
            yield from _below(where, name, old, new)
    elif _is_named(old) and _is_named(new):
        before, after = ({item["name"]: item for item in items} for items in (old, new))
        yield from _walk(where, before, after)
        if [n for n in before if n in after] != [n for n in after if n in before]:
            yield Change(f"{where}.order", ", ".join(before), ", ".join(after))
    else:
        yield Change(where, spelled(old), spelled(new))


def _below(where: str, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    inside_space = where.endswith(".space.parameters")
    place = f"{where.removesuffix('.parameters') if inside_space else where}.{name}".lstrip(".")
    if name in old and name in new:
        yield from _walk(place, old[name], new[name])
    elif name in old:
        yield Change(place, spelled(old[name]), _MISSING)
    else:
        yield Change(place, _MISSING, spelled(new[name]))


def _is_tree(value: Any) -> bool:
    return isinstance(value, Mapping) and not any(word in value for word in _WHOLE)


def _is_named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(i, Mapping) and "name" in i for i in value) and bool(value)


def _usual(kind: str) -> dict[str, Any]:
    """Defaults of a registered plugin's fields: nobody writes them."""
    for group in (CONDITIONS, LEARNERS):
        if kind in registered(group):
            return {f.name: f.default for f in dataclasses.fields(resolve(kind, group))}
    return {}


def spelled(value: Any) -> str:
    """A value of a document as a person writes it.

    >>> spelled({"type": "any", "conditions": [{"type": "max_points", "n": 3}, {"type": "wall", "limit": "2h"}]})
    "MaxPoints(n=3) | Wall(limit='2h')"
    >>> spelled({"kind": "real", "low": 0.0, "high": 1.0, "unit": ""}), spelled(None)
    ('Real(low=0.0, high=1.0)', 'None')
    """
    if isinstance(value, Mapping):
        kind = value.get("type", value.get("kind"))
        if not isinstance(kind, str):
            return f"{{{', '.join(f'{k}: {spelled(v)}' for k, v in value.items())}}}"
        if kind in _JOINED and value.get("conditions"):
            return _JOINED[kind].join(spelled(c) for c in value["conditions"])
        name = kind.rpartition(":")[2] if ":" in kind else "".join(w.title() for w in kind.split("_"))
        usual = _usual(kind)
        said = {k: v for k, v in value.items() if k not in _WHOLE and v not in ("", None) and usual.get(k, _WHOLE) != v}
        fields = [f"{k}={spelled(v)}" for k, v in said.items()]
        return f"{name}({', '.join(fields)})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(spelled(v) for v in value)}]"
    return repr(value)
