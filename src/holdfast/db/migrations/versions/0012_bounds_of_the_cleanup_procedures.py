"""The procedures refuse a number of days that no calendar holds, in words.

Revision: 0012, after 0011.
"""

from holdfast.db.migrations import ops

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ops.drop_procedures("0010")
    ops.create_procedures("0012")


def downgrade() -> None:
    ops.drop_procedures("0012")
    ops.create_procedures("0010")
