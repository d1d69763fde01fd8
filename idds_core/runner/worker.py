"""A worker of the warm pool: serves function jobs over a socket until the socket ends, then ends with all it started.

It is started with three descriptors:

- ``DATA``: a socket. In come frames with a list of jobs, out go frames with a dictionary: ``{"hello": pid}``, the end
  of a job, ``{"key": ..., "heard": {...}}`` with what the job says on its way, or ``{"returned": [keys]}`` with jobs
  of a batch that go back unstarted. ``"retiring": true`` says that the worker ends after this frame, because
  the job left processes behind; ``"cold": true`` that the time includes an import.
- ``CONTROL``: a socket. A byte ``r`` asks for the jobs that have not begun; ``p``, a length and as many bytes (a key,
  a newline, a reason) ask a job to end at its next report.
- ``LIFE``: a pipe that nobody writes to. When its other end closes the engine is dead.
"""

# Text paths: the import of pathlib is a third of a short command's overhead
# ruff: noqa: PTH103, PTH118, PTH123

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import deque
from typing import Any

from idds_core.runner import processes
from idds_core.runner.capped_log import copy_capped, write_all
from idds_core.runner.frames import FrameReader, dumps, pack
from idds_core.runner.function_job import Functions, answer_of

__all__ = ["CONTROL", "DATA", "LIFE", "Worker", "main"]

DATA, CONTROL, LIFE = 3, 4, 5
_F_SETSIG = 10
_PR_SET_CHILD_SUBREAPER = 36
_FRAME_LIMIT = 1 << 30


class EngineGoneError(Exception):
    """The other end of the socket is closed."""


def _arm(life: int) -> None:
    """Have the kernel kill our process group when the engine dies: it works while C code holds the interpreter."""
    try:
        fcntl.fcntl(life, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        pass  # the thread that reads CONTROL is the second line


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends: nothing that a job started escapes our notice."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_others() -> None:
    """Kill everybody else in our session."""
    own = os.getpid()
    for pid in processes.sessions({own})[own].pids:
        if pid != own:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _end_all() -> None:
    """Kill everybody in our session, ourselves last."""
    _end_others()
    os.killpg(0, signal.SIGKILL)


class Scratch:
    """What jobs print: descriptors 1 and 2 are a file of ours, which goes to the job's folder after each job."""

    def __init__(self) -> None:
        # Kept out of the way, for jobs that close or redirect what they know: 0, 1 and 2.
        self.log = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 100)
        self.null = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 100)
        self._log_id = self._id(self.log)
        self._null_id = self._id(self.null)
        self._open()

    @staticmethod
    def _id(fd: int) -> tuple[int, int]:
        info = os.fstat(fd)
        return info.st_dev, info.st_ino

    def _open(self) -> None:
        # Line by line: what a job printed before it killed itself is what its author needs.
        self.out = sys.stdout = io.TextIOWrapper(
            io.FileIO(1, "w", closefd=False), "utf-8", "backslashreplace", line_buffering=True, write_through=True
        )
        self.err = sys.stderr = io.TextIOWrapper(
            io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", line_buffering=True, write_through=True
        )

    def write(self, text: str) -> None:
        """Write to the log itself, whatever the job did to its standard streams."""
        with contextlib.suppress(OSError):
            write_all(self.log, text.encode("utf-8", "backslashreplace"))

    def settle(self, job: dict[str, Any]) -> None:
        """After a job: put the descriptors right, move what was printed to the job's folder."""
        for stream in {id(s): s for s in (sys.stdout, sys.stderr)}.values():
            try:
                stream.flush()
            except Exception:  # noqa: BLE001, S112 -- it may be an object of the job's own making
                continue
        self._mend()
        if sys.stdout is not self.out or sys.stderr is not self.err or self.out.closed or self.err.closed:
            self._open()
        if os.fstat(self.log).st_size == 0:
            return
        try:
            os.makedirs(job["folder"], exist_ok=True)
            with open(f"/proc/self/fd/{self.log}", "rb") as source:
                copy_capped(source.fileno(), os.path.join(job["folder"], "log"), job["log_limit"])
        except OSError:
            pass  # a lost log must not lose the result
        os.ftruncate(self.log, 0)

    def _mend(self) -> None:
        for fd, ours, wanted in (
            (0, self.null, self._null_id),
            (1, self.log, self._log_id),
            (2, self.log, self._log_id),
        ):
            try:
                if self._id(fd) == wanted:
                    continue
            except OSError:
                pass
            os.dup2(ours, fd)


