"""Which loops before it a loop's learner reads, and whether they are there: told when the workflow is submitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from idds_core.errors import Problem, did_you_mean
from idds_core.model import Loop, Step
from idds_core.parameters import Categorical, Ordered, Parameter
from idds_core.space import Space

__all__ = ["earlier_problems", "reads_of"]


def _read_by(learner: Any) -> Mapping[str, Sequence[str]]:
    """Name of a loop -> its targets that a learner reads."""
    found = getattr(learner, "reads", {})
    return found if isinstance(found, Mapping) else {}


def reads_of(loop: Loop, learner: Any) -> Any:
    """Names of the loops whose histories a loop's learner is shown; what is no list of names is left for others."""
    given = loop.reads
    return list(dict.fromkeys([*given, *_read_by(learner)])) if isinstance(given, (list, tuple)) else given


def earlier_problems(loop: Loop, learner: Any, before: Sequence[Step | Loop], where: str) -> Iterator[Problem]:
    """A line for each loop that is read and cannot be.

    Parameters
    ----------
    learner : the loop's, or None when it cannot be built.
    before : steps and loops that have ended when the loop begins.
    where : the place of the loop.

    """
    loops = {e.name: e for e in before if isinstance(e, Loop)}
    read = _read_by(learner)
    for name in reads_of(loop, learner) if isinstance(loop.reads, (list, tuple)) else ():
        if name not in loops:
            there = f"before it there are {', '.join(loops)}" if loops else "there is no loop before it"
            fix = did_you_mean(name, loops) or "Put the loop that is read before the one that reads it."
            yield Problem("E-DEF-018", f"loop {loop.name} cannot read {name}", there, f"{where}.learner", fix)
            continue
        for target in read.get(name, ()):
            yield from _target_problems(loop, loops[name], target, where)
        if name in read:
            yield from _space_problems(loop, loops[name], where)


def _target_problems(loop: Loop, earlier: Loop, target: str, where: str) -> Iterator[Problem]:
    targets = earlier.targets or getattr(earlier.learner, "targets", ())
    if isinstance(earlier.learner, Mapping):
        targets = targets or earlier.learner.get("targets", ())
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    if target in names and target not in earlier.blind:
        return
    why = "it is blind" if target in names else f"its targets are {', '.join(map(str, names))}"
    fix = did_you_mean(target, names) or "Name a target that the earlier loop measures, and does not seal."
    yield Problem("E-DEF-018", f"loop {loop.name} cannot read {earlier.name}.{target}", why, f"{where}.learner", fix)


def _space_problems(loop: Loop, earlier: Loop, where: str) -> Iterator[Problem]:
    """What is read of a loop is evaluated all over the space of the one that reads it."""
    if not (isinstance(loop.space, Space) and isinstance(earlier.space, Space)):
        return
    own, other = loop.space.parameters, earlier.space.parameters
    why = ""
    if set(own) != set(other):
        why = f"its parameters are {', '.join(other)}, not {', '.join(own)}"
    else:
        apart = [n for n in own if own[n].kind != other[n].kind or not all(map(other[n].holds, _ends(own[n])))]
        why = f"{', '.join(apart)} goes beyond its range or is of another kind" if apart else ""
    if why:
        yield Problem("E-DEF-018", f"loop {loop.name} cannot read {earlier.name}", why, f"{where}.space",
                      "Give the earlier loop the same parameters, with ranges that are at least as wide.")  # fmt: skip


def _ends(parameter: Parameter) -> Sequence[Any]:
    """The outermost values of a parameter, or all of them."""
    if isinstance(parameter, (Categorical, Ordered)):
        return parameter.choices
    return parameter.low, parameter.high
