"""Whether a learner can do what a loop asks of it: told when the loop is submitted, never made up for in silence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from idds_core.errors import Problem
from idds_core.space import Space

__all__ = ["Supports", "support_problems"]


@dataclass(frozen=True, slots=True)
class Supports:
    """What a learner can do; what a loop asks beyond that is refused when it is submitted.

    kinds : the kinds of parameters it can handle. objectives : how many at most; None: any number.
    constraints, conditional : whether the space may have constraints, and parameters that do not always apply.
    pending : whether it may be asked while points are out (``mode="steady"``).
    noise : whether it uses reported standard deviations; told to people, nothing is refused for it.
    """

    kinds: tuple[str, ...] = ("real", "log", "integer", "categorical", "ordered")
    objectives: int | None = None
    constraints: bool = True
    conditional: bool = True
    pending: bool = True
    noise: bool = True


def support_problems(learner: Any, space: Any, mode: str, targets: Sequence[str], where: str) -> Iterator[Problem]:
    """A line for each thing that the loop asks and the learner has not; a learner that says nothing can do all.

    Parameters
    ----------
    learner : the learner, or None when it cannot be built.
    space, mode : the loop's.
    targets : its objectives, where the learner names none itself.
    where : the place of the loop.

    """
    if isinstance(space, Space) and callable(own := getattr(learner, "problems_in", None)):
        for text in own(space):
            yield Problem("E-DEF-005", f"the learner {type(learner).__name__} cannot work", text, f"{where}.learner",
                          "Change its fields.")  # fmt: skip
    can = getattr(learner, "supports", None)
    if not isinstance(can, Supports) or not isinstance(space, Space):
        return
    name = type(learner).__name__
    for parameter, p in space.parameters.items():
        kind = getattr(p, "kind", "")
        if kind not in can.kinds:
            yield _no(name, f"{kind} parameters", f"{parameter} is one; it takes {', '.join(can.kinds)}",
                      f"{where}.space.{parameter}")  # fmt: skip
    if space.constraints and not can.constraints:
        yield _no(name, "constraints", " and ".join(map(str, space.constraints)), f"{where}.space.constraints")
    asked = [n for n, p in space.parameters.items() if getattr(p, "when", "")]
    if asked and not can.conditional:
        yield _no(name, "conditional parameters", f"{', '.join(asked)} do not always apply", f"{where}.space")
    if mode == "steady" and not can.pending:
        yield _no(name, "steady mode", "it cannot be asked while points are out", f"{where}.mode")
    objectives = getattr(learner, "objective", ()) or targets
    number = 1 if isinstance(objectives, str) else len(objectives)
    if can.objectives is not None and number > can.objectives:
        most = f"{can.objectives} objective{'s' if can.objectives != 1 else ''}"
        yield _no(name, f"{number} objectives", f"it goes for {most} at most", f"{where}.learner.objective")


def _no(name: str, what: str, why: str, where: str) -> Problem:
    return Problem("E-LEARNER-021", f"{name} does not support {what}", why, where,
                   "Use another learner (Optimum takes all of these), or ask something else.")  # fmt: skip
