"""Delivers the outbox: at least once, in order for each target, with growing pauses; nobody waits for a target."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping

from idds_agents.targets import Send
from idds_core.store import Message, Store

__all__ = ["Postman"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 3600.0
_LOOK_S = 0.1
_GIVEN_UP_S = 3 * 86400.0
_REFUSED = "the target did not take it"


class Postman:
    """One postman. `collect` writes what has arrived, `dispatch` hands over what is due; a crash between sends again.

    Each target has a thread of its own while something is under way to it: one that hangs is waited for by nobody else.
    A message that was not taken holds back those after it, so that a target hears everything in order.

    Parameters
    ----------
    targets : name -> how to send to it. wake : called, on another thread, when messages have been tried.

    """

    def __init__(self, store: Store, targets: Mapping[str, Send], wake: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._targets = dict(targets)
        self._wake = wake
        self._tried: deque[tuple[Message, bool]] = deque()
        self._busy: set[str] = set()  # targets to which something is under way, or has come back and is not written
        self._free: deque[str] = deque()  # those whose thread has ended
        self._running = 0
        self._counting = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        store.outbox.targets = tuple(self._targets)
        if targets:
            store.outbox.again(targets)

    def collect(self) -> int:
        """Write what became of messages, in a transaction of the caller."""
        free, moved = len(self._free), 0
        while self._tried:
            message, taken = self._tried.popleft()
            if taken:
                self._store.outbox.arrived([message.id])
            elif self._store.now() - message.created > _GIVEN_UP_S:
                self._store.outbox.give_up([message.id], f"given up: {_REFUSED}")
            else:
                pause = min(_FIRST_PAUSE_S * 2.0**message.tries, _LONGEST_PAUSE_S)
                self._store.outbox.put_off(message.id, pause, _REFUSED)
            moved += 1
        for _ in range(free):  # all that they have tried is among what was written
            self._busy.discard(self._free.popleft())
        return moved

    def dispatch(self) -> int:
        """Hand over what is due; never inside a transaction: a message must be durable before it is told."""
        idle = [target for target in self._targets if target not in self._busy]
        due = self._store.outbox.due(idle) if idle else []
        for target in dict.fromkeys(message.target for message in due):
            self._busy.add(target)
            messages = [message for message in due if message.target == target]
            with self._counting:
                self._running += 1
                self._idle.clear()
            threading.Thread(target=self._send, args=(target, messages), name="postman", daemon=True).start()
        return len(due)

    def _send(self, target: str, messages: list[Message]) -> None:
        """On the thread of a target: one after the other, until one is not taken."""
        for message in messages:
            try:
                taken = self._targets[target](message.title, message.body)
            except Exception:  # noqa: BLE001 - somebody else's network and code; a failing target never stops the run
                taken = False
            self._tried.append((message, taken))
            if not taken:
                break
        self._free.append(target)
        with self._counting:
            self._running -= 1
            if not self._running:
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
            self._idle.wait(max(0.0, min(_LOOK_S, end - self._store.now())))
            with self._store.transaction():
                moved = self.collect()
            left = self._store.outbox.waiting(self._targets)
            if not left or self._store.now() >= end:
                return not left
            if not moved and self._idle.is_set():
                pause(_LOOK_S)
