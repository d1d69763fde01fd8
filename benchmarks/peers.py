"""The methods that are compared: ours, Sobol with our surrogate, and other libraries, where they are installed.

Each starts from the first design of `Sobol`, so that all begin with the same points.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from benchmarks.problems import Benchmark
from benchmarks.runs import Run, batches, learn, level_set, measured, misclassified, sobol
from idds_core.history import History, Point, derive_seed
from idds_core.states import PointState
from idds_learners.design import fill
from idds_learners.level_set import STRATEGIES

__all__ = ["METHODS", "Method"]

Array = NDArray[np.float64]
Ask = Callable[[Array, Array, int], Array]


@dataclass(frozen=True)
class Method:
    """A way to choose points: `run` makes a run of it, `package` is what it needs, `suits` where it is tried at all."""

    run: Callable[[Benchmark, int], Run]
    package: str | None = None
    suits: Callable[[Benchmark], bool] = lambda _: True


# ---------------------------------------------------------------------- points of a peer, map of ours
def _f(problem: Benchmark, seed: int, points: list[dict[str, Any]], before: int) -> Array:
    """(n,) observed f at points, the numbers of which come after `before`: the very values our learner sees."""
    seen = measured(problem, seed)
    values = np.array([seen(before + i, p).values["f"] for i, p in enumerate(points, 1)])
    return np.log(values) if problem.transform == "log" else values


def _our_map(problem: Benchmark, points: list[dict[str, Any]], seed: int) -> float:
    """The misclassified share of our surrogate, fitted anew to a peer's points."""
    seen = measured(problem, seed)
    done = tuple(Point(i, 1, p, PointState.MEASURED, seen(i, p)) for i, p in enumerate(points, 1))
    maps = level_set(problem).surrogate(History(problem.space, seed, ("f",), done))
    assert maps is not None
    return misclassified(problem, maps.predict_unit(problem.truth()[0])["f"].p_excluded > 0.5)


def _played(problem: Benchmark, seed: int, ask: Ask) -> Run:
    """A peer that is asked for points of the unit cube, with u (n, d) and f (n,) so far, judged by our surrogate."""
    run, points = Run(), list[dict[str, Any]]()
    u, f = np.empty((0, problem.space.dimension)), np.empty(0)
    for i, n in enumerate(batches(problem.first, problem.batch, problem.budget)):
        new = fill(problem.space, seed, set(), n) if i == 0 else problem.space.from_unit(ask(u, f, n))
        f = np.append(f, _f(problem, seed, new, len(points)))
        points += new
        u = problem.space.to_unit(points)
        run.records.append((len(points), _our_map(problem, points, seed)))
        if run.settled():
            break
    return run


def _pool(problem: Benchmark, seed: int, n: int = 4096) -> Array:
    """Points of the valid region that a peer may choose from, as ours does."""
    u = qmc.Sobol(problem.space.dimension, seed=np.random.default_rng(seed)).random(n)
    return np.asarray(u[problem.valid(u)])


# ---------------------------------------------------------------------- the peers
def _skopt(problem: Benchmark, seed: int) -> Run:
    """scikit-optimize's Gaussian process, minimising |f - c|; batches by the constant liar."""
    from skopt import Optimizer

    optimizer, told = Optimizer([(0.0, 1.0)] * problem.space.dimension, "GP", n_initial_points=0, random_state=seed), 0

    def ask(u: Array, f: Array, n: int) -> Array:
        nonlocal told
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer.tell(u[told:].tolist(), np.abs(f[told:]).tolist())
            told = len(f)
            return np.array(optimizer.ask(n))

    return _played(problem, seed, ask)


