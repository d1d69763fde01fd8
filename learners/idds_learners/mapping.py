"""From a history to its surrogate and back to words: a Gaussian process for each target, and what it says of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from idds_core.history import History, IterationRecord, Point
from idds_core.ports import Prediction
from idds_core.space import Space
from idds_core.states import PointState
from idds_core.stopwatch import part
from idds_learners import feasibility, kernel
from idds_learners import surrogate as gp_model
from idds_learners.acquisition import Field, distances
from idds_learners.design import Cloud
from idds_learners.surrogate import GP, Fitted, Trend
from idds_learners.transform import Scale
from idds_learners.trend import trend_of

__all__ = ["LEAST", "WINDOW", "Maps", "diagnose", "kappa_of", "learn"]

Array = NDArray[np.float64]

#: measured points that a map needs
LEAST = 3
#: standardised residuals that kappa is taken over
WINDOW = 24
#: hyper-parameters are fitted again when the number of points has grown by this factor
_GROWTH = 1.1
#: to at most so many points, those nearest to the level: a fit takes a time that grows with the cube of their number
_FITTED_TO = 400
#: where the noise is a larger part of the distance that counts as far, no value can be spared, and none has a tolerance
_NOISY = 0.05
#: up to here a fit also starts anew: a first guess from few points may be a poor local optimum
_FEW = 100
_DIGITS = 12


@dataclass(frozen=True)
class Data:
    """The measured points: X (n, d) in the unit cube, and for each target y (n,) and noise (n,), transformed."""

    X: Array
    y: Mapping[str, Array]
    noise: Mapping[str, Array]
    scales: Mapping[str, Scale]

    @classmethod
    def of(cls, history: History, scales: Mapping[str, Scale], points: Sequence[Point]) -> Data:
        """The data of some measured points, in the order in which they came in."""
        points = sorted(points, key=lambda p: (p.ingest_no or 0, p.number))  # new ones come last: factors grow
        seen = [p.observation for p in points if p.observation is not None]
        y, noise = {}, {}
        for target, scale in scales.items():
            values = np.array([o.values[target] for o in seen], dtype=float)
            sigmas = np.array([o.sigmas.get(target, 0.0) for o in seen], dtype=float)
            y[target], noise[target] = scale.forward(values), scale.sigma(values, sigmas)
        return cls(history.unit(points), y, noise, scales)

    def spread(self, target: str, far: float) -> Array:
        """(n,) standard deviations with which the values are taken: noise, and tolerance beyond `far`."""
        return np.hypot(self.noise[target], self.scales[target].tolerance(self.y[target], far))

    def gp(self, target: str, fitted: Fitted, trend: Trend | None) -> GP:
        """The process of a target with given hyper-parameters."""
        noise = float(np.median(self.noise[target]))
        return GP(self.X, self.y[target], self.spread(target, fitted.far), fitted, trend, noise)


@dataclass(frozen=True)
class Maps:
    """The surrogate of a history: the port that reports and plots reach, and the learner's own view.

    Attributes
    ----------
    targets : names
    space : Space
    scales, gps, kappa : by target; kappa inflates every standard deviation that leaves this class.
    fitted : number of points that the hyper-parameters were fitted to, by target.
    residuals : of what came in last, by target; trends : ``module:function`` or ``loop.target`` of the targets that
        have one.
    feasible : a process of where points can exist; None while none ended infeasible.

    """

    targets: tuple[str, ...]
    space: Space
    scales: Mapping[str, Scale]
    gps: Mapping[str, GP]
    kappa: Mapping[str, float]
    fitted: Mapping[str, int]
    residuals: Mapping[str, list[float]] = field(default_factory=dict)
    trends: Mapping[str, str] = field(default_factory=dict)
    feasible: GP | None = None

    @property
    def levels(self) -> dict[str, float]:
        """The contour's level of each target, in its own unit."""
        return {t: s.level for t, s in self.scales.items()}

    def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Prediction]:
        """Mean, standard deviation (inflated by kappa) and probability of exclusion of each target at the points."""
        return self.predict_unit(self.space.to_unit(points))

    def predict_unit(self, unit: Array) -> dict[str, Prediction]:
        """The same at unit (n, d) in the unit cube."""
        found = {}
        for target in self.targets:
            scale, (mean, sd) = self.scales[target], self.gps[target].predict(unit)
            sd = sd * self.kappa[target]
            z = (scale.threshold - mean) / sd
            found[target] = Prediction(scale.back(mean), scale.back_sigma(mean, sd), ndtr(z if scale.below else -z))
        return found

    def portable(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The map as JSON and arrays, to be evaluated without this package."""
        from idds_learners.portable import portable

        return portable(self)

    def fields(self, unit: Array) -> dict[str, Field]:
        """The posteriors at unit (N, d), as the acquisition wants them."""
        found = {}
        for target, gp in self.gps.items():
            V, mean = gp.project(unit, keep=True)
            sd = np.sqrt(gp.variance(V))
            found[target] = Field(gp, self.scales[target].threshold, mean, sd, V, self.kappa[target])
        return found

    @cached_property
    def state(self) -> dict[str, Any]:
        """What the learner finds again: the hyper-parameters and the number of points they were fitted to."""
        return {"gp": {t: self._state_of(t) for t in self.targets}}

    def _state_of(self, target: str) -> dict[str, Any]:
        gp = self.gps[target]
        far = gp.fitted.far if math.isfinite(gp.fitted.far) else None
        return {
            "theta": gp.theta.tolist(),
            "n": self.fitted[target],
            "centre": gp.centre,
            "spread": gp.spread,
            "far": far,
        }


def kappa_of(residuals: Sequence[float]) -> float:
    """Inflation sqrt(max(1, mean r^2)) over the last 24 one-batch-ahead standardised residuals.

    >>> kappa_of([2.0, -2.0]), kappa_of([0.1]), kappa_of([])
    (2.0, 1.0, 1.0)
    """
    last = residuals[-WINDOW:]
    return math.sqrt(max(1.0, sum(r * r for r in last) / len(last))) if last else 1.0


def learn(history: History, scales: Mapping[str, Scale], named: Mapping[str, str] | None = None) -> Maps | None:
    """The surrogate of a history, or None while fewer than three points are measured.

    Hyper-parameters come from the newest record that has some, and are fitted again, from there on, when the number
    of measured points has grown by 10 % since. So a history whose last record holds its answer gives it again.
    """
    if len(history.measured) < LEAST:
        return None
    named = named or {}
    trends = {t: trend_of(name, history, scales[t]) for t, name in named.items()}
    data = Data.of(history, scales, history.measured)
    before = _recorded(history.iterations)
    gps, fitted = {}, {}
    for target in scales:
        with part("fit"):
            found, n = _fitted(data, target, before.get(target), trends.get(target))
        gps[target], fitted[target] = data.gp(target, found, trends.get(target)), n
    residuals = _ahead(history, scales, trends)
    past = _past_residuals(history)
    kappa = {t: kappa_of([*past.get(t, []), *residuals.get(t, [])]) for t in scales}
    return Maps(tuple(scales), history.space, scales, gps, kappa, fitted, residuals, named, _feasible(history))


def _feasible(history: History) -> GP | None:
    """A process of where points can exist, its rows in the order in which they came in; None while all could be."""
    bad, good = history.infeasible, history.measured
    if not bad:
        return None
    order = [(p.ingest_no or 0, p.number, p, value) for points, value in ((good, 1.0), (bad, -1.0))
             for p in sorted(points, key=lambda p: p.number)[-feasibility.MOST :]]  # fmt: skip
    order.sort(key=lambda row: row[:2])
    return feasibility.process(history.unit([row[2] for row in order]), np.array([row[3] for row in order]))


def _recorded(iterations: Sequence[IterationRecord]) -> Mapping[str, Any]:
    """Hyper-parameters of the newest record that has any."""
    for record in reversed(iterations):
        if record.state.get("gp"):
            found: Mapping[str, Any] = record.state["gp"]
            return found
    return {}


def _known(before: Mapping[str, Any] | None, dimension: int) -> Fitted | None:
    """Hyper-parameters on record; None without any, or when they are of another space or an older version."""
    if before is None or "far" not in before or len(before["theta"]) != dimension + kernel.extra:
        return None
    far = math.inf if before["far"] is None else before["far"]
    return Fitted(np.array(before["theta"], dtype=float), before["centre"], before["spread"], far)


def _fitted(data: Data, target: str, before: Mapping[str, Any] | None, trend: Trend | None) -> tuple[Fitted, int]:
    """Hyper-parameters of a target and the number of points they were fitted to."""
    n, y, scale, known = len(data.X), data.y[target], data.scales[target], _known(before, data.X.shape[1])
    starts = []
    if known is not None and before is not None:
        if n < _GROWTH * before["n"]:
            return known, before["n"]
        starts = [known.theta, *gp_model.Prior(data.X.shape[1]).starts()[: 1 if n <= _FEW else 0]]
    far = scale.far(y)
    if np.median(data.noise[target]) > far * _NOISY:
        far = math.inf
    near = np.sort(np.argsort(np.abs(y - scale.threshold), kind="stable")[:_FITTED_TO])
    found = gp_model.fit(data.X[near], y[near], data.spread(target, far)[near], starts, trend)
    return replace(found, far=far), n


def _past_residuals(history: History) -> dict[str, list[float]]:
    """Residuals on record of all iterations before the one that has just closed, oldest first, by target."""
    found: dict[str, list[float]] = {}
    for record in history.iterations[:-1]:
        for target, values in record.diagnostics.get("residuals", {}).items():
            found.setdefault(target, []).extend(values)
    return found


def _ahead(history: History, scales: Mapping[str, Scale], trends: Mapping[str, Trend]) -> dict[str, list[float]]:
    """Standardised residuals of what has just come in, from the surrogate as it stood before, by target.

    In batch mode that is the iteration just closed; in steady mode what was ingested since the question before. Its
    hyper-parameters are those on record; without any, or with too few points before, there are no residuals.
    """
    before = _recorded(history.iterations[:-1])
    if not before:
        return {}
    old, new = _split(history)
    if len(old) < LEAST or not new:
        return {}
    data, fresh = Data.of(history, scales, old), Data.of(history, scales, new)
    found = {}
    for target in scales:
        known = _known(before.get(target), data.X.shape[1])
        if known is None:
            continue
        gp = data.gp(target, known, trends.get(target))
        mean, sd = gp.predict(fresh.X)
        spread = np.sqrt(sd**2 + gp.nugget * gp.spread**2 + fresh.spread(target, known.far) ** 2)
        found[target] = [_rounded(r) for r in (fresh.y[target] - mean) / spread]
    return found


def _split(history: History) -> tuple[list[Point], list[Point]]:
    """Measured points that were known at the question before, and those that have come in since."""
    last = history.iterations[-1]
    if last.ingested_upto is None:
        return ([p for p in history.measured if p.iteration < last.number],
                [p for p in history.measured if p.iteration == last.number])  # fmt: skip
    before = history.iterations[-2].ingested_upto or 0 if len(history.iterations) > 1 else 0
    known = [(p, p.ingest_no) for p in history.measured if p.ingest_no is not None]
    return [p for p, n in known if n <= before], [p for p, n in known if before < n <= last.ingested_upto]


def _rounded(value: float | np.floating[Any]) -> float:
    return float(f"{float(value):.{_DIGITS}g}")


def diagnose(history: History, maps: Maps, cloud: Cloud, fields: Mapping[str, Field]) -> dict[str, Any]:
    """What a person or a condition wants to know of the map: JSON with finite floats.

    ``emv`` is the largest over the targets of the expected misclassified share of the allowed space, sd inflated by
    kappa; ``loo_rmse`` is in units of the spread of the (transformed) data; ``unexplored_volume`` is the share of the
    allowed space inside the largest ball, of ``unexplored_radius`` in the unit cube, that nobody has looked into. Each
    place counts as much as it probably can exist, and not at all where it surely cannot.
    """
    p = feasibility.probability(maps.feasible, cloud.unit)
    names = history.space.names
    by_target = {t: _told(maps.gps[t], maps.scales[t], f, p, names) for t, f in fields.items()}
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
        "allowed_share": _rounded(cloud.share),
        "feasible_share": _rounded(np.mean(p)),
        "targets": by_target,
    }


def _told(gp: GP, scale: Scale, f: Field, p: Array, names: Sequence[str]) -> dict[str, Any]:
    """The same of one target; p : (N,) what each place of the pool counts for."""
    loo = gp.leave_one_out()
    z = (scale.threshold - f.mean) / (f.inflation * f.sd)
    inside = z if scale.below else -z

    def share(of: NDArray[Any]) -> float:
        return _rounded(np.average(of, weights=p))

    return {
        "emv": share(ndtr(-f.a)),
        "kappa": _rounded(f.inflation),
        "loo_rmse": _rounded(math.sqrt(float(np.mean(loo.residuals**2)))),
        "loo_z2": _rounded(np.mean(loo.z**2)),
        "at_bounds": gp.at_bounds(names),
        "lengthscales": {n: _rounded(math.exp(t)) for n, t in zip(names, gp.theta[: len(names)], strict=True)},
        "additive": _rounded(kernel.additive_share(gp.theta)),
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
    return _rounded(nearest[centre]), _rounded(np.mean(inside))
