"""What can be wrong with the steps of a loop, each with where it is and how to mend it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence

from idds_core.binding import placeholders
from idds_core.errors import Problem, did_you_mean
from idds_core.fan_problems import fan_problems
from idds_core.model import FunctionStep, Loop, Requirements, Retry, Step, parse_seconds
from idds_core.partition import is_wide
from idds_core.space import Space

__all__ = ["body_problems", "name_problems", "parameters_of", "reserved_problems"]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_OUTPUT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_RESERVED = ("it", "p", "job", "a")
_OURS = ("seed", "bundle", "checkpoint")  # placeholders of every command
_CUT = ("variant", "chunk", "chunks", "shares")  # of jobs of a body that is cut


def name_problems(what: str, name: object, where: str) -> list[Problem]:
    """A name is a part of paths: short, lower case, and none of a path's own words."""
    if isinstance(name, str) and _NAME.fullmatch(name) and name not in _RESERVED:
        return []
    return [
        Problem(
            "E-DEF-001",
            f"{what} has no proper name",
            f"{name!r}"[:80],
            where,
            "Use up to 40 lower-case letters, digits, - and _, starting with a letter; "
            f"{', '.join(_RESERVED)} are taken.",
        )
    ]


def reserved_problems(loop: Loop, where: str) -> Iterator[Problem]:
    """Parameters with a name that means something else to a step."""
    steps = [s for s in (loop.body if isinstance(loop.body, (list, tuple)) else ()) if isinstance(s, Step)]
    taken = {"ctx"}
    if any(s.run is not None for s in steps):
        taken |= set(_OURS)
    if is_wide(steps):
        taken |= set(_CUT)
    for name in sorted(set(parameters_of(loop)) & taken):
        yield Problem(
            "E-DEF-015",
            f"a parameter is named {name}",
            "every step has one of its own",
            f"{where}.space.{name}",
            "Rename it.",
        )


def parameters_of(loop: Loop) -> tuple[str, ...]:
    """Names of the parameters of the point and of the definition."""
    space = loop.space.parameters if isinstance(loop.space, Space) else {}
    given = loop.parameters if isinstance(loop.parameters, Mapping) else {}
    return tuple(name for name in (*space, *given) if isinstance(name, str))


def body_problems(
    body: object, known: set[str], before: Sequence[Step | Loop], where: str, *, observed: bool = False
) -> Iterator[Problem]:
    """Everything that is wrong with the steps, alone and in their order.

    Parameters
    ----------
    known : names of the parameters that they see.
    before : steps and loops outside of this body whose outputs they see.
    observed : whether the last one must give an observation.

    """
    elements = body if isinstance(body, (list, tuple)) else ()
    if not isinstance(body, (list, tuple)):  # chain() without steps: a person measures the points
        why = f"{body!r}"[:80]
        yield Problem("E-STEP-001", "the loop has no steps", why, where, "Give body=chain(a_step, ...).")
    seen: list[Step | Loop] = []
    for i, step in enumerate(elements):
        if not isinstance(step, (Step, Loop)):
            yield Problem(
                "E-STEP-002",
                f"{getattr(step, '__name__', repr(step))[:80]} is no step",
                where=f"{where}[{i}]",
                fix="Decorate the function with @step or use command().",
            )
            continue
        place = f"{where}.{step.name}"
        if step.name in [s.name for s in seen]:
            yield Problem("E-STEP-003", f"two steps are named {step.name}", where=place, fix="Rename one.")
        if isinstance(step, Step):
            yield from name_problems("a step", step.name, f"{place}.name")
            yield from _payload_problems(step, place)
            yield from _output_problems(step, place)
            yield from _need_problems(step, place)
            yield from _keep_problems(step, place)
            yield from _binding_problems(step, known, [*before, *seen], place)
            yield from fan_problems(step, known, seen, place)
        seen.append(step)
    if observed and seen:
        yield from _observation_problems(seen[-1], where)


def _observation_problems(last: Step | Loop, where: str) -> Iterator[Problem]:
    """The last step gives the observation: one job, with values."""
    why, fix, field = "", "", ""
    if isinstance(last, Loop):
        why, fix = "it is a loop", "Add a step after it that takes its result."
    elif last.run is not None and last.result is None:
        why, field = "a command's values come from its result file", ".result"
        fix = 'Let it write a JSON file and name it: result="limits.json".'
    elif last.split != 1 or last.foreach:
        why, fix = "it has several jobs", "Add a step after it that takes the results of all of them."
    if why:
        yield Problem(
            "E-STEP-009", f"the last step {last.name} gives no observation", why, f"{where}.{last.name}{field}", fix
        )


def _payload_problems(step: Step, where: str) -> Iterator[Problem]:
    if (step.function is None) == (step.run is None):
        yield Problem(
            "E-STEP-004",
            f"step {step.name} is not one of a function and a command",
            where=where,
            fix="Give one of them.",
        )
    if isinstance(step.function, str):
        module, _, name = step.function.partition(":")
        why = "its module is __main__: a script or a notebook" if module == "__main__" else ""
        if "<lambda>" in name:
            why = "it is a lambda"
        elif "<locals>" in name:
            why = "it is defined inside another function"
        if why:
            yield Problem(
                "E-STEP-005",
                f"the function of step {step.name} cannot be found again by a worker",
                why,
                f"{where}.function",
                "Define it at the top of the scan file or of a module beside it, and start with 'idds-core run FILE'.",
            )
    if isinstance(step, FunctionStep) and step.target is not None:
        yield from _signature_problems(step, where)
    if step.run is not None and not (isinstance(step.run, (list, tuple)) and step.run and step.run[0]):
        yield Problem(
            "E-STEP-006", f"the command of step {step.name} is empty", where=f"{where}.run", fix="Give a program."
        )


