"""The store as agents see it: a file, its parts by noun, and transactions that many moves share."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from idds_core.errors import StoreError
from idds_core.store import schema, tables
from idds_core.store.audit import Audit
from idds_core.store.database import Database
from idds_core.store.iterations import Iterations
from idds_core.store.jobs import Jobs
from idds_core.store.keeping import Keeping
from idds_core.store.outbox import Outbox
from idds_core.store.outputs import Outputs
from idds_core.store.points import Points
from idds_core.store.queue import Queue
from idds_core.store.reports import Reports
from idds_core.store.retention import Retention
from idds_core.store.reuse import Reuse
from idds_core.store.revisions import Revisions
from idds_core.store.steady import Steady
from idds_core.store.topups import TopUps
from idds_core.store.usage import StepUsage, usage_by_step
from idds_core.store.workflows import Workflows

__all__ = ["OwnerLock", "Store", "open_store", "upgrade_store"]

HEAD = "0007"


class Store:
    """The only truth.

    Attributes
    ----------
    workflows, iterations, points, jobs, steady, audit, retention, reports, outbox, keeping, queue, reuse, revisions,
        outputs, top_ups : the parts.
    id : random, made once; part of every key, so that nothing of another store is ever touched.

    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self.outbox = Outbox(database)
        self.workflows = Workflows(database, self.outbox.announce)
        self.iterations = Iterations(database)
        self.points = Points(database)
        self.jobs = Jobs(database)
        self.steady = Steady(database)
        self.audit = Audit(database)
        self.retention = Retention(database)
        self.reports = Reports(database)
        self.keeping = Keeping(database)
        self.queue = Queue(database)
        self.reuse = Reuse(database)
        self.revisions = Revisions(database, self.workflows)
        self.outputs = Outputs(database)
        self.top_ups = TopUps(database)
        self.id = self.workflows.meta("store_id") or ""

    def own(self, token: str) -> None:
        """From now on only who has this token may write, with this store; others fail at their next transaction."""
        with self._db.transaction():
            self._db.put(tables.meta, [{"key": "owner", "value": token}])
        self._db.fence = token

    def check_owner(self) -> None:
        """Ask before an act whether we may still write: who was stopped for long wakes up anywhere.

        Raises
        ------
        StoreError
            E-ENGINE-003 when another engine has followed.

        """
        self._db.check_fence()

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

    def usage(self, loop_id: int) -> list[StepUsage]:
        """What the jobs of a loop used, step by step."""
        return usage_by_step(self._db, loop_id)

    @property
    def generation(self) -> int:
        """Changes whenever this process may have changed a loop or workflow."""
        return self._db.generation

    @property
    def unsealed(self) -> int:
        """About how many events this process has written since it last sealed any."""
        return self._db.unsealed

    @property
    def commits(self) -> int:
        """Number of durable commits made so far."""
        return self._db.commits

    @property
    def revision(self) -> str | None:
        """Revision of its schema."""
        return schema.revision_of(self._db)

    @property
    def path(self) -> Path:
        """The file, or where it would be: what is beside it is beside it with any database."""
        return self._db.path

    @property
    def address(self) -> Path | str:
        """What it is opened by; may hold a secret."""
        return self._db.address

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def open_store(
    where: Path | str,
    mode: Literal["write", "read"] = "write",
    clock: Callable[[], float] | None = None,
    durability: Literal["full", "normal"] = "full",
    journal: Literal["wal", "delete"] = "wal",
    folder: Path | None = None,
) -> Store:
    """Open a store; it is made first when there is none and it is opened for writing.

    Parameters
    ----------
    where : the SQLite file, or the address of a PostgreSQL database.
    clock : seconds since the epoch; by default this machine's, or the PostgreSQL server's.
    folder : of a PostgreSQL store: the work folder.

    Raises
    ------
    StoreError
        When the file is missing (reading), damaged, read-only, or of a schema that this version cannot work with.

    """

    def opened() -> Database:
        return _database(where, mode, clock, durability, journal, folder)

    if mode == "read" and not is_postgres(where) and not Path(where).exists():
        raise _none_here(str(where), "no such file")
    database = opened()
    try:
        revision = schema.revision_of(database)
        if revision is not None:
            schema.need_schema(database, revision, HEAD)
        elif mode == "read":
            raise _none_here(database.where, "the file is empty")
        else:
            database.close()
            schema.migrate(database)
            database = opened()
        store = Store(database)
        if not store.id and mode == "write":  # new, or whoever made it died before the last line
            schema.identify(database)
            store = Store(database)
        return store
    except BaseException:
        database.close()
        raise


def _database(
    where: Path | str,
    mode: Literal["write", "read"],
    clock: Callable[[], float] | None,
    durability: Literal["full", "normal"],
    journal: Literal["wal", "delete"],
    folder: Path | None,
) -> Database:
    if not is_postgres(where):
        return Database(Path(where), mode, clock or time.time, durability, journal)
    from idds_core.store.postgres import PostgresDatabase

    return PostgresDatabase(str(where), folder or Path.cwd(), mode, clock, durability)


def is_postgres(where: object) -> bool:
    """Whether a store's address is that of a PostgreSQL database.

    >>> is_postgres("postgresql://me@host/scans"), is_postgres("/data/idds.db")
    (True, False)
    """
    return isinstance(where, str) and where.startswith(("postgresql://", "postgresql+psycopg://"))


def upgrade_store(path: Path, clock: Callable[[], float] = time.time) -> tuple[str, str | None]:
    """Bring a store to today's schema; nobody else may work on it.

    Returns
    -------
    The revision before and the one now.

    Raises
    ------
    StoreError
        When it is no store, is of a newer version, or cannot be migrated; it is as it was then.

    """
    if not path.exists():
        raise _none_here(str(path), "no such file")
    database = Database(path, "write", clock)
    try:
        before = schema.revision_of(database)
        if before is None:
            raise _none_here(str(path), "the file is empty")
        if before >= HEAD:
            schema.need_schema(database, before, HEAD)
            return before, before
        database.close()
        schema.migrate(database)
        return before, schema.revision_of(database)
    finally:
        database.close()


def _none_here(where: str, why: str) -> StoreError:
    return StoreError.of("E-STORE-006", "there is no store here", why, where, "Give the --workdir of a run.")


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
