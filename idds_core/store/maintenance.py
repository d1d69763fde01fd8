"""Copies of a store: made while an engine runs, checked, and put back in its place.

A copy appears whole or not at all: it is written under another name, checked, made durable, then renamed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from pathlib import Path

from idds_core.errors import StoreError
from idds_core.store import schema
from idds_core.store.database import Database

__all__ = ["RESTORED", "back_up", "check_file", "restore"]

#: key in ``meta`` of a store that was restored, until an engine has adopted what runs
RESTORED = "restored"
_BESIDE = ("-wal", "-journal", "-shm")


def back_up(source: Path, target: Path, *, replace: bool = False) -> int:
    """Copy a store, also while an engine writes to it; returns the size in bytes.

    Raises
    ------
    StoreError
        When the source is no sound store, or the copy cannot be written.

    """
    if not source.exists():
        raise StoreError.of("E-STORE-006", "there is no store here", "no such file", str(source),
                            "Give the --workdir of a run.")  # fmt: skip
    _need_store(source)
    if target.resolve() == source.resolve():
        raise _unwritten(target, "it is the store itself")
    if target.exists() and not replace:
        raise _unwritten(target, "it is there already")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(target)
        try:
            _copy(source, partial)
            _need_sound(partial, target)
            _make_durable(partial)
            size = partial.stat().st_size
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        _make_durable(target.parent)
    except (OSError, sqlite3.OperationalError) as error:
        raise _unwritten(target, getattr(error, "strerror", None) or str(error)) from error
    return size


def check_file(path: Path) -> list[str]:
    """What is wrong with a database file; empty when it is sound."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as raw:
            wrong = [str(row[0]) for row in raw.execute("PRAGMA integrity_check(10)") if row[0] != "ok"]
            rows = raw.execute("PRAGMA foreign_key_check").fetchmany(10)
            return wrong + [f"row {row[1]} of {row[0]} points to nothing in {row[2]}" for row in rows]
    except sqlite3.Error as error:
        return [str(error)]


def restore(backup: Path, path: Path, now: float, actor: str, stamp: str) -> Path | None:
    """Put a backup in the place of a store; the caller owns the folder, so that no engine has it open.

    The store says that it was restored: what runs at a provider may be younger than the record, so nothing of it is
    ended before an engine has adopted it.

    Returns
    -------
    Where the old file is now; None when there was none.

    Raises
    ------
    StoreError
        When the file is no sound backup, or cannot be copied; the store is as it was then.

    """
    try:
        _need_store(backup)
    except StoreError as error:
        problem = error.problems[0]
        raise _useless(backup, f"{problem.what}: {problem.why}") from error
    wrong = check_file(backup)
    if wrong:
        raise _useless(backup, wrong[0])
    partial = _partial(path)
    try:
        try:
            _copy(backup, partial)
            _mark(partial, backup, now, actor)
            _make_durable(partial)
            aside = _set_aside(path, stamp)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        _make_durable(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise _unwritten(path, getattr(error, "strerror", None) or str(error)) from error
    return aside


# ---------------------------------------------------------------------- parts
def _need_store(path: Path) -> None:
    """Refuse what is no store, or none that can be opened."""
    if not path.is_file():
        raise StoreError.of("E-STORE-006", "there is no store here", "no such file", str(path), "Give a file.")
    database = Database(path.resolve(), "read")
    try:
        if schema.revision_of(database) is None:
            raise StoreError.of("E-STORE-008", "the file is no store", "it is empty", str(path), "Give another one.")
    finally:
        database.close()


def _partial(target: Path) -> Path:
    """A name beside the target for what is not whole yet; what a process that died left there is cleared away."""
    for rest in target.parent.glob(f".{target.name}.partial.*"):
        if not Path("/proc", rest.name.partition(".partial.")[2].partition("-")[0]).exists():
            rest.unlink(missing_ok=True)
    return target.parent / f".{target.name}.partial.{os.getpid()}"


def _copy(source: Path, target: Path) -> None:
    """One consistent state of the source, in one file that needs no other."""
    with (
        contextlib.closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as given,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        given.backup(copy)  # all pages in one step: a writer is not waited for, and cannot make it begin again
        copy.execute("PRAGMA journal_mode=DELETE")


def _need_sound(copy: Path, target: Path) -> None:
    wrong = check_file(copy)
    if wrong:
        raise StoreError.of("E-DB-002", "the backup is not sound", wrong[0], str(target),
                            "Nothing was kept of it. 'idds-core db check' says more about the store.")  # fmt: skip


def _mark(copy: Path, backup: Path, now: float, actor: str) -> None:
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        value = json.dumps({"at": now, "from": backup.name})
        raw.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (RESTORED, value))
        raw.execute(
            "INSERT INTO event (entity, entity_id, old, new, actor, reason, at)"
            " VALUES ('store', 0, 'backup', 'restored', ?, ?, ?)",
            (actor, f"from {backup.name}", now),
        )
        raw.execute("COMMIT")


def _set_aside(path: Path, stamp: str) -> Path | None:
    """A second name for the old file, so that at no moment there is no store; its log goes with it."""
    if not path.exists():
        return None
    aside, n = path.with_name(f"{path.name}.before-restore-{stamp}"), 1
    while aside.exists():
        n += 1
        aside = path.with_name(f"{path.name}.before-restore-{stamp}-{n}")
    if not check_file(path):  # SQLite throws the log of a damaged file away
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path, timeout=1)) as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    try:
        os.link(path, aside)
    except OSError:  # a file system without second names
        shutil.copy2(path, aside)
    for end in _BESIDE:  # never beside the new file: it would be taken for its own
        rest = path.with_name(path.name + end)
        if rest.exists() and rest.stat().st_size and end != "-shm":
            rest.replace(aside.with_name(aside.name + end))
        rest.unlink(missing_ok=True)
    return aside


def _make_durable(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _unwritten(target: Path, why: str) -> StoreError:
    return StoreError.of("E-DB-001", f"{target.name} cannot be written", why, str(target),
                         "Give another FILE, or --force to replace one.")  # fmt: skip


def _useless(backup: Path, why: str) -> StoreError:
    return StoreError.of("E-DB-003", f"{backup.name} cannot be restored", why, str(backup),
                         "Give a file that 'idds-core db backup' made.")  # fmt: skip
