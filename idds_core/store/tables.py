"""The one schema, for SQLite and PostgreSQL. Changed only together with a migration."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "attempt",
    "command",
    "counter",
    "counter_delta",
    "event",
    "iteration",
    "job",
    "late_result",
    "loop",
    "meta",
    "metadata",
    "outbox",
    "point",
    "progress",
    "queued",
    "report",
    "result",
    "workflow",
]

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = sa.Table("meta", metadata, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text))


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True)


def _parent(table: str) -> sa.Column[int]:
    return sa.Column(f"{table}_id", sa.ForeignKey(f"{table}.id"), nullable=False)


def _state() -> list[sa.Column[object]]:
    """What every entity with a state has: the fact, the compare-and-set version, and why it is so."""
    return [
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="0"),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
    ]


workflow = sa.Table(
    "workflow",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False, server_default="1"),
    sa.Column("continues", sa.ForeignKey("workflow.id")),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("bundle", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("wish", sa.Text, nullable=False, server_default="run"),
    sa.Column("reuse", sa.Integer, nullable=False, server_default="0"),
    *_state(),
    sa.UniqueConstraint("name", "revision"),
)

loop = sa.Table(
    "loop",
    metadata,
    _id(),
    _parent("workflow"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("wish", sa.Text, nullable=False, server_default="run"),
    sa.Column("before_s", sa.Float, nullable=False, server_default="0"),  # what the revisions before it took
    *_state(),
    sa.Column("parent_point", sa.Integer),
    sa.Column("unblinded", sa.Float),
    sa.Column("step_no", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("workflow_id", "name"),
)
sa.Index("ix_loop_parent", loop.c.parent_point)

# A loop inside another has a row for each point of it; its name is its path below the workflow.
# One row is the decision record of one turn. `ingested_upto` and `pending` are for loops without a barrier.
iteration = sa.Table(
    "iteration",
    metadata,
    _id(),
    _parent("loop"),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("asked", sa.Integer, nullable=False),
    sa.Column("proposed", sa.Integer, nullable=False),
    sa.Column("ingested_upto", sa.Integer),
    sa.Column("pending", sa.Text),
    sa.Column("learner_state", sa.Text),
    sa.Column("diagnostics", sa.Text),
    sa.Column("verdict", sa.Text),
    sa.Column("verdict_reason", sa.Text),
    sa.Column("elapsed_s", sa.Float),
    sa.Column("core_hours", sa.Float),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("closed", sa.Float),
    sa.Column("took", sa.Text),  # seconds of the learner's answer by part: for people, never for a learner
    sa.Column("versions", sa.Text),  # of what gave the answer: for people and for replay
    sa.UniqueConstraint("loop_id", "number"),
)

point = sa.Table(
    "point",
    metadata,
    _id(),
    _parent("loop"),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("iteration", sa.Integer, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False, server_default="1"),
    sa.Column("parameters", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("observation", sa.Text),
    sa.Column("failure_class", sa.Text),
    sa.Column("retry_of", sa.ForeignKey("point.id")),
    sa.Column("ingest_no", sa.Integer),
    sa.Column("last_report", sa.Text),
    sa.Column("continued", sa.Integer),  # id of the same point in the revision before
    *_state(),
    sa.Column("wide", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ending", sa.Text),
    sa.Column("adds", sa.Text),
    sa.Column("given", sa.Text),
    sa.Column("chosen", sa.Text),  # why the learner proposed it
    sa.UniqueConstraint("loop_id", "number"),
)
# `adds`: what the point adds to another. `given`: parameters of the definition that have another value there.
# `ending`: how an open point will end as soon as nothing of it runs any more.
_ENDING = sa.and_(point.c.state == "open", point.c.ending.is_not(None))
sa.Index("ix_point_ending", point.c.id, sqlite_where=_ENDING, postgresql_where=_ENDING)
sa.Index(
    "ix_point_open",
    point.c.loop_id,
    point.c.iteration,
    sqlite_where=point.c.state == "open",
    postgresql_where=point.c.state == "open",
)

job = sa.Table(
    "job",
    metadata,
    _id(),
    _parent("loop"),
    _parent("point"),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("step_no", sa.Integer, nullable=False),
    sa.Column("variant", sa.Text, nullable=False, server_default=""),
    sa.Column("chunk", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("user_failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("infra_failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("not_before", sa.Float, nullable=False, server_default="0"),
    *_state(),
    sa.Column("quanta", sa.Integer, nullable=False, server_default="1"),
    sa.Column("wide", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("point_id", "step", "variant", "chunk"),
)
# The claim is ordered by the column of its own partial index, so that finished jobs never cost it anything.
sa.Index("ix_job_ready", job.c.id, sqlite_where=job.c.state == "ready", postgresql_where=job.c.state == "ready")
sa.Index(
    "ix_job_waiting", job.c.point_id, sqlite_where=job.c.state == "waiting", postgresql_where=job.c.state == "waiting"
)

attempt = sa.Table(
    "attempt",
    metadata,
    _id(),
    _parent("job"),
    sa.Column("loop_id", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("handle", sa.Text),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("lease_until", sa.Float, nullable=False),
    sa.Column("failure_class", sa.Text),
    sa.Column("failure_code", sa.Text),
    sa.Column("signature", sa.Text),
    sa.Column("node", sa.Text),
    sa.Column("wall_s", sa.Float),
    sa.Column("cpu_s", sa.Float),
    sa.Column("max_rss", sa.BigInteger),
    sa.Column("removed", sa.Float),  # since when its folder holds nothing but the log
    *_state(),
    sa.UniqueConstraint("job_id", "number"),
)
_LIVE = attempt.c.state.in_(("intent", "submitted"))
sa.Index("ix_attempt_live", attempt.c.job_id, unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE)
_FAILED = attempt.c.state == "FAILED"
sa.Index("ix_attempt_failed", attempt.c.loop_id, attempt.c.id, sqlite_where=_FAILED, postgresql_where=_FAILED)

# One result for a job, ever: the primary key says so. It is its own attempt's, or taken over from another job's.
result = sa.Table(
    "result",
    metadata,
    sa.Column("job_id", sa.ForeignKey("job.id"), primary_key=True, autoincrement=False),
    sa.Column("attempt_id", sa.ForeignKey("attempt.id"), unique=True),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, index=True),
    sa.Column("reused_from", sa.ForeignKey("attempt.id")),
)

# Points that people asked for and that enter with the next iteration; `number` is what they became.
queued = sa.Table(
    "queued",
    metadata,
    _id(),
    _parent("loop"),
    sa.Column("parameters", sa.Text, nullable=False),
    sa.Column("retry_of", sa.ForeignKey("point.id")),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("number", sa.Integer),
    sa.Column("adds", sa.Text),
    sa.Column("given", sa.Text),
)
sa.Index(
    "ix_queued_open",
    queued.c.loop_id,
    sqlite_where=queued.c.number.is_(None),
    postgresql_where=queued.c.number.is_(None),
)

# What came after its job had ended: kept for people, never part of a history.
late_result = sa.Table(
    "late_result",
    metadata,
    _id(),
    _parent("attempt"),
    sa.Column("report", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

# What jobs said on their way. The first value of a step counts: an attempt that repeats steps changes nothing.
report = sa.Table(
    "report",
    metadata,
    sa.Column("job_id", sa.ForeignKey("job.id"), primary_key=True, autoincrement=False),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
progress = sa.Table(
    "progress",
    metadata,
    sa.Column("attempt_id", sa.ForeignKey("attempt.id"), primary_key=True, autoincrement=False),
    sa.Column("fraction", sa.Float, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

# Messages to the outside, written with what makes them true; `target` names who gets it, without any secret.
outbox = sa.Table(
    "outbox",
    metadata,
    _id(),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("not_before", sa.Float, nullable=False, server_default="0"),
    sa.Column("done", sa.Float),
    sa.Column("answer", sa.Text),
    sa.UniqueConstraint("target", "subject"),
)
sa.Index("ix_outbox_open", outbox.c.id, sqlite_where=outbox.c.done.is_(None), postgresql_where=outbox.c.done.is_(None))

event = sa.Table(
    "event",
    metadata,
    _id(),
    sa.Column("seal_no", sa.Integer, unique=True),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("entity_id", sa.Integer, nullable=False),
    sa.Column("old", sa.Text, nullable=False),
    sa.Column("new", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("hash", sa.LargeBinary),  # of this event and all before it, by the sealer
)
sa.Index(
    "ix_event_unsealed", event.c.id, sqlite_where=event.c.seal_no.is_(None), postgresql_where=event.c.seal_no.is_(None)
)

# A counter is its row plus its deltas that the sealer has not folded yet: no row that every writer fights for.
counter = sa.Table(
    "counter",
    metadata,
    sa.Column("loop_id", sa.ForeignKey("loop.id"), primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)
counter_delta = sa.Table(
    "counter_delta",
    metadata,
    _id(),
    _parent("loop"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("delta", sa.Integer, nullable=False),
)

command = sa.Table(
    "command",
    metadata,
    _id(),
    _parent("workflow"),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("done", sa.Float),
    sa.Column("answer", sa.Text),
    sa.Column("arguments", sa.Text),
)
sa.Index(
    "ix_command_open", command.c.id, sqlite_where=command.c.done.is_(None), postgresql_where=command.c.done.is_(None)
)
