"""A definition as one validated document: all its mistakes at once, each with where it is and how to mend it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from idds_core.binding import placeholders
from idds_core.errors import DefinitionError, IddsError, Problem
from idds_core.history import canonical_json
from idds_core.model import Loop, Requirements, Retry, Step, Workflow
from idds_core.plugins import CONDITIONS, LEARNERS, build, describe
from idds_core.space import Space

__all__ = ["Definition", "validate"]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_RESERVED = ("it", "p", "job", "a")


@dataclass(frozen=True)
class Definition:
    """A validated workflow: the document that is stored, and the model read from it."""

    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the workflow."""
        return str(self.document["name"])

    @cached_property
    def workflow(self) -> Workflow:
        """The model; learner and condition are JSON descriptions."""
        return Workflow(self.name, tuple(_loop(data) for data in self.document["loops"]))

    @cached_property
    def text(self) -> str:
        """The document as canonical JSON."""
        return canonical_json(self.document)

    def loop(self, name: str) -> Loop:
        """The loop of that name."""
        return next(loop for loop in self.workflow.loops if loop.name == name)


def _step(data: Mapping[str, Any]) -> Step:
    fields = dict(data)
    fields["requires"], fields["retry"] = Requirements(**data["requires"]), Retry(**data["retry"])
    for name in ("arguments", "optional", "run"):
        fields[name] = tuple(data[name]) if data[name] is not None else None
    return Step(**fields)


def _loop(data: Mapping[str, Any]) -> Loop:
    fields = dict(data)
    fields["space"] = Space.from_json(data["space"])
    fields["body"] = tuple(_step(step) for step in data["body"])
    fields["targets"] = tuple(data["targets"])
    return Loop(**fields)


def validate(given: Loop | Workflow) -> Definition:
    """The definition of what a user wrote.

    Raises
    ------
    DefinitionError
        With every mistake found.

    """
    workflow = Workflow.of(given)
    problems: list[Problem] = []
    documents = [_loop_document(loop, problems) for loop in workflow.loops]
    problems += _name_problems("the workflow", workflow.name, "name")
    if len(workflow.loops) != 1:
        problems.append(Problem("E-DEF-002", f"the workflow has {len(workflow.loops)} loops", "one is supported",
                                "loops", "Give exactly one loop."))  # fmt: skip
    if problems:
        raise DefinitionError.all(_unique(problems))
    document = {"protocol": 1, "name": workflow.name, "loops": documents}
    return Definition(json.loads(canonical_json(document)))


def _unique(problems: list[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))


def _name_problems(what: str, name: object, where: str) -> list[Problem]:
    if isinstance(name, str) and _NAME.fullmatch(name) and name not in _RESERVED:
        return []
    return [Problem("E-DEF-001", f"{what} has no proper name", f"{name!r}", where,
                    "Use up to 40 lower-case letters, digits, - and _, starting with a letter.")]  # fmt: skip


def _loop_document(loop: Loop, problems: list[Problem]) -> dict[str, Any]:
    """The loop as JSON; what is wrong with it is added to `problems`."""
    where = f"loops.{loop.name}"
    problems += _name_problems("the loop", loop.name, f"{where}.name")
    space_fine = isinstance(loop.space, Space)
    if space_fine:
        problems += loop.space.problems()
    else:
        problems.append(Problem("E-DEF-003", "the loop has no space", f"{loop.space!r}", f"{where}.space",
                                "Give a Space."))  # fmt: skip
    learner = _plugin(loop.learner, LEARNERS, "ask", f"{where}.learner", problems)
    condition = _plugin(loop.until, CONDITIONS, "check", f"{where}.until", problems)
    if condition is not None and not getattr(condition, "bounded", lambda: True)():
        problems.append(Problem("E-DEF-010", "nothing bounds the loop", "its conditions may never be met",
                                f"{where}.until", "Add | MaxPoints(200) or another budget."))  # fmt: skip
    targets = tuple(loop.targets) or tuple(getattr(learner, "targets", ()))
    problems += _count_problems(loop, where)
    problems += _parameter_problems(loop, where)
    problems += _body_problems(loop, where)
    if not targets and learner is not None:
        problems.append(Problem("E-DEF-011", "no target is named", "an observation needs at least one",
                                f"{where}.targets", 'Give targets=["obs"] to the learner or the loop.'))  # fmt: skip
    try:
        return {
            "name": loop.name,
            "space": loop.space.to_json() if space_fine and not problems else {},
            "body": [_step_document(step) for step in loop.body if isinstance(step, Step)],
            "learner": describe(loop.learner, LEARNERS) if learner is not None else {},
            "until": describe(loop.until, CONDITIONS) if condition is not None else {},
            "batch": loop.batch,
            "first": loop.first,
            "targets": list(targets),
            "parameters": dict(loop.parameters),
            "mode": loop.mode,
            "hold_after": loop.hold_after,
        }
    except (TypeError, ValueError, AttributeError) as error:
        problems.append(Problem("E-DEF-012", "the loop cannot be written as JSON", str(error), where,
                                "Use numbers, strings, lists and dictionaries only."))  # fmt: skip
        return {}


