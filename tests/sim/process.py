"""An engine's process: the real engine, and what dies with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.engine import Engine
from idds_agents.transformer import Answer
from idds_core.errors import IddsError
from idds_core.settings import Settings
from idds_core.store import Store
from tests.sim.machine import SimDatabase
from tests.sim.trouble import spoilt

if TYPE_CHECKING:
    from tests.sim.schedule import Schedule

__all__ = ["SETTINGS", "Postman", "Process"]

SETTINGS = Settings(sweep_seconds=20.0)


class _Waker:
    """Time passes in the schedule, not in the engine."""

    nudged = False

    def wake(self) -> None:
        """Nobody waits."""


class Postman:
    """Delivers messages at once, in the engine's own process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        process.store.outbox.targets = ("somebody",)
        self._arrived: list[int] = []

    def collect(self) -> int:
        """Write what has arrived."""
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._process.store.outbox.arrived(arrived)
        return len(arrived)

    def dispatch(self) -> int:
        """Deliver what is due."""
        due = [m for m in self._process.store.outbox.due(("somebody",)) if m.id not in self._arrived]
        for message in due:
            self._process.edge("outbox.send: before")
            self._process.world.told(message)
            self._arrived.append(message.id)
        return len(due)


class _Engine(Engine):
    """As much is free as the schedule says."""

    def free_space(self) -> tuple[Path, int]:
        """Where, and how much is free."""
        world: Schedule = self.transformer.thinker.world  # type: ignore[attr-defined]
        return world.path.parent, world.trouble.free_bytes


class Process:
    """An engine's process: what dies with it is in here."""

    def __init__(self, world: Schedule, number: int) -> None:
        self.world, self.number = world, number
        self.alive, self.owns = True, False
        self.asleep = self.late = False  # stalled now, or has been
        self.thoughts: list[tuple[float, Future[Answer], Answer | IddsError]] = []
        self.database = SimDatabase(world.disk, world.path, world.engine_clock, self.edge)
        self.store = Store(self.database)
        self.provider = world.provider

    def boot(self) -> None:
        """As a new engine begins: it owns the store, takes over what runs, and ends what nobody owns."""
        if self.world.fenced:
            self.store.own(f"engine {self.number}")
        self.owns = True
        world = self.world
        waker: Any = _Waker()
        postman: Any = Postman(self)
        self.engine = _Engine(
            self.store, self.provider, self, waker, world.folder, SETTINGS, world.workflow_id, postman
        )
        self.engine.carrier.recover()
        self.engine.carrier.reap()

    def edge(self, name: str) -> None:
        """The process is at an edge."""
        self.world.at_edge(self, name)

    def think(
        self, document: Mapping[str, Any], history: Mapping[str, Any], bundle: str, wake: Callable[[], None]
    ) -> Future[Answer]:
        """The learner's answer, soon or later."""
        del bundle, wake
        self.edge("learner.think: before")
        future: Future[Answer] = Future()
        answer = Answer(self.world.learner({"loop": document, "history": history}))
        fault = self.world.fate.fault("learner")
        said = answer if fault in (None, "late") else spoilt(answer, fault, history)
        wait = self.world.fate.uniform(1, 30) if fault == "late" else 0.05
        self.thoughts.append((self.world.clock() + wait, future, said))
        return future

    def awake(self) -> None:
        """Answers whose time has come."""
        now = self.world.clock()
        for due, future, said in self.thoughts:
            if due > now or future.done():
                continue
            if isinstance(said, IddsError):
                future.set_exception(said)
            else:
                future.set_result(said)

    def answered(self) -> bool:
        """Whether an answer has come that nobody has taken; it is ready to be taken then."""
        self.awake()
        before, self.thoughts = self.thoughts, [t for t in self.thoughts if not t[1].done()]
        return len(self.thoughts) < len(before)

    def bury(self) -> None:
        """What the kernel does."""
        self.alive = False
        self.database.close()
