"""Numbers with units: bytes and seconds, as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["normalise", "parse_bytes", "parse_seconds"]

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([a-zA-Z]*)\s*")


def _quantity(text: str, units: Mapping[str, float]) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2].lower() not in units:
        known = ", ".join(u for u in units if u)
        raise ValueError(f"{text!r} is not a number with one of the units {known}")
    number = float(match[1]) * units[match[2].lower()]
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]!r}... is too large")
    return number


def parse_bytes(value: float | str) -> int:
    """Bytes of "4GB" (10^9), "4GiB" (2^30) or a bare number.

    >>> parse_bytes("4GB"), parse_bytes("1 KiB"), parse_bytes(10)
    (4000000000, 1024, 10)
    """
    return int(_quantity(value, _BYTES)) if isinstance(value, str) else int(value)


def parse_seconds(value: float | str) -> float:
    """Seconds of "2h", "5min", "30s", "1d" or a bare number.

    >>> parse_seconds("1.5h"), parse_seconds(10)
    (5400.0, 10.0)
    """
    return _quantity(value, _SECONDS) if isinstance(value, str) else float(value)


def normalise(instance: object, name: str, parse: Callable[[Any], float]) -> None:
    """Replace a quantity by its number where it can be read; what cannot stays, for the validation to name."""
    value = getattr(instance, name)
    if isinstance(value, str):
        try:
            object.__setattr__(instance, name, parse(value))
        except ValueError:
            return
