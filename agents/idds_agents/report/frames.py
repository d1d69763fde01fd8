"""The map of a loop iteration by iteration: what the slider of a report and a movie go through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from idds_agents.report.reading import LoopView, decided_iterations, view_at
from idds_agents.report.surface import Surface, surface_of
from idds_core.ports import Prediction, Surrogate
from idds_core.space import Categorical, Ordered, Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Frame", "Slice", "chosen", "frames", "ordered", "slices"]

#: more than a person goes through, and what keeps a page small
MOST_FRAMES = 60
_MOST_SLICES = 6


@dataclass(frozen=True)
class Frame:
    """A loop as it was when an iteration had closed; no surface while there was no map."""

    number: int
    view: LoopView
    surface: Surface | None


def ordered(space: Space) -> list[str]:
    """Parameters whose values have an order: the ones that can be an axis."""
    return [name for name, p in space.parameters.items() if not isinstance(p, (Categorical, Ordered))]


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


# ---------------------------------------------------------------------- more than two dimensions
class _Cut(Space):
    """The space of some parameters, the others held fixed; the whole space's constraints hold."""

    def __init__(self, whole: Space, names: Sequence[str], fixed: Mapping[str, Any]) -> None:
        super().__init__({n: whole.parameters[n] for n in names}, whole.constraints)
        object.__setattr__(self, "_whole", whole)
        object.__setattr__(self, "_fixed", dict(fixed))

    def allowed(self, points: Sequence[Mapping[str, Any]]) -> NDArray[np.bool_]:
        """(n,) whether each point, with what is fixed, meets all constraints."""
        allow: Callable[[Any], NDArray[np.bool_]] = self._whole.allowed  # type: ignore[attr-defined]
        return allow([{**self._fixed, **p} for p in points])  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _CutSurrogate:
    whole: Surrogate
    fixed: Mapping[str, Any]

    @property
    def targets(self) -> tuple[str, ...]:
        return self.whole.targets

    @property
    def levels(self) -> Mapping[str, float]:
        return dict(getattr(self.whole, "levels", {}))

    def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Prediction]:
        return self.whole.predict([{**self.fixed, **p} for p in points])


@dataclass(frozen=True)
class Slice:
    """A plane, or a line, through the middle of a space: what is fixed, and the map on it."""

    fixed: Mapping[str, Any]
    surface: Surface


def slices(view: LoopView, nodes: int, most: int = _MOST_SLICES) -> list[Slice]:
    """The map of a loop in more than two dimensions, cut through the middle for each pair of its ordered parameters."""
    space, surrogate = view.plan.loop.space, view.surrogate
    names = ordered(space)
    if surrogate is None or not names:
        return []
    middle = {name: _middle(p) for name, p in space.parameters.items()}
    found = []
    for axes in list(combinations(names, min(2, len(names))))[:most]:
        fixed = {name: value for name, value in middle.items() if name not in axes}
        cut = _Cut(space, axes, fixed)
        found.append(Slice(fixed, surface_of(cut, _CutSurrogate(surrogate, fixed), nodes)))
    return found


def _middle(parameter: Any) -> Any:
    return parameter.choices[0] if isinstance(parameter, Categorical) else parameter.from_unit(0.5)
