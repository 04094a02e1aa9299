"""The audit log and the deletions.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_audit_logs()
    create_deletions()


def downgrade() -> None:
    op.drop_table("deletions")
    op.drop_table("audit_logs")


def create_audit_logs() -> None:
    ops.create_table(
        "audit_logs",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(always=False),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("user_id", ops.Key(20), nullable=False),
        sa.Column("actor_name", ops.Words(50), server_default="", nullable=False),
        sa.Column("action", ops.Key(50), nullable=False),
        sa.Column("resource_type", ops.Words(50), nullable=False),
        sa.Column("resource_id", ops.Words(255), nullable=False),
        sa.Column("resource_label", ops.Words(255), nullable=True),
        sa.Column("g_id", ops.Key(20), nullable=True),
        sa.Column("old_data", ops.Json(), nullable=True),
        sa.Column("new_data", ops.Json(), nullable=True),
        sa.Column("ip_address", ops.Words(45), nullable=True),
        sa.Column("user_agent", ops.LongText(), nullable=True),
        sa.Column("description", ops.LongText(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.u_id"], name=op.f("fk_audit_logs_user_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_logs")),
    )
    op.create_index(op.f("ix_audit_logs_action"), "audit_logs", ["action"], unique=False)
    op.create_index(op.f("ix_audit_logs_created_at_id"), "audit_logs", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_audit_logs_g_id_created_at_id"), "audit_logs", ["g_id", "created_at", "id"], unique=False)
    op.create_index(op.f("ix_audit_logs_resource_id"), "audit_logs", ["resource_id"], unique=False)
    op.create_index(op.f("ix_audit_logs_resource_type"), "audit_logs", ["resource_type"], unique=False)
    op.create_index(
        op.f("ix_audit_logs_user_id_action_resource_type"),
        "audit_logs",
        ["user_id", "action", "resource_type"],
        unique=False,
    )


def create_deletions() -> None:
    ops.create_table(
        "deletions",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("root_type", ops.Key(50), nullable=False),
        sa.Column("root_id", ops.Words(255), nullable=False),
        sa.Column("root_label", ops.Words(255), nullable=True),
        sa.Column("actor_id", ops.Key(20), nullable=False),
        sa.Column("actor_name", ops.Words(50), nullable=False),
        sa.Column("reason", ops.LongText(), nullable=True),
        sa.Column("state", ops.Key(20), server_default="deleted", nullable=False),
        sa.Column("planned_counts", ops.Json(), nullable=False),
        sa.Column("actual_counts", ops.Json(), nullable=True),
        sa.Column("set_null_counts", ops.Json(), nullable=True),
        sa.Column("bundle_path", ops.LongText(), nullable=True),
        sa.Column("bundle_sha256", ops.Key(64), nullable=True),
        sa.Column("bundle_verified_at", ops.Timestamp(), nullable=True),
        sa.Column("purge_after", ops.Timestamp(), nullable=True),
        sa.Column("failure", ops.LongText(), nullable=True),
        sa.Column("lease_token", ops.Key(21), nullable=True),
        sa.Column("lease_until", ops.Timestamp(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.CheckConstraint(
            "state IN ('deleted', 'restored', 'purging', 'purged', 'failed')", name=op.f("ck_deletions_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
    )
    op.create_index(op.f("ix_deletions_actor_id"), "deletions", ["actor_id"], unique=False)
    op.create_index(op.f("ix_deletions_created_at_id"), "deletions", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_deletions_purge_after"), "deletions", ["purge_after"], unique=False)
    op.create_index(op.f("ix_deletions_root_type_root_id"), "deletions", ["root_type", "root_id"], unique=False)
    op.create_index(op.f("ix_deletions_state"), "deletions", ["state"], unique=False)
