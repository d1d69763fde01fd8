"""Messages to the outside, written in the transaction that makes them true, and what became of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile

import sqlalchemy as sa

from idds_core.states import TERMINAL, LoopState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.records import Message

__all__ = ["Outbox"]

_COLUMNS = [tables.outbox.c[n] for n in ("id", "target", "kind", "title", "body", "tries", "created")]
#: asked at each turn of an engine, so built once
_OPEN = (
    sa.select(*_COLUMNS, tables.outbox.c.not_before)
    .where(tables.outbox.c.done.is_(None), tables.outbox.c.target == sa.bindparam("target"))
    .order_by(tables.outbox.c.id)
    .limit(sa.bindparam("limit"))
)
_LONGEST = 4000
_TOLD = {"workflow": TERMINAL["workflow"], "loop": frozenset({LoopState.HELD})}


class Outbox:
    """The store's part for messages.

    Attributes
    ----------
    targets : names of those who get what is put from now on; nobody by default.
    workdir : the work folder that messages name.

    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self.targets: tuple[str, ...] = ()
        self.workdir = database.path.parent

    def put(self, subject: str, kind: str, title: str, body: str) -> None:
        """A message for each target; the same subject is told once, ever."""
        if not self.targets:
            return
        fields = {"subject": subject, "kind": kind, "title": title[:200], "body": body[:_LONGEST]}
        rows = [{"target": target, **fields, "created": self._db.now()} for target in self.targets]
        with self._db.transaction() as connection:
            connection.execute(sa.insert(tables.outbox).prefix_with("OR IGNORE"), rows)

    def announce(self, entity: str, id_: int, new: str, reason: str) -> None:
        """A workflow or loop has moved to a state that people want to hear of; in the transaction of the move."""
        if not self.targets or new not in _TOLD.get(entity, ()):
            return
        with self._db.reading() as connection:
            if entity == "workflow":
                path, _ = self._workflow(connection, id_)
                self.put(f"workflow {id_} {new}", "concluded", f"{path}: {new}", self._body(connection, id_, reason))
                return
            loop, version = tables.loop.c, tables.loop.c.version
            row = connection.execute(sa.select(loop.name, loop.workflow_id, version).where(loop.id == id_)).one()
            path, workdir = self._workflow(connection, row.workflow_id)
            hint = f"\n\nMend it, then: idds-core resume {path} --workdir {workdir}"
            body = self._body(connection, row.workflow_id, reason)
            self.put(f"loop {id_} {new} {row.version}", "held", f"{path}/{row.name}: {new}", body + hint)

    def failed_often(self, loop_id: int, failed: int, ended: int) -> None:
        """Many points of a loop have failed; told once for a loop."""
        loop = tables.loop.c
        with self._db.reading() as connection:
            row = connection.execute(sa.select(loop.name, loop.workflow_id).where(loop.id == loop_id)).one()
            path, _ = self._workflow(connection, row.workflow_id)
            reason = f"{failed} of {ended} points that have ended failed"
            title = f"{path}/{row.name}: {reason}"
            self.put(f"loop {loop_id} failed often", "failed often", title, self._body(connection, row.workflow_id, ""))

    def _workflow(self, connection: sa.Connection, workflow_id: int) -> tuple[str, str]:
        """Path of a workflow, and where its store is."""
        c = tables.workflow.c
        name, revision = connection.execute(sa.select(c.name, c.revision).where(c.id == workflow_id)).one()
        return (name if revision == 1 else f"{name}~{revision}"), str(self.workdir)

    def _body(self, connection: sa.Connection, workflow_id: int, reason: str) -> str:
        loop, point = tables.loop.c, tables.point.c
        lines = [reason] if reason else []
        for row in connection.execute(sa.select(loop.id, loop.name, loop.state).where(loop.workflow_id == workflow_id)):
            query = sa.select(point.state, sa.func.count()).where(point.loop_id == row.id).group_by(point.state)
            counts = ", ".join(f"{n} {state}" for state, n in connection.execute(query.order_by(point.state)))
            lines.append(f"{row.name}: {row.state}, points: {counts or 'none'}")
        return "\n".join([*lines, str(self.workdir)])

    def due(self, targets: Collection[str], limit: int = 20) -> list[Message]:
        """Messages to these that may be tried now, oldest first; for each target up to the first that must still wait.

        limit : for each target, so that one that takes nothing keeps nobody waiting.
        """
        found, now = [], self._db.now()
        with self._db.reading():
            for target in targets:
                rows = self._db.run(_OPEN, {"target": target, "limit": limit})
                found += [Message(*row[:-1]) for row in takewhile(lambda row: row.not_before <= now, rows)]
        return sorted(found, key=lambda message: message.id)

    def waiting(self, targets: Collection[str]) -> int:
        """Number of messages to these that have not arrived."""
        c = tables.outbox.c
        with self._db.reading() as connection:
            query = (
                sa.select(sa.func.count())
                .select_from(tables.outbox)
                .where(c.done.is_(None), c.target.in_(list(targets)))
            )
            return int(connection.execute(query).scalar_one())

    def again(self, targets: Collection[str]) -> None:
        """A new engine tries at once whatever the pause was."""
        c = tables.outbox.c
        with self._db.transaction() as connection:
            connection.execute(
                sa.update(tables.outbox).where(c.done.is_(None), c.target.in_(list(targets))).values(not_before=0.0)
            )

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
