"""The folders of jobs in which an attempt finds what an earlier one left."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_core.states import JobState
from idds_core.store import Outcome, Store

__all__ = ["Checkpoints", "checkpoint_folder"]

#: A crash leaves at most the folders of what was written last.
_SWEPT = 2000


def checkpoint_folder(workdir: Path, attempt: str) -> str:
    """The checkpoint folder of the job whose attempt has this path.

    >>> checkpoint_folder(Path("/data"), "scan/scan/it/1/p/2/fit/job/0/a/3")
    '/data/scan/scan/it/1/p/2/fit/job/0/checkpoint'
    """
    return f"{workdir}/{attempt.rpartition('/a/')[0]}/checkpoint"


class Checkpoints:
    """Removes what is of no more use: the folder of a job that is DONE, after that is on record."""

    def __init__(self, store: Store, catalog: Catalog, workdir: Path) -> None:
        self._store = store
        self._catalog = catalog
        self._workdir = workdir
        self._spent: list[str] = []

    def _is_spent(self, loop_id: int, step_name: str) -> bool:
        step = self._catalog.plan(loop_id).step(step_name)
        return not step.keep_checkpoint and (step.context or step.run is not None)

    def note(self, outcomes: Iterable[Outcome]) -> None:
        """These ends are about to be on record."""
        self._spent += [
            checkpoint_folder(self._workdir, o.claim.attempt.path)
            for o in outcomes
            if o.job_state == JobState.DONE and self._is_spent(o.claim.loop_id, o.claim.step)
        ]

    def clear(self) -> None:
        """They are on record now."""
        spent, self._spent = self._spent, []
        for folder in spent:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what an engine left that died between the record and the removal."""
        for loop in self._catalog.live_loops():
            for path, step in self._store.jobs.last_done(loop.id, _SWEPT):
                if self._is_spent(loop.id, step):
                    shutil.rmtree(checkpoint_folder(self._workdir, path), ignore_errors=True)
