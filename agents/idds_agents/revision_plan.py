"""What becomes of each loop and each point in a revision: what stays, goes on, runs again, begins anew.

The rules, from the inside out:

- a step runs again when it gives something else, or when a step before it at its point runs again;
- what a loop has found is its result: when it does not stay as it is, the steps after it that may ask for it run again;
- a loop in which nothing changes stays; one with another budget goes on; any other begins again with its points, and at
  each of them the results of what is before the first step that runs again are taken over;
- a loop of which no result can be taken over since something it asks for is another begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from idds_agents.draft import BUDGET, Draft, Pair, steps_of
from idds_agents.revision_asks import Outside, asks_for, outputs_of
from idds_core.binding import BindingError, asks, observe
from idds_core.errors import IddsError, Problem
from idds_core.history import strict_json
from idds_core.model import Loop, Step
from idds_core.partition import goes_on, is_wide
from idds_core.plugins import LEARNERS, resolve
from idds_core.space import Space
from idds_core.states import JobState, LoopState, PointState
from idds_core.store import How, LoopRecord, NewLoop, NewPoint, OldPoint, Store

__all__ = ["Planner"]

_DONE = (LoopState.CONVERGED, LoopState.EXHAUSTED, LoopState.STALLED)
_NOTHING = Outside()
#: fields with another value of which a loop goes on where it stands
_AS_IT_IS = {*BUDGET, "top_up"}


@dataclass
class _Walk:
    """What has been found at a point so far.

    again : places that run again. changed : elements that do not stay as they are. bound, names : names that what stays
    gives, and its own. inner : what becomes of the loops inside.
    """

    again: set[int] = field(default_factory=set)
    changed: list[Step | Loop] = field(default_factory=list)
    bound: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    inner: dict[str, NewLoop] = field(default_factory=dict)

    @property
    def stepped(self) -> bool:
        """Whether a step runs again: so does every step after it."""
        return any(isinstance(e, Step) for e in self.changed)

    def nearer(self, outside: Outside) -> set[str]:
        """Names that are bound for certain, whatever is given from outside: an output wins over an element's name."""
        return self.bound if outside.stepped or self.stepped else self.bound | self.names


