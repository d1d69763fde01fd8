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

from idds_core.history import History, Point
from idds_core.ports import Prediction
from idds_core.space import Space
from idds_core.stopwatch import part
from idds_learners import feasibility, kernel
from idds_learners import surrogate as gp_model
from idds_learners.acquisition import Field
from idds_learners.censoring import sites
from idds_learners.diagnosing import rounded
from idds_learners.inducing import EXACT, Inducing, spread_out
from idds_learners.prior import Prior
from idds_learners.records import past_residuals, recorded, split
from idds_learners.surrogate import GP, Fitted, Trend
from idds_learners.transform import Scale
from idds_learners.trend import trend_of

__all__ = ["LEAST", "WINDOW", "Maps", "kappa_of", "learn"]

Array = NDArray[np.float64]

#: measured points that a map needs
LEAST = 3
#: standardised residuals that kappa is taken over
WINDOW = 24
#: hyper-parameters are fitted again when the number of points has grown by this factor
_GROWTH = 1.1
#: to at most so many points, spread evenly: a fit takes a time that grows with the cube of their number. Which ones
#: must not depend on their values: noisy ones nearest to the level are all alike, and were fitted as a constant
_FITTED_TO = 400
#: where the noise is a larger part of the distance that counts as far, no value can be spared, and none has a tolerance
_NOISY = 0.05
#: up to here a fit also starts anew: a first guess from few points may be a poor local optimum
_FEW = 100
#: least share of the pool that the excluded region counts as: one that nobody has seen yet must not take every point
_LEAST_EXCLUDED = 0.05
_SIDES = {"above": 1.0, "below": -1.0}


@dataclass(frozen=True)
class Data:
    """The measured points: X (n, d) in the unit cube, and for each target y (n,) and noise (n,), transformed.

    side : (n,) +1 where y is only a bound and the truth above it, -1 where it is below, else 0. Rows that are a bound
        of any target are the last ones.
    exact : up to how many of them a process is exact.
    """

    X: Array
    y: Mapping[str, Array]
    noise: Mapping[str, Array]
    side: Mapping[str, Array]
    scales: Mapping[str, Scale]
    exact: int = EXACT

    @classmethod
    def of(cls, history: History, scales: Mapping[str, Scale], points: Sequence[Point], exact: int = EXACT) -> Data:
        """The data of some measured points, in the order in which they came in."""
        points = sorted(points, key=lambda p: (p.ingest_no or 0, p.number))  # new ones come last: factors grow
        seen = [p.observation for p in points if p.observation is not None]
        unit, y, noise, side = history.unit(points), {}, {}, {}
        for target, scale in ((t, s.at(unit)) for t, s in scales.items()):
            of = scale.target or target
            values = np.array([o.values[of] for o in seen], dtype=float)
            sigmas = np.array([o.sigmas.get(of, 0.0) for o in seen], dtype=float)
            y[target], noise[target] = scale.forward(values), scale.sigma(values, sigmas)
            told = np.array([_SIDES.get(o.censored.get(of, ""), 0.0) for o in seen], dtype=float)
            side[target] = np.where((told == 0) & (sigmas == 0), scale.beyond(values), told)
        # bounds after all others: what they stand for moves with every point
        order = np.argsort(np.any([s != 0 for s in side.values()], axis=0), kind="stable")
        y, noise, side = ({t: a[order] for t, a in each.items()} for each in (y, noise, side))
        return cls(unit[order], y, noise, side, {t: s.at(unit[order]) for t, s in scales.items()}, exact)

    def bounds(self, target: str) -> NDArray[np.bool_]:
        """(n,) which values are taken as bounds: none while there are too few others to tell what they mean."""
        found = self.side[target] != 0
        return found if np.count_nonzero(~found) >= LEAST else np.zeros_like(found)

    def spread(self, target: str, far: float) -> Array:
        """(n,) standard deviations with which the values are taken: noise, and tolerance beyond `far`."""
        return np.hypot(self.noise[target], self.scales[target].tolerance(self.y[target], far))

    def gp(self, target: str, fitted: Fitted, trend: Trend | None) -> GP:
        """The process of a target with given hyper-parameters."""
        noise, cut = float(np.median(self.noise[target])), self.bounds(target)
        y, spread = self.y[target], self.spread(target, fitted.far)

        def process(X: Array, y: Array, spread: Array) -> GP:
            told = (X, y, spread, fitted, trend, noise)
            return GP(*told) if len(X) <= self.exact else Inducing(*told, exact=self.exact)

        if not cut.any():
            return process(self.X, y, spread)
        gp, at = process(self.X[~cut], y[~cut], spread[~cut]), self.X[cut]
        V, mean = gp.project(at)
        covariance = gp.covariance(at, at, V, V)
        covariance.flat[:: len(at) + 1] += gp.nugget * gp.spread**2 + spread[cut] ** 2
        y, spread = y.copy(), spread.copy()
        y[cut], width = sites(mean, covariance, y[cut], self.side[target][cut])
        spread[cut] = np.hypot(spread[cut], width)
        return process(self.X, y, spread)


