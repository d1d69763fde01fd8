"""Any learner as a generator of the gest-api: our learners inside libEnsemble, Optimas or Xopt.

It needs ``gest-api`` (``pip install 'idds-core[hpo]'``), and only it is imported with this module.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from gest_api.generator import Generator

from idds_core.history import History, IterationRecord, Observation, Point
from idds_core.ports import Learner
from idds_core.space import Categorical, Integer, Ordered, Parameter, Real, Space
from idds_core.states import PointState
from idds_learners.optimum import Optimum

__all__ = ["LearnerGenerator", "space_of"]


def space_of(vocs: Any) -> Space:
    """The space of a VOCS: intervals are real; discrete values are whole numbers in a row, in order, or choices.

    Raises
    ------
    ValueError
        When a variable has neither bounds nor values, or the VOCS has constraints.

    """
    if getattr(vocs, "constraints", None):
        raise ValueError("constraints on outputs are not supported")
    return Space({name: _parameter(name, variable) for name, variable in vocs.variables.items()})


def _parameter(name: str, variable: Any) -> Parameter:
    domain, values = getattr(variable, "domain", None), getattr(variable, "values", None)
    if domain is not None and all(map(math.isfinite, domain)):
        return Real(float(domain[0]), float(domain[1]))
    if not values:
        raise ValueError(f"{name} has no bounds")
    if all(isinstance(v, str) for v in values):
        return Categorical(sorted(values))
    numbers = sorted(values)
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in numbers)
    if whole and len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return Integer(numbers[0], numbers[-1])
    return Ordered([int(v) for v in numbers] if whole else [float(v) for v in numbers])


class LearnerGenerator(Generator):  # type: ignore[misc]  # the base has no types
    """A learner that is asked by ``suggest`` and told by ``ingest``.

    Results may come in any order, of points that were not suggested too; a value that is not finite is a failed point.

    Parameters
    ----------
    vocs : variables and objectives
    learner : any learner; by default :class:`~idds_learners.optimum.Optimum` for the objectives and their directions
    seed : of all its random numbers
    n : points that ``suggest()`` gives when no number is asked for

    """

    def __init__(self, vocs: Any, learner: Learner | None = None, seed: int = 0, n: int = 1) -> None:
        super().__init__(vocs)
        ways = {name: _way(given) for name, given in vocs.objectives.items()}
        self._learner: Learner = learner or Optimum(tuple(ways), ways)
        self._constants = {name: getattr(c, "value", c) for name, c in (getattr(vocs, "constants", None) or {}).items()}
        self._n = n
        self._history = History(space_of(vocs), seed, tuple(ways))

    def _validate_vocs(self, vocs: Any) -> None:
        if not vocs.variables or not vocs.objectives:
            raise ValueError("a learner needs a variable and an objective")
        space_of(vocs)

    @property
    def history(self) -> History:
        """What the learner is shown."""
        return self._history

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Points to be evaluated.

        Raises
        ------
        ValueError
            When the learner has fewer than were asked for.

        """
        n = self._n if num_points is None else num_points
        proposal = self._learner.ask(self._history, n)
        if num_points is not None and len(proposal.points) < n:
            raise ValueError(f"{len(proposal.points)} of {n} points: {proposal.reason or 'the learner has no more'}")
        history = self._history.with_diagnostics(proposal.diagnostics, proposal.state)
        number, first = len(history.iterations) + 1, len(history.points) + 1
        points = tuple(Point(i, number, dict(p)) for i, p in enumerate(proposal.points, first))
        record = IterationRecord(number, ingested_upto=self._ingested)
        self._history = dataclasses.replace(history, points=(*history.points, *points),
                                            iterations=(*history.iterations, record))  # fmt: skip
        return [{**p.parameters, **self._constants} for p in points]

    def ingest(self, results: list[dict[str, Any]]) -> None:
        """What was measured."""
        for result in results:
            parameters = {n: _own(p, result[n]) for n, p in self._history.space.parameters.items()}
            values = {t: float(result[t]) for t in self._history.targets}
            ended = _ended(parameters, values, self._ingested + 1)
            points, known = list(self._history.points), self._pending(parameters)
            if known is None:
                points.append(dataclasses.replace(ended, number=len(points) + 1))
            else:
                here = points[known]
                points[known] = dataclasses.replace(ended, number=here.number, iteration=here.iteration,
                                                    parameters=here.parameters)  # fmt: skip
            self._history = dataclasses.replace(self._history, points=tuple(points))
            self._close()

    @property
    def _ingested(self) -> int:
        return sum(p.ingest_no is not None for p in self._history.points)

    def _close(self) -> None:
        """The last question knows what has come in since: the next one is asked with it."""
        if self._history.iterations:
            last = dataclasses.replace(self._history.iterations[-1], ingested_upto=self._ingested)
            self._history = dataclasses.replace(self._history, iterations=(*self._history.iterations[:-1], last))

    def _pending(self, parameters: Mapping[str, Any]) -> int | None:
        """Index of the open point with these values, to twelve digits."""
        for i, point in enumerate(self._history.points):
            if point.state is PointState.OPEN and all(
                v == parameters[n]
                or (isinstance(v, float) and math.isclose(v, parameters[n], rel_tol=1e-9, abs_tol=1e-12))
                for n, v in point.parameters.items()
            ):
                return i
        return None


def _ended(parameters: Mapping[str, Any], values: Mapping[str, float], ingest_no: int) -> Point:
    if all(map(math.isfinite, values.values())):
        return Point(0, 0, parameters, PointState.MEASURED, Observation(dict(values)), ingest_no=ingest_no)
    return Point(0, 0, parameters, PointState.FAILED, None, "USER", ingest_no=ingest_no)


def _way(objective: Any) -> str:
    """Of an objective of the standard: its class or its text says the direction."""
    name = objective if isinstance(objective, str) else type(objective).__name__
    if name.upper().startswith("MAX"):
        return "max"
    if name.upper().startswith("MIN"):
        return "min"
    raise ValueError(f"{name} is neither to be minimized nor maximized")


def _own(parameter: Parameter, value: Any) -> Any:
    own = value.item() if hasattr(value, "item") else value
    return (
        own
        if isinstance(parameter, (Categorical, Ordered))
        else int(own)
        if isinstance(parameter, Integer)
        else float(own)
    )
