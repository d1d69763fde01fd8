"""Two loops side by side: what each excludes, how far the contours are apart, which points and wishes differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from idds_agents.report.frames import ordered
from idds_agents.report.reading import LoopView
from idds_agents.report.surface import Surface, regions, surface_of
from idds_core.errors import IddsError
from idds_core.history import Point
from idds_core.ports import Surrogate
from idds_core.space import Categorical, Parameter, Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Comparison", "Overlap", "Side", "common_space", "definition_differences", "point_differences"]

_NODES = 241
_SAMPLES = 1 << 14
_SURE = 1e3
_SAME = 1e-12


@dataclass(frozen=True)
class Side:
    """One of two loops.

    name : as it was asked for.
    surrogate : its map.
    """

    name: str
    view: LoopView
    surrogate: Surrogate


# ---------------------------------------------------------------------- the space they share
def common_space(a: Side, b: Side) -> Space:
    """What both loops look at: the overlap of their ranges under the constraints of both.

    Raises
    ------
    IddsError
        When the parameters are not the same, or there is no overlap.

    """
    one, other = a.view.plan.loop.space, b.view.plan.loop.space
    for first, second, space in ((a, b, other), (b, a, one)):
        lost = [n for n in first.view.plan.loop.space.names if n not in space.parameters]
        if lost:
            raise _unlike(f"{second.name} has no parameter {', '.join(lost)}")
    shared: dict[str, Parameter] = {}
    for name, p in one.parameters.items():
        q = other.parameters[name]
        if type(p) is not type(q):
            raise _unlike(f"{name} is {type(p).__name__} in {a.name} and {type(q).__name__} in {b.name}")
        if p.unit != q.unit:
            raise _unlike(f"{name} is in {p.unit or 'no unit'} in {a.name} and in {q.unit or 'no unit'} in {b.name}")
        shared[name] = _overlap(name, p, q)
    return Space(shared, constraints=tuple(dict.fromkeys((*one.constraints, *other.constraints))))


def _overlap(name: str, p: Any, q: Any) -> Parameter:
    if isinstance(p, Categorical):
        if set(p.choices) != set(q.choices):
            raise _unlike(f"the choices of {name} differ")
        return p
    low, high = max(p.low, q.low), min(p.high, q.high)
    if not low < high:
        raise _unlike(f"the ranges of {name} do not overlap")
    made: Parameter = type(p)(low, high, unit=p.unit)
    return made


def _unlike(why: str) -> IddsError:
    return IddsError.of("E-COMPARE-001", "the spaces do not match", why, "", "Compare loops with the same parameters.")


# ---------------------------------------------------------------------- what is excluded
@dataclass(frozen=True)
class Overlap:
    """The excluded regions of a target in both loops, over the space they share.

    Attributes
    ----------
    a, b : share of the feasible unit cube that each excludes.
    both, either : share that both exclude, and that at least one does.
    areas : of a, b and their symmetric difference in natural units; two dimensions only.
    distance : the largest distance from a point of one contour to the other contour, in the unit cube; None without
        two contours. `where` are the two points.

    """

    a: float
    b: float
    both: float
    either: float
    areas: tuple[float, float, float] | None = None
    distance: float | None = None
    where: tuple[Mapping[str, float], Mapping[str, float]] | None = None

    @property
    def union_share(self) -> float:
        """Intersection over union; 1 when neither excludes anything."""
        return self.both / self.either if self.either > 0 else 1.0

    @property
    def difference(self) -> float:
        """Share of the feasible unit cube that exactly one of them excludes."""
        return max(0.0, self.either - self.both)


@dataclass(frozen=True)
class Comparison:
    """Two loops on the space they share."""

    a: Side
    b: Side
    targets: tuple[str, ...]

    @cached_property
    def space(self) -> Space:
        """The space they share."""
        return common_space(self.a, self.b)

    @property
    def drawable(self) -> bool:
        """Whether there are contours: two dimensions, both with an order."""
        return self.space.dimension == 2 and len(ordered(self.space)) == 2

    @cached_property
    def surfaces(self) -> tuple[Surface, Surface]:
        """Both maps on the same grid."""
        first, second = (surface_of(self.space, side.surrogate, _NODES) for side in (self.a, self.b))
        return first, second

    def overlap(self, target: str) -> Overlap:
        """How the excluded regions of a target lie."""
        return self._planar(target) if self.drawable else self._sampled(target)

    def _planar(self, target: str) -> Overlap:
        """By the areas inside contours: finer than the grid."""
        import numpy as np

        first, second = self.surfaces
        if not first.grid.allowed.any():
            raise _unlike("no point meets the constraints of both")
        one, other = first.score(target), second.score(target)
        both, either = np.fmin(one, other), np.fmax(one, other)
        named = zip(first.grid.names, first.grid.axes, strict=True)
        unit = [np.asarray(self.space.parameters[name].to_unit(values)) for name, values in named]
        whole = _area(unit, np.where(first.grid.allowed, 1.0, np.nan))
        share = [_area(unit, z) / whole if whole else 0.0 for z in (one, other, both, either)]
        a, b, common, union = (_area(first.grid.axes, z) for z in (one, other, both, either))
        lines = [[line.points for line in s.lines(target)] for s in (first, second)]
        distance, where = self._apart(*lines)
        areas = (a, b, max(0.0, union - common))
        return Overlap(share[0], share[1], share[2], share[3], areas, distance, where)

    def _sampled(self, target: str) -> Overlap:
        """By points spread evenly over the space."""
        import numpy as np
        from scipy.stats import qmc

        sampler = qmc.Sobol(self.space.dimension, scramble=False)
        points = self.space.from_unit(sampler.random(_SAMPLES))
        fine = [p for p, ok in zip(points, self.space.allowed(points).tolist(), strict=True) if ok]
        if not fine:
            raise _unlike("no point meets the constraints of both")
        one, other = (side.surrogate.predict(fine)[target].p_excluded > 0.5 for side in (self.a, self.b))
        a, b, both, either = (float(np.mean(mask)) for mask in (one, other, one & other, one | other))
        return Overlap(a, b, both, either)

    def _apart(self, one: Sequence[Array], other: Sequence[Array]) -> tuple[float | None, Any]:
        """The Hausdorff distance of two sets of polylines in the unit cube, and where it is."""
        import numpy as np
        from scipy.spatial.distance import directed_hausdorff

        if not one or not other:
            return None, None
        natural = [np.vstack(lines) for lines in (one, other)]
        unit = [self._unit(points) for points in natural]
        there, back = directed_hausdorff(unit[0], unit[1]), directed_hausdorff(unit[1], unit[0])
        if there[0] >= back[0]:
            distance, i, j = there
        else:
            distance, j, i = back
        where = tuple(
            dict(zip(self.surfaces[0].grid.names, map(float, points[k]), strict=True))
            for points, k in zip(natural, (i, j), strict=True)
        )
        return float(distance), where

    def _unit(self, points: Array) -> Array:
        import numpy as np

        names = self.surfaces[0].grid.names
        return np.column_stack([self.space.parameters[n].to_unit(points[:, i]) for i, n in enumerate(names)])

    @property
    def area_unit(self) -> str:
        """Unit of an area, such as GeV² or GeV·TeV; empty without any."""
        units = [p.unit for p in self.space.parameters.values()]
        return f"{units[0]}²" if units[0] and len(set(units)) == 1 else "·".join(u for u in units if u)


def _area(axes: Sequence[Array], z: Array) -> float:
    """Area where z > 0: of the polygons inside its contour, holes taken off."""
    total = 0.0
    for outer, *holes in regions(axes, z, 0.0, _SURE):
        total += abs(_shoelace(outer)) - sum(abs(_shoelace(hole)) for hole in holes)
    return total


def _shoelace(ring: Array) -> float:
    import numpy as np

    centred = ring - ring[0]  # small numbers: nothing is lost in the difference
    x, y = centred[:, 0], centred[:, 1]
    return 0.5 * float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))


# ---------------------------------------------------------------------- points and definitions
def point_differences(a: LoopView, b: LoopView, targets: Sequence[str]) -> dict[str, Any]:
    """Points measured in both at the same parameters, and those of them whose values differ; the n-th measurement at a
    place is compared with the n-th.
    """
    names = a.plan.loop.space.names
    known: dict[tuple[Any, ...], list[Point]] = {}
    for p in a.history.measured:
        known.setdefault(tuple(p.parameters[n] for n in names), []).append(p)
    shared, differ = 0, []
    for q in b.history.measured:
        here = known.get(tuple(q.parameters[n] for n in names))
        if not here:
            continue
        p = here.pop(0)
        if p.observation is None or q.observation is None:
            continue
        shared += 1
        values = {t: (p.observation.values[t], q.observation.values[t]) for t in targets}
        unlike = {t: v for t, v in values.items() if not math.isclose(*v, rel_tol=_SAME, abs_tol=0.0)}
        if unlike:
            differ.append(
                {
                    "parameters": dict(p.parameters),
                    "points": [p.number, q.number],
                    "values": {t: list(v) for t, v in unlike.items()},
                }
            )
    return {"measured": [a.evaluations, b.evaluations], "shared": shared, "differ": differ}


def definition_differences(a: LoopView, b: LoopView) -> list[dict[str, Any]]:
    """What was asked differently: path into the definition, and both values (None where it is not there)."""
    one, other = (
        dict(_flat({k: v for k, v in view.plan.document.items() if k != "name"}))
        | {"seed": view.workflow.seed, "source": view.workflow.bundle}
        for view in (a, b)
    )
    paths = [*one, *(p for p in other if p not in one)]
    return [{"path": p, "a": one.get(p), "b": other.get(p)} for p in paths if one.get(p) != other.get(p)]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a document by their path."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for i, item in enumerate(value):
            name = item.get("name") or item.get("type") if isinstance(item, Mapping) else None
            yield from _flat(item, f"{path}.{name}" if name else f"{path}[{i}]")
    else:
        yield path, value
