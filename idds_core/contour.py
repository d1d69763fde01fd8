"""Contours of a surrogate on a grid: what plots, reports and exports draw, whichever learner the map is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from idds_core.errors import IddsError
from idds_core.ports import Prediction, Surrogate
from idds_core.space import Categorical, Integer, Ordered, Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["LIKELY", "GridMap", "can_exist", "grid_map"]

#: Phi(-1) and Phi(+1): where p_excluded says that the contour is one standard deviation away
BAND = (0.15865525393145707, 0.8413447460685429)
#: below this probability a point is taken as one that cannot exist
LIKELY = 0.5
#: probabilities beyond are all the same to a contour
_SURE = 1e-15


@dataclass(frozen=True)
class GridMap:
    """Every target of a surrogate on a regular grid (regular in the logarithm for parameters on that scale).

    Attributes
    ----------
    names : the parameter of each axis, x first
    axes : for each the (k,) values, in natural units
    allowed : (ny, nx), or (nx,) in one dimension: whether a grid point meets the constraints, and can exist as far as
        the surrogate has learnt
    predictions : by target, arrays of the same shape; NaN where nothing is allowed
    levels : the contour's level of each target, where the surrogate tells it: a number, or an array of that shape where
        it depends on the point
    exists : of the same shape, the probability that a point can exist; None where nothing is learnt of that

    """

    names: tuple[str, ...]
    axes: tuple[Array, ...]
    allowed: NDArray[np.bool_]
    predictions: Mapping[str, Prediction]
    levels: Mapping[str, float | Array] = field(default_factory=dict)
    exists: Array | None = None

    def lines(self, target: str) -> list[Array]:
        """The contour as polylines (k, 2) in natural units; in one dimension the crossing points, each (1, 1)."""
        if target in self.levels:
            level, mean = self.levels[target], self.predictions[target].mean
            return self._trace(mean, level) if isinstance(level, (int, float)) else self._trace(mean - level, 0.0)
        return self._trace(self._score(target), 0.0)

    def band(self, target: str) -> tuple[list[Array], list[Array]]:
        """Where the contour would be one standard deviation to the allowed, and to the excluded side; as `lines`."""
        score = self._score(target)
        return self._trace(score, -1.0), self._trace(score, 1.0)

    def excluded_share(self, target: str) -> float:
        """Share of the allowed part of the unit cube where exclusion is more likely than not; 0 if none is allowed."""
        import numpy as np

        weights = np.ones(self.allowed.shape)
        for axis in range(weights.ndim):  # a point at the edge stands for half a cell
            edge = np.ones(weights.shape[axis])
            edge[[0, -1]] = 0.5
            weights *= edge.reshape([-1 if i == axis else 1 for i in range(weights.ndim)])
        weights *= self.allowed
        total = float(weights.sum())
        with np.errstate(invalid="ignore"):
            return float(weights[self.predictions[target].p_excluded > 0.5].sum()) / total if total else 0.0

    def _score(self, target: str) -> Array:
        """How many standard deviations a point is excluded by: as straight as anything known of a foreign surrogate."""
        import numpy as np
        from scipy.special import ndtri

        p = self.predictions[target].p_excluded
        return np.asarray(ndtri(np.clip(p, _SURE, 1.0 - _SURE)))

    def _trace(self, z: Array, level: float) -> list[Array]:
        import numpy as np

        if z.ndim == 1:
            return self._crossings(z - level)
        from contourpy import contour_generator

        masked: Any = np.ma.masked_invalid(z)
        found = contour_generator(self.axes[0], self.axes[1], masked, corner_mask=True).lines(level)
        return [np.asarray(line, dtype=float) for line in found if len(line) > 1]

    def _crossings(self, z: Array) -> list[Array]:
        import numpy as np

        x, found = self.axes[0], []
        for i in range(len(x) - 1):
            a, b = z[i], z[i + 1]
            if np.isfinite(a) and np.isfinite(b) and (a < 0) != (b < 0):
                found.append(np.array([[x[i] + (x[i + 1] - x[i]) * a / (a - b)]]))
        return found


def grid_map(surrogate: Surrogate, space: Space, resolution: int = 101) -> GridMap:
    """The surrogate on a grid of `resolution` points an axis (fewer for integers, of which there are no more).

    Raises
    ------
    IddsError
        When the space has more than two dimensions, or an axis without order.

    """
    import numpy as np

    if space.dimension > 2:
        raise IddsError.of("E-CONTOUR-001", f"a space of {space.dimension} dimensions has no contour lines",
                           "lines are drawn in one and two", "space", "Fix all parameters but two.")  # fmt: skip
    for name, parameter in space.parameters.items():
        if isinstance(parameter, (Categorical, Ordered)):
            raise IddsError.of("E-CONTOUR-002", f"{name} has no order", "its values are choices", f"space.{name}",
                               "Draw one contour for each choice.")  # fmt: skip
    values = [_axis(space, name, resolution) for name in space.names]
    shape = tuple(len(v) for v in reversed(values))
    points = [dict(zip(reversed(space.names), p, strict=True)) for p in product(*reversed(values))]
    allowed = space.allowed(points)
    exists = can_exist(surrogate, points)
    if exists is not None:
        allowed = allowed & (exists >= LIKELY)
    kept = [p for p, fine in zip(points, allowed.tolist(), strict=True) if fine]
    found = surrogate.predict(kept) if kept else {}
    predictions = {}
    for target in surrogate.targets:
        columns = []
        for name in ("mean", "sd", "p_excluded"):
            whole = np.full(len(points), np.nan)
            if kept:
                whole[allowed] = getattr(found[target], name)
            columns.append(whole.reshape(shape))
        predictions[target] = Prediction(*columns)
    axes = tuple(np.array(v, dtype=float) for v in values)
    levels: dict[str, float | Array] = dict(getattr(surrogate, "levels", {}))
    for target, level in (getattr(surrogate, "levels_at", lambda _: {})(kept) if kept else {}).items():
        whole = np.full(len(points), np.nan)
        whole[allowed] = level
        levels[target] = whole.reshape(shape)
    return GridMap(space.names, axes, allowed.reshape(shape), predictions, levels,
                   exists.reshape(shape) if exists is not None else None)  # fmt: skip


def can_exist(surrogate: Surrogate, points: Sequence[Mapping[str, Any]]) -> Array | None:
    """(n,) the probability that each point can exist; None where the surrogate has learnt nothing of that."""
    told = getattr(surrogate, "can_exist", None)
    return told(points) if told is not None else None


def _axis(space: Space, name: str, resolution: int) -> list[Any]:
    """Values of a parameter, evenly spread over its scale, both ends included."""
    import numpy as np

    parameter = space.parameters[name]
    if isinstance(parameter, Integer):
        return [int(v) for v in np.unique(np.linspace(parameter.low, parameter.high, resolution).round())]
    return [parameter.from_unit(float(u)) for u in np.linspace(0.0, 1.0, resolution)]
