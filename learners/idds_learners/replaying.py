"""Optimizers of others, which keep a state, as learners, which keep none: the record is played back to a fresh one.

Each question begins with a new optimizer and the loop's seed; it is asked what it was asked, told what was measured, in
the recorded order, so it is where it was, to the last digit. A process that is kept warm remembers the last one and
goes on from there; a cold one gives the same answer, only later.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from idds_core.history import History, Point
from idds_core.plugins import LEARNERS, describe
from idds_core.ports import Proposal
from idds_core.states import PointState
from idds_learners.objectives import Objectives

__all__ = ["Driver", "Event", "Replayed", "events_of", "text_of"]

_MEMOS = 4
_TRIES = 20


class Driver(Protocol):
    """An optimizer of others. Points have all parameters of the space, values of Python's own types."""

    def ask(self, n: int) -> list[dict[str, Any]]:
        """N points that the optimizer wants to know of; they may be inadmissible, or known already."""
        ...

    def tell(self, point: Mapping[str, Any], values: Sequence[float] | None) -> None:
        """What was measured, in the objectives' own units; None: nothing will come of this point.

        Also for points that it has not asked for, and for some a second time.
        """
        ...


@dataclass(frozen=True)
class Event:
    """A question for `n` points, to which these were proposed; or what became of a point."""

    n: int = 0
    points: tuple[str, ...] = ()
    point: str = ""
    values: tuple[float, ...] | None = None


def text_of(point: Mapping[str, Any]) -> str:
    """A point as text: what tells two apart."""
    return json.dumps(dict(point), sort_keys=True)


def events_of(history: History, names: Sequence[str]) -> list[Event]:
    """All that a learner was asked and could know, in order; imported points are known before the first question."""
    found: list[Event] = []
    told: set[int] = set()
    points = sorted(history.points, key=lambda p: p.number)
    for record in (None, *sorted(history.iterations, key=lambda r: r.number)):
        if record is not None:
            asked = tuple(text_of(p.parameters) for p in points if p.iteration == record.number)
            found.append(Event(len(asked), asked))
        upto = record.ingested_upto if record is not None else None
        known = [p for p in points if p.number not in told and p.state is not PointState.OPEN
                 and _known(p, 0 if record is None else record.number, upto)]  # fmt: skip
        known.sort(key=lambda p: (p.ingest_no or 0, p.number))
        told |= {p.number for p in known}
        found += [Event(point=text_of(p.parameters), values=_values(p, names)) for p in known]
    return found


def _known(point: Point, iteration: int, upto: int | None) -> bool:
    if upto is None:
        return point.iteration <= iteration
    return point.iteration == 0 or (point.ingest_no is not None and point.ingest_no <= upto)


def _values(point: Point, names: Sequence[str]) -> tuple[float, ...] | None:
    return tuple(point.observation.values[n] for n in names) if point.observation is not None else None


class _Play:
    """A driver and what it has been through."""

    def __init__(self, driver: Driver, history: History) -> None:
        self._driver, self._space, self._seed = driver, history.space, history.seed
        self.filled = 0
        self.events: list[Event] = []
        self._known: dict[str, tuple[float, ...] | None] = {}

    def feed(self, events: Sequence[Event]) -> None:
        """Play what is on record."""
        for event in events:
            if event.point:
                self._driver.tell(json.loads(event.point), event.values)
                self._known[event.point] = event.values
            else:
                proposed = self._propose(event.n)
                for point in proposed:
                    if point not in event.points:  # somebody else's took its place
                        self._driver.tell(json.loads(point), None)
                self._known |= dict.fromkeys(event.points)
            self.events.append(event)

    def propose(self, n: int) -> list[dict[str, Any]]:
        """At most n new points."""
        found = self._propose(n)
        self.events.append(Event(len(found), tuple(found)))
        self._known |= dict.fromkeys(found)
        return [json.loads(text) for text in found]

    def _propose(self, n: int) -> list[str]:
        """At most n texts of points that are new and in the space; the optimizer is told of what it cannot have."""
        found: list[str] = []
        for _ in range(_TRIES):
            if len(found) >= n:
                break
            for point in self._driver.ask(n - len(found)):
                text = text_of(point)
                if text in self._known or text in found:
                    self._driver.tell(point, self._known.get(text))
                elif self._space.point_problem(point):
                    self._driver.tell(point, None)
                else:
                    found.append(text)
        return found + self._filled(found, n - len(found))

    def _filled(self, found: Sequence[str], n: int) -> list[str]:
        """Where it repeats itself for ever, the next points of the loop's sequence; how many, the diagnostics say."""
        if n <= 0:
            return []
        from idds_learners.design import fill

        names = self._space.names
        known = {tuple(json.loads(text)[name] for name in names) for text in (*self._known, *found)}
        more = [text_of(point) for point in fill(self._space, self._seed, known, n)]
        self.filled += len(more)
        return more


_MEMO: OrderedDict[str, _Play] = OrderedDict()


@dataclass(frozen=True)
class Replayed(Objectives):
    """A learner that is an optimizer of others; a subclass defines `driver`."""

    def driver(self, history: History) -> Driver:
        """A fresh optimizer for the history's space, seed and objectives."""
        raise NotImplementedError

    def ask(self, history: History, n: int) -> Proposal:
        """At most n new points."""
        names = self.names(history)
        played = self._played(history, events_of(history, names))
        points = played.propose(n) if n > 0 else []
        reason = "" if points or n <= 0 else "every point of the space has been proposed"
        told = self.standing(history) | ({"filled": played.filled} if played.filled else {})
        return Proposal(tuple(points), told, {}, reason)

    def _played(self, history: History, events: list[Event]) -> _Play:
        """An optimizer that has been through these events: the one that is remembered, or a new one."""
        key = json.dumps([describe(self, LEARNERS), history.space.to_json(), history.seed, history.targets])
        play = _MEMO.pop(key, None)
        if play is None or play.events != events[: len(play.events)]:
            play = _Play(self.driver(history), history)
        play.feed(events[len(play.events) :])
        _MEMO[key] = play
        while len(_MEMO) > _MEMOS:
            _MEMO.popitem(last=False)
        return play
