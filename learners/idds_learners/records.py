"""What the records of a history tell the learner that asks again: its hyper-parameters, its residuals, what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from idds_core.history import History, IterationRecord, Point

__all__ = ["past_residuals", "recorded", "split"]


def recorded(iterations: Sequence[IterationRecord]) -> Mapping[str, Any]:
    """Hyper-parameters of the newest record that has any."""
    for record in reversed(iterations):
        if record.state.get("gp"):
            found: Mapping[str, Any] = record.state["gp"]
            return found
    return {}


def past_residuals(history: History) -> dict[str, list[float]]:
    """Residuals on record of all iterations before the one that has just closed, oldest first, by target."""
    found: dict[str, list[float]] = {}
    for record in history.iterations[:-1]:
        for target, values in record.diagnostics.get("residuals", {}).items():
            found.setdefault(target, []).extend(values)
    return found


def split(history: History) -> tuple[list[Point], list[Point]]:
    """Measured points that were known at the question before, and those that have come in since."""
    last = history.iterations[-1]
    if last.ingested_upto is None:
        return ([p for p in history.measured if p.iteration < last.number],
                [p for p in history.measured if p.iteration == last.number])  # fmt: skip
    before = history.iterations[-2].ingested_upto or 0 if len(history.iterations) > 1 else 0
    known = [(p, p.ingest_no) for p in history.measured if p.ingest_no is not None]
    return [p for p, n in known if n <= before], [p for p, n in known if before < n <= last.ingested_upto]
