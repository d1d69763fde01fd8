"""Cuts through a space of many parameters: planes, or lines, on which the other parameters are held fixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from idds_agents.report.reading import LoopView
from idds_agents.report.surface import Surface, levels_of, observed, surface_of
from idds_core.contour import can_exist
from idds_core.errors import IddsError, did_you_mean
from idds_core.history import Point
from idds_core.ports import Prediction, Surrogate
from idds_core.space import Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "NEAR",
    "Centre",
    "Slice",
    "Slices",
    "centre",
    "checked_values",
    "fixed_text",
    "near",
    "ordered",
    "slices",
    "slices_again",
    "value_text",
]

#: points that are not farther away than this, in each coordinate of the unit cube, belong to a slice
NEAR = 0.15

_Fixed = Mapping[str, Sequence[Any]]


def ordered(space: Space) -> list[str]:
    """Parameters whose values have an order: the ones that can be an axis."""
    return [name for name, p in space.parameters.items() if not hasattr(p, "choices")]


# ---------------------------------------------------------------------- where to cut
@dataclass(frozen=True)
class Centre:
    """A full point that cuts go through, and what it is in words."""

    parameters: Mapping[str, Any]
    text: str


def centre(view: LoopView, target: str | None = None) -> Centre:
    """The measured point nearest to the level of a target, the first by default; else the middle of the space."""
    targets = view.surrogate.targets if view.surrogate is not None else ()
    name = target or (targets[0] if targets else None)
    level = levels_of(view).get(name) if name is not None else None
    if name is not None and level is not None and view.history.measured:
        name = observed(view, name)
        best = min(view.history.measured, key=lambda p: (abs(_value(p, name) - level), p.number))
        return Centre(dict(best.parameters), f"point {best.number}, {name} = {_value(best, name):.3g}")
    space = view.plan.loop.space
    middle = {n: p.choices[0] if hasattr(p, "choices") else p.from_unit(0.5) for n, p in space.parameters.items()}
    return Centre(middle, "the middle")


def _value(point: Point, target: str) -> float:
    assert point.observation is not None
    return point.observation.values[target]


def value_text(value: Any) -> str:
    """A value in a few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def fixed_text(space: Space, fixed: Mapping[str, Any]) -> str:
    """What is held fixed, with units."""
    words = []
    for name, value in fixed.items():
        unit = getattr(space.parameters[name], "unit", "")
        words.append(f"{name} = {value_text(value)}" + (f" {unit}" if unit else ""))
    return ", ".join(words)


def checked_values(space: Space, fixed: _Fixed) -> dict[str, list[Any]]:
    """Values to cut at, each one of its parameter.

    Raises
    ------
    IddsError
        E-PLOT-007 for an unknown parameter, or a value that is none of it.

    """
    for name, values in fixed.items():
        if name not in space.parameters:
            raise IddsError.of("E-PLOT-007", f"{name} is no parameter to cut at", "", "--slice",
                               did_you_mean(name, list(space.names)))  # fmt: skip
        for value in values:
            if not space.parameters[name].holds(value):
                raise IddsError.of("E-PLOT-007", f"there is no slice at {name} = {value}", "it is outside of the space",
                                   "--slice", f"Give a value of {name} that points can have.")  # fmt: skip
    return {name: list(dict.fromkeys(values)) for name, values in fixed.items()}


# ---------------------------------------------------------------------- the cuts
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

    def levels_at(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, NDArray[np.float64]]:
        found: Callable[[Any], Mapping[str, Any]] = getattr(self.whole, "levels_at", lambda _: {})
        return found([{**self.fixed, **p} for p in points])

    def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Prediction]:
        return self.whole.predict([{**self.fixed, **p} for p in points])

    def can_exist(self, points: Sequence[Mapping[str, Any]]) -> NDArray[np.float64] | None:
        return can_exist(self.whole, [{**self.fixed, **p} for p in points])


@dataclass(frozen=True)
class Slice:
    """A plane, or a line, through a space: what is fixed, and the map on it."""

    fixed: Mapping[str, Any]
    surface: Surface


@dataclass(frozen=True)
class Slices:
    """Some cuts through one centre, except for the parameters `asked` for; `left_out` of them would be too many."""

    centre: Centre
    cuts: Sequence[Slice]
    left_out: int
    asked: Sequence[str] = ()


def near(space: Space, point: Point, cut: Slice) -> bool:
    """Whether a point lies near enough to a slice to be shown on it: in what is fixed, and choices must be equal."""
    if any(hasattr(space.parameters[n], "choices") and point.parameters[n] != v for n, v in cut.fixed.items()):
        return False
    a, b = space.to_unit([point.parameters, {**point.parameters, **cut.fixed}])
    return bool(abs(a - b).max() <= NEAR)


def slices(view: LoopView, nodes: int, most: int, fixed: _Fixed | None = None, through: Centre | None = None) -> Slices:
    """The map of a loop, cut for each pair of free parameters that have an order, and for each choice of the others.

    Parameters
    ----------
    nodes : of an axis.
    most : number of cuts; pairs of parameters that matter most come first.
    fixed : name -> its values, a cut for each; what is not named, and is no axis, is as in the centre.
    through : the centre; by default :func:`centre`.

    Raises
    ------
    IddsError
        When nothing is left that could be an axis.

    """
    space, surrogate, fixed = view.plan.loop.space, view.surrogate, dict(fixed or {})
    through = through or centre(view)
    free = [name for name in ordered(space) if name not in fixed]
    if surrogate is None:
        return Slices(through, (), 0)
    if not free:
        raise IddsError.of("E-PLOT-007", "there is nothing to draw", "no parameter that has an order is free",
                           view.path, "Fix one parameter less.")  # fmt: skip
    choices = {n: p.choices for n, p in space.parameters.items() if hasattr(p, "choices") and n not in fixed}
    varied = {**choices, **fixed}
    values = list(product(*varied.values()))
    pairs = [tuple(free)] if len(free) < 3 else list(combinations(free, 2))
    if len(pairs) * len(values) > most:
        pairs.sort(key=lambda pair: -_weight(view, pair))
    wanted = [(axes, dict(zip(varied, given, strict=True))) for axes in pairs for given in values]
    found = []
    for axes, held in wanted[:most]:
        whole = {n: {**through.parameters, **held}[n] for n in space.names if n not in axes}
        found.append(_cut(space, surrogate, axes, whole, nodes))
    return Slices(through, found, len(wanted) - len(found), tuple(fixed))


def slices_again(view: LoopView, like: Slices, nodes: int) -> Slices:
    """The same cuts of the loop as another view sees it, which must have a map."""
    space, surrogate = view.plan.loop.space, view.surrogate
    assert surrogate is not None
    cuts = [_cut(space, surrogate, cut.surface.grid.names, cut.fixed, nodes) for cut in like.cuts]
    return replace(like, cuts=cuts)


def _cut(space: Space, surrogate: Surrogate, axes: Sequence[str], fixed: Mapping[str, Any], nodes: int) -> Slice:
    return Slice(fixed, surface_of(_Cut(space, axes, fixed), _CutSurrogate(surrogate, fixed), nodes))


def _weight(view: LoopView, names: Sequence[str]) -> float:
    """How much some parameters matter: the shorter the lengthscales on record, the more."""
    from idds_agents.report.facts import health

    scales = [told["lengthscales"].get(name) for told in health(view) for name in names]
    return float(sum(1.0 / scale for scale in scales if scale))
