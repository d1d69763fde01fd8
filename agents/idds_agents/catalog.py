"""What the agents know of a loop beyond its row: its definition, its path and where its source bundle is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds_agents.loop_results import leave_result, result_content
from idds_core.binding import joined
from idds_core.definition import Definition
from idds_core.history import derive_seed
from idds_core.model import Loop, Step
from idds_core.partition import is_wide
from idds_core.store import LoopRecord, Store, WorkflowRecord

__all__ = ["Catalog", "LoopPlan", "Outputs"]

Outputs = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class LoopPlan:
    """The definition of a loop, ready to use.

    path : ``workflow[~n]/loop``, the start of every path below it.
    document : the loop's JSON, as the learner's process gets it.
    values : parameters of the definition, and of the points around a loop that is inside another.
    hidden : whether it is the loop that runs the workflow's own steps: no learner, one point, none of it in paths.
    """

    loop: Loop
    document: Mapping[str, Any]
    path: str
    bundle: Path
    seed: int
    values: Mapping[str, Any]
    hidden: bool
    wide: bool

    def point_path(self, iteration: int, number: int) -> str:
        """The path of a point."""
        return self.path if self.hidden else f"{self.path}/it/{iteration}/p/{number}"

    def step(self, name: str) -> Step:
        """The step of that name."""
        return next(step for step in self.loop.body if isinstance(step, Step) and step.name == name)

    def is_blind(self, name: str) -> bool:
        """Whether the step sees sealed targets."""
        return bool(self.loop.blind) and self.is_last(name)

    def is_last(self, name: str) -> bool:
        """Whether the step gives the observation."""
        return self.loop.body[-1].name == name


def _for_learner(document: Mapping[str, Any], loop: Loop) -> Mapping[str, Any]:
    """The loop's document as its learner may see it: without blind targets."""
    if not loop.blind:
        return document
    learner = dict(document["learner"])
    if isinstance(learner.get("targets"), list):
        learner["targets"] = [t for t in learner["targets"] if t not in loop.blind]
    return {**document, "learner": learner, "targets": list(loop.open_targets)}


class Catalog:
    """Plans of loops, read once; definitions never change. Optionally only those of one workflow."""

    def __init__(self, store: Store, workdir: Path, workflow_id: int | None = None) -> None:
        self._store = store
        self._workdir = workdir
        self.workflow_id = workflow_id
        self._definitions: dict[int, Definition] = {}
        self._plans: dict[int, LoopPlan] = {}
        self._outputs: dict[int, Outputs] = {}
        self._live: tuple[int, list[LoopRecord]] | None = None

    def definition(self, workflow: WorkflowRecord) -> Definition:
        """The definition of a workflow."""
        if workflow.id not in self._definitions:
            self._definitions[workflow.id] = Definition(json.loads(workflow.definition))
        return self._definitions[workflow.id]

    def plan(self, loop_id: int) -> LoopPlan:
        """The plan of a loop."""
        if loop_id not in self._plans:
            record = self._store.workflows.loop(loop_id)
            workflow = self._store.workflows.by_id(record.workflow_id)
            definition = self.definition(workflow)
            loop = definition.loop(record.name)
            values, seed = definition.workflow.parameters, workflow.seed
            if record.parent_point is not None:
                outer = self._store.points.outer(record.parent_point)
                around = self.plan(outer.loop_id)
                values = {**around.values, **outer.parameters}
                seed = derive_seed(around.seed, outer.number, loop.name)
            self._plans[loop_id] = LoopPlan(
                loop,
                _for_learner(definition.document_of(record.name), loop),
                f"{workflow.path}/{record.name}".rstrip("/"),
                self._workdir / "bundles" / workflow.bundle,
                seed,
                {**values, **loop.parameters},
                hidden=not record.name,
                wide=is_wide(loop.body),
            )
        return self._plans[loop_id]

    def outputs(self, loop_id: int) -> Outputs:
        """Outputs of the steps and loops that ended before a loop, outside of it; it has been started, so they stay."""
        if loop_id not in self._outputs:
            record = self._store.workflows.loop(loop_id)
            found: Outputs = []
            if record.parent_point is not None:
                outer = self._store.points.outer(record.parent_point)
                given = self._store.jobs.given(record.parent_point, record.step_no)
                around = self.plan(outer.loop_id)
                step = around.loop.body[record.step_no]
                found = [*self.outputs(outer.loop_id), *joined(around.loop.body, step, given, "", 0)]
                point = around.point_path(outer.iteration, outer.number)
                found += self.loop_files(around, record.parent_point, point, record.step_no)
            self._outputs[loop_id] = found
        return self._outputs[loop_id]

    def loop_files(self, plan: LoopPlan, point_id: int, point: str, before: int) -> Outputs:
        """What the loops inside a point have left for the steps after them.

        A loop that has stayed as it was in an older revision has left nothing in this one yet.
        """
        found: Outputs = []
        for name in [e.name for e in plan.loop.body[:before] if isinstance(e, Loop)]:
            file = self._loop_file(f"{point}/{name}")
            if not file.is_file():
                for loop in self._store.workflows.inside([point_id]):
                    if loop.name.rpartition("/")[2] == name:
                        self.leave_result(loop, loop.state, loop.reason)
            found.append((name, {"result": {"$file": str(file)}}))
        return found

    def leave_result(self, loop: LoopRecord, state: str, reason: str) -> None:
        """Write what a loop inside of something has found, for the steps after it."""
        path = self.plan(loop.id).path
        leave_result(self._loop_file(path), self.found(loop, state, reason))

    def found(self, loop: LoopRecord, state: str, reason: str) -> dict[str, Any]:
        """What a loop that has concluded has found."""
        plan = self.plan(loop.id)
        history = self._store.iterations.history(loop.id, plan.loop, plan.seed)
        return result_content(plan.path, str(state), reason, plan.loop.targets, history)

    def _loop_file(self, path: str) -> Path:
        """The file in which a loop inside of something leaves what it has found."""
        return self._workdir / path / "result.json"

    def live_loops(self) -> list[LoopRecord]:
        """Loops that are active or held, of the workflow this catalog is for.

        The agents of one workflow are the only ones that move its loops (the owner lock sees to it), so what was read
        holds until this process moves one.
        """
        if self._live is not None and self._live[0] == self._store.generation and self.workflow_id is not None:
            return self._live[1]
        generation = self._store.generation
        loops = self._store.workflows.live_loops()
        found = [loop for loop in loops if self.workflow_id in (None, loop.workflow_id)]
        self._live = (generation, found)
        return found
