"""From the nodes of a YAML file to the model that Python builds, with the line of every place."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from idds_core.errors import Problem, did_you_mean
from idds_core.model import Loop, Retry, Step, Workflow, parse_seconds
from idds_core.parameters import KINDS, Parameter
from idds_core.plugins import CONDITIONS, LEARNERS, PRUNERS
from idds_core.space import Space
from idds_core.yaml.functions import Functions, NotFoundError
from idds_core.yaml.nodes import Node
from idds_core.yaml.plugin_nodes import PluginReader

__all__ = ["LOOP_KEYS", "SIGNATURE", "STEP_KEYS", "WORKFLOW_KEYS", "Read", "is_workflow", "read"]

SIGNATURE = ("arguments", "optional", "context", "returns_file")
"""What is known of a function by its signature; written out, the function is not looked at."""

_BUILT = ("name", "space", "body", "learner", "until", "parameters")
_REST = tuple(f.name for f in dataclasses.fields(Loop) if f.name not in _BUILT)
LOOP_KEYS = ("name", "space", "constraints", "paths", "parameters", "steps", "learner", "until", *_REST)
WORKFLOW_KEYS = ("name", "paths", "parameters", "steps")
STEP_KEYS = tuple(f.name for f in dataclasses.fields(Step) if f.name != "name")
_NEEDED = {
    "name": "my-scan",
    "space": "{mass: {low: 200, high: 2000, unit: GeV}}",
    "steps": "{simulate: {run: ./mc.sh {mass} {seed}, result: limits.json}}",
    "learner": "{level-set: {targets: [cls], level: 0.05}}",
    "until": "BoundaryConverged(0.01) | MaxPoints(150)",
}


@dataclass
class Read:
    """What a file says: the model as far as it can be read, what is wrong already, and the line of each place."""

    definition: Loop | Workflow | None = None
    problems: list[Problem] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    def line(self, where: str) -> int:
        """The line of a place, or of the nearest one above it."""
        place = where
        while place and place not in self.lines:
            place = place[: max(place.rfind("."), place.rfind("["))] if "." in place or "[" in place else ""
        return self.lines.get(place, 1)


def read(root: Node, folder: Path, values: Mapping[str, Any]) -> Read:
    """The model of a file's nodes.

    Parameters
    ----------
    root : what the file holds.
    folder : where it lies; functions and relative paths are found from there.
    values : parameters of the definition that replace those of the file.

    """
    reader = _Reader(folder, values)
    if not isinstance(root.value, dict):
        reader.say("E-YAML-005", "the file is no scan", "it is not made of 'key: value'", "", "Begin with 'name:'.")
    elif is_workflow(root):
        reader.found.definition = reader.workflow(root)
    else:
        reader.found.definition = reader.loop(root)
    return reader.found


def is_workflow(root: Node) -> bool:
    """Whether a file has steps and loops one after the other, not a loop itself."""
    return "steps" in root.value and not set(root.value) & {"space", "learner", "until"}


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _record_in(hint: Any) -> type | None:
    """The dataclass that a field takes, if it takes one."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return next((k for k in kinds if isinstance(k, type) and dataclasses.is_dataclass(k)), None)


