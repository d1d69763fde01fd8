"""A definition as one validated document: all its mistakes at once, each with where it is and how to mend it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from idds_core.document import plain, shape_problems, workflow_of
from idds_core.errors import DefinitionError, IddsError, Problem
from idds_core.history import canonical_json
from idds_core.model import Loop, Workflow
from idds_core.plugins import CONDITIONS, LEARNERS, build, describe
from idds_core.space import Space
from idds_core.step_problems import body_problems, name_problems, reserved_problems

__all__ = ["Definition", "validate"]

_TARGET = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")


@dataclass(frozen=True)
class Definition:
    """A validated workflow: the document that is stored, and the model read from it.

    The order of the document is the user's: it is the order of the parameters, so of the coordinates of the unit cube.
    """

    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the workflow."""
        return str(self.document["name"])

    @cached_property
    def workflow(self) -> Workflow:
        """The model; learner and condition are JSON descriptions.

        Raises
        ------
        DefinitionError
            When the document, read from somewhere, has not the shape of a definition.

        """
        problems = shape_problems(self.document)
        if problems:
            raise DefinitionError.all(problems)
        return workflow_of(self.document)

    @cached_property
    def text(self) -> str:
        """The document as JSON text; the same definition gives the same text."""
        return json.dumps(self.document, separators=(",", ":"), allow_nan=False)

    def loop(self, name: str) -> Loop:
        """The loop of that name."""
        return next(loop for loop in self.workflow.loops if loop.name == name)


def validate(given: Loop | Workflow) -> Definition:
    """The definition of what a user wrote.

    Raises
    ------
    DefinitionError
        With every mistake found.

    """
    if not isinstance(given, (Loop, Workflow)):
        raise DefinitionError.of(
            "E-DEF-002", f"{type(given).__name__} is no definition", f"{given!r}"[:80], fix="Give a Loop or a Workflow."
        )
    workflow = Workflow.of(given)
    loops = workflow.loops if isinstance(workflow.loops, (list, tuple)) else ()
    problems = name_problems("the workflow", workflow.name, "name")
    if len(loops) != 1 or not all(isinstance(loop, Loop) for loop in loops):
        problems.append(
            Problem(
                "E-DEF-002",
                f"the workflow has {len(loops)} loops",
                "exactly one is supported",
                "loops",
                "Give exactly one Loop.",
            )
        )
    documents = [_loop_document(loop, problems) for loop in loops if isinstance(loop, Loop)]
    document = {"protocol": 1, "name": workflow.name, "loops": documents}
    problems += _uncovered(shape_problems(document), problems)
    if problems:
        raise DefinitionError.all(dict.fromkeys(problems))
    return Definition(_normal(document))


