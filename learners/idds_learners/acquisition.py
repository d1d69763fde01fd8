"""Where to measure next: greedy expected misclassified volume, and maximin points against what nobody has seen.

With a = |m - c| / s, the share of a point's neighbourhood that is on the wrong side of the contour is expected to be
Phi(-a), and after measuring *any* set of points that takes the variance tau^2 = rho^2 s^2 away, whatever they show,

    E[min(p, 1 - p)] = 2 T(a, sqrt(1 - rho^2) / rho),        T: the function of Owen, Ann. Math. Stat. 27 (1956) 1075.

No measured value is needed for that, so a batch is built greedily by conditioning on variances alone, points that are
still pending first. Sources: Bryan et al., NIPS 2005 (the threshold problem, straddle); Bect et al., Stat. Comput. 22
(2012) 773 and Chevalier et al., Technometrics 56 (2014) 455 (integrated uncertainty, batches); Picheny et al., J. Mech.
Des. 132 (2010) 071008 (targeted mean squared error); Bridson, SIGGRAPH 2007 (Poisson discs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, owens_t

from idds_learners.surrogate import GP

__all__ = ["Field", "distances", "expected_misclassified", "gain_table", "maximin", "pick", "prepared"]

Array = NDArray[np.float64]

INTEGRATION_POINTS = 512
CANDIDATES = 256
_TABLE = 256
_A_MAX = 6.0
#: standard deviations of the straddle, and of the band that discs are thrown into
_STRADDLE = 1.96
_SHRINK = 0.9
#: points that distances are taken to at a time
_ROWS = 2048


def expected_misclassified(a: Array, rho: Array) -> Array:
    """Expected min(p, 1 - p) after variance rho^2 s^2 was taken away; a = |m - c| / s, both (...) and rho in [0, 1]."""
    with np.errstate(divide="ignore"):
        ratio = np.sqrt(np.maximum(1.0 - rho**2, 0.0)) / rho
    return np.where(rho <= 0.0, ndtr(-a), 2.0 * owens_t(a, np.where(rho <= 0.0, 0.0, ratio)))


@lru_cache(maxsize=1)
def gain_table() -> Array:
    """(256, 256) gain Phi(-a) - 2 T for a in [0, 6] and theta = arcsin(rho) in [0, pi / 2], smooth in both."""
    a = np.linspace(0.0, _A_MAX, _TABLE)[:, None]
    theta = np.linspace(0.0, 0.5 * np.pi, _TABLE)[None, :]
    table = ndtr(-a) - expected_misclassified(a, np.sin(theta) + 0.0 * a)
    table.setflags(write=False)
    return np.asarray(table)


class _Gain:
    """The gain at fixed a (m,), as a function of the variance share rho^2 (..., m) that was taken away."""

    def __init__(self, a: Array) -> None:
        x = np.minimum(a / _A_MAX, 1.0 - 1e-12) * (_TABLE - 1)
        low = x.astype(np.intp)
        part = (x - low)[:, None]
        table = gain_table()
        rows = (1.0 - part) * table[low] + part * table[low + 1]
        self._rows = rows.ravel()
        self._step = np.diff(rows, axis=1, append=rows[:, -1:]).ravel()
        self._offset = np.arange(len(a)) * _TABLE

    def __call__(self, share: Array) -> Array:
        x = np.arcsin(np.sqrt(np.clip(share, 0.0, 1.0)))
        x *= (_TABLE - 1) / (0.5 * np.pi)
        low = x.astype(np.intp)
        x -= low
        low += self._offset
        return np.asarray(self._rows[low] + x * self._step[low])


class _Targeted:
    """The same for the mean squared error, weighted by the density of the level: phi(a) tau^2 / s, in units of y."""

    def __init__(self, field: Field, at: NDArray[np.intp]) -> None:
        a = field.a[at]
        self._scale = np.exp(-0.5 * a**2) / math.sqrt(2.0 * math.pi) * field.sd[at] / field.gp.spread

    def __call__(self, share: Array) -> Array:
        return np.asarray(np.minimum(share, 1.0) * self._scale)


@dataclass(frozen=True)
class Field:
    """One target's posterior over the pool.

    gp : the process; threshold : where its contour is, a number or (N,); mean, sd : (N,); V : its projection, a column
        for each. weight : what its misclassified volume counts beside that of the other targets.
    """

    gp: GP
    threshold: float | Array
    mean: Array
    sd: Array
    V: Array
    inflation: float = 1.0
    weight: float = 1.0

    @property
    def a(self) -> Array:
        """(N,) distance from the threshold in standard deviations."""
        return np.asarray(self.off / (self.inflation * self.sd))

    @property
    def off(self) -> Array:
        """(N,) distance from the threshold, in units of y."""
        return np.asarray(np.abs(self.mean - self.threshold))


class _Greedy:
    """The posterior covariance of candidates and integration points, as picks are conditioned on."""

    def __init__(
        self,
        field: Field,
        unit: Array,
        candidates: NDArray[np.intp],
        known: Array,
        at: NDArray[np.intp],
        strategy: str = "emv",
    ) -> None:
        gp = field.gp
        C, VC = unit[candidates], field.V[:, candidates]
        if len(known):
            C = np.vstack([known, C])
            VC = np.hstack([gp.project(known)[0], VC])
        U, VU = unit[at], field.V[:, at]
        self._CU = gp.covariance(C, U, VC, VU)
        self._CC = gp.covariance(C, C, VC, VC)
        self._noise = gp.noise_variance
        self._prior = field.sd[at] ** 2
        self._taken = np.zeros(len(at))
        self._gain = _Targeted(field, at) if strategy == "timse" else _Gain(field.a[at])
        self._off = field.off[candidates] / gp.spread
        self._width = _STRADDLE * field.inflation / gp.spread
        self._inflation = field.inflation
        self._weight = field.weight
        self._known = len(known)
        for i in range(len(known)):
            self._condition(i)

    def _condition(self, i: int, noise: float | None = None) -> None:
        row_u, row_c = self._CU[i].copy(), self._CC[i].copy()
        scale = max(row_c[i], 0.0) + (self._noise if noise is None else noise)
        self._taken += row_u**2 / scale
        self._CU -= np.outer(row_c, row_u / scale)
        self._CC -= np.outer(row_c, row_c / scale)

    def condition(self, candidate: int, noise: float | None = None) -> None:
        """From now on the candidate counts as measured, with that variance of its noise; None: the usual one."""
        self._condition(self._known + candidate, noise)

    def scores(self, weights: Array, noise: Array | None = None) -> Array:
        """(candidates,) expected misclassified volume taken away, by each candidate with all that went before.

        noise : (candidates,) variance of each one's observation; None: the usual one.
        """
        CU = self._CU[self._known :]
        diagonal = np.maximum(np.diag(self._CC)[self._known :], 0.0) + (self._noise if noise is None else noise)
        share = CU * CU
        share /= diagonal[:, None]
        share += self._taken
        share /= self._prior
        return np.asarray(self._weight * (self._gain(share) @ weights))

    def taken(self, noise: Array) -> Array:
        """(k, candidates) share of the variance at each that an observation with noise (k,) takes away."""
        variance = np.maximum(np.diag(self._CC)[self._known :], 0.0) * self._inflation**2
        return np.asarray(variance / (variance + noise[:, None]))

    def straddles(self) -> Array:
        """(candidates,) 1.96 s - |m - c| in units of the spread of y, with all that went before taken as measured."""
        variance = np.maximum(np.diag(self._CC)[self._known :], 0.0)
        return np.asarray(self._width * np.sqrt(variance) - self._off)

    def gained(self, weights: Array) -> float:
        """What all that was conditioned on so far takes away together."""
        return float(self._weight * (self._gain(self._taken / self._prior) @ weights))


def _draw(rng: np.random.Generator, weight: Array, n: int) -> tuple[NDArray[np.intp], Array]:
    """N indices drawn with probability 0.9 weight / sum + 0.1 / N, and 1 / (n N probability) for each."""
    total = float(weight.sum())
    size = len(weight)
    probability = np.full(size, 1.0 / size) if total <= 0 else 0.9 * weight / total + 0.1 / size
    edges = np.cumsum(probability)
    positions = (np.arange(n) + rng.random()) / n * edges[-1]  # systematic sampling: less variance, one random number
    index = np.minimum(np.searchsorted(edges, positions), size - 1)
    return index, 1.0 / (n * size * probability[index])


def pick(
    fields: Sequence[Field],
    unit: Array,
    free: NDArray[np.bool_],
    known: Array,
    n: int,
    rng: np.random.Generator,
    scores: list[float] | None = None,
    strategy: str = "emv",
    feasible: Array | None = None,
) -> list[int]:
    """The n pool points that together tell most of where the contours are.

    Parameters
    ----------
    fields : the targets over the pool of N points
    unit : (N, d) the pool
    free : (N,) whether a pool point may be proposed
    known : (k, d) points to be conditioned on first: pending ones, and those that cannot be measured
    n : how many
    rng : draws the integration points and the candidates
    scores : is filled with each pick's own score when it is made. emv: the expected misclassified share of the pool
        that it takes away; timse: the targeted mean squared error that it does, and straddle: its straddle, both in
        units of the spread of the data and summed over targets; poisson_disc: the radius that it keeps.
    strategy : {"emv", "straddle", "poisson_disc", "timse"}
    feasible : (N,) probability that a pool point can be measured; None: all can

    Returns
    -------
    list of int
        Indices into the pool, best first; fewer than n when the pool is exhausted. Ties: the lowest index.

    """
    scores = [] if scores is None else scores
    p = np.ones(len(unit)) if feasible is None else feasible
    free = free & (p > 0)
    if strategy == "poisson_disc":
        return _discs(fields, unit, free, known, n, rng, scores, p)
    greedy, weights, candidates = prepared(fields, unit, free, known, rng, strategy, p)
    if not len(candidates):
        return []
    picked = _one_by_one(greedy, weights, p[candidates], n, scores, strategy == "straddle")
    return [int(candidates[i]) for i in picked]


def prepared(
    fields: Sequence[Field],
    unit: Array,
    free: NDArray[np.bool_],
    known: Array,
    rng: np.random.Generator,
    strategy: str,
    p: Array,
) -> tuple[list[_Greedy], Array, NDArray[np.intp]]:
    """What picks are made of: a posterior for each target, the weights of the integration points, the candidates."""
    risk = np.sum([f.weight * ndtr(-f.a) for f in fields], axis=0) * p
    at, weights = _draw(rng, risk, min(INTEGRATION_POINTS, max(64, len(unit))))
    candidates = _candidates(rng, np.where(free, risk, 0.0), free)
    if strategy == "straddle":  # it looks at the candidates alone
        at, weights = at[:0], weights[:0]
    some = fields if len(candidates) else ()
    return ([_Greedy(f, unit, candidates, known, at, strategy) for f in some], weights * p[at] / p.mean(), candidates)


def _one_by_one(
    greedy: Sequence[_Greedy], weights: Array, p: Array, n: int, scores: list[float], straddle: bool
) -> list[int]:
    """Up to n candidates, each the best with those before it taken as measured; p : (candidates,) can be measured."""
    open_ = np.ones(len(p), bool)
    chosen: list[int] = []
    before = sum(g.gained(weights) for g in greedy)
    while len(chosen) < n and open_.any():
        if straddle:
            score = np.sum([g.straddles() for g in greedy], axis=0)
            worth = score + np.log(p)  # a straddle may be negative: a product would turn it round
        else:
            score = np.sum([g.scores(weights) for g in greedy], axis=0) - before
            worth = score * p
        best = int(np.argmax(np.where(open_, worth, -np.inf)))
        open_[best] = False
        chosen.append(best)
        scores.append(float(score[best]))
        before += float(score[best])
        for g in greedy:
            g.condition(best)
    return chosen


def _discs(
    fields: Sequence[Field],
    unit: Array,
    free: NDArray[np.bool_],
    known: Array,
    n: int,
    rng: np.random.Generator,
    scores: list[float],
    p: Array,
) -> list[int]:
    """N points of the band, in random order, as far apart as can be: the radius shrinks until there are enough.

    The band is where any target is within 1.96 standard deviations of its level, or the n free points nearest to it
    where that is fewer. What was measured and what is pending keeps its distance too. A distance counts as much as the
    point probably can exist.
    """
    index = np.flatnonzero(free)
    n = min(n, len(index))
    if not n:
        return []
    a = np.min([f.a for f in fields], axis=0)[index]
    edge = max(_STRADDLE, float(np.partition(a, n - 1)[n - 1]))
    band = rng.permutation(index[a <= edge])
    nearest = distances(unit[band], np.vstack([fields[0].gp.X, known]))
    radius = math.sqrt(unit.shape[1])
    chosen: list[int] = []
    while len(chosen) < n:
        apart = np.flatnonzero(p[band] * nearest >= radius)
        if len(apart):
            first = apart[0]
            chosen.append(int(band[first]))
            scores.append(radius)
            nearest = np.minimum(nearest, np.sqrt(((unit[band] - unit[band[first]]) ** 2).sum(1)))
            nearest[first] = -1.0
        else:
            radius = radius * _SHRINK if radius > 1e-6 else 0.0
    return chosen


def _candidates(rng: np.random.Generator, risk: Array, free: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Up to 256 free pool indices in ascending order, without repetition, the risky ones more likely."""
    index = np.flatnonzero(free)
    if len(index) <= CANDIDATES:
        return index
    total = float(risk.sum())
    weight = 0.9 * risk[index] / total + 0.1 / len(index) if total > 0 else np.full(len(index), 1.0 / len(index))
    keys = np.log(weight) + rng.gumbel(size=len(index))  # the largest keys: a weighted draw without replacement
    return np.sort(index[np.argpartition(-keys, CANDIDATES)[:CANDIDATES]])


