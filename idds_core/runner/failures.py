"""Failures as they are written down: class, code, one line, and the signature that tells equal errors."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["FATAL", "INFRA", "USER", "failure", "normalised"]

INFRA, USER, FATAL = "INFRA", "USER", "FATAL"

_PATH = re.compile(r"(?:[\w.~-]+)?(?:/[\w.+@%=~-]+)+/?")
_HEX = re.compile(r"\b0[xX][0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b")
_DIGITS = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def normalised(line: str) -> str:
    """The line without what differs between two runs of the same error.

    >>> normalised("/tmp/a7/x.py:31: bad value 3.5e-2 at 0x7f01")
    '<path>:N: bad value N at <hex>'
    """
    line = _PATH.sub("<path>", line[:2000])
    line = _DIGITS.sub("N", _HEX.sub("<hex>", line))
    return " ".join(line.split())[:200]


def failure(class_: str, code: str, message: str, *marks: object) -> dict[str, Any]:
    """A failure. Its signature is the code and the marks; text among the marks is normalised."""
    parts = [code] + [normalised(mark) if isinstance(mark, str) else str(mark) for mark in marks]
    text = " ".join(message.split())[:2000]
    return {"class": class_, "code": code, "message": text, "signature": "|".join(part for part in parts if part)}