def _normal(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with each number in its field's type: 400 and 400.0 are the same definition."""
    read = workflow_of(document)
    loops = [{**plain(loop), "learner": loop.learner, "until": loop.until} for loop in read.loops]
    normal: dict[str, Any] = json.loads(json.dumps({**document, "loops": loops}, allow_nan=False))
    return normal


def _uncovered(shapes: Sequence[Problem], known: Sequence[Problem]) -> list[Problem]:
    """Problems of shape at places of which nothing better is said."""
    places = [p.where for p in known if p.where]
    return [s for s in shapes if not any(_within(s.where, p) or _within(p, s.where) for p in places)]


def _within(place: str, other: str) -> bool:
    return place == other or place.startswith((f"{other}.", f"{other}["))


# ---------------------------------------------------------------------- the loop
def _loop_document(loop: Loop, problems: list[Problem]) -> dict[str, Any]:
    """The loop as a document; what is wrong with it is added to `problems`."""
    where = f"loops.{loop.name}"
    problems += name_problems("the loop", loop.name, f"{where}.name")
    if isinstance(loop.space, Space):
        problems += [dataclasses.replace(p, where=f"{where}.{p.where}") for p in loop.space.problems()]
    else:
        problems.append(
            Problem("E-DEF-003", "the loop has no space", f"{loop.space!r}"[:80], f"{where}.space", "Give a Space.")
        )
    learner = _plugin(loop.learner, LEARNERS, "ask", f"{where}.learner", problems)
    condition = _plugin(loop.until, CONDITIONS, "check", f"{where}.until", problems)
    if condition is not None and not getattr(condition, "bounded", lambda: True)():
        problems.append(
            Problem(
                "E-DEF-010",
                "nothing bounds the loop",
                "its conditions may never be met",
                f"{where}.until",
                "Add | MaxPoints(200) or another budget.",
            )
        )
    targets = loop.targets or getattr(learner, "targets", ())
    targets = [targets] if isinstance(targets, str) else targets
    problems += _target_problems(targets, learner is not None, f"{where}.targets")
    problems += _count_problems(loop, where)
    problems += _parameter_problems(loop, where)
    problems += reserved_problems(loop, where)
    problems += body_problems(loop, where)
    return {
        **plain(loop),
        "learner": _described(loop.learner, LEARNERS, learner, f"{where}.learner", problems),
        "until": _described(loop.until, CONDITIONS, condition, f"{where}.until", problems),
        "targets": list(targets) if isinstance(targets, (list, tuple)) else targets,
    }


def _plugin(value: Any, group: str, method: str, where: str, problems: list[Problem]) -> Any:
    """The plugin as it will be built again from its JSON, or None with the reason in `problems`."""
    kind = "learner" if group == LEARNERS else "condition"
    try:
        plugin = build(describe(value, group), group)
    except IddsError as error:
        problems += [dataclasses.replace(p, where=where) for p in error.problems]
        return None
    if not callable(getattr(plugin, method, None)):
        problems.append(
            Problem(
                "E-DEF-004", f"{type(plugin).__name__} is no {kind}", f"it has no {method}()", where, f"Give a {kind}."
            )
        )
        return None
    own: Callable[[], list[str]] = getattr(plugin, "problems", list)
    try:
        texts = own()
    except Exception as error:  # noqa: BLE001 - a field of a kind that its own check does not expect
        texts = [f"{type(error).__name__}: {error}"]
    problems += [
        Problem("E-DEF-005", f"the {kind} {type(plugin).__name__} cannot work", text, where, "Change its fields.")
        for text in texts
    ]
    return None if texts else plugin


def _described(value: Any, group: str, plugin: Any, where: str, problems: list[Problem]) -> dict[str, Any]:
    if plugin is None:
        return {"type": ""}
    # JSON given by hand may leave defaults out; the document never does
    whole = isinstance(value, Mapping) and dataclasses.is_dataclass(plugin)
    document = describe(plugin if whole else value, group)
    try:
        canonical_json(document)
    except (TypeError, ValueError) as error:
        problems.append(
            Problem(
                "E-DEF-012",
                f"{document['type']} cannot be written as JSON",
                str(error),
                where,
                "Use finite numbers, strings, lists and dictionaries only.",
            )
        )
        return {"type": ""}
    return document


def _target_problems(targets: Any, expected: bool, where: str) -> Iterator[Problem]:
    fine = isinstance(targets, (list, tuple)) and all(isinstance(t, str) and _TARGET.fullmatch(t) for t in targets)
    why = ""
    if not fine:
        why = f"{targets!r} are no names"
    elif len(set(targets)) != len(targets):
        why = f"{', '.join(targets)} repeat a name"
    elif any(f"{t}_sigma" in targets for t in targets):
        why = "a target's name with _sigma is its standard deviation"
    elif not targets and expected:
        why = "an observation needs at least one"
    if why:
        yield Problem(
            "E-DEF-011", "no proper target is named", why, where, 'Give targets=["obs"] to the learner or the loop.'
        )


def _count_problems(loop: Loop, where: str) -> Iterator[Problem]:
    limits = {"batch": 10_000, "first": 100_000, "hold_after": 1_000_000}
    for name, limit in limits.items():
        value = getattr(loop, name)
        if not (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limit):
            yield Problem(
                "E-DEF-006",
                f"{name} is no count",
                f"{value!r} is not a whole number from 1 to {limit}",
                f"{where}.{name}",
                "Give a whole number.",
            )
    if loop.mode != "batch":
        yield Problem("E-DEF-007", f"unknown mode {loop.mode!r}", where=f"{where}.mode", fix="Use 'batch'.")


def _parameter_problems(loop: Loop, where: str) -> Iterator[Problem]:
    if not isinstance(loop.parameters, Mapping):
        yield Problem(
            "E-DEF-008",
            "the parameters are no dictionary",
            f"{loop.parameters!r}"[:80],
            f"{where}.parameters",
            "Give name and value of each.",
        )
        return
    for name, value in loop.parameters.items():
        try:
            if not isinstance(name, str):
                raise TypeError(f"its name is {name!r}")
            canonical_json(value)
        except (TypeError, ValueError, RecursionError) as error:
            yield Problem(
                "E-DEF-008",
                f"parameter {name} is no JSON value",
                str(error),
                f"{where}.parameters.{name}",
                "Use finite numbers, strings, lists.",
            )
        if isinstance(loop.space, Space) and name in loop.space.parameters:
            yield Problem(
                "E-DEF-009",
                f"{name} is a parameter of the definition and of the space",
                where=f"{where}.parameters.{name}",
                fix="Rename one of them.",
            )
