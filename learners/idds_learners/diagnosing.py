"""What a person or a condition wants to know of a map: how good it is, and how much of the space was looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from idds_core.history import History
from idds_core.states import PointState
from idds_learners import feasibility, kernel
from idds_learners.acquisition import Field, distances
from idds_learners.design import Cloud

if TYPE_CHECKING:
    from idds_learners.mapping import Maps

__all__ = ["diagnose", "rounded"]

Array = NDArray[np.float64]

#: of all that is told: the last digits of a sum depend on where arrays lie in memory
_DIGITS = 9


def rounded(value: float | np.floating[Any]) -> float:
    """A number as it is told."""
    return float(f"{float(value):.{_DIGITS}g}")


def diagnose(history: History, maps: Maps, cloud: Cloud, fields: Mapping[str, Field]) -> dict[str, Any]:
    """What a person or a condition wants to know of the map: JSON with finite floats.

    ``emv`` is the largest over the targets of the expected misclassified share of the allowed space, sd inflated by
    kappa; ``loo_rmse`` is in units of the spread of the (transformed) data; ``unexplored_volume`` is the share of the
    allowed space inside the largest ball, of ``unexplored_radius`` in the unit cube, that nobody has looked into. Each
    place counts as much as it probably can exist, and not at all where it surely cannot. ``approximation`` is there
    when the surrogate is one, of the target where it is worst, and ``approximation_error`` of each target is its
    difference: see :attr:`idds_learners.inducing.Inducing.approximation`.
    """
    p = feasibility.probability(maps.feasible, cloud.unit)
    names = history.space.names
    by_target = {t: _told(maps, t, f, p, names) for t, f in fields.items()}
    ends = (PointState.MEASURED, PointState.INFEASIBLE, PointState.PRUNED)
    looked = [p for p in history.points if p.state in ends]
    radius, volume = coverage(cloud.unit[p > 0], history.unit(looked))
    return {
        "n_measured": len(history.measured),
        "emv": max(d["emv"] for d in by_target.values()),
        "kappa": max(d["kappa"] for d in by_target.values()),
        "loo_rmse": max(d["loo_rmse"] for d in by_target.values()),
        "loo_z2": max(d["loo_z2"] for d in by_target.values()),
        "at_bounds": [f"{t}.{name}" for t, d in by_target.items() for name in d["at_bounds"]],
        "residuals": {t: list(r) for t, r in maps.residuals.items()},
        "unexplored_radius": radius,
        "unexplored_volume": volume,
        "allowed_share": rounded(cloud.share),
        "feasible_share": rounded(np.mean(p)),
        "targets": by_target,
        **_approximated(maps),
    }


def _approximated(maps: Maps) -> dict[str, Any]:
    """How the surrogate was made of many points, of the target where it is farthest from exact; empty when it is."""
    told = [gp.approximation for gp in maps.gps.values() if gp.approximation]
    if not told:
        return {}
    worst = max(told, key=lambda d: d["difference"])
    return {"approximation": {**worst, "difference": rounded(worst["difference"])}}


def _told(maps: Maps, target: str, f: Field, p: Array, names: Sequence[str]) -> dict[str, Any]:
    """The same of one target; p : (N,) what each place of the pool counts for."""
    gp, scale, cut = maps.gps[target], maps.scales[target], maps.bounds[target]
    loo = gp.leave_one_out()
    told = ~cut[loo.at] if not cut[loo.at].all() else np.ones(len(loo.at), bool)  # a bound has no error
    z = (f.threshold - f.mean) / (f.inflation * f.sd)
    inside = z if scale.below else -z

    def share(of: NDArray[Any]) -> float:
        return rounded(np.average(of, weights=p))

    return {
        "emv": share(ndtr(-f.a)),
        "kappa": rounded(f.inflation),
        "loo_rmse": rounded(math.sqrt(float(np.mean(loo.residuals[told] ** 2)))),
        "loo_z2": rounded(np.mean(loo.z[told] ** 2)),
        **({"n_censored": int(cut.sum())} if cut.any() else {}),
        "at_bounds": gp.at_bounds(names),
        **({"approximation_error": rounded(gp.approximation["difference"])} if gp.approximation else {}),
        "lengthscales": {n: rounded(math.exp(t)) for n, t in zip(names, gp.theta[: len(names)], strict=True)},
        "roughness": rounded(kernel.roughness(gp.theta)),
        "additive": rounded(kernel.additive_share(gp.theta)),
        "excluded_share": share(ndtr(inside)),
        # inside the contour as it stands, then with all of it one standard deviation to either side
        "excluded_volume": share(inside > 0),
        "excluded_range": [share(inside > edge) for edge in (1.0, -1.0)],
        "band_volume": share(f.a < 1.0),
    }


def coverage(unit: Array, looked: Array) -> tuple[float, float]:
    """Radius of the largest ball without a point, and the share of the pool that lies inside it.

    unit : (N, d) pool, where the ball may be centred; looked : (k, d) points that were evaluated.
    """
    nearest = distances(unit, looked)
    if not len(looked) or not len(unit):
        return math.sqrt(unit.shape[1]), 1.0
    centre = int(np.argmax(nearest))
    inside = distances(unit, unit[centre : centre + 1]) < nearest[centre]
    return rounded(nearest[centre]), rounded(np.mean(inside))
