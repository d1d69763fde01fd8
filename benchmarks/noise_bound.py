"""What noise leaves possible on noisy2: a map and points that are chosen with the truth in hand.

    OMP_NUM_THREADS=1 python -m benchmarks.noise_bound

The oracle is a Gaussian process whose hyper-parameters are fixed beforehand, the best of a search over lengthscales and
variance. Beyond the first design of 12 its points are chosen, eight at a time as the benchmark has it, so that the
misclassified share that is to be expected of the true contour is smallest. Then its noise is drawn 500 times for each
first design, and evaluations are counted as for the learners: two records in a row at or below 1 %. No learner knows so
much; where the oracle misses a mark, the mark asks for luck. `share` is of runs at N, `of ten` of medians of ten runs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from benchmarks.problems import PROBLEMS
from benchmarks.runs import batches, first_of_two
from benchmarks.script import finish, parser, start, tell
from idds_learners import kernel
from idds_learners.design import sequence

Array = NDArray[np.float64]
NOISY = PROBLEMS["noisy2"]
TOLERANCE = 0.01
#: lengthscales of the two coordinates and variance of f
ORACLE = (1.2, 4.0, math.exp(4.0))
#: places along the contour, half the step over which a map's slope is taken there, draws of the noise
PLACES, STEP, DRAWS = 61, 0.04, 500
#: how far off the contour, in m_z, candidates lie
OFFSETS = (-0.25, -0.15, -0.08, -0.03, 0.0, 0.03, 0.08, 0.15, 0.25)
MARKS = (28, 36, 44)
PLAN = batches(NOISY.first, NOISY.batch, 60)


def contour() -> Array:
    """(61, 2) places of the true contour, evenly spread in its second coordinate."""

    def at(x: float, v: float) -> float:
        return float(NOISY.at_unit(np.array([[x, v]]))[0])

    return np.array([[brentq(at, 0.05, 0.95, args=(v,)), v] for v in np.linspace(0.0, 1.0, PLACES)])


@dataclass(frozen=True)
class Oracle:
    """A process with fixed hyper-parameters, that knows the true values of what it will measure with noise."""

    theta: Array
    along: Array

    @classmethod
    def of(cls, first: float, second: float, variance: float) -> Oracle:
        """A Matern-5/2 with these lengthscales and this variance."""
        never = -30.0  # no Matern-3/2, no additive part, no nugget
        return cls(np.array([math.log(first), math.log(second), never, never, math.log(variance), never]), contour())

    def weights(self, X: Array, U: Array) -> Array:
        """(m, n) what the map at U (m, 2) makes of values measured at X (n, 2); its constant mean is fitted."""
        K = kernel.matern(X, X, self.theta)
        K.flat[:: len(X) + 1] += NOISY.sigma**2
        inverse = np.linalg.inv(K)
        A, ones = kernel.matern(U, X, self.theta) @ inverse, inverse.sum(1)
        return np.asarray(A + np.outer((1.0 - A.sum(1)) / ones.sum(), ones))

    def expected(self, X: Array) -> float:
        """The misclassified share to be expected of points X (n, 2), to first order in the contour's displacement."""
        away = np.array([STEP, 0.0])
        W = self.weights(X, np.vstack([self.along, self.along - away, self.along + away]))
        bias, before, after = (W @ NOISY.at_unit(X)).reshape(3, -1)
        slope = np.maximum((after - before) / (2.0 * STEP), 0.3)
        sd = NOISY.sigma * np.sqrt((W[: len(self.along)] ** 2).sum(1))
        z = bias / sd
        off = sd * math.sqrt(2.0 / math.pi) * np.exp(-0.5 * z**2) + bias * (1.0 - 2.0 * ndtr(-z))
        return float(np.trapezoid(off / slope, self.along[:, 1]))

    def more(self, X: Array, n: int, rng: np.random.Generator) -> Array:
        """X (m, 2) and the n points that leave least to be expected, each exchanged once, from a random beginning."""
        grid = np.stack(np.meshgrid(np.linspace(0, 1, 17), np.linspace(0, 1, 13)), axis=-1).reshape(-1, 2)
        near = self.along[::5, None, :] + np.array([[o, 0.0] for o in OFFSETS])
        candidates = np.clip(np.vstack([grid, near.reshape(-1, 2)]), 0.0, 1.0)
        chosen = rng.integers(0, len(candidates), n)
        for j in range(n):
            trials = [np.where(np.arange(n) == j, c, chosen) for c in range(len(candidates))]
            chosen = min(trials, key=lambda t: self.expected(np.vstack([X, candidates[t]])))
        return np.vstack([X, candidates[chosen]])

    def runs(self, seed: int) -> Array:
        """(records, draws) misclassified shares as points come in, for draws of the noise."""
        rng, (test, truth) = np.random.default_rng(seed), NOISY.truth()
        X = NOISY.space.to_unit(sequence(NOISY.space, seed, "sobol", 64).points[: NOISY.first])
        noise = NOISY.sigma * rng.normal(size=(sum(PLAN), DRAWS))
        found = []
        for i, n in enumerate(PLAN):
            X = self.more(X, n, rng) if i else X
            said = self.weights(X, test) @ (NOISY.at_unit(X)[:, None] + noise[: len(X)])
            found.append(np.mean((said < 0) != truth[:, None], axis=0))
        return np.array(found)


def study(seeds: int) -> dict[str, Any]:
    """Evaluations of the oracle to 1 %, over first designs 1000, 1001, ... and draws of the noise."""
    oracle, counts = Oracle.of(*ORACLE), np.cumsum(PLAN).tolist()
    shares = []
    for seed in range(1000, 1000 + seeds):
        shares.append(oracle.runs(seed))
        tell(f"first design {seed} is done")
    needed = np.array([first_of_two(list(zip(counts, run, strict=True)), TOLERANCE) for s in shares for run in s.T])
    ten = np.median(np.random.default_rng(0).choice(needed, (10_000, 10)), axis=1)
    return {
        "errors": dict(zip(counts, np.median(np.hstack(shares), axis=1).tolist(), strict=True)),
        "median": float(np.median(needed)),
        "share": {n: float(np.mean(needed <= n)) for n in MARKS},
        "of_ten": {n: float(np.mean(ten <= n)) for n in MARKS},
    }


def show(figures: Mapping[str, Any]) -> None:
    """A few lines of text."""
    print("misclassified, median:", ", ".join(f"{n}: {e:.2%}" for n, e in figures["errors"].items()))
    print(f"evaluations to {TOLERANCE:.0%}: {figures['median']:g}")
    for n in MARKS:
        print(f"within {n}: share {figures['share'][n]:.0%}, of ten {figures['of_ten'][n]:.0%}")


def main() -> int:
    """Measure and print."""
    options = parser(__doc__, seeds=20, quick="one first design").parse_args()
    return finish(options, start(options) | study(options.seeds), show)


if __name__ == "__main__":
    sys.exit(main())