def _optuna(problem: Benchmark, seed: int) -> Run:
    """Optuna's TPE, minimising |f - c|."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = [f"u{i}" for i in range(problem.space.dimension)]
    box: dict[str, Any] = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in names}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True))
    asked = list[Any]()

    def ask(u: Array, f: Array, n: int) -> Array:
        nonlocal asked
        if not asked:
            for x, y in zip(u.tolist(), np.abs(f).tolist(), strict=True):
                made = optuna.trial.create_trial(params=dict(zip(names, x, strict=True)), distributions=box, value=y)
                study.add_trial(made)
        for trial, y in zip(asked, np.abs(f[len(f) - len(asked) :]).tolist(), strict=True):
            study.tell(trial, y)
        asked = [study.ask(box) for _ in range(n)]
        return np.array([[t.params[name] for name in names] for t in asked])

    return _played(problem, seed, ask)


def _level_loss(simplex: Any, values: Any, _: Any) -> float:
    """Volume of a simplex, far more where its corners are on both sides of the contour."""
    from adaptive.learner.learnerND import volume

    f = np.ravel(values)
    return float(volume(simplex) * (1.0 if f.min() < 0 < f.max() else 0.02 / (1.0 + np.abs(f).min())))


def _adaptive(problem: Benchmark, seed: int) -> Run:
    """adaptive's LearnerND with a loss for level sets; its own linear interpolation is the map."""
    from adaptive import LearnerND

    d, test = problem.space.dimension, problem.truth()[0]
    learner = LearnerND(lambda _: 0.0, [(0.0, 1.0)] * d, loss_per_simplex=_level_loss)
    run, total = Run(), 0
    for i, n in enumerate(batches(problem.first, problem.batch, problem.budget)):
        new, _ = learner.ask(max(n, 2**d) if i == 0 else n)
        with np.errstate(all="ignore"):
            f = problem.at_unit(np.array(new))
        for x, y in zip(new, f.tolist(), strict=True):
            learner.tell(x, y)
        total += len(new)
        found = learner._ip()(test)  # noqa: SLF001  its map has no other door
        run.records.append((total, misclassified(problem, np.ravel(found) < 0)))
        if run.settled():
            break
    del seed
    return run


def _straddle(problem: Benchmark, seed: int) -> Run:
    """BoTorch's SingleTaskGP and the straddle 1.96 s - |m - c| over a pool; batches believe the mean."""
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.manual_seed(seed)
    pool = _pool(problem, derive_seed(seed, "straddle") % 2**31)

    def ask(u: Array, f: Array, n: int) -> Array:
        x, y = torch.tensor(u), torch.tensor(f)[:, None]
        noise = torch.full_like(y, problem.sigma**2) if problem.sigma else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: Any = SingleTaskGP(x, y, noise)
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            chosen = list[int]()
            with torch.no_grad():
                for _ in range(n):
                    p = model.posterior(torch.tensor(pool))
                    mean, sd = p.mean.ravel().numpy(), p.variance.ravel().sqrt().numpy()
                    score = 1.96 * sd - np.abs(mean)
                    score[chosen] = -math.inf
                    chosen.append(int(np.argmax(score)))
                    x = torch.cat([x, torch.tensor(pool[chosen[-1:]])])
                    y = torch.cat([y, torch.tensor(mean[chosen[-1:]])[:, None]])
                    believed: Any = SingleTaskGP(x, y, torch.full_like(y, problem.sigma**2) if problem.sigma else None)
                    believed.load_state_dict(model.state_dict())
                    believed.eval()
                    model = believed
        return pool[chosen]

    return _played(problem, seed, ask)


def _small(problem: Benchmark) -> bool:
    """Where a peer that fits its model for every point of a batch is done in minutes."""
    return problem.budget <= 100


def _noiseless(problem: Benchmark) -> bool:
    return not problem.sigma and problem.trend is None and problem.space.dimension <= 3


def _noisy(problem: Benchmark) -> bool:
    """Where it is in question which of our own strategies is best."""
    return problem.sigma > 0


def _by(strategy: str) -> Method:
    """LevelSet with another strategy than its default."""
    return Method(lambda p, seed: learn(p, replace(level_set(p), strategy=strategy), seed)[0], suits=_noisy)


METHODS: dict[str, Method] = {
    "ours": Method(lambda problem, seed: learn(problem, level_set(problem), seed)[0]),
    **{f"ours_{name}": _by(name) for name in STRATEGIES if name != "emv"},
    "sobol_gp": Method(lambda problem, seed: learn(problem, sobol(problem), seed)[0]),
    "skopt": Method(_skopt, "scikit-optimize", _small),
    "optuna": Method(_optuna, "optuna"),
    "adaptive": Method(_adaptive, "adaptive", _noiseless),
    "botorch_straddle": Method(_straddle, "botorch"),
}
