"""Plugins: learners, conditions and providers by registered name or ``module:Class``, and as JSON and back."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Any

from idds_core.errors import DefinitionError, did_you_mean

__all__ = ["CONDITIONS", "ENGINES", "LEARNERS", "PROVIDERS", "PRUNERS", "build", "describe", "registered", "resolve",
    "spelled", "variants"]  # fmt: skip

LEARNERS = "idds_core.learners"
CONDITIONS = "idds_core.conditions"
PROVIDERS = "idds_core.providers"
ENGINES = "idds_core.engines"
PRUNERS = "idds_core.pruners"


@cache
def registered(group: str) -> Mapping[str, EntryPoint]:
    """Name -> entry point of all plugins of a group."""
    return types.MappingProxyType({e.name: e for e in entry_points(group=group)})


def resolve(name: str, group: str) -> Any:
    """The class registered under `name` in `group`, or the one that ``module:Class`` names."""
    entry = registered(group).get(name)
    module, _, attribute = name.partition(":")
    if entry is None and not (module and attribute):
        raise DefinitionError.of(
            "E-PLUGIN-001",
            f"no plugin {name!r} in {group}",
            where=group,
            fix=f"{did_you_mean(name, registered(group))} Known are {', '.join(sorted(registered(group)))}; "
            "or give module:Class.",
        )
    try:
        return entry.load() if entry else attrgetter(attribute)(import_module(module))
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise DefinitionError.of(
            "E-PLUGIN-002",
            f"plugin {name!r} cannot be imported",
            why,
            group,
            "Install what it needs, or check its name.",
        ) from error


def variants(cls: Any) -> tuple[str, Mapping[str, Any]]:
    """The field that a plugin's name may go on with, as in ``optuna:tpe``, and its value by spelling; else nothing."""
    field, values = getattr(cls, "variants", ("", {}))
    return field, values


def spelled(name: str, group: str) -> tuple[str, dict[str, Any]]:
    """A name and the fields that are part of it: ``optuna:tpe`` is ``optuna`` with ``sampler`` tpe.

    Raises
    ------
    DefinitionError
        When the plugin has variants, and this is none.

    """
    head, _, tail = name.partition(":")
    if not tail or head not in registered(group):
        return name, {}
    field, known = variants(resolve(head, group))
    if not field:
        return name, {}
    if tail not in known:
        raise DefinitionError.of("E-PLUGIN-001", f"no {field} {tail!r} of {head}", where=group,
                                 fix=f"{did_you_mean(tail, known)} Known are "
                                 f"{', '.join(f'{head}:{v}' for v in known)}.".strip())  # fmt: skip
    return head, {field: known[tail]}


def describe(plugin: Any, group: str) -> dict[str, Any]:
    """A plugin (an instance of a dataclass) as JSON: ``{"type": name, <its fields>}``.

    Raises
    ------
    DefinitionError
        When it is no dataclass instance, or its class cannot be found again by its name.

    """
    if isinstance(plugin, Mapping):
        return {str(k): _json(v, group) for k, v in plugin.items()}
    cls = plugin if isinstance(plugin, type) else type(plugin)
    reference = f"{cls.__module__}:{cls.__qualname__}"
    if (
        not dataclasses.is_dataclass(plugin)
        or isinstance(plugin, type)
        or "<" in reference
        or cls.__module__ == "__main__"
    ):
        raise DefinitionError.of(
            "E-PLUGIN-003",
            f"{reference} is no plugin",
            "it must be an instance of a frozen dataclass, defined at the top of an importable module",
            group,
            "Move the class to the top of a module beside the scan file and decorate it with @dataclass(frozen=True).",
        )
    name = next((n for n, e in registered(group).items() if e.value == reference), reference)
    fields = [f.name for f in dataclasses.fields(plugin) if f.init]
    return {"type": name} | {field: _json(getattr(plugin, field), group) for field in fields}


def _json(value: Any, group: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return describe(value, group)
    if isinstance(value, (tuple, list)):
        return [_json(item, group) for item in value]
    if isinstance(value, Mapping):
        return {str(k): _json(v, group) for k, v in value.items()}
    return value


def build(spec: Mapping[str, Any], group: str) -> Any:
    """The plugin that :func:`describe` gave the JSON of.

    Raises
    ------
    DefinitionError
        When its type is unknown or cannot be imported, or its class refuses the fields.

    """
    name, named = spelled(str(spec.get("type", "")), group)
    fields = named | {k: _value(v, group) for k, v in spec.items() if k != "type"}
    cls = resolve(name, group)
    try:
        return cls(**fields)
    except Exception as error:
        raise DefinitionError.of(
            "E-PLUGIN-004", f"{spec.get('type')} refuses its fields", str(error), group, "Change its fields."
        ) from error


def _value(value: Any, group: str) -> Any:
    if isinstance(value, Mapping):
        if isinstance(value.get("type"), str):
            return build(value, group)
        return {k: _value(v, group) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(_value(item, group) for item in value)
    return value
