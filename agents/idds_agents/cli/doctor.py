"""``doctor``: what about this machine and this folder will make trouble, and how to mend it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_agents.cli.problems import FINE, NOT_CONCLUDED, InputError
from idds_agents.cli.reasons import reasons
from idds_agents.cli.text import print_json, say
from idds_agents.cli.where import find_workspace
from idds_agents.workspace import Workspace
from idds_core.errors import IddsError
from idds_core.settings import read_settings, strange_variables
from idds_core.states import TERMINAL

__all__ = ["Finding", "doctor"]

_SQLITE = (3, 35, 0)  # UPDATE ... RETURNING
_PYTHON = (3, 11)
_SLOW_FSYNC_MS, _SYNCS = 20.0, 20
_BUILT_AFTER = 1_704_067_200.0  # 2024: no clock that is right shows less
_SKEW_S = 5.0
_LOCK_S = 1.0
_PERMISSIONS = "Mend the permissions of file, folder and disk."
#: reasons that are the ordinary course of things
_USUAL = frozenset({"jobs", "learner", "turn", "slots", "elsewhere", "failure", "waiting"})


@dataclass(frozen=True)
class Finding:
    """One line: ok, warning or error, what was found, and how to mend it."""

    check: str
    level: str
    found: str
    fix: str = ""


def doctor(workdir: Path | None, *, as_json: bool) -> int:
    """Check machine and work folder."""
    workspace = _workspace(workdir)
    findings = [finding for check in _CHECKS for finding in check(workspace)]
    if as_json:
        print_json([asdict(f) for f in findings])
    else:
        for f in findings:
            say(f"{f.level:<8} {f.check}: {f.found}" + (f" - {f.fix}" if f.fix else ""))
    return NOT_CONCLUDED if any(f.level == "error" for f in findings) else FINE


def _workspace(workdir: Path | None) -> Workspace:
    """The work folder, or the current folder where there is none yet."""
    try:
        return find_workspace(workdir)
    except InputError:
        return Workspace(Path.cwd(), read_settings())


def _judge(check: str, found: str, *, fine: bool, fix: str, level: str = "error") -> Finding:
    return Finding(check, "ok", found) if fine else Finding(check, level, found, fix)


# ---------------------------------------------------------------------- the machine
def _python(_: Workspace) -> Iterator[Finding]:
    text = ".".join(map(str, sys.version_info[:3]))
    yield _judge("Python", text, fine=sys.version_info[:2] >= _PYTHON, fix="Use Python 3.11 or newer.")


def _dependencies(_: Workspace) -> Iterator[Finding]:
    missing, count = [], 0
    for text in requires("idds-core") or ():
        if "extra ==" in text:
            continue
        name = text.replace(">", " ").replace("=", " ").replace("<", " ").replace("[", " ").split()[0]
        count += 1
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    found = f"{', '.join(missing)} missing" if missing else f"{count} packages are installed"
    yield _judge("dependencies", found, fine=not missing, fix=f"pip install {' '.join(missing)}")


def _sqlite(_: Workspace) -> Iterator[Finding]:
    fine = sqlite3.sqlite_version_info >= _SQLITE
    yield _judge("SQLite", sqlite3.sqlite_version, fine=fine, fix="Use a Python with SQLite 3.35 or newer.")


def _cores(workspace: Workspace) -> Iterator[Finding]:
    can = len(os.sched_getaffinity(0))
    slots = workspace.settings.slots or os.cpu_count() or 1
    yield _judge("cores", f"{can} usable, {slots} slots", fine=slots <= can, level="warning",
                 fix=f"Jobs will share cores; give --slots {can}.")  # fmt: skip


def _blas(_: Workspace) -> Iterator[Finding]:
    value = os.environ.get("OPENBLAS_NUM_THREADS", "")
    yield _judge("BLAS threads", f"{value or 'not limited'} in this process; learner and jobs get 1",
                 fine=value == "1", level="warning", fix="Set OPENBLAS_NUM_THREADS=1.")  # fmt: skip


def _clock(_: Workspace) -> Iterator[Finding]:
    now = time.time()
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    yield _judge("clock", text, fine=now > _BUILT_AFTER, fix="Set the clock of this machine.")


# ---------------------------------------------------------------------- the folder
def _existing(workspace: Workspace) -> Path:
    """The work folder, or the nearest folder above it that exists."""
    return next(p for p in (workspace.folder, *workspace.folder.parents) if p.is_dir())


def _folder(workspace: Workspace) -> Iterator[Finding]:
    """Writable, its clock, and how long a durable write takes: all by one small file."""
    folder = _existing(workspace)
    probe = folder / f".idds-doctor.{os.getpid()}"
    try:
        with probe.open("wb") as file:
            begin = time.perf_counter()
            for _ in range(_SYNCS):
                file.write(b"x" * 512)
                file.flush()
                os.fsync(file.fileno())
            took = (time.perf_counter() - begin) / _SYNCS * 1000
        skew = probe.stat().st_mtime - time.time()
    except OSError as error:
        yield Finding("folder", "error", f"{folder}: {error.strerror}", "Mend its permissions, or give --workdir.")
        return
    finally:
        with contextlib.suppress(OSError):  # a read-only disk does not let go of what is not there either
            probe.unlink()
    yield Finding("folder", "ok", f"{folder} is writable")
    yield _judge("fsync", f"{took:.1f} ms", fine=took <= _SLOW_FSYNC_MS, level="warning",
                 fix="Commits will be slow; use a local disk, or durability=normal.")  # fmt: skip
    yield _judge("clock of the disk", f"{skew:+.1f} s", fine=abs(skew) <= _SKEW_S, level="warning",
                 fix="Synchronise the clocks of this machine and the file server.")  # fmt: skip


def _disk(workspace: Workspace) -> Iterator[Finding]:
    free, least = shutil.disk_usage(_existing(workspace)).free, workspace.settings.min_free_bytes
    fix = f"Free some space: below {least / 1e6:.0f} MB the loop is held."
    level = "error" if free < least else "warning"
    yield _judge("free disk", f"{free / 1e9:.1f} GB", fine=free >= 10 * least, level=level, fix=fix)


def _network(workspace: Workspace) -> Iterator[Finding]:
    yield _judge("file system", workspace.file_system or "unknown", fine=not workspace.on_network, level="warning",
                 fix="Several machines see it: slower, and as safe as its server; --database FILE may be on a local "
                 "disk.")  # fmt: skip


def _store(workspace: Workspace) -> Iterator[Finding]:
    if not workspace.database.exists():
        yield Finding("store", "ok", "none here yet")
        return
    try:
        store = workspace.look()
        try:
            count, restored = len(store.workflows.all()), store.audit.restored()
        finally:
            store.close()
    except IddsError as error:
        problem = error.problems[0]
        yield Finding("store", "error", f"{problem.code} {problem.what}: {problem.why}", problem.fix)
        return
    yield Finding("store", "ok", f"{workspace.database.name} opens, {count} workflows")
    if restored:
        yield Finding("restored", "warning", "restored from a backup: jobs that the record does not own are not ended",
                      "Nothing: the next engines adopt what runs.")  # fmt: skip
    yield from _journal(workspace)
    yield from _writable(workspace)


def _writable(workspace: Workspace) -> Iterator[Finding]:
    """Whether an engine could write, when there is none: nobody else may hold the store's own lock."""
    if workspace.engine_facts() is not None:
        return
    if not os.access(workspace.database, os.W_OK):  # SQLite would quietly open it for reading
        yield Finding("store is writable", "error", "E-STORE-004 its file or its disk is read-only", _PERMISSIONS)
        return
    uri = f"{workspace.database.as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_LOCK_S, isolation_level=None)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            raw.execute("ROLLBACK")
    except sqlite3.Error as error:
        locked = "locked" in str(error)
        fix = "End the program that has it open." if locked else _PERMISSIONS
        yield Finding("store is writable", "error", f"{'E-STORE-005' if locked else 'E-STORE-004'} {error}", fix)
        return
    yield Finding("store is writable", "ok", "yes")


