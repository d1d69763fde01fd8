"""``run``: an engine in this process, a display beside it, and what is left behind for people."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds_agents.cli.assignments import assignments
from idds_agents.cli.problems import HANDED_OVER, InputError
from idds_agents.cli.text import hush, print_json, reader_is_gone, say, warn
from idds_agents.cli.watching import Display, Watcher
from idds_agents.cli.where import looking, resolve_loop
from idds_agents.engine import Engine, exit_code, running
from idds_agents.report.document import loop_document
from idds_agents.report.reading import LoopView, view_loop
from idds_agents.workspace import Workspace
from idds_core.definition import Definition
from idds_core.errors import IddsError, Problem
from idds_core.loading import load, source_folder
from idds_core.model import parse_seconds
from idds_core.settings import Settings, read_settings
from idds_core.states import TERMINAL, LoopState
from idds_core.store import LoopRecord, Store

__all__ = ["Options", "assignments", "make_display", "run", "summary"]


@dataclass(frozen=True)
class Options:
    """What ``run`` was asked for."""

    file: Path
    workdir: Path | None = None
    given: Sequence[str] = ()
    seed: int = 0
    fresh: bool = False
    reuse: bool = False
    slots: int | None = None
    config: Path | None = None
    json: bool = False
    quiet: bool = False
    detach: bool = False
    max_wall: str | None = None
    margin: str | None = None
    notify: Sequence[str] = ()
    database: Path | None = None


def run(options: Options) -> int:
    """Run a scan file until its loop has concluded, and say how it ended; returns the exit code."""
    settings = _settings(options)
    if not options.file.suffix and not options.file.is_file():
        workspace, definition = _on_record(options, settings)
    else:
        definition = load(options.file, assignments(options.given))
        workspace = Workspace(options.workdir or Path(f"{definition.name}-run"), settings)
    limit = _limit(options)
    for line in workspace.warnings():
        warn(line)
    if options.detach:
        from idds_agents.cli.detach import detach

        return detach(workspace, options)
    return _finish(workspace, definition, options, limit)


def _on_record(options: Options, settings: Settings) -> tuple[Workspace, Definition]:
    """A workflow by its name: what was continued by hand, or whose file is far away."""
    with looking(options.workdir, str(options.file)) as (workspace, store):
        record = store.workflows.latest(resolve_loop(store, str(options.file)).workflow.name)
        assert record is not None
    return Workspace(workspace.folder, settings), Definition(json.loads(record.definition))


def _finish(workspace: Workspace, definition: Definition, options: Options, limit: tuple[float, float] | None) -> int:
    with _ended_by_signals(workspace.settings.hand_over_seconds) as signals:
        concluded = _turn(workspace, definition, options, signals, limit)
    store = workspace.look()
    try:
        loop = store.workflows.loops(_newest(store, definition.name))[0]
        view = view_loop(store, workspace.folder, loop.id)
        _leave_products(view, workspace.folder, again=concluded)
        _leave_report(view, store, workspace.folder, again=concluded)
        inside = _loops_inside(view, store, workspace.folder)
        for each in inside:
            _leave_products(each, workspace.folder / each.path, again=concluded)
            _leave_report(each, store, workspace.folder / each.path, again=concluded)
        try:
            for each in inside:
                out = warn if options.json else say
                out(summary(each, workspace.folder / each.path))
            held = [each.record for each in inside]
            _tell(view, workspace, options, held, handed_over=signals.handed_over)
            if options.json:
                print_json(loop_document(view, store))
            sys.stdout.flush()
        except OSError as error:  # nobody listens; the exit code still tells
            if not reader_is_gone(error):
                raise
            hush()
        handed_over = signals.handed_over and view.record.state is LoopState.ACTIVE
        return HANDED_OVER if handed_over else exit_code(view.record.state)
    finally:
        store.close()


def _loops_inside(view: LoopView, store: Store, folder: Path) -> list[LoopView]:
    """The loops of a workflow of steps and loops, as far as they have begun."""
    if not view.plan.hidden:
        return []
    loops = [o for o in store.workflows.loops(view.workflow.id) if o.name and "/" not in o.name]
    begun = [o for o in loops if store.iterations.last(o.id) is not None]
    return [view_loop(store, folder, loop.id) for loop in begun]


def _newest(store: Store, name: str) -> int:
    workflow = store.workflows.latest(name)
    assert workflow is not None
    return workflow.id


def _settings(options: Options) -> Settings:
    settings = read_settings(options.config)
    given: dict[str, Any] = {} if options.slots is None else {"slots": options.slots}
    if options.notify:
        given["notify"] = [*settings.notify, *options.notify]
    if options.database is not None:
        given["database"] = str(options.database.resolve())
    return settings.model_copy(update=given)


# ---------------------------------------------------------------------- the run itself
class _Signals:
    """The first SIGTERM hands over: what runs may end within the margin. Any other, or a second one, ends the run after
    the present turn, and whatever comes then at once.
    """

    def __init__(self, margin: float) -> None:
        self.engine: Engine | None = None
        self.handed_over = False
        self._margin = margin
        self._got: list[int] = []

    def __call__(self, number: int, _frame: Any) -> None:
        self._got.append(number)
        if self.engine is None or len(self._got) > 1 + (self._got[0] == signal.SIGTERM):
            raise KeyboardInterrupt
        if self._got == [signal.SIGTERM]:
            self.engine.hand_over(self._margin)
        else:
            self.engine.stop()


@contextlib.contextmanager
def _ended_by_signals(margin: float) -> Iterator[_Signals]:
    handler = _Signals(margin)
    taken = [signal.SIGINT, signal.SIGTERM]
    if (
        signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    ):  # nohup, --detach: a terminal that closes is nothing to us
        taken.append(signal.SIGHUP)
    before = {n: signal.signal(n, handler) for n in taken}
    try:
        yield handler
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _limit(options: Options) -> tuple[float, float] | None:
    """Seconds that the run may take, and how long before their end nothing new starts."""
    if options.max_wall is None and options.margin is None:
        return None
    if options.max_wall is None:
        raise InputError.of("E-USAGE-006", "--margin belongs to --max-wall", fix="Give both, or none.")
    wall = _seconds("--max-wall", options.max_wall)
    return wall, min(300.0, 0.1 * wall) if options.margin is None else _seconds("--margin", options.margin)


def _seconds(option: str, text: str) -> float:
    try:
        found = parse_seconds(text)
    except ValueError as error:
        raise InputError.of(
            "E-USAGE-006", f"{option} cannot be read", str(error), "", "For example 2h, 90min, 30s."
        ) from None
    if found <= 0:
        raise InputError.of("E-USAGE-006", f"{option} {text} is no time", "it is not above 0", "", "For example 2h.")
    return found


def _turn(
    workspace: Workspace,
    definition: Definition,
    options: Options,
    signals: _Signals,
    limit: tuple[float, float] | None,
) -> bool:
    """Let the engine run; returns whether the loop had concluded before."""
    source = source_folder(options.file) if options.file.is_file() else None
    with running(workspace, definition, source, options.seed, fresh=options.fresh, reuse=options.reuse) as (
        engine,
        workflow,
    ):
        loop = engine.store.workflows.loops(workflow.id)[0]
        if loop.state in TERMINAL["loop"]:
            engine.tell()  # what did not arrive last time
            return True
        display = None if options.quiet else make_display(as_json=options.json)
        watcher = Watcher(workspace, loop.id, display) if display else None
        if not definition.loop(loop.name).body:
            warn(f"{workflow.path}/{loop.name} is measured by hand: 'idds-core ask', then 'tell'.")
        signals.engine = engine
        if limit is not None:
            engine.limit(*limit)
        if watcher:
            watcher.start()
        try:
            engine.run()
        finally:
            signals.handed_over = engine.handed_over
            if watcher:
                watcher.finish()
        if (
            watcher
            and watcher.problem
            and not (isinstance(watcher.problem, OSError) and reader_is_gone(watcher.problem))
        ):
            warn(f"W-DISPLAY the display failed: {type(watcher.problem).__name__}: {watcher.problem}.")
    return False


def make_display(*, as_json: bool) -> Display:
    """With --json the progress goes to stderr, so that stdout has nothing but the document."""
    stream = sys.stderr if as_json else sys.stdout
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
    from idds_agents.report.frames import ordered
    from idds_agents.report.surface import surface_of

    if len(ordered(view.plan.loop.space)) != 2:
        return
    try:
        surrogate = view.surrogate
        if surrogate is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_products(view, surface_of(view.plan.loop.space, surrogate), folder)
    except IddsError as error:  # the run itself is fine: its end must be told
        warn(error)
    except OSError as error:
        warn(f"W-REPORT-001 the plots could not be written: {error.strerror} ({folder}). Use 'plot' elsewhere.")


def _leave_report(view: LoopView, store: Store, folder: Path, *, again: bool) -> None:
    """The page of the loop; whatever becomes of it, the run has ended as it has."""
    file = folder / "report.html"
    if view.plan.hidden or (again and file.exists()):  # a workflow's own steps have no learner to tell of
        return
    try:
        from idds_agents.report.page import write_report

        write_report(view, store, file)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - no picture may change how a run ends
        why = str(error) if isinstance(error, IddsError) else f"{type(error).__name__}: {error}"
        warn(Problem("W-REPORT-002", "the report was not written", why, str(file), "Try 'idds-core report'."))


def summary(view: LoopView, folder: Path) -> str:
    """Where a loop stands, in a line."""
    n, turns = view.evaluations, len(view.iterations)
    counts = "" if view.plan.hidden else f" {n} evaluations in {turns} iterations,"
    return f"{view.path}: {view.record.state},{counts} {view.elapsed_s:.1f} s, {folder}/"


def _tell(
    view: LoopView, workspace: Workspace, options: Options, inside: Sequence[LoopRecord], *, handed_over: bool
) -> None:
    """How it ended: on stdout, or beside the JSON on stderr."""
    out = warn if options.json else say
    out(summary(view, workspace.folder))
    names = [f"contour.{end}" for end in ("png", "svg", "csv", "json")]
    files = [name for name in names if (workspace.folder / name).exists()]
    if files and not options.quiet:
        out(f"contour: {', '.join(files)} in that folder")
    if (workspace.folder / "report.html").exists() and not options.quiet:
        out("report: report.html in that folder")
    held = [loop for loop in (view.record, *inside) if loop.state is LoopState.HELD]
    if held:
        path, where = view.workflow.path, shlex.quote(str(workspace.folder))
        warn(held[-1].reason)
        warn(f"{view.path} is held: 'idds-core resume {path} --workdir {where}', then the same command, goes on.")
    elif view.ended:
        out(f"reason: {view.record.reason}")
    else:
        out(f"{'handed over' if handed_over else 'stopped'}: the same command goes on where it was.")
