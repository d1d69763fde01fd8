"""Points of many jobs, loops inside of loops, sealed targets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("loop", sa.Column("parent_point", sa.Integer(), nullable=True))
    op.add_column("loop", sa.Column("unblinded", sa.Float(), nullable=True))
    op.add_column("loop", sa.Column("step_no", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_loop_parent", "loop", ["parent_point"])
    op.add_column("point", sa.Column("wide", sa.Integer(), server_default="0", nullable=False))
    op.add_column("point", sa.Column("ending", sa.Text(), nullable=True))
    ending = sa.text("state = 'open' AND ending IS NOT NULL")
    op.create_index("ix_point_ending", "point", ["id"], sqlite_where=ending, postgresql_where=ending)
    op.add_column("job", sa.Column("quanta", sa.Integer(), server_default="1", nullable=False))
    op.add_column("job", sa.Column("wide", sa.Integer(), server_default="0", nullable=False))
