"""What people ask of a campaign: add a point, top one up, bring measurements, try failed points again, tell a result.

Each is a command row; the conductor takes it between two moves, in its own transaction. All is checked before anything
is written, and what is there already is left alone: the same request twice does what it does once.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from idds_agents.catalog import Catalog, LoopPlan
from idds_agents.draft import Draft
from idds_agents.revising import reopen
from idds_agents.topups import addition
from idds_agents.workspace import Workspace
from idds_core.binding import BindingError, observe
from idds_core.definition import Definition
from idds_core.errors import IddsError
from idds_core.history import Observation, Point
from idds_core.states import TERMINAL, PointState
from idds_core.store import Asked, Command, LoopRecord, Store, WorkflowRecord

__all__ = ["PATIENCE_S", "REQUESTS", "Requests", "answered"]

PATIENCE_S = 10.0
_POLL_S = 0.05
REQUESTS = ("add", "import", "retry", "tell", "top-up")
_Key = tuple[Any, ...]


class Requests:
    """Takes requests for the conductor."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    def take(self, command: Command) -> str:
        """Do what is asked; returns the answer, or the problem when it cannot be done."""
        try:
            with self._store.transaction():
                return self._take(command)
        except IddsError as error:
            return str(error).partition("\n")[0]

    def _take(self, command: Command) -> str:
        workflow = self._store.workflows.by_id(command.workflow_id)
        newest = self._store.workflows.latest(workflow.name) or workflow
        name = str(command.arguments.get("loop", ""))
        if command.verb == "retry" and not name and (answer := self._steps_again(newest, command)):
            return answer
        loop = self._loop(newest, name)
        plan = self._catalog.plan(loop.id)
        if command.verb == "tell":
            return self._tell(loop, plan, command)
        if command.verb == "add":
            return self._add(newest, loop, plan, command)
        if command.verb == "import":
            return self._import(newest, loop, plan, command)
        if command.verb == "top-up":
            return self._top_up(newest, loop, plan, command)
        return self._retry(newest, loop, command)

    def _loop(self, workflow: WorkflowRecord, name: str) -> LoopRecord:
        """The loop of that name; without one, the only one that is not inside another."""
        named = [x for x in self._store.workflows.loops(workflow.id) if x.name]
        loops = [x for x in named if x.name == name] if name else [x for x in named if "/" not in x.name]
        if len(loops) == 1:
            return loops[0]
        what = f"{workflow.path} has no loop {name}".rstrip() if name or not loops else "which loop is meant"
        raise IddsError.of("E-POINT-001", what, f"there are {', '.join(x.name for x in named)}", workflow.path,
                           f"Give its path, {workflow.path}/NAME; see 'ls'.")  # fmt: skip

    def _open(self, workflow: WorkflowRecord, loop: LoopRecord, command: Command) -> tuple[LoopRecord, str]:
        """The loop itself while it goes on, else that of a new revision; and what to say of it."""
        if loop.state not in TERMINAL["loop"]:
            if self._store.steady.stopped(loop.id):
                raise IddsError.of("E-POINT-009", f"{loop.name} is about to end", "it has its verdict", workflow.path,
                                   "Give the command again in a moment.")  # fmt: skip
            return loop, ""
        if workflow.state not in TERMINAL["workflow"]:
            raise IddsError.of("E-POINT-002", f"{loop.name} has ended", f"{workflow.path} goes on with other loops",
                               workflow.path, "Wait for the end of the workflow.")  # fmt: skip
        bundle = self._catalog.plan(loop.id).bundle
        draft = Draft(workflow, Definition(json.loads(workflow.definition)), bundle.name, bundle.parent)
        made, name = reopen(self._store, draft, loop.name, command.actor, f"{command.verb} on a concluded loop")
        fresh = next(x for x in self._store.workflows.loops(made.id) if x.name == name)
        return fresh, f" of {made.path}, which continues {workflow.path}; 'idds-core run' goes on"

    # ------------------------------------------------------------------ points to be measured
    def _add(self, workflow: WorkflowRecord, loop: LoopRecord, plan: LoopPlan, command: Command) -> str:
        points = _in_space(plan, command.arguments.get("points", ()))
        known = self._known(loop, plan)
        new = [p for p in points if _key(plan, p) not in known]
        if not new:
            return f"add: nothing to do, all {len(points)} points are there already"
        target, note = self._open(workflow, loop, command)
        self._store.queue.add(target.id, [Asked(p) for p in new], f"added by {command.actor}")
        skipped = f", {len(points) - len(new)} are there already" if len(new) < len(points) else ""
        return f"add: {len(new)} points enter the next iteration{note}{skipped}"

    def _steps_again(self, workflow: WorkflowRecord, command: Command) -> str:
        """Steps outside of loops that have failed run again, and what follows; "" when none has."""
        own = [x for x in self._store.workflows.loops(workflow.id) if not x.name]
        if not own or not self._store.jobs.all(own[0].id, ["FAILED"]):
            return ""
        _, note = self._open(workflow, own[0], command)
        return f"retry: the steps that failed run again{note}"

    def _known(self, loop: LoopRecord, plan: LoopPlan) -> set[_Key]:
        points = [p.parameters for p in self._store.iterations.points(loop.id)]
        return {_key(plan, p) for p in [*points, *(w.parameters for w in self._store.queue.waiting(loop.id))]}

    def _retry(self, workflow: WorkflowRecord, loop: LoopRecord, command: Command) -> str:
        wanted = set(command.arguments.get("points", ()))
        unknown = wanted.difference(p.number for p in self._store.iterations.points(loop.id)) if wanted else ()
        if unknown:
            raise IddsError.of("E-PATH-007", f"there is no point {min(unknown)}", "", f"{workflow.path}/{loop.name}",
                               "'idds-core ls' lists what there is.")  # fmt: skip
        failed = [f for f in self._store.queue.failed(loop.id) if not wanted or f.number in wanted]
        if not failed:
            return "retry: nothing to do, no failed point is left that nothing tries again"
        target, note = self._open(workflow, loop, command)
        if target.id != loop.id:  # the same points have other rows in the revision
            numbers = {f.number for f in failed}
            failed = [f for f in self._store.queue.failed(target.id) if f.number in numbers]
        rows = [Asked(f.parameters, f.id, f.adds, f.given) for f in failed]
        self._store.queue.add(target.id, rows, f"retried by {command.actor}")
        return f"retry: {len(rows)} points enter the next iteration{note}"

    def _top_up(self, workflow: WorkflowRecord, loop: LoopRecord, plan: LoopPlan, command: Command) -> str:
        self._refuse_another(workflow, command, plan)
        found = addition(self._store, loop, plan, command.arguments)
        if not found.times:
            return f"top-up: nothing to do, {found.what}"
        target, note = self._open(workflow, loop, command)
        again = [f.id for f in self._store.queue.failed(target.id) if f.adds and found.adds == f.adds]
        rows = found.asked(again[-1] if again and found.times == 1 else None)
        self._store.queue.add(target.id, rows, f"topped up by {command.actor}")
        return f"top-up: {found.what} in the next iteration{note}"

    def _refuse_another(self, newest: WorkflowRecord, command: Command, plan: LoopPlan) -> None:
        """A point is named by its number: that of a run that was begun anew is another point."""
        here = newest
        while here.id != command.workflow_id:
            if here.continues is None:
                meant = self._store.workflows.by_id(command.workflow_id).path
                raise IddsError.of("E-TOPUP-006", f"{meant} is not continued by {newest.path}", "that was begun anew",
                                   plan.path, f"Name a point of {newest.path}.")  # fmt: skip
            here = self._store.workflows.by_id(here.continues)

    # ------------------------------------------------------------------ measurements
    def _import(self, workflow: WorkflowRecord, loop: LoopRecord, plan: LoopPlan, command: Command) -> str:
        rows = command.arguments.get("rows", ())
        points = _in_space(plan, [row["parameters"] for row in rows])
        seen = [_observed(plan, row["values"], f"row {i}") for i, row in enumerate(rows, 1)]
        known: dict[_Key, list[Point]] = defaultdict(list)  # there may be replicates
        for p in self._store.iterations.points(loop.id):
            known[_key(plan, p.parameters)].append(p)
        new: dict[_Key, tuple[Mapping[str, Any], Observation]] = {}
        for point, observation in zip(points, seen, strict=True):
            key = _key(plan, point)
            before = new[key][1] if key in new else _brought(known[key], plan, observation)
            if before is not None and before.to_json() != observation.to_json():
                raise IddsError.of("E-POINT-005", "a point is measured already, and differs", f"{dict(point)}",
                                   plan.path, "Leave it out.")  # fmt: skip
            if before is None:
                new[key] = (point, observation)
        if not new:
            return f"import: nothing to do, all {len(points)} points are there already"
        target, note = self._open(workflow, loop, command)
        source = str(command.arguments.get("source", "elsewhere"))
        first = len(self._store.iterations.points(target.id)) + 1
        self._store.queue.bring(target.id, list(new.values()), first, f"imported from {source} by {command.actor}")
        return f"import: {len(new)} points are measured{note}"

    # ------------------------------------------------------------------ points that people measure
    def _tell(self, loop: LoopRecord, plan: LoopPlan, command: Command) -> str:
        number = int(command.arguments["point"])
        points = {p.number: p for p in self._store.iterations.points(loop.id)}
        path = f"{plan.path}/p/{number}"
        if number not in points:
            raise IddsError.of("E-TELL-001", f"there is no point {number}", f"there are {len(points)}", plan.path,
                               "'idds-core ask' says which are open.")  # fmt: skip
        infeasible = command.arguments.get("infeasible")
        values = command.arguments.get("values") or {}
        seen = None if infeasible is not None else _observed(plan, values, path)
        point = points[number]
        if point.state is not PointState.OPEN:
            same = (seen.to_json() if seen else None) == (point.observation.to_json() if point.observation else None)
            if same and (infeasible is not None) == (point.state is PointState.INFEASIBLE):
                return f"tell: nothing to do, {path} is {point.state} already"
            raise IddsError.of("E-TELL-002", f"{path} has ended", f"it is {point.state}", path,
                               "What is on record never changes.")  # fmt: skip
        if not self._store.queue.by_hand(loop.id, number):
            raise IddsError.of("E-TELL-003", f"{path} is measured by its steps", "a person tells points of a loop "
                               "without steps", path, "Use 'import' for what was measured elsewhere.")  # fmt: skip
        reason = str(infeasible)[:1000] if infeasible is not None else f"told by {command.actor}"
        self._store.queue.told(loop.id, number, seen, reason, command.actor)
        return f"tell: {path} is {PointState.INFEASIBLE if seen is None else PointState.MEASURED}"


