"""What survives the death of a process: the disk with the store's file, the clock; and where a process may die.

A process is cut at the edges of its transactions and of its acts. Nothing of it is in the engine: the database class
of the simulator adds the edges around the real one's transactions.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa

from idds_core.store import open_store
from idds_core.store.database import Database

__all__ = ["Died", "Disk", "Edge", "SimDatabase"]

#: called with the name of an edge: it may raise, or let others go on before it returns
Edge = Callable[[str], None]
_NAMES = count(1)
_PASSED = ("contextlib.py", "database.py", "machine.py")


class Died(BaseException):
    """The process is gone; nothing of its memory is left."""


@cache
def _template() -> sqlite3.Connection:
    """A migrated store, in memory: the migrations cost more than a thousand schedules."""
    kept = sqlite3.connect(":memory:")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "idds.db"
        open_store(path).close()
        raw = sqlite3.connect(path)
        raw.execute("UPDATE meta SET value = 'simulated' WHERE key = 'store_id'")
        raw.commit()
        raw.backup(kept)
        raw.close()
    return kept


class Disk:
    """The store's file, in memory; each process has a connection of its own.

    A file is emptied and used again by the next schedule, with connections that know their statements: to make and to
    prepare them anew costs more than half of a schedule.
    """

    _spare: ClassVar[list[_File]] = []

    def __init__(self) -> None:
        self._file = self._spare.pop() if self._spare else _File()
        self.full = False

    @property
    def engine(self) -> sa.Engine:
        """What makes its connections."""
        return self._file.engine

    def connect(self) -> sa.Connection:
        """A connection that nobody else has."""
        return self._file.free.pop() if self._file.free else self._file.engine.connect()

    def release(self, connection: sa.Connection) -> None:
        """Its process is gone: an open transaction never was."""
        if connection.in_transaction():
            connection.rollback()
        self._file.free.append(connection)

    def one(self, query: str, *values: Any) -> Any:
        """The first row of what is committed."""
        return self._file.kept.execute(query, values).fetchone()

    def close(self) -> None:
        """Everything is gone."""
        self._file.empty()
        self._spare.append(self._file)


class _File:
    """A store's file, with the connections that nobody has at the moment."""

    def __init__(self) -> None:
        self._uri = f"file:sim{next(_NAMES)}?mode=memory&cache=shared"
        self.kept = sqlite3.connect(self._uri, uri=True, isolation_level=None)
        _template().backup(self.kept)
        names = [row[0] for row in self.kept.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        self._new = {name: self.kept.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
        self.free: list[sa.Connection] = []
        self.engine = sa.create_engine("sqlite://", poolclass=sa.pool.NullPool, creator=self._connect)
        sa.event.listen(self.engine, "begin", _begin)

    def _connect(self) -> sqlite3.Connection:
        """As the engine's own code wants it."""
        raw = sqlite3.connect(self._uri, uri=True, isolation_level=None, cached_statements=1000)
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA synchronous=OFF")
        return raw

    def empty(self) -> None:
        """As it was made."""
        self.kept.execute("BEGIN")
        for name, rows in self._new.items():
            self.kept.execute(f'DELETE FROM "{name}"')
            if rows:
                self.kept.executemany(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(rows[0]))})', rows)
        self.kept.execute("COMMIT")


def _begin(connection: sa.Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    raw.execute("BEGIN IMMEDIATE")


class SimDatabase(Database):
    """The real one on a disk in memory, with an edge before and after each commit."""

    _compiled_once: dict[Any, Any] = {}  # noqa: RUF012 - shared by all: compiling costs more than a schedule

    def __init__(self, disk: Disk, path: Path, clock: Callable[[], float], edge: Edge) -> None:
        self._disk = disk
        self.edge = edge
        super().__init__(path, "write", clock, "normal")
        self._statements = self._compiled_once

    def _make_engine(self) -> sa.Engine:
        return self._disk.engine

    def connect(self) -> sa.Connection:
        """The process's own connection."""
        if self._connection is None:
            self._connection = self._disk.connect()
        return self._connection

    def close(self) -> None:
        """What the kernel does for a process that is gone."""
        if self._connection is not None:
            self._disk.release(self._connection)
            self._connection = None

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """As the real one; the outermost has edges, named after who began it."""
        if self.connect().in_transaction():
            with super().transaction() as connection:
                yield connection
            return
        name = _caller()
        self.edge(f"{name}: begin")
        with super().transaction() as connection:
            before = self._changes(connection)
            yield connection
            if self._disk.full and self._changes(connection) > before:
                full = sqlite3.OperationalError("database or disk is full")
                raise self.explain(full) or full
            self.edge(f"{name}: before commit")
        self.edge(f"{name}: after commit")

    @staticmethod
    def _changes(connection: sa.Connection) -> int:
        raw: Any = connection.connection.dbapi_connection
        return int(raw.total_changes)


def _caller() -> str:
    frame: Any = sys._getframe(2)
    while frame.f_code.co_filename.endswith(_PASSED):
        frame = frame.f_back
    return str(frame.f_code.co_qualname)
