"""The number of events as something to choose: where a point is measured, and how well, by what it tells a core hour.

A parameter of the space says how many events are simulated. It is no coordinate of the map: the value does not depend
on it, only the variance of the observation does, as one over the number of events. So the map is that of the other
parameters. At each place that number is taken which takes most of the variance there away per core hour, and of the
places the one with the largest expected misclassified volume taken away per core hour [cost-aware, multi-fidelity
acquisition: Swersky et al., NIPS 2013; Stroh et al., Technometrics 64 (2022) 1]. With a fixed cost f and a cost c of
each event, and noise of variance v / events, the best number is sqrt(v f / c) / s where the map's standard deviation is
s: few where little is known, more as the contour is closed in on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from idds_core.expressions import Expression, ExpressionError
from idds_core.history import History
from idds_core.parameters import Ordered
from idds_core.ports import Proposal
from idds_core.space import Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from idds_learners.acquisition import Field
    from idds_learners.mapping import Maps

    Array = NDArray[np.float64]

__all__ = ["Events", "Prices"]


@dataclass(frozen=True)
class Events:
    """A parameter of the space that is the number of events, and what they cost.

    Parameters
    ----------
    name : of the parameter, an :class:`~idds_core.Ordered` one of numbers
    cost : core hours of a point, an expression of that parameter, such as ``"0.1 + 2e-5 * events"``; only ratios count
    measured : name of a number that the last step returns beside the targets, the core time of its point in any unit.
        Once two numbers of events were measured, the cost is a straight line through what was returned (least squares,
        neither part below zero); until then it is `cost`.
    first : number of events of the first design; None: the middle one of the choices

    Examples
    --------
    >>> Events("events", cost="0.1 + 2e-5 * events").problems()
    []
    >>> Events("events", cost="0.1 + 2e-5 * event").problems()
    ["cost '0.1 + 2e-5 * event': unknown name 'event', known are events. Did you mean 'events'?"]

    """

    name: str
    cost: str = ""
    measured: str | None = None
    first: float | None = None

    def problems(self) -> list[str]:
        """Everything that is wrong with its fields."""
        try:
            parsed = self._cost()
        except ExpressionError as error:
            return [f"cost {self.cost!r}: {error}"]
        return [f"cost {self.cost!r} is true or false, no number"] if parsed.is_condition else []

    def space_problem(self, space: Space) -> str:
        """Why the number of events of this space cannot be chosen; empty when it can."""
        parameter = space.parameters.get(self.name)
        if parameter is None:
            return f"{self.name} is no parameter of the space: {', '.join(space.names)}"
        if not isinstance(parameter, Ordered) or not all(_positive(c) for c in parameter.choices):
            return f"{self.name} is not Ordered numbers above 0"
        if len(space.names) < 2:
            return f"{self.name} is the only parameter of the space"
        if any(self.name in Expression(c, space.names).names for c in space.constraints):
            return f"a constraint is on {self.name}"
        if self.first is not None and not parameter.holds(self.first):
            return f"first={self.first} is none of the choices of {self.name}"
        wrong = [n for n in parameter.choices if not _positive(self._cost()({self.name: float(n)}))]
        return f"cost {self.cost!r} is not above 0 at {self.name}={wrong[0]}" if wrong else ""

    def _cost(self) -> Expression:
        return Expression(self.cost, [self.name])

    # ------------------------------------------------------------------ the history without it
    def without(self, history: History) -> History:
        """The history in the space of the other parameters: the same observations, each with its own sigma."""
        if self.name not in history.space.parameters:
            return history
        kept = {n: p for n, p in history.space.parameters.items() if n != self.name}
        points = tuple(replace(p, parameters={n: p.parameters[n] for n in kept}) for p in history.points)
        earlier = {name: self.without(h) for name, h in history.earlier.items()}
        return replace(history, space=Space(kept, history.space.constraints), points=points, earlier=earlier)

    def choices(self, history: History) -> tuple[Any, ...]:
        """The numbers of events, by growing number."""
        return tuple(sorted(self._parameter(history.space).choices, key=float))

    def at_first(self, history: History) -> Any:
        """The number of events of the first design, as the space has it."""
        known = self.choices(history)
        return next(c for c in known if c == self.first) if self.first is not None else known[len(known) // 2]

    def _parameter(self, space: Space) -> Ordered:
        found = space.parameters[self.name]
        assert isinstance(found, Ordered)
        return found

    # ------------------------------------------------------------------ what it is worth, and what it costs
    def costs(self, history: History) -> Array:
        """(k,) cost of a point by number of events: as measured where it was, else as stated."""
        import numpy as np
        from scipy.optimize import nnls

        choices = np.array(self.choices(history), dtype=float)
        stated = np.array([float(self._cost()({self.name: c})) for c in choices])
        rows = [(float(p.parameters[self.name]), p.observation.extras[self.measured]) for p in history.measured
                if self.measured and p.observation and self.measured in p.observation.extras]  # fmt: skip
        seen = np.array(sorted(rows), dtype=float).reshape(-1, 2)
        if len(set(seen[:, 0].tolist())) < 2:
            return stated
        unit = float(choices[-1])
        line, _ = nnls(np.column_stack([np.ones(len(seen)), seen[:, 0] / unit]), seen[:, 1])
        found = line[0] + line[1] * choices / unit
        return np.asarray(found if (found > 0).all() else stated)

    def noise(self, history: History, maps: Maps) -> dict[str, Array]:
        """Target -> (k,) variance of an observation by number of events, on the map's scale.

        The median of sigma^2 times the number of events over the half of the points that is nearest to the level: that
        is where points go. 0 where no sigma is reported.
        """
        import numpy as np

        points = sorted(history.measured, key=lambda p: (p.ingest_no or 0, p.number))
        events = np.array([float(p.parameters[self.name]) for p in points])
        choices, found = np.array(self.choices(history), dtype=float), {}
        for target, gp in maps.gps.items():
            scale = maps.scales[target]
            seen = [p.observation for p in points if p.observation is not None]
            values = np.array([o.values[target] for o in seen], dtype=float)
            sigmas = scale.sigma(values, np.array([o.sigmas.get(target, 0.0) for o in seen], dtype=float))
            near = np.argsort(np.abs(scale.forward(values) - scale.threshold), kind="stable")[: (len(seen) + 1) // 2]
            found[target] = float(np.median(sigmas[near] ** 2 * events[near])) / choices + gp.nugget * gp.spread**2
        return found


def _positive(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


class Prices:
    """How many events each point of one proposal gets, in the order in which they are chosen, and why."""

    def __init__(self, events: Events, history: History) -> None:
        self._events, self._history = events, history
        self._choices = events.choices(history)
        self._cost = events.costs(history)
        self._noise: Mapping[str, Array] = {}
        self._told: list[dict[str, Any]] = []

    def learn(self, maps: Maps) -> None:
        """What noise is to be expected, from a map."""
        self._noise = self._events.noise(self._history, maps)

    def pick(
        self, fields: Sequence[Field], unit: Array, free: NDArray[np.bool_], known: Array, n: int,
        rng: np.random.Generator, feasible: Array, scores: list[float],
    ) -> list[int]:  # fmt: skip
        """As :func:`idds_learners.acquisition.pick`, by the gain for what it costs."""
        from idds_learners.priced import pick_priced

        found = pick_priced(fields, unit, free, known, n, rng, list(self._noise.values()), self._cost, feasible)
        scores += [p.gain for p in found]
        self._told += [self._why(p.level, p.taken) for p in found]
        return [p.index for p in found]

    def explore(self, fields: Mapping[str, Field], far: Sequence[int]) -> None:
        """Points that explore: the number of events that takes most of the variance there away for its cost."""
        for i in far:
            variances = {t: (f.inflation * f.sd[i]) ** 2 for t, f in fields.items()}
            taken = sum(v / (v + self._noise[t]) for t, v in variances.items()) / len(variances)
            self._told.append(self._why(int((taken / self._cost).argmax()), taken.tolist()))

    def _why(self, level: int, taken: Sequence[float]) -> dict[str, Any]:
        """The choice, and for each number of events its cost and the share of the variance that it takes away."""
        choices = zip(self._choices, self._cost, taken, strict=True)
        each = {str(n): {"cost": _short(c), "taken": _short(t)} for n, c, t in choices}
        return {"events": self._choices[level], "choices": each}

    def named(self, proposal: Proposal) -> Proposal:
        """The proposal with its numbers of events; those of a first design come first."""
        name, space = self._events.name, self._history.space
        first = {"events": self._events.at_first(self._history)}
        told = [first] * (len(proposal.points) - len(self._told)) + self._told
        points = [{**p, name: t["events"]} for p, t in zip(proposal.points, told, strict=True)]
        chosen = [{**c, **t} for c, t in zip(proposal.chosen, told, strict=True)] if proposal.chosen else []
        return replace(proposal, points=tuple({n: p[n] for n in space.names} for p in points), chosen=tuple(chosen))


def _short(value: Any) -> float:
    return float(f"{float(value):.6g}")
