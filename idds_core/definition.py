"""A definition as one validated document: all its mistakes at once, each with where it is and how to mend it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from idds_core.document import plain, shape_problems, workflow_of
from idds_core.earlier import earlier_problems, reads_of
from idds_core.errors import DefinitionError, IddsError, Problem
from idds_core.history import canonical_json
from idds_core.model import Loop, Step, Workflow
from idds_core.plugins import CONDITIONS, LEARNERS, PRUNERS, build, describe
from idds_core.space import Space
from idds_core.step_problems import body_problems, name_problems, parameters_of, reserved_problems
from idds_core.supporting import support_problems

__all__ = ["Definition", "normal_document", "validate"]

MODES = ("batch", "steady")
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
        """The loop of that name in the store: ``scan``, ``outer/it/3/p/7/inner``, or "" for the hidden one."""
        return self._down(name)[0]

    def document_of(self, name: str) -> Mapping[str, Any]:
        """The document of the loop of that name in the store; the hidden one has none."""
        return self._down(name)[1]

    def loops(self) -> Iterator[tuple[Loop, Mapping[str, Any]]]:
        """Each loop at any depth, with its document."""
        yield from _loops_in(self.workflow.body, self.document["body"])

    def _down(self, name: str) -> tuple[Loop, Mapping[str, Any]]:
        if not name:
            root = self.workflow.root
            assert root is not None
            return root, {}
        found: Loop | Workflow = self.workflow
        document: Mapping[str, Any] = self.document
        for own in re.split(r"/it/\d+/p/\d+/", name):
            place = next(i for i, e in enumerate(found.body) if e.name == own)
            element, document = found.body[place], document["body"][place]
            assert isinstance(element, Loop)
            found = element
        assert isinstance(found, Loop)
        return found, document


def _loops_in(
    body: Sequence[Step | Loop], documents: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Loop, Mapping[str, Any]]]:
    for element, document in zip(body, documents, strict=True):
        if isinstance(element, Loop):
            yield element, document
            yield from _loops_in(element.body, document["body"])


def validate(given: Loop | Workflow) -> Definition:
    """The definition of what a user wrote.

    Raises
    ------
    DefinitionError
        With every mistake found.

    """
    if not isinstance(given, (Loop, Workflow)):
        raise DefinitionError.of("E-DEF-002", f"{type(given).__name__} is no definition", f"{given!r}"[:80],
                                 fix="Give a Loop or a Workflow.")  # fmt: skip
    workflow = Workflow.of(given)
    problems = name_problems("the workflow", workflow.name, "name")
    body = workflow.body if isinstance(workflow.body, (list, tuple)) else ()
    if not body or not all(isinstance(e, (Loop, Step)) for e in body):
        problems.append(
            Problem(
                "E-DEF-002",
                f"the workflow has {'something that is no step or loop' if body else 'no steps'}",
                f"{workflow.body!r}"[:80],
                "body",
                "Give body=chain(a_step, a_loop, ...).",
            )
        )
        raise DefinitionError.all(problems)
    parameters = workflow.parameters if isinstance(workflow.parameters, Mapping) else {}
    problems += _parameter_problems(workflow.parameters, Space(), "")
    if workflow.root is not None:
        problems += body_problems(body, set(parameters), (), "body")
    documents = _body_documents(body, "body", tuple(parameters), (), problems)
    document = {"protocol": 1, "name": workflow.name, "body": documents, "parameters": plain(workflow.parameters)}
    problems += _uncovered(shape_problems(document), problems)
    if problems:
        raise DefinitionError.all(dict.fromkeys(problems))
    return Definition(normal_document(document))


def normal_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with each number in its field's type: 400 and 400.0 are the same definition."""
    normal: dict[str, Any] = json.loads(json.dumps({**document, **plain(workflow_of(document))}, allow_nan=False))
    return normal


def _uncovered(shapes: Sequence[Problem], known: Sequence[Problem]) -> list[Problem]:
    """Problems of shape at places of which nothing better is said."""
    places = [p.where for p in known if p.where]
    return [s for s in shapes if not any(_within(s.where, p) or _within(p, s.where) for p in places)]


