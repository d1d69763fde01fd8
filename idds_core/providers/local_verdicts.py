"""Whose fault it is when a worker ends under a function."""

from __future__ import annotations

import os
import signal
import socket

from idds_core.ports import Failure, JobReport, ReportState
from idds_core.providers.attempt_folder import lost
from idds_core.runner.failures import failure
from idds_core.states import FailureClass

__all__ = ["NODE", "judged", "of_the_user"]

_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS,
    signal.SIGTRAP})  # fmt: skip
NODE = socket.gethostname()


def of_the_user(code: str, message: str, *marks: object) -> JobReport:
    """The report of a failure that is the user's."""
    found = failure("USER", code, message, *marks)
    return JobReport(
        ReportState.FAILED, None, Failure(FailureClass.USER, code, found["message"], found["signature"]), node=NODE
    )


def judged(status: int, line: str) -> JobReport:
    """The report of the job that ran while its worker ended with this wait status."""
    if os.WIFEXITED(status):
        code = os.WEXITSTATUS(status)
        return of_the_user(
            "E-JOB-EXIT", f"the function ended its process with exit code {code}: {line}".rstrip(": "), code, line
        )
    number = os.WTERMSIG(status)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number in _CRASHES:
        return of_the_user("E-JOB-SIGNAL", f"the function ended its process by {name}: {line}".rstrip(": "), name)
    return lost(f"the worker was ended by {name}")