class Worker:
    """Serves jobs one after the other."""

    def __init__(self) -> None:
        for fd in (DATA, CONTROL, LIFE):
            os.set_inheritable(fd, False)
        self.pid = os.getpid()
        self.home = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.scratch = Scratch()
        self.functions = Functions(self.scratch.write, self._tell)
        self.jobs: deque[dict[str, Any]] = deque()
        self._data = socket.socket(fileno=DATA)
        self._control = socket.socket(fileno=CONTROL)
        self._reader = FrameReader(_FRAME_LIMIT)
        self._reading, self._sending = threading.Lock(), threading.Lock()
        os.register_at_fork(after_in_child=self._in_child)

    def _is_child(self) -> bool:
        return os.getpid() != self.pid

    @staticmethod
    def _in_child() -> None:
        # A child that lives on must not look to the engine like a living worker.
        for fd in (DATA, CONTROL, LIFE):
            with contextlib.suppress(OSError):
                os.close(fd)

    def serve(self) -> None:
        """Until the engine is gone."""
        self._send(pack(dumps({"hello": self.pid})))
        while True:
            self._receive()
            while True:
                try:
                    job = self.jobs.popleft()
                except IndexError:
                    break
                self._do(job)

    def _receive(self) -> None:
        with self._reading:
            data = self._data.recv(1 << 18)
            if not data:
                raise EngineGoneError
            for batch in self._reader.feed(data):
                self.jobs.extend(batch)

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._data.sendall(frame)

    def _tell(self, what: dict[str, Any]) -> None:
        self._send(pack(dumps(what)))

    def _do(self, job: dict[str, Any]) -> None:
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        text = answer_of(self.functions, job, self._is_child)
        wall, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_SELF)
        self.functions.asked.pop(job["key"], None)
        self.scratch.settle(job)
        os.fchdir(self.home)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        retiring = self._left_something()
        end = (',"cold":true' if self.functions.cold else "") + (',"retiring":true}' if retiring else "}")
        self._send(pack(f'{text},"wall_s":{wall:.6f},"cpu_s":{cpu:.6f},"max_rss":{after.ru_maxrss * 1024}{end}'))
        if retiring:
            _end_all()

    @staticmethod
    def _left_something() -> bool:
        """Whether the job left processes behind. The dead among them are reaped."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return False
        return True

    def watch(self) -> None:
        """A thread: hand back on request the jobs that have not begun; end everything when the engine is gone."""
        try:
            while wish := self._control.recv(1):
                if wish == b"p":
                    self._ask_to_end()
                    continue
                with self._reading:
                    try:
                        while data := self._data.recv(1 << 18, socket.MSG_DONTWAIT):
                            for batch in self._reader.feed(data):
                                self.jobs.extend(batch)
                    except BlockingIOError:
                        pass
                self._hand_back()
        except OSError:
            pass
        _end_all()

    def _ask_to_end(self) -> None:
        data = self._control.recv(self._control.recv(1)[0], socket.MSG_WAITALL)
        key, _, reason = data.decode("utf-8", "replace").partition("\n")
        self.functions.asked[key] = reason

    def _hand_back(self) -> None:
        keys = []
        try:
            while True:
                keys.append(self.jobs.popleft()["key"])
        except IndexError:
            self._send(pack(dumps({"returned": keys})))


def main() -> None:
    """Serve until the engine is gone. The descriptors are in place, the session is our own; argv[1] is our home."""
    os.chdir(sys.argv[1])
    os.closerange(LIFE + 1, 1024)
    _arm(LIFE)
    _adopt_orphans()
    worker = Worker()
    threading.Thread(target=worker.watch, name="idds-watch", daemon=True).start()
    try:
        worker.serve()
    except (EngineGoneError, ConnectionError):
        _end_all()
    except OSError:
        # The engine lives, but a job has closed the way to it: that is the job's own doing, not the site's.
        _end_others()
        os._exit(70)


if __name__ == "__main__":
    main()
