"""Arguments by name: what a step gets at a point, and what counts as its observation. Pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idds_core.history import Observation, canonical_json
from idds_core.model import Loop, Step
from idds_core.partition import goes_on
from idds_core.ports import Command, Function, Payload

__all__ = ["BindingError", "Given", "asks", "bind", "joined", "observe", "placeholders"]

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)\}")


#: where the truth lies when a value is only a bound
SIDES = ("above", "below")


class BindingError(ValueError):
    """An argument or a placeholder stands for nothing, or a result is no observation."""


@dataclass(frozen=True, slots=True)
class Given:
    """The result of a finished job, and which job it was."""

    step: str
    result: Mapping[str, Any]
    variant: str = ""
    chunk: int = 0


def _outputs(result: Mapping[str, Any]) -> dict[str, Any]:
    """Named outputs of a step: its values, and its files as ``{"$file": path}``."""
    files = {name: {"$file": file["path"]} for name, file in result.get("files", {}).items()}
    return {**result.get("values", {}), **files}


def joined(
    body: Sequence[Step | Loop], step: Step | Loop, upstream: Sequence[Given], variant: str, chunk: int
) -> list[tuple[str, dict[str, Any]]]:
    """(step name, outputs) of each step before, as a job sees them: its own variant and chunk of those that are cut
    like its own step, else lists by chunk and mappings by variant.
    """
    steps = {e.name: e for e in body}
    groups: dict[str, list[Given]] = {}
    for given in upstream:
        groups.setdefault(given.step, []).append(given)
    found = []
    for name, all_of_it in groups.items():
        before = steps.get(name)  # None: a step outside of this loop, which has one job
        same = before is not None and goes_on(before, step)
        listed = isinstance(before, Step) and before.split != 1 and not same
        seen = [g for g in all_of_it if not same or g.chunk == chunk]
        if variant and any(g.variant for g in seen):
            seen = [g for g in seen if g.variant == variant]
        names = {v: None for g in seen if (v := g.variant)} if not variant else {}
        if names:
            by_variant = {v: _listed([g for g in seen if g.variant == v], listed) for v in names}
            outputs = {o: {v: given[o] for v, given in by_variant.items() if o in given} for o in _keys(by_variant)}
        else:
            outputs = _listed(seen, listed)
        found.append((name, outputs))
    return found


def _keys(given: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for outputs in given.values() for key in outputs))


def _listed(given: Sequence[Given], listed: bool) -> dict[str, Any]:
    """Outputs of one job, or lists of those of several, in the order of chunks."""
    every = [_outputs(g.result) for g in sorted(given, key=lambda g: g.chunk)]
    if not listed:
        return every[0] if every else {}
    return {name: [o[name] for o in every if name in o] for name in dict.fromkeys(n for o in every for n in o)}


def bind(
    step: Step,
    values: Mapping[str, Any],
    outputs: Sequence[tuple[str, Mapping[str, Any]]],
    bundle: str,
    seed: int,
    checkpoint: str = "",
) -> Payload:
    """The payload of a step at a point.

    Parameters
    ----------
    values : parameters of the definition and of the point.
    outputs : (step name, outputs) of the steps before it, in order, as :func:`joined` gives them.
    bundle : absolute path of the source bundle.
    checkpoint : absolute path of the job's checkpoint folder.

    """
    if step.function is not None:
        arguments = _arguments(step, values, outputs)
        return Function(step.function, bundle, arguments, step.context)
    return _command(step, {"seed": seed, "bundle": bundle, "checkpoint": checkpoint, **values}, outputs, bundle)


def _arguments(
    step: Step, values: Mapping[str, Any], outputs: Sequence[tuple[str, Mapping[str, Any]]]
) -> dict[str, Any]:
    # Strongest last: a step by its name, a named output (the later step's wins), a parameter.
    known: dict[str, Any] = {name: _whole(given) for name, given in outputs}
    for _, given in outputs:
        known.update(given)
    known.update(values)
    arguments = {name: known[name] for name in (*step.arguments, *step.optional) if name in known}
    missing = [name for name in step.arguments if name not in arguments]
    last = outputs[-1][1] if outputs else {}
    taken = set(arguments) - set(values)
    if len(missing) == 1 and len(last) == 1 and not taken & set(last):
        arguments[missing[0]] = next(iter(last.values()))
    elif missing:
        have = ", ".join(sorted(known)) or "nothing"
        raise BindingError(f"argument {', '.join(missing)} of {step.name} stands for nothing; there are {have}")
    return arguments


def _whole(outputs: Mapping[str, Any]) -> Any:
    """All outputs of a step, or the single one itself."""
    return next(iter(outputs.values())) if len(outputs) == 1 else dict(outputs)


def _command(
    step: Step,
    values: Mapping[str, Any],
    outputs: Sequence[tuple[str, Mapping[str, Any]]],
    bundle: str,
) -> Command:
    known: dict[str, Any] = dict(values)
    known.update({f"{name}.share": share for name, share in values.get("shares", {}).items()})
    for name, given in outputs:
        known.update({f"{name}.{key}": value for key, value in given.items()})

    def text(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] not in known:
            raise BindingError(f"placeholder {match[0]} of {step.name} stands for nothing")
        return _text(known[match[1]])

    argv: list[str] = []
    for token in step.run or ():
        whole = _PLACEHOLDER.fullmatch(token)
        value = known.get(whole[1]) if whole and whole[1] and "." in whole[1] else None
        if isinstance(value, list):  # what the jobs of a step have put out: as many arguments, as a shell's * gives
            argv += [_text(item) for item in value]
        else:
            argv.append(_PLACEHOLDER.sub(text, token))
    if argv and argv[0].startswith("./"):
        argv[0] = f"{bundle}/{argv[0][2:]}"
    return Command(tuple(argv), dict(step.outputs), step.result)


def _text(value: Any) -> str:
    """A value on a command line: numbers and text as they are, everything else as JSON."""
    if isinstance(value, Mapping) and "$file" in value:
        return str(value["$file"])
    plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return str(value) if plain else canonical_json(_paths(value))


def _paths(value: Any) -> Any:
    """The value with the path of each file in its place."""
    if isinstance(value, Mapping):
        return str(value["$file"]) if "$file" in value else {k: _paths(v) for k, v in value.items()}
    return [_paths(item) for item in value] if isinstance(value, list) else value


def placeholders(step: Step) -> list[str]:
    """Names in the braces of a command's tokens."""
    tokens = [token for token in step.run or () if isinstance(token, str)]  # the shape's check tells of others
    found = [m[1] for token in tokens for m in _PLACEHOLDER.finditer(token)]
    return [name for name in found if name]