def _step_document(step: Step) -> dict[str, Any]:
    document = {f.name: getattr(step, f.name) for f in dataclasses.fields(Step)}
    document["requires"] = {f.name: getattr(step.requires, f.name) for f in dataclasses.fields(Requirements)}
    document["retry"] = {f.name: getattr(step.retry, f.name) for f in dataclasses.fields(Retry)}
    return document


def _plugin(value: Any, group: str, method: str, where: str, problems: list[Problem]) -> Any:
    """The plugin as it will be built again from its JSON, or None with the reason in `problems`."""
    kind = "learner" if group == LEARNERS else "condition"
    try:
        plugin = build(describe(value, group), group)
    except IddsError as error:
        problems += [dataclasses.replace(p, where=where) for p in error.problems]
        return None
    if not callable(getattr(plugin, method, None)):
        problems.append(Problem("E-DEF-004", f"{type(plugin).__name__} is no {kind}", f"it has no {method}()", where,
                                f"Give a {kind}."))  # fmt: skip
        return None
    own: Callable[[], list[str]] | None = getattr(plugin, "problems", None)
    for text in own() if own else []:
        problems.append(Problem("E-DEF-005", f"the {kind} {type(plugin).__name__} cannot work", text, where,
                                "Change its fields."))  # fmt: skip
    return plugin


def _count_problems(loop: Loop, where: str) -> Iterator[Problem]:
    limits = {"batch": 10_000, "first": 100_000, "hold_after": 1_000_000}
    for name, limit in limits.items():
        value = getattr(loop, name)
        if not (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limit):
            yield Problem("E-DEF-006", f"{name} is no count", f"{value!r} is not a whole number from 1 to {limit}",
                          f"{where}.{name}", "Give a whole number.")  # fmt: skip
    if loop.mode != "batch":
        yield Problem("E-DEF-007", f"unknown mode {loop.mode!r}", where=f"{where}.mode", fix="Use 'batch'.")


def _parameter_problems(loop: Loop, where: str) -> Iterator[Problem]:
    for name, value in dict(loop.parameters).items():
        try:
            canonical_json(value)
        except (TypeError, ValueError) as error:
            yield Problem("E-DEF-008", f"parameter {name} is no JSON value", str(error),
                          f"{where}.parameters.{name}", "Use finite numbers, strings, lists.")  # fmt: skip
        if isinstance(loop.space, Space) and name in loop.space.parameters:
            yield Problem("E-DEF-009", f"{name} is a parameter of the definition and of the space",
                          where=f"{where}.parameters.{name}", fix="Rename one of them.")  # fmt: skip


# ---------------------------------------------------------------------- steps
def _body_problems(loop: Loop, where: str) -> Iterator[Problem]:
    if not loop.body:
        yield Problem("E-STEP-001", "the loop has no step", where=f"{where}.body", fix="Give chain(a_step, ...).")
    seen: list[Step] = []
    for i, step in enumerate(loop.body):
        if not isinstance(step, Step):
            yield Problem("E-STEP-002", f"{step!r} is no step", where=f"{where}.body[{i}]",
                          fix="Decorate the function with @step or use command().")  # fmt: skip
            continue
        place = f"{where}.body.{step.name}"
        if step.name in [s.name for s in seen]:
            yield Problem("E-STEP-003", f"two steps are named {step.name}", where=place, fix="Rename one.")
        name_place = f"{place}.name"
        yield from _name_problems("a step", step.name, name_place)
        yield from _payload_problems(step, place)
        yield from _need_problems(step, place)
        yield from _binding_problems(step, loop, seen, place)
        seen.append(step)
    if seen and seen[-1].run is not None and seen[-1].result is None:
        yield Problem("E-STEP-009", f"the last step {seen[-1].name} gives no observation",
                      "a command's values come from its result file", f"{where}.body.{seen[-1].name}.result",
                      'Let it write a JSON file and name it: result="limits.json".')  # fmt: skip


