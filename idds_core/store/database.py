"""The connection, its transactions, and the one door through which every state moves."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc

from idds_core.errors import IddsError, StoreError
from idds_core.states import TERMINAL, may_move
from idds_core.store import tables
from idds_core.store.moves import event_statement, move_statement

__all__ = ["Database"]

_BUSY_MS = 30_000


def _counters() -> Any:
    a, b = tables.counter.c, tables.counter_delta.c
    loop: Any = sa.bindparam("loop")
    both = sa.union_all(
        sa.select(a.name, a.value.label("n")).where(a.loop_id == loop),
        sa.select(b.name, b.delta.label("n")).where(b.loop_id == loop),
    ).subquery()
    return sa.select(both.c.name, sa.func.sum(both.c.n)).group_by(both.c.name)


_COUNTERS = _counters()
_DELTAS = tables.counter_delta.c
_TAKEN = sa.delete(tables.counter_delta).returning(_DELTAS.loop_id, _DELTAS.name, _DELTAS.delta)
_OWNER = sa.select(tables.meta.c.value).where(tables.meta.c.key == sa.literal_column("'owner'"))


class _Compiled(NamedTuple):
    """A statement as the driver wants it: text, names of the places, values that are part of it, type of its rows."""

    text: str
    names: tuple[str, ...]
    fixed: dict[str, Any]
    row: Any


@cache
def _insert_text(table: str, columns: tuple[str, ...], place: str) -> str:
    """Names are those of our own tables, never of anybody's data."""
    named = ", ".join(f'"{column}"' for column in columns)
    return f'INSERT INTO "{table}" ({named}) VALUES ({", ".join([place] * len(columns))})'


