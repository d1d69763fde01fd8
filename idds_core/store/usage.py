"""What the jobs of a loop used, step by step: one statement, however many jobs there are."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from idds_core.states import AttemptState
from idds_core.store import tables
from idds_core.store.database import Database

__all__ = ["StepUsage", "usage_by_step"]


@dataclass(frozen=True, slots=True)
class StepUsage:
    """The attempts of a step's jobs, added up.

    jobs : those that were tried at least once; attempts : all of them; failed : those that failed or were lost.
    wall_s, cpu_s : sums over the attempts, in seconds; max_rss : the largest, in bytes.
    """

    step: str
    jobs: int
    attempts: int
    failed: int
    wall_s: float
    cpu_s: float
    max_rss: int

    @property
    def retries(self) -> int:
        """Attempts beyond the first of each job."""
        return self.attempts - self.jobs


def usage_by_step(database: Database, loop_id: int) -> list[StepUsage]:
    """Usage of each step of a loop, in the order of the steps."""
    a, j = tables.attempt.c, tables.job.c
    lost = a.state.in_((AttemptState.FAILED, AttemptState.LOST))
    query = (
        sa.select(
            j.step,
            sa.func.count(a.job_id.distinct()),
            sa.func.count(),
            sa.func.sum(sa.case((lost, 1), else_=0)),
            sa.func.coalesce(sa.func.sum(a.wall_s), 0.0),
            sa.func.coalesce(sa.func.sum(a.cpu_s), 0.0),
            sa.func.coalesce(sa.func.max(a.max_rss), 0),
        )
        .select_from(tables.attempt.join(tables.job, j.id == a.job_id))
        .where(j.loop_id == loop_id)
        .group_by(j.step)
        .order_by(sa.func.min(j.step_no), j.step)
    )
    with database.reading() as connection:
        return [StepUsage(*row) for row in connection.execute(query)]
