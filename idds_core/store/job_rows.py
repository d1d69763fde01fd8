"""Rows of attempts and jobs as their outcomes change them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from idds_core.states import FailureClass
from idds_core.store.records import Outcome

__all__ = ["attempt_end", "counts", "grouped", "job_end"]


def attempt_end(o: Outcome) -> dict[str, Any]:
    """What the end of an attempt writes into its row."""
    failure = o.failure
    return {
        "id": o.claim.attempt.id,
        "reason": o.reason,
        "failure_class": str(failure.class_) if failure else None,
        "failure_code": failure.code if failure else None,
        "signature": failure.signature if failure else None,
        "node": o.node,
        "wall_s": o.usage.wall_s,
        "cpu_s": o.usage.cpu_s,
        "max_rss": o.usage.max_rss,
    }


def job_end(o: Outcome) -> dict[str, Any]:
    """What the end of an attempt writes into its job's row."""
    infra = o.failure is not None and o.failure.class_ is FailureClass.INFRA
    user = o.failure is not None and not infra
    return {
        "id": o.claim.job_id,
        "reason": o.reason,
        "user_failures": o.claim.user_failures + (o.counts and user),
        "infra_failures": o.claim.infra_failures + (o.counts and infra),
        "not_before": o.not_before,
    }


def grouped(outcomes: Sequence[Outcome], key: Callable[[Outcome], Any]) -> list[tuple[Any, list[Outcome]]]:
    """Outcomes by what moves alike, in order."""
    return [(k, list(g)) for k, g in groupby(sorted(outcomes, key=key), key=key)]


def counts(loops: Any) -> list[tuple[int, int]]:
    """Loop -> how often it is named."""
    found: dict[int, int] = defaultdict(int)
    for loop_id in loops:
        found[loop_id] += 1
    return list(found.items())
