"""From a history to the next points of an optimum: the data, the process, and one pick after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idds_core.history import History, Point
from idds_core.states import PointState
from idds_learners import feasibility, kernel
from idds_learners.encoding import Encoding
from idds_learners.improvement import Belief, search
from idds_learners.objectives import Objectives, taken
from idds_learners.prior import Prior
from idds_learners.surrogate import GP, Fitted, fit, standard
from idds_learners.warp import Warp

__all__ = ["LEAST", "MOST", "Search"]

Array = NDArray[np.float64]

#: measured points that a process needs
LEAST = 3
#: points that a process is made of, at most: the best half of that, and the newest
MOST = 1000
#: points that hyper-parameters are fitted to, at most: half of them the best, the others evenly among the rest
_FITTED = 160
#: hyper-parameters are fitted anew at each size up to this, then when the number of points has grown by this factor
_SMALL, _GROWTH = 80, 1.05
_ELITE = 6
#: what a pruned point counts as, among what was measured
_PRUNED_QUANTILE = 0.75
#: standard deviations of the bounds whose difference bounds the regret
_SURE = 2.0
_RHO = 0.05
#: how far from what is pending a point is, in the unit cube, while there is a choice: two so near tell the same
_APART = 0.01
_DIGITS = 12


def _rounded(value: float | np.floating[Any]) -> float:
    return float(f"{float(value):.{_DIGITS}g}")


@dataclass(frozen=True)
class Search:
    """One question's view of a history with at least three measured points.

    rows : (n, d) snapped rows of measured and pruned points; y, sigma : (n, m), better when smaller.
    out : (k, d) rows of pending points; feasible : a process of feasibility, or None.
    """

    history: History
    encoding: Encoding
    names: tuple[str, ...]
    rows: Array
    y: Array
    sigma: Array
    out: Array
    feasible: GP | None
    _memo: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, history: History, learner: Objectives) -> Search | None:
        """The view of a history, or None while too little is measured."""
        if len(history.measured) < LEAST:
            return None
        y, sigma = learner.values(history)
        encoding = Encoding(history.space)
        measured = sorted(history.measured, key=lambda p: p.number)
        points, y, sigma = _kept(measured, y, sigma)
        pruned = sorted((p for p in history.points if p.state is PointState.PRUNED), key=lambda p: p.number)[-MOST:]
        poor = np.quantile(y, _PRUNED_QUANTILE, axis=0)
        rows = encoding.snap(history.unit([*points, *pruned]))[0]
        y = np.vstack([y, np.tile(poor, (len(pruned), 1))])
        sigma = np.vstack([sigma, np.zeros((len(pruned), y.shape[1]))])
        out = encoding.snap(history.unit(sorted(history.pending, key=lambda p: p.number)))[0]
        return cls(history, encoding, learner.names(history), rows, y, sigma, out, _feasibility(history, encoding))

    # ------------------------------------------------------------------ the process
    def _belief(self, y: Array, sigma: Array, theta: Array | None) -> tuple[Belief, Warp, Array]:
        """The process of (n,) values; its hyper-parameters are fitted unless they are given."""
        warp = Warp.of(y)
        X, g, noise = self.encoding.features(self.rows), warp.forward(y), warp.sigma(y, sigma)
        if theta is None:
            few = _few(g)
            theta = fit(X[few], g[few], noise[few], self._starts(X.shape[1])).theta
        return Belief.of(GP(X, g, noise, Fitted(theta, *standard(g))), self.feasible), warp, theta

    def _starts(self, dimension: int) -> list[Array]:
        """Where a fit begins: at the last hyper-parameters on record, and at the prior's two first guesses."""
        before = self._before
        if before is None or len(before["theta"]) != dimension + kernel.extra:
            return []
        return [np.array(before["theta"], dtype=float), *Prior(dimension).starts()[:2]]

    @cached_property
    def _before(self) -> Mapping[str, Any] | None:
        """Hyper-parameters of the newest record that has any."""
        for record in reversed(self.history.iterations):
            if record.state.get("optimum"):
                found: Mapping[str, Any] = record.state["optimum"]
                return found
        return None

    @cached_property
    def _single(self) -> tuple[Belief, Warp, Array, int]:
        """The process of the one objective, and the number of points its hyper-parameters were fitted to."""
        n, before = len(self.rows), self._before
        size = self.encoding.features(self.rows[:1]).shape[1] + kernel.extra
        fresh = before is None or len(before["theta"]) != size or n > max(_GROWTH * before["n"], before["n"])
        if before is not None and n > before["n"] and n <= _SMALL:
            fresh = True
        theta = None if fresh or before is None else np.array(before["theta"], dtype=float)
        belief, warp, theta = self._belief(self.y[:, 0], self.sigma[:, 0], theta)
        return belief, warp, theta, n if fresh or before is None else int(before["n"])

    @property
    def used(self) -> int:
        """How many of the measured points the process is made of."""
        return min(len(self.history.measured), MOST)

    @property
    def state(self) -> dict[str, Any]:
        """What the learner finds again."""
        if len(self.names) > 1:
            return {}
        _, _, theta, n = self._single
        return {"optimum": {"theta": theta.tolist(), "n": n}}

    # ------------------------------------------------------------------ what is known
    @cached_property
    def _looked(self) -> Array:
        """Rows (k, d) where improvement is expected, nothing pending: the first of them is the most promising."""
        belief, *_ = self._single
        return search(belief, self.encoding, self._elite(self.y[:, 0]), self.history.rng("optimum", "look"))

    def _elite(self, y: Array) -> Array:
        return self.rows[np.argsort(y, kind="stable")[:_ELITE]]

    @cached_property
    def diagnostics(self) -> dict[str, Any]:
        """Expected improvement and a bound of the regret, in the objective's unit, and how good the process is."""
        if len(self.names) > 1:
            return {}
        belief, warp, theta, _ = self._single
        loo = belief.gp.leave_one_out()
        d = len(self.encoding.names)
        told = {
            "loo_rmse": _rounded(np.sqrt(np.mean(loo.residuals**2))),
            "loo_z2": _rounded(np.mean(loo.z**2)),
            "lengthscales": {n: _rounded(np.exp(t)) for n, t in zip(self.encoding.names, theta[:d], strict=True)},
        }
        if not len(self._looked):
            return {**told, "expected_improvement": 0.0, "regret_bound": 0.0}
        mean, sd = belief.gp.predict(self.encoding.features(self._looked))
        nodes, weights = np.polynomial.hermite_e.hermegauss(32)
        best = warp.back(np.array(belief.best))
        gain = np.maximum(best - warp.back(mean[0] + sd[0] * nodes), 0.0)
        at, spread = belief.gp.predict(belief.gp.X)
        upper = warp.back((at + _SURE * spread).min())
        lower = warp.back(min((mean - _SURE * sd).min(), (at - _SURE * spread).min()))
        return {
            **told,
            "expected_improvement": _rounded(float(gain @ weights) / float(weights.sum())),
            "regret_bound": _rounded(max(float(upper - lower), 0.0)),
        }

    def importance(self) -> dict[str, Any]:
        """By objective the shares of the variance of its (bent) mean: see :mod:`idds_learners.importance`."""
        from idds_learners.importance import shares

        found = {}
        for k, name in enumerate(self.names):
            belief = self._single[0] if len(self.names) == 1 else self._belief(self.y[:, k], self.sigma[:, k], None)[0]

            def mean(U: Array, gp: GP = belief.gp) -> Array:
                return gp.mean(self.encoding.features(self.encoding.snap(U)[0]))

            found[name] = shares(mean, self.history.space.dimension).document(self.history.space.names)
        return found

    # ------------------------------------------------------------------ the next points
    def points(self, new: Sequence[Mapping[str, Any]], n: int) -> list[dict[str, Any]]:
        """At most n points that do not exist, `new` ones taken as pending."""
        space, names = self.history.space, self.history.space.names
        known = taken(self.history) | {tuple(p[name] for name in names) for p in new}
        out = np.vstack([self.out, self.encoding.snap(space.to_unit(list(new)))[0]])
        rng = self.history.rng("optimum", "batch")
        found: list[dict[str, Any]] = []
        while len(found) < n:
            point = self._fresh(_apart(self._ranked(out, rng), out), known)
            if point is None:
                break
            found.append(point)
            known.add(tuple(point[name] for name in names))
            out = np.vstack([out, self.encoding.snap(space.to_unit([point]))[0]])
        return found

    def _ranked(self, out: Array, rng: np.random.Generator) -> Array:
        """Rows of the unit cube, the most promising first."""
        if len(self.names) == 1:
            if not len(out):
                return self._looked
            belief, y = self._single[0], self.y[:, 0]
        else:
            y, sigma = _weighted(self.y, self.sigma, rng)
            belief, _, _ = self._belief(y, sigma, None)
        return search(belief.assuming(self.encoding.features(out)), self.encoding, self._elite(y), rng)

    def _fresh(self, rows: Array, known: set[tuple[Any, ...]]) -> dict[str, Any] | None:
        """The first of the rows whose point is new and in the space; else one of a sequence; None when all exist."""
        from idds_learners.design import fill

        space = self.history.space
        for start in range(0, len(rows), 64):
            for point in space.from_unit(rows[start : start + 64]):
                if tuple(point[name] for name in space.names) not in known and not space.point_problem(point):
                    return point
        return next(iter(fill(space, self.history.seed, known, 1)), None)


