"""Deletion protection, purges that take an earlier deletion along, and archives of the audit log.

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

PROTECTED_TABLES = ("users", "group_list", "project_list")


def upgrade() -> None:
    for table in PROTECTED_TABLES:
        ops.add_column(table, "deletion_protected", ops.Flag(), nullable=False, server_default=sa.false())
    ops.add_column("deletions", "purged_with", ops.Key(21))
    create_audit_archives()


def downgrade() -> None:
    op.drop_table("audit_archives")
    op.drop_column("deletions", "purged_with")
    for table in reversed(PROTECTED_TABLES):
        op.drop_column(table, "deletion_protected")


def create_audit_archives() -> None:
    ops.create_table(
        "audit_archives",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("made_before", ops.Timestamp(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("bundle_path", ops.LongText(), nullable=False),
        sa.Column("bundle_sha256", ops.Key(64), nullable=False),
        sa.Column("bundle_verified_at", ops.Timestamp(), nullable=True),
        sa.Column("removed_at", ops.Timestamp(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_archives")),
    )
    op.create_index(op.f("ix_audit_archives_created_at_id"), "audit_archives", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_audit_archives_first_id_last_id"), "audit_archives", ["first_id", "last_id"], unique=False)
