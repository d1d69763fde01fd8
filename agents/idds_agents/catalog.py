"""What the agents know of a loop beyond its row: its definition, its path and where its source bundle is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds_core.definition import Definition
from idds_core.model import Loop, Step
from idds_core.store import LoopRecord, Store

__all__ = ["Catalog", "LoopPlan"]


@dataclass(frozen=True)
class LoopPlan:
    """The definition of a loop, ready to use.

    path : ``workflow[~n]/loop``, the start of every path below it.
    document : the loop's JSON, as the learner's process gets it.
    """

    loop: Loop
    document: Mapping[str, Any]
    path: str
    bundle: Path
    seed: int

    def step(self, name: str) -> Step:
        """The step of that name."""
        return next(step for step in self.loop.body if step.name == name)

    def is_last(self, name: str) -> bool:
        """Whether the step gives the observation."""
        return self.loop.body[-1].name == name


class Catalog:
    """Plans of loops, read once; definitions never change. Optionally only those of one workflow."""

    def __init__(self, store: Store, workdir: Path, workflow_id: int | None = None) -> None:
        self._store = store
        self._workdir = workdir
        self.workflow_id = workflow_id
        self._plans: dict[int, LoopPlan] = {}
        self._live: tuple[int, list[LoopRecord]] | None = None

    def plan(self, loop_id: int) -> LoopPlan:
        """The plan of a loop."""
        if loop_id not in self._plans:
            record = self._store.workflows.loop(loop_id)
            workflow = self._store.workflows.by_id(record.workflow_id)
            definition = Definition(json.loads(workflow.definition))
            documents = {d["name"]: d for d in definition.document["loops"]}
            self._plans[loop_id] = LoopPlan(
                definition.loop(record.name),
                documents[record.name],
                f"{workflow.path}/{record.name}",
                self._workdir / "bundles" / workflow.bundle,
                workflow.seed,
            )
        return self._plans[loop_id]

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
