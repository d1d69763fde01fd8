"""The chain of hashes over the sealed events, its head in ``meta``; the versions of what gave an answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
additive = True


def upgrade() -> None:
    op.add_column("event", sa.Column("hash", sa.LargeBinary(), nullable=True))
    op.add_column("iteration", sa.Column("versions", sa.Text(), nullable=True))
    meta = sa.table("meta", sa.column("key", sa.Text()), sa.column("value", sa.Text()))
    op.execute(meta.insert().values(key="chain", value='{"seal_no": 0, "hash": ""}'))
