"""Workflows and loops: what was submitted, what is wished, where it stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from idds_core.definition import Definition
from idds_core.history import strict_json
from idds_core.states import LoopState, Wish, WorkflowState
from idds_core.store import tables
from idds_core.store.database import Database
from idds_core.store.iterations import Iterations
from idds_core.store.records import Command, LoopRecord, WorkflowRecord

__all__ = ["Workflows"]

_WORKFLOW = [
    tables.workflow.c[n]
    for n in (
        "id",
        "name",
        "revision",
        "definition",
        "bundle",
        "seed",
        "state",
        "wish",
        "reason",
        "continues",
        "reuse",
    )
]
_LOOP = [
    tables.loop.c[n]
    for n in (
        "id",
        "workflow_id",
        "name",
        "state",
        "wish",
        "reason",
        "created",
        "before_s",
        "parent_point",
        "step_no",
        "unblinded",
    )
]

# Statements that are asked at each turn of an engine are built once: building one costs more than running it.
_ALL_WORKFLOWS = sa.select(*_WORKFLOW).order_by(tables.workflow.c.id)
_ONE_WORKFLOW = sa.select(*_WORKFLOW).where(tables.workflow.c.id == sa.bindparam("workflow"))
_META = sa.select(tables.meta.c.value).where(tables.meta.c.key == sa.bindparam("key"))
_LIVE: list[Any] = [sa.literal_column("'active'"), sa.literal_column("'held'")]
_LIVE_LOOPS = sa.select(*_LOOP).where(tables.loop.c.state.in_(_LIVE)).order_by(tables.loop.c.id)
_ALL_LOOPS = sa.select(*_LOOP).order_by(tables.loop.c.id)
_LOOPS_OF = _ALL_LOOPS.where(tables.loop.c.workflow_id == sa.bindparam("workflow"))
_ONE_LOOP = sa.select(*_LOOP).where(tables.loop.c.id == sa.bindparam("loop"))
_POINTS: Any = sa.func.json_each(sa.bindparam("points", type_=sa.Text)).table_valued("value")
_INSIDE = _ALL_LOOPS.where(tables.loop.c.parent_point.in_(sa.select(_POINTS.c.value)))
_OPEN_COMMANDS = (
    sa.select(*[tables.command.c[n] for n in ("id", "workflow_id", "verb", "actor", "arguments")])
    .where(tables.command.c.done.is_(None))
    .order_by(tables.command.c.id)
)


class Workflows:
    """The store's part for workflows, loops and the wishes of people."""

    def __init__(self, database: Database, announce: Callable[[str, int, str, str], None] = lambda *_: None) -> None:
        self._db = database
        self._announce = announce

    # ------------------------------------------------------------------ workflows
    def add(
        self, definition: Definition, bundle: str, seed: int, revision: int = 1, **more: int | None
    ) -> WorkflowRecord:
        """Store a workflow with its loops, ready to run; all or nothing. `more`: its `continues`, its `reuse`."""
        now = self._db.now()
        with self._db.transaction() as connection:
            row = {
                "name": definition.name,
                "revision": revision,
                "definition": definition.text,
                "bundle": bundle,
                "seed": seed,
                "state": WorkflowState.ACTIVE,
                "created": now,
                **more,
            }
            key = connection.execute(sa.insert(tables.workflow), row).inserted_primary_key
            assert key is not None
            root = definition.workflow.root
            name = definition.workflow.loops[0].name if root is None else ""
            first = {"workflow_id": key[0], "name": name, "state": LoopState.WAITING, "created": now}
            connection.execute(sa.insert(tables.loop), first)
            (loop,) = self.loops(key[0])
            self._db.move("loop", [{"id": loop.id}], LoopState.WAITING, LoopState.ACTIVE, actor="user")
            if root is not None and more.get("continues") is None:  # a revision has what the older one had
                Iterations(self._db).add(loop.id, root, 1, [{}], 1, 1)
            return self.by_id(key[0])

    def by_id(self, workflow_id: int) -> WorkflowRecord:
        """The workflow with that id."""
        return self._workflows(_ONE_WORKFLOW, workflow=workflow_id)[0]

    def all(self) -> list[WorkflowRecord]:
        """All workflows, oldest first."""
        return self._workflows(_ALL_WORKFLOWS)

    def _workflows(self, query: Any, **values: Any) -> list[WorkflowRecord]:
        rows = self._db.run(query, values)
        return [WorkflowRecord(**{**r._asdict(), "state": WorkflowState(r.state), "wish": Wish(r.wish)}) for r in rows]

    def latest(self, name: str) -> WorkflowRecord | None:
        """The newest revision of the workflow of that name."""
        return next((w for w in reversed(self.all()) if w.name == name), None)

    def finish(self, workflow_id: int, state: WorkflowState, reason: str, actor: str) -> None:
        """End a workflow."""
        self._leave("workflow", workflow_id, self.by_id(workflow_id).state, state, reason, actor)

    def _leave(self, entity: str, id_: int, old: str, new: str, reason: str, actor: str) -> bool:
        with self._db.transaction():
            moved = bool(self._db.move(entity, [{"id": id_, "reason": reason}], old, new, actor=actor))
            if moved and actor != "user":  # who did it knows
                self._announce(entity, id_, new, reason)
        return moved

    # ------------------------------------------------------------------ loops
    def loops(self, workflow_id: int | None = None) -> list[LoopRecord]:
        """Loops of a workflow, or all."""
        if workflow_id is None:
            return self._loops(_ALL_LOOPS)
        return self._loops(_LOOPS_OF, workflow=workflow_id)

    def live_loops(self) -> list[LoopRecord]:
        """Loops that are active or held, oldest first."""
        return self._loops(_LIVE_LOOPS)

    def inside(self, points: Sequence[int]) -> list[LoopRecord]:
        """The loops inside points, oldest first."""
        return self._loops(_INSIDE, points=json.dumps(list(points)))

    def loop(self, loop_id: int) -> LoopRecord:
        """The loop with that id."""
        return self._loops(_ONE_LOOP, loop=loop_id)[0]

    def _loops(self, query: Any, **values: Any) -> list[LoopRecord]:
        rows = self._db.run(query, values)
        return [LoopRecord(**{**r._asdict(), "state": LoopState(r.state), "wish": Wish(r.wish)}) for r in rows]

    def move_loop(self, loop: LoopRecord, state: LoopState, reason: str, actor: str) -> bool:
        """Move a loop from the state it was seen in."""
        return self._leave("loop", loop.id, loop.state, state, reason, actor)

    def move_workflow(self, workflow: WorkflowRecord, state: WorkflowState, reason: str, actor: str) -> bool:
        """Move a workflow from the state it was seen in."""
        return self._leave("workflow", workflow.id, workflow.state, state, reason, actor)

    # ------------------------------------------------------------------ wishes
    def wish(self, workflow_id: int, wish: Wish) -> None:
        """What the user wants of a workflow and its loops from now on."""
        self._db.generation += 1
        with self._db.transaction() as connection:
            connection.execute(
                sa.update(tables.workflow).where(tables.workflow.c.id == workflow_id).values(wish=str(wish))
            )
            connection.execute(
                sa.update(tables.loop).where(tables.loop.c.workflow_id == workflow_id).values(wish=str(wish))
            )

    def command(self, workflow_id: int, verb: str, actor: str, arguments: Mapping[str, Any] | None = None) -> int:
        """Write down what a person at another terminal wants; the engine takes it between two moves."""
        row: dict[str, Any] = {"workflow_id": workflow_id, "verb": verb, "actor": actor, "created": self._db.now()}
        row["arguments"] = None if arguments is None else strict_json(arguments)
        with self._db.transaction() as connection:
            key = connection.execute(sa.insert(tables.command), row).inserted_primary_key
        assert key is not None
        return int(key[0])

    def open_commands(self) -> list[Command]:
        """Commands that have not taken effect, in order."""
        return [
            Command(row[0], row[1], row[2], row[3], json.loads(row[4] or "{}")) for row in self._db.run(_OPEN_COMMANDS)
        ]

    def answer(self, command: Command, text: str) -> None:
        """A command has taken effect: an event, and the answer for who asked."""
        now = self._db.now()
        with self._db.transaction() as connection:
            connection.execute(
                sa.update(tables.command).where(tables.command.c.id == command.id).values(done=now, answer=text)
            )
            connection.execute(
                sa.insert(tables.event),
                {
                    "entity": "command",
                    "entity_id": command.id,
                    "old": "open",
                    "new": command.verb,
                    "actor": command.actor,
                    "reason": text,
                    "at": now,
                },
            )

    def command_answer(self, command_id: int) -> str | None:
        """The answer to a command, once it has taken effect."""
        c = tables.command.c
        with self._db.reading() as connection:
            return connection.execute(sa.select(c.answer).where(c.id == command_id)).scalar()

    def unblind(self, loop_id: int, actor: str, reason: str) -> bool:
        """From now on people see the sealed targets of a loop; an event says who did it. False: they did before."""
        now = self._db.now()
        c = tables.loop.c
        with self._db.transaction() as connection:
            moved = connection.execute(
                sa.update(tables.loop).where(c.id == loop_id, c.unblinded.is_(None)).values(unblinded=now)
            ).rowcount
            if moved:
                row = {"entity": "blinding", "entity_id": loop_id, "old": "blind", "new": "unblinded", "actor": actor}
                connection.execute(sa.insert(tables.event), {**row, "reason": reason, "at": now})
        return bool(moved)

    def meta(self, key: str) -> str | None:
        """A fact about the store itself."""
        found = self._db.run(_META, {"key": key})
        return str(found[0].value) if found else None


def ids(rows: Sequence[Any]) -> list[dict[str, int]]:
    """Rows for a move that changes nothing but the state."""
    return [{"id": row} for row in rows]
