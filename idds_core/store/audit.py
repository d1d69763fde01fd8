"""The event log with its sealer, and the count of what violates the invariants: 0 of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from idds_core.store import chain, tables
from idds_core.store.database import Database
from idds_core.store.invariants import CHECKS, COUNTERS, COUNTERS_HOLD, INVARIANTS
from idds_core.store.log import check_log
from idds_core.store.maintenance import RESTORED
from idds_core.store.mending import Mend, statements
from idds_core.store.records import EventRecord, ResultFile

__all__ = ["Audit"]


_STATEMENTS = {name: sa.text(f"{query} LIMIT 20") for name, query in INVARIANTS.items()}
_IS_RESTORED = sa.select(tables.meta.c.key).where(tables.meta.c.key == RESTORED)
_RECOUNT = sa.text(
    "SELECT l.id, " + ", ".join(f"({query})" for query in COUNTERS.values()).replace(":loop", "l.id") + " FROM loop l"
)


class Audit:
    """The store's part for events and for checking itself."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # ------------------------------------------------------------------ events
    def seal(self, limit: int = 10_000) -> int:
        """Number and chain up to `limit` events that are not sealed yet, and fold the deltas of counters.

        Returns how many; 0 when all are.
        """
        with self._db.reading() as connection:
            pending = connection.execute(sa.select(sa.exists().where(tables.event.c.seal_no.is_(None)))).scalar()
            if not pending and chain.is_whole(connection):
                return 0
        with self._db.transaction() as connection:
            sealed = chain.seal(self._db, limit)
            connection.execute(
                sa.text(
                    "INSERT INTO counter (loop_id, name, value) SELECT loop_id, name, sum(delta) FROM counter_delta"
                    " WHERE true GROUP BY loop_id, name"
                    " ON CONFLICT (loop_id, name) DO UPDATE SET value = counter.value + excluded.value"
                )
            )
            connection.execute(sa.delete(tables.counter_delta))
        self._db.unsealed = max(0, self._db.unsealed - sealed)
        return sealed

    def seal_all(self) -> None:
        """Seal whatever is not sealed yet, in small transactions."""
        while self.seal():
            pass

    def head(self) -> tuple[int, str]:
        """Number of the last sealed event, and its hash as hexadecimal digits: noted down, they say what was so far."""
        with self._db.reading() as connection:
            head = chain.head_of(connection) or chain.Head()
        return head.seal_no, head.hash.hex()

    def has_sealed(self, head: str) -> bool:
        """Whether the chain has once ended with this hash."""
        try:
            wanted = bytes.fromhex(head)
        except ValueError:
            return False
        with self._db.reading() as connection:
            query = sa.select(sa.exists().where(tables.event.c.hash == wanted))
            return bool(connection.execute(query).scalar())

    def events(self, after: int = 0, limit: int = 1000) -> list[EventRecord]:
        """Sealed events in order."""
        c = tables.event.c
        with self._db.reading() as connection:
            query = sa.select(c.id, c.seal_no, c.entity, c.entity_id, c.old, c.new, c.actor, c.reason, c.at)
            rows = connection.execute(query.where(c.seal_no > after).order_by(c.seal_no).limit(limit))
            return [EventRecord(*row) for row in rows]

    def restored(self) -> bool:
        """Whether the store came from a backup and no engine has adopted yet what runs."""
        return bool(self._db.run(_IS_RESTORED))

    def adopted(self, actor: str) -> None:
        """What ran when the store was restored is adopted or has ended."""
        row = {"entity": "store", "entity_id": 0, "old": "restored", "new": "adopted", "actor": actor}
        with self._db.transaction() as connection:
            connection.execute(sa.delete(tables.meta).where(tables.meta.c.key == RESTORED))
            connection.execute(sa.insert(tables.event), {**row, "at": self._db.now()})

    def files(self) -> list[ResultFile]:
        """All files that results name."""
        found = []
        with self._db.reading() as connection:
            query = sa.select(tables.attempt.c.path, tables.result.c.result)
            query = query.join(tables.attempt, tables.attempt.c.id == tables.result.c.attempt_id)
            query = query.where(tables.attempt.c.removed.is_(None))
            for path, text in connection.execute(query.order_by(tables.result.c.job_id)):
                for name, file in json.loads(text).get("files", {}).items():
                    found.append(ResultFile(path, name, file["path"], file["bytes"], file["sha256"]))
        return found

    # ------------------------------------------------------------------ invariants
    def verify(self) -> dict[str, list[str]]:
        """Invariant -> what violates it (empty when it holds)."""
        found: dict[str, list[str]] = {}
        with self._db.reading() as connection:
            broken = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(10)") if row[0] != "ok"]
            found["the file is sound"] = broken
            for name, statement in _STATEMENTS.items():
                found[name] = [": ".join(map(str, row)) for row in self._db.run(statement)]
            for name, check in CHECKS.items():
                found[name] = check(connection)
            found |= check_log(connection)
        found[COUNTERS_HOLD] = self._recount()
        return found

    def mends(self, violated: Iterable[str]) -> list[Mend]:
        """What statements could mend of these invariants; nothing is changed."""
        with self._db.reading() as connection:
            return statements(connection, violated, self.miscounted())

    def _recount(self) -> list[str]:
        return [f"loop {loop_id} {name}: {shown}, recount {real}" for loop_id, name, shown, real in self.miscounted()]

    def miscounted(self) -> Iterator[tuple[int, str, int, int]]:
        """Loop, name, value and recount of each counter that is wrong."""
        with self._db.reading():
            for loop_id, *numbers in self._db.run(_RECOUNT):
                counters = self._db.counters(loop_id)
                for name, real in zip(COUNTERS, numbers, strict=True):
                    if counters.get(name, 0) != real:
                        yield loop_id, name, counters.get(name, 0), real
