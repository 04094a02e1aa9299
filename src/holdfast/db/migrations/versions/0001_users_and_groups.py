"""Users, their tokens, groups and memberships.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_users()
    create_tokens()
    create_sign_in_failures()
    create_group_list()
    create_user_group()


def downgrade() -> None:
    op.drop_table("user_group")
    op.drop_table("group_list")
    op.drop_table("sign_in_failures")
    op.drop_table("tokens")
    op.drop_table("users")


def create_users() -> None:
    ops.create_table(
        "users",
        sa.Column("u_id", ops.Key(20), nullable=False),
        sa.Column("username", ops.Words(50), nullable=False),
        sa.Column("password", ops.Words(255), nullable=False),
        sa.Column("email", ops.Words(100), nullable=True),
        sa.Column("full_name", ops.Words(100), nullable=True),
        sa.Column("type", ops.Key(20), server_default="origin", nullable=False),
        sa.Column("status", ops.Key(20), server_default="offline", nullable=False),
        sa.Column("must_change_password", ops.Flag(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint("(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_users_deleted_has_deletion")),
        sa.CheckConstraint("status IN ('online', 'offline', 'delete')", name=op.f("ck_users_status")),
        sa.CheckConstraint("type IN ('origin', 'oauth2')", name=op.f("ck_users_type")),
        sa.PrimaryKeyConstraint("u_id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", "deletion_id", name=op.f("uq_users_username_deletion_id")),
    )
    op.create_index(op.f("ix_users_created_at_u_id"), "users", ["created_at", "u_id"], unique=False)
    op.create_index(op.f("ix_users_deletion_id"), "users", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_users_email"), "users", ["email"], unique=False)
    op.create_index(op.f("ix_users_status"), "users", ["status"], unique=False)


def create_tokens() -> None:
    ops.create_table(
        "tokens",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("user_id", ops.Key(20), nullable=False),
        sa.Column("kind", ops.Key(20), nullable=False),
        sa.Column("name", ops.Words(100), nullable=False),
        sa.Column("token_hash", ops.Key(64), nullable=False),
        sa.Column("scopes", ops.Key(1000), nullable=False),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("expires_at", ops.Timestamp(), nullable=False),
        sa.Column("revoked_at", ops.Timestamp(), nullable=True),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint("(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_tokens_deleted_has_deletion")),
        sa.CheckConstraint("kind IN ('session', 'api')", name=op.f("ck_tokens_kind")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.u_id"], name=op.f("fk_tokens_user_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_tokens_token_hash")),
    )
    op.create_index(op.f("ix_tokens_deletion_id"), "tokens", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_tokens_expires_at"), "tokens", ["expires_at"], unique=False)
    op.create_index(op.f("ix_tokens_user_id"), "tokens", ["user_id"], unique=False)


def create_sign_in_failures() -> None:
    ops.create_table(
        "sign_in_failures",
        sa.Column("subject", ops.Key(80), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("window_started_at", ops.Timestamp(), nullable=False),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_sign_in_failures_failures_not_negative")),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_sign_in_failures")),
    )
    op.create_index(
        op.f("ix_sign_in_failures_window_started_at"), "sign_in_failures", ["window_started_at"], unique=False
    )


def create_group_list() -> None:
    ops.create_table(
        "group_list",
        sa.Column("g_id", ops.Key(20), nullable=False),
        sa.Column("group_name", ops.Words(100), nullable=False),
        sa.Column("description", ops.LongText(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_group_list_deleted_has_deletion")
        ),
        sa.CheckConstraint("group_name <> 'super' OR g_id = 'super_group'", name=op.f("ck_group_list_one_super")),
        sa.PrimaryKeyConstraint("g_id", name=op.f("pk_group_list")),
    )
    op.create_index(op.f("ix_group_list_created_at_g_id"), "group_list", ["created_at", "g_id"], unique=False)
    op.create_index(op.f("ix_group_list_deletion_id"), "group_list", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_group_list_group_name_g_id"), "group_list", ["group_name", "g_id"], unique=False)


def create_user_group() -> None:
    ops.create_table(
        "user_group",
        sa.Column("u_id", ops.Key(20), nullable=False),
        sa.Column("g_id", ops.Key(20), nullable=False),
        sa.Column("role", ops.Key(20), server_default="user", nullable=False),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_user_group_deleted_has_deletion")
        ),
        sa.CheckConstraint("role IN ('admin', 'manager', 'user')", name=op.f("ck_user_group_role")),
        sa.ForeignKeyConstraint(
            ["g_id"], ["group_list.g_id"], name=op.f("fk_user_group_g_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["u_id"], ["users.u_id"], name=op.f("fk_user_group_u_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("u_id", "g_id", name=op.f("pk_user_group")),
    )
    op.create_index(op.f("ix_user_group_created_at"), "user_group", ["created_at"], unique=False)
    op.create_index(op.f("ix_user_group_deletion_id"), "user_group", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_user_group_g_id"), "user_group", ["g_id"], unique=False)
    op.create_index(op.f("ix_user_group_role"), "user_group", ["role"], unique=False)