@dataclass(frozen=True)
class Maps:
    """The surrogate of a history: the port that reports and plots reach, and the learner's own view.

    Attributes
    ----------
    targets : names of the contours: of a target, or ``target.name`` where it has several
    space : Space
    scales, gps, kappa : by target; kappa inflates every standard deviation that leaves this class.
    fitted : number of points that the hyper-parameters were fitted to, by target.
    residuals : of what came in last, by target; trends : ``module:function`` or ``loop.target`` of the targets that
        have one.
    feasible : a process of where points can exist; None while none ended infeasible.
    bounds : by target, (n,) which rows of its process stand for values that are only bounds.

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
    bounds: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def levels(self) -> dict[str, float]:
        """The contour's level of each target, in its own unit, where it is the same everywhere."""
        return {t: s.level for t, s in self.scales.items() if s.varying is None}

    @property
    def level_texts(self) -> dict[str, float | str]:
        """The level of each target as it was given: a number, or an expression of the parameters."""
        return {t: s.level if s.varying is None else str(s.varying) for t, s in self.scales.items()}

    @property
    def observes(self) -> dict[str, str]:
        """Which value of an observation each contour is of."""
        return {t: s.target or t for t, s in self.scales.items()}

    def levels_at(self, points: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
        """(n,) levels at the points, of each target whose level depends on them."""
        unit = self.space.to_unit(points)
        return {t: s.varying(unit) for t, s in self.scales.items() if s.varying is not None}

    def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Prediction]:
        """Mean, standard deviation (inflated by kappa) and probability of exclusion of each target at the points."""
        return self.predict_unit(self.space.to_unit(points))

    def predict_unit(self, unit: Array) -> dict[str, Prediction]:
        """The same at unit (n, d) in the unit cube."""
        found = {}
        for target in self.targets:
            scale, (mean, sd) = self.scales[target].at(unit), self.gps[target].predict(unit)
            sd = sd * self.kappa[target]
            z = (scale.threshold - mean) / sd
            found[target] = Prediction(scale.back(mean), scale.back_sigma(mean, sd), ndtr(z if scale.below else -z))
        return found

    def can_exist(self, points: Sequence[Mapping[str, Any]]) -> Array | None:
        """(n,) the probability that each point can exist; None while none ended infeasible."""
        if self.feasible is None or not len(points):
            return None
        return np.exp(feasibility.log_probability(self.feasible, self.space.to_unit(points)))

    def portable(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The map as JSON and arrays, to be evaluated without this package."""
        from idds_learners.portable import portable

        return portable(self)

    def importance(self) -> dict[str, Any]:
        """By target the shares of the variance of its (transformed) mean: see :mod:`idds_learners.importance`."""
        from idds_learners.encoding import Encoding
        from idds_learners.importance import shares

        encoding, d = Encoding(self.space), self.space.dimension
        return {t: shares(lambda U, gp=gp: gp.mean(encoding.snap(U)[0]), d).document(self.space.names)  # type: ignore[misc]
                for t, gp in self.gps.items()}  # fmt: skip

    def fields(self, unit: Array) -> dict[str, Field]:
        """The posteriors at unit (N, d), as the acquisition wants them."""
        found = {}
        for target, gp in self.gps.items():
            V, mean = gp.project(unit, keep=True)
            sd = np.sqrt(gp.variance(V))
            found[target] = Field(gp, self.scales[target].at(unit).threshold, mean, sd, V, self.kappa[target])
        weights = self._weights(found)
        return {target: replace(f, weight=weights[target]) for target, f in found.items()}

    def _weights(self, fields: Mapping[str, Field]) -> dict[str, float]:
        """What each target's misclassified volume counts: in shares of what it excludes; 1 in the mean."""
        below = {t: float(np.mean(f.mean < f.threshold)) for t, f in fields.items()}
        shares = {t: v if self.scales[t].below else 1.0 - v for t, v in below.items()}
        worth = {t: 1.0 / max(v, _LEAST_EXCLUDED) for t, v in shares.items()}
        mean = sum(worth.values()) / len(worth)
        return {t: w / mean for t, w in worth.items()}

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


def learn(
    history: History, scales: Mapping[str, Scale], named: Mapping[str, str] | None = None, exact: int = EXACT
) -> Maps | None:
    """The surrogate of a history, or None while fewer than three points are measured.

    It is exact up to `exact` measured points, and an approximation by inducing ones above.

    Hyper-parameters come from the newest record that has some, and are fitted again, from there on, when the number
    of measured points has grown by 10 % since. So a history whose last record holds its answer gives it again.
    """
    if len(history.measured) < LEAST:
        return None
    named = named or {}
    trends = {t: trend_of(name, history, scales[t]) for t, name in named.items()}
    data = Data.of(history, scales, history.measured, exact)
    before = recorded(history.iterations)
    gps, fitted = {}, {}
    for target in scales:
        with part("fit"):
            found, n = _fitted(data, target, before.get(target), trends.get(target))
        gps[target], fitted[target] = data.gp(target, found, trends.get(target)), n
    residuals = _ahead(history, scales, trends, exact)
    past = past_residuals(history)
    kappa = {t: kappa_of([*past.get(t, []), *residuals.get(t, [])]) for t in scales}
    bounds, feasible = {t: data.bounds(t) for t in scales}, feasibility.of_history(history)
    return Maps(tuple(scales), history.space, scales, gps, kappa, fitted, residuals, named, feasible, bounds)


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
        starts = [known.theta, *Prior(data.X.shape[1]).starts()[: 1 if n <= _FEW else 0]]
    far = scale.far(y)
    if np.median(data.noise[target]) > far * _NOISY:
        far = math.inf
    bound = data.bounds(target)
    few = _few(data.X, np.flatnonzero(~bound))
    found = replace(gp_model.fit(data.X[few], y[few], data.spread(target, far)[few], starts, trend), far=far)
    if bound.any():  # with sites kept, the slope of the likelihood is that of expectation propagation
        gp, few = data.gp(target, found, trend), _few(data.X, np.arange(n))
        again = gp_model.fit(gp.X[few], gp.y[few], gp.noise[few], [found.theta], trend, found)
        found = replace(again, far=far)
    return found, n


def _few(X: Array, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of the rows of X (n, d) that hyper-parameters are fitted to: all, or some that are spread out."""
    return rows if len(rows) <= _FITTED_TO else rows[np.sort(spread_out(X[rows], _FITTED_TO))]


def _ahead(
    history: History, scales: Mapping[str, Scale], trends: Mapping[str, Trend], exact: int
) -> dict[str, list[float]]:
    """Standardised residuals of what has just come in, from the surrogate as it stood before, by target.

    In batch mode that is the iteration just closed; in steady mode what was ingested since the question before. Its
    hyper-parameters are those on record; without any, or with too few points before, there are no residuals.
    """
    before = recorded(history.iterations[:-1])
    if not before:
        return {}
    old, new = split(history)
    if len(old) < LEAST or not new:
        return {}
    data, fresh = Data.of(history, scales, old, exact), Data.of(history, scales, new)
    found = {}
    for target in scales:
        known = _known(before.get(target), data.X.shape[1])
        if known is None:
            continue
        gp = data.gp(target, known, trends.get(target))
        mean, sd = gp.predict(fresh.X)
        spread = np.sqrt(sd**2 + gp.nugget * gp.spread**2 + fresh.spread(target, known.far) ** 2)
        told = fresh.side[target] == 0  # a bound is met or not: it has no residual
        found[target] = [rounded(r) for r in ((fresh.y[target] - mean) / spread)[told]]
    return found
