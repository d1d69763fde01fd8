"""Whether a step may ask for something that is another than before. It is judged by names, and in doubt it does.

What is known: a loop gives ``result`` and its own name; a step gives names that only a run can tell; parameters win
over outputs, and outputs nearer to a step over those from farther outside (:mod:`idds_core.binding`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from idds_core.binding import placeholders
from idds_core.model import Loop, Step
from idds_core.store import OldPoint

__all__ = ["Outside", "asks_for", "outputs_of"]


@dataclass(frozen=True)
class Outside:
    """What is another than before, as seen from further inside.

    changed : elements that do not stay as they are.
    bound : names that something nearer gives for certain.
    first : whether nothing nearer comes before, so that a name left over may stand for one of the changed.
    """

    changed: tuple[Step | Loop, ...] = ()
    bound: frozenset[str] = frozenset()
    first: bool = True

    @property
    def stepped(self) -> bool:
        """Whether a step is among the changed: what names it gives nobody knows."""
        return any(isinstance(e, Step) for e in self.changed)

    def with_changed(self, changed: Sequence[Step | Loop], bound: Collection[str], *, first: bool) -> Outside:
        """As a loop sees it after these elements beside it have changed.

        bound : names that what stays beside it gives; a changed step may give the same names now.
        first : whether nothing is before it.
        """
        names = {"result", *(e.name for e in changed)}
        stepped = any(isinstance(e, Step) for e in changed)
        nearer = frozenset() if stepped else (self.bound | frozenset(bound)) - (names if changed else frozenset())
        return Outside((*self.changed, *changed), nearer, bool(changed) or (self.first and first))


def asks_for(step: Step, given: Collection[str], outside: Outside) -> bool:
    """Whether a step may ask for something of what has changed.

    given : names of the parameters that it sees.
    """
    if not outside.changed:
        return False
    names = {e.name for e in outside.changed}
    if step.function is None:
        named = {word.partition(".")[0] for word in placeholders(step) if "." in word}
        return bool(named & (names - outside.bound))
    known = {*given, *outside.bound}
    if outside.stepped:
        return bool({*step.arguments, *step.optional} - known)
    left = set(step.arguments) - known
    return bool({"result", *names} & ({*step.arguments, *step.optional} - known)) or (outside.first and bool(left))


def outputs_of(point: OldPoint, step: str) -> set[str]:
    """Names that a step has given at a point."""
    found: set[str] = set()
    for job in point.jobs:
        if job.step == step and job.result:
            result = json.loads(job.result)
            found |= {*result.get("values", {}), *result.get("files", {})}
    return found