def _payload_problems(step: Step, where: str) -> Iterator[Problem]:
    if (step.function is None) == (step.run is None):
        yield Problem("E-STEP-004", f"step {step.name} is not one of a function and a command", where=where,
                      fix="Give one of them.")  # fmt: skip
    if step.function is not None:
        module, _, name = step.function.partition(":")
        why = {"__main__": "its module is __main__", "ipykernel": "it lives in a notebook cell"}.get(module)
        if "<lambda>" in name:
            why = "it is a lambda"
        elif "<locals>" in name:
            why = "it is defined inside another function"
        if why:
            yield Problem("E-STEP-005", f"the function of step {step.name} cannot be found again by a worker", why,
                          where, "Define it at the top of the scan file or of a module beside it, and start with "
                          "'idds-core run FILE'.")  # fmt: skip
    if step.run is not None and not step.run:
        yield Problem("E-STEP-006", f"the command of step {step.name} is empty", where=where, fix="Give a program.")
    names = [*step.outputs.values(), *([step.result] if step.result else [])]
    for file in names:
        if not isinstance(file, str) or file.startswith("/") or ".." in file.split("/") or not file:
            yield Problem("E-STEP-007", f"output {file!r} of step {step.name} is outside the job's folder",
                          where=f"{where}.outputs", fix="Give a relative file name.")  # fmt: skip


def _need_problems(step: Step, where: str) -> Iterator[Problem]:
    requires, retry = step.requires, step.retry
    checks = [
        ("cores", requires.cores, isinstance(requires.cores, int) and requires.cores >= 1),
        ("memory", requires.memory, requires.memory is None or _positive(requires.memory)),
        ("walltime", requires.walltime, _positive(requires.walltime)),
        ("retry.attempts", retry.attempts, isinstance(retry.attempts, int) and 1 <= retry.attempts <= 1000),
        ("retry.wait", retry.wait, retry.wait == 0 or _positive(retry.wait)),
    ]
    for name, value, fine in checks:
        if not fine:
            yield Problem("E-STEP-008", f"{name} of step {step.name} cannot be met", f"{value!r}", f"{where}.{name}",
                          "Give a positive number, or text like '4GB' or '2h'.")  # fmt: skip


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e18


def _binding_problems(step: Step, loop: Loop, before: list[Step], where: str) -> Iterator[Problem]:
    """Names that certainly stand for nothing; what functions return is only known when they have run."""
    known = set(loop.parameters) | (set(loop.space.parameters) if isinstance(loop.space, Space) else set())
    open_ended = any(s.function is not None and not s.returns_file for s in before)
    if step.run is not None:
        named = {f"{s.name}.{key}" for s in before for key in _known_outputs(s)}
        for name in placeholders(step):
            if name not in known | named | {"seed", "bundle"} and not (open_ended and "." in name):
                yield Problem("E-STEP-010", f"placeholder {{{name}}} of step {step.name} stands for nothing",
                              f"there are {', '.join(sorted(known | named | {'seed'}))}", f"{where}.run",
                              "Use one of them.")  # fmt: skip
        return
    known |= {key for s in before for key in (*_known_outputs(s), s.name)}
    missing = [a for a in step.arguments if a not in known]
    leftover = 1 if before and (len(_known_outputs(before[-1])) == 1 or open_ended) else 0
    if len(missing) > leftover and not open_ended:
        yield Problem("E-STEP-011", f"argument {', '.join(missing)} of step {step.name} stands for nothing",
                      f"there are {', '.join(sorted(known)) or 'none'}", where,
                      "Name a parameter or an output of an earlier step.")  # fmt: skip


def _known_outputs(step: Step) -> list[str]:
    return ["output"] if step.returns_file else list(step.outputs)
