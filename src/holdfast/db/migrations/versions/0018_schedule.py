"""Who runs a job since when, how often a periodic one is due, and which job a run was of; indexes of the lists.

Revision: 0018, after 0017. New columns that may be empty, and new indexes: the release before runs on.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
# The oldest revision whose code runs on this schema.
serves_code_from = "0016"

INDEXES = {
    "ix_jobs_created_at_id": ("jobs", ["created_at", "id"]),
    "ix_jobs_state_created_at_id": ("jobs", ["state", "created_at", "id"]),
    "ix_jobs_name_created_at_id": ("jobs", ["name", "created_at", "id"]),
    "ix_runs_job_id_started_at_id": ("runs", ["job_id", "started_at", "id"]),
    "ix_runs_outcome_started_at_id": ("runs", ["outcome", "started_at", "id"]),
}


def upgrade() -> None:
    ops.add_column("jobs", "every_seconds", sa.Integer())
    ops.add_column("jobs", "started_at", ops.Timestamp())
    ops.add_column("jobs", "host", ops.Words(255))
    ops.add_column("runs", "job_id", ops.Key(21))
    for name, (table, columns) in INDEXES.items():
        op.create_index(op.f(name), table, columns, unique=False)


def downgrade() -> None:
    for name, (table, _) in reversed(INDEXES.items()):
        op.drop_index(op.f(name), table_name=table)
    op.drop_column("runs", "job_id")
    for column in ("host", "started_at", "every_seconds"):
        op.drop_column("jobs", column)
