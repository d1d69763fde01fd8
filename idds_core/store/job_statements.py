"""Statements about jobs that are asked at each turn of an engine.

They are built once: building one costs more than running it. States are literals where a partial index must be seen
to fit.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from idds_core.states import JobState
from idds_core.store import tables

__all__ = [
    "ADOPT",
    "ATTEMPT",
    "ATTEMPT_FIELDS",
    "CLAIMED",
    "COUNT_ATTEMPT",
    "LAST_DONE",
    "LIVE_COUNT",
    "LIVE_KEYS",
    "MINE",
    "NEXT_READY",
    "OF_JOBS",
    "OTHERS",
    "READY",
    "RELEASED",
    "RENEW",
    "RESULTS",
]

ATTEMPT_FIELDS = (
    "id",
    "job_id",
    "loop_id",
    "number",
    "key",
    "path",
    "provider",
    "handle",
    "state",
    "reason",
    "failure_class",
    "failure_code",
    "signature",
    "created",
    "ended",
    "wall_s",
    "cpu_s",
    "max_rss",
)
ATTEMPT = [tables.attempt.c[name] for name in ATTEMPT_FIELDS]


def _given(name: str) -> Any:
    """The values of a bound JSON array: one statement for a list of any length."""
    values = sa.func.json_each(sa.bindparam(name, type_=sa.Text)).table_valued("value")
    return sa.select(values.c.value)


_A, _J, _P, _R = tables.attempt.c, tables.job.c, tables.point.c, tables.result.c
_LIVE = _A.state.in_([sa.literal_column("'intent'"), sa.literal_column("'submitted'")])
LIVE_KEYS = sa.select(_A.key).where(_LIVE)
LIVE_COUNT = sa.select(sa.func.count()).where(_LIVE, _A.loop_id == sa.bindparam("loop"))
ADOPT = (
    sa.update(tables.attempt)
    .where(_A.id.in_(_given("ids")), _LIVE)
    .values(owner=sa.bindparam("owner"), lease_until=sa.bindparam("until"))
)
RENEW = (
    sa.update(tables.attempt)
    .where(_A.id.in_(_given("ids")), _LIVE, _A.owner == sa.bindparam("owner"))
    .values(lease_until=sa.bindparam("until"))
    .returning(_A.id)
)
LAST_DONE = (
    sa.select(_A.path, _J.step)
    .join(tables.job, _J.id == _A.job_id)
    .where(_A.loop_id == sa.bindparam("loop"), _A.state == sa.literal_column("'SUCCEEDED'"))
    .order_by(_A.ended.desc())
    .limit(sa.bindparam("limit"))
)
READY = (
    sa.select(_J.id)
    .where(
        _J.state == sa.literal_column("'ready'"),
        _J.not_before <= sa.bindparam("now"),
        _J.loop_id.in_(_given("loops")),
    )
    .order_by(_J.id)
    .limit(sa.bindparam("limit"))
)
NEXT_READY = sa.select(sa.func.min(_J.not_before)).where(
    _J.state == sa.literal_column("'ready'"), _J.loop_id.in_(_given("loops"))
)
COUNT_ATTEMPT = sa.update(tables.job).where(_J.id.in_(_given("ids"))).values(attempts=_J.attempts + 1)
CLAIMED = (
    sa.select(_J.id, _J.loop_id, _J.step, _J.variant, _J.chunk, _J.attempts, _P.number.label("point"), _P.iteration)
    .join(tables.point, _P.id == _J.point_id)
    .where(_J.id.in_(_given("ids")))
    .order_by(_J.id)
)
_LIVE_CLAIMS = (
    sa.select(
        *ATTEMPT,
        _J.point_id,
        _P.number.label("point"),
        _P.parameters,
        _P.digest,
        _J.step,
        _J.step_no,
        _J.variant,
        _J.chunk,
        _J.wide,
        _J.user_failures,
        _J.infra_failures,
        _P.given,
    )
    .select_from(tables.attempt)
    .join(tables.job, _J.id == _A.job_id)
    .join(tables.point, _P.id == _J.point_id)
    .where(_LIVE)
    .order_by(_A.id)
)
OF_JOBS = _LIVE_CLAIMS.where(_A.job_id.in_(_given("ids")))
MINE = _LIVE_CLAIMS.where(_A.owner == sa.bindparam("owner"))
OTHERS = _LIVE_CLAIMS.where(_A.owner != sa.bindparam("owner"), _A.lease_until < sa.bindparam("before"))
RESULTS = (
    sa.select(_J.point_id, _J.step_no, _J.step, _R.result, _J.variant, _J.chunk)
    .join(tables.result, _R.job_id == _J.id)
    .where(_J.point_id.in_(_given("ids")))
    .order_by(_J.point_id, _J.step_no, _J.id)
)
_before = tables.job.alias("before")
RELEASED = (
    sa.select(_J.id)
    .join(_before, _before.c.point_id == _J.point_id)
    .where(
        _J.state == sa.literal_column("'waiting'"),
        _J.wide == 0,
        _before.c.step_no == _J.step_no - 1,
        _before.c.state == JobState.DONE,
    )
    .order_by(_J.id)
)
