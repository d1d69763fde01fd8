"""The limits of a payload: walltime, memory of its whole session, and the wish that it end."""

# Text paths: the import of pathlib is a third of a short command's overhead
# ruff: noqa: PTH110

from __future__ import annotations

import os
import time

from idds_core.runner import processes

__all__ = ["Limits"]

_CANCEL_PERIOD = 1.0
_MEMORY_PERIOD = 0.2


class Limits:
    """What a payload may use, and whether somebody wants it to end.

    Parameters
    ----------
    walltime : seconds. memory : bytes of resident memory of the session, or None. cancel : path of the file whose
    existence is the wish. grace : seconds between SIGTERM and SIGKILL.

    """

    def __init__(self, walltime: float, memory: int | None, cancel: str, grace: float) -> None:
        self.walltime, self.memory, self.cancel, self.grace = walltime, memory, cancel, grace
        self.told = False
        self.peak = 0
        self.next_look = 0.0
        self._session = 0
        self._deadline = self._look_at_memory = self._look_for_cancel = 0.0

    def begin(self, session: int, now: float) -> None:
        """The payload has started."""
        self._session = session
        self._deadline = now + self.walltime
        self._look_at_memory = now if self.memory is not None else float("inf")
        self._look_for_cancel = now
        self._plan()

    def _plan(self) -> None:
        self.next_look = min(self._deadline, self._look_at_memory, self._look_for_cancel)

    def look(self, now: float) -> str:
        """Why the payload is to be ended: "walltime", "memory", "cancel", "told", or nothing."""
        if self.told:
            # Whoever cancels writes the file first; a bare SIGTERM comes from the site and means lost, not unwanted.
            return "cancel" if os.path.exists(self.cancel) else "told"
        if now < self.next_look:
            return ""
        reason = ""
        if now >= self._deadline:
            reason = "walltime"
        elif now >= self._look_at_memory and self._too_large(now):
            reason = "memory"
        elif now >= self._look_for_cancel:
            self._look_for_cancel = now + _CANCEL_PERIOD
            reason = "cancel" if os.path.exists(self.cancel) else ""
        self._plan()
        return reason

    def _too_large(self, now: float) -> bool:
        rss = processes.sessions({self._session})[self._session].rss
        self.peak = max(self.peak, rss)
        # A pass over /proc is not free where thousands of processes run: never more than 2 % of our time.
        self._look_at_memory = now + max(_MEMORY_PERIOD, 50 * (time.monotonic() - now))
        return self.memory is not None and rss > self.memory
