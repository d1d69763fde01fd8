"""What a running function tells the engine: how far it is, and values on the way; and what it is asked in return.

Standard library only. Nothing here waits for an answer: a step never becomes slower by telling.
"""

from __future__ import annotations

import math
import operator
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat, SupportsIndex

__all__ = ["MOST_REPORTS", "MOST_TEXT", "Channel", "Pruned"]

#: Reports kept of one attempt, and characters of a text.
MOST_REPORTS, MOST_TEXT = 10_000, 200
_PERIOD_S = 0.2


class Pruned(Exception):
    """The point is not worth going on with.

    ``ctx.report`` raises it when the loop's rule says so; a step may raise it by itself. Clean up if you must, then let
    it pass. The point becomes PRUNED: not a failure, never tried again.
    """


class Channel:
    """From one call of a function to the engine.

    Parameters
    ----------
    tell : sends a JSON value. asked : key -> why the job is to end; somebody else writes into it.
    clock : seconds, monotonic.

    """

    def __init__(
        self,
        key: str,
        tell: Callable[[dict[str, Any]], None],
        asked: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = key
        self._tell, self._asked, self._clock = tell, asked, clock
        self._pid = os.getpid()
        self._said = float("-inf")
        self._reports = 0
        self._open = True

    def close(self) -> None:
        """The call has ended; a thread of its own that lives on is not heard any more."""
        self._open = False

    def _send(self, heard: dict[str, Any]) -> None:
        # A child of the function has not the engine at the other end of this number.
        if self._open and os.getpid() == self._pid:
            self._tell({"key": self.key, "heard": heard})

    def progress(self, fraction: SupportsFloat, text: str) -> None:
        """Tell how far it is; too often is no harm."""
        share = float(fraction)
        if math.isnan(share):
            raise ValueError("the progress is no number")
        now = self._clock()
        if share < 1.0 and now - self._said < _PERIOD_S:
            return
        self._said = now
        self._send({"progress": [min(1.0, max(0.0, share)), str(text)[:MOST_TEXT]]})

    def report(self, step: SupportsIndex, value: SupportsFloat) -> None:
        """Tell a value; raises Pruned when the engine has asked for the end."""
        number, seen = operator.index(step), float(value)
        if not 0 <= number < 2**53:
            raise ValueError(f"step {number} of a report is not a number from 0 on")
        if not math.isfinite(seen):
            raise ValueError(f"the report of step {number} is {seen}; only finite numbers can be compared")
        self._reports += 1
        if self._reports <= MOST_REPORTS:
            self._send({"reports": [[number, seen]]})
        elif self._reports == MOST_REPORTS + 1:
            sys.stderr.write(f"idds-core: only the first {MOST_REPORTS} reports are kept\n")
        if self.key in self._asked:
            raise Pruned(self._asked[self.key])
