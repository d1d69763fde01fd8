"""Command jobs of this machine: each has a runner in a session of its own, which outlives the engine."""

# Paths are text in the protocol of the attempt's folder
# ruff: noqa: PTH115, PTH118, PTH208

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import idds_core.runner
from idds_core.ports import JobReport, ReportState
from idds_core.providers.attempt_folder import lost, read_end, read_owner, write_job
from idds_core.providers.local_job import CANCELLED, RUNNING, LocalJob
from idds_core.providers.local_worker import spawn
from idds_core.runner import processes
from idds_core.runner.command import DUPLICATE, MARK, UNTOLD
from idds_core.runner.folder import read_json

__all__ = ["KEY", "CommandRunners", "Registry"]

KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_RUNNER = str(Path(idds_core.runner.__file__).parent)
#: How long a claim may stand without a name in it, and how long a runner may take to obey.
_UNNAMED, _OBEY = 1.0, 10.0
#: How long after its walltime a job may still have a runner: one that was stopped, or hangs, would never end it.
_OVERDUE = 60.0


class Registry:
    """Which command is in which folder: a symbolic link for each key, made before anything is started.

    It need not survive a power cut (what it names does not either), so nothing is synced.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, key: str, folder: str) -> None:
        """Register. Raises OSError."""
        link = self.root / key
        try:
            link.symlink_to(folder)
        except FileExistsError:
            self.remove(key)
            link.symlink_to(folder)

    def get(self, key: str) -> str | None:
        """Folder of a registered key."""
        try:
            return os.readlink(self.root / key) if KEY.fullmatch(key) else None
        except OSError:
            return None

    def remove(self, key: str) -> None:
        """Unregister."""
        (self.root / key).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """All registered keys."""
        return sorted(entry for entry in os.listdir(self.root) if KEY.fullmatch(entry))


class _Watched:
    """A runner that is being waited for."""

    __slots__ = ("job", "kill_at", "ours", "pid", "pidfd")

    def __init__(self, job: LocalJob, pid: int, pidfd: int, ours: bool) -> None:
        self.job, self.pid, self.pidfd, self.ours = job, pid, pidfd, ours
        self.kill_at = float("inf")


class CommandRunners:
    """Starts, adopts and ends runners. Used by one thread, but for :meth:`look_up`."""

    def __init__(
        self,
        registry: Registry,
        clock: Callable[[], float],
        watch: Callable[[int, Callable[[], None] | None, bool], None],
        ended: Callable[[LocalJob, JobReport], None],
    ) -> None:
        self.registry, self.clock = registry, clock
        self._watch, self._ended = watch, ended
        self._watched: dict[str, _Watched] = {}
        #: Claims without a name in them: job -> when to believe that nobody is there.
        self._unnamed: dict[LocalJob, float] = {}

    @property
    def used(self) -> int:
        """Slots taken."""
        return sum(one.job.cores for one in self._watched.values()) + sum(job.cores for job in self._unnamed)

    # ------------------------------------------------------------------ starting
    def start(self, job: LocalJob) -> None:
        """Register the job and start its runner; or find that an earlier engine did."""
        job.report = RUNNING
        try:
            if os.path.lexists(os.path.join(job.folder, "claim")) and self._resume(job):
                return
            write_job(job.folder, job.frame)
            self.registry.add(job.key, job.folder)
            pid = self._spawn(job.folder)
        except OSError as error:
            self._ended(job, lost(f"cannot start: {error}", "E-JOB-SUBMIT"))
            return
        self._wait_for(job, pid, os.pidfd_open(pid), ours=True)

    @staticmethod
    def _spawn(folder: str) -> int:
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
        return spawn((sys.executable, "-I", "-S", _RUNNER, folder), dict(os.environ), null)

    def _resume(self, job: LocalJob) -> bool:
        """Take over what is in a folder that somebody has claimed; False when it was cleared for a new start."""
        report = read_end(job.folder, job.key, job.digest, job.output_limit)
        if report is not None and report.state in (ReportState.SUCCEEDED, ReportState.INFEASIBLE):
            self.registry.add(job.key, job.folder)
            self._ended(job, report)
            return True
        if processes.alive(read_owner(job.folder)):
            self.registry.add(job.key, job.folder)
            self.adopt(job)
            return True
        shutil.rmtree(os.path.join(job.folder, "claim"), ignore_errors=True)
        for name in ("DONE.json", "result.json", "cancel"):
            Path(job.folder, name).unlink(missing_ok=True)
        return False

    def _wait_for(self, job: LocalJob, pid: int, pidfd: int, ours: bool) -> None:
        one = self._watched[job.key] = _Watched(job, pid, pidfd, ours)
        one.kill_at = self.clock() + job.walltime + _OVERDUE
        self._watch(pidfd, lambda: self._on_end(one), False)

    # ------------------------------------------------------------------ adopting
    def look_up(self, key: str) -> LocalJob | None:
        """The job of a key that an earlier engine registered; None when it positively never started.

        When nobody has claimed the folder we do: a runner that is late finds itself a duplicate.
        """
        folder = self.registry.get(key)
        if folder is None:
            return None
        try:
            Path(folder, "claim").mkdir()
        except FileExistsError:
            return self._claimed(key, folder)
        except OSError:
            pass  # the folder is gone
        self.registry.remove(key)
        return None

    @staticmethod
    def _claimed(key: str, folder: str) -> LocalJob:
        try:
            found = read_json(os.path.join(folder, "job.json"), 1 << 28)
            job = LocalJob(key, folder, str(found["digest"]), int(found["cores"]), int(found["output_limit"]))
            job.log_limit, job.walltime = int(found["log_limit"]), float(found["walltime"])
        except (OSError, ValueError, KeyError, TypeError):
            job = LocalJob(key, folder, "", 1, 0)
            job.report = lost("job.json cannot be read")
            return job
        job.report = read_end(folder, key, job.digest, job.output_limit) or RUNNING
        return job

    def adopt(self, job: LocalJob) -> None:
        """Wait for a runner that somebody else started."""
        if job.report.state.ended or job.key in self._watched:
            return
        owner = read_owner(job.folder)
        if owner is None:
            self._unnamed.setdefault(job, self.clock() + _UNNAMED)
            return
        self._unnamed.pop(job, None)
        if processes.alive(owner):
            try:
                pidfd = os.pidfd_open(owner["pid"])
            except OSError:
                pidfd = -1
            # Only now: the number cannot pass to another process while we hold the descriptor.
            if pidfd >= 0 and processes.alive(owner):
                self._wait_for(job, owner["pid"], pidfd, ours=False)
                return
            if pidfd >= 0:
                os.close(pidfd)
        self._conclude(job)

    # ------------------------------------------------------------------ ends
    def _on_end(self, one: _Watched) -> None:
        self._watch(one.pidfd, None, False)
        os.close(one.pidfd)
        del self._watched[one.job.key]
        code = 0
        if one.ours:
            _, status = os.waitpid(one.pid, 0)
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        if code == DUPLICATE:
            self.adopt(one.job)
        else:
            self._conclude(one.job, code)

    def _conclude(self, job: LocalJob, code: int = 0) -> None:
        """The runner is gone, so that what is in the folder now is all that will ever be."""
        report = read_end(job.folder, job.key, job.digest, job.output_limit)
        if report is None:
            # The payload may live on, and the number of its session may belong to others: its mark decides.
            processes.end_marked(f"{MARK}={os.path.realpath(job.folder)}")
        if job.cancelled and (report is None or report.state is ReportState.LOST):
            report = CANCELLED  # the signal came before the runner could listen
        if report is None:
            if code == UNTOLD:
                report = lost(f"no space left in {job.folder}", "E-JOB-DISK")
            else:
                report = lost("the runner ended without a word")
        self._ended(job, report)

    def cancel(self, job: LocalJob) -> None:
        """Tell the runner to end its payload: the wish is written down first, the signal makes it quick."""
        one = self._watched.get(job.key)
        with contextlib.suppress(OSError):
            Path(job.folder, "cancel").touch()
        if one is None:
            return
        one.kill_at = min(one.kill_at, self.clock() + _OBEY)
        with contextlib.suppress(OSError):  # it may have just ended
            signal.pidfd_send_signal(one.pidfd, signal.SIGTERM)

    # ------------------------------------------------------------------ time
    def next_time(self) -> float:
        """When :meth:`tick` is to be called at the latest."""
        kills = [one.kill_at for one in self._watched.values()]
        return min([*kills, *self._unnamed.values()], default=float("inf"))

    def tick(self) -> None:
        """Enforce what depends on time."""
        now = self.clock()
        for job, due in list(self._unnamed.items()):
            if now >= due:
                del self._unnamed[job]
                if read_owner(job.folder) is None:
                    self._conclude(job)
                else:
                    self.adopt(job)
        for one in self._watched.values():
            if now >= one.kill_at:
                one.kill_at = float("inf")
                try:
                    signal.pidfd_send_signal(one.pidfd, signal.SIGKILL)
                except OSError:
                    continue

    def close(self) -> None:
        """Stop waiting; the runners go on."""
        for one in self._watched.values():
            self._watch(one.pidfd, None, False)
            os.close(one.pidfd)
        self._watched.clear()
        self._unnamed.clear()