def _signature_problems(step: FunctionStep, where: str) -> Iterator[Problem]:
    """Functions that a worker cannot call by name and get a value from."""
    target = step.target
    why = ""
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        why = "it is a coroutine"
    elif inspect.isgeneratorfunction(target):
        why = "it is a generator"
    elif callable(target):
        only = [p.name for p in inspect.signature(target).parameters.values() if p.kind is p.POSITIONAL_ONLY]
        why = f"{', '.join(only)} cannot be given by name" if only else ""
    if why:
        yield Problem(
            "E-STEP-012",
            f"the function of step {step.name} cannot be called by name",
            why,
            f"{where}.function",
            "Write a plain function.",
        )


def _output_problems(step: Step, where: str) -> Iterator[Problem]:
    outputs = step.outputs if isinstance(step.outputs, Mapping) else {}
    for name in outputs:
        if not (isinstance(name, str) and _OUTPUT.fullmatch(name)):
            yield Problem(
                "E-STEP-007",
                f"output {name!r} of step {step.name} has no proper name",
                where=f"{where}.outputs",
                fix="Use letters, digits and underscores.",
            )
    for file in [*outputs.values(), *([] if step.result is None else [step.result])]:
        if isinstance(file, str) and (not file.strip() or file.startswith("/") or ".." in file.split("/")):
            yield Problem(
                "E-STEP-007",
                f"output {file!r} of step {step.name} is outside the job's folder",
                where=f"{where}.outputs",
                fix="Give a relative file name.",
            )


def _need_problems(step: Step, where: str) -> Iterator[Problem]:
    requires, retry = step.requires, step.retry
    if isinstance(requires, Requirements):
        yield from (
            _unmet(f"requires.{name}", getattr(requires, name), step, where)
            for name, fine in (
                ("cores", _whole(requires.cores, 1, 4096)),
                ("memory", requires.memory is None or _positive(requires.memory)),
                ("walltime", _positive(requires.walltime)),
            )
            if not fine
        )
    if isinstance(retry, Retry):
        if not _whole(retry.attempts, 1, 1000):
            yield _unmet("retry.attempts", retry.attempts, step, where)
        if retry.wait != 0 and not _positive(retry.wait):
            yield _unmet("retry.wait", retry.wait, step, where)


def _keep_problems(step: Step, where: str) -> Iterator[Problem]:
    if step.keep in ("always", "until_merged"):
        return
    try:
        fine = isinstance(step.keep, str) and parse_seconds(step.keep) >= 0
    except ValueError:
        fine = False
    if not fine:
        yield Problem(
            "E-STEP-013",
            f"keep of step {step.name} cannot be met",
            f"{step.keep!r}"[:80],
            f"{where}.keep",
            "Give 'always', 'until_merged', or a time such as '30d'.",
        )


def _unmet(name: str, value: object, step: Step, where: str) -> Problem:
    return Problem(
        "E-STEP-008",
        f"{name} of step {step.name} cannot be met",
        f"{value!r}"[:80],
        f"{where}.{name}",
        "Give a positive number, or text like '4GB' or '2h'.",
    )


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e18


# ---------------------------------------------------------------------- names
def _binding_problems(step: Step, parameters: set[str], before: list[Step | Loop], where: str) -> Iterator[Problem]:
    """Names that certainly stand for nothing; values that steps return are only known when they have run."""
    known = parameters | set(_CUT) | {f"first_{name}" for name in parameters}
    cut = known - parameters
    returning = {
        s.name for s in before if isinstance(s, Step) and (s.result or (s.function is not None and not s.returns_file))
    }
    if isinstance(step.run, (list, tuple)):
        known |= {f"{s.name}.{key}" for s in before for key in (*_known_outputs(s), "share")} | set(_OURS)
        for name in placeholders(step):
            if name not in known and name.partition(".")[0] not in returning:
                yield Problem(
                    "E-STEP-010",
                    f"placeholder {{{name}}} of step {step.name} stands for nothing",
                    f"there are {', '.join(sorted(known - cut))}",
                    f"{where}.run",
                    did_you_mean(name, known) or "Use one of them.",
                )
    elif not returning:
        known |= {key for s in before for key in (*_known_outputs(s), s.name)}
        missing = [a for a in step.arguments if a not in known]
        last = _known_outputs(before[-1]) if before else []
        leftover = len(last) == 1 and last[0] not in step.arguments
        if len(missing) > leftover:
            hints = [hint for name in missing if (hint := did_you_mean(name, known))]
            yield Problem(
                "E-STEP-011",
                f"argument {', '.join(missing)} of step {step.name} stands for nothing",
                f"there are {', '.join(sorted(known - cut)) or 'none'}",
                f"{where}.arguments",
                " ".join(hints) or "Name a parameter or an output of an earlier step.",
            )


def _known_outputs(step: Step | Loop) -> list[str]:
    if isinstance(step, Loop):
        return ["result"]
    if step.returns_file:
        return ["output"]
    return list(step.outputs) if isinstance(step.outputs, Mapping) else []
