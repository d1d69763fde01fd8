"""The lock of the one engine where several machines see the folder: a numbered file whose owner keeps touching it.

The kernel's locks end with their process, but on a network file system nobody may know that a machine has died. So a
claim is a file ``engine.lease.<n>``, made exclusively: of all who want to follow n exactly one makes n + 1. The highest
number owns. It is followed when it is released, when its process has died on this very machine, or when its heartbeat
stopped for long enough. Both times compared are the file system's, so no two clocks have to agree.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idds_core.runner import processes

__all__ = ["BEAT_S", "STALE_S", "HeartbeatLock"]

BEAT_S, STALE_S = 10.0, 60.0
_PREFIX = "engine.lease."


def time_of(folder: Path) -> float:
    """The time by the clock of the file system of a folder that can be written; else our own."""
    probe = folder / f".clock.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}"
    try:
        probe.touch()
        os.utime(probe)
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()
    except OSError:
        import time

        return time.time()


class HeartbeatLock:
    """The lock of the one engine on a work folder that several machines see.

    Parameters
    ----------
    folder : where the leases are. now : the time by the file system's clock. who : tells this process from all others.
    beat, stale : seconds between two heartbeats, and without one until somebody else may follow.

    Attributes
    ----------
    token : fences the store: who has not the newest one may not write.
    lost : somebody else has followed us.

    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[Path], float] = time_of,
        who: Callable[[int], dict[str, Any]] = processes.identity,
        beat: float = BEAT_S,
        stale: float = STALE_S,
    ) -> None:
        self._folder = folder
        self._now, self._who, self._beat, self._stale = now, who, beat, stale
        self._mine: Path | None = None
        self._end = threading.Event()
        self.token = ""
        self.lost = False

    # ------------------------------------------------------------------ looking
    def _newest(self) -> tuple[int, Path | None]:
        numbers = [
            int(p.name.removeprefix(_PREFIX))
            for p in self._folder.glob(f"{_PREFIX}*")
            if p.name.removeprefix(_PREFIX).isdecimal()
        ]
        if not numbers:
            return 0, None
        return max(numbers), self._path(max(numbers))

    def _path(self, number: int) -> Path:
        return self._folder / f"{_PREFIX}{number:08d}"

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        """What a lease says; nothing while it is being written."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _age(self, path: Path) -> float:
        """Seconds since its last heartbeat, by the file system's clock."""
        try:
            return self._now(self._folder) - path.stat().st_mtime
        except OSError:
            return 0.0

    def _is_free(self, path: Path) -> bool:
        found = self._read(path)
        who = found.get("who")
        if found.get("released") is True:
            return True
        ours = self._who(os.getpid())
        if isinstance(who, dict) and (who.get("host"), who.get("boot")) == (ours.get("host"), ours.get("boot")):
            return not processes.alive(who)  # we can see for ourselves
        return self._age(path) > self._stale

    def taken(self) -> bool:
        """Whether somebody has it now."""
        _, path = self._newest()
        return path is not None and not self._is_free(path)

    def holder(self) -> str:
        """Who has it, as it wrote it, and when it was last heard."""
        _, path = self._newest()
        who = self._read(path).get("who") if path else None
        if path is None or not isinstance(who, dict):
            return ""
        return (
            f"{who.get('pid')} on {who.get('host')}, last heard {max(0.0, self._age(path)):.0f} s ago; "
            f"it can be followed {self._stale:g} s after its last heartbeat"
        )

    # ------------------------------------------------------------------ having
    def acquire(self) -> bool:
        """Take it; False when another process has it."""
        number, path = self._newest()
        if path is not None and not self._is_free(path):
            return False
        mine = self._path(number + 1)
        token = secrets.token_hex(8)
        try:
            file = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(file, "w", encoding="utf-8") as out:
            json.dump({"who": self._who(os.getpid()), "token": token}, out)
            out.flush()
            os.fsync(out.fileno())
        for old in range(number, max(0, number - 3), -1):
            self._path(old).unlink(missing_ok=True)
        self._mine, self.token, self.lost = mine, token, False
        self._end = threading.Event()
        threading.Thread(target=self._keep, args=(self._end,), name="heartbeat", daemon=True).start()
        return True

    def _keep(self, end: threading.Event) -> None:
        while not end.wait(self._beat):
            if not self.heartbeat():
                return

    def heartbeat(self) -> bool:
        """Say that we are here; False when somebody else has followed."""
        mine = self._mine
        if mine is None:
            return False
        newest = self._newest()[1]
        if newest is not None and newest != mine:
            self.lost = True
            return False
        with contextlib.suppress(OSError):  # the next one may pass; the store's fence guards what matters
            os.utime(mine)
        return True

    def release(self) -> None:
        """Give it back."""
        mine, self._mine = self._mine, None
        self._end.set()
        if mine is None or self._newest()[1] != mine:
            return
        partial = mine.with_name(f".{mine.name}.released")
        with contextlib.suppress(OSError):  # then our process is seen to be gone, or the heartbeat stops
            partial.write_text(json.dumps({"token": self.token, "released": True}), encoding="utf-8")
            partial.replace(mine)
