"""The warm pool: function jobs are spread over workers, in batches when they are fast; dead workers are judged."""

# Paths are text in the protocol of the attempt's folder
# ruff: noqa: PTH103, PTH118, PTH123

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from idds_core.ports import Failure, JobReport, ReportState, Usage
from idds_core.providers.attempt_folder import lost
from idds_core.providers.local_job import CANCELLED, RUNNING, LocalJob
from idds_core.providers.local_verdicts import NODE, judged, of_the_user
from idds_core.providers.local_worker import WorkerProcess
from idds_core.runner import processes
from idds_core.runner.capped_log import copy_capped, cut_middle, last_line
from idds_core.states import FailureClass

__all__ = ["WorkerPool"]

_FAST = 0.005
#: Jobs on one worker when they are fast, seconds of work in one frame, and when a worker is given more.
_BATCH, _BATCH_TIME, _LOW = 64, 0.05, 16
#: A job that runs longer than this lets those behind it go elsewhere.
_STUCK = 0.02
_TICK = 0.2
_START_FAILURES, _START_TIME = 5, 60.0
#: How long a function that is to be pruned may go on without a report before it is ended.
PRUNE_GRACE = 10.0
_STATES = {
    "succeeded": ReportState.SUCCEEDED,
    "infeasible": ReportState.INFEASIBLE,
    "failed": ReportState.FAILED,
    "pruned": ReportState.PRUNED,
}
#: Bytes of a running job's log that are no danger to a disk, whatever is kept of it in the end.
_LOG_ROOM = 1 << 20