def _within(place: str, other: str) -> bool:
    return place == other or place.startswith((f"{other}.", f"{other}["))


# ---------------------------------------------------------------------- the loop
def _body_documents(
    body: Sequence[Any], where: str, outer: tuple[str, ...], before: tuple[Step | Loop, ...], problems: list[Problem]
) -> list[Any]:
    """The elements as documents; `outer` values and elements `before` are what loops among them see from outside."""
    documents = []
    for element in body:
        if isinstance(element, Loop):
            documents.append(_loop_document(element, f"{where}.{element.name}", outer, before, problems))
        else:
            documents.append(plain(element))
        if isinstance(element, (Step, Loop)):
            before = (*before, element)
    return documents


def _loop_document(
    loop: Loop, where: str, outer: tuple[str, ...], before: tuple[Step | Loop, ...], problems: list[Problem]
) -> dict[str, Any]:
    """The loop as a document; what is wrong with it is added to `problems`."""
    problems += name_problems("the loop", loop.name, f"{where}.name")
    if isinstance(loop.space, Space):
        problems += [dataclasses.replace(p, where=f"{where}.{p.where}") for p in loop.space.problems()]
    else:
        why = f"{loop.space!r}"[:80]
        problems.append(Problem("E-DEF-003", "the loop has no space", why, f"{where}.space", "Give a Space."))
    learner = _plugin(loop.learner, LEARNERS, "ask", f"{where}.learner", problems)
    condition = _plugin(loop.until, CONDITIONS, "check", f"{where}.until", problems)
    if condition is not None and not getattr(condition, "bounded", lambda: True)():
        why = "its conditions may never be met"
        fix = "Add | MaxPoints(200) or another budget."
        problems.append(Problem("E-DEF-010", "nothing bounds the loop", why, f"{where}.until", fix))
    pruner = None if loop.prune is None else _pruner(loop.prune, f"{where}.prune", problems)
    targets = loop.targets or getattr(learner, "targets", ())
    targets = [targets] if isinstance(targets, str) else targets
    problems += _target_problems(targets, learner is not None, f"{where}.targets")
    problems += support_problems(learner, loop.space, loop.mode, targets, where)
    problems += earlier_problems(loop, learner, before, where)
    problems += _blind_problems(loop.blind, targets, f"{where}.blind")
    problems += _count_problems(loop, where)
    problems += _parameter_problems(loop.parameters, loop.space, where)
    problems += reserved_problems(loop, where)
    own = parameters_of(loop)
    problems += _hidden_problems(own, outer, where)
    problems += body_problems(loop.body, {*own, *outer}, before, f"{where}.body", observed=True)
    elements = loop.body if isinstance(loop.body, (list, tuple)) else ()
    return {
        **{
            f.name: plain(getattr(loop, f.name))
            for f in dataclasses.fields(loop)
            if f.name not in ("body", "learner", "until")
        },
        "body": _body_documents(elements, f"{where}.body", (*outer, *own), before, problems)
        if elements
        else plain(loop.body),
        "learner": _described(loop.learner, LEARNERS, learner, f"{where}.learner", problems),
        "until": _described(loop.until, CONDITIONS, condition, f"{where}.until", problems),
        "prune": None if loop.prune is None else _described(loop.prune, PRUNERS, pruner, f"{where}.prune", problems),
        "targets": list(targets) if isinstance(targets, (list, tuple)) else targets,
        "reads": reads_of(loop, learner),
    }


def _plugin(value: Any, group: str, method: str, where: str, problems: list[Problem]) -> Any:
    """The plugin as it will be built again from its JSON, or None with the reason in `problems`."""
    kind = {LEARNERS: "learner", CONDITIONS: "condition", PRUNERS: "prune rule"}[group]
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