def _few(g: Array) -> NDArray[np.intp]:
    """Indices of the points that hyper-parameters are fitted to, rising."""
    if len(g) <= _FITTED:
        return np.arange(len(g))
    order = np.argsort(g, kind="stable")
    rest = np.sort(order[_FITTED // 2 :])
    spread = rest[np.linspace(0, len(rest) - 1, _FITTED - _FITTED // 2).round().astype(int)]
    return np.unique(np.append(order[: _FITTED // 2], spread))


def _apart(rows: Array, out: Array) -> Array:
    """The rows in their order, those too near to what is pending last."""
    if not (len(rows) and len(out)):
        return rows
    squared = ((rows[:, None, :] - out[None, :, :]) ** 2).sum(axis=2).min(axis=1)
    return rows[np.argsort(squared < _APART**2, kind="stable")]


def _kept(points: Sequence[Point], y: Array, sigma: Array) -> tuple[list[Point], Array, Array]:
    """All measured points while they are few; else the best ones and the newest."""
    if len(points) <= MOST:
        return list(points), y, sigma
    order = np.argsort(np.argsort(y, axis=0, kind="stable").min(axis=1), kind="stable")[: MOST // 2]
    keep = sorted({*order.tolist(), *range(len(points) - MOST // 2, len(points))})
    return [points[i] for i in keep], y[keep], sigma[keep]


def _feasibility(history: History, encoding: Encoding) -> GP | None:
    """A process of what can exist; None while nothing ended infeasible."""
    bad = sorted(history.infeasible, key=lambda p: p.number)[-feasibility.MOST :]
    if not bad:
        return None
    good = sorted(history.measured, key=lambda p: p.number)[-feasibility.MOST :]
    X = encoding.features(encoding.snap(history.unit([*good, *bad]))[0])
    return feasibility.process(X, np.append(np.ones(len(good)), -np.ones(len(bad))))


def _weighted(y: Array, sigma: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Several objectives as one: the augmented Chebyshev norm of a random weighting, each on the scale of its front."""
    low, high = y.min(axis=0), np.median(y, axis=0)
    width = np.where(high > low, high - low, 1.0)
    weights = rng.dirichlet(np.ones(y.shape[1]))
    terms = weights * (y - low) / width
    worst = terms.argmax(axis=1)
    rows = np.arange(len(y))
    scaled = weights * sigma / width
    return terms.max(axis=1) + _RHO * terms.sum(axis=1), scaled[rows, worst] + _RHO * scaled.sum(axis=1)
