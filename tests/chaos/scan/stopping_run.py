"""``idds-core run`` that stops itself at an edge, as a machine does that is suspended; somebody may wake it.

``python stopping_run.py EDGE COUNT run scan.py ...``: at the COUNT-th time that it comes to "before" a transaction, is
"inside" of one, has come "after" one, is about to "submit" or has "submitted" jobs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from idds_agents.cli import main
from idds_core.ports import JobSpec, Submission
from idds_core.providers.local import LocalProvider
from idds_core.store.database import Database
from tests.chaos.scan.telling_run import leave_no_pictures


def _edges(stop: Callable[[str], None]) -> None:
    commit, submit = Database.transaction, LocalProvider.submit

    @contextlib.contextmanager
    def transaction(self: Database) -> Iterator[Any]:
        if self.connect().in_transaction():
            with commit(self) as connection:
                yield connection
            return
        stop("before")
        with commit(self) as connection:
            yield connection
            stop("inside")
        stop("after")

    def submitting(self: LocalProvider, specs: Sequence[JobSpec]) -> Sequence[Submission]:
        stop("submit")
        answers = submit(self, specs)
        stop("submitted")
        return answers

    Database.transaction = transaction  # type: ignore[method-assign]
    LocalProvider.submit = submitting  # type: ignore[method-assign]


def stops(edge: str, count: int) -> Callable[[str], None]:
    """Stops this process at the `count`-th time it is there."""
    left = {edge: count}

    def stop(here: str) -> None:
        left[here] = left.get(here, 0) - 1
        if left[here] == 0:
            os.kill(os.getpid(), signal.SIGSTOP)

    return stop


if __name__ == "__main__":
    _edges(stops(sys.argv[1], int(sys.argv[2])))
    leave_no_pictures()
    del sys.argv[1:3]
    sys.exit(main())
