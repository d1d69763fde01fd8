"""The surrogate of a loop on a grid, with the names, units and lines that plots and exports need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from idds_agents.report.reading import LoopView
from idds_core.contour import LIKELY, GridMap, grid_map
from idds_core.errors import IddsError
from idds_core.ports import Surrogate
from idds_core.space import Log, Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CURVES", "GRID", "Axis", "Line", "Surface", "forbidden", "level_words", "levels_of", "need_surrogate",
    "observed", "regions", "rule", "surface_of"]  # fmt: skip

#: "plus" is where the mean + 1 standard deviation crosses the level, "minus" where the mean - 1 does.
CURVES = ("central", "plus", "minus")
#: nodes of an axis: finer than a page shows, and a fraction of a second to compute
GRID = 181
_CLIP = 1e-12
_MASK_NODES = 361


@dataclass(frozen=True)
class Axis:
    """One parameter of the grid: (k,) values in natural units, in rising order."""

    name: str
    unit: str
    values: NDArray[np.float64]
    log: bool = False

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True)
class Line:
    """One piece of a curve: (k, 2) points in natural units; in one dimension a single crossing, (1, 1)."""

    target: str
    curve: str
    segment: int
    points: NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """The surrogate of a loop in one or two dimensions; arrays are (ny, nx) or (nx,), NaN where nothing is allowed."""

    space: Space
    grid: GridMap

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One for each parameter, x first."""
        found = []
        for name, values in zip(self.grid.names, self.grid.axes, strict=True):
            parameter = self.space.parameters[name]
            found.append(Axis(name, parameter.unit, values, isinstance(parameter, Log)))
        return tuple(found)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(self.grid.predictions)

    def lines(self, target: str, curve: str = "central") -> list[Line]:
        """The pieces of a curve of a target; they end where the allowed region does."""
        if curve == "central":
            pieces = self.grid.lines(target)
        else:
            to_allowed, to_excluded = self.grid.band(target)
            pieces = to_excluded if (curve == "plus") == self._below(target) else to_allowed
        return [Line(target, curve, i, piece) for i, piece in enumerate(pieces)]

    def all_lines(self) -> list[Line]:
        """All pieces of all curves of all targets."""
        return [line for target in self.targets for curve in CURVES for line in self.lines(target, curve)]

    def score(self, target: str) -> NDArray[np.float64]:
        """How many standard deviations the level is away: straight where p_excluded is a cliff, good to fill between.

        Positive where the target is more likely excluded than not.
        """
        import numpy as np
        from scipy.special import ndtri

        return np.asarray(ndtri(np.clip(self.grid.predictions[target].p_excluded, _CLIP, 1 - _CLIP)))

    @property
    def bands(self) -> dict[str, tuple[str, str]]:
        """Contours ``up`` and ``down`` of one target, whose area between them is where a theory is uncertain."""
        of = {t.rpartition(".")[0] for t in self.targets if t.endswith(".up") and f"{t[:-3]}.down" in self.targets}
        return {name: (f"{name}.up", f"{name}.down") for name in sorted(of) if name}

    def between(self, target: str) -> NDArray[np.float64]:
        """Above 0 between the contours ``up`` and ``down`` of a target, below elsewhere."""
        import numpy as np

        up, down = (self.score(name) for name in self.bands[target])
        return np.asarray(-up * down)

    def _below(self, target: str) -> bool:
        """Whether low values are the excluded ones: told by the map itself, whichever learner it is from."""
        import numpy as np

        found = self.grid.predictions[target]
        inside, outside = found.mean[found.p_excluded > 0.5], found.mean[found.p_excluded <= 0.5]
        return bool(np.mean(inside) < np.mean(outside)) if inside.size and outside.size else True


