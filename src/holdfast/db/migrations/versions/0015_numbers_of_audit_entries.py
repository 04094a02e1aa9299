"""On SQLite, too, no audit entry gets the number of one that was removed.

Revision: 0015, after 0014. The table is written anew there: a second for 200,000 entries.
"""

from holdfast.db.migrations import ops

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# Archives tell of entries that were removed and had a greater number than those that are left.
GIVEN = {"audit_logs": "id", "audit_archives": "last_id"}


def upgrade() -> None:
    ops.never_reuse_numbers_on_sqlite("audit_logs", given=GIVEN)


def downgrade() -> None:
    ops.reuse_numbers_on_sqlite("audit_logs", "id")
