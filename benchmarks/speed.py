"""CPU time of ask(8) of `LevelSet` and peak memory, beside the refits of scikit-learn and BoTorch.

    OMP_NUM_THREADS=1 python -m benchmarks.speed --quick
    OMP_NUM_THREADS=1 python -m benchmarks.speed --json

monoH3, three parameters, n points of a Sobol sequence measured before. `first` is the first ask of a fresh process,
with its fit; `single` the median of asks after it; `amortised` the mean over all asks of 8 until n has grown by 10 %
and the refit schedule has fitted once more. The peers fit a Gaussian process of the same kind (Matern 5/2, a
lengthscale for each parameter, noise) once to the same n points; they propose nothing yet. Medians over the seeds, CPU
seconds of the process. Peak memory is that of a process of its own that asks for 8 points once, beside one that has
only loaded what it needs.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problems import PROBLEMS, Benchmark
from benchmarks.runs import Timed, level_set, measured
from benchmarks.script import finish, parser, start, tell
from idds_core.history import History, Point
from idds_core.states import PointState
from idds_core.testing.toys import play
from idds_learners.design import fill

PROBLEM = PROBLEMS["monoH3"]
SIZES, QUICK = (100, 500, 1000, 2000), (50, 100)
MEMORY, QUICK_MEMORY = 5000, 500
ASK = 8
#: CPU seconds of ask(8), amortised, by n
MARKS = {500: 0.15, 2000: 0.5}
Array = NDArray[np.float64]


def known(problem: Benchmark, n: int, seed: int) -> tuple[Point, ...]:
    """n points measured."""
    seen = measured(problem, seed)
    points = fill(problem.space, seed, set(), n)
    return tuple(Point(i, 1, p, PointState.MEASURED, seen(i, p)) for i, p in enumerate(points, 1))


def asks(n: int, seed: int) -> dict[str, float]:
    """CPU seconds of the first ask at n, of a later one, and of one in the mean over the growth to 1.1 n."""
    timed = Timed(level_set(PROBLEM))
    more = math.ceil(0.1 * n / ASK) + 1
    for _ in play(timed, PROBLEM.space, measured(PROBLEM, seed), seed=seed, batches=(ASK,) * (more + 2),
                  known=known(PROBLEM, n, seed)):  # fmt: skip
        pass
    # the second fits anew as well, since no iteration had closed that could keep the first's hyper-parameters; the last
    # question is for no points
    first, _, *later = timed.cpu_s[:-1]
    return {"first": first, "single": statistics.median(later), "amortised": statistics.fmean(later)}


def data(n: int, seed: int) -> tuple[Array, Array]:
    """(n, d) points of the unit cube and (n,) values of f, standardised."""
    points = known(PROBLEM, n, seed)
    f = np.log([p.observation.values["f"] for p in points if p.observation is not None])
    return PROBLEM.space.to_unit([p.parameters for p in points]), (f - f.mean()) / f.std()


def sklearn_refit(u: Array, f: Array) -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel() * Matern([0.5] * u.shape[1], nu=2.5) + WhiteKernel(1e-4, (1e-8, 1.0))
    GaussianProcessRegressor(kernel).fit(u, f)


def botorch_refit(u: Array, f: Array) -> None:
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    model = SingleTaskGP(torch.tensor(u), torch.tensor(f)[:, None])
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))


#: name -> package it needs, and one fit
PEERS: dict[str, tuple[str, Callable[[Array, Array], None]]] = {
    "scikit-learn refit": ("scikit-learn", sklearn_refit),
    "BoTorch refit": ("botorch", botorch_refit),
}


def refit(name: str, n: int, seed: int) -> float:
    """CPU seconds of one fit of a peer, its import not counted."""
    fit = PEERS[name][1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lengthscales at their bounds
        fit(*data(10, seed))
        u, f = data(n, seed)
        began = time.process_time()
        fit(u, f)
        return time.process_time() - began


def peak(n: int) -> float:
    """Peak memory of this process in MB, after one ask(8) at n; n = 10 is little more than what it has loaded."""
    history = History(PROBLEM.space, 0, ("f",), known(PROBLEM, n, 0))
    level_set(PROBLEM).ask(history, ASK)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def apart(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a function says in a fresh process: nothing is warm, nothing else is in its memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure."""
    return {key: round(statistics.median(run[key] for run in runs), 4) for key in runs[0]}


def measure(sizes: tuple[int, ...], memory: int, seeds: int, peers: list[str]) -> dict[str, Any]:
    """CPU seconds by n, and memory in MB."""
    found: dict[str, Any] = {}
    for n in sizes:
        row: dict[str, Any] = {"ours": medians([apart(asks, n, seed) for seed in range(seeds)])}
        for name in peers:
            row[name] = round(statistics.median(apart(refit, name, n, seed) for seed in range(seeds)), 4)
            tell(f"n = {n}: {name} {row[name]:.2f} s")
        tell(f"n = {n}: ours {row['ours']}")
        found[str(n)] = row
    return {"cpu_s": found, "memory_mb": {"n": memory, "peak": apart(peak, memory), "loaded": apart(peak, 10)}}


def show(figures: Mapping[str, Any]) -> None:
    """A row of Markdown for each n."""
    peers = [name for name in PEERS if name not in figures["not_installed"]]
    print(" | ".join(["| n", "ask(8), amortised", "single", "first", *peers, "mark |"]))
    print("|---" * (5 + len(peers)) + "|")
    for n, row in figures["cpu_s"].items():
        ours = [f"{row['ours'][key]:.2f}" for key in ("amortised", "single", "first")]
        mark = MARKS.get(int(n))
        print(" | ".join([f"| {n}", *ours, *(f"{row[p]:.2f}" for p in peers), f"{'-' if mark is None else mark} |"]))
    memory = figures["memory_mb"]
    print(f"peak memory at n = {memory['n']}: {memory['peak']:.0f} MB; {memory['loaded']:.0f} MB at n = 10")


def main() -> int:
    """Measure and print."""
    quick = f"n = {QUICK[0]} and {QUICK[1]}, memory at {QUICK_MEMORY}"
    options = parser(__doc__, seeds=3, quick=quick).parse_args()
    figures = start(options, {name: package for name, (package, _) in PEERS.items()})
    peers = [name for name in PEERS if name not in figures["not_installed"]]
    sizes, memory = (QUICK, QUICK_MEMORY) if options.quick else (SIZES, MEMORY)
    figures |= {"marks": MARKS, **measure(sizes, memory, options.seeds, peers)}
    return finish(options, figures, show)


if __name__ == "__main__":
    sys.exit(main())
