"""The agents apart: each is stepped when a message says so, by any number of processes at once.

A message is a hint. It may be lost, come twice, late or in any order: it only says which agent may have something to
do now. What there is to do stands in the store, and a sweep in each process finds it without any message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds_agents.carrier import Carrier
from idds_agents.catalog import Catalog
from idds_agents.conductor import Conductor
from idds_agents.postman import Postman
from idds_agents.transformer import Thinker, Transformer
from idds_core.ports import Provider
from idds_core.settings import Settings
from idds_core.store import Store

__all__ = ["AFTER", "Agents", "Wake"]

#: whom an agent that has moved something wakes
AFTER: Mapping[str, tuple[str, ...]] = {
    "transformer": ("carrier", "conductor"),
    "carrier": ("conductor",),
    "conductor": ("transformer", "carrier"),
}


@dataclass(frozen=True, slots=True)
class Wake:
    """Step this agent now. points : ids of points of many jobs at which something has ended.

    >>> Wake.read(Wake("conductor", (7,)).text())
    Wake(agent='conductor', points=(7,))
    """

    agent: str
    points: tuple[int, ...] = ()

    def text(self) -> str:
        """The message as JSON text: a name and ids, nothing else."""
        return json.dumps({"agent": self.agent, "points": self.points})

    @classmethod
    def read(cls, text: str) -> Wake:
        """The message of a text."""
        data: Any = json.loads(text)
        return cls(data["agent"], tuple(data["points"]))


class Agents:
    """One process's agents, for all workflows of a store that others may work on as well.

    Parameters
    ----------
    owner : name of this process in leases; no other has it.
    wake : called when the learner has answered: this process has the answer, so no message is needed.

    """

    def __init__(
        self,
        store: Store,
        provider: Provider,
        thinker: Thinker,
        workdir: Path,
        settings: Settings,
        owner: str,
        wake: Callable[[], None] = lambda: None,
        postman: Postman | None = None,
    ) -> None:
        self._store = store
        catalog = Catalog(store, workdir)
        self.carrier = Carrier(store, provider, catalog, workdir, settings, owner)
        self.conductor = Conductor(store, catalog, postman)
        self.transformer = Transformer(store, catalog, thinker, wake)

    def step(self, wake: Wake) -> list[Wake]:
        """Step one agent; returns whom to wake."""
        for point in wake.points:
            self._store.points.touch(point)
        act = {"transformer": self._transform, "carrier": self.carrier.step, "conductor": self._conduct}[wake.agent]
        moved = act()
        points = tuple(self._store.points.take_touched(every=False))
        if not (moved or points):
            return []
        after = [Wake(agent, points if agent == "conductor" else ()) for agent in AFTER[wake.agent]]
        return [*after, Wake("conductor", points)] if points and wake.agent == "conductor" else after

    def sweep(self) -> list[Wake]:
        """Everything that there is to do, without a message: due every `sweep_seconds`; returns whom to wake.

        What a process that has died had taken is adopted, and what runs that the record does not own is cancelled.
        """
        self.carrier.recover(expired=True)
        self.carrier.reap()
        woken = [found for agent in AFTER for found in self.step(Wake(agent))]
        self._store.audit.seal()
        return list(dict.fromkeys(woken))

    def _transform(self) -> int:
        moved = self.transformer.step()
        self.transformer.start()
        return moved

    def _conduct(self) -> int:
        moved = self.conductor.step()
        self.conductor.deliver()
        return moved
