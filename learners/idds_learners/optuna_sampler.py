"""Optuna's samplers as learners [Akiba et al., KDD 2019]; Optuna is imported when a learner is asked.

CMA-ES and NSGA-II keep their state in attributes of trials: a study that is rebuilt from values alone forgets it and
searches at random. So the record is replayed, question by question, and the search is the one that Optuna itself would
make.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from idds_core.expressions import Expression
from idds_core.history import History
from idds_core.parameters import resting, round12
from idds_core.space import Categorical, Integer, Log, Ordered, Real
from idds_core.supporting import Supports
from idds_learners.peers import need
from idds_learners.replaying import Driver, Replayed, text_of

__all__ = ["SAMPLERS", "Optuna"]

#: name -> class in optuna.samplers, packages it needs, and how many objectives it can have
SAMPLERS: Mapping[str, tuple[str, tuple[str, ...], int | None]] = {
    "tpe": ("TPESampler", (), None),
    "gp": ("GPSampler", ("torch",), None),
    "cmaes": ("CmaEsSampler", ("cmaes",), 1),
    "nsga2": ("NSGAIISampler", (), None),
    "qmc": ("QMCSampler", (), None),
    "random": ("RandomSampler", (), None),
}


@dataclass(frozen=True)
class Optuna(Replayed):
    """A sampler of Optuna: ``Optuna("loss", sampler="tpe")``, in YAML ``optuna:tpe: {objective: loss}``.

    The record is replayed to it, so a run is what Optuna would do with the same seed. Choices, order, conditions and
    constraints (points against them are told as failed) are handled as by any user of Optuna; CMA-ES has one objective,
    and takes neither choices nor conditions.

    Parameters
    ----------
    sampler : "tpe", "cmaes" (needs ``cmaes``), "gp" (needs ``torch``), "nsga2", "qmc" or "random"
    options : further arguments of the sampler, such as ``{"multivariate": true}``

    """

    variants: ClassVar[tuple[str, Mapping[str, str]]] = ("sampler", {name: name for name in SAMPLERS})

    sampler: str = "tpe"
    options: Mapping[str, Any] | None = None

    @property
    def supports(self) -> Supports:
        """What the sampler can do."""
        most = SAMPLERS.get(self.sampler, ("", (), None))[2]
        kinds = ("real", "log", "integer", "ordered") if self.sampler == "cmaes" else Supports().kinds
        return Supports(kinds, most, conditional=self.sampler != "cmaes", noise=False)

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        found = super().problems()
        if self.sampler not in SAMPLERS:
            return [*found, f"sampler {self.sampler!r} is none of {', '.join(SAMPLERS)}"]
        return found + need("optuna", *SAMPLERS[self.sampler][1], extra="hpo")

    def driver(self, history: History) -> Driver:
        """A fresh study."""
        return _Study(self, history)


class _Study:
    """A study that is asked and told; see :class:`~idds_learners.replaying.Driver`."""

    def __init__(self, learner: Optuna, history: History) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        made = getattr(optuna.samplers, SAMPLERS[learner.sampler][0])
        ways = learner.ways(history)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of options that Optuna calls experimental: whoever names them knows
            sampler = made(seed=history.seed % 2**32, **dict(learner.options or {}))
            directions: Any = ["minimize" if way == "min" else "maximize" for way in ways.values()]
            self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._space = history.space
        self._rules = {
            n: Expression(p.when, history.space.names) for n, p in history.space.parameters.items() if p.when
        }
        self._open: dict[str, list[Any]] = {}

    def ask(self, n: int) -> list[dict[str, Any]]:
        """N trials."""
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trials = [self._study.ask() for _ in range(n)]
            for trial in trials:
                point = self._suggested(trial)
                self._open.setdefault(text_of(point), []).append(trial)
                found.append(point)
        return found

    def _suggested(self, trial: Any) -> dict[str, Any]:
        """The point of a trial; what does not apply is not asked for."""
        point: dict[str, Any] = {}
        applies: dict[str, bool] = {}
        for name, p in self._space.parameters.items():
            rule = self._rules.get(name)
            applies[name] = rule is None or (bool(rule(point)) and all(applies[other] for other in rule.names))
            point[name] = self._value(trial, name, p) if applies[name] else resting(p)
        return point

    @staticmethod
    def _value(trial: Any, name: str, p: Any) -> Any:
        if isinstance(p, (Real, Log)):
            value = trial.suggest_float(name, p.low, p.high, log=isinstance(p, Log))
            return min(max(round12(value), p.low), p.high)  # it has more digits than a record
        if isinstance(p, Integer):
            return trial.suggest_int(name, p.low, p.high)
        if isinstance(p, Ordered):
            return p.choices[trial.suggest_int(name, 0, len(p.choices) - 1)]
        assert isinstance(p, Categorical)
        return trial.suggest_categorical(name, list(p.choices))

    def tell(self, point: Mapping[str, Any], values: Sequence[float] | None) -> None:
        """The end of a trial, or a trial of somebody else's."""
        import optuna

        waiting = self._open.get(text_of(point))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if waiting:
                trial = waiting.pop(0)
                state = optuna.trial.TrialState.FAIL if values is None else optuna.trial.TrialState.COMPLETE
                self._study.tell(trial, None if values is None else list(values), state=state)
            elif values is not None:
                self._study.add_trial(self._foreign(point, values))

    def _foreign(self, point: Mapping[str, Any], values: Sequence[float]) -> Any:
        import optuna

        applies = {n: bool(met[0]) for n, met in self._space.applies([point]).items()}
        kinds: dict[str, Any] = {}
        told: dict[str, Any] = {}
        for name, p in self._space.parameters.items():
            if not applies[name]:
                continue
            told[name] = p.choices.index(point[name]) if isinstance(p, Ordered) else point[name]
            if isinstance(p, (Real, Log)):
                kinds[name] = optuna.distributions.FloatDistribution(p.low, p.high, log=isinstance(p, Log))
            elif isinstance(p, Categorical):
                kinds[name] = optuna.distributions.CategoricalDistribution(list(p.choices))
            else:
                low, high = (p.low, p.high) if isinstance(p, Integer) else (0, len(p.choices) - 1)
                kinds[name] = optuna.distributions.IntDistribution(low, high)
        return optuna.trial.create_trial(params=told, distributions=kinds, values=list(values))
