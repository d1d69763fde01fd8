"""The reuser: ready jobs whose result is known are done without an attempt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_agents.points import job_inputs, with_shares
from idds_core.binding import BindingError, Given, observe
from idds_core.history import canonical_json, strict_json
from idds_core.reuse import by_content, job_digest
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
        self._outside: dict[int, Mapping[str, str]] = {}
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
            jobs = self._store.reuse.ready(loop.id, self._looked)
            self._looked.update(job.job_id for job in jobs)
            moved += sum(self._take(job) for job in jobs)
        return moved

    def _may(self, loop: LoopRecord) -> bool:
        """Whether results are taken over at all: sealed ones are not."""
        return not self._catalog.plan(loop.id).loop.blind

    def _begin(self) -> None:
        """Digests of the results that there are, bundle by bundle."""
        self._begun = True
        for other in self._store.workflows.all():
            if other.name != self._workflow.name or other.id == self._workflow.id:
                continue
            for loop in self._store.workflows.loops(other.id):
                if not self._may(loop):
                    continue
                found = {job.job_id: self._digest(job) for job in self._store.reuse.without_digest(loop.id)}
                self._store.reuse.write_digests({job: digest for job, digest in found.items() if digest})

    def _digest(self, job: PlainJob) -> str | None:
        plan = self._catalog.plan(job.loop_id)
        bundle = self._bundles.setdefault(plan.bundle, Bundle(plan.bundle))
        if not plan.bundle.is_dir():
            return None  # nobody knows what its steps did
        point = plan.point_path(job.iteration, job.point)
        values, outputs, seed = job_inputs(self._catalog, plan, job, point)
        known = {**self._files(job.loop_id), **_sums(job.upstream)}
        try:
            given = [(name, by_content(each, lambda path: known.get(path) or _content(path))) for name, each in outputs]
        except OSError:  # an input is gone
            return None
        return job_digest(plan.step(job.step), bundle, plan.values, values, given, seed, (job.variant, job.chunk))

    def _files(self, loop_id: int) -> Mapping[str, str]:
        """Path -> digest of the files that a loop sees from outside."""
        if loop_id not in self._outside:
            record = self._store.workflows.loop(loop_id)
            found: dict[str, str] = {}
            while record.parent_point is not None:
                found |= _sums(self._store.jobs.given(record.parent_point, record.step_no))
                record = self._store.workflows.loop(self._store.points.outer(record.parent_point).loop_id)
            self._outside[loop_id] = found
        return self._outside[loop_id]

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
                observed = observe(result["values"], plan.loop.targets)
            except BindingError:  # other targets are wanted now
                return False
            observed = with_shares(observed, plan, job) if plan.wide else observed
            state, observation = PointState.MEASURED, strict_json(observed.to_json())
        return self._store.reuse.take(job, digest, known, state, observation, _ACTOR)


def _sums(results: Sequence[Given]) -> dict[str, str]:
    """Path -> digest of the files that results name."""
    return {file["path"]: file["sha256"] for given in results for file in given.result.get("files", {}).values()}


def _content(path: str) -> str:
    """Digest of what a loop has found: of the file but for the path of the loop, which says nothing about it."""
    found = json.loads(Path(path).read_bytes())
    return hashlib.sha256(canonical_json({**found, "path": ""}).encode()).hexdigest()


def _whole(known: Known) -> bool:
    """Whether all its files are still what they were, by their sizes."""
    for file in json.loads(known.result).get("files", {}).values():
        path = Path(file["path"])
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            return False
    return True
