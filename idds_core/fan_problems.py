"""What can be wrong with split, foreach, merge and accept of a step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from idds_core.errors import Problem, did_you_mean
from idds_core.model import Loop, Step
from idds_core.partition import MOST_CHUNKS, split_of

__all__ = ["fan_problems"]

_VARIANT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


def fan_problems(step: Step, known: set[str], before: Sequence[Step | Loop], where: str) -> Iterator[Problem]:
    """Everything that is wrong with how a step is cut into jobs.

    Parameters
    ----------
    known : names of parameters. before : the steps before it in the same body.

    """
    yield from _split_problems(step, known, where)
    yield from _variant_problems(step, before, where)
    if step.merge and not (before and isinstance(before[-1], Step) and before[-1].split != 1):
        yield _problem("E-STEP-016", f"step {step.name} merges nothing", "the step before it is not split", where,
                       "merge", "Put it after a step with split=, or leave out merge.")  # fmt: skip
    if step.merge and (step.split != 1 or step.foreach):
        yield _problem("E-STEP-016", f"step {step.name} cannot merge and be cut", "split or foreach is given too",
                       where, "merge", "Leave one out: it goes on with the variants of the step before.")  # fmt: skip
    share = step.accept
    if not (isinstance(share, (int, float)) and not isinstance(share, bool) and 0 < share <= 1):
        yield _problem("E-STEP-017", f"accept of step {step.name} is no share", f"{share!r}"[:80], where, "accept",
                       "Give a number above 0 and up to 1.")  # fmt: skip
    elif share < 1 and step.split == 1:
        yield _problem("E-STEP-017", f"accept of step {step.name} means nothing", "it has one job at a point", where,
                       "accept", "Give it split=, or leave out accept.")  # fmt: skip


def _problem(code: str, what: str, why: str, where: str, name: str, fix: str) -> Problem:
    return Problem(code, what, why, f"{where}.{name}", fix)


def _split_problems(step: Step, known: set[str], where: str) -> Iterator[Problem]:
    why = ""
    try:
        size, unit = split_of(step) if isinstance(step.split, (int, str)) and step.split is not True else (0, "")
        if not unit and not 1 <= size <= MOST_CHUNKS:
            why = f"{step.split!r} is not from 1 to {MOST_CHUNKS}"
        elif unit and size < 1:
            why = f"a chunk of {size} {unit}"
        elif unit and unit not in known:
            why = f"{unit} is no parameter. {did_you_mean(unit, known)}".rstrip()
    except ValueError as error:
        why = str(error)
    if why:
        yield _problem("E-STEP-014", f"split of step {step.name} cannot be used", why, where, "split",
                       "Give a number of chunks, or their size in a parameter: '10000 events'.")  # fmt: skip


def _variant_problems(step: Step, before: Sequence[Step | Loop], where: str) -> Iterator[Problem]:
    names = step.foreach
    why = ""
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and _VARIANT.fullmatch(n) for n in names):
        why = f"{names!r} are no names"
    elif len(set(names)) != len(names):
        why = "a name repeats"
    else:
        for earlier in before:
            if isinstance(earlier, Step) and earlier.foreach and set(names) - set(earlier.foreach):
                more = ", ".join(sorted(set(names) - set(earlier.foreach)))
                why = f"step {earlier.name} has no variant {more}"
    if why:
        yield _problem("E-STEP-015", f"foreach of step {step.name} cannot be used", why, where, "foreach",
                       "Give names of letters, digits, - and _ that an earlier step with foreach has too.")  # fmt: skip
