"""One process of the warm pool, seen from the engine: started, given jobs, heard, ended."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import idds_core.runner
from idds_core.ports import JobReport
from idds_core.providers.local_job import LocalJob
from idds_core.runner import processes
from idds_core.runner.frames import FrameReader, pack
from idds_core.runner.worker import CONTROL, DATA, LIFE

__all__ = ["WorkerProcess", "spawn"]

_ANSWER_LIMIT = 1 << 28
_PACKAGES = str(Path(idds_core.runner.__file__).parents[2])
_BOOT = (
    f"import sys; root = {_PACKAGES!r}; root in sys.path or sys.path.insert(0, root); "
    "from idds_core.runner.worker import main; main()"
)
#: One thread each: as many workers as cores share the machine, and BLAS would start a thread per core in every one.
_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "BLIS", "VECLIB")
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


def spawn(argv: Sequence[str], env: dict[str, str], actions: Iterable[tuple[Any, ...]]) -> int:
    """Start a program in a session of its own; returns the process id."""
    return os.posix_spawn(argv[0], list(argv), env, file_actions=list(actions), setsid=True, setsigmask=(),
        setsigdef=_DEFAULT_SIGNALS)  # fmt: skip


def _high(fd: int) -> int:
    """A copy out of the way of the numbers that the child gets."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)


class WorkerProcess:
    """A worker with its jobs: the first of `outstanding` runs, the others wait behind it in its own queue.

    Attributes
    ----------
    since : when the first outstanding job began, on the provider's clock.
    ready : it has said hello. retiring : it has said good-bye. returning : it was asked to hand jobs back.
    silent : its end of the socket is closed, nothing more will be heard.
    broken : it said what cannot be understood.
    verdict : (job, report) of the job for which we killed it.

    """

    def __init__(self, folder: Path, name: str, store_id: str) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._note = folder / f"{name}.json"
        self.outstanding: deque[LocalJob] = deque()
        self.since = 0.0
        self.ready = self.retiring = self.returning = self.silent = self.broken = self.dead = False
        self.verdict: tuple[LocalJob, JobReport] | None = None
        self.bundle = ""
        self.cores = 0
        self.log_left_out = 0
        self._unsent = bytearray()
        self._reader = FrameReader(_ANSWER_LIMIT)
        self.data, data = socket.socketpair()
        self._control, control = socket.socketpair()
        life, self._life = os.pipe()
        fds = [_high(data.fileno()), _high(control.fileno()), _high(life)]
        data.close()
        control.close()
        os.close(life)
        self.pid = 0
        try:
            self.pid = self._spawn(folder, fds)
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._abandon()
            raise
        finally:
            for fd in fds:
                os.close(fd)
        self.data.setblocking(False)
        self._control.setblocking(False)
        note = {"store": store_id, "worker": processes.identity(self.pid), "engine": processes.identity(os.getpid())}
        self._said = note
        with contextlib.suppress(OSError):  # on a full disk the worker still dies with us, by its pipe
            self._note.write_text(json.dumps(note), encoding="utf-8")

    def _abandon(self) -> None:
        self.data.close()
        self._control.close()
        os.close(self._life)
        if self.pid:
            processes.end_session(self.pid)
            os.waitpid(self.pid, 0)

    def _spawn(self, folder: Path, fds: list[int]) -> int:
        env = {**os.environ, **{f"{name}_NUM_THREADS": "1" for name in _THREADS}}
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_DUP2, fd, target) for fd, target in zip(fds, (DATA, CONTROL, LIFE), strict=True)),
        ]
        return spawn((sys.executable, "-P", "-c", _BOOT, str(folder)), env, actions)

    @property
    def current(self) -> LocalJob | None:
        """The job that runs, or is about to."""
        return self.outstanding[0] if self.outstanding else None

    def give(self, jobs: Sequence[LocalJob], now: float) -> bool:
        """Hand jobs over. Returns whether all of it is sent (else call :meth:`flush` when the socket is writable)."""
        if not self.outstanding:
            self.since = now
        self.outstanding.extend(jobs)
        for job in jobs:
            job.worker = self
        self._unsent += pack("[" + ",".join([job.frame for job in jobs]) + "]")
        return self.flush()

    def flush(self) -> bool:
        """Send on. Returns whether nothing is left."""
        try:
            while self._unsent:
                del self._unsent[: self.data.send(self._unsent)]
        except BlockingIOError:
            return False
        except OSError:
            self._unsent.clear()  # it is dying; its end is told by the process descriptor
        return True

    def receive(self) -> list[Any]:
        """What it has said. Raises ValueError for what is no frame."""
        found: list[Any] = []
        while True:
            try:
                data = self.data.recv(1 << 18)
            except OSError:
                return found
            if not data:
                self.silent = True
                return found
            found += self._reader.feed(data)
            if len(data) < 1 << 18:
                return found

    def ask_back(self) -> None:
        """Ask for the jobs that have not begun."""
        self.returning = True
        with contextlib.suppress(OSError):
            self._control.send(b"r")

    def ask_to_end(self, job: LocalJob) -> None:
        """Ask the job that runs to end at its next report."""
        data = f"{job.key}\n{job.pruned}".encode()[:255]
        with contextlib.suppress(OSError):
            self._control.send(b"p" + bytes([len(data)]) + data)

    def kill(self, job: LocalJob | None = None, report: JobReport | None = None) -> None:
        """Kill it and all it started, because of `job`. Its end arrives through the process descriptor."""
        if self.verdict is None and job is not None and report is not None:
            self.verdict = (job, report)
        if not self.dead:
            processes.end_session(self.pid)

    def bury(self) -> int:
        """Kill what is left of its session, reap it, close everything. Returns its wait status."""
        self.dead = True
        processes.end_session(self.pid)
        _, status = os.waitpid(self.pid, 0)
        self.data.close()
        self._control.close()
        os.close(self._life)
        os.close(self.pidfd)
        self._note.unlink(missing_ok=True)
        return status

    def note_job(self, key: str) -> None:
        """Write down whose log the scratch log is now, for who follows it from another terminal."""
        if self._said.get("job") == key:
            return
        self._said = {**self._said, "job": key}
        partial = self._note.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps(self._said), encoding="utf-8")
            partial.replace(self._note)

    def forget_log(self) -> None:
        """Remove the scratch log."""
        self.log.unlink(missing_ok=True)
