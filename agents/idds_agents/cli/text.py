"""Words for people: durations, columns, and text of unknown origin made safe for a terminal."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "clean",
    "columns",
    "counted",
    "counts",
    "duration",
    "hush",
    "number",
    "percent",
    "print_json",
    "reader_is_gone",
    "say",
    "warn",
]

# Escape sequences whole (their letters are no text either), then every control character but tab and newline
_SEQUENCES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[@-Z\\-_])"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    r"""Text without anything that could steer a terminal.

    >>> clean("a\x1b[31mred\x1b[0m\x07\rb\n")
    'aredb\n'
    """
    return _CONTROLS.sub("", _SEQUENCES.sub("", text))


def counted(n: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "job"), counted(3, "job")
    ('1 job', '3 jobs')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def say(text: str = "") -> None:
    """A line on stdout."""
    print(clean(text))


def warn(text: object) -> None:
    """A line on stderr."""
    print(clean(str(text)), file=sys.stderr)


def print_json(document: Any, *, indent: int | None = None) -> None:
    """One JSON value on stdout; on a single line unless indented."""
    print(json.dumps(document, indent=indent, allow_nan=False))


def reader_is_gone(error: OSError) -> bool:
    """Whether nobody reads any more: a closed pipe (``| head``), or a terminal that was closed."""
    return error.errno == errno.EPIPE or (error.errno == errno.EIO and error.filename is None)


def hush() -> None:
    """Nobody reads any more: no message, and none from the interpreter's last flush either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(0.34), duration(75), duration(7300), duration(200000)
    ('0.3 s', '1 min 15 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    for size, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{int(seconds // size)} {name} {int(seconds % size // part)} {part_name}"
    raise AssertionError(seconds)


def number(value: Any) -> str:
    """A value in a few characters."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def percent(fraction: float, text: str = "") -> str:
    """How far something is, and in which words.

    >>> percent(0.425, "epoch 4"), percent(1.0)
    ('42 %, epoch 4', '100 %')
    """
    share = f"{int(100 * fraction)} %"
    return f"{share}, {text}" if text else share


def counts(found: Mapping[str, int]) -> str:
    """``50 MEASURED, 2 FAILED``; "none" for nothing.

    >>> counts({"MEASURED": 3, "FAILED": 0}), counts({})
    ('3 MEASURED', 'none')
    """
    return ", ".join(f"{n} {name}" for name, n in found.items() if n) or "none"


def columns(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> list[str]:
    """Rows as aligned lines under a head; the last column is left as it is.

    >>> columns([[1, "go on"], [10, "stop"]], ["it", "verdict"])
    ['it  verdict', '1   go on', '10  stop']
    """
    table = [list(head), *([clean(str(cell)).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    widths[-1] = 0
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
