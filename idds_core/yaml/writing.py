"""From a definition to YAML that people like to read, and that is read back as the same document."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from idds_core.definition import Definition, validate
from idds_core.errors import IddsError
from idds_core.model import Loop, Requirements, Retry, Step, Workflow, parse_bytes, parse_seconds
from idds_core.plugins import CONDITIONS, LEARNERS, PRUNERS, registered, resolve, variants
from idds_core.yaml.conditions import write_condition
from idds_core.yaml.functions import details_of
from idds_core.yaml.nodes import scalar
from idds_core.yaml.reading import SIGNATURE

__all__ = ["to_yaml"]

_FLOW = 96
"""Mappings and lists of plain values stay on one line up to this length."""
_PLAIN = re.compile(r"[0-9]+[A-Za-z]{1,3}|[A-Za-z_./](?:[A-Za-z0-9_./+*<>=()|&~' -]|:(?=[A-Za-z_]))*(?<! )")
_WORDS = frozenset(
    ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
)  # what older YAML reads as something else
_TIMES = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_SIZES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("kB", 10**3))


def to_yaml(given: Definition | Loop | Workflow, *, schema: str | None = None) -> str:
    """The definition as YAML text.

    Read back beside the same code it gives the same document, letter for letter. What is at its default is left out.

    Parameters
    ----------
    given : what to write.
    schema : file name of the JSON Schema, for editors.

    Raises
    ------
    DefinitionError
        When it is no proper definition.

    Examples
    --------
    >>> from idds_core import Loop, Real, Space, chain, command
    >>> loop = Loop("scan", Space(x=Real(0, 1)), chain(command("mc", "./mc.sh {x}", result="r.json")),
    ...             {"type": "sobol", "targets": ["cls"]}, {"type": "max_points", "n": 60})
    >>> print(to_yaml(loop), end="")
    name: scan
    space:
      x: {kind: real, low: 0, high: 1}
    steps:
      mc:
        run: ./mc.sh {x}
        result: r.json
    learner:
      sobol: {targets: [cls]}
    until: MaxPoints(60)

    """
    definition = given if isinstance(given, Definition) else validate(given)
    document = definition.document
    body, parameters = document["body"], document["parameters"]
    if len(body) == 1 and "space" in body[0] and body[0]["name"] == document["name"] and not parameters:
        whole = _loop(body[0])
    else:
        whole = {"name": document["name"], **({"parameters": parameters} if parameters else {}), "steps": _steps(body)}
    head = f"# yaml-language-server: $schema={schema}\n" if schema else ""
    return head + _emit(whole)


# ---------------------------------------------------------------------- the document in the words of YAML
def _defaults(cls: Any) -> dict[str, Any]:
    """Defaults of a dataclass, as JSON has them."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if f.default is not dataclasses.MISSING:
            found[f.name] = f.default
        elif f.default_factory is not dataclasses.MISSING:
            found[f.name] = f.default_factory()
    return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}