class _Reader:
    """One file."""

    def __init__(self, folder: Path, values: Mapping[str, Any]) -> None:
        self.found = Read()
        self._folder = folder
        self._given = values
        self._functions = Functions(folder)

    def say(self, code: str, what: str, why: str, where: str, fix: str) -> None:
        """One more mistake."""
        self.found.problems.append(Problem(code, what, why, where, fix))

    def _at(self, node: Node, where: str) -> None:
        """The lines of a value and of all below it."""
        for place, line in node.places(where):
            self.found.lines.setdefault(place, line)

    def _unknown(self, node: Node, known: tuple[str, ...], what: str, where: str) -> None:
        for key, value in node.value.items():
            if key not in known:
                place = f"{where}.{key}" if where else key
                self.found.lines[place] = value.line
                fix = did_you_mean(key, known) or f"Known are {', '.join(known)}."
                self.say("E-YAML-003", f"{what} has no key {key!r}", "", place, fix)

    def _mapping(self, node: Node, what: str, where: str, fix: str) -> dict[str, Node]:
        if isinstance(node.value, dict):
            return node.value
        self.say("E-YAML-005", f"{what} cannot be read", "it is not made of 'key: value'", where, fix)
        return {}

    # ------------------------------------------------------------------ workflow and loop
    def workflow(self, root: Node) -> Workflow:
        """Steps and loops one after the other; an element with a space is a loop."""
        self._at(root, "")
        self._unknown(root, WORKFLOW_KEYS, "a workflow", "")
        given = root.value
        self.found.lines["body"] = given["steps"].line
        name = given.get("name")
        if name is None:
            self.say("E-YAML-004", "name is missing", "", "name", "Write name: my-workflow.")
        else:
            self.found.lines["name"] = name.line
        parameters = self._parameters(given, "")
        return Workflow("" if name is None else name.plain(), self._steps(given["steps"], ""), parameters)

    def loop(self, node: Node, name: Any = None, outer: str = "") -> Loop:
        """A loop, with None for what is missing; inside of something its name is given with it."""
        given: dict[str, Node] = node.value
        line = given["name"].line if "name" in given else node.line
        name = name if name is not None else given["name"].plain() if "name" in given else "scan"
        where = f"{outer.strip('.')}.body.{name}".lstrip(".")
        self.found.lines[where] = line
        if not outer:
            self.found.lines.setdefault("name", line)
        for key, value in given.items():
            self._at(value, f"{where}.{ {'steps': 'body', 'constraints': 'space.constraints'}.get(key, key) }")
        self._unknown(node, LOOP_KEYS, "a scan", where)
        for key, example in _NEEDED.items():
            if key not in given and not (key == "name" and outer):
                place = f"{where}.{'body' if key == 'steps' else key}"
                self.say("E-YAML-004", f"{key} is missing", "", place, f"For example: {key}: {example}")
        parameters = self._parameters(given, where)
        plugins = PluginReader(self.found.problems, parameters, self._functions.module)
        rest = {key: self._field(Loop, key, given[key], where) for key in _REST if key in given and key != "prune"}
        if "prune" in given:
            rest["prune"] = plugins.read(given["prune"], PRUNERS, f"{where}.prune")
        return Loop(
            name=name,
            space=self._space(given, where),
            body=self._steps(given["steps"], where) if "steps" in given else (),
            learner=plugins.read(given["learner"], LEARNERS, f"{where}.learner") if "learner" in given else None,
            until=plugins.read(given["until"], CONDITIONS, f"{where}.until") if "until" in given else None,
            parameters=parameters,
            **rest,
        )

    def _parameters(self, given: Mapping[str, Node], where: str) -> dict[str, Any]:
        """Parameters of the definition; paths are found from the file's folder and become absolute."""
        found: dict[str, Any] = {}
        if "paths" in given:
            paths = self._mapping(
                given["paths"], "paths", _below(where, "paths"), "For example: paths: {data: ../data}."
            )
            for name, node in paths.items():
                if isinstance(node.value, str):
                    found[name] = str((self._folder / Path(node.value).expanduser()).resolve())
                else:
                    place = _below(where, f"paths.{name}")
                    self.say("E-YAML-005", f"path {name} is no text", repr(node.plain()), place, "Put it in quotes.")
                self.found.lines.setdefault(_below(where, f"parameters.{name}"), node.line)
        if "parameters" in given:
            fix = "For example: parameters: {events: 1000}."
            for name, node in self._mapping(
                given["parameters"], "parameters", _below(where, "parameters"), fix
            ).items():
                if name in found:
                    place = _below(where, f"parameters.{name}")
                    self.say("E-YAML-002", f"{name} is a path and a parameter", "", place, "Rename one of them.")
                found[name] = node.plain()
        return {**found, **{name: value for name, value in self._given.items() if name in found}}

    # ------------------------------------------------------------------ space
    def _space(self, given: Mapping[str, Node], where: str) -> Space:
        parameters: dict[str, Any] = {}
        fix = "For example: space: {mass: {low: 200, high: 2000, unit: GeV}}."
        if "space" in given:
            for name, node in self._mapping(given["space"], "the space", f"{where}.space", fix).items():
                parameters[name] = self._parameter(name, node, f"{where}.space.{name}")
        texts = given["constraints"].plain() if "constraints" in given else ()
        if not isinstance(texts, (list, tuple, str)):
            fix = "For example: constraints: [m_zp > m_a + 125]."
            self.say("E-YAML-005", "the constraints cannot be read", repr(texts), f"{where}.space.constraints", fix)
            texts = ()
        return Space(parameters, constraints=texts)

    def _parameter(self, name: str, node: Node, where: str) -> Any:
        """``{low: 1, high: 2}``, ``{kind: log, ...}``, ``{log: [1, 2]}``, ``[1, 2]``, ``[red, green]``."""
        value = node.value
        if isinstance(value, list):
            if name in ("constraints", "parameters"):
                self.say("E-YAML-005", f"{name} is no parameter", f"{name} stands beside space, not in it", where,
                         f"Move {name} to the left.")  # fmt: skip
            words = value and all(isinstance(item.value, str) for item in value)
            value = {"categorical" if words else "real": node}
        if not isinstance(value, dict):
            self.say("E-YAML-005", f"{name} is no parameter", repr(node.plain())[:60], where,
                     "For example: {low: 200, high: 2000, unit: GeV}.")  # fmt: skip
            return None
        short = [kind for kind in KINDS if kind in value]
        fields = {k: v for k, v in value.items() if k not in ("kind", *short)}
        named = value["kind"].plain() if "kind" in value else (short or ["real"])[0]
        cls = KINDS.get(named) if isinstance(named, str) else None
        if cls is None or len(short) + ("kind" in value) > 1:
            hint = did_you_mean(named, KINDS) or f"Use one of {', '.join(KINDS)}."
            self.say("E-YAML-005", f"the kind of {name} is not clear", repr(named), f"{where}.kind", hint)
            return None
        if short:
            fields |= self._spread(cls, value[short[0]])
        return self._made(cls, fields, f"{named} parameter {name}", where)

    @staticmethod
    def _spread(kind: type[Parameter], node: Node) -> dict[str, Node]:
        """The fields of ``log: [0.1, 2]``: numbers in the order of the fields, or the whole list for choices."""
        names = [f.name for f in dataclasses.fields(kind)]
        if names[0] == "choices" or not isinstance(node.value, list):
            return {names[0]: node}
        return dict(zip(["low", "high", *(f"number {i}" for i in range(3, 10))], node.value, strict=False))

    def _made(self, cls: Any, given: Mapping[str, Node], what: str, where: str) -> Any:
        """An instance of a dataclass of the model, from its fields."""
        fields = {f.name: f for f in dataclasses.fields(cls)}
        self._unknown(Node(dict(given), 0), tuple(n for n in fields if n != "kind"), f"the {what}", where)
        missing = dataclasses.MISSING
        needed = [n for n, f in fields.items() if f.default is missing and f.default_factory is missing]
        for name in (n for n in needed if n not in given):
            self.say("E-YAML-004", f"the {what} has no {name}", "", where, f"Write {name}: ...")
        values = {n: self._field(cls, n, node, where) for n, node in given.items() if n in fields}
        return cls(**{**dict.fromkeys(needed), **values})

    def _field(self, cls: Any, name: str, node: Node, where: str) -> Any:
        """A field's value, in the way its type is written in YAML."""
        hint = _hints(cls)[name]
        record = _record_in(hint)
        if record is Retry and isinstance(node.value, int) and not isinstance(node.value, bool):
            return Retry(attempts=node.value)
        if record is not None and isinstance(node.value, dict):
            return self._made(record, node.value, name, f"{where}.{name}")
        value = node.plain()
        if hint is record and record is not None:
            names = ", ".join(f.name for f in dataclasses.fields(record))
            why = f"{value!r} is neither a number nor made of 'key: value'" if record is Retry else f"{value!r}"[:60]
            self.say("E-YAML-005", f"{name} cannot be read", why, f"{where}.{name}", f"Its keys are {names}.")
        if (cls, name) == (Retry, "wait") and isinstance(value, str):
            with contextlib.suppress(ValueError):
                return parse_seconds(value)
        if isinstance(value, list) and "tuple" in str(hint):
            return tuple(value)
        return value

    # ------------------------------------------------------------------ steps
    def _steps(self, node: Node, where: str) -> tuple[Step | Loop, ...]:
        """Steps in order: ``name: {...}``, or a list of ``{name: ..., ...}``."""
        if isinstance(node.value, dict):
            return tuple(self._element(name, item, where) for name, item in node.value.items())
        if not isinstance(node.value, list):
            fix = f"For example: steps: {_NEEDED['steps']}"
            self.say("E-YAML-005", "the steps cannot be read", "", _below(where, "body"), fix)
            return ()
        found = []
        for i, item in enumerate(node.value):
            if not (isinstance(item.value, dict) and "name" in item.value):
                self.say("E-YAML-004", "a step has no name", "", _below(where, f"body[{i}]"), "Write - name: simulate.")
                continue
            rest = Node({k: v for k, v in item.value.items() if k != "name"}, item.line)
            found.append(self._element(item.value["name"].plain(), rest, where))
        return tuple(found)

    def _element(self, name: Any, node: Node, outer: str) -> Step | Loop:
        is_loop = isinstance(node.value, dict) and "space" in node.value
        return self.loop(node, name, outer or ".") if is_loop else self._step(name, node, outer)

    def _step(self, name: Any, node: Node, loop: str) -> Step:
        where = _below(loop, f"body.{name}")
        self._at(node, where)
        given = node.value
        if isinstance(given, str):
            given = {"function" if _is_reference(given) else "run": node}
        if not isinstance(given, dict):
            self.say("E-YAML-005", f"step {name} cannot be read", "", where, "For example: {run: ./mc.sh {mass}}.")
            return Step(name)
        self._unknown(Node(given, 0), STEP_KEYS, f"step {name}", where)
        values = {k: self._field(Step, k, v, where) for k, v in given.items() if k in STEP_KEYS}
        if "run" in values:
            values["run"] = self._tokens(values["run"], name, where)
        reference = values.get("function")
        if isinstance(reference, str) and not any(key in values for key in SIGNATURE):
            try:
                return dataclasses.replace(
                    self._functions.step(reference, name), **{k: v for k, v in values.items() if k != "function"}
                )
            except NotFoundError as error:
                self.say("E-YAML-006", f"the function of step {name} cannot be found", str(error), f"{where}.function",
                         error.hint)  # fmt: skip
        return Step(name, **values)

    def _tokens(self, value: Any, name: Any, where: str) -> Any:
        """A command line, split as a shell does it."""
        if isinstance(value, str):
            try:
                return tuple(shlex.split(value))
            except ValueError as error:
                fix = "Close the quote, or give a list of words."
                self.say("E-STEP-006", f"the command of step {name} cannot be read", str(error), f"{where}.run", fix)
                return ("?",)
        if isinstance(value, tuple):
            return tuple(str(v) if isinstance(v, (int, float)) and not isinstance(v, bool) else v for v in value)
        return value


def _below(where: str, place: str) -> str:
    return f"{where}.{place}" if where else place


def _is_reference(text: str) -> bool:
    """Whether a step given as text alone is ``module:function``, not a command line."""
    module, colon, name = text.partition(":")
    parts = [*module.split("."), *name.split(".")]
    return bool(colon) and all(part.isidentifier() for part in parts)
