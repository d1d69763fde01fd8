"""The provider of this machine: commands under a runner of their own, functions in a warm pool of workers."""

# Paths are text in the protocol of the attempt's folder
# ruff: noqa: PTH117, PTH123

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from idds_core.ports import (
    Capabilities,
    Command,
    Function,
    Heard,
    JobReport,
    JobSpec,
    LogChunk,
    Submission,
    SubmissionStatus,
)
from idds_core.providers.local_commands import KEY, Registry
from idds_core.providers.local_job import LocalJob
from idds_core.providers.local_loop import LocalLoop
from idds_core.providers.local_reports import ReportFiles
from idds_core.runner import processes
from idds_core.runner.folder import read_json

__all__ = ["LocalProvider"]

_CHUNK = 1 << 18
_AHEAD = 64
_FAST = 0.005
#: a worker that was killed is replaced at once, and nobody else has to recover
_BACK_OFF_S = 0.05
#: how often the files of running commands are read
_HEAR_S = 0.5


def _nothing() -> None:
    return


class LocalProvider:
    """Runs jobs on this machine.

    A command outlives the engine: the next provider on the same `root` finds it. A function job dies with the engine.
    The handle of a job is its key; a key that is submitted twice is one job.

    Parameters
    ----------
    root : state folder, for one store. slots : jobs (cores) at once; None is the number of processors.
    store_id : only processes that carry it are ever touched. wake : called, on a thread of ours, when a job has ended.
    clock : seconds, monotonic.

    """

    name = "local"

    def __init__(
        self,
        root: Path,
        *,
        slots: int | None = None,
        store_id: str,
        wake: Callable[[], None] = _nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = Path(root).resolve()
        self.slots = slots or os.cpu_count() or 1
        self.store_id = store_id
        (self.root / "commands").mkdir(parents=True, exist_ok=True)
        (self.root / "workers").mkdir(exist_ok=True)
        self._end_orphans()
        self._registry = Registry(self.root / "commands")
        self._loop = LocalLoop(self.root, self._registry, self.slots, store_id, wake, clock)
        self._jobs: dict[str, LocalJob] = {}
        self._files = ReportFiles()
        self._clock = clock
        self._read = float("-inf")
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers and their jobs. Commands go on."""
        if not self._closed:
            self._closed = True
            self._loop.close()

    @property
    def capabilities(self) -> Capabilities:
        """While jobs are fast a deep queue keeps the workers busy; else one job for each slot is waiting."""
        ahead = _AHEAD if self._loop.pool.recent < _FAST else 1
        return Capabilities(slots=self.slots, queue=ahead * self.slots, back_off_s=_BACK_OFF_S)

    # ------------------------------------------------------------------ port
    def submit(self, specs: Sequence[JobSpec]) -> Sequence[Submission]:
        """One answer for each spec, in order."""
        answers, fresh = [], []
        for spec in specs:
            if self._closed:
                answers.append(Submission(spec.key, SubmissionStatus.LATER, None, "the provider is closed"))
                continue
            reason = _objection(spec)
            if not reason and spec.key not in self._jobs:
                try:
                    job = LocalJob.of(spec, self.slots)
                except (TypeError, ValueError, RecursionError) as error:
                    reason = f"not JSON: {error}"
                else:
                    self._jobs[spec.key] = job
                    if job.is_command:
                        self._files.follow(job)
                    fresh.append(job)
            if reason:
                answers.append(Submission(spec.key, SubmissionStatus.REFUSED, None, reason))
            else:
                answers.append(Submission(spec.key, SubmissionStatus.OK, spec.key))
        self._loop.post("run", fresh)
        return answers

    def find(self, keys: Sequence[str]) -> Mapping[str, str]:
        """The keys that are known, as their own handles. Function jobs of an earlier engine are gone."""
        return {key: key for key in keys if self._job(key) is not None}

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """What is known; the same end is told until :meth:`forget`."""
        found = {}
        jobs = self._jobs
        for handle in handles:
            job = jobs.get(handle) or self._job(handle)
            if job is not None:
                found[handle] = job.report
        return found

    def cancel(self, handles: Sequence[str]) -> None:
        """Ask for the end of jobs; what is queued is dropped, what runs is killed with all it started."""
        jobs = [job for job in map(self._job, handles) if job is not None and not job.report.state.ended]
        for job in jobs:
            job.cancelled = True
        self._loop.post("cancel", jobs)

    def heard(self) -> Sequence[Heard]:
        """What jobs said on their way: functions over their pipe, commands in a file of their folder."""
        found = []
        while self._loop.heard:
            found.append(self._loop.heard.popleft())
        due = self._clock() - self._read >= _HEAR_S
        if due:
            self._read = self._clock()
        return found + self._files.heard(all_of_them=due)

    def prune(self, reasons: Mapping[str, str]) -> None:
        """End jobs with notice: a function at its next report (or after a while), a command by SIGTERM."""
        jobs = [job for job in map(self._job, reasons) if job is not None and not job.report.state.ended]
        for job in jobs:
            job.pruned = reasons[job.key] or "pruned"
            job.cancelled |= job.is_command
        self._loop.post("prune", jobs)

    def drain(self) -> None:
        """Start nothing more of what is queued; what runs goes on."""
        self._loop.drain()

    def forget(self, handles: Sequence[str]) -> None:
        """Drop what is known of jobs that have ended."""
        for handle in handles:
            job = self._job(handle)
            if job is not None and not job.report.state.ended:
                continue
            self._jobs.pop(handle, None)
            self._files.forget(handle)
            if (job is None or job.is_command) and KEY.fullmatch(handle):
                self._registry.remove(handle)

    def tail(self, handle: str, offset: int = 0) -> LogChunk:
        """Up to 256 KiB of the log from `offset` (bytes) on."""
        job = self._job(handle)
        if job is None:
            return LogChunk("", offset)
        worker = job.worker
        running = worker is not None and worker.current is job
        path = worker.log if worker is not None and running else Path(job.folder, "log")
        try:
            with open(path, "rb") as file:
                file.seek(max(0, offset))
                data = file.read(_CHUNK)
        except OSError:
            return LogChunk("", offset)
        whole = _whole(data)
        return LogChunk(whole.decode("utf-8", "replace"), max(0, offset) + len(whole))

    def running_keys(self) -> list[str]:
        """Keys of registered commands that have not ended, for whoever ends what the record does not own."""
        return [key for key in self._registry.names() if (job := self._job(key)) and not job.report.state.ended]

    # ------------------------------------------------------------------ inside
    def _job(self, key: str) -> LocalJob | None:
        """The job of a key; a command of an earlier engine is adopted when it is first asked for."""
        job = self._jobs.get(key)
        if job is None and not self._closed:
            job = self._loop.commands.look_up(key)
            if job is not None:
                self._jobs[key] = job
                self._files.follow(job)
                if not job.report.state.ended:
                    self._loop.post("adopt", [job])
        return job

    def _end_orphans(self) -> None:
        """Kill workers of a dead engine of this store. They end by themselves when it dies; this is the second line."""
        folder = self.root / "workers"
        for note in folder.glob("*.json"):
            try:
                found = read_json(str(note), 10_000)
                store, worker, engine = found["store"], found["worker"], found["engine"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if store != self.store_id or processes.alive(engine):
                continue
            if processes.alive(worker):
                processes.end_session(worker["pid"])
            note.with_suffix(".log").unlink(missing_ok=True)
            note.unlink(missing_ok=True)


def _objection(spec: JobSpec) -> str:
    """Why the spec cannot be taken, or nothing."""
    if not KEY.fullmatch(spec.key):
        return f"key {spec.key!r} is not 1 to 63 characters of a-z, 0-9 and -"
    if not os.path.isabs(spec.folder):
        return f"folder {spec.folder!r} is not absolute"
    if isinstance(spec.payload, Function):
        if not os.path.isabs(spec.payload.bundle):
            return f"bundle {spec.payload.bundle!r} is not absolute"
        return "" if ":" in spec.payload.reference else f"reference {spec.payload.reference!r} is not module:function"
    if not isinstance(spec.payload, Command):
        return f"a {type(spec.payload).__name__} cannot run here"
    texts = (*spec.payload.argv, *spec.payload.env, *spec.payload.env.values(), *spec.payload.outputs.values())
    if not all(isinstance(text, str) for text in texts):
        return "argv, env and outputs must be text"
    return "" if spec.payload.argv else "the command line is empty"


def _whole(data: bytes) -> bytes:
    """The data without the first bytes of a character whose rest is not there yet."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if length > back else data
    return data
