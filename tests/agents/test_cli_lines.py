"""The plain display tells each failure once, in whatever order attempts end."""

from __future__ import annotations

import io
from dataclasses import replace

from idds_agents.cli.lines import LineDisplay
from idds_agents.cli.watching import Snapshot
from idds_core.states import AttemptState, LoopState, Wish
from idds_core.store import Attempt, LoopRecord


def _attempt(number: int) -> Attempt:
    """A failure of a kind of its own below 100, all alike from there."""
    return Attempt(
        id=number, job_id=number, loop_id=1, number=1, key=f"k{number}", path=f"w/l/it/0/p/{number}/s/job/0/a/1",
        provider="local", handle=None, state=AttemptState.FAILED, reason=f"no luck {min(number, 100)}",
        failure_class="USER", failure_code="E-JOB-RAISED",
    )  # fmt: skip


def _snapshot(loop: LoopRecord, *failed: int) -> Snapshot:
    return Snapshot(loop, {}, 0, (), tuple(_attempt(n) for n in failed), 0.0)


def test_each_failure_is_told_once_in_whatever_order_they_end() -> None:
    loop = LoopRecord(1, 1, "l", LoopState.ACTIVE, Wish.RUN, "", 0.0)
    out = io.StringIO()
    display = LineDisplay(out)
    display.show(_snapshot(loop, 3, 7))
    display.show(_snapshot(loop, 1, 3, 5, 7))
    told = [line.split("/p/")[1].split("/")[0] for line in out.getvalue().splitlines()]
    assert told == ["3", "7", "1", "5"]


def test_of_failures_alike_the_first_are_told_and_the_others_counted_at_the_end() -> None:
    loop = LoopRecord(1, 1, "l", LoopState.ACTIVE, Wish.RUN, "", 0.0)
    out = io.StringIO()
    display = LineDisplay(out)
    display.show(_snapshot(loop, *range(100, 150)))
    display.show(_snapshot(loop, *range(100, 200)))
    display.show(_snapshot(replace(loop, state=LoopState.EXHAUSTED), *range(100, 200)))
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("failed: 97 more like these; 'idds-core show")
