"""The surrogate on a grid, and the lines where a target crosses its level with their +-1 standard deviation band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from idds_agents.report.reading import LoopView
from idds_core.errors import IddsError
from idds_core.ports import Surrogate
from idds_core.space import Categorical, Integer, Log, Parameter, Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CURVES", "Axis", "Line", "Surface", "axis_of", "levels_of", "need_surrogate", "surface_of"]

#: curve -> how many standard deviations are added to the mean before it is compared with the level.
CURVES = {"central": 0, "plus": 1, "minus": -1}
_CLIP = 1e-12
_GRID = 181


@dataclass(frozen=True)
class Axis:
    """One parameter of the grid: its values in natural units, in rising order."""

    name: str
    unit: str
    values: list[Any]
    log: bool = False

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


def axis_of(name: str, parameter: Parameter, count: int) -> Axis:
    """At most `count` values that span a numeric parameter.

    Raises
    ------
    IddsError
        For a parameter without an order.

    """
    if isinstance(parameter, Categorical):
        raise IddsError.of("E-PLOT-002", f"{name} has no axis", "its choices have no order", "",
                           "Use 'predict' with points of your own.")  # fmt: skip
    if isinstance(parameter, Integer):
        span = parameter.high - parameter.low
        values: list[Any] = sorted({parameter.low + round(i * span / (count - 1)) for i in range(count)})
        return Axis(name, parameter.unit, values)
    return Axis(name, parameter.unit, [parameter.from_unit(i / (count - 1)) for i in range(count)],
                isinstance(parameter, Log))  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One piece of a curve: (k, 2) points in natural units."""

    target: str
    curve: str
    segment: int
    points: NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """The surrogate of a two-dimensional loop on a grid.

    Attributes
    ----------
    x, y : the axes.
    allowed : (ny, nx) whether the constraints are met.
    p_excluded, mean, sd : target -> (ny, nx).

    """

    space: Space
    x: Axis
    y: Axis
    allowed: NDArray[np.bool_]
    p_excluded: Mapping[str, NDArray[np.float64]]
    mean: Mapping[str, NDArray[np.float64]]
    sd: Mapping[str, NDArray[np.float64]]

    @cached_property
    def distance(self) -> dict[str, NDArray[np.float64]]:
        """Target -> (ny, nx) distance of the level from the mean in standard deviations of the learnt quantity.

        It is smooth where p_excluded is a cliff, so that straight interpolation between nodes is good. Where the
        target rises to be excluded its sign is turned, so that "plus" is mean + sd for both.
        """
        import numpy as np

        inverse = np.frompyfunc(NormalDist().inv_cdf, 1, 1)
        found = {}
        for target, p in self.p_excluded.items():
            z = inverse(np.clip(p, _CLIP, 1 - _CLIP)).astype(float)
            found[target] = z if self._below(target) else -z
        return found

    def _below(self, target: str) -> bool:
        """Whether low values are the excluded ones: told by the map itself."""
        inside = self.p_excluded[target] > 0.5
        if not inside.any() or inside.all():
            return True
        mean = self.mean[target]
        return bool(mean[inside].mean() < mean[~inside].mean())

    def whole_lines(self, target: str, curve: str = "central") -> list[NDArray[np.float64]]:
        """The pieces of a curve, (k, 2) each, also where the constraints are not met."""
        import numpy as np
        from contourpy import contour_generator

        made = contour_generator(self.x.values, self.y.values, self.distance[target])
        return [np.asarray(piece, dtype=float) for piece in made.lines(float(CURVES[curve]))]

    def lines(self, target: str, curve: str = "central") -> list[Line]:
        """The pieces of a curve of a target, cut where they leave the allowed region."""
        pieces = [part for piece in self.whole_lines(target, curve) for part in self._allowed_parts(piece)]
        return [Line(target, curve, i, piece) for i, piece in enumerate(pieces)]

    def all_lines(self) -> list[Line]:
        """All pieces of all curves of all targets."""
        return [line for target in self.p_excluded for curve in CURVES for line in self.lines(target, curve)]

    def _allowed_parts(self, piece: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        import numpy as np

        if not self.space.constraints:
            return [piece]
        inside = self.space.allowed([{self.x.name: x, self.y.name: y} for x, y in piece.tolist()])
        breaks = np.flatnonzero(np.diff(inside.astype(int))) + 1
        parts = np.split(piece, breaks)
        flags = np.split(inside, breaks)
        return [part for part, flag in zip(parts, flags, strict=True) if flag[0] and len(part) > 1]


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
        raise IddsError.of("E-REPORT-002", f"{view.path} has no map",
                           f"{view.evaluations} points are measured, the learner is {kind}", view.path,
                           "Wait for more points, or use a learner that has a map.")  # fmt: skip
    return surrogate


def levels_of(view: LoopView) -> dict[str, float]:
    """Target -> level of its contour in natural units, where it is known."""
    known = getattr(view.surrogate, "levels", None)
    if isinstance(known, Mapping):
        return {str(k): float(v) for k, v in known.items()}
    level = view.plan.document["learner"].get("level")
    if isinstance(level, Mapping):
        return {str(k): float(v) for k, v in level.items()}
    return dict.fromkeys(view.plan.loop.targets, float(level)) if isinstance(level, (int, float)) else {}


def surface_of(space: Space, surrogate: Surrogate, count: int = _GRID) -> Surface:
    """The surrogate on a grid of count x count nodes.

    Raises
    ------
    IddsError
        When the space has not two numeric dimensions.

    """
    import numpy as np

    if space.dimension != 2:
        raise IddsError.of("E-PLOT-001", f"a space of {space.dimension} dimensions has no contour lines to draw",
                           "two are needed", ", ".join(space.names),
                           "Use 'predict' with points of your own.")  # fmt: skip
    x, y = (axis_of(name, parameter, count) for name, parameter in space.parameters.items())
    points = [{x.name: a, y.name: b} for b in y.values for a in x.values]
    shape = (len(y.values), len(x.values))
    predicted = surrogate.predict(points)
    grids = {
        field: {t: np.asarray(getattr(predicted[t], field), dtype=float).reshape(shape) for t in surrogate.targets}
        for field in ("p_excluded", "mean", "sd")
    }
    return Surface(space, x, y, space.allowed(points).reshape(shape), **grids)
