"""Watching a running loop from a thread of its own, through a read-only connection: it never makes the engine wait."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from idds_agents.catalog import LoopPlan
from idds_agents.report.reading import LoopView, view_loop
from idds_agents.workspace import Workspace
from idds_core.states import LoopState, PointState
from idds_core.store import Attempt, Iteration, LoopRecord, Progress, Store

__all__ = ["Display", "Snapshot", "Watcher"]

PERIOD_S = 0.25


@dataclass(frozen=True)
class Snapshot:
    """A running loop at one moment.

    running : attempts that have not ended. iterations, failed : all so far, in order.
    turns : (iteration, state) -> number of points, as of the last time an iteration moved.
    progress : how far running attempts are, newest word first.
    """

    loop: LoopRecord
    counters: Mapping[str, int]
    running: int
    iterations: tuple[Iteration, ...]
    failed: tuple[Attempt, ...]
    elapsed_s: float
    turns: Mapping[tuple[int, str], int] = field(default_factory=dict)
    progress: tuple[Progress, ...] = ()

    def points_up_to(self, iteration: int) -> dict[str, int]:
        """State -> number of points of this iteration and those before it."""
        found: Counter[str] = Counter()
        for (number, state), count in self.turns.items():
            found[state] += count if number <= iteration else 0
        return {s: found[s] for s in PointState if found[s]}

    @property
    def points(self) -> dict[str, int]:
        """State -> number of points, in the order people ask for."""
        found = {str(s): self.counters.get(s, 0) for s in PointState if s is not PointState.OPEN}
        found[str(PointState.OPEN)] = self.counters.get("points", 0) - sum(found.values())
        return {s: n for s, n in found.items() if n}

    @property
    def decided(self) -> tuple[Iteration, ...]:
        """Iterations with a verdict."""
        return tuple(i for i in self.iterations if i.verdict)


class Display(Protocol):
    """Shows snapshots; all calls come from the watcher's thread."""

    wants_maps: bool

    def start(self, plan: LoopPlan) -> None:
        """The loop that will be shown."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """Something may have changed."""
        ...

    def show_map(self, view: LoopView) -> None:
        """An iteration was decided; only called when `wants_maps`."""
        ...

    def stop(self) -> None:
        """Nothing more will come."""
        ...


class Watcher:
    """Looks at the store four times a second, and tells a display.

    Parameters
    ----------
    loop_id : what is watched. display : where it is shown.

    """

    def __init__(self, workspace: Workspace, loop_id: int, display: Display) -> None:
        self._workspace = workspace
        self._loop_id = loop_id
        self._display = display
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)
        self._iterations: tuple[Iteration, ...] = ()
        self._failed: tuple[Attempt, ...] = ()
        self._seen: tuple[int, ...] = ()
        self._turns: Mapping[tuple[int, str], int] = {}
        self._workflow_id: int | None = None  # 0: the loop is all there is
        self.problem: Exception | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """Show the end, then stop."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            store = self._workspace.look()
            try:
                self._watch(store, self._workspace.folder)
            finally:
                store.close()
        except Exception as error:  # noqa: BLE001 - a display that fails must not end the run; it is told at the end
            self.problem = error

    def _watch(self, store: Store, folder: Path) -> None:
        self._display.start(view_loop(store, folder, self._loop_id).plan)
        try:
            decided = -1
            while True:
                last = self._end.is_set()
                other = self._loop_now(store)
                if other != self._loop_id:
                    self._display.show(self._snapshot(store))  # how the one before ended
                    self._loop_id, decided = other, -1
                    self._iterations, self._failed, self._seen, self._turns = (), (), (), {}
                    self._display.start(view_loop(store, folder, other).plan)
                snapshot = self._snapshot(store)
                if self._display.wants_maps and len(snapshot.decided) != decided:
                    decided = len(snapshot.decided)
                    self._display.show_map(view_loop(store, folder, self._loop_id))
                self._display.show(snapshot)
                if last:
                    return
                self._end.wait(PERIOD_S)
        finally:
            self._display.stop()

    def _loop_now(self, store: Store) -> int:
        """What is worth watching: of a workflow of steps and loops the first loop that runs, else what was watched."""
        if self._workflow_id is None:
            loop = store.workflows.loop(self._loop_id)
            self._workflow_id = loop.workflow_id if not loop.name else 0
        if not self._workflow_id:
            return self._loop_id
        loops = [o for o in store.workflows.loops(self._workflow_id) if o.name and "/" not in o.name]
        live = [o.id for o in loops if o.state in (LoopState.ACTIVE, LoopState.HELD)]
        return live[0] if live else self._loop_id

    def _snapshot(self, store: Store) -> Snapshot:
        """What there is; lists are read again only when their lengths have changed."""
        with store.reading():
            counters = store.counters(self._loop_id)
            loop = store.workflows.loop(self._loop_id)
            newest = store.iterations.last(self._loop_id)
            turn = (newest.number, int(bool(newest.verdict)), int(newest.closed is not None)) if newest else ()
            if turn != self._seen:
                self._iterations = tuple(store.iterations.all(self._loop_id))
                points = store.iterations.points(self._loop_id)
                self._turns = Counter((p.iteration, str(p.state)) for p in points)
                self._seen = turn
            failed = counters.get("attempt FAILED", 0) + counters.get("attempt LOST", 0)
            if failed != len(self._failed):
                self._failed = tuple(store.jobs.failed_attempts(self._loop_id))
            running = store.jobs.live_count(self._loop_id)
            elapsed = max(0.0, store.now() - loop.started)
            progress = tuple(store.reports.progress(self._loop_id)) if running else ()
        return Snapshot(loop, counters, running, self._iterations, self._failed, elapsed, self._turns, progress)
