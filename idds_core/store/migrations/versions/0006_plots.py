"""Why each point was chosen, and what an answer of the learner took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
additive = True


def upgrade() -> None:
    op.add_column("point", sa.Column("chosen", sa.Text(), nullable=True))
    op.add_column("iteration", sa.Column("took", sa.Text(), nullable=True))
