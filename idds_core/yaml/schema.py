"""The JSON Schema of a scan file in YAML, for editors: made from the model and from the plugins that are installed."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from typing import Any

from idds_core.errors import IddsError
from idds_core.model import Loop, Requirements, Retry, Step
from idds_core.parameters import KINDS
from idds_core.plugins import CONDITIONS, LEARNERS, PRUNERS, registered, resolve, variants
from idds_core.yaml.conditions import ALL, ANY, NOT, fields_of
from idds_core.yaml.reading import LOOP_KEYS, STEP_KEYS

__all__ = ["json_schema"]

_SIZE = r"^\s*[0-9]+(\.[0-9]*)?\s*([bB]|[kKmMgGtT]i?[bB])?\s*$"
_TIME = r"^\s*[0-9]+(\.[0-9]*)?\s*(s|sec|min|m|h|d)?\s*$"
_REFERENCE = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
_ELEMENT = {  # of steps: what has a space is a loop
    "if": {"type": "object", "required": ["space"]},
    "then": {"$ref": "#/$defs/inner"},
    "else": {"$ref": "#/$defs/step"},
}
_FIELD = re.compile(r"^\s*((?:\w+)(?:, \w+)*) : (.+)$")


def json_schema() -> dict[str, Any]:
    """A schema of draft 2020-12; the same packages give the same one."""
    loop = _loop()
    flow = {
        "type": "object",
        "properties": {
            "name": {"$ref": "#/$defs/name"},
            **{key: loop["properties"][key] for key in ("paths", "parameters", "steps")},
        },
        "required": ["name", "steps"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:idds-core:scan:1",
        "title": "idds-core scan",
        "description": "A scan of a parameter space: where to look, what to run at a point, what to learn.",
        # one way to fail, so that an editor names the one thing that is wrong
        "if": {"anyOf": [{"required": [key]} for key in ("space", "learner", "until")]},
        "then": {"$ref": "#/$defs/loop"},
        "else": flow,
        "$defs": {
            "name": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,39}$"},
            "loop": loop,
            "parameter": _parameter(),
            "step": _step(),
            "inner": {**loop, "required": [key for key in loop["required"] if key != "name"]},
            "learner": _plugins(LEARNERS),
            "condition": _plugins(CONDITIONS),
            "rule": _plugins(PRUNERS),
        },
    }


# ---------------------------------------------------------------------- from types and docstrings
def _described(cls: Any) -> dict[str, str]:
    """What a docstring says of each field, in lines such as ``low, high : the range``."""
    found: dict[str, str] = {}
    for line in (inspect.getdoc(cls) or "").splitlines():
        match = _FIELD.match(line)
        for name in match[1].split(", ") if match else ():
            found.setdefault(name, match[2].strip() if match else "")
    return found


def _types(cls: Any) -> dict[str, Any]:
    """A schema for each field of a dataclass, by its annotation; anything where that is beyond JSON."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    names = [f.name for f in dataclasses.fields(cls) if f.init and (cls, f.name) != (Loop, "body")]
    try:
        made = TypeAdapter(cls).json_schema()
        if "$ref" in made:  # a loop may hold loops
            made = {**made["$defs"][made["$ref"].rpartition("/")[2]], "$defs": made["$defs"]}
    except (PydanticUserError, NameError, TypeError):
        return {name: {} for name in names}
    texts, inner = _described(cls), made.get("$defs", {})
    found = {}
    for name in names:
        schema = _without_references(made["properties"][name], inner)
        schema.pop("title", None)
        found[name] = {**schema, **({"description": texts[name]} if name in texts else {})}
    return found


