"""The chain of hashes over the sealed events; its head is in ``meta``, written by the sealer."""

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
    meta = sa.table("meta", sa.column("key", sa.Text()), sa.column("value", sa.Text()))
    op.execute(meta.insert().values(key="chain", value='{"seal_no": 0, "hash": ""}'))