def _loops(workspace: Workspace) -> Iterator[Finding]:
    """Of each loop that has not concluded: why it does not move."""
    try:
        store = workspace.look()
    except IddsError:  # told by the check of the store
        return
    try:
        catalog = Catalog(store, workspace.folder)
        for loop in store.workflows.live_loops():
            plan = catalog.plan(loop.id)
            live = [j for j in store.jobs.all(loop.id) if j.state not in TERMINAL["job"]]
            for reason in reasons(workspace, store, plan, loop, live):
                level = "ok" if reason.reason in _USUAL else "warning"
                yield Finding(f"loop {plan.path}", level, reason.what, reason.fix)
    except IddsError as error:
        yield Finding("loops", "error", str(error.problems[0]))
    finally:
        store.close()


def _variables(_: Workspace) -> Iterator[Finding]:
    for problem in strange_variables():
        yield Finding("settings", "warning", f"{problem.code} {problem.what}: {problem.why}", problem.fix)


def _journal(workspace: Workspace) -> Iterator[Finding]:
    try:
        connection = sqlite3.connect(f"file:{workspace.database}?mode=ro", uri=True)
        try:
            mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        mode = str(error)
    yield _judge("journal", mode, fine=mode == workspace.journal, level="warning",
                 fix="Readers and the engine wait for each other; use a local disk.")  # fmt: skip


def _engine(workspace: Workspace) -> Iterator[Finding]:
    facts = workspace.engine_facts()
    found = "none at work here" if facts is None else f"process {facts.get('pid', workspace.lock.holder())} is at work"
    yield Finding("engine", "ok", found)


_CHECKS: tuple[Callable[[Workspace], Iterator[Finding]], ...] = (_python, _dependencies, _sqlite, _cores, _blas, _clock,
    _variables, _folder, _disk, _network, _store, _loops, _engine)  # fmt: skip
