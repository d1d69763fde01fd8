"""``run --detach`` and ``attach``: a run that outlives its terminal, and the view of it from any other."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idds_agents.cli.problems import FINE, NOT_CONCLUDED
from idds_agents.cli.run import Options, make_display, summary
from idds_agents.cli.text import clean, print_json, say, warn
from idds_agents.cli.watching import PERIOD_S, Watcher
from idds_agents.cli.where import find_workspace
from idds_agents.engine import exit_code
from idds_agents.report.document import loop_document
from idds_agents.report.reading import view_loop
from idds_agents.workspace import Workspace
from idds_core.errors import IddsError
from idds_core.states import TERMINAL
from idds_core.store import LoopRecord, Store

__all__ = ["attach", "detach"]

_PATIENCE_S = 120.0
_POLL_S = 0.05
_LOG = "run.log"


# ---------------------------------------------------------------------- detach
def detach(workspace: Workspace, options: Options) -> int:
    """Start the same run in a session of its own, and wait until it is at work."""
    workspace.make()
    log = workspace.folder / _LOG
    before = log.stat().st_size if log.exists() else 0
    pid = _start(_arguments(workspace, options), log, workspace.settings.notify)
    deadline = time.monotonic() + _PATIENCE_S
    while (code := _ended(pid)) is None:
        facts = workspace.engine_facts() or {}
        if facts.get("pid") == pid:
            return _detached(workspace, pid, log, options)
        if time.monotonic() > deadline:
            raise IddsError.of("E-RUN-004", "the detached run is not at work yet", f"after {_PATIENCE_S:g} s",
                               str(log), f"Process {pid} goes on; its log says what it does.")  # fmt: skip
        time.sleep(_POLL_S)
    with log.open(encoding="utf-8", errors="replace") as file:  # it has ended: a mistake, or there was nothing to do
        file.seek(before)
        for line in file.read().splitlines()[-20:]:
            (say if code in (0, 2) and not options.json else warn)(line)
    if options.json and code in (0, 2):
        store = workspace.look()
        try:
            print_json(loop_document(view_loop(store, workspace.folder, _newest(store).id), store))
        finally:
            store.close()
    return code if code >= 0 else NOT_CONCLUDED


def _arguments(workspace: Workspace, options: Options) -> list[str]:
    what = options.file.resolve() if options.file.is_file() else options.file  # or a workflow by its name
    words = ["run", str(what), "--workdir", str(workspace.folder), "--seed", str(options.seed)]
    words += [word for text in options.given for word in ("--set", text)]
    words += ["--fresh"] if options.fresh else []
    words += ["--reuse"] if options.reuse else []
    given = {
        "--slots": options.slots,
        "--config": options.config and options.config.resolve(),
        "--max-wall": options.max_wall,
        "--margin": options.margin,
        "--database": options.database and options.database.resolve(),
    }
    return words + [word for name, value in given.items() if value is not None for word in (name, str(value))]


def _ended(pid: int) -> int | None:
    """Exit code of the run (negative: a signal), or None while it goes on."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _start(arguments: list[str], log: Path, notify: Sequence[str]) -> int:
    """Its process id. It is nobody's to wait for, so no object stands for it."""
    # Targets may hold secrets, and everybody can read the arguments of a process
    env = {**os.environ, "IDDS_NOTIFY": " ".join(notify)} if notify else dict(os.environ)
    files: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited: the end of a terminal is nothing to the run
    try:
        argv = [sys.executable, "-m", "idds_agents", *arguments]
        return os.posix_spawn(sys.executable, argv, env, file_actions=files, setsid=True)
    finally:
        signal.signal(signal.SIGHUP, before)


def _detached(workspace: Workspace, pid: int, log: Path, options: Options) -> int:
    folder = workspace.folder
    if options.json:
        print_json({"pid": pid, "workdir": str(folder), "log": str(log)})
        return FINE
    say(f"process {pid} is at work in {folder}/, and goes on without this terminal")
    say(f"log: {log}")
    say(f"idds-core attach {folder}    shows it; 'hold', 'cancel', 'why' with --workdir {folder} work as ever")
    say(f"kill {pid}    lets it hand over; the same command goes on")
    return FINE


# ---------------------------------------------------------------------- attach
def attach(workdir: Path | None, *, as_json: bool) -> int:
    """Show the newest workflow of a work folder until it has ended, its engine has gone, or Ctrl-C."""
    workspace = find_workspace(workdir)
    store = workspace.look()
    try:
        loop = _newest(store)
        left = _watch(workspace, store, loop, as_json=as_json)
        view = view_loop(store, workspace.folder, loop.id)
        out = warn if as_json else say
        out(summary(view, workspace.folder))
        if view.ended:
            out(clean(f"reason: {view.record.reason}"))
        elif left:
            out(f"left the view; the run goes on. 'idds-core attach {workspace.folder}' shows it again.")
        else:
            out("no engine is at work here: 'idds-core run' with the same file goes on.")
        if as_json:
            print_json(loop_document(view, store))
        return FINE if left and not view.ended else exit_code(view.record.state)
    finally:
        store.close()


def _newest(store: Store) -> LoopRecord:
    """The loop that is worth looking at: the first that lives, else the last."""
    workflows = store.workflows.all()
    if not workflows:
        raise IddsError.of("E-PATH-001", "the store has no workflow yet", where=str(store.path), fix="Run one.")
    loops = store.workflows.loops(workflows[-1].id)
    return next((loop for loop in loops if loop.state not in TERMINAL["loop"]), loops[-1])


def _watch(workspace: Workspace, store: Store, loop: LoopRecord, *, as_json: bool) -> bool:
    """Until it has ended; returns whether the person has left before."""
    watcher = Watcher(workspace, loop.id, make_display(as_json=as_json))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
    try:
        watcher.start()
        while store.workflows.loop(loop.id).state not in TERMINAL["loop"] and workspace.lock.taken():
            time.sleep(2 * PERIOD_S)
        return False
    except KeyboardInterrupt:
        return True
    finally:
        watcher.finish()
