"""A small world for tests of store and agents: a definition, a store, agents with a scripted provider."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

from idds_agents.carrier import Carrier
from idds_agents.catalog import Catalog
from idds_agents.conductor import Conductor
from idds_agents.learner_child import answer as child_answer
from idds_agents.transformer import Answer, Transformer
from idds_core.definition import Definition, validate
from idds_core.history import History
from idds_core.model import Loop, Requirements, Retry, Step, chain
from idds_core.ports import JobReport, JobSpec
from idds_core.settings import Settings
from idds_core.space import Real, Space
from idds_core.states import TERMINAL
from idds_core.store import LoopRecord, Store, open_store
from idds_core.testing.fakes import ManualClock, ScriptedProvider, arguments, success
from idds_learners import MaxPoints, Sobol

#: stores of worlds, which the fixture of all tests closes
OPENED: list[Store] = []


def function(name: str, *arguments: str, attempts: int = 3, wait: float = 0.0) -> Step:
    """A step whose function is never imported: the provider is scripted."""
    return Step(
        name=name, function=f"somewhere:{name}", arguments=arguments, retry=Retry(attempts, wait),
        requires=Requirements(),
    )  # fmt: skip


def toy(points: int = 12, batch: int = 4, **changes: Any) -> Definition:
    """Two steps at Sobol points of the unit square."""
    loop = {
        "name": "toy",
        "space": Space(x=Real(0, 1), y=Real(0, 1)),
        "body": chain(function("make", "x", "y"), function("measure", "events")),
        "learner": Sobol(),
        "until": MaxPoints(points),
        "batch": batch,
        "first": batch,
        "targets": ("z",),
        **changes,
    }
    return validate(Loop(**loop))


@cache
def _template() -> bytes:
    """An empty store's file, made once: the migrations cost more than a whole test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "idds.db"
        open_store(path).close()
        return path.read_bytes()


def empty_store(path: Path, clock: Callable[[], float]) -> Store:
    """A store of its own at `path`, without waiting for the disk."""
    path.write_bytes(_template())
    return _opened(path, clock)


def _opened(path: Path, clock: Callable[[], float]) -> Store:
    store = open_store(path, clock=clock, durability="normal")
    OPENED.append(store)
    return store


def honest(spec: JobSpec) -> JobReport:
    """Both steps of the toy, done right."""
    given = arguments(spec)
    return success(spec, {"events": given["x"] * given["y"]} if "x" in given else {"z": given["events"]})


class InlineThinker:
    """The learner's process without the process; `answers` can be replaced."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Callable[[Mapping[str, Any]], Mapping[str, Any]] = child_answer

    def think(
        self, document: Mapping[str, Any], history: Mapping[str, Any], bundle: str, wake: Callable[[], None]
    ) -> Future[Answer]:
        """The answer, at once."""
        self.asked += 1
        future: Future[Answer] = Future()
        try:
            future.set_result(Answer(self.answer({"loop": document, "history": history, "bundle": bundle})))
        except Exception as error:  # noqa: BLE001 - handed on, as the real one does
            future.set_exception(error)
        wake()
        return future


class World:
    """Agents that meet in one store; `restart` is what a crash and a new engine are."""

    def __init__(self, folder: Path, provider: ScriptedProvider, definition: Definition | None = None) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.provider = provider
        self.definition = definition or toy()
        self.settings = Settings()
        self.thinker = InlineThinker()
        self.store: Store = empty_store(folder / "idds.db", self.clock)
        self.workflow = self.store.workflows.add(self.definition, "bundle", 7)
        self.engines = 0
        self._agents()

    def _agents(self) -> None:
        self.engines += 1
        catalog = Catalog(self.store, self.folder, self.workflow.id)
        owner = f"engine-{self.engines}"
        self.carrier = Carrier(self.store, self.provider, catalog, self.folder, self.settings, owner)
        self.conductor = Conductor(self.store, catalog)
        self.transformer = Transformer(self.store, catalog, self.thinker, lambda: None)

    def restart(self) -> None:
        """The engine died; another one takes over."""
        self.store.close()
        self.store = _opened(self.folder / "idds.db", self.clock)
        self._agents()
        self.carrier.recover()

    @property
    def loop(self) -> LoopRecord:
        """The one loop."""
        return self.store.workflows.loops(self.workflow.id)[0]

    @property
    def history(self) -> History:
        """The history of the one loop, or of the hidden one."""
        return self.history_of(self.loop)

    def history_of(self, loop: LoopRecord) -> History:
        """The history of a loop."""
        return self.store.iterations.history(loop.id, self.definition.loop(loop.name), self.workflow.seed)

    def loops(self) -> dict[str, LoopRecord]:
        """Name -> loop, of all loops there are."""
        return {loop.name: loop for loop in self.store.workflows.loops(self.workflow.id)}

    def turn(self) -> int:
        """Each agent once."""
        moved = self.transformer.start()
        moved += self.transformer.step()
        moved += self.carrier.step()
        moved += self.conductor.step()
        return moved

    def run(self, turns: int = 500) -> LoopRecord:
        """Turn until the loop has ended or nothing moves any more."""
        idle = 0
        for _ in range(turns):
            idle = 0 if self.turn() else idle + 1
            if self.loop.state in TERMINAL["loop"] or idle > 3:
                break
        return self.loop

    def violations(self) -> dict[str, list[str]]:
        """Invariants that do not hold."""
        self.store.audit.seal_all()
        return {name: found for name, found in self.store.audit.verify().items() if found}
