"""One schedule: engines live, stall and die on one store and one cluster, as the seed says, until all has ended."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from idds_agents.transformer import Answer
from idds_core.errors import StoreError
from idds_core.ports import JobSpec
from idds_core.states import TERMINAL
from idds_core.store import LoopRecord, Message, Store
from idds_core.testing.fakes import ManualClock
from tests.sim import oracles
from tests.sim.edges import EDGES, EMBEDDED, OUTSIDE
from tests.sim.fate import Fate, Report
from tests.sim.machine import Died, Disk, SimDatabase
from tests.sim.process import Process
from tests.sim.provider import LAG_S, SimProvider
from tests.sim.trouble import Trouble
from tests.sim.workloads import CANCELLED, WORKLOADS, answer, workload

__all__ = ["Report", "Schedule", "fault_free"]

_SEED = 7
#: only where somebody cancels they are met often, so there they weigh more
_OF_CANCELS = ("provider.cancel: before", "provider.cancel: after") * 4


class _Asked:
    """The learner without faults."""

    def __init__(self, learner: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._learner = learner

    def think(
        self, document: Mapping[str, Any], history: Mapping[str, Any], bundle: str, wake: Callable[[], None]
    ) -> Future[Answer]:
        """The answer, at once."""
        del bundle, wake
        future: Future[Answer] = Future()
        future.set_result(Answer(self._learner({"loop": document, "history": history})))
        return future


class Schedule:
    """A seed's schedule. `calm`: nothing goes wrong."""

    learner = staticmethod(answer)
    process: type[Process] = Process
    edges = EMBEDDED
    turns_allowed = 600

    @staticmethod
    def fault_free(name: str) -> str:
        """The digest of a workload in which nothing went wrong."""
        return fault_free(name)

    def thinker(self) -> Any:
        """The learner, for who asks again."""
        return _Asked(self.learner)

    def __init__(self, seed: int, name: str | None = None, *, calm: bool = False, fenced: bool = True) -> None:
        self.fenced, self.zombie = fenced, False
        self.report = Report(seed, name or WORKLOADS[seed % len(WORKLOADS)])
        edges = (*self.edges, *_OF_CANCELS) if self.report.workload in CANCELLED else self.edges
        self.fate = Fate(seed, self.report, self.tell, edges, calm=calm)
        self.calm, self.deep = calm, seed % 7 == 0
        self.clock = ManualClock()
        self.disk = Disk()
        self.folder = _folder()
        self.path = self.folder / "idds.db"
        self.offset = 0.0  # of the engines' clock from the true one
        self.jumped = 0.0
        self.provider = SimProvider(self.clock, self.fate, self.provider_edge, self._submitted, self._can_write)
        self.wishes = self._wishes(calm=calm)
        self.trouble = Trouble(self)
        self.definition = workload(self.report.workload)
        with self._outside() as store:
            self.workflow_id = store.workflows.add(self.definition, "bundle", _SEED).id
        self.processes: list[Process] = []
        self.running: Process | None = None  # whose code is on the stack
        self.booted = self.depth = self.turns = self.checked = 0
        self.messages: list[str] = []
        self.followed: set[str] = set()  # keys that an engine submitted which was up to date

    @property
    def helped(self) -> bool:
        """Whether something happened that somebody must mend."""
        return any(name.startswith(("disk", "learner")) for name in self.report.faults)

    def engine_clock(self) -> float:
        """What the engines take for the time."""
        return self.clock() + self.offset

    def _wishes(self, *, calm: bool) -> dict[int, str]:
        """Turn -> what a person at another terminal asks for then."""
        rng = self.fate.rng
        first = rng.randint(1, 25)
        if self.report.workload in CANCELLED:
            return {first: "cancel"}
        if calm or rng.random() < 0.8:
            return {}
        return {first: "hold", first + rng.randint(1, 5): "resume"}

    # ------------------------------------------------------------------ what is watched
    def _submitted(self, spec: JobSpec, hidden_since: float | None) -> bool:
        """A job has reached the cluster; since when it has been there already, unlisted. Whether it is for nothing."""
        process = self.running
        assert process is not None
        try:
            row = self.disk.one("SELECT state FROM attempt WHERE key = ?", spec.key)
        except sqlite3.OperationalError:
            self.violation("a job was submitted inside of a transaction")
            return False
        if row is None:
            self.violation(f"a job was submitted without an intent on record: {spec.key}")
        early = hidden_since is not None and self.clock() - hidden_since < LAG_S
        if not self.outdated(process):
            if early and not self.jumped and spec.key in self.followed:
                self.violation(f"a job was submitted again within the listing lag: {spec.key}")
            self.followed.add(spec.key)
        return row is not None and row[0] in TERMINAL["attempt"]

    def _can_write(self) -> bool:
        """Whether a job that ends now can leave what it has."""
        return not self.trouble.no_outputs

    def told(self, message: Message) -> None:
        """A message has reached somebody."""
        try:
            row = self.disk.one("SELECT id FROM outbox WHERE id = ?", message.id)
        except sqlite3.OperationalError:
            row = None
        if row is None:
            self.violation(f"a message was sent that is not on record: {message.title}")
        self.messages.append(message.title)

    def outdated(self, process: Process) -> bool:
        """Whether somebody may have taken over what the process does."""
        return process is not self.processes[-1]

    def wrote(self, process: Process) -> None:
        """A commit by this process."""
        if self.fenced and any(other.owns for other in self.processes[self.processes.index(process) + 1 :]):
            self.violation(f"engine {process.number} wrote after another had followed it")

    # ------------------------------------------------------------------ what goes wrong
    def provider_edge(self, name: str) -> None:
        """A call of the provider by the process that runs now."""
        if self.running is not None:
            self.running.edge(name)

    def at_edge(self, process: Process, name: str) -> None:
        """Nothing, a death, an error of the disk, or a stall, in which others go on."""
        if name.endswith(": begin"):
            return
        if name.endswith("after commit"):
            self.wrote(process)
        if name not in _KNOWN:
            self.violation(f"an edge that nobody knows: {name}")
        if not self.fate.at_edge(name):
            return
        if name in OUTSIDE and self.depth == 0 and self.fate.rng.random() < 0.4:
            self._stall(process, name)
            return
        if name.endswith("commit") and self.fate.rng.random() < 0.25:
            self.fate.note("commit of unknown outcome")
            self.report.deaths[name] += 1
            raise StoreError.of("E-STORE-002", "the disk is full or failing", "simulated")
        self.fate.note("death")
        self.tell(f"! engine {process.number} dies at {name}")
        self.report.deaths[name] += 1
        raise Died

    def _stall(self, process: Process, name: str) -> None:
        """The process stops as it is; another takes over, and works for a while before this one wakes up."""
        self.fate.note("stall")
        self.report.deaths[name] += 1
        self.tell(f"! engine {process.number} stalls at {name}")
        self.depth += 1
        mine, self.running = self.running, None
        self.clock.advance(self.fate.uniform(60, 100))
        self._boot()
        for _ in range(self.fate.rng.choice((0, 1, 2, 5, 20, 60))):
            if not self._step():
                break
        self.running = mine
        self.depth -= 1
        self.zombie = True
        self.tell(f"  engine {process.number} wakes up")

    # ------------------------------------------------------------------ what goes on
    def play(self) -> Report:
        """Until the workflow has ended; then what must be true is looked at."""
        try:
            while self._step():
                pass
            if not self.report.violations:
                self._afterwards()
        finally:
            self.trouble.end()
            for process in self.processes:
                process.bury()
            self.disk.close()
        return self.report

    def _step(self) -> bool:
        """One turn; whether there is more to do."""
        self.turns += 1
        if self.turns > self.turns_allowed:
            self.violation("it does not end")
        if self.report.violations:
            return False
        self._from_outside()
        return self._move()

    def _move(self) -> bool:
        if self.zombie and not self.fenced and self.depth == 0:  # nobody sees to what it began but a new engine
            self.zombie = False
            self.processes[-1].bury()
        process = self.processes[-1] if self.processes and self.processes[-1].alive else None
        if process is None:
            if self.trouble.wait():
                return True
            process = self._boot()
        if not process.alive:
            return True
        return self._in(process, lambda: self._turn(process))

    def _from_outside(self) -> None:
        """A person's wish, or a clock that is set; after what went wrong, the invariants."""
        self.trouble.step()
        if not self.disk.full and self.wishes and self.turns >= min(self.wishes):
            self.ask(self.wishes.pop(min(self.wishes)))
        if self.fate.left > 0 and self.fate.rng.random() < self.fate.jump_chance:
            self.fate.left -= 1
            jump = self.fate.uniform(-300, 3600)
            self.fate.note("clock jump")
            self.offset += jump
            self.jumped += abs(jump)
        if self.deep and self.report.faults.total() != self.checked:
            self.checked = self.report.faults.total()
            self.look()

    def ask(self, verb: str) -> None:
        """A person at another terminal asks for something."""
        self.tell(f"somebody asks to {verb}")
        with self._outside() as store:
            store.workflows.command(self.workflow_id, verb, "user")

    def look(self) -> None:
        """The invariants, now."""
        with self._outside() as store:
            for found in oracles.invariants(store):
                self.violation(found)

    @contextmanager
    def _outside(self) -> Iterator[Store]:
        """The store as somebody else has it, who is never cut."""
        store = Store(SimDatabase(self.disk, self.path, self.engine_clock, lambda _: None))
        yield store
        store.close()

    def _boot(self) -> Process:
        self.booted += 1
        process = self.process(self, self.booted)
        self.processes.append(process)
        self.tell(f"engine {process.number} starts")
        self._in(process, process.boot)
        return process

    def _in(self, process: Process, act: Callable[[], Any]) -> bool:
        """Run a part of a process; it may end in it."""
        before, self.running = self.running, process
        try:
            return act() is not False
        except Died:
            process.bury()
        except StoreError as error:
            self._failed(process, error)
        except Exception as error:  # noqa: BLE001 - whatever ends an engine is a finding
            process.bury()
            self.violation(f"the engine ended: {type(error).__name__} {error}")
        finally:
            self.running = before
        return True

    def _failed(self, process: Process, error: StoreError) -> None:
        process.bury()
        fenced = error.code == "E-ENGINE-003" and process is not self.processes[-1]
        told = error.code == "E-STORE-002" and ("simulated" in str(error) or self.trouble.no_outputs)
        if not (fenced or told):
            self.violation(f"the engine ended: {error}")
        self.tell(f"  engine {process.number} ends: {error.code}")

    def _turn(self, process: Process) -> bool:
        process.awake()
        engine = process.engine
        engine._check_disk()
        again = engine.turn()
        loop = engine._loop()
        if process is self.processes[-1] and engine._over(loop):
            engine.carrier.collect()
            engine.keeper.step()
            engine.store.audit.seal()
            self.tell(f"engine {process.number} ends: {loop.state} {loop.reason}")
            process.bury()
            return loop.state not in TERMINAL["loop"] and self.helped
        if not again:
            engine._sweep()
            self._pass_time(process, engine._pause())
        return True

    def _pass_time(self, process: Process, pause: float) -> None:
        times = [self.clock() + pause, *(due for due, _, _ in process.thoughts if due > self.clock())]
        event = self.provider.next_event()
        self.clock.advance(min([*times, event] if event is not None else times) - self.clock() + 0.001)

    def _afterwards(self) -> None:
        """What must be true in the end."""
        self.fate.left, self.fate.target = 0, None
        self.trouble.end()
        self._figures()
        self.provider.heal()
        self.clock.advance(LAG_S + 1)
        self.process = Process
        process = self._boot()  # a later engine of this folder
        for found in oracles.in_the_end(process.store, self):
            self.violation(found)

    def _figures(self) -> None:
        bill = self.provider.bill
        self.report.figures.update(
            executions=bill.executions,
            duplicates=bill.duplicates,
            calls=bill.calls,
            turns=self.turns,
            boots=self.booted,
            commits=sum(process.database.commits for process in self.processes),
            attempts=self.disk.one("SELECT count(*) FROM attempt")[0],
            points=self.disk.one("SELECT count(*) FROM point")[0],
            seconds=round(self.clock() - 1_000_000),
        )

    # ------------------------------------------------------------------ what is told
    def violation(self, what: str) -> None:
        """Something that must never be."""
        self.report.violations.append(what)
        self.tell(f"VIOLATION {what}")

    def tell(self, text: str) -> None:
        """A line of the story."""
        self.report.story.append(f"{self.clock() - 1_000_000:9.3f}  {text}")

    @staticmethod
    def ended(loop: LoopRecord) -> bool:
        """Whether a loop has ended."""
        return loop.state in TERMINAL["loop"]


_KNOWN = frozenset(EDGES)


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    shm = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="sim", dir=shm if os.access(shm, os.W_OK) else None)


def _folder() -> Path:
    """The work folder; each schedule writes the files it reads."""
    return Path(_root().name)


@cache
def fault_free(name: str) -> str:
    """The digest of a workload in which nothing went wrong."""
    report = Schedule(0, name, calm=True).play()
    assert not report.violations, report.violations
    return report.digest
