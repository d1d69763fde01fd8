"""What a loop inside of something has found, as a file for the steps after it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from idds_core.errors import StoreError
from idds_core.history import History, Point

__all__ = ["leave_result", "result_content"]


def result_content(path: str, state: str, reason: str, targets: tuple[str, ...], history: History) -> dict[str, Any]:
    """What the file says; the same history gives the same."""
    return {
        "path": path,
        "state": state,
        "reason": reason,
        "targets": list(targets),
        "points": [_as_json(p) for p in history.current],
    }


def leave_result(file: Path, content: dict[str, Any]) -> None:
    """Write it: the whole file, or none.

    Raises
    ------
    StoreError
        When it cannot be written.

    """
    new = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with new.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
    except OSError as error:
        raise StoreError.of(
            "E-STORE-002",
            "the disk is full or failing",
            str(error),
            str(file),
            "Free some space, then run the same command again; nothing acknowledged was lost.",
        ) from error


def _as_json(point: Point) -> dict[str, Any]:
    found = {"number": point.number, "parameters": dict(point.parameters), "state": str(point.state)}
    if point.observation is not None:
        seen = point.observation.to_json()
        found |= {what: seen[what] for what in ("values", "sigmas", "censored") if what in seen}
    return found
