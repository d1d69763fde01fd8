"""``run``: an engine in this process, a display beside it, and what is left behind for people."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds_agents.cli.assignments import assignments
from idds_agents.cli.text import hush, print_json, reader_is_gone, say, warn
from idds_agents.cli.watching import Display, Watcher
from idds_agents.engine import Engine, exit_code, running
from idds_agents.report.document import loop_document
from idds_agents.report.reading import LoopView, view_loop
from idds_agents.workspace import Workspace
from idds_core.definition import Definition
from idds_core.errors import IddsError
from idds_core.loading import load, source_folder
from idds_core.settings import Settings, read_settings
from idds_core.states import TERMINAL, LoopState
from idds_core.store import Store

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What ``run`` was asked for."""

    file: Path
    workdir: Path | None = None
    given: Sequence[str] = ()
    seed: int = 0
    fresh: bool = False
    slots: int | None = None
    config: Path | None = None
    json: bool = False
    quiet: bool = False


def run(options: Options) -> int:
    """Run a scan file until its loop has concluded, and say how it ended; returns the exit code."""
    settings = _settings(options)
    definition = load(options.file, assignments(options.given))
    workspace = Workspace(options.workdir or Path(f"{definition.name}-run"), settings)
    with _ended_by_signals() as signals:
        concluded = _turn(workspace, definition, options, signals)
    store = workspace.look()
    try:
        loop = store.workflows.loops(_newest(store, definition.name))[0]
        view = view_loop(store, workspace.folder, loop.id)
        _leave_products(view, workspace.folder, again=concluded)
        try:
            _tell(view, workspace, options)
            if options.json:
                print_json(loop_document(view, store))
            sys.stdout.flush()
        except OSError as error:  # nobody listens; the exit code still tells
            if not reader_is_gone(error):
                raise
            hush()
        return exit_code(view.record.state)
    finally:
        store.close()


def _newest(store: Store, name: str) -> int:
    workflow = store.workflows.latest(name)
    assert workflow is not None
    return workflow.id


def _settings(options: Options) -> Settings:
    settings = read_settings(options.config)
    return settings if options.slots is None else settings.model_copy(update={"slots": options.slots})


# ---------------------------------------------------------------------- the run itself
class _Signals:
    """The first Ctrl-C, SIGTERM or SIGHUP ends the run cleanly, the second at once."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.got: int | None = None

    def __call__(self, number: int, _frame: Any) -> None:
        first, self.got = self.got is None, number
        if self.engine is None or not first:
            raise KeyboardInterrupt
        self.engine.stop()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[_Signals]:
    handler = _Signals()
    before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield handler
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _turn(workspace: Workspace, definition: Definition, options: Options, signals: _Signals) -> bool:
    """Let the engine run; returns whether the loop had concluded before."""
    source = source_folder(options.file)
    with running(workspace, definition, source, options.seed, fresh=options.fresh) as (engine, workflow):
        loop = engine.store.workflows.loops(workflow.id)[0]
        if loop.state in TERMINAL["loop"]:
            return True
        display = _display(options)
        watcher = Watcher(workspace, loop.id, display) if display else None
        signals.engine = engine
        if watcher:
            watcher.start()
        try:
            engine.run()
        finally:
            if watcher:
                watcher.finish()
        if (
            watcher
            and watcher.problem
            and not (isinstance(watcher.problem, OSError) and reader_is_gone(watcher.problem))
        ):
            warn(f"W-DISPLAY the display failed: {type(watcher.problem).__name__}: {watcher.problem}.")
    return False


def _display(options: Options) -> Display | None:
    """With --json the progress goes to stderr, so that stdout has nothing but the document."""
    if options.quiet:
        return None
    stream = sys.stderr if options.json else sys.stdout
    if stream.isatty():
        from rich.console import Console

        from idds_agents.cli.live import LiveDisplay

        return LiveDisplay(Console(file=stream, highlight=False))
    from idds_agents.cli.lines import LineDisplay

    return LineDisplay(stream)


# ---------------------------------------------------------------------- what is left behind
def _leave_products(view: LoopView, folder: Path, *, again: bool) -> None:
    """The contour of a two-dimensional loop as files; without a map there are none."""
    if view.plan.loop.space.dimension != 2 or (again and (folder / "contour.svg").exists()):
        return
    from idds_agents.report.export import write_products
    from idds_agents.report.surface import surface_of

    try:
        surrogate = view.surrogate
        if surrogate is not None:
            write_products(view, surface_of(view.plan.loop.space, surrogate), folder)
    except IddsError as error:  # the run itself is fine: its end must be told
        warn(error)
    except OSError as error:
        warn(f"W-REPORT-001 the plots could not be written: {error.strerror} ({folder}). Use 'plot' elsewhere.")


def _tell(view: LoopView, workspace: Workspace, options: Options) -> None:
    """How it ended: on stdout, or beside the JSON on stderr."""
    out = warn if options.json else say
    n, turns, state = view.evaluations, len(view.iterations), view.record.state
    out(f"{view.path}: {state}, {n} evaluations in {turns} iterations, {view.elapsed_s:.1f} s, "
        f"{workspace.folder}/".replace("//", "/"))  # fmt: skip
    names = [f"contour.{end}" for end in ("png", "svg", "csv", "json")]
    files = [name for name in names if (workspace.folder / name).exists()]
    if files and not options.quiet:
        out(f"contour: {', '.join(files)} in that folder")
    if state is LoopState.HELD:
        path, where = view.workflow.path, shlex.quote(str(workspace.folder))
        warn(view.record.reason)
        warn(f"{view.path} is held: 'idds-core resume {path} --workdir {where}', then the same command, goes on.")
    elif view.ended:
        out(f"reason: {view.record.reason}")
    else:
        out("stopped: the same command goes on where it was.")
