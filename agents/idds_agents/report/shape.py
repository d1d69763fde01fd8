"""A map in many parameters, seen from one or two of them: profiles, shares, and how much of the space is excluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idds_agents.report.parameter_axes import unit_edges
from idds_agents.report.reading import LoopView
from idds_agents.report.surface import need_surrogate
from idds_core.contour import LIKELY, can_exist
from idds_core.space import Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from idds_core.ports import Surrogate

    Array = NDArray[np.float64]

__all__ = ["Cloud", "Profile", "Share", "cloud", "excluded_volume", "profile", "share", "values_of"]

_POINTS = 16384
_TRIED = 2**17
_NODES = 31
_OTHERS = 256
_CLOSER = (0.15, 0.04)
_CLOSE_POINTS = 64
_CHUNK = 8192


# ---------------------------------------------------------------------- points all over the space
@dataclass(frozen=True)
class Cloud:
    """Allowed points, evenly spread: (n, d) in the unit cube, and by target (n,) probabilities of exclusion."""

    unit: Array
    p_excluded: Mapping[str, Array]


def cloud(view: LoopView) -> Cloud:
    """Some thousand allowed points with what the map has there."""
    import numpy as np

    surrogate, space = need_surrogate(view), view.plan.loop.space
    unit, points = _spread(space, _POINTS)
    exists = can_exist(surrogate, points)
    if exists is not None and (exists >= LIKELY).any():
        unit, points = unit[exists >= LIKELY], [p for p, e in zip(points, exists, strict=True) if e >= LIKELY]
    parts = [surrogate.predict(points[i : i + _CHUNK]) for i in range(0, len(points), _CHUNK)]
    found = {t: np.concatenate([np.asarray(p[t].p_excluded) for p in parts]) for t in surrogate.targets}
    return Cloud(unit, found)


def _spread(space: Space, count: int) -> tuple[Array, list[dict[str, Any]]]:
    """Up to so many allowed points of a Sobol sequence, always the same ones; at least one is tried to be found."""
    from scipy.stats import qmc

    tried = count
    while True:
        unit = qmc.Sobol(space.dimension, scramble=True, rng=0).random(tried)
        points = space.from_unit(unit)
        allowed = space.allowed(points)
        if int(allowed.sum()) >= count // 2 or tried >= _TRIED:
            kept = allowed.nonzero()[0][:count]
            points = [points[i] for i in kept]
            return space.to_unit(points), points
        tried *= 2


def excluded_volume(found: Cloud) -> dict[str, dict[str, Any]]:
    """Target -> share of the allowed space that is excluded, in any dimension.

    `range` is the same with the contour one standard deviation to the one side, and to the other.
    """
    from idds_core.contour import BAND

    return {
        target: {"share": float((p > 0.5).mean()), "range": [float((p > edge).mean()) for edge in reversed(BAND)]}
        for target, p in found.p_excluded.items()
    }


# ---------------------------------------------------------------------- seen from one or two parameters
@dataclass(frozen=True)
class Share:
    """How much of what is behind each bin is excluded, and lies in the band: (k,) or (ky, kx), NaN without points."""

    excluded: Array
    band: Array


def share(space: Space, found: Cloud, target: str, names: Sequence[str]) -> Share:
    """The shares of a target over the bins of one parameter, or of two (x, y)."""
    import numpy as np

    from idds_core.contour import BAND

    columns = [found.unit[:, space.names.index(name)] for name in reversed(names)]
    edges = [unit_edges(space, name) for name in reversed(names)]
    p = found.p_excluded[target]

    def of(weights: Array | None) -> Array:
        return np.asarray(np.histogramdd(np.stack(columns, axis=1), bins=edges, weights=weights)[0])

    with np.errstate(invalid="ignore", divide="ignore"):
        whole = of(None)
        inside = ((p > BAND[0]) & (p < BAND[1])).astype(float)
        return Share(of((p > 0.5).astype(float)) / whole, of(inside) / whole)


# ---------------------------------------------------------------------- profiles
@dataclass(frozen=True)
class Profile:
    """The lowest and highest mean of a target over all other parameters, with the sd there: (k,), NaN if none allowed.

    values : (k,) of the parameter, natural or choices.
    """

    name: str
    target: str
    values: Sequence[Any]
    low: Array
    low_sd: Array
    high: Array
    high_sd: Array


def values_of(space: Space, name: str) -> list[Any]:
    """Values that a parameter is looked at: all choices, or so many that a curve is smooth."""
    import numpy as np

    parameter = space.parameters[name]
    if hasattr(parameter, "choices"):
        return list(parameter.choices)
    return list(dict.fromkeys(parameter.from_unit(float(u)) for u in np.linspace(0.0, 1.0, _NODES)))


def profile(view: LoopView, name: str, targets: Sequence[str]) -> list[Profile]:
    """The profile of each target along a parameter: looked for all over the others, then twice nearer to the best."""
    import numpy as np

    surrogate, space = need_surrogate(view), view.plan.loop.space
    values, column = values_of(space, name), space.names.index(name)
    rng = np.random.default_rng(0)
    start = _spread(space, _OTHERS)[0]
    best: dict[tuple[str, int], tuple[Array, Array, Array]] = {}  # target, sign -> (k, d) places, means, sds
    for reach in (None, *_CLOSER):
        for key in [(t, sign) for t in targets for sign in (1, -1)] if reach else [None]:
            if key is None:
                tried = np.broadcast_to(start, (len(values), *start.shape))
            else:
                offsets = rng.uniform(-1.0, 1.0, (_CLOSE_POINTS, space.dimension)) * (reach or 0.0)
                tried = np.clip(best[key][0][:, None, :] + np.vstack([np.zeros(space.dimension), offsets]), 0.0, 1.0)
            found = _along(surrogate, space, column, values, tried, targets)
            for t, sign in [key] if key else [(t, s) for t in targets for s in (1, -1)]:
                best[t, sign] = _extreme(*found[t], sign)
    return [Profile(name, t, values, best[t, -1][1], best[t, -1][2], best[t, 1][1], best[t, 1][2]) for t in targets]


def _along(
    surrogate: Surrogate, space: Space, column: int, values: Sequence[Any], tried: Array, targets: Sequence[str]
) -> dict[str, tuple[Array, Array, Array]]:
    """For each target places (k, m, d), means and sds (k, m); NaN where nothing is allowed."""
    import numpy as np

    k, m, d = tried.shape
    points = space.from_unit(tried.reshape(-1, d))
    for i, point in enumerate(points):
        point[space.names[column]] = values[i // m]
    allowed = space.allowed(points)
    exists = can_exist(surrogate, points)
    if exists is not None:
        allowed = allowed & (exists >= LIKELY)
    kept = [p for p, fine in zip(points, allowed.tolist(), strict=True) if fine]
    found = {}
    predicted = [surrogate.predict(kept[i : i + _CHUNK]) for i in range(0, len(kept), _CHUNK)]
    for target in targets:
        whole = np.full((2, k * m), np.nan)
        for row, what in zip(whole, ("mean", "sd"), strict=True):
            if kept:
                row[allowed] = np.concatenate([np.asarray(getattr(p[target], what)) for p in predicted])
        found[target] = (tried, whole[0].reshape(k, m), whole[1].reshape(k, m))
    return found


def _extreme(places: Array, mean: Array, sd: Array, sign: int) -> tuple[Array, Array, Array]:
    """The place, mean and sd of the largest (sign 1) or smallest mean of each row."""
    import numpy as np

    score = np.where(np.isfinite(mean), sign * mean, -np.inf)
    index, rows = score.argmax(axis=1), np.arange(len(mean))
    return places[rows, index], mean[rows, index], sd[rows, index]