def maximin(
    unit: Array,
    free: NDArray[np.bool_],
    known: Array,
    n: int,
    scores: list[float] | None = None,
    feasible: Array | None = None,
) -> list[int]:
    """The n pool points farthest from everything: argmax min(min_i |x - x_i|, 2 d_face + 0.05), ties lowest index.

    unit : (N, d) pool; free : (N,) may be proposed; known : (k, d) all points so far. d_face is the distance to the
    nearest face of the cube: without it all such points lie in corners. scores : is filled with each one's distance.
    feasible : (N,) probability that there is something, which the distance is multiplied by; None: 1.
    """
    p = np.ones(len(unit)) if feasible is None else feasible
    face = 2.0 * np.min(np.minimum(unit, 1.0 - unit), axis=1) + 0.05
    nearest = distances(unit, known)
    open_ = free.copy()
    chosen: list[int] = []
    while len(chosen) < n and open_.any():
        best = int(np.argmax(np.where(open_, p * np.minimum(nearest, face), -np.inf)))
        open_[best] = False
        chosen.append(best)
        if scores is not None:
            scores.append(float(nearest[best]))
        nearest = np.minimum(nearest, np.sqrt(((unit - unit[best]) ** 2).sum(1)))
    return chosen


def distances(unit: Array, known: Array) -> Array:
    """(N,) distance of each row of `unit` to the nearest row of `known`; infinite when there is none."""
    if not len(known):
        return np.full(len(unit), np.inf)
    nearest = np.full(len(unit), np.inf)
    for start in range(0, len(known), _ROWS):  # of tens of thousands, not all at once: that would be a gigabyte
        rows = known[start : start + _ROWS]
        squared = (unit**2).sum(1)[:, None] + (rows**2).sum(1)[None, :] - 2.0 * unit @ rows.T
        np.minimum(nearest, squared.min(axis=1), out=nearest)
    return np.asarray(np.sqrt(np.maximum(nearest, 0.0)))