class Planner:
    """Plans a revision.

    Parameters
    ----------
    opened : name of a loop that goes on whatever has changed; "" for none.

    Attributes
    ----------
    problems : what cannot be continued; empty when the plan can be made.

    """

    def __init__(self, store: Store, draft: Draft, opened: str = "") -> None:
        self._store = store
        self._draft = draft
        self._opened = opened
        self._records = {loop.name: loop for loop in store.workflows.loops(draft.old.id)}
        self._dirty: dict[str, bool] = {}
        self._fed: set[str] = set()  # loops that ask for something from outside that is another
        self.problems: list[Problem] = []

    def top(self) -> NewLoop:
        """What becomes of the loop that is not inside another."""
        around = self._draft.around
        if self._draft.definition.workflow.root is None:
            (pair,) = around.inside()
            found = self._loop(pair, self._records[pair.new.name], _NOTHING)
            return replace(found, how=How.GOES_ON) if found.how is How.STAYS else found
        record = self._records[""]
        (point,) = self._store.revisions.points(record.id)
        return NewLoop(record, How.AGAIN, (self._own_point(around, point),))

    # ------------------------------------------------------------------ loops
    def _is_dirty(self, pair: Pair) -> bool:
        """Whether something in its body is another, at any depth, so that its points must be looked at."""
        if pair.where not in self._dirty:
            inside = list(pair.inside())
            self._dirty[pair.where] = (
                not pair.same_places
                or bool(self._draft.changed_steps(pair))
                or any(self._is_dirty(p) or self._draft.fields(p) or self._draft.own_changed(p) for p in inside)
                or self._is_opened_inside(pair)
            )
        return self._dirty[pair.where]

    def _is_opened_inside(self, pair: Pair) -> bool:
        names = [word for i, word in enumerate(self._opened.split("/")) if i % 5 == 0]
        place = "".join(f".body.{name}" for name in names).lstrip(".") if self._opened else ""
        return place.startswith(f"{pair.where}." if pair.where else "body.") and place != pair.where

    def _loop(self, pair: Pair, record: LoopRecord | None, outside: Outside) -> NewLoop:
        """What becomes of a loop, given what has changed outside of it."""
        if record is None or not self._begun(record):
            return NewLoop(record, How.ANEW)
        fields = self._draft.fields(pair)
        deep = bool(fields - _AS_IT_IS) or not pair.same_places
        asked = bool(fields) or record.name == self._opened or record.state not in _DONE
        asked = asked or any(e.name in pair.new.reads for e in outside.changed)  # what its learner reads is another
        plain = How.GOES_ON if asked or self._draft.own_changed(pair) else How.STAYS
        if not outside.changed and not deep and not self._is_dirty(pair):
            return NewLoop(record, plain)
        known = self._store.revisions.points(record.id)
        self.problems += _space_problems(pair, known)
        if self.problems:
            return NewLoop(record, plain)
        points = [self._point(pair, p, outside) for p in known]
        open_again = [p for p in points if p.again is not None]
        if not open_again and not deep:
            return NewLoop(record, plain)
        fed = pair.where in self._fed and all(0 in (p.again or ()) for p in open_again)
        if fed and open_again and not any(p.iteration == 0 for p in known):  # what people brought is not lost
            return NewLoop(record, How.ANEW)
        return NewLoop(record, How.AGAIN, tuple(_followed(pair.new, points)))

    def _begun(self, record: LoopRecord) -> bool:
        counters = self._store.counters(record.id)
        return bool(counters.get("points") or counters.get("iterations"))

    # ------------------------------------------------------------------ points
    def _own_point(self, pair: Pair, point: OldPoint) -> NewPoint:
        """The one point of the workflow's own steps: always open again, and what had not been done is done now."""
        body, missing = pair.new.body, set[int]()
        if point.state != PointState.MEASURED:
            missing = {no for no, e in enumerate(body) if isinstance(e, Step) and not self._is_done(body, no, point)}
        walk = self._walk(pair, point, _NOTHING, missing)
        self._make_files_again(pair, point, walk)
        return NewPoint(point, {}, frozenset(walk.again), None, walk.inner)

    def _is_done(self, body: Sequence[Step | Loop], no: int, point: OldPoint) -> bool:
        """Whether a step was done: all of it, or enough of it that something which sees all of it has begun."""
        jobs = [job for job in point.jobs if job.step == body[no].name]
        states = {job.state for job in jobs}
        if any("infeasible" in json.loads(job.result) for job in jobs if job.result):
            return False
        if states == {JobState.DONE}:
            return True
        later = {e.name for e in body[no + 1 :] if not goes_on(body[no], e)}
        return JobState.DONE in states and bool(later & self._touched(point))

    def _touched(self, point: OldPoint) -> set[str]:
        """Elements at which something was done."""
        ended = {job.step for job in point.jobs if job.state in (JobState.DONE, JobState.FAILED)}
        return ended | {name for name, record in point.loops.items() if self._begun(record)}

    def _point(self, pair: Pair, point: OldPoint, outside: Outside) -> NewPoint:
        space = pair.new.space.parameters
        parameters = {**point.parameters, **{n: p.default for n, p in space.items() if n not in point.parameters}}
        walk = self._walk(pair, point, outside, ())
        first = min(walk.again, default=len(pair.new.body))
        touched = self._touched(point)
        reached = max((no for no, e in enumerate(pair.old.body) if e.name in touched), default=-1)
        if point.state == PointState.DROPPED or reached < first:
            return NewPoint(point, parameters, None, self._observed(pair, point, first))
        if not is_wide(pair.new.body):
            walk.again.update(range(first, len(pair.new.body)))
        elif point.state != PointState.MEASURED:
            later = enumerate(pair.new.body[first:], first)
            walk.again.update(no for no, e in later if isinstance(e, Step))
        walk.again.add(len(pair.new.body) - 1)  # the end of its last step is that of the point
        self._make_files_again(pair, point, walk)
        return NewPoint(point, parameters, frozenset(walk.again), None, walk.inner)

    def _walk(self, pair: Pair, point: OldPoint, outside: Outside, missing: Collection[int]) -> _Walk:
        """From element to element of a point's body."""
        walk = _Walk()
        inside = {inner.new.name: inner for inner in pair.inside()}
        changed_steps = self._draft.changed_steps(pair)
        moved = False
        for no, element in enumerate(pair.new.body):
            if not moved and [e.name for e in pair.old.body[no : no + 1]] != [element.name]:
                moved = True
                names = {e.name for e in pair.new.body}
                walk.changed += [e for e in pair.old.body[no:] if isinstance(e, Step) or e.name not in names]
            if isinstance(element, Step):
                again = moved or no in missing or element.name in changed_steps or walk.stepped
                if again or self._asks(pair, no, walk, outside):
                    walk.again.add(no)
                    walk.changed.append(element)
                else:
                    walk.bound |= outputs_of(point, element.name)
                    walk.names.add(element.name)
                continue
            record = point.loops.get(element.name)
            inner = inside.get(element.name)
            beside = outside.with_changed(walk.changed, walk.nearer(outside), first=no == 0)
            new = NewLoop(None, How.ANEW) if inner is None else self._loop(inner, record, beside)
            walk.inner[element.name] = new
            if new.how is not How.STAYS:
                walk.again.add(no)
                walk.changed.append(element)
            else:
                walk.bound.add("result")
                walk.names.add(element.name)
        return walk

    def _asks(self, pair: Pair, no: int, walk: _Walk, outside: Outside) -> bool:
        """Whether a step may ask for something that is another: of the loops before it, or from outside."""
        step, before = pair.new.body[no], pair.new.body[:no]
        assert isinstance(step, Step)
        given = pair.given | _own_values(step, before)
        if asks_for(step, given, _NOTHING.with_changed(walk.changed, walk.nearer(_NOTHING), first=False)):
            return True
        own = {"result"} if _has_loop(before) else set()
        here = replace(outside, bound=outside.bound | walk.nearer(outside) | own, first=outside.first and no == 0)
        if not asks_for(step, given, here):
            return False
        self._fed.add(pair.where)
        return True

    # ------------------------------------------------------------------ files, observations
    def _make_files_again(self, pair: Pair, point: OldPoint, walk: _Walk) -> None:
        """Steps whose files were removed and are needed again run as well; what they give is what it was."""
        body, wide = pair.new.body, is_wide(pair.new.body)
        for no in reversed(range(len(body))):
            element = body[no]
            if no in walk.again or not isinstance(element, Step):
                continue
            later = [e for i, e in enumerate(body) if i in walk.again and i > no]
            next_ = body[no + 1] if no + 1 in walk.again else None
            if later and any(_needs(later, next_, element.name, file) for file in _gone(point, element.name)):
                walk.again.update([no] if wide else range(no, len(body)))

    def _observed(self, pair: Pair, point: OldPoint, first: int) -> str | None:
        """The observation seen anew, when other targets are wanted than before, or the last step is another."""
        old, new = pair.old, pair.new
        shorter = len(old.body) > len(new.body) == first
        if not (new.targets != old.targets or shorter) or point.state != PointState.MEASURED:
            return None
        last = [j for j in point.jobs if j.step == new.body[-1].name and j.result] if new.body else []
        try:
            if not last:
                raise BindingError("it was brought by a person")
            values = json.loads(last[-1].result or "")["values"]
            return strict_json(observe(values, new.targets).to_json())
        except BindingError as error:
            self.problems.append(
                Problem("E-REVISE-008", f"point {point.number} has not all the targets", str(error),
                        f"{pair.where}.targets", "Keep the targets, or change the step that gives them.")
            )  # fmt: skip
            return None