def _pruner(value: Any, where: str, problems: list[Problem]) -> Any:
    """The rule; a condition has a check() as well, but of one argument."""
    rule = _plugin(value, PRUNERS, "check", where, problems)
    if rule is None:
        return None
    try:
        inspect.signature(rule.check).bind((), ())
    except (TypeError, ValueError):
        what = f"{type(rule).__name__} is no prune rule"
        problems.append(Problem("E-DEF-004", what, "its check() does not take (own, others)", where, "Give a rule."))
        return None
    return rule


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
    elif any(f"{t}{end}" in targets for t in targets for end in ("_sigma", "_censored")):
        why = "a target's name with _sigma or _censored says how its value is meant"
    elif not targets and expected:
        why = "an observation needs at least one"
    if why:
        yield Problem(
            "E-DEF-011", "no proper target is named", why, where, 'Give targets=["obs"] to the learner or the loop.'
        )


def _blind_problems(blind: Any, targets: Any, where: str) -> Iterator[Problem]:
    known = targets if isinstance(targets, (list, tuple)) else ()
    why = ""
    if not isinstance(blind, (list, tuple)):
        why = f"{blind!r} are no names"
    elif [name for name in blind if name not in known]:
        why = f"{', '.join(map(str, blind))}; targets are {', '.join(map(str, known))}"
    elif blind and set(blind) >= set(known):
        why = "nothing would be left for the learner to see"
    if why:
        yield Problem("E-DEF-017", "these targets cannot be blinded", why, where, "Name some of the targets.")


def _count_problems(loop: Loop, where: str) -> Iterator[Problem]:
    limits = {"batch": 10_000, "first": 100_000, "hold_after": 1_000_000, "top_up": 10_000}
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
    yield from _mode_problems(loop, where)


def _mode_problems(loop: Loop, where: str) -> Iterator[Problem]:
    if loop.mode not in MODES:
        yield Problem(
            "E-DEF-007", f"unknown mode {loop.mode!r}", where=f"{where}.mode", fix=f"Use {' or '.join(MODES)}."
        )
    elif loop.mode == "batch" and loop.top_up != 1:
        yield Problem(
            "E-DEF-007",
            "top_up means nothing in batch mode",
            "a batch is asked for when the last one has ended",
            f"{where}.top_up",
            "Give mode='steady' or leave it out.",
        )
    elif (
        loop.mode == "steady"
        and isinstance(loop.top_up, int)
        and isinstance(loop.batch, int)
        and loop.top_up > loop.batch
    ):
        yield Problem(
            "E-DEF-006",
            "top_up is larger than the batch",
            f"only {loop.batch} points are pending at any time, {loop.top_up} can never end",
            f"{where}.top_up",
            "Give at most the batch.",
        )


def _hidden_problems(own: Iterable[str], outer: Iterable[str], where: str) -> Iterator[Problem]:
    for name in sorted(set(own) & set(outer)):
        yield Problem(
            "E-DEF-016",
            f"{name} is a parameter of a loop and of what is around it",
            where=f"{where}.space.{name}",
            fix="Rename one of them.",
        )


def _parameter_problems(parameters: Any, space: Any, where: str) -> Iterator[Problem]:
    where = f"{where}.parameters".lstrip(".")
    if not isinstance(parameters, Mapping):
        yield Problem(
            "E-DEF-008",
            "the parameters are no dictionary",
            f"{parameters!r}"[:80],
            where,
            "Give name and value of each.",
        )
        return
    for name, value in parameters.items():
        try:
            if not isinstance(name, str):
                raise TypeError(f"its name is {name!r}")
            canonical_json(value)
        except (TypeError, ValueError, RecursionError) as error:
            yield Problem(
                "E-DEF-008",
                f"parameter {name} is no JSON value",
                str(error),
                f"{where}.{name}",
                "Use finite numbers, strings, lists.",
            )
        if isinstance(space, Space) and name in space.parameters:
            yield Problem(
                "E-DEF-009",
                f"{name} is a parameter of the definition and of the space",
                where=f"{where}.{name}",
                fix="Rename one of them.",
            )
