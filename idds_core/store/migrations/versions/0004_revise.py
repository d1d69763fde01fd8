"""Revisions: what continues what, results that were taken over, points that wait, folders that were removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workflow", sa.Column("reuse", sa.Integer(), server_default="0", nullable=False))
    op.add_column("loop", sa.Column("before_s", sa.Float(), server_default="0", nullable=False))
    op.add_column("point", sa.Column("continued", sa.Integer(), nullable=True))
    op.add_column("attempt", sa.Column("removed", sa.Float(), nullable=True))
    op.add_column("command", sa.Column("arguments", sa.Text(), nullable=True))
    with op.batch_alter_table("result", schema=None) as batch_op:
        batch_op.alter_column("attempt_id", existing_type=sa.Integer(), nullable=True)
        batch_op.add_column(sa.Column("digest", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("reused_from", sa.Integer(), nullable=True))
        batch_op.create_foreign_key(op.f("fk_result_reused_from"), "attempt", ["reused_from"], ["id"])
        batch_op.create_index("ix_result_digest", ["digest"], unique=False)
    op.create_table(
        "queued",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("loop_id", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("retry_of", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["loop_id"], ["loop.id"], name=op.f("fk_queued_loop_id")),
        sa.ForeignKeyConstraint(["retry_of"], ["point.id"], name=op.f("fk_queued_retry_of")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queued")),
    )
    with op.batch_alter_table("queued", schema=None) as batch_op:
        batch_op.create_index(
            "ix_queued_open",
            ["loop_id"],
            unique=False,
            sqlite_where=sa.text("number IS NULL"),
            postgresql_where=sa.text("number IS NULL"),
        )
