"""The reuser: ready jobs whose result is known are done without an attempt."""

from __future__ import annotations

import json
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_core.binding import BindingError, observe
from idds_core.history import derive_seed, strict_json
from idds_core.reuse import job_digest
from idds_core.sources import Bundle
from idds_core.states import PointState
from idds_core.store import Known, LoopRecord, PlainJob, Store, WorkflowRecord

__all__ = ["Reuser"]

_ACTOR = "reuser"


class Reuser:
    """Works for a workflow that was begun with ``--reuse``; for any other it does nothing.

    Results of other revisions get their digest once, when it begins; a result whose files are gone is not taken.
    """

    def __init__(self, store: Store, catalog: Catalog, workflow: WorkflowRecord) -> None:
        self._store = store
        self._catalog = catalog
        self._workflow = workflow
        self._bundles: dict[Path, Bundle] = {}
        self._looked: set[int] = set()
        self._begun = False

    def step(self) -> int:
        """Take over what is known; returns how many jobs are done by it."""
        if not self._workflow.reuse:
            return 0
        if not self._begun:
            self._begin()
        moved = 0
        for loop in self._catalog.live_loops():
            if not self._may(loop):
                continue
            jobs = [j for j in self._store.reuse.ready(loop.id) if j.id not in self._looked]
            self._looked.update(job.id for job in jobs)
            moved += sum(self._take(job) for job in jobs)
        return moved

    def _may(self, loop: LoopRecord) -> bool:
        """Whether results are taken over at all: not sealed ones, nor where a point has many jobs."""
        plan = self._catalog.plan(loop.id)
        return not (plan.wide or plan.loop.blind or plan.hidden or loop.parent_point is not None)

    def _begin(self) -> None:
        """Digests of the results that there are, bundle by bundle."""
        self._begun = True
        for other in self._store.workflows.all():
            if other.name != self._workflow.name or other.id == self._workflow.id:
                continue
            for loop in self._store.workflows.loops(other.id):
                if not self._may(loop):
                    continue
                found = {job.id: self._digest(job) for job in self._store.reuse.without_digest(loop.id)}
                self._store.reuse.write_digests({job: digest for job, digest in found.items() if digest})

    def _digest(self, job: PlainJob) -> str | None:
        plan = self._catalog.plan(job.loop_id)
        bundle = self._bundles.setdefault(plan.bundle, Bundle(plan.bundle))
        if not plan.bundle.is_dir():
            return None  # nobody knows what its steps did
        seed = derive_seed(plan.seed, job.point, job.step)
        return job_digest(
            plan.step(job.step), bundle, plan.loop.parameters, job.parameters, job.upstream, seed, job.part
        )

    def _take(self, job: PlainJob) -> bool:
        digest = self._digest(job)
        known = self._store.reuse.known(digest) if digest else None
        if digest is None or known is None or not _whole(known):
            return False
        plan = self._catalog.plan(job.loop_id)
        result = json.loads(known.result)
        state, observation = None, None
        if "infeasible" in result:
            state = PointState.INFEASIBLE
        elif plan.is_last(job.step):
            try:
                observation = strict_json(observe(result["values"], plan.loop.targets).to_json())
            except BindingError:  # other targets are wanted now
                return False
            state = PointState.MEASURED
        return self._store.reuse.take(job, digest, known, state, observation, _ACTOR)


def _whole(known: Known) -> bool:
    """Whether all its files are still what they were, by their sizes."""
    for file in json.loads(known.result).get("files", {}).values():
        path = Path(file["path"])
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            return False
    return True
