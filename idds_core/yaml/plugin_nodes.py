"""Learners and conditions as they are written in YAML -> instances, built just as Python builds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from idds_core.errors import IddsError, Problem, did_you_mean
from idds_core.plugins import CONDITIONS, LEARNERS, PRUNERS, build, registered, resolve, spelled
from idds_core.yaml.conditions import ConditionError, class_names, fields_of, parse_condition
from idds_core.yaml.nodes import Node

__all__ = ["PluginReader"]

_KINDS = {LEARNERS: "learner", CONDITIONS: "condition", PRUNERS: "rule"}


class PluginReader:
    """Reads the plugins of one file.

    Parameters
    ----------
    problems : what is wrong is added here.
    values : what names in a condition's text stand for.
    module : imports a module of the file's folder, for ``module:Class``.

    """

    def __init__(self, problems: list[Problem], values: Mapping[str, Any], module: Callable[[str], Any]) -> None:
        self._problems = problems
        self._values = values
        self._module = module

    def read(self, node: Node, group: str, where: str) -> Any:
        """The plugin; its JSON when it is no dataclass; None when it cannot be read, with the reason in `problems`."""
        before = len(self._problems)
        spec = self._spec(node, group, where)
        if spec is None or len(self._problems) > before:
            return None
        try:
            plugin = build(spec, group)
        except IddsError as error:
            self._problems += [dataclasses.replace(p, where=where) for p in error.problems]
            return None
        return plugin if dataclasses.is_dataclass(plugin) else spec

    def _spec(self, node: Node, group: str, where: str) -> dict[str, Any] | None:
        kind, value = _KINDS[group], node.value
        if isinstance(value, str) and group == CONDITIONS:
            return self._text(value, where)
        if isinstance(value, str):
            return self._fields(value, {}, group, where)
        if isinstance(value, dict) and "type" in value:
            given = value["type"].value
            rest = {k: v for k, v in value.items() if k != "type"}
            if isinstance(given, str):
                return self._fields(given, rest, group, where)
            self._say("E-YAML-005", f"the {kind} has no proper type", repr(given), f"{where}.type", "Name it.")
            return None
        if isinstance(value, dict) and len(value) == 1:
            (name, inner), *_ = value.items()
            return self._fields(name, inner, group, f"{where}.{name}")
        example = "level-set: {targets: [cls], level: 0.05}" if group == LEARNERS else "MaxPoints(150)"
        self._say("E-YAML-005", f"the {kind} cannot be read", "", where, f"For example: {example}.")
        return None

    def _text(self, text: str, where: str) -> dict[str, Any] | None:
        try:
            return parse_condition(text, self._values)
        except ConditionError as error:
            for why, fix in error.mistakes:
                self._say("E-YAML-007", "the condition cannot be read", why, where, fix)
            return None
        except IddsError as error:
            self._problems += [dataclasses.replace(p, where=where) for p in error.problems]
            return None

    def _fields(self, name: str, given: Any, group: str, where: str) -> dict[str, Any] | None:
        """``name`` with its fields: a mapping of them, the first one alone, or nothing."""
        try:
            name, named = self._spelled(name, group)
        except IddsError as error:
            self._problems += [dataclasses.replace(p, where=where) for p in error.problems]
            return None
        cls, known = self._class(name, group, where)
        if cls is None:
            return None
        fields = {key: needed for key, needed in fields_of(cls).items() if key not in named}
        if isinstance(given, Node):
            if isinstance(given.value, dict):
                given = given.value
            elif given.value is None:
                given = {}
            else:
                given = {next(iter(fields), "value"): given}
        for key in [k for k in given if fields and k not in fields]:
            why, fix = f"its fields are {', '.join(fields)}", did_you_mean(key, fields)
            self._say("E-YAML-003", f"{name} has no field {key}", why, f"{where}.{key}", fix or "Use one of them.")
        for key in [k for k, needed in fields.items() if needed and k not in given]:
            self._say("E-YAML-004", f"{name} needs {key}", "", where, f"Write {key}: ...")
        return {
            "type": known,
            **named,
            **{key: self._value(key, value, group, f"{where}.{key}") for key, value in given.items()},
        }

    def _value(self, key: str, node: Node, group: str, where: str) -> Any:
        if group == CONDITIONS and key == "conditions":  # of any, all, not
            members = node.value if isinstance(node.value, list) else [node]
            return [self._spec(member, group, f"{where}[{i}]") for i, member in enumerate(members)]
        return node.plain()

    @staticmethod
    def _spelled(name: str, group: str) -> tuple[str, dict[str, Any]]:
        """``optuna:tpe``, and so ``Optuna:tpe``, is the plugin and the field that its name goes on with."""
        head, colon, tail = name.partition(":")
        known = class_names(group).get(head, head.replace("-", "_"))
        return spelled(f"{known}:{tail}", group) if colon and known in registered(group) else (name, {})

    def _class(self, name: str, group: str, where: str) -> tuple[Any, str]:
        """The class and its registered name; ``level-set``, ``level_set`` and ``LevelSet`` are the same one."""
        known = class_names(group).get(name, name.replace("-", "_"))
        if known not in registered(group):
            known = name
        if known not in registered(group) and ":" not in name:
            names = [n.replace("_", "-") for n in registered(group)]
            hint = did_you_mean(name.replace("_", "-"), names) or f"Known are {', '.join(sorted(names))}"
            fix = f"{hint.rstrip('?')}{'?' if hint.endswith('?') else '.'} Your own is module:Class."
            self._say("E-PLUGIN-001", f"there is no {_KINDS[group]} {name}", "", where, fix)
            return None, known
        try:
            if known not in registered(group):
                self._module(known.partition(":")[0])
            return resolve(known, group), known
        except IddsError as error:
            self._problems += [dataclasses.replace(p, where=where) for p in error.problems]
        except ValueError as error:  # the module cannot be imported
            fix = getattr(error, "hint", "")
            self._say("E-PLUGIN-002", f"{name} cannot be imported", str(error), where, fix)
        return None, known

    def _say(self, code: str, what: str, why: str, where: str, fix: str) -> None:
        self._problems.append(Problem(code, what, why, where, fix))
