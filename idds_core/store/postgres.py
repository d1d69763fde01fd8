"""The same store on PostgreSQL: what is different from a SQLite file, and nothing else.

Several processes write at once here. A transaction that writes is READ COMMITTED: each of its moves is a
compare-and-set of its own, and who comes second moves nothing. One that only reads sees one state of everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
import sqlalchemy as sa
from psycopg.types.string import StrDumperUnknown

from idds_core.errors import StoreError
from idds_core.store.database import Database, _Compiled

__all__ = ["PostgresDatabase", "shown"]

_EXTRACT = re.compile(r"json_extract\(([\w.]+), '\$\.(\w+)'\)")
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
#: settings without which a commit may be lost when the power goes
_DURABLE = {"fsync": ("on",), "full_page_writes": ("on",), "synchronous_commit": ("on", "local", "remote_write",
                                                                                   "remote_apply")}  # fmt: skip
#: the first half of the keys of locks on loops
_LOOPS = 0x1DD5
_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)


def shown(url: str) -> str:
    """An address without its password.

    >>> shown("postgresql://me:secret@host/scans")
    'postgresql://me:***@host/scans'
    """
    return sa.make_url(url).render_as_string(hide_password=True)


class PostgresDatabase(Database):
    """One connection to a PostgreSQL database.

    Parameters
    ----------
    url : ``postgresql://user@host:port/database``.
    folder : the work folder, with bundles and the folders of attempts.
    mode : "write" for agents and commands, "read" for looking.
    clock : seconds since the epoch; None asks the database, so that the hosts' clocks need not agree.
    durability : "full" refuses a server that may lose acknowledged commits, "normal" takes any.

    """

    _errors = (psycopg.Error,)
    _place = "%s"
    LISTS_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"

    def __init__(
        self,
        url: str,
        folder: Path,
        mode: Literal["write", "read"] = "write",
        clock: Callable[[], float] | None = None,
        durability: Literal["full", "normal"] = "full",
    ) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._written = 0
        self._begins = ""
        super().__init__(folder / "idds.db", mode, clock or self._asked, durability)
        self.address, self.where = url, shown(url)

    # ------------------------------------------------------------------ connection
    def _make_engine(self) -> sa.Engine:
        engine = sa.create_engine(self._url, poolclass=sa.pool.StaticPool)

        def connect(connection: Any, _record: object) -> None:
            connection.adapters.register_dumper(str, _TextDumper)
            connection.autocommit = True  # as with SQLite: transactions are begun by us alone
            if self.mode == "write" and self._durability == "full":
                self._need_durable(connection)

        def executed(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
            self._written += bool(_WRITES.match(text))

        sa.event.listen(engine, "connect", connect)
        sa.event.listen(engine, "begin", self._begin)
        sa.event.listen(engine, "after_cursor_execute", executed)
        sa.event.listen(engine, "handle_error", self._translate)
        return engine

    def _begin(self, connection: sa.Connection) -> None:
        try:
            self._raw(connection).execute(self._begins or "BEGIN")
        except psycopg.Error as error:
            raise self.explain(error) or error from error

    def _need_durable(self, connection: Any) -> None:
        for name, fine in _DURABLE.items():
            (value,) = connection.execute(f"SHOW {name}").fetchone()
            if value not in fine:
                raise StoreError.of(
                    "E-STORE-013",
                    "the database may lose what it has acknowledged",
                    f"{name} is {value}",
                    self.where,
                    f"Set {name} = on at the server, or take durability = normal, which promises nothing.",
                )

    def _asked(self) -> float:
        """The database's clock."""
        try:
            return float(self._raw(self.connect()).execute(_NOW).fetchone()[0])
        except psycopg.Error as error:
            raise self.explain(error) or error from error

    def explain(self, error: BaseException) -> StoreError | None:
        """The coded error that stands for a driver's, or None when it is a fault of ours."""
        state = getattr(error, "sqlstate", None) or ""
        text = str(error).strip().partition("\n")[0]
        if state in ("40001", "40P01", "23505"):
            return StoreError.of("E-STORE-014", "two agents wanted the same rows", text, self.where,
                                 "Nothing was written; it is done again.")  # fmt: skip
        if state.startswith(("53", "58")):
            return StoreError.of("E-STORE-002", "the disk is full or failing", text, self.where,
                                 "Free some space at the server; nothing acknowledged was lost.")  # fmt: skip
        if state.startswith(("28", "42501", "3D", "25006")):
            return StoreError.of("E-STORE-004", "the database cannot be written or opened", text, self.where,
                                 "Check its name, the user's rights and the password.")  # fmt: skip
        if state.startswith(("08", "57P")) or (isinstance(error, psycopg.OperationalError) and not state):
            return StoreError.of("E-STORE-015", "the database does not answer", text, self.where,
                                 "Nothing acknowledged is lost; it is tried again.")  # fmt: skip
        return None

    def damage(self, connection: sa.Connection) -> list[str]:  # noqa: ARG002
        """Nothing: that is the server's to see."""
        return []

    def migrated_by(self) -> dict[str, Any]:
        """What the migration tool needs to reach it."""
        return {"url": self._url}

    # ------------------------------------------------------------------ transactions
    @contextmanager
    def _opened(self, connection: sa.Connection, *, read: bool = False) -> Iterator[Any]:
        self._begins = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if read or self.mode == "read" else "BEGIN"
        with connection.begin() as begun:
            yield begun

    def _changes(self, connection: sa.Connection) -> int:  # noqa: ARG002
        return self._written

    def alone(self, loop_id: int) -> None:
        """Until the open transaction ends, nobody else numbers anything of a loop."""
        self._raw(self.connect()).execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOOPS, loop_id))

    # ------------------------------------------------------------------ hot statements
    def _compiled(self, statement: sa.Executable) -> _Compiled:
        compiled = super()._compiled(statement)
        if "json_extract" in compiled.text:
            compiled = compiled._replace(text=_EXTRACT.sub(r"(CAST(\1 AS jsonb) ->> '\2')", compiled.text))
            self._statements[statement] = compiled
        return compiled

    def _fetch(self, raw: Any, compiled: _Compiled, given: Mapping[str, Any]) -> list[Any]:
        cursor = raw.execute(compiled.text, given)
        self._written += bool(_WRITES.match(compiled.text))
        return cursor.fetchall() if cursor.description is not None else []

    def _run_rows(self, raw: Any, compiled: _Compiled, rows: Sequence[Mapping[str, Any]]) -> None:
        with raw.cursor() as cursor:
            cursor.executemany(compiled.text, [{**compiled.fixed, **row} for row in rows])
        self._written += 1

    def _write_rows(self, raw: Any, text: str, rows: list[tuple[Any, ...]]) -> None:
        with raw.cursor() as cursor:
            cursor.executemany(text, rows)
        self._written += 1


#: an escape of JSON text: a whole pair of halves, or one character
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")
_ODD = re.compile(r"\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})")


def _known(found: re.Match[str]) -> str:
    return "\\ufffd" if _ODD.fullmatch(found[0]) else found[0]


class _TextDumper(StrDumperUnknown):
    """Text as PostgreSQL takes it: it knows neither NUL nor halves of characters, in JSON either."""

    def dump(self, obj: str) -> bytes:
        if "\0" in obj:
            obj = obj.replace("\0", "\ufffd")
        if "\\u" in obj:
            obj = _ESCAPE.sub(_known, obj)
        return obj.encode("utf-8", "replace")
