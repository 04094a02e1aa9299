"""What jobs and operator's commands did.

Revision: 0016, after 0015. A new table: the release before runs on.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ops.create_table(
        "runs",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("name", ops.Key(100), nullable=False),
        sa.Column("host", ops.Words(255), nullable=False),
        sa.Column("started_at", ops.Timestamp(), nullable=False),
        sa.Column("finished_at", ops.Timestamp(), nullable=False),
        sa.Column("outcome", ops.Key(20), nullable=False),
        sa.Column("failure", ops.LongText(), nullable=True),
        sa.Column("detail", ops.Json(), nullable=True),
        sa.CheckConstraint("outcome IN ('done', 'failed', 'put_off', 'lost')", name=op.f("ck_runs_outcome")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_name_started_at_id"), "runs", ["name", "started_at", "id"], unique=False)
    op.create_index(op.f("ix_runs_started_at_id"), "runs", ["started_at", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("runs")
