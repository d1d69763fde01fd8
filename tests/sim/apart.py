"""Schedules of agents apart: several processes step their agents as the messages of a broker tell them to.

Each commit and each call is a place at which another process may come between.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from idds_agents.apart import Agents, Wake
from tests.sim.edges import APART, OUTSIDE
from tests.sim.fate import Fate
from tests.sim.process import SETTINGS, Postman, Process
from tests.sim.schedule import Schedule

__all__ = ["Apart", "Broker"]

_PROCESSES = 2
_LATE_S = 60.0
_SWITCH_CHANCE = 0.3
_EDGE_CHANCE, _JUMP_CHANCE = 0.005, 0.0005  # there are more edges and turns


class Broker:
    """Hands a message to one of the processes: in any order, and when the seed says so late, twice or never."""

    def __init__(self, clock: Callable[[], float], fate: Fate) -> None:
        self._now, self._fate = clock, fate
        self._queue: list[tuple[float, str]] = []

    def send(self, *wakes: Wake) -> None:
        """Take messages."""
        for wake in wakes:
            fault = self._fate.fault("message")
            if fault != "dropped":
                due = self._now() + (self._fate.uniform(1, _LATE_S) if fault == "late" else 0)
                self._queue += [(due, wake.text())] * (2 if fault == "twice" else 1)

    def take(self) -> Wake | None:
        """One that is due."""
        due = [i for i, (at, _) in enumerate(self._queue) if at <= self._now()]
        if not due:
            return None
        return Wake.read(self._queue.pop(due[self._fate.rng.randrange(len(due))])[1])

    def next(self) -> list[float]:
        """When messages will be due."""
        return [at for at, _ in self._queue]


class _Process(Process):
    """A process of a service: its own agents on the shared store."""

    def boot(self) -> None:
        """It begins with a sweep."""
        postman: Any = Postman(self)
        owner = f"process {self.number}"
        self.agents = Agents(self.store, self.provider, self, self.world.folder, SETTINGS, owner, postman=postman)
        self.swept = float("-inf")


class Apart(Schedule):
    """A seed's schedule, with agents apart."""

    process: type[Process] = _Process
    edges = APART
    turns_allowed = 1500

    def __init__(self, seed: int, name: str | None = None) -> None:
        super().__init__(seed, name, fenced=False)
        self.broker = Broker(self.clock, self.fate)
        self._still = False  # no time passes
        self.fate.edge_chance, self.fate.jump_chance = _EDGE_CHANCE, _JUMP_CHANCE

    def outdated(self, process: Process) -> bool:
        """Whether its leases may have run out: it has stalled, or the clock was set."""
        return process.late or self.jumped > 0

    def at_edge(self, process: Process, name: str) -> None:
        """As ever; and now and then another process comes between, while no time passes."""
        super().at_edge(process, name)
        between = name in OUTSIDE or name.endswith(": begin")
        if between and self.depth == 0 and self.turns and self.fate.rng.random() < _SWITCH_CHANCE:
            self._still = True
            self._leave(process, lambda: False, self.fate.rng.choice((1, 2, 4)))
            self._still = False

    def _stall(self, process: Process, name: str) -> None:
        self.fate.note("stall")
        self.report.deaths[name] += 1
        self.tell(f"! process {process.number} stalls at {name}")
        until = self.clock() + self.fate.uniform(60, 100)
        process.late = True
        self._leave(process, lambda: self.clock() < until, self.fate.rng.choice((0, 1, 5, 20)))
        self.tell(f"  process {process.number} wakes up")

    def _leave(self, process: Process, waits: Callable[[], bool], steps: int) -> None:
        """Others go on while it waits, and some steps more."""
        self.depth += 1
        process.asleep = True
        mine, self.running = self.running, None
        while (waits() or (steps := steps - 1) >= 0) and self._step():
            pass
        self.running = mine
        process.asleep = False
        self.depth -= 1

    def _move(self) -> bool:
        if self._ended():
            return False
        awake: list[Any] = [p for p in self.processes if p.alive and not p.asleep]
        if len(awake) < _PROCESSES:
            if self.trouble.no_outputs:  # nobody begins a process that would end at once
                return not self._still and self.trouble.wait()
            self._boot()
            return True
        for process in awake:
            if process.answered():
                return self._told(process, Wake("transformer"))
            if self.clock() - process.swept >= SETTINGS.sweep_seconds:
                process.swept = self.clock()
                return self._in(process, partial(self._sweep, process))
        wake = self.broker.take()
        if wake is None:
            if self._still:
                return False
            self._wait(awake)
            return True
        return self._told(awake[self.fate.rng.randrange(len(awake))], wake)

    def _told(self, process: _Process, wake: Wake) -> bool:
        return self._in(process, lambda: self.broker.send(*process.agents.step(wake)))

    def _sweep(self, process: _Process) -> None:
        self.broker.send(*process.agents.sweep())

    def _ended(self) -> bool:
        """Whether nothing is left to do, and everybody knows."""
        live = "SELECT 1 FROM workflow WHERE state IN ('active', 'held') UNION SELECT 1 FROM outbox WHERE done IS NULL"
        return self.disk.one(live) is None

    def _wait(self, awake: list[Any]) -> None:
        """Until something is due; what changes at the provider is told to somebody."""
        now, event = self.clock(), self.provider.next_event()
        times = [p.swept + SETTINGS.sweep_seconds for p in awake] + self.broker.next()
        times += [due for p in awake for due, future, _ in p.thoughts if not future.done()]
        if event is not None and event <= min(times):
            times.append(event)
            self.clock.advance(event - now + 0.001)
            self.broker.send(Wake("carrier"))
            return
        self.clock.advance(max(min(times) - now, 0) + 0.001)
