"""The store as agents see it: a file, its parts by noun, and transactions that many moves share."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from idds_core.errors import StoreError
from idds_core.store import tables
from idds_core.store.audit import Audit
from idds_core.store.database import Database
from idds_core.store.iterations import Iterations
from idds_core.store.jobs import Jobs
from idds_core.store.outputs import Outputs
from idds_core.store.workflows import Workflows

__all__ = ["OwnerLock", "Store", "open_store"]

HEAD = "0001"


class Store:
    """The only truth.

    Attributes
    ----------
    workflows, iterations, jobs, audit, outputs : the parts.
    id : random, made once; part of every key, so that nothing of another store is ever touched.

    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self.workflows = Workflows(database)
        self.iterations = Iterations(database)
        self.jobs = Jobs(database)
        self.audit = Audit(database)
        self.outputs = Outputs(database)
        self.id = self.workflows.meta("store_id") or ""

    def now(self) -> float:
        """Seconds since the epoch, by the injected clock."""
        return self._db.now()

    def transaction(self) -> AbstractContextManager[Any]:
        """Moves made inside share one durable commit; inside another it joins that one."""
        return self._db.transaction()

    def reading(self) -> AbstractContextManager[Any]:
        """Reads made inside see one consistent state."""
        return self._db.reading()

    def counters(self, loop_id: int) -> dict[str, int]:
        """Counters of a loop."""
        return self._db.counters(loop_id)

    @property
    def generation(self) -> int:
        """Changes whenever this process may have changed a loop or workflow."""
        return self._db.generation

    @property
    def commits(self) -> int:
        """Number of durable commits made so far."""
        return self._db.commits

    @property
    def path(self) -> Path:
        """The file."""
        return self._db.path

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def open_store(
    path: Path,
    mode: Literal["write", "read"] = "write",
    clock: Callable[[], float] = time.time,
    durability: Literal["full", "normal"] = "full",
) -> Store:
    """Open a store, made or brought to today's schema first when it is opened for writing.

    Raises
    ------
    StoreError
        When the file is missing (reading), damaged, read-only, or of a newer schema.

    """
    if mode == "read" and not path.exists():
        raise StoreError.of(
            "E-STORE-006", "there is no store here", "no such file", str(path), "Give the --workdir of a run."
        )
    database = Database(path, mode, clock, durability)
    try:
        revision = _revision(database)
        if revision != HEAD:
            if mode == "read":
                raise StoreError.of(
                    "E-STORE-007",
                    "the store has another schema",
                    f"{revision}, not {HEAD}",
                    str(path),
                    "Open it once with 'idds-core run' of this version.",
                )
            database.close()
            _migrate(path, database)
            database = Database(path, mode, clock, durability)
            _identify(database)
        return Store(database)
    except BaseException:
        database.close()
        raise


def _revision(database: Database) -> str | None:
    """The schema's revision, without loading the migration tool."""
    with database.reading() as connection:
        if not connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name='alembic_version'").first():
            if connection.exec_driver_sql("SELECT 1 FROM sqlite_master").first():
                raise StoreError.of(
                    "E-STORE-008",
                    "the file is no store",
                    "it has other tables",
                    str(database.path),
                    "Give another --workdir.",
                )
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _migrate(path: Path, database: Database) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["path"] = path
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError.of(
            "E-STORE-009",
            "the store is of a newer version",
            str(error),
            str(path),
            "Use the version of idds-core that made it, or a newer one.",
        ) from error
    except (sqlite3.Error, sa.exc.DBAPIError) as error:
        raise database.explain(error) or error from error


def _identify(database: Database) -> None:
    with database.transaction() as connection:
        known = connection.execute(sa.select(tables.meta.c.value).where(tables.meta.c.key == "store_id")).scalar()
        if known is None:
            connection.execute(sa.insert(tables.meta), {"key": "store_id", "value": secrets.token_hex(4)})


class OwnerLock:
    """The lock of the one engine on a work folder; the kernel frees it when its process dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take it; False when another process has it."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file
        return True

    def taken(self) -> bool:
        """Whether somebody has it now; looking does not get in the way of taking it for longer than a moment."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(file)
        return False

    def holder(self) -> str:
        """Process id of who has it, as it wrote it."""
        try:
            return self.path.read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
