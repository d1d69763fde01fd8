"""A run in a notebook: what a result looks like there, the live display, and an interrupt that only lets go."""

from __future__ import annotations

import base64
import contextlib
import contextvars
import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from idds_agents.catalog import LoopPlan
from idds_agents.cli.lines import figures
from idds_agents.cli.text import clean, counts, duration
from idds_agents.cli.watching import Snapshot, Watcher
from idds_agents.engine import Engine
from idds_agents.report.reading import LoopView
from idds_agents.workspace import Workspace
from idds_core.display import facts_html
from idds_core.errors import IddsError
from idds_core.space import Categorical, Ordered
from idds_core.states import TERMINAL

__all__ = ["NotebookDisplay", "attended", "in_notebook", "result_html"]

_DPI = 72
_PERIOD_S = 1.0  # a table each second is as much as anybody reads
_FAILURES = 5


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; never loads IPython itself."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None


# ---------------------------------------------------------------------- as HTML
def result_html(view: LoopView) -> str:
    """A table of facts, and a small picture where there can be one."""
    verdicts = [i for i in view.iterations if i.verdict]
    rows = {
        "points": counts(view.points_by_state),
        "iterations": str(len(view.iterations)),
        "map": figures(verdicts[-1].diagnostics) if verdicts else "not yet",
        "elapsed": duration(view.elapsed_s),
        "because": view.record.reason or (verdicts[-1].verdict_reason if verdicts else ""),
    }
    return facts_html(f"{view.path}: {view.record.state}", _cleaned(rows)) + picture_html(view)


def _cleaned(rows: Mapping[str, str]) -> dict[str, str]:
    return {name: clean(text) for name, text in rows.items() if text}


def picture_html(view: LoopView) -> str:
    """The plot as a small image inside the page; nothing where there is no map (yet), a line where drawing fails."""
    if not _drawable(view.plan):
        return ""
    try:
        if view.surrogate is None:
            return ""
        from idds_agents.report.plot import draw

        buffer = io.BytesIO()
        draw(view).savefig(buffer, format="png", dpi=_DPI)
    except IddsError as error:
        return f"<p>{escape(clean(str(error.problems[0])))}</p>"
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="contour of {escape(view.path)}" src="data:image/png;base64,{data}">'


def _drawable(plan: LoopPlan) -> bool:
    parameters = plan.loop.space.parameters.values()
    return len(parameters) <= 2 and not any(isinstance(p, (Categorical, Ordered)) for p in parameters)


def _snapshot_html(path: str, snapshot: Snapshot) -> str:
    decided, loop = snapshot.decided, snapshot.loop
    jobs = snapshot.counters.get("jobs", 0)
    done = sum(n for name, n in snapshot.counters.items() if name.startswith("job "))
    last = [f"{a.failure_code} {a.reason} ({a.path})" for a in snapshot.failed[-_FAILURES:]]
    rows = {
        "points": counts(snapshot.points),
        "jobs": f"{snapshot.running} running, {done} of {jobs} ended",
        "iterations": str(len(snapshot.iterations)),
        "map": figures(decided[-1].diagnostics) if decided else "not yet",
        "failed attempts": f"{len(snapshot.failed)}; the last: {last[-1]}" if last else "",
        "elapsed": duration(snapshot.elapsed_s),
        "because": loop.reason or (decided[-1].verdict_reason if decided else ""),
    }
    return facts_html(f"{path}: {loop.state}", _cleaned(rows))


# ---------------------------------------------------------------------- live
class NotebookDisplay:
    """A table and a picture below the cell, written again while the run goes on.

    Made in the thread of the cell: what is shown later, from the watcher's thread, is shown in the same place.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        from IPython.display import HTML, display

        self.wants_maps = False
        self._html: Any = HTML
        self._clock = clock
        self._context = contextvars.copy_context()
        self._table, self._picture = (display(HTML(""), display_id=True) for _ in range(2))
        self._path = ""
        self._shown = ""
        self._pending: str | None = None
        self._next = float("-inf")

    def start(self, plan: LoopPlan) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""
        self._path = plan.path
        self.wants_maps = _drawable(plan)

    def show(self, snapshot: Snapshot) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""
        self._pending = _snapshot_html(self._path, snapshot)
        if self._clock() >= self._next or snapshot.loop.state in TERMINAL["loop"]:
            self._flush()

    def show_map(self, view: LoopView) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""
        self._update(self._picture, picture_html(view))

    def stop(self) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""
        self._flush()

    def _flush(self) -> None:
        if self._pending is not None and self._pending != self._shown:
            self._next = self._clock() + _PERIOD_S
            self._shown = self._pending
            self._update(self._table, self._pending)

    def _update(self, handle: Any, html: str) -> None:
        self._context.run(handle.update, self._html(html))


# ---------------------------------------------------------------------- a run with somebody there
def attended(engine: Engine, workspace: Workspace, loop_id: int) -> None:
    """Run the engine until the loop has ended, shown live in a notebook; an interrupt ends the engine, not the run.

    Raises
    ------
    KeyboardInterrupt
        After an interrupt outside of a notebook, where the lines that follow would go on with half a scan.

    """
    if engine.store.workflows.loop(loop_id).state in TERMINAL["loop"]:
        return
    notebook = in_notebook()
    watcher = Watcher(workspace, loop_id, NotebookDisplay()) if notebook else None
    with _interrupts(engine) as got:
        if watcher:
            watcher.start()
        try:
            engine.run()
        finally:
            if watcher:
                watcher.finish()
    if watcher and watcher.problem:
        print(f"W-DISPLAY the display failed: {type(watcher.problem).__name__}: {watcher.problem}.")
    if got and engine.store.workflows.loop(loop_id).state not in TERMINAL["loop"]:
        print(_let_go(workspace.folder))
        if not notebook:
            raise KeyboardInterrupt


def _let_go(folder: Path) -> str:
    return (f"Interrupted. What is measured is on record in {folder}; the same call goes on where it was, and "
            f"idds_agents.open({str(folder)!r}) looks at it.")  # fmt: skip


@contextlib.contextmanager
def _interrupts(engine: Engine) -> Iterator[list[int]]:
    """The first Ctrl-C ends the engine cleanly, the second at once; a handler of somebody else is left alone."""
    got: list[int] = []

    def handler(number: int, _frame: Any) -> None:
        got.append(number)
        if len(got) > 1:
            raise KeyboardInterrupt
        engine.stop()

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield got
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield got
    finally:
        signal.signal(signal.SIGINT, before)
