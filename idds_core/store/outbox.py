"""Messages to the outside, written in the transaction that makes them true, and what became of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.records import Message

__all__ = ["Outbox"]

_COLUMNS = [tables.outbox.c[n] for n in ("id", "target", "kind", "title", "body", "tries", "created")]
_LONGEST = 4000


class Outbox:
    """The store's part for messages.

    Attributes
    ----------
    targets : names of those who get what is put from now on; nobody by default.

    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self.targets: tuple[str, ...] = ()

    def put(self, subject: str, kind: str, title: str, body: str) -> None:
        """A message for each target; the same subject is told once, ever."""
        if not self.targets:
            return
        fields = {"subject": subject, "kind": kind, "title": title[:200], "body": body[:_LONGEST]}
        rows = [{"target": target, **fields, "created": self._db.now()} for target in self.targets]
        with self._db.transaction() as connection:
            connection.execute(sa.insert(tables.outbox).prefix_with("OR IGNORE"), rows)

    def due(self, targets: Collection[str], limit: int = 20) -> list[Message]:
        """Messages to these that may be tried now, oldest first."""
        c = tables.outbox.c
        where = (c.done.is_(None), c.not_before <= self._db.now(), c.target.in_(list(targets)))
        with self._db.reading() as connection:
            rows = connection.execute(sa.select(*_COLUMNS).where(*where).order_by(c.id).limit(limit))
            return [Message(*row) for row in rows]

    def waiting(self) -> int:
        """Number of messages that have not arrived."""
        c = tables.outbox.c
        with self._db.reading() as connection:
            query = sa.select(sa.func.count()).select_from(tables.outbox).where(c.done.is_(None))
            return int(connection.execute(query).scalar_one())

    def arrived(self, ids: Sequence[int]) -> None:
        """These have been taken by their target."""
        self._end(ids, "sent")

    def give_up(self, ids: Sequence[int], why: str) -> None:
        """These will not be tried again."""
        self._end(ids, why)

    def _end(self, ids: Sequence[int], answer: str) -> None:
        c = tables.outbox.c
        with self._db.transaction() as connection:
            connection.execute(
                sa.update(tables.outbox)
                .where(c.id.in_(list(ids)), c.done.is_(None))
                .values(done=self._db.now(), answer=answer, tries=c.tries + 1)
            )

    def put_off(self, message_id: int, seconds: float, why: str) -> None:
        """It did not arrive; try again later."""
        c = tables.outbox.c
        with self._db.transaction() as connection:
            connection.execute(
                sa.update(tables.outbox)
                .where(c.id == message_id, c.done.is_(None))
                .values(tries=c.tries + 1, not_before=self._db.now() + seconds, answer=why)
            )