def _has_loop(body: Sequence[Step | Loop]) -> bool:
    return any(isinstance(e, Loop) for e in body)


def _own_values(step: Step, before: Sequence[Step | Loop]) -> set[str]:
    """Names of what a job sees of its place."""
    cut = {"chunk", "chunks"} if step.split != 1 else set()
    shares = {"shares"} if any(isinstance(e, Step) and e.split != 1 for e in before) else set()
    return cut | shares | ({"variant"} if step.foreach else set())


def _followed(loop: Loop, points: Sequence[NewPoint]) -> Sequence[NewPoint]:
    """Where each point follows from the one before, those after the first that is measured again mean nothing."""
    first = next((i for i, p in enumerate(points) if p.again is not None), None)
    if first is None or not isinstance(loop.learner, Mapping):
        return points
    try:
        learner = resolve(str(loop.learner.get("type", "")), LEARNERS)
    except IddsError:  # a file of the user's that cannot be imported here
        return points
    return points[: first + 1] if getattr(learner, "sequential", False) else points


def _gone(point: OldPoint, step: str) -> Iterator[str]:
    """Names of the outputs of a step whose files were removed."""
    for job in point.jobs:
        if job.step == step and job.result:
            for name, file in json.loads(job.result).get("files", {}).items():
                path = Path(file["path"])
                if not path.is_file() or path.stat().st_size != file["bytes"]:
                    yield name


