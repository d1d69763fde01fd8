"""One payload process: started in a session of its own, watched, ended with everything it started."""

# Text paths: the import of pathlib is a third of a short command's overhead
# ruff: noqa: PTH123

from __future__ import annotations

import errno
import os
import select
import signal
import time
from typing import Any

from idds_core.runner import processes
from idds_core.runner.capped_log import CappedLog
from idds_core.runner.watch import Limits

__all__ = ["Payload", "StartError"]

_CHUNK = 1 << 16
#: Errors of exec that no second try mends.
_FATAL = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.E2BIG, errno.ELOOP, errno.EISDIR)


class StartError(Exception):
    """The payload could not be started; `fatal` when trying again is of no use."""

    def __init__(self, message: str, fatal: bool) -> None:
        super().__init__(message)
        self.fatal = fatal


def _become(argv: list[str], env: dict[str, str], cwd: str, output: int, errors: int) -> None:
    """In the child: turn into the payload. Never returns."""
    try:
        os.setsid()
        os.chdir(cwd)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for name in ("SIGPIPE", "SIGXFSZ", "SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvpe(argv[0], argv, env)  # noqa: S606
    except OSError as error:
        os.write(errors, str(error.errno).encode())
    except BaseException:  # noqa: BLE001 -- a child must not come back
        os.write(errors, str(errno.ENOEXEC).encode())
    finally:
        os._exit(127)


def _start(argv: list[str], env: dict[str, str], cwd: str, output: int) -> int:
    """Process id of the payload, which leads a new session. Raises StartError."""
    if not argv or any("\0" in text for text in (*argv, *env, *env.values())):
        raise StartError("the command line is empty or holds a NUL character", fatal=True)
    told, tell = os.pipe()  # closes by itself when exec succeeds
    try:
        pid = os.fork()
    except OSError as error:
        os.close(told)
        os.close(tell)
        raise StartError(f"fork: {error.strerror}", fatal=False) from None
    if pid == 0:
        _become(argv, env, cwd, output, tell)
    os.close(tell)
    with open(told, "rb") as pipe:
        answer = pipe.read()
    if answer:
        os.waitpid(pid, 0)
        number = int(answer)
        raise StartError(f"cannot run {argv[0]}: {os.strerror(number)}", fatal=number in _FATAL)
    return pid


class Payload:
    """Runs a command line to its end, whatever it does.

    Attributes, once :meth:`run` has returned
    ----------
    exit_code, signal : how it ended; one of them is None.
    stopped : why we ended it: "walltime", "memory", "cancel", "told"; empty when it ended by itself.
    wall_s, cpu_s, max_rss : what it used.
    """

    def __init__(self, log: CappedLog, limits: Limits) -> None:
        self.log, self.limits = log, limits
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.stopped = ""
        self.wall_s = self.cpu_s = 0.0
        self.max_rss = 0
        self.pid = 0
        self._kill_at = 0.0
        self._waking, wake = os.pipe()
        os.set_blocking(self._waking, False)
        os.set_blocking(wake, False)
        # A handler must exist for the wake-up pipe to be written to.
        for name in ("SIGCHLD", "SIGTERM", "SIGINT"):
            signal.signal(getattr(signal, name), self._told)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def _told(self, number: int, _frame: Any) -> None:
        if number != signal.SIGCHLD:
            self.limits.told = True

    def run(self, argv: list[str], env: dict[str, str], cwd: str) -> None:
        """Run it. Raises StartError."""
        source, output = os.pipe()
        begin = time.monotonic()
        try:
            self.pid = _start(argv, env, cwd, output)
        finally:
            os.close(output)
        self.limits.begin(self.pid, begin)
        os.set_blocking(source, False)
        self._attend(source)
        self.wall_s = time.monotonic() - begin
        # The dead leader is not reaped before this, so that the session's number cannot mean anybody else.
        processes.end_session(self.pid)
        self._drain(source)
        os.close(source)
        _, status, usage = os.wait4(self.pid, 0)
        self.exit_code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        self.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.max_rss = max(usage.ru_maxrss * 1024, self.limits.peak)

    def _attend(self, source: int) -> None:
        """Pump and watch until the payload has ended."""
        poller = select.poll()
        poller.register(source, select.POLLIN)
        poller.register(self._waking, select.POLLIN)
        while not self._ended():
            for fd, _ in poller.poll(max(1.0, 1000 * self._patience())):
                if fd == self._waking:
                    self._read(fd)
                    continue
                chunk = self._read(source)
                if chunk == b"":
                    poller.unregister(source)
                elif chunk:
                    self.log.write(chunk)
            self._enforce()

    @staticmethod
    def _read(fd: int) -> bytes | None:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            return None

    def _ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _patience(self) -> float:
        now = time.monotonic()
        return min(1.0, self._kill_at - now) if self.stopped else self.limits.next_look - now

    def _enforce(self) -> None:
        now = time.monotonic()
        if self.stopped:
            if now >= self._kill_at:
                processes.signal_session(self.pid, signal.SIGKILL)
                self._kill_at = now + 0.2
            return
        self.stopped = self.limits.look(now)
        if self.stopped:
            processes.signal_session(self.pid, signal.SIGTERM)
            self._kill_at = now + self.limits.grace

    def _drain(self, source: int) -> None:
        """Take what is left in the pipe. Bounded: somebody who left the session may hold it open and write on."""
        for _ in range(64):
            chunk = self._read(source)
            if not chunk:
                return
            self.log.write(chunk)
