"""Processes as /proc shows them: who lives, who belongs to a session, how to end them. Linux only."""

# Text paths: the import of pathlib is a third of a short command's overhead
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from typing import Any

__all__ = ["Session", "alive", "end_marked", "end_session", "identity", "marked", "sessions", "signal_session",
    "start_time"]  # fmt: skip

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Session:
    """The processes of one session: their ids, and the sum of their resident memory in bytes."""

    __slots__ = ("pids", "rss")

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.rss = 0


def _stat(pid: int | str) -> list[bytes] | None:
    """Fields of /proc/<pid>/stat from the state on (3 in proc(5)), or None when there is no such process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    # The name stands in brackets and may itself hold brackets and blanks.
    return data[data.rfind(b")") + 2 :].split()


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of the process; None when it is gone or a zombie."""
    fields = _stat(pid)
    if fields is None or len(fields) < 22 or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def identity(pid: int) -> dict[str, Any]:
    """What tells this process from every other: a process id alone is used again."""
    return {"pid": pid, "start": start_time(pid) or 0, "boot": _boot_id(), "host": socket.gethostname()}


def alive(who: Any) -> bool:
    """Whether the process of an :func:`identity` still runs. Anything else than an identity does not."""
    if not isinstance(who, dict):
        return False
    pid, start = who.get("pid"), who.get("start")
    if type(pid) is not int or type(start) is not int or pid <= 0 or start <= 0 or pid >= 2**31:
        return False
    return who.get("boot") == _boot_id() and who.get("host") == socket.gethostname() and start_time(pid) == start


def sessions(wanted: set[int]) -> dict[int, Session]:
    """The sessions asked for, from one pass over /proc. Zombies are left out."""
    found = {session: Session() for session in wanted}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        fields = _stat(entry)
        if fields is None or len(fields) < 22 or fields[0] in (b"Z", b"X"):
            continue
        session = found.get(int(fields[3]))
        if session is not None:
            session.pids.append(int(entry))
            session.rss += int(fields[21]) * _PAGE
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def signal_session(session: int, number: int) -> int:
    """Send a signal to every process of the session; returns how many there were."""
    pids = sessions({session})[session].pids
    for pid in pids:
        _signal(pid, number)
        if number == signal.SIGTERM:
            _signal(pid, signal.SIGCONT)  # a stopped process would never see it
    return len(pids)


def end_session(session: int, rounds: int = 50) -> bool:
    """Kill the session until nobody is left (a process may fork while we look). Returns whether it is empty.

    The caller makes sure that the number still belongs to its own session: it holds the leader as a zombie.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)
    for _ in range(rounds):
        if signal_session(session, signal.SIGKILL) == 0:
            return True
        time.sleep(0.002)  # the kernel needs a moment to take them down
    return False


def marked(mark: str) -> list[int]:
    """Processes that were started with ``mark`` (NAME=value) in their environment, as far as we may see it."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if mark.encode() in file.read().split(b"\0"):
                    found.append(int(entry))
        except OSError:
            continue
    return found


def end_marked(mark: str, rounds: int = 50) -> bool:
    """Kill the processes with the mark until nobody is left. Returns whether nobody is."""
    for _ in range(rounds):
        pids = marked(mark)
        if not pids:
            return True
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        time.sleep(0.002)
    return False
