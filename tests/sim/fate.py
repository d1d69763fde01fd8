"""What goes wrong in a schedule, drawn from its seed, and the report of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.sim.provider import FAULTS

__all__ = ["KINDS", "Fate", "Report"]

_FAULTS = 8
_CHANCE = {
    "submit": 0.15,
    "poll": 0.05,
    "find": 0.2,
    "cancel": 0.2,
    "forget": 0.05,
    "job": 0.15,
    "learner": 0.1,
    "message": 0.05,
    "disk": 0.01,
}
_OTHER_FAULTS = {
    "learner": ("late", "raises", "takes too long", "out of bounds", "nan", "too many", "known", "no point"),
    "message": ("dropped", "twice", "late"),
    "disk": ("full", "outputs", "low"),
}
_EDGE_CHANCE, _JUMP_CHANCE = 0.02, 0.004
#: edges to which few schedules come more than once
_SELDOM = ("provider.cancel", "provider.forget", "Jobs.renew", "hold_when_full", "outbox")
#: what must go wrong first, or hardly any schedule comes to that edge
_WAYS = {"Jobs.renew": {"job": "late"}, "hold_when_full": {"disk": "low"}}
#: everything that can go wrong
KINDS = frozenset(
    {
        *(f"{kind}: {what}" for kind, several in {**FAULTS, **_OTHER_FAULTS}.items() for what in several),
        "death", "stall", "clock jump", "commit of unknown outcome",
    }
)  # fmt: skip


@dataclass
class Report:
    """What came of a schedule."""

    seed: int
    workload: str
    digest: str = ""
    faults: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)


class Fate:
    """What goes wrong: at most so many things, when the seed says so."""

    def __init__(
        self, seed: int, report: Report, tell: Callable[[str], None], edges: Sequence[str], *, calm: bool
    ) -> None:
        self.rng = random.Random(seed)
        self.left = 0 if calm else self.rng.randint(1, _FAULTS)
        #: half of the schedules cut at one edge of their own, so that each is visited
        self.target = None if calm or self.rng.random() < 0.3 else edges[self.rng.randrange(len(edges))]
        self.edge_chance, self.jump_chance = _EDGE_CHANCE, _JUMP_CHANCE
        self.skip = 0 if (self.target or "").startswith(_SELDOM) else self.rng.choice((0, 0, 0, 1, 2, 5))
        self._report, self._tell = report, tell

    def fault(self, kind: str) -> str | None:
        way = _WAYS.get((self.target or "").partition(":")[0], {}).get(kind)
        way = None if f"{kind}: {way}" in self._report.faults else way
        if self.left <= 0 or (way is None and self.rng.random() >= _CHANCE[kind]):
            return None
        self.left -= 1
        what = way or self.choice(FAULTS.get(kind) or _OTHER_FAULTS[kind])
        self.note(f"{kind}: {what}")
        return what

    def note(self, what: str) -> None:
        """A fault that happens now."""
        self._report.faults[what] += 1
        self._tell(f"! {what}")

    def choice(self, options: Sequence[str]) -> str:
        return options[self.rng.randrange(len(options))]

    def uniform(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    def at_edge(self, name: str) -> bool:
        """Whether something happens to the process at this edge."""
        if name == self.target:
            self.skip -= 1
            if self.skip < 0:
                self.target = None
                return True
        if self.left > 0 and self.rng.random() < self.edge_chance:
            self.left -= 1
            return True
        return False