def _without_references(schema: Any, inner: Any) -> Any:
    """The schema with what it refers to written out: it moves elsewhere."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return _without_references(copy.deepcopy(inner.get(name, {})), inner)
        return {k: _without_references(v, inner) for k, v in schema.items()}
    return [_without_references(v, inner) for v in schema] if isinstance(schema, list) else schema


def _object(properties: dict[str, Any], required: list[str], cls: Any = None) -> dict[str, Any]:
    text = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ") if cls else ""
    return {
        "type": "object",
        **({"description": text} if text else {}),
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _or(schema: Any, *others: Any) -> dict[str, Any]:
    """Either of some, under the description of the first."""
    schema = dict(schema)
    text = {"description": schema.pop("description")} if "description" in schema else {}
    schema.pop("default", None)
    first = schema.pop("anyOf", None) or [schema]
    return {"anyOf": [*first, *others], **text}


# ---------------------------------------------------------------------- the parts of a scan
def _loop() -> dict[str, Any]:
    types, texts = _types(Loop), _described(Loop)
    types["body"] = {}
    made = {
        "name": {"$ref": "#/$defs/name", "description": "Name of the scan, a part of every path."},
        "space": {
            "type": "object",
            "description": "Parameters: name -> range or choices.",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "additionalProperties": {"$ref": "#/$defs/parameter"},
        },
        "constraints": {
            "description": "Conditions on the parameters, such as m_zp > m_a + 125.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
        "paths": {
            "type": "object",
            "description": "Parameters that are paths, found from this file's folder.",
            "additionalProperties": {"type": "string"},
        },
        "parameters": {"type": "object", "description": texts.get("parameters", "")},
        "steps": {
            "description": "What is run at each point, in order.",
            "anyOf": [
                {"type": "object", "minProperties": 1, "additionalProperties": _ELEMENT},
                {"type": "array", "minItems": 1, "items": {**_ELEMENT, "else": _named_step()}},
            ],
        },
        "learner": {"$ref": "#/$defs/learner", "description": "What decides where to measure next."},
        "until": {
            "$ref": "#/$defs/condition",
            "description": "When to stop: BoundaryConverged(0.01) | MaxPoints(150).",
        },
    }
    made["prune"] = {"$ref": "#/$defs/rule", "description": texts.get("prune", "")}
    rest = {name: types[name] for name in LOOP_KEYS if name not in made}
    if "targets" in rest:
        rest["targets"] = _or(rest["targets"], {"type": "string"})
    return _object({**made, **rest}, ["name", "space", "steps", "learner", "until"])


def _parameter() -> dict[str, Any]:
    """Long and short forms of each kind."""
    number = {"type": "number"}
    forms: list[Any] = [
        {"type": "array", "prefixItems": [number, number], "items": False, "minItems": 2},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
    ]
    for kind, cls in KINDS.items():
        types = {k: v for k, v in _types(cls).items() if k != "kind"}
        needed = [k for k, must in fields_of(cls).items() if must]
        named = {"kind": {"const": kind}}
        forms.append(_object({**named, **types}, [*([] if kind == "real" else ["kind"]), *needed], cls))
        rest = {k: v for k, v in types.items() if k not in needed}
        short = types["choices"] if "choices" in needed else forms[0]
        forms.append(_object({kind: short, **rest}, [kind]))
    return {"anyOf": forms}


def _step_properties() -> dict[str, Any]:
    types = {name: schema for name, schema in _types(Step).items() if name in STEP_KEYS}
    text = {"type": "string"}
    words = {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}
    types["run"] = {"anyOf": [text, words], "description": "A command line; {mass}, {seed} and so on are filled in."}
    types["function"] = {
        "type": "string",
        "pattern": _REFERENCE,
        "description": "module:function, found beside the file.",
    }
    types["requires"] = _requires()
    types["retry"] = _retry()
    return types


def _requires() -> dict[str, Any]:
    types = _types(Requirements)
    types["memory"] = _or(types["memory"], {"type": "string", "pattern": _SIZE})
    types["walltime"] = _or(types["walltime"], {"type": "string", "pattern": _TIME})
    return _object(types, [], Requirements)


def _retry() -> dict[str, Any]:
    types = _types(Retry)
    types["wait"] = _or(types["wait"], {"type": "string", "pattern": _TIME})
    return {"anyOf": [{"type": "integer", "minimum": 1}, _object(types, [], Retry)]}


def _step() -> dict[str, Any]:
    one = [{"required": ["run"]}, {"required": ["function"]}]
    text = {"type": "string", "description": "A command line, or module:function."}
    return {"anyOf": [text, {**_object(_step_properties(), []), "oneOf": one}]}


def _named_step() -> dict[str, Any]:
    return _object({"name": {"$ref": "#/$defs/name"}, **_step_properties()}, ["name"])


# ---------------------------------------------------------------------- plugins
def _plugins(group: str) -> dict[str, Any]:
    """``name: {fields}``, ``{type: name, fields}``, the first field alone, or text."""
    own = {"type": "object", "patternProperties": {_REFERENCE: {}}, "additionalProperties": False, "minProperties": 1}
    typed = {"type": "object", "properties": {"type": {"pattern": _REFERENCE}}, "required": ["type"]}
    forms: list[Any] = [{"type": "string"}, own, typed]
    for name in sorted(registered(group)):
        try:
            cls = resolve(name, group)
        except IddsError:  # one that is broken here: its fields are not known
            forms.append({"type": "object", "required": [name]})
            continue
        fields, needed = _fields(cls, name, group), [k for k, must in fields_of(cls).items() if must]
        values: list[Any] = [_object(fields, needed, cls)]
        if fields:
            values.append(next(iter(fields.values())))
        if not needed:
            values.append({"type": "null"})
        spellings = sorted({name, name.replace("_", "-"), cls.__name__})
        forms += [_object({spelt: {"anyOf": values}}, [spelt]) for spelt in spellings]
        field, known = variants(cls)
        rest = _object({k: v for k, v in fields.items() if k != field}, needed, cls)
        for spelt in [f"{name}:{tail}" for tail in known]:
            forms += [{"const": spelt}, _object({spelt: {"anyOf": [rest, {"type": ["string", "null"]}]}}, [spelt])]
        forms.append(_object({"type": {"enum": sorted({name, name.replace("_", "-")})}, **fields}, ["type", *needed]))
    return {"anyOf": forms}


def _fields(cls: Any, name: str, group: str) -> dict[str, Any]:
    found = _types(cls) if dataclasses.is_dataclass(cls) else {}
    if group == CONDITIONS and name in (ANY, ALL, NOT):
        found["conditions"] = {"type": "array", "items": {"$ref": "#/$defs/condition"}, "minItems": 1}
    if "targets" in found:
        found["targets"] = _or(found["targets"], {"type": "string"})
    return found
