"""What commands say on their way: lines of JSON in a file of the attempt's folder. Nothing found there is trusted.

``{"step": 3, "value": 0.25}`` is a report, ``{"progress": 0.4, "text": "epoch 4 of 10"}`` says how far the job is.
"""

# Paths are text in the protocol of the attempt's folder
# ruff: noqa: PTH118

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from idds_core.ports import Heard
from idds_core.providers.local_job import LocalJob
from idds_core.runner.channel import MOST_REPORTS, MOST_TEXT
from idds_core.runner.folder import REPORTS

__all__ = ["ReportFiles", "heard_in", "of_line"]

_CHUNK = 1 << 20


def _number(value: Any) -> float | None:
    fine = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        return float(value) if fine and math.isfinite(value) else None
    except OverflowError:
        return None


def of_line(line: bytes) -> tuple[tuple[int, float] | None, tuple[float, str] | None]:
    """The report and the progress in a line; what is neither is left alone.

    >>> of_line(b'{"step": 3, "value": 0.25}'), of_line(b'{"progress": 0.4}'), of_line(b"half a li")
    (((3, 0.25), None), (None, (0.4, '')), (None, None))
    """
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None, None
    return heard_in(said) if isinstance(said, dict) else (None, None)


def heard_in(said: dict[str, Any]) -> tuple[tuple[int, float] | None, tuple[float, str] | None]:
    """The report and the progress in an object."""
    step, value, share = said.get("step"), _number(said.get("value")), _number(said.get("progress"))
    report = None
    if isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**53 and value is not None:
        report = (step, value)
    text = said.get("text")
    progress = None
    if share is not None:
        progress = (min(1.0, max(0.0, share)), text[:MOST_TEXT] if isinstance(text, str) else "")
    return report, progress


class ReportFiles:
    """Follows the files of commands, from the beginning of each: what is heard twice is one report all the same."""

    def __init__(self) -> None:
        self._followed: dict[str, tuple[LocalJob, int, int]] = {}  # key -> job, offset, reports so far

    def follow(self, job: LocalJob) -> None:
        """Read the file of a command until it has ended."""
        self._followed.setdefault(job.key, (job, 0, 0))

    def forget(self, key: str) -> None:
        """Its end is on record."""
        self._followed.pop(key, None)

    def heard(self, *, all_of_them: bool) -> list[Heard]:
        """What is new, of those that have ended or of all."""
        found = []
        for key, (job, start, before) in list(self._followed.items()):
            ended = job.report.state.ended
            if not (ended or all_of_them):
                continue
            news, offset, count = _read(os.path.join(job.folder, REPORTS), key, start, before)
            if ended:
                del self._followed[key]  # nothing more will come
            else:
                self._followed[key] = (job, offset, count)
            if news is not None:
                found.append(news)
        return found


def _read(path: str, key: str, offset: int, count: int) -> tuple[Heard | None, int, int]:
    """What whole lines say from `offset` on; a payload that writes without end is cut off."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None, offset, count
    try:
        data = os.pread(fd, _CHUNK, offset)
    except OSError:
        return None, offset, count
    finally:
        os.close(fd)
    end = data.rfind(b"\n") + 1
    if end == 0:
        return None, offset + len(data) if len(data) == _CHUNK else offset, count
    reports, progress = _parsed(data[:end].splitlines(), MOST_REPORTS - count)
    if not reports and progress is None:
        return None, offset + end, count
    return Heard(key, tuple(reports), progress), offset + end, count + len(reports)


def _parsed(lines: Iterable[bytes], room: int) -> tuple[Sequence[tuple[int, float]], tuple[float, str] | None]:
    reports: list[tuple[int, float]] = []
    progress = None
    for line in lines:
        report, further = of_line(line)
        progress = further or progress
        if report is not None and len(reports) < room:
            reports.append(report)
    return reports, progress
