"""The peers of the benchmark of optima: each minimises a task in its own usual way, with ten points to begin with."""

from __future__ import annotations

import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimum_functions import Task
from idds_core.expressions import Expression
from idds_core.history import Observation
from idds_core.parameters import resting
from idds_core.space import Categorical, Integer, Log, Ordered, Real
from idds_core.testing.toys import play
from idds_learners.optimum import Optimum

__all__ = ["FIRST", "PEERS"]

FIRST = 10
Measure = Callable[[Mapping[str, Any]], float]
Peer = Callable[[Task, int, int, int, Measure], None]


def _batches(batch: int, n: int) -> list[int]:
    """Ten, then batches until there are n."""
    full, left = divmod(n - FIRST, batch)
    return [FIRST, *[batch] * full, *([left] if left else [])]


def learner(made: Any) -> Peer:
    """One of our learners, driven as the engine drives it."""

    def minimise(task: Task, seed: int, batch: int, n: int, measure: Measure) -> None:
        def outcome(_: int, point: Mapping[str, Any]) -> Observation:
            return Observation({"f": measure(point)})

        for _ in play(made, task.space, outcome, seed=seed, batches=tuple(_batches(batch, n))):
            pass

    return minimise


# ---------------------------------------------------------------------- Optuna
def _suggest(trial: Any, task: Task) -> dict[str, Any]:
    """A trial's point; a parameter that does not apply is not asked for, as Optuna's users write it."""
    point: dict[str, Any] = {}
    space = task.space
    applies: dict[str, bool] = {}
    for name, p in space.parameters.items():
        rule = Expression(p.when, space.names) if p.when else None
        applies[name] = rule is None or (bool(rule(point)) and all(applies[other] for other in rule.names))
        if not applies[name]:
            point[name] = resting(p)
        elif isinstance(p, (Real, Log)):
            point[name] = trial.suggest_float(name, p.low, p.high, log=isinstance(p, Log))
        elif isinstance(p, Integer):
            point[name] = trial.suggest_int(name, p.low, p.high)
        elif isinstance(p, Ordered):
            point[name] = p.choices[trial.suggest_int(name, 0, len(p.choices) - 1)]
        else:
            point[name] = trial.suggest_categorical(name, list(p.choices))
    return point


def optuna_peer(make: Callable[[Any, int, int], Any]) -> Peer:
    def minimise(task: Task, seed: int, batch: int, n: int, measure: Measure) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(sampler=make(optuna.samplers, seed, batch))
            for size in _batches(batch, n):
                trials = [study.ask() for _ in range(size)]
                points = [_suggest(trial, task) for trial in trials]
                for trial, point in zip(trials, points, strict=True):
                    study.tell(trial, measure(point))

    return minimise


# ---------------------------------------------------------------------- scikit-optimize
def skopt_peer(estimator: str) -> Peer:
    def minimise(task: Task, seed: int, batch: int, n: int, measure: Measure) -> None:
        import skopt
        from skopt import space as sk

        dimensions: list[Any] = []
        for p in task.space.parameters.values():
            if isinstance(p, (Real, Log)):
                dimensions.append(sk.Real(p.low, p.high, prior="log-uniform" if isinstance(p, Log) else "uniform"))
            elif isinstance(p, Integer):
                dimensions.append(sk.Integer(p.low, p.high))
            elif isinstance(p, Ordered):
                dimensions.append(sk.Integer(0, len(p.choices) - 1))
            else:
                dimensions.append(sk.Categorical(list(p.choices)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer = skopt.Optimizer(dimensions, estimator, n_initial_points=FIRST, random_state=seed)
            for size in _batches(batch, n):
                asked = optimizer.ask(n_points=size)
                optimizer.tell(asked, [measure(_point(task, x)) for x in asked])

    return minimise


def _point(task: Task, values: Any) -> dict[str, Any]:
    point: dict[str, Any] = {}
    for (name, p), value in zip(task.space.parameters.items(), values, strict=True):
        if isinstance(p, Ordered):
            point[name] = p.choices[int(value)]
        else:
            point[name] = value.item() if isinstance(value, np.generic) else value
    return task.space.settled([point])[0]


# ---------------------------------------------------------------------- SMAC3
def smac(task: Task, seed: int, batch: int, n: int, measure: Measure) -> None:
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue

    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scenario = Scenario(_configurations(task, seed), deterministic=True, n_trials=n, seed=seed,
                            output_directory=Path(folder))  # fmt: skip
        start = HyperparameterOptimizationFacade.get_initial_design(scenario, n_configs=FIRST, max_ratio=1.0)
        select = HyperparameterOptimizationFacade.get_config_selector(scenario, retrain_after=batch)
        facade = HyperparameterOptimizationFacade(scenario, _never, initial_design=start, config_selector=select,
                                                  overwrite=True)  # fmt: skip
        for size in _batches(batch, n):
            asked = [facade.ask() for _ in range(size)]
            for trial in asked:
                point = {name: trial.config.get(name, resting(p)) for name, p in task.space.parameters.items()}
                point = {
                    name: p.choices[int(point[name])] if isinstance(p, Ordered) and name in trial.config
                    else point[name].item() if isinstance(point[name], np.generic) else point[name]
                    for name, p in task.space.parameters.items()
                }  # fmt: skip
                facade.tell(trial, TrialValue(cost=measure(task.space.settled([point])[0])), save=False)
    logging.disable(logging.NOTSET)


def _never(config: Any, seed: int = 0) -> float:
    """What SMAC3 would run itself: it is only asked and told."""
    raise NotImplementedError(f"{config} {seed}")


def _configurations(task: Task, seed: int) -> Any:
    import ConfigSpace as cs  # noqa: N813 - as its own documentation has it

    found = cs.ConfigurationSpace(seed=seed)
    made: dict[str, Any] = {}
    for name, p in task.space.parameters.items():
        if isinstance(p, (Real, Log)):
            made[name] = cs.Float(name, (p.low, p.high), log=isinstance(p, Log))
        elif isinstance(p, Integer):
            made[name] = cs.Integer(name, (p.low, p.high))
        elif isinstance(p, Ordered):
            made[name] = cs.Integer(name, (0, len(p.choices) - 1))
        else:
            assert isinstance(p, Categorical)
            made[name] = cs.Categorical(name, list(p.choices))
    found.add(list(made.values()))
    for name, p in task.space.parameters.items():
        if p.when:
            match = re.fullmatch(r"(\w+) (==|!=) '(\w+)'", p.when)
            assert match is not None
            kind = cs.EqualsCondition if match[2] == "==" else cs.NotEqualsCondition
            found.add(kind(made[name], made[match[1]], match[3]))
    return found


#: name -> package it needs, and how it minimises
PEERS: dict[str, tuple[str, Peer]] = {
    "ours": ("idds-core", learner(Optimum("f"))),
    "optuna TPE": ("optuna", optuna_peer(lambda s, seed, _: s.TPESampler(seed=seed))),
    "optuna GP": ("optuna", optuna_peer(lambda s, seed, _: s.GPSampler(seed=seed))),
    "skopt GP": ("scikit-optimize", skopt_peer("GP")),
    "skopt forest": ("scikit-optimize", skopt_peer("RF")),
    "SMAC3": ("smac", smac),
}
