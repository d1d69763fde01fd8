"""A job as the local provider keeps it in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idds_core.ports import Command, Function, JobReport, JobSpec, ReportState
from idds_core.providers.attempt_folder import job_text
from idds_core.runner.frames import dumps

if TYPE_CHECKING:
    from idds_core.providers.local_worker import WorkerProcess

__all__ = ["CANCELLED", "QUEUED", "RUNNING", "LocalJob", "encoded"]

QUEUED = JobReport(ReportState.QUEUED)
RUNNING = JobReport(ReportState.RUNNING)
CANCELLED = JobReport(ReportState.CANCELLED)


class LocalJob:
    """One job. `report` is replaced as a whole, so that it may be read without a lock.

    `frame` is what the worker or the runner gets, until the job has ended; `reference` tells equal functions.
    """

    __slots__ = ("cancelled", "cores", "digest", "folder", "frame", "is_command", "key", "kill_at", "log_limit",
                 "memory", "output_limit", "pruned", "reference", "report", "walltime", "worker")  # fmt: skip

    def __init__(self, key: str, folder: str, digest: str, cores: int, output_limit: int) -> None:
        self.key, self.folder, self.digest, self.cores, self.output_limit = key, folder, digest, cores, output_limit
        self.report = QUEUED
        self.cancelled = False
        self.is_command = True
        self.frame = self.reference = ""
        self.memory: int | None = None
        self.walltime = self.kill_at = float("inf")
        self.pruned = ""  # why it is to end with notice
        self.log_limit = 0
        self.worker: WorkerProcess | None = None

    @classmethod
    def of(cls, spec: JobSpec, slots: int) -> LocalJob:
        """From a spec. Raises TypeError or ValueError when it cannot be written as JSON."""
        job = cls(spec.key, spec.folder, spec.digest, max(1, min(spec.requires.cores, slots)), spec.output_limit)
        job.memory, job.walltime, job.log_limit = spec.requires.memory, spec.requires.walltime, spec.log_limit
        job.is_command = isinstance(spec.payload, Command)
        if isinstance(spec.payload, Function):
            job.reference = f"{spec.payload.bundle}:{spec.payload.reference}"
            job.frame = encoded(spec, spec.payload)
        else:
            job.frame = job_text(spec, spec.payload)
        return job


def encoded(spec: JobSpec, payload: Function) -> str:
    """The job as a worker gets it."""
    frame = {
        "key": spec.key,
        "reference": payload.reference,
        "bundle": payload.bundle,
        "arguments": dict(payload.arguments),
        "context": payload.context,
        "folder": spec.folder,
        "seed": spec.seed,
        "log_limit": spec.log_limit,
        "output_limit": spec.output_limit,
    }
    if payload.own_folder:
        frame["own_folder"] = True
    if payload.context:
        frame["parameters"] = dict(spec.parameters)
        frame["checkpoint"] = spec.checkpoint
    return dumps(frame)
