"""The plain display: a line for each iteration and the first failures of each kind, for logs and pipes."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, TextIO

from idds_agents.catalog import LoopPlan
from idds_agents.cli.text import clean, counts, number
from idds_agents.cli.watching import Snapshot
from idds_agents.report.reading import LoopView
from idds_core.states import TERMINAL, LoopState
from idds_core.store import Attempt, Iteration, LoopRecord

__all__ = ["LineDisplay", "figures"]

_MOST = 3  # lines for failures of one kind in one iteration; 'show' counts them all


def figures(diagnostics: Any) -> str:
    """``emv 1.58 %, kappa 1.26``: what the learner says of its map."""
    words = []
    emv, kappa = diagnostics.get("emv"), diagnostics.get("kappa")
    if isinstance(emv, float):
        words.append(f"emv {100 * emv:.3g} %")
    if isinstance(kappa, float):
        words.append(f"kappa {kappa:.3g}")
    return ", ".join(words)


class LineDisplay:
    """Writes lines to a stream.

    Parameters
    ----------
    stream : where to; None is the standard output of the moment.

    """

    wants_maps = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._iterations = 0
        self._told: set[int] = set()  # ids, not a count: attempts end in any order
        self._alike: Counter[tuple[str | None, str]] = Counter()  # failures since the last iteration, by kind
        self._loop: LoopRecord | None = None
        self._path = ""

    def _say(self, text: str) -> None:
        print(clean(text), file=self._stream or sys.stdout, flush=True)

    def start(self, plan: LoopPlan) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""
        self._path, self._iterations, self._loop = plan.path, 0, None

    def show(self, snapshot: Snapshot) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""
        new = [a for a in snapshot.failed if a.id not in self._told]
        for attempt in new:
            kind = (attempt.failure_code, attempt.signature or attempt.reason)
            self._alike[kind] += 1
            if self._alike[kind] <= _MOST:
                self._say(_failure(attempt))
        self._told.update(a.id for a in new)
        decided = snapshot.decided[self._iterations :]
        if decided or snapshot.loop.state in TERMINAL["loop"]:
            self._tell_more()
        for iteration in decided:
            self._say(_iteration(iteration, snapshot))
        self._iterations = len(snapshot.decided)
        self._tell_state(snapshot.loop)

    def _tell_more(self) -> None:
        more = sum(max(0, n - _MOST) for n in self._alike.values())
        if more:
            self._say(f"failed: {more} more like these; 'idds-core show {self._path}' counts them by kind")
        self._alike.clear()

    def _tell_state(self, loop: LoopRecord) -> None:
        """Held and resumed; how it ended is said by the summary."""
        before = LoopState.ACTIVE if self._loop is None else self._loop.state
        self._loop = loop
        if before == loop.state or loop.state in TERMINAL["loop"]:
            return
        hint = "; 'idds-core resume' lets it go on" if loop.state is LoopState.HELD else ""
        self._say(f"{self._path}: {loop.state}, {loop.reason}{hint}")

    def show_map(self, view: LoopView) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""

    def stop(self) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""


def _failure(attempt: Attempt) -> str:
    return f"failed: {attempt.path} {attempt.failure_class or ''} {attempt.failure_code or ''} {attempt.reason}"


def _iteration(iteration: Iteration, snapshot: Snapshot) -> str:
    so_far = counts(snapshot.points_up_to(iteration.number))
    words = [
        f"iteration {iteration.number}: {iteration.proposed} points, so far {so_far}",
        figures(iteration.diagnostics),
        f"{number(round(iteration.elapsed_s or 0.0, 2))} s",
        f"{iteration.verdict}: {iteration.verdict_reason}",
    ]
    return "; ".join(w for w in words if w)