def _beyond(cls: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is not at its default; of equal value and of equal type."""
    defaults = _defaults(cls)
    return {k: v for k, v in given.items() if k not in defaults or not _equal(v, defaults[k])}


def _equal(value: Any, default: Any) -> bool:
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        return bool(value == dataclasses.asdict(default))
    return type(value) is type(default) and repr(value) == repr(default)


def _loop(document: Mapping[str, Any]) -> dict[str, Any]:
    space = document["space"]
    parameters = {name: _parameter(given) for name, given in space["parameters"].items()}
    found: dict[str, Any] = {"name": document["name"], "space": parameters}
    if space["constraints"]:
        found["constraints"] = space["constraints"]
    if document["parameters"]:
        found["parameters"] = document["parameters"]
    found["steps"] = _steps(document["body"])
    found["learner"] = _plugin(document["learner"], LEARNERS)
    found["until"] = _condition(document["until"])
    rest = {k: v for k, v in document.items() if k not in (*found, "body", "constraints", "parameters")}
    rest = _beyond(Loop, rest)
    if rest.get("prune") is not None:
        rest["prune"] = _plugin(rest["prune"], PRUNERS)
    if rest.get("targets") == document["learner"].get("targets"):
        rest.pop("targets", None)  # they come from the learner
    return {**found, **rest}


def _steps(body: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Steps and loops by name; a loop's name is not said twice."""
    return {e["name"]: {k: v for k, v in _loop(e).items() if k != "name"} if "space" in e else _step(e) for e in body}


def _parameter(given: Mapping[str, Any]) -> dict[str, Any]:
    rest = {k: _number(v) if k in ("low", "high") else v for k, v in given.items() if k != "kind"}
    usual = (("unit", ""), ("default", None), ("when", ""))
    return {"kind": given["kind"], **{k: v for k, v in rest.items() if (k, v) not in usual}}


def _number(value: Any) -> Any:
    """A float that is a whole number, as one: its field says what it is."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15 and repr(value) != "-0.0"
    return int(value) if whole else value


def _step(document: Mapping[str, Any]) -> dict[str, Any]:
    given = {k: v for k, v in document.items() if k != "name"}
    if given["function"] is None:
        found = _beyond(Step, given)
        found["run"] = _command(given["run"])
        found = {"run": found.pop("run"), **found}
    else:
        found = _function(given)
    if "requires" in found:
        found["requires"] = _requirements(found["requires"])
    if "retry" in found:
        found["retry"] = _beyond(Retry, found["retry"]) | ({"wait": _time(w)} if (w := found["retry"]["wait"]) else {})
        if list(found["retry"]) == ["attempts"]:
            found["retry"] = found["retry"]["attempts"]
    return found


def _function(given: Mapping[str, Any]) -> dict[str, Any]:
    """A function's step: without its signature where reading the reference gives the same one."""
    base = _looked_up(str(given["function"]))
    if base is None or any(_listed(getattr(base, name)) != given[name] for name in SIGNATURE):
        return {"function": given["function"], **_beyond(Step, given), **{name: given[name] for name in SIGNATURE}}
    usual = {k: v for k, v in given.items() if k not in SIGNATURE}
    beyond = _beyond(Step, usual)
    for name, value in usual.items():  # a decorated function brings options, which reading would take over
        if name != "function" and name not in beyond and not _equal(value, _listed(getattr(base, name))):
            beyond[name] = value
    return {"function": given["function"], **beyond}


def _looked_up(reference: str) -> Any:
    """The function's step as it is imported just now; None when it is not."""
    module, _, qualname = reference.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    made = details_of(found) if found is not None else None
    return made if made is not None and made.function == reference else None


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _command(tokens: list[str]) -> Any:
    """A command line as people write it, where splitting it gives the same words."""
    text = " ".join(t if _is_word(t) else shlex.quote(t) for t in tokens)
    return text if text.isprintable() and shlex.split(text) == tokens else tokens


def _is_word(token: str) -> bool:
    try:
        return shlex.split(token) == [token]
    except ValueError:
        return False


def _requirements(given: Mapping[str, Any]) -> dict[str, Any]:
    found = _beyond(Requirements, given)
    if isinstance(found.get("memory"), int):
        found["memory"] = _size(found["memory"])
    if "walltime" in found:
        found["walltime"] = _time(found["walltime"])
    return found


def _size(value: int) -> Any:
    texts = (f"{value // size}{unit}" for unit, size in _SIZES if value and value % size == 0)
    return next((t for t in texts if parse_bytes(t) == value), value)


def _time(value: float) -> Any:
    texts = (f"{int(value // size)}{unit}" for unit, size in _TIMES if value and value % size == 0)
    return next((t for t in texts if parse_seconds(t) == value), value)


def _plugin(document: Mapping[str, Any], group: str) -> Any:
    """``{level-set: {...}}``; fields at their default are left out where the class is at hand."""
    kind, fields = str(document["type"]), {k: v for k, v in document.items() if k != "type"}
    with contextlib.suppress(IddsError, TypeError):  # else nothing is left out
        cls = resolve(kind, group)
        field, known = variants(cls)
        tail = next((text for text, value in known.items() if fields.get(field) == value), "")
        fields = _beyond(cls, {k: v for k, v in fields.items() if not tail or k != field})
        kind += f":{tail}" if tail else ""
    if "conditions" in fields:
        fields["conditions"] = [_condition(c) for c in fields["conditions"]]
    if any("type" in v for v in fields.values() if isinstance(v, Mapping)) or kind == "type":
        return {"type": kind, **fields}
    name = kind if ":" in kind else kind.replace("_", "-")
    if not fields and ":" in kind and kind.partition(":")[0] in registered(group):
        return name
    return {name: fields["conditions"] if list(fields) == ["conditions"] else fields}


def _condition(document: Mapping[str, Any]) -> Any:
    try:
        text = write_condition(document)
    except (IddsError, TypeError, KeyError):
        text = None
    return text if text is not None else _plugin(document, CONDITIONS)


# ---------------------------------------------------------------------- text
def _emit(value: Any) -> str:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.allow_unicode = False  # what is no letter of ASCII is escaped, so that no editor can change it unseen
    stream = io.StringIO()
    yaml.dump(_styled(value, 0), stream)
    return stream.getvalue()


def _styled(value: Any, depth: int) -> Any:
    """The value with quotes where a plain word would be read as something else, and short things on one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, Mapping):
        found = CommentedMap((_text(k), _styled(v, depth + 1)) for k, v in value.items())
        if depth and "run" not in value and _short(value.values(), str(value)):
            found.fa.set_flow_style()
        return found
    if isinstance(value, (list, tuple)):
        items = CommentedSeq(_styled(v, depth + 1) for v in value)
        if _short(value, str(value)):
            items.fa.set_flow_style()
        return items
    return _text(value) if isinstance(value, str) else value


def _short(values: Any, text: str) -> bool:
    """Whether all are plain values, or lists of some, that fit on a line."""
    if not values:
        return True
    flat = all(not isinstance(v, Mapping) and (not isinstance(v, list) or _flat(v)) for v in values)
    return flat and len(text) <= _FLOW


def _flat(values: list[Any]) -> bool:
    return not any(isinstance(v, (Mapping, list)) for v in values)


def _text(text: str) -> Any:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    meant = _PLAIN.fullmatch(text) and isinstance(scalar(text), str) and text.lower() not in _WORDS
    braces = re.sub(r"\{[A-Za-z_.]+\}", "", text)  # ./mc.sh {mass} {seed}
    command = text[:1] in "./" and _PLAIN.fullmatch(f"{braces}x") and text.strip() == text
    return text if meant or command else DoubleQuotedScalarString(text)