class Database:
    """One SQLite file, opened once; the base of what stands on another engine.

    Parameters
    ----------
    path : the file; its folder must exist, and is where relative paths of the record begin.
    mode : "write" for the engine and for commands, "read" for looking (never blocks the engine).
    clock : seconds since the epoch; injected.
    durability : "full" fsyncs every commit, "normal" may lose the last ones on power loss.
    journal : "wal", or "delete" (a rollback journal) where several machines see the file.

    Attributes
    ----------
    address : what it is opened by. where : the same for people, without any secret.
    commits : durable commits made so far.
    fence : where several machines see the file: the token of the engine that may write; None guards nothing.
    generation : changes whenever this connection may have changed a loop or workflow; what was read before is stale.
    unsealed : about how many events were written since the sealer came; a hint, lost with the process.
    touched : points of many jobs at which something has ended since somebody looked; a hint, lost with the process.

    """

    #: what the driver raises, and how it writes the place of a value
    _errors: tuple[type[Exception], ...] = (sqlite3.Error,)
    _place = "?"
    LISTS_TABLES = "SELECT name FROM sqlite_master"

    def __init__(
        self,
        path: Path,
        mode: Literal["write", "read"] = "write",
        clock: Callable[[], float] = time.time,
        durability: Literal["full", "normal"] = "full",
        journal: Literal["wal", "delete"] = "wal",
    ) -> None:
        self.path = path
        self.address: Path | str = path
        self.where = str(path)
        self.mode = mode
        self.now = clock
        self.commits = 0
        self.generation = 0
        self.unsealed = 0
        self.touched: set[int] = set()
        self.fence: str | None = None
        self._durability = durability
        self.journal = journal
        self._engine = self._make_engine()
        self._connection: sa.Connection | None = None
        self._deltas: Counter[tuple[int, str]] = Counter()
        self._statements: dict[Any, _Compiled] = {}

    # ------------------------------------------------------------------ connection
    def _make_engine(self) -> sa.Engine:
        read = self.mode == "read"
        url = f"sqlite:///file:{self.path}?mode={'ro' if read else 'rwc'}&uri=true"
        engine = sa.create_engine(url, poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})

        def connect(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # the driver must not begin transactions of its own
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            cursor.execute("PRAGMA foreign_keys=ON")
            if read:
                cursor.execute("PRAGMA query_only=ON")
            else:
                cursor.execute(f"PRAGMA journal_mode={self.journal.upper()}")
                # EXTRA: the end of a transaction is the removal of a file, which must be durable as well
                level = "EXTRA" if (self._durability, self.journal) == ("full", "delete") else self._durability.upper()
                cursor.execute(f"PRAGMA synchronous={level}")
            cursor.close()

        sa.event.listen(engine, "connect", connect)
        sa.event.listen(engine, "begin", self._begin)
        sa.event.listen(engine, "handle_error", self._translate)
        return engine

    def _begin(self, connection: sa.Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        try:
            raw.execute("BEGIN" if self.mode == "read" else "BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self.explain(error) or error from error

    def _translate(self, context: Any) -> None:
        error = self.explain(context.original_exception)
        if error is not None:
            raise error from context.original_exception

    def explain(self, error: BaseException) -> StoreError | None:
        """The coded error that stands for a driver's, or None when it is no fault of the file or disk."""
        text = str(error)
        cases = [
            (
                ("disk is full", "disk I/O error"),
                "E-STORE-002",
                "the disk is full or failing",
                "Free some space, then run the same command again; nothing acknowledged was lost.",
            ),
            (
                ("malformed", "not a database", "file is encrypted"),
                "E-STORE-003",
                "the database is damaged",
                "'idds-core db restore BACKUP', or move the file away to begin anew.",
            ),
            (
                ("readonly", "read-only", "unable to open"),
                "E-STORE-004",
                "the database cannot be written or opened",
                "Check the folder's permissions, or give another --workdir.",
            ),
            (("locked",), "E-STORE-005", "the database is locked by another program", "End that program."),
        ]
        for words, code, what, fix in cases:
            if any(word in text for word in words):
                return StoreError.of(code, what, text, self.where, fix)
        return None

    def connect(self) -> sa.Connection:
        """The one connection, opened when first needed."""
        if self._connection is None:
            try:
                self._connection = self._engine.connect()
            except exc.DBAPIError as error:
                raise self.explain(error) or error from error
        return self._connection

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()

    def damage(self, connection: sa.Connection) -> list[str]:
        """What is wrong with the file itself."""
        return [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(10)") if row[0] != "ok"]

    def migrated_by(self) -> dict[str, Any]:
        """What the migration tool needs to reach it."""
        return {"path": self.path, "journal": self.journal}

    # ------------------------------------------------------------------ transactions
    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One durable transaction; inside another it joins that one, so that many moves share one commit."""
        connection = self.connect()
        if connection.in_transaction():
            yield connection
            return
        before = self._changes(connection)
        try:
            with self._opened(connection):
                self.check_fence()
                yield connection
                rows = [{"loop_id": i, "name": n, "delta": d} for (i, n), d in self._deltas.items() if d]
                if rows:
                    self.insert(tables.counter_delta, rows)
        except BaseException:
            self.generation += 1  # what was read inside is not so
            raise
        finally:
            self._deltas.clear()
        self.commits += self._changes(connection) > before

    def _opened(self, connection: sa.Connection, *, read: bool = False) -> AbstractContextManager[Any]:  # noqa: ARG002
        """A transaction; one that only reads sees one state of everything, as all do here."""
        return connection.begin()

    def _changes(self, connection: sa.Connection) -> int:
        """A number that grows with each row written."""
        return int(self._raw(connection).total_changes)

    @staticmethod
    def _raw(connection: sa.Connection) -> Any:
        return connection.connection.dbapi_connection

    def check_fence(self) -> None:
        """Refuse to go on when another engine has taken over; each transaction asks this."""
        if self.fence is None:
            return
        if [row.value for row in self.run(_OWNER)] != [self.fence]:
            raise StoreError.of(
                "E-ENGINE-003",
                "another engine has taken over this folder",
                "our heartbeat had stopped for too long",
                self.where,
                "Nothing is lost: it goes on there; see 'attach'.",
            )

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent view; joins the open transaction. It writes nothing, so it costs no fsync."""
        connection = self.connect()
        if connection.in_transaction():
            yield connection
            return
        with self._opened(connection, read=True):
            yield connection

    def alone(self, loop_id: int) -> None:
        """Until the open transaction ends, nobody else numbers anything of a loop; here nobody writes beside us."""

    # ------------------------------------------------------------------ hot statements
    def run(self, statement: sa.Executable, values: Mapping[str, Any] | None = None) -> list[Any]:
        """Run one of the statements that are asked at each turn; returns its rows, as named tuples.

        The statement is SQLAlchemy's, compiled once; the driver runs it. For a statement of a few microseconds the
        ordinary way costs several times the work itself. One that writes must stand in a `transaction`.
        """
        connection = self.connect()
        compiled = self._compiled(statement)
        try:
            found = self._fetch(
                self._raw(connection), compiled, {**compiled.fixed, **values} if values else compiled.fixed
            )
        except self._errors as error:
            raise self.explain(error) or error from error
        return found if compiled.row is None else list(map(compiled.row._make, found))

    def _fetch(self, raw: Any, compiled: _Compiled, given: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = raw.execute(compiled.text, [given[name] for name in compiled.names]).fetchall()
        return found

    def run_many(self, statement: sa.Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each of the rows, in the open transaction; each row has all its values."""
        connection = self.connect()
        compiled = self._compiled(statement)
        try:
            self._run_rows(self._raw(connection), compiled, rows)
        except self._errors as error:
            raise self.explain(error) or error from error

    def _run_rows(self, raw: Any, compiled: _Compiled, rows: Sequence[Mapping[str, Any]]) -> None:
        raw.executemany(compiled.text, map(itemgetter(*compiled.names), rows))

    def insert(self, table: sa.Table, rows: Sequence[Mapping[str, Any]], conflict: str = "") -> None:
        """Insert rows, all with the same columns, in the open transaction; `conflict`: SQL for those that are there."""
        connection = self.connect()
        text = _insert_text(table.name, tuple(rows[0]), self._place) + conflict
        try:
            self._write_rows(self._raw(connection), text, [tuple(row.values()) for row in rows])
        except self._errors as error:
            raise self.explain(error) or error from error

    def _write_rows(self, raw: Any, text: str, rows: list[tuple[Any, ...]]) -> None:
        raw.executemany(text, rows)

    def insert_new(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows in the open transaction, but for those that are there already."""
        self.insert(table, rows, " ON CONFLICT DO NOTHING")

    def put(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows in the open transaction; those that are there already get these values."""
        keys = [column.name for column in table.primary_key]
        values = ", ".join(f'"{name}" = excluded."{name}"' for name in rows[0] if name not in keys)
        self.insert(table, rows, f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {values}")

    def _compiled(self, statement: sa.Executable) -> _Compiled:
        known = self._statements.get(statement)
        if known is None:
            compiled: Any = statement.compile(dialect=self._engine.dialect)  # type: ignore[attr-defined]
            fixed = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
            columns = [str(column.key) for column in getattr(statement, "selected_columns", ())]
            row = namedtuple("Row", columns, rename=True) if columns else None  # noqa: PYI024 - fields known only now
            known = _Compiled(str(compiled), tuple(compiled.positiontup or ()), fixed, row)
            self._statements[statement] = known
        return known

    def count(self, loop_id: int, name: str, delta: int) -> None:
        """Add to a counter of a loop, in the open transaction."""
        self._deltas[loop_id, name] += delta

    def fold(self) -> None:
        """Add the deltas of counters to their rows, in the open transaction; each once, whoever adds beside us."""
        totals: Counter[tuple[int, str]] = Counter()
        for loop_id, name, delta in self.run(_TAKEN):
            totals[loop_id, name] += delta
        if totals:
            rows = [{"loop_id": i, "name": n, "value": total} for (i, n), total in sorted(totals.items())]
            more = " ON CONFLICT (loop_id, name) DO UPDATE SET value = counter.value + excluded.value"
            self.insert(tables.counter, rows, more)

    def counters(self, loop_id: int) -> dict[str, int]:
        """Counters of a loop: folded values, deltas not folded yet, and those of the open transaction."""
        found = Counter({name: int(n) for name, n in self.run(_COUNTERS, {"loop": loop_id})})
        for (loop, name), delta in self._deltas.items():
            if loop == loop_id:
                found[name] += delta
        return dict(found)

    # ------------------------------------------------------------------ the one door
    def move(
        self,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
        old: str,
        new: str,
        *,
        actor: str,
        columns: tuple[str, ...] = (),
    ) -> list[int]:
        """Move entities from one state to another: one compare-and-set statement, and an event row for each.

        Parameters
        ----------
        rows : mappings with "id", optionally "reason", and a value for each of `columns`.

        Returns
        -------
        Ids of those moved; the others were not in the state `old` any more, which is nobody's fault.

        """
        if not rows:
            return []
        if entity in ("loop", "workflow"):
            self.generation += 1
        if not may_move(entity, old, new):
            raise IddsError.of("E-STORE-010", f"a {entity} cannot move from {old} to {new}")
        now = self.now()
        text = json.dumps(rows if "reason" in rows[0] else [{**r, "reason": ""} for r in rows])
        with self.transaction():
            statement = move_statement(entity, new in TERMINAL[entity], columns)
            values = {"rows": text, "old_": old, "new_": new, "now_": now}
            moved = [row[0] for row in self.run(statement, values)]
            if len(moved) < len(rows):
                kept = set(moved)
                text = json.dumps([{"id": r["id"], "reason": r.get("reason", "")} for r in rows if r["id"] in kept])
            if moved:
                self.unsealed += len(moved)
                self.run(
                    event_statement(),
                    {"rows": text, "entity_": entity, "old_": old, "new_": new, "actor_": actor, "now_": now},
                )
        return moved
