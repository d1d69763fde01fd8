"""One command job from its claim to ``DONE.json``.

A command tells its values by writing a JSON object to the file declared as its result. It says that its point cannot
exist by writing ``{"infeasible": "<reason>"}`` there and ending with exit code 0. On its way it may append lines to the
file that IDDS_REPORT names, and what it leaves in the folder IDDS_CHECKPOINT its next attempt finds.
"""

# Text paths: the import of pathlib is a third of a short command's overhead
# ruff: noqa: PTH103

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from idds_core.runner import processes
from idds_core.runner.capped_log import CappedLog
from idds_core.runner.failures import FATAL, INFRA, USER, failure
from idds_core.runner.folder import PROTOCOL, REPORTS, Folder, OutputError, disk_full, read_json, write_json
from idds_core.runner.payload import Payload, StartError
from idds_core.runner.watch import Limits

__all__ = ["DUPLICATE", "MARK", "UNTOLD", "main", "run"]

#: Exit codes of the runner: somebody else has the claim; the end could not be written down (a full disk).
DUPLICATE, UNTOLD = 75, 74
_JOB_LIMIT = 256_000_000
_GRACE = 2.0
#: Variable of the payload by which it is found when its runner was killed: no two jobs of a machine share a folder.
MARK = "IDDS_FOLDER"


def main(arguments: list[str]) -> int:
    """``[folder]`` -> exit code of the runner: 0 when DONE.json tells the end."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -I -S <runner> <attempt folder>\n")
        return 64
    os.closerange(3, 1024)  # nothing of whoever started us may live on in the payload
    return run(arguments[0])


def run(path: str) -> int:
    """Run the job in the folder. Returns the exit code of the runner."""
    folder = Folder(path)
    try:
        if not folder.claim():
            return DUPLICATE
    except OSError:
        return UNTOLD
    job: dict[str, Any] = {}
    try:
        write_json(folder.file("claim"), "runner.json", processes.identity(os.getpid()), durable=False)
        folder.keep_ballast()
        loaded = read_json(folder.file("job.json"), _JOB_LIMIT)
        job = loaded if isinstance(loaded, dict) else {}
        end = Attempt(folder, job).end()
    except Exception as error:  # noqa: BLE001
        # Last resort: an end with a reason is better than a silence that looks like a lost node.
        code = "E-JOB-DISK" if disk_full(error if isinstance(error, OSError) else None, folder.path) else "E-JOB-RUNNER"
        end = {"state": "failed", "failure": failure(INFRA, code, f"{type(error).__name__}: {error}", str(error))}
    return _tell(folder, job, end)


def _tell(folder: Folder, job: dict[str, Any], end: dict[str, Any]) -> int:
    folder.drop_ballast()
    done = {"protocol": PROTOCOL, "key": job.get("key"), "digest": job.get("digest"), "node": socket.gethostname(),
        "exit_code": None, "signal": None, "failure": None, "result_sha256": None,
        "usage": {"wall_s": 0.0, "cpu_s": 0.0, "max_rss": 0}, **end}  # fmt: skip
    try:
        write_json(folder.path, "DONE.json", done)
    except OSError:
        return UNTOLD
    return 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Attempt:
    """One run of a job, and how it is judged."""

    def __init__(self, folder: Folder, job: dict[str, Any]) -> None:
        if job.get("protocol") != PROTOCOL:
            raise ValueError(f"job.json has protocol {job.get('protocol')!r}, this runner speaks {PROTOCOL}")
        self.folder, self.job = folder, job
        self.log = CappedLog(folder.file("log"), int(job["log_limit"]))
        limits = Limits(
            float(job["walltime"]), job.get("memory"), folder.file("cancel"), float(job.get("grace", _GRACE))
        )
        self.payload = Payload(self.log, limits)

    def end(self) -> dict[str, Any]:
        """Run it, write ``result.json`` if it succeeded; returns what DONE.json is to say."""
        try:
            self._run()
        except StartError as error:
            self.log.write(f"{error}\n".encode())
            self.log.close()
            found = failure(FATAL if error.fatal else INFRA, "E-JOB-START", str(error), str(error))
            return {"state": "failed", "failure": found}
        self.log.close()
        payload = self.payload
        usage = {"wall_s": payload.wall_s, "cpu_s": payload.cpu_s, "max_rss": payload.max_rss}
        how = {"exit_code": payload.exit_code, "signal": payload.signal, "usage": usage}
        if payload.stopped == "cancel":
            return {"state": "cancelled", **how}
        judged = self._failure()
        if judged is not None:
            return {"state": "failed", "failure": judged, **how}
        return {**self._collect(), **how}

    def _run(self) -> None:
        job, folder = self.job, self.folder
        write_json(folder.path, "params.json", job.get("parameters", {}), durable=False)
        env = {**os.environ, **job.get("env", {}), "IDDS_KEY": job["key"], "IDDS_SEED": str(job.get("seed", 0))}
        env[MARK] = folder.path
        env["IDDS_REPORT"] = folder.file(REPORTS)
        if job.get("checkpoint"):
            os.makedirs(job["checkpoint"], exist_ok=True)
            env["IDDS_CHECKPOINT"] = job["checkpoint"]
        self.payload.run(list(job["argv"]), env, folder.path)

    def _failure(self) -> dict[str, Any] | None:
        """The failure that the payload's own end tells."""
        payload, job, line = self.payload, self.job, self.log.last_line()
        if payload.stopped == "walltime":
            return failure(USER, "E-JOB-WALLTIME", f"ended after its walltime of {job['walltime']:g} s")
        if payload.stopped == "memory":
            used, allowed = self.payload.limits.peak / 1e9, job["memory"] / 1e9
            return failure(USER, "E-JOB-OOM", f"ended at {used:.3g} GB (asked for {allowed:.3g} GB)")
        if payload.stopped == "told":
            return failure(INFRA, "E-JOB-LOST", "the site ended it (SIGTERM)")
        failed = payload.exit_code != 0
        if disk_full(self.log.error, self.folder.path) and (failed or self.log.error is not None):
            return failure(INFRA, "E-JOB-DISK", f"no space left in {self.folder.path}")
        if payload.signal is not None:
            name = _signal_name(payload.signal)
            return failure(USER, "E-JOB-SIGNAL", f"ended by {name}: {line}".rstrip(": "), name, line)
        if failed:
            return failure(
                USER, "E-JOB-EXIT", f"exit code {payload.exit_code}: {line}".rstrip(": "), payload.exit_code, line
            )
        return None

    def _collect(self) -> dict[str, Any]:
        """Check the outputs and write ``result.json``."""
        job, folder = self.job, self.folder
        try:
            values = folder.values(job.get("result"), int(job["output_limit"]))
            if set(values) == {"infeasible"} and isinstance(values["infeasible"], str):
                reason = values["infeasible"]
                return {"state": "infeasible", "failure": failure(USER, "E-JOB-INFEASIBLE", reason, reason)}
            files = folder.outputs(job.get("outputs") or {})
            result = {
                "protocol": PROTOCOL,
                "key": job["key"],
                "digest": job["digest"],
                "values": values,
                "files": files,
            }
            digest = write_json(folder.path, "result.json", result)
        except OutputError as error:
            return {"state": "failed", "failure": failure(USER, error.code, str(error), str(error))}
        except OSError as error:
            if not disk_full(error, folder.path):
                raise
            return {"state": "failed", "failure": failure(INFRA, "E-JOB-DISK", f"no space left in {folder.path}")}
        return {"state": "succeeded", "result_sha256": digest}
