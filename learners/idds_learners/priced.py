"""Where to measure next, and how well, when a better measurement costs more: greedy, for what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idds_learners.acquisition import Field, prepared

__all__ = ["Priced", "pick_priced"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Priced:
    """A pool point that was picked, and how well it is to be measured.

    index : into the pool; level : how well, of the k ways that there are.
    gain : expected misclassified share of the pool that it takes away.
    taken : (k,) share of the variance there that each way takes away.
    """

    index: int
    level: int
    gain: float
    taken: tuple[float, ...]


def pick_priced(
    fields: Sequence[Field],
    unit: Array,
    free: NDArray[np.bool_],
    known: Array,
    n: int,
    rng: np.random.Generator,
    noise: Sequence[Array],
    cost: Array,
    feasible: Array | None = None,
) -> list[Priced]:
    """The n pool points, and how well each is to be measured, that take most of the doubt away for what they cost.

    How well is chosen by the variance that is taken away at the place, for its cost; the place by the expected
    misclassified volume, for its cost. That volume would not do for both: a coarse measurement hardly decides anything
    alone, though many of them do, so too much would be paid for each.

    Parameters
    ----------
    fields, unit, free, known, n, rng, feasible : as for :func:`pick`
    noise : for each target (k,) variances of an observation; cost : (k,) what it costs

    """
    p = np.ones(len(unit)) if feasible is None else feasible
    greedy, weights, candidates = prepared(fields, unit, free & (p > 0), known, rng, "emv", p)
    open_ = np.ones(len(candidates), bool)
    found: list[Priced] = []
    before = sum(g.gained(weights) for g in greedy)
    pairs = list(zip(greedy, noise, strict=True)) if greedy else []
    while len(found) < n and open_.any():
        taken = np.mean([g.taken(v) for g, v in pairs], axis=0)
        level = np.argmax(taken / cost[:, None], axis=0)
        gains = np.sum([g.scores(weights, v[level]) for g, v in pairs], axis=0) - before
        best = int(np.argmax(np.where(open_, gains * p[candidates] / cost[level], -np.inf)))
        open_[best] = False
        k, gain = int(level[best]), float(gains[best])
        found.append(Priced(int(candidates[best]), k, gain, tuple(taken[:, best].tolist())))
        before += gain
        for g, v in pairs:
            g.condition(best, float(v[k]))
    return found
