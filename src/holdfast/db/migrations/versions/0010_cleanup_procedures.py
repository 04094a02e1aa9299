"""`CALL cleanup_soft_deleted(30)` and `CALL cleanup_audit_logs(90)`, and what they need to know of an archive.

Revision: 0010, after 0009. SQLite has no procedures: there the same runs from the command line and the worker.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ops.add_column("audit_archives", "removed_rows", sa.Integer(), nullable=False, server_default="0")
    op.create_index(op.f("ix_deletions_purged_with"), "deletions", ["purged_with"], unique=False)
    ops.create_procedures("0010")


def downgrade() -> None:
    ops.drop_procedures("0010")
    op.drop_index(op.f("ix_deletions_purged_with"), "deletions")
    op.drop_column("audit_archives", "removed_rows")
