"""From a YAML file to its definition: every mistake at once, each with its line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError, Problem, did_you_mean
from idds_core.model import Workflow
from idds_core.scripts import script_problems
from idds_core.yaml.nodes import MAX_BYTES, Node, parse, scalar
from idds_core.yaml.reading import Read, read

__all__ = ["load_text", "load_yaml"]

#: What to do, in the words of YAML, where the model's own advice is Python.
_FIXES = {
    "E-DEF-003": "Write space: with at least one parameter.",
    "E-DEF-011": "Give targets: [obs] to the learner or the scan.",
    "E-SPACE-008": "Write for example mass: {low: 200, high: 2000, unit: GeV}.",
    "E-STEP-001": "Write steps: with at least one.",
    "E-STEP-004": "Give one of run: and function:.",
    "E-STEP-009": "Let it write a JSON file and name it: result: limits.json.",
}


def load_yaml(file: Path, settings: Mapping[str, str] | None = None) -> Definition:
    """The definition in a YAML file.

    Parameters
    ----------
    file : Path
    settings : name -> text, instead of what ``parameters`` and ``paths`` say.

    Raises
    ------
    DefinitionError
        With every mistake, each with its line.

    """
    try:
        if file.stat().st_size > MAX_BYTES:
            return load_text(" " * (MAX_BYTES + 1), file)
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DefinitionError.of(
            "E-YAML-001", f"{file.name} is no text", str(error), file.name, "Save it as UTF-8."
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise DefinitionError.of(
            "E-FILE-002", f"{file.name} cannot be read", why, str(file), "Check the path."
        ) from error
    return load_text(text, file, settings, scripts=True)


def load_text(text: str, file: Path, settings: Mapping[str, str] | None = None, *, scripts: bool = False) -> Definition:
    """The definition in the text of a file; `file` says where functions and paths are found, and need not exist.

    With `scripts` the scripts that its commands start are looked for, too.
    """
    root = parse(text, file.name)
    found = read(root, file.resolve().parent, _settings(root, settings or {}, file))
    problems = list(found.problems)
    definition = None
    if found.definition is not None:
        try:
            definition = validate(found.definition)
            problems += script_problems(definition, file.resolve().parent) if scripts else []
        except DefinitionError as error:
            said = [p.where for p in problems]
            more = [p for p in error.problems if not any(_touch(p.where, place) for place in said)]
            # a file with one loop has one name, which the loop's own problem is about
            problems += [p for p in more if p.where != "name" or isinstance(found.definition, Workflow)]
    if problems or definition is None:
        told = [_located(p, found, file.name) for p in problems]
        raise DefinitionError.all(dict.fromkeys(p for _, p in sorted(told, key=lambda t: t[0])))
    return definition


def _touch(place: str, other: str) -> bool:
    """Whether one of two places is inside the other, or the same."""
    return (
        place == other or place.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{place}.", f"{place}["))
    )


def _located(problem: Problem, found: Read, name: str) -> tuple[int, Problem]:
    line = found.line(problem.where)
    fix = _FIXES.get(problem.code, problem.fix)
    return line, dataclasses.replace(problem, where=f"{name}:{line}", fix=fix)


# ---------------------------------------------------------------------- --set
def _settings(root: Node, given: Mapping[str, str], file: Path) -> dict[str, Any]:
    """What ``--set`` gives, read as the kind of value that the file has."""
    if not given:
        return {}
    known: dict[str, tuple[str, Any]] = {}
    for loop in _loops(root):
        for section in ("paths", "parameters"):
            node = loop.get(section)
            if node is not None and isinstance(node.value, dict):
                known |= {name: (section, value.plain()) for name, value in node.value.items()}
    unknown = [name for name in given if name not in known]
    if unknown:
        hints = [hint for name in unknown if (hint := did_you_mean(name, known))]
        raise DefinitionError.of(
            "E-FILE-006",
            f"--set {', '.join(unknown)} is no parameter of {file.name}",
            f"its parameters are {', '.join(known) or 'none'}",
            str(file),
            " ".join(hints) or "Use one of them, or add it under parameters:.",
        )
    return {name: _setting(name, text, *known[name], file) for name, text in given.items()}


def _loops(root: Node) -> list[dict[str, Node]]:
    """What may have parameters: the file itself, and the loops in its steps, at any depth."""
    if not isinstance(root.value, dict):
        return []
    found = [root.value]
    steps = root.value["steps"].value if "steps" in root.value else ()
    for item in steps.values() if isinstance(steps, dict) else steps if isinstance(steps, list) else ():
        if isinstance(item.value, dict) and "space" in item.value:
            found += _loops(item)
    return found


def _setting(name: str, text: str, section: str, default: Any, file: Path) -> Any:
    if section == "paths":
        return str(Path(text).expanduser().resolve())
    if isinstance(default, str):
        return text
    value = scalar(text)
    if isinstance(default, (list, dict)):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, (int, float)) and not isinstance(value, bool),
    }.get(type(default), default is None or type(value) is type(default))
    if not fits:
        why = f"{name} is {type(default).__name__}"
        what = f"--set {name}={text} cannot be read"
        raise DefinitionError.of("E-FILE-010", what, why, str(file), "Give such a value.")
    return float(value) if isinstance(default, float) else value
