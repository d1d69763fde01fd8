"""Top-ups: what a point adds to another, and the parameters of the definition that have another value there.

It only adds columns that may be left out, and is not marked as additive all the same: an older version would count the
observation of a point that was replaced beside the one that replaces it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("point", "queued"):
        op.add_column(table, sa.Column("adds", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("given", sa.Text(), nullable=True))
