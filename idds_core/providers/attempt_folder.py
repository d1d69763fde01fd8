"""The provider's side of an attempt's folder: job.json goes in, the end comes out. Nothing found there is trusted."""

# Paths are text in the protocol of the attempt's folder
# ruff: noqa: PTH103, PTH118

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idds_core.ports import Command, Failure, JobReport, JobSpec, ReportState, Usage
from idds_core.runner.folder import PROTOCOL, read_checked, read_json
from idds_core.states import FailureClass

__all__ = ["garbled", "job_text", "lost", "read_end", "read_owner", "write_job"]

_DONE_LIMIT = 1_000_000
_OWNER_LIMIT = 10_000
_STATES = {
    "succeeded": ReportState.SUCCEEDED,
    "failed": ReportState.FAILED,
    "infeasible": ReportState.INFEASIBLE,
    "cancelled": ReportState.CANCELLED,
}


def lost(message: str, code: str = "E-JOB-LOST") -> JobReport:
    """The report of a job that the site lost."""
    state = ReportState.LOST if code == "E-JOB-LOST" else ReportState.FAILED
    return JobReport(state, failure=Failure(FailureClass.INFRA, code, message, code))


def garbled(message: str) -> JobReport:
    """The report of a job whose end cannot be read."""
    return lost(message, "E-JOB-DONE")


def job_text(spec: JobSpec, payload: Command) -> str:
    """What ``job.json`` is to hold. Raises TypeError or ValueError for what is not JSON."""
    job = {
        "protocol": PROTOCOL,
        "key": spec.key,
        "digest": spec.digest,
        "argv": list(payload.argv),
        "env": dict(payload.env),
        "outputs": dict(payload.outputs),
        "result": payload.result,
        "walltime": spec.requires.walltime,
        "memory": spec.requires.memory,
        "cores": spec.requires.cores,
        "log_limit": spec.log_limit,
        "output_limit": spec.output_limit,
        "seed": spec.seed,
        "parameters": dict(spec.parameters),
        "checkpoint": spec.checkpoint,
    }
    return json.dumps(job)


def write_job(folder: str, text: str) -> None:
    """Write ``job.json``; a reader sees the whole of it or nothing. Raises OSError."""
    os.makedirs(folder, exist_ok=True)
    temporary = Path(folder, ".job.json.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(Path(folder, "job.json"))


def read_owner(folder: str) -> Mapping[str, Any] | None:
    """Identity of the runner that claimed the folder; None when there is no (legible) one."""
    try:
        found = read_json(os.path.join(folder, "claim", "runner.json"), _OWNER_LIMIT)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_end(folder: str, key: str, digest: str, output_limit: int) -> JobReport | None:
    """What ``DONE.json`` and ``result.json`` say; None when there is no end yet. Garbage is a failure of the site."""
    try:
        done = read_json(os.path.join(folder, "DONE.json"), _DONE_LIMIT)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return garbled(f"DONE.json cannot be read: {error}")
    try:
        return _report(folder, done, key, digest, output_limit)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return garbled(f"DONE.json makes no sense: {type(error).__name__}: {error}")


def _report(folder: str, done: dict[str, Any], key: str, digest: str, output_limit: int) -> JobReport:
    if done["protocol"] != PROTOCOL:
        return garbled(f"DONE.json has protocol {done['protocol']!r}")
    if done["key"] != key or done["digest"] != digest:
        failure = done.get("failure")
        if done["key"] is None and failure:  # the runner could not even read job.json
            return lost(str(failure["message"]), str(failure["code"]))
        return garbled("DONE.json belongs to another job")
    used = done["usage"]
    usage = Usage(float(used["wall_s"]), float(used["cpu_s"]), int(used["max_rss"]))
    node, state = str(done["node"]), _STATES[done["state"]]
    if state is ReportState.SUCCEEDED:
        return _succeeded(folder, done, output_limit, usage, node)
    failure = _failure(done["failure"])
    if failure is not None and failure.code == "E-JOB-LOST":
        state = ReportState.LOST
    return JobReport(state, None, failure, usage, node)


def _failure(found: Mapping[str, Any] | None) -> Failure | None:
    if found is None:
        return None
    return Failure(FailureClass(found["class"]), str(found["code"]), str(found["message"]), str(found["signature"]))


def _succeeded(folder: str, done: Mapping[str, Any], output_limit: int, usage: Usage, node: str) -> JobReport:
    try:
        # The runner limits the values; their encoding and the list of files may add to it.
        result, checksum = read_checked(os.path.join(folder, "result.json"), 8 * output_limit + _DONE_LIMIT)
    except (OSError, ValueError) as error:
        return garbled(f"result.json cannot be read: {error}")
    if checksum != done["result_sha256"]:
        return garbled("result.json has another checksum than DONE.json says")
    if result["key"] != done["key"] or result["digest"] != done["digest"]:
        return garbled("result.json belongs to another job")
    files = {
        name: {"path": os.path.join(folder, file["path"]), "bytes": file["bytes"], "sha256": file["sha256"]}
        for name, file in result["files"].items()
    }
    found = {"key": result["key"], "digest": result["digest"], "values": dict(result["values"]), "files": files}
    return JobReport(ReportState.SUCCEEDED, found, None, usage, node)
