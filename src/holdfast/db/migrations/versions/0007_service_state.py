"""Jobs and the answers kept under idempotency keys.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_jobs()
    create_idempotency_keys()


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_table("jobs")


def create_jobs() -> None:
    ops.create_table(
        "jobs",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("name", ops.Key(100), nullable=False),
        sa.Column("arguments", ops.Json(), nullable=False),
        sa.Column("state", ops.Key(20), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", ops.Timestamp(), nullable=False),
        sa.Column("lease_token", ops.Key(21), nullable=True),
        sa.Column("lease_until", ops.Timestamp(), nullable=True),
        sa.Column("failure", ops.LongText(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("finished_at", ops.Timestamp(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name=op.f("ck_jobs_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_name_state"), "jobs", ["name", "state"], unique=False)
    op.create_index(op.f("ix_jobs_state_run_at"), "jobs", ["state", "run_at"], unique=False)


def create_idempotency_keys() -> None:
    ops.create_table(
        "idempotency_keys",
        sa.Column("user_id", ops.Key(20), nullable=False),
        sa.Column("idempotency_key", ops.Words(255), nullable=False),
        sa.Column("fingerprint", ops.Key(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("location", ops.LongText(), nullable=True),
        sa.Column("etag", ops.Key(100), nullable=True),
        sa.Column("body", ops.LongText(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.u_id"],
            name=op.f("fk_idempotency_keys_user_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "idempotency_key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
