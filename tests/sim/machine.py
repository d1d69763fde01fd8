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
from typing import Any

import sqlalchemy as sa

from idds_core.store import Store, open_store
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
    """The store's file, in memory; each process has a connection of its own."""

    def __init__(self) -> None:
        self.uri = f"file:sim{next(_NAMES)}?mode=memory&cache=shared"
        self._kept = sqlite3.connect(self.uri, uri=True, isolation_level=None)
        _template().backup(self._kept)

    def connect(self) -> sqlite3.Connection:
        """A connection as the engine's own code wants it."""
        raw = sqlite3.connect(self.uri, uri=True, isolation_level=None)
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA synchronous=OFF")
        return raw

    def one(self, query: str, *values: Any) -> Any:
        """The first row of what is committed."""
        return self._kept.execute(query, values).fetchone()

    def close(self) -> None:
        """Everything is gone."""
        self._kept.close()


class _Door:
    """Where the one SQLAlchemy engine of all simulated processes connects to: making one costs more than a schedule."""

    disk: Disk


def _connect() -> sqlite3.Connection:
    return _Door.disk.connect()


@cache
def _engine() -> sa.Engine:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.NullPool, creator=_connect, query_cache_size=2000)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


class SimDatabase(Database):
    """The real one on a disk in memory, with an edge before and after each commit."""

    _compiled_once: dict[Any, Any] = {}  # noqa: RUF012 - shared by all: compiling costs more than a schedule

    def __init__(self, disk: Disk, path: Path, clock: Callable[[], float], edge: Edge) -> None:
        self._disk = disk
        self.edge = edge
        super().__init__(path, "write", clock, "normal")
        self._statements = self._compiled_once

    def _make_engine(self) -> sa.Engine:
        return _engine()

    def connect(self) -> sa.Connection:
        """The process's own connection."""
        _Door.disk = self._disk
        return super().connect()

    def close(self) -> None:
        """What the kernel does for a process that is gone: its open transaction never was."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """As the real one; the outermost has edges, named after who began it."""
        if self.connect().in_transaction():
            with super().transaction() as connection:
                yield connection
            return
        name = _caller()
        with super().transaction() as connection:
            yield connection
            self.edge(f"{name}: before commit")
        self.edge(f"{name}: after commit")

    def store(self) -> Store:
        """A store on it."""
        return Store(self)


def _caller() -> str:
    frame: Any = sys._getframe(2)
    while frame.f_code.co_filename.endswith(_PASSED):
        frame = frame.f_back
    return str(frame.f_code.co_qualname)