def forbidden(surface: Surface) -> tuple[list[Any], list[Any], NDArray[np.float64]]:
    """Where nothing is, on a finer grid of its own: x (k,), y (k,), and (k, k) above 0.5 inside.

    That is against the constraints, or where points probably cannot exist, as the surrogate has learnt.
    """
    import numpy as np

    (x_name, x), (y_name, y) = (
        (name, [surface.space.parameters[name].from_unit(i / (_MASK_NODES - 1)) for i in range(_MASK_NODES)])
        for name in surface.grid.names
    )
    allowed = surface.space.allowed([{x_name: a, y_name: b} for b in y for a in x])
    outside = _blurred(~allowed.reshape(len(y), len(x)))
    return x, y, outside if surface.grid.exists is None else np.maximum(outside, 1.0 - _finer(surface.grid, x, y))


def rule(surface: Surface) -> str:
    """What the region is where nothing is, in words."""
    limits = " and ".join(map(str, surface.space.constraints))
    words = [f"not {limits}" if len(limits) < 36 else "not allowed"] if limits else []
    if surface.grid.exists is not None and (surface.grid.exists < LIKELY).any():
        words.append("infeasible, as learnt")
    return ", or ".join(words)


def _finer(grid: GridMap, x: Sequence[Any], y: Sequence[Any]) -> NDArray[np.float64]:
    """The probability that points can exist at all of x and y."""
    import numpy as np

    wide = np.array([np.interp(x, grid.axes[0], row) for row in grid.exists])  # type: ignore[union-attr]
    return np.array([np.interp(y, grid.axes[1], column) for column in wide.T]).T


def regions(axes: Sequence[Any], z: NDArray[np.float64], low: float, high: float) -> list[list[NDArray[np.float64]]]:
    """Where low < z < high as polygons: of each its rings (k, 2), the outer one first, then its holes.

    axes : x (nx,) and y (ny,); z : (ny, nx), NaN where there is nothing.
    """
    import numpy as np
    from contourpy import FillType, contour_generator

    masked: Any = np.ma.masked_invalid(z)
    generator = contour_generator(x=axes[0], y=axes[1], z=masked, corner_mask=True, fill_type=FillType.OuterOffset)
    found: Any = generator.filled(low, high)
    return [[points[a:b] for a, b in pairwise(offsets)] for points, offsets in zip(*found, strict=True)]


def _blurred(mask: NDArray[np.bool_], width: int = 7) -> NDArray[np.float64]:
    """The mean of a mask over a square around each node: its line at one half has no stairs."""
    import numpy as np

    found = np.pad(mask.astype(float), width // 2, mode="edge")
    for _ in range(2):
        sums = np.cumsum(np.vstack([np.zeros(found.shape[1]), found]), axis=0)
        found = ((sums[width:] - sums[:-width]) / width).T
    return found


def need_surrogate(view: LoopView) -> Surrogate:
    """The surrogate of a loop.

    Raises
    ------
    IddsError
        When it has none, or none yet.

    """
    surrogate = view.surrogate
    if surrogate is None:
        kind = view.plan.document["learner"].get("type", "its learner")
        raise IddsError.of(
            "E-REPORT-002",
            f"{view.path} has no map",
            f"{view.evaluations} points are measured, the learner is {kind}",
            view.path,
            "Wait for more points, or use a learner that has a map; tables of points need none (--what points).",
        )
    return surrogate


def levels_of(view: LoopView) -> dict[str, float]:
    """Target -> level of its contour in natural units, where it is known and the same everywhere."""
    known = getattr(view.surrogate, "levels", None)
    return {str(k): float(v) for k, v in known.items()} if isinstance(known, Mapping) else {}


def level_words(view: LoopView) -> dict[str, float | str]:
    """Contour -> its level as it was given: a number, or an expression of the parameters."""
    known = getattr(view.surrogate, "level_texts", None)
    return dict(known) if isinstance(known, Mapping) else dict(levels_of(view))


def observed(view: LoopView, name: str) -> str:
    """Which value of an observation a contour is of: its own name, unless its target has several."""
    return str(getattr(view.surrogate, "observes", {}).get(name, name))


def surface_of(space: Space, surrogate: Surrogate, count: int = GRID) -> Surface:
    """The surrogate on a grid of `count` nodes an axis.

    Raises
    ------
    IddsError
        When the space has more than two dimensions, or an axis without order.

    """
    return Surface(space, grid_map(surrogate, space, count))
