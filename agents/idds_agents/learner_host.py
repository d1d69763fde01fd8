"""Keeps the learner's process: started once, kept warm, bounded in time and memory."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from idds_agents.transformer import Answer
from idds_core.errors import IddsError

__all__ = ["LearnerHost"]

_TRIES = 3  # of a process that ends by itself
_TRIES_KILLED = 10  # of one that somebody kills: the site's fault, not the learner's
_ANSWER_LIMIT = 100_000_000
_MOMENT_MS = 100
_PAGE = os.sysconf("SC_PAGE_SIZE")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_ONE_THREAD = dict.fromkeys(_THREADS, "1")


class _Died(Exception):
    """The process ended without an answer."""

    def __init__(self, why: str, tries: int) -> None:
        super().__init__(why)
        self.tries = tries


class LearnerHost:
    """A `Thinker` with one child process.

    Parameters
    ----------
    log : file for what the learner prints.
    seconds, memory : limits of one call; the process is killed beyond them.

    """

    def __init__(self, log: Path, seconds: float, memory: int) -> None:
        self._log = log
        self._seconds = seconds
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._closed = False

    def warm(self) -> None:
        """Start the process ahead of the first question."""
        with self._lock:
            if self._process is None:
                self._start()

    def think(
        self, document: Mapping[str, Any], history: Mapping[str, Any], bundle: str, wake: Callable[[], None]
    ) -> Future[Answer]:
        """See :class:`~idds_agents.transformer.Thinker`."""
        line = json.dumps({"loop": document, "history": history, "bundle": bundle}).encode() + b"\n"
        future: Future[Answer] = Future()

        def work() -> None:
            try:
                future.set_result(self._ask(line))
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits for the future
                future.set_exception(error)
            wake()

        threading.Thread(target=work, name="learner", daemon=True).start()
        return future

    def close(self) -> None:
        """End the process."""
        self._closed = True
        self._kill()

    # ------------------------------------------------------------------ one question
    def _ask(self, line: bytes) -> Answer:
        with self._lock:
            for attempt in range(1, _TRIES_KILLED + 1):
                try:
                    answer = json.loads(self._exchange(line))
                    break
                except _Died as error:
                    self._kill()
                    if self._closed or attempt >= error.tries:
                        raise IddsError.of(
                            "E-LEARNER-002",
                            "the learner's process died",
                            str(error),
                            str(self._log),
                            "See its log, then 'resume'.",
                        ) from None
                except IddsError:
                    self._kill()
                    raise
        if "error" in answer:
            raise IddsError.of(
                "E-LEARNER-003",
                "the learner failed",
                answer["error"],
                answer["where"],
                f"Mend it (its log: {self._log}), then 'resume'.",
            )
        return Answer(answer)

    def _exchange(self, line: bytes) -> bytes:
        if self._process is None or self._process.poll() is not None:
            self._kill()
            self._start()
        assert self._socket is not None
        assert self._process is not None
        deadline = time.monotonic() + self._seconds
        received = bytearray()
        unsent = memoryview(line)
        while True:
            self._check_limits(deadline)
            readable, writable = _ready(self._socket, wants_to_write=bool(unsent))
            try:
                if writable:
                    unsent = unsent[self._socket.send(unsent) :]
                if readable:
                    chunk = self._socket.recv(1 << 20)
                    if not chunk:
                        raise self._died()
                    received += chunk
            except OSError as error:
                raise self._died() from error
            if received.endswith(b"\n"):
                return bytes(received)
            if len(received) > _ANSWER_LIMIT:
                raise IddsError.of(
                    "E-LEARNER-006",
                    "the learner's answer is too large",
                    f"more than {_ANSWER_LIMIT} bytes",
                    "",
                    "Give less diagnostics.",
                )

    def _died(self) -> _Died:
        assert self._process is not None
        code = self._process.wait(timeout=10)
        if code < 0:
            return _Died(f"killed by {signal.Signals(-code).name}", _TRIES_KILLED)
        return _Died(f"exit code {code}", _TRIES)

    def _check_limits(self, deadline: float) -> None:
        assert self._process is not None
        if time.monotonic() > deadline:
            raise IddsError.of(
                "E-LEARNER-004",
                "the learner took too long",
                f"no answer within {self._seconds:g} s",
                str(self._log),
                "Mend it or raise learner_seconds, then 'resume'.",
            )
        rss = sum(map(_resident, _family(self._process.pid)))
        if rss > self._memory:
            raise IddsError.of(
                "E-LEARNER-005",
                "the learner used too much memory",
                f"{rss / 1e9:.2f} GB, the limit is {self._memory / 1e9:g} GB",
                str(self._log),
                "Mend it or raise learner_memory, then 'resume'.",
            )

    # ------------------------------------------------------------------ the process
    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "idds_agents.learner_child", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**os.environ, **_ONE_THREAD},
            )
        theirs.close()
        self._socket = ours

    def _kill(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def _family(pid: int) -> list[int]:
    """The process and all below it: a learner may be a command."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError, ValueError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
            found += [int(child) for child in children]
    return found


def _resident(pid: int) -> int:
    """Bytes of memory of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _ready(connection: socket.socket, *, wants_to_write: bool) -> tuple[bool, bool]:
    """Whether it can be read and written, after a moment; select() would fail in a process with a thousand files."""
    poller = select.poll()
    poller.register(connection, select.POLLIN | (select.POLLOUT if wants_to_write else 0))
    found = dict(poller.poll(_MOMENT_MS)).get(connection.fileno(), 0)
    return bool(found & ~select.POLLOUT), bool(found & select.POLLOUT)
