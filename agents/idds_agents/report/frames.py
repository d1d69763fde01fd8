"""The map of a loop iteration by iteration: what the slider of a report and a movie go through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from idds_agents.report.cuts import Slices, slices_again
from idds_agents.report.reading import LoopView, decided_iterations, view_at
from idds_agents.report.surface import Surface, surface_of

__all__ = ["Frame", "chosen", "frames", "sliced"]

#: more than a person goes through, and what keeps a page small
MOST_FRAMES = 60


@dataclass(frozen=True)
class Frame:
    """A loop as it was when an iteration had closed; no surface, or slices of one, while there was no map."""

    number: int
    view: LoopView
    surface: Surface | None
    slices: Slices | None = None


def chosen(numbers: Sequence[int], most: int = MOST_FRAMES) -> list[int]:
    """At most so many of the numbers, evenly spread, the first and the last among them.

    >>> chosen(range(1, 8), 3), chosen([1, 2], 3)
    ([1, 4, 7], [1, 2])
    """
    if len(numbers) <= most:
        return list(numbers)
    last = len(numbers) - 1
    return [numbers[round(i * last / (most - 1))] for i in range(most)]


def frames(view: LoopView, nodes: int, most: int = MOST_FRAMES) -> Iterator[Frame]:
    """The loop at the end of each decided iteration, with its map on `nodes` nodes an axis (one or two dimensions)."""
    space = view.plan.loop.space
    for number in chosen(decided_iterations(view), most):
        seen = view_at(view, number)
        surrogate = seen.surrogate
        yield Frame(number, seen, surface_of(space, surrogate, nodes) if surrogate is not None else None)


def sliced(view: LoopView, like: Slices, nodes: int, most: int = MOST_FRAMES) -> Iterator[Frame]:
    """The same in more dimensions: all frames are cut at the same places."""
    for number in chosen(decided_iterations(view), most):
        seen = view_at(view, number)
        yield Frame(number, seen, None, slices_again(seen, like, nodes) if seen.surrogate is not None else None)
