"""Delivers the outbox: at least once, with growing pauses, on a thread of its own that nobody waits for."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping

from idds_agents.targets import Send
from idds_core.store import Message, Store

__all__ = ["Postman"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 3600.0
_GIVEN_UP_S = 3 * 86400.0
_REFUSED = "the target did not take it"


class Postman:
    """One postman. `collect` writes what has arrived, `dispatch` hands over what is due; a crash between sends again.

    Parameters
    ----------
    targets : name -> how to send to it. wake : called, on our thread, when a message has been tried.

    """

    def __init__(self, store: Store, targets: Mapping[str, Send], wake: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._targets = dict(targets)
        self._wake = wake
        self._todo: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._tried: deque[tuple[Message, bool]] = deque()
        self._under_way: set[int] = set()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None
        store.outbox.targets = tuple(self._targets)
        if targets:
            store.outbox.again(targets)

    def collect(self) -> int:
        """Write what became of messages, in a transaction of the caller."""
        moved = 0
        while self._tried:
            message, taken = self._tried.popleft()
            self._under_way.discard(message.id)
            if taken:
                self._store.outbox.arrived([message.id])
            elif self._store.now() - message.created > _GIVEN_UP_S:
                self._store.outbox.give_up([message.id], f"given up: {_REFUSED}")
            else:
                pause = min(_FIRST_PAUSE_S * 2.0**message.tries, _LONGEST_PAUSE_S)
                self._store.outbox.put_off(message.id, pause, _REFUSED)
            moved += 1
        return moved

    def dispatch(self) -> int:
        """Hand over what is due; never inside a transaction: a message must be durable before it is told."""
        if not self._targets:
            return 0
        due = [m for m in self._store.outbox.due(self._targets) if m.id not in self._under_way]
        for message in due:
            self._under_way.add(message.id)
            self._idle.clear()
            self._todo.put(message)
        if due and self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="postman", daemon=True)
            self._thread.start()
        return len(due)

    def _serve(self) -> None:
        while True:
            message = self._todo.get()
            try:
                taken = self._targets[message.target](message.title, message.body)
            except Exception:  # noqa: BLE001 - somebody else's network and code; a failing target never stops the run
                taken = False
            self._tried.append((message, taken))
            if self._todo.empty():
                self._idle.set()
            self._wake()

    def finish(self, seconds: float, wait: Callable[[float], object] | None = None) -> bool:
        """Deliver what can be delivered before the process ends; returns whether all has arrived.

        What has not waits in the outbox for the next engine of this folder.
        """
        if not self._targets:
            return True
        pause = wait or threading.Event().wait
        end = self._store.now() + seconds
        while True:
            self.dispatch()
            self._idle.wait(max(0.0, end - self._store.now()))
            with self._store.transaction():
                self.collect()
            left = self._store.outbox.waiting(self._targets)
            if not left or self._store.now() >= end:
                return not left
            pause(0.1)