def _key(plan: LoopPlan, parameters: Mapping[str, Any]) -> _Key:
    return tuple(parameters[name] for name in plan.loop.space.names)


def _in_space(plan: LoopPlan, points: Sequence[Any]) -> list[dict[str, Any]]:
    for i, point in enumerate(points, 1):
        wrong = plan.loop.space.point_problem(point) if isinstance(point, Mapping) else "it is no set of values"
        if wrong:
            raise IddsError.of("E-POINT-003", f"point {i} is not in the space", wrong, plan.path,
                               f"Give {', '.join(plan.loop.space.names)} in their ranges.")  # fmt: skip
    return [dict(p) for p in points]


def _observed(plan: LoopPlan, values: Mapping[str, Any], what: str) -> Observation:
    if plan.loop.blind:
        raise IddsError.of("E-BLIND-006", f"{plan.path} has sealed targets", "what a person gives was seen", plan.path,
                           "Let its steps measure, or define it without blind.")  # fmt: skip
    try:
        return observe(values, plan.loop.targets)
    except BindingError as error:
        raise IddsError.of("E-POINT-004", f"{what} is no observation", str(error), plan.path,
                           f"Give {', '.join(plan.loop.targets)}; _sigma, _censored optional.") from None  # fmt: skip


def _brought(points: Sequence[Point], plan: LoopPlan, seen: Observation) -> Observation | None:
    """What is known at a place, the same if it is among it; one that is not measured cannot be brought any more."""
    measured = [p.observation for p in points if p.observation is not None]
    if points and not measured:
        raise IddsError.of("E-POINT-006", f"point {points[-1].number} is there already", f"it is {points[-1].state}",
                           plan.path, "Leave it out.")  # fmt: skip
    return next((o for o in measured if o.to_json() == seen.to_json()), measured[-1] if measured else None)


def answered(workspace: Workspace, store: Store, command: int) -> tuple[str, str | None]:
    """Who took the command, and the answer; an engine that begins or ends meanwhile makes no difference."""
    deadline = time.monotonic() + PATIENCE_S
    from idds_agents.conductor import Conductor  # which knows this module

    while True:
        answer = store.workflows.command_answer(command)
        if answer is not None:
            return "engine", answer
        if not workspace.lock.taken() and workspace.lock.acquire():
            try:
                Conductor(store, Catalog(store, workspace.folder)).step()
                return "command line", store.workflows.command_answer(command)
            finally:
                workspace.lock.release()
        if time.monotonic() > deadline:
            return "engine", None
        time.sleep(_POLL_S)
