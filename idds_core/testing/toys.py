"""Toy functions whose contours are known: to try a learner or an engine on, in no time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from idds_core.history import History, IterationRecord, Observation, Point
from idds_core.ports import Learner
from idds_core.space import Integer, Log, Real, Space
from idds_core.states import PointState

__all__ = ["CIRCLE", "PLANE", "STAIRS", "TOYS", "Toy", "play", "play_steady"]

Outcome = Observation | PointState


@dataclass(frozen=True)
class Toy:
    """A space, a function of a point, and how much of the allowed space lies below the function's level."""

    name: str
    space: Space
    value: Callable[[Mapping[str, Any]], float]
    level: float
    excluded_share: float

    def observe(self, number: int, point: Mapping[str, Any]) -> Observation:
        """The observation at a point: target ``f``, whatever its number."""
        del number
        return Observation({"f": self.value(point)})


def _circle(p: Mapping[str, Any]) -> float:
    return float(p["x"] ** 2 + p["y"] ** 2)


def _plane(p: Mapping[str, Any]) -> float:
    return 0.01 * float(p["mass"]) + math.log10(float(p["g"]))


def _stairs(p: Mapping[str, Any]) -> float:
    return float(p["n"] + p["x"])


#: x^2 + y^2 < 0.5 in the square [-1, 1]^2
CIRCLE = Toy("circle", Space(x=Real(-1.0, 1.0), y=Real(-1.0, 1.0)), _circle, 0.5, math.pi * 0.5 / 4.0)
#: a plane, one parameter on a logarithmic scale: excluded on one side of the diagonal
PLANE = Toy("plane", Space(mass=Real(0.0, 100.0, unit="GeV"), g=Log(0.1, 1.0)), _plane, 0.0, 0.5)
#: an integer and a real number: excluded where n + x < 5
STAIRS = Toy("stairs", Space(n=Integer(0, 9), x=Real(0.0, 1.0)), _stairs, 5.0, 0.5)

TOYS = (CIRCLE, PLANE, STAIRS)


def play(
    learner: Learner, space: Space, outcome: Callable[[int, Mapping[str, Any]], Outcome], *, seed: int = 1,
    batches: tuple[int, ...] = (10, 8, 8), targets: tuple[str, ...] = ("f",), known: Sequence[Point] = (),
) -> Iterator[History]:  # fmt: skip
    """Run a learner as an engine does, in memory; the history after each closed iteration, its diagnostics in place.

    Parameters
    ----------
    outcome : what becomes of the point of that number: an observation, or the state it ends in
    batches : how many points are asked for, iteration by iteration
    known : points measured before, numbered from 1

    """
    history = History(space, seed, targets, tuple(known))
    for n in (*batches, 0):
        proposal = learner.ask(history, n)
        if history.iterations:
            history = history.with_diagnostics(proposal.diagnostics, proposal.state)
            yield history
        if not proposal.points:
            return
        number = len(history.iterations) + 1
        first = len(history.points) + 1
        new = tuple(_ended(Point(i, number, p), outcome(i, p)) for i, p in enumerate(proposal.points, first))
        records = (*history.iterations, IterationRecord(number))
        history = replace(history, points=history.points + new, iterations=records)


def play_steady(
    learner: Learner, space: Space, outcome: Callable[[int, Mapping[str, Any]], Outcome],
    duration: Callable[[int], float], *, seed: int = 1, first: int = 10, batch: int = 8, top_up: int = 1,
    points: int = 26, targets: tuple[str, ...] = ("f",),
) -> Iterator[History]:  # fmt: skip
    """Run a learner without a barrier, in memory; the history after each question, its diagnostics in place.

    Parameters
    ----------
    outcome : as for :func:`play`
    duration : how long the point of that number takes, in any unit; all that are proposed run at once
    first, batch, top_up : as for :class:`~idds_core.model.Loop`; points : how many there are in all

    """
    history, now, ends = History(space, seed, targets), 0.0, dict[int, float]()
    while True:
        left = points - len(history.points)
        n = min(batch - len(history.pending) if history.iterations else first, left)
        proposal = learner.ask(history, n)
        if history.iterations:
            history = history.with_diagnostics(proposal.diagnostics, proposal.state)
            yield history
        number = len(history.iterations) + 1
        new = [Point(i, number, p) for i, p in enumerate(proposal.points, len(history.points) + 1)]
        ends.update({p.number: now + duration(p.number) for p in new})
        history = replace(history, points=(*history.points, *new))
        if not history.pending:
            return
        upto = history.iterations[-1].ingested_upto or 0 if history.iterations else 0
        start = upto
        while (pending := history.pending) and (upto - start < top_up or len(pending) > batch - top_up):
            done = min(pending, key=lambda p: (ends[p.number], p.number))
            now, upto = ends[done.number], upto + 1
            ended = replace(_ended(done, outcome(done.number, done.parameters)), ingest_no=upto)
            history = replace(history, points=tuple(ended if p is done else p for p in history.points))
        records = (*history.iterations, IterationRecord(number, elapsed_s=now, ingested_upto=upto))
        history = replace(history, iterations=records)


def _ended(point: Point, outcome: Outcome) -> Point:
    if isinstance(outcome, Observation):
        return replace(point, state=PointState.MEASURED, observation=outcome)
    return replace(point, state=outcome, failure_class="USER" if outcome is PointState.FAILED else None)