def _needs(later: Sequence[Step | Loop], next_: Step | Loop | None, step: str, output: str) -> bool:
    """Whether elements that run again may ask for an output of an earlier step, by name or as what is left over."""
    asked = {word for element in later for each in steps_of(element) for word in asks(each)}
    leftover = isinstance(next_, Loop) or (next_ is not None and next_.function is not None)
    return leftover or bool({output, step, f"{step}.{output}"} & asked)


def _space_problems(pair: Pair, points: Sequence[OldPoint]) -> Iterator[Problem]:
    where, old, new = f"{pair.where}.space", pair.old.space, pair.new.space
    fresh = "Keep it, or run with --fresh."
    for name in old.names:
        if name not in new.parameters:
            yield Problem("E-REVISE-005", f"parameter {name} is gone", "old points have a value of it",
                          f"{where}.{name}", fresh)  # fmt: skip
            continue
        parameter = new.parameters[name]
        if parameter.kind != old.parameters[name].kind:
            kinds = f"{old.parameters[name].kind} -> {parameter.kind}"
            yield Problem("E-REVISE-005", f"parameter {name} is of another kind", kinds, f"{where}.{name}", fresh)
        outside = [p.number for p in points if not parameter.holds(p.parameters[name])]
        if outside:
            yield Problem("E-REVISE-006", f"{len(outside)} old points are outside the range of {name}",
                          f"point {outside[0]} is the first", f"{where}.{name}",
                          "Ranges may only be widened; or run with --fresh.")  # fmt: skip
    yield from _missing_defaults(old, new, where)
    if pair.new.mode != pair.old.mode:
        modes = f"{pair.old.mode} -> {pair.new.mode}"
        yield Problem("E-REVISE-004", "the mode is another", modes, f"{pair.where}.mode", fresh)


def _missing_defaults(old: Space, new: Space, where: str) -> Iterator[Problem]:
    for name in new.names:
        if name not in old.parameters and new.parameters[name].default is None:
            yield Problem("E-REVISE-007", f"parameter {name} has no default", "old points need a value of it",
                          f"{where}.{name}", "Say where they were measured: Real(..., default=...).")  # fmt: skip
