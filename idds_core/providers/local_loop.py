"""The thread behind the local provider: one queue, the slots, and whatever happens on descriptors or by the clock."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from idds_core.ports import Heard, JobReport, ReportState
from idds_core.providers.local_commands import CommandRunners, Registry
from idds_core.providers.local_job import CANCELLED, QUEUED, LocalJob
from idds_core.providers.local_pool import WorkerPool

__all__ = ["LocalLoop"]

_log = logging.getLogger(__name__)
#: Who says much on the way does not make the engine turn for each word.
_HEARD_PERIOD = 0.1


class LocalLoop:
    """Owns everything that runs. Other threads hand it jobs and read ``job.report``; nothing else is shared.

    First come, first served: a job of several cores waits at the head of the queue until they are free.
    """

    def __init__(
        self,
        root: Path,
        registry: Registry,
        slots: int,
        store_id: str,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.slots, self.clock, self.wake = slots, clock, wake
        self._selector = selectors.DefaultSelector()
        self._nudge = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._nudge, selectors.EVENT_READ, None)
        self._inbox: deque[tuple[str, LocalJob]] = deque()
        self._queue: deque[LocalJob] = deque()
        self._news = False
        self._closing = False
        self._nudged = False
        self._cancelling = False
        self._draining = False
        self.heard: deque[Heard] = deque()
        self._woke_to_hear = float("-inf")
        self.pool = WorkerPool(
            root / "workers", slots, store_id, clock, self._watch, self._ended, self._requeue, self._on_heard
        )
        self.commands = CommandRunners(registry, clock, self._watch, self._ended)
        self._thread = threading.Thread(target=self._run, name="idds-local", daemon=True)
        self._started = False

    # ------------------------------------------------------------------ from other threads
    def post(self, what: str, jobs: Sequence[LocalJob]) -> None:
        """Ask for "run", "adopt", "cancel" or "prune" of jobs."""
        if not jobs:
            return
        self._inbox.extend([(what, job) for job in jobs])
        if not self._started:
            self._started = True
            self._thread.start()
        self._wake_up()

    def _wake_up(self) -> None:
        if not self._nudged:
            self._nudged = True
            os.eventfd_write(self._nudge, 1)

    def drain(self) -> None:
        """Start nothing more."""
        self._draining = True
        if self._started:
            self._wake_up()

    def close(self) -> None:
        """End the workers and the thread; command runners go on."""
        self._closing = True
        if self._started:
            self._wake_up()
            self._thread.join()
        self.pool.close()
        self.commands.close()
        self._selector.close()
        os.close(self._nudge)

    # ------------------------------------------------------------------ in our own
    def _run(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception:  # noqa: BLE001
                # The last line: a fault with one job must not leave all others without an answer.
                _log.exception("the local provider met an error")

    def _turn(self) -> None:
        events = self._selector.select(self._patience())
        if self._nudged:
            self._nudged = False
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._nudge)
        for key, _ in events:
            # What an earlier event of this round has closed is not to be called any more.
            if key.data is not None and self._selector.get_map().get(key.fd) is not None:
                key.data()
        self._read_inbox()
        self.pool.tick()
        self.commands.tick()
        self._dispatch()
        if self._news:
            self._news = False
            self.wake()

    def _patience(self) -> float | None:
        due = min(self.pool.next_time(), self.commands.next_time())
        return None if due == float("inf") else max(0.0, due - self.clock())

    def _watch(self, fd: int, call: Callable[[], None] | None, writing: bool) -> None:
        known = fd in self._selector.get_map()
        if call is None:
            if known:
                self._selector.unregister(fd)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        if known:
            if self._selector.get_key(fd).events != events:
                self._selector.modify(fd, events, call)
        else:
            self._selector.register(fd, events, call)

    def _ended(self, job: LocalJob, report: JobReport) -> None:
        job.report = report
        job.frame = ""
        self._news = True

    def _on_heard(self, job: LocalJob, said: Mapping[str, Any]) -> None:
        progress = said.get("progress")
        reports = tuple((int(step), float(value)) for step, value in said.get("reports", ()))
        self.heard.append(Heard(job.key, reports, (float(progress[0]), str(progress[1])) if progress else None))
        if reports and self.clock() - self._woke_to_hear > _HEARD_PERIOD:
            self._woke_to_hear = self.clock()
            self._news = True

    def _requeue(self, jobs: Sequence[LocalJob]) -> None:
        for job in reversed(jobs):
            job.report = QUEUED
            self._cancelling |= job.cancelled
            self._queue.appendleft(job)

    def _read_inbox(self) -> None:
        inbox = self._inbox
        while inbox:
            what, job = inbox.popleft()
            if what == "run":
                self._queue.append(job)
            elif what == "adopt":
                self.commands.adopt(job)
            elif job.report.state.ended:
                continue
            elif job.report.state is ReportState.QUEUED and job.worker is None:
                self._cancelling = True
            elif job.is_command:
                self.commands.cancel(job)
            elif what == "prune":
                self.pool.prune(job)
            else:
                self.pool.cancel(job)

    def _dispatch(self) -> None:
        if self._cancelling:
            self._drop_cancelled()
        if self._draining:
            self.pool.drain()
            return
        while self._queue:
            job = self._queue[0]
            free = self.slots - self.pool.used - self.commands.used
            if not job.is_command:
                if not self.pool.place(self._queue, free):
                    return
            elif job.cores <= free:
                self._queue.popleft()
                self.commands.start(job)
            else:
                return

    def _drop_cancelled(self) -> None:
        self._cancelling = False
        kept: deque[LocalJob] = deque()
        for job in self._queue:
            if job.cancelled:
                self._ended(job, CANCELLED)
            else:
                kept.append(job)
        self._queue = kept