class WorkerPool:
    """Workers and the jobs on them. Used by one thread only.

    Parameters
    ----------
    watch : called with (file descriptor, what to call, whether to watch for writing too), or None to stop watching.
    ended : called with a job and its last report.
    requeue : called with jobs that must go to another worker, in order.
    heard : called with a job and what it says on its way.

    """

    def __init__(
        self,
        root: Path,
        slots: int,
        store_id: str,
        clock: Callable[[], float],
        watch: Callable[[int, Callable[[], None] | None, bool], None],
        ended: Callable[[LocalJob, JobReport], None],
        requeue: Callable[[Sequence[LocalJob]], None],
        heard: Callable[[LocalJob, Mapping[str, Any]], None],
    ) -> None:
        self.root, self.slots, self.store_id, self.clock = root, slots, store_id, clock
        self._watch, self._ended, self._requeue, self._heard = watch, ended, requeue, heard
        self.workers: list[WorkerProcess] = []
        self.recent = float("inf")
        self._pace: dict[str, float] = {}
        self._count = 0
        self._start_failures = 0
        self._start_error = ""
        self._next_start = 0.0
        self._next_tick = 0.0

    # ------------------------------------------------------------------ placing
    @property
    def used(self) -> int:
        """Slots taken."""
        return sum(worker.cores for worker in self.workers if worker.outstanding)

    def place(self, queue: deque[LocalJob], free: int) -> bool:
        """Hand over the first of the queue, and those behind it when they are fast. False: not now."""
        first = queue[0]
        fast = first.cores == 1 and self._pace.get(first.reference, 1.0) < _FAST
        worker = self._idle(first) if first.cores <= free else self._running_low() if fast else None
        if worker is None:
            return self._give_up_first(queue)
        count = self._share(first, queue, free, worker) if fast else 1
        jobs = [queue.popleft()]
        while len(jobs) < count and queue and queue[0].reference == first.reference and not queue[0].cancelled:
            if queue[0].cores != 1:
                break
            jobs.append(queue.popleft())
        jobs[0].report = RUNNING
        worker.cores = first.cores
        worker.bundle = first.reference.partition(":")[0]
        if not worker.give(jobs, self.clock()):
            self._watch(worker.data.fileno(), lambda: self._on_data(worker), True)
        return True

    def _share(self, first: LocalJob, queue: deque[LocalJob], free: int, worker: WorkerProcess) -> int:
        takers = max(1, free + sum(1 for other in self.workers if other.outstanding and other is not worker))
        most = min(_BATCH - len(worker.outstanding), int(_BATCH_TIME / max(self._pace[first.reference], 1e-6)))
        return max(1, min(most, -(-len(queue) // takers)))

    def _idle(self, job: LocalJob) -> WorkerProcess | None:
        """An idle worker, by preference one that knows the job's bundle; a new one while there are slots."""
        bundle = job.reference.partition(":")[0]
        best = None
        for worker in self.workers:
            if worker.outstanding or worker.retiring or worker.dead or worker.verdict:
                continue
            if worker.bundle == bundle:
                return worker
            best = best or worker
        fresh = sum(1 for worker in self.workers if not worker.retiring) < self.slots
        return (self._start() if fresh else None) or best

    def _running_low(self) -> WorkerProcess | None:
        best = None
        for worker in self.workers:
            busy = 0 < len(worker.outstanding) <= _LOW and worker.cores == 1
            if busy and not (worker.retiring or worker.returning or worker.verdict or worker.dead):
                current = worker.outstanding[0]
                if self._pace.get(current.reference, 1.0) < _FAST and self.clock() - worker.since < _STUCK:
                    best = worker if best is None or len(worker.outstanding) < len(best.outstanding) else best
        return best

    def _start(self) -> WorkerProcess | None:
        if self.clock() < self._next_start:
            return None
        self._count += 1
        try:
            worker = WorkerProcess(self.root, f"{os.getpid()}-{self._count}", self.store_id)
        except OSError as error:
            self._put_off()
            self._start_error = str(error)
            return None
        self.workers.append(worker)
        self._watch(worker.data.fileno(), lambda: self._on_data(worker), False)
        self._watch(worker.pidfd, lambda: self._on_end(worker), False)
        return worker

    def _give_up_first(self, queue: deque[LocalJob]) -> bool:
        """When not even a process can be made, a job is given up for every try that failed, rather than none ever."""
        if not self._start_error or self._start_failures < _START_FAILURES or self.workers:
            return False
        report = lost(f"workers do not start: {self._start_error}")
        self._start_error = ""
        self._ended(queue.popleft(), report)
        return True

    def _put_off(self) -> None:
        self._start_failures += 1
        self._next_start = self.clock() + min(5.0, 0.05 * 2**self._start_failures)

    # ------------------------------------------------------------------ hearing
    def _on_data(self, worker: WorkerProcess) -> None:
        if worker.dead:
            return
        if worker.flush():
            self._watch(worker.data.fileno(), lambda: self._on_data(worker), False)
        self._hear(worker)

    def _hear(self, worker: WorkerProcess) -> None:
        if worker.broken:
            return
        try:
            for said in worker.receive():
                self._take(worker, said)
            if worker.silent:
                self._watch(worker.data.fileno(), None, False)  # or it would be readable for ever
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            # Nothing of ours says such a thing: the function wrote into our socket. No more of it is believed.
            worker.broken = True
            if worker.current is not None:
                worker.kill(
                    worker.current, of_the_user("E-JOB-EXIT", "the function broke the worker's connection", "broken")
                )
            else:
                worker.kill()

    def _take(self, worker: WorkerProcess, said: dict[str, Any]) -> None:
        if "hello" in said:
            worker.ready, self._start_failures = True, 0
            worker.since = self.clock()
            return
        if "returned" in said:
            self._returned(worker, set(said["returned"]))
            return
        job = worker.outstanding[0]
        if "heard" in said:
            if said["key"] == job.key:  # else a thread that outlived its job
                self._heard(job, said["heard"])
            return
        if said["key"] != job.key:
            raise ValueError(said["key"])
        wall = float(said["wall_s"])
        report = self._report(job, said, wall)
        worker.outstanding.popleft()
        worker.retiring = bool(said.get("retiring"))
        worker.since = self.clock()
        if "cold" not in said:  # the import is paid once
            self.recent = self._pace[job.reference] = 0.5 * (self._pace.get(job.reference, wall) + wall)
        if worker.outstanding:
            worker.outstanding[0].report = RUNNING
        job.worker = None
        self._ended(job, report)
        following = worker.current
        if following is not None and following.cancelled:
            self.cancel(following)

    @staticmethod
    def _report(job: LocalJob, said: Mapping[str, Any], wall: float) -> JobReport:
        usage = Usage(wall, float(said["cpu_s"]), int(said["max_rss"]))
        state = _STATES[said["state"]]
        if state is ReportState.SUCCEEDED:
            result = {"key": job.key, "digest": job.digest, "values": said["values"], "files": said["files"]}
            return JobReport(state, result, None, usage, NODE)
        found = said["failure"]
        reason = Failure(FailureClass(found["class"]), found["code"], found["message"], found["signature"])
        return JobReport(state, None, reason, usage, NODE)

    def _returned(self, worker: WorkerProcess, keys: set[str]) -> None:
        worker.returning = False
        back = [job for job in worker.outstanding if job.key in keys]
        worker.outstanding = deque(job for job in worker.outstanding if job.key not in keys)
        self._give_up(back)

    def _give_up(self, jobs: Sequence[LocalJob]) -> None:
        for job in jobs:
            job.worker = None
        self._requeue(jobs)

    # ------------------------------------------------------------------ ends
    def _on_end(self, worker: WorkerProcess) -> None:
        if worker.dead:
            return
        self._hear(worker)  # what it had said before it died counts
        self._watch(worker.data.fileno(), None, False)
        self._watch(worker.pidfd, None, False)
        status = worker.bury()
        self.workers.remove(worker)
        blamed = self._blamed(worker, status)
        if blamed is not None:
            job, report = blamed
            worker.outstanding.remove(job)
            self._keep_log(worker, job)
            job.worker = None
            self._ended(job, report)
        worker.forget_log()
        self._give_up(list(worker.outstanding))
        worker.outstanding.clear()

    def _blamed(self, worker: WorkerProcess, status: int) -> tuple[LocalJob, JobReport] | None:
        """The job that ends with its worker, and how."""
        job = worker.current
        if worker.verdict is not None:
            return worker.verdict if worker.verdict[0] in worker.outstanding else None
        if not worker.ready:
            self._put_off()
            if job is None or self._start_failures < _START_FAILURES:
                return None
            return job, lost(f"workers do not start: {self._last_line(worker)}")
        if job is None or worker.retiring:
            return None
        return job, judged(status, self._last_line(worker))

    @staticmethod
    def _last_line(worker: WorkerProcess) -> str:
        try:
            with open(worker.log, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
                return last_line(file.read(4096))
        except OSError:
            return ""

    @staticmethod
    def _keep_log(worker: WorkerProcess, job: LocalJob) -> None:
        try:
            with open(worker.log, "rb") as file:
                if os.fstat(file.fileno()).st_size:
                    os.makedirs(job.folder, exist_ok=True)
                    copy_capped(file.fileno(), os.path.join(job.folder, "log"), job.log_limit)
        except OSError:
            pass  # a lost log must not lose the report

    def cancel(self, job: LocalJob) -> None:
        """End a job that is on a worker."""
        worker = job.worker
        if worker is None or worker.dead:
            return
        if worker.current is job:
            worker.kill(job, CANCELLED)
        elif not worker.returning:
            worker.ask_back()

    def prune(self, job: LocalJob) -> None:
        """End a job that is on a worker, with notice."""
        worker = job.worker
        if worker is None or worker.dead or worker.current is not job:
            return
        job.kill_at = self.clock() + PRUNE_GRACE
        worker.ask_to_end(job)

    def drain(self) -> None:
        """Take back what has not begun."""
        for worker in self.workers:
            if len(worker.outstanding) > 1 and not worker.returning and not worker.dead:
                worker.ask_back()

    def close(self) -> None:
        """Kill every worker; what ran on them is not reported."""
        for worker in self.workers:
            self._watch(worker.data.fileno(), None, False)
            self._watch(worker.pidfd, None, False)
            worker.kill()
            worker.bury()
            worker.forget_log()
        self.workers.clear()

    # ------------------------------------------------------------------ time
    def next_time(self) -> float:
        """When :meth:`tick` is to be called at the latest."""
        due = self._next_start if self._next_start > self.clock() else float("inf")
        for worker in self.workers:
            if worker.outstanding:
                first = worker.outstanding[0]
                due = min(due, self._next_tick, worker.since + first.walltime, first.kill_at)
                if len(worker.outstanding) > 1 and not worker.returning and worker.ready:
                    due = min(due, worker.since + _STUCK)
        return due

    def tick(self) -> None:
        """Enforce what depends on time."""
        now = self.clock()
        for worker in self.workers:
            job = worker.current
            if job is None or worker.verdict is not None:
                continue
            if not worker.ready:
                if now >= worker.since + _START_TIME:
                    worker.kill()
            elif now >= worker.since + job.walltime:
                worker.kill(job, of_the_user("E-JOB-WALLTIME", f"ended after its walltime of {job.walltime:g} s"))
            elif now >= job.kill_at:
                worker.kill(job, CANCELLED)
            elif len(worker.outstanding) > 1 and not worker.returning and now >= worker.since + _STUCK:
                worker.ask_back()
        if now >= self._next_tick:
            self._next_tick = now + _TICK
            self._look_at_memory()
            self._look_at_logs()

    def _look_at_memory(self) -> None:
        limited = {
            worker.pid: worker for worker in self.workers if worker.current and worker.current.memory is not None
        }
        if not limited:
            return
        for pid, session in processes.sessions(set(limited)).items():
            worker = limited[pid]
            job = worker.current
            if job is not None and job.memory is not None and session.rss > job.memory and worker.verdict is None:
                text = f"ended at {session.rss / 1e9:.3g} GB (asked for {job.memory / 1e9:.3g} GB)"
                worker.kill(job, of_the_user("E-JOB-OOM", text, "memory"))

    def _look_at_logs(self) -> None:
        """Cut the logs that grow without end, so that they cannot fill the disk before the job ends."""
        for worker in self.workers:
            job = worker.current
            if job is not None:
                worker.note_job(job.key)
            try:
                size = worker.log.stat().st_size if job is not None else 0
                if job is not None and size > max(2 * job.log_limit, _LOG_ROOM):
                    cut_middle(str(worker.log), job.log_limit)
            except OSError:
                continue
