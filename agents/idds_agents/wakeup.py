"""Waking the engine: from threads of its own process, and from other terminals through a datagram socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

__all__ = ["Waker", "nudge"]


class Waker:
    """An event that is waited for with a time-out; never the only way to notice work.

    Parameters
    ----------
    path : where to listen for nudges of other processes; None listens to nobody.

    Attributes
    ----------
    nudged : another process has nudged; who looks at the store for commands sets it back first.

    """

    def __init__(self, path: Path | None = None) -> None:
        self._event = threading.Event()
        self.nudged = False
        self._path = path
        self._socket: socket.socket | None = None
        if path is not None:
            self._listen(path)

    def _listen(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # too long a path, no such file system: the sweep sees commands anyway
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            listener.bind(str(path))
            self._socket = listener
            threading.Thread(target=self._serve, args=(listener,), name="nudge", daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while listener.recv(16) != b"close":
                self.nudged = True
                self._event.set()

    def wake(self) -> None:
        """Something has moved."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Until somebody wakes, or the time is over."""
        self._event.wait(seconds)
        self._event.clear()

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None and self._path is not None:
            nudge(self._path, b"close")
            self._socket.close()
            self._path.unlink(missing_ok=True)
            self._socket = None


def nudge(path: Path, message: bytes = b"wake") -> None:
    """Wake the engine that listens there, if there is one."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(message, str(path))