def asks(step: Step) -> set[str]:
    """Names that a step asks for: a function's arguments, a command's placeholders."""
    return {*step.arguments, *step.optional, *placeholders(step)}


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond all floats
        return False


def observe(values: Mapping[str, Any], targets: Sequence[str]) -> Observation:
    """The observation in the last step's values: every target, finite; other finite numbers are extras.

    A target's name with _sigma is its standard deviation; with _censored it is "above" or "below" where the value is
    only a bound and the truth lies on that side of it, None or empty where it is a value.

    >>> observe({"obs": 0.2, "obs_sigma": 0.01, "events": 12}, ["obs"])
    Observation(values={'obs': 0.2}, sigmas={'obs': 0.01}, extras={'events': 12.0}, censored={})
    >>> observe({"mu_up": 100.0, "mu_up_censored": "above"}, ["mu_up"]).censored
    {'mu_up': 'above'}
    """
    for name, value in values.items():
        if isinstance(value, (int, float)) and not _is_finite(value):
            raise BindingError(f"{name} is {value if isinstance(value, float) else 'beyond all floats'}")
    missing = [t for t in targets if t not in values]
    if missing:
        raise BindingError(f"no value of {', '.join(missing)}; there are {', '.join(map(str, values)) or 'none'}")
    numbers = {k: float(v) for k, v in values.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    for target in targets:
        if target not in numbers:
            raise BindingError(f"{target} is {values[target]!r}, not a number")
    names = {f"{t}_sigma": t for t in targets}
    sigmas = {names[k]: v for k, v in numbers.items() if k in names}
    negative = [t for t, v in sigmas.items() if v < 0]
    if negative:
        raise BindingError(f"{negative[0]}_sigma is negative")
    for name in names:
        if name in values and name not in numbers:
            raise BindingError(f"{name} is {values[name]!r}, not a number")
    sides = {t: values[f"{t}_censored"] for t in targets if values.get(f"{t}_censored") not in (None, "")}
    for target, side in sides.items():
        if side not in SIDES:
            raise BindingError(f"{target}_censored is {side!r}, neither above nor below")
    extras = {k: v for k, v in numbers.items() if k not in targets and k not in names}
    return Observation({t: numbers[t] for t in targets}, sigmas, extras, sides)
