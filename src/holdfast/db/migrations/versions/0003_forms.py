"""Forms and the messages on them.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_forms()
    create_form_messages()


def downgrade() -> None:
    op.drop_table("form_messages")
    op.drop_table("forms")


def create_forms() -> None:
    ops.create_table(
        "forms",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("user_id", ops.Key(20), nullable=False),
        sa.Column("project_id", ops.Key(20), nullable=True),
        sa.Column("title", ops.Words(255), nullable=False),
        sa.Column("description", ops.LongText(), nullable=True),
        sa.Column("tag", ops.Words(100), nullable=True),
        sa.Column("status", ops.Key(20), server_default="Pending", nullable=False),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint("(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_forms_deleted_has_deletion")),
        sa.CheckConstraint(
            "status IN ('Pending', 'Processing', 'Completed', 'Rejected')", name=op.f("ck_forms_status")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project_list.p_id"],
            name=op.f("fk_forms_project_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.u_id"], name=op.f("fk_forms_user_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forms")),
    )
    op.create_index(op.f("ix_forms_created_at_id"), "forms", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_forms_deleted_at"), "forms", ["deleted_at"], unique=False)
    op.create_index(op.f("ix_forms_deletion_id"), "forms", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_forms_project_id"), "forms", ["project_id"], unique=False)
    op.create_index(op.f("ix_forms_status"), "forms", ["status"], unique=False)
    op.create_index(op.f("ix_forms_tag"), "forms", ["tag"], unique=False)
    op.create_index(op.f("ix_forms_user_id"), "forms", ["user_id"], unique=False)


def create_form_messages() -> None:
    ops.create_table(
        "form_messages",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("form_id", ops.Key(21), nullable=False),
        sa.Column("user_id", ops.Key(20), nullable=False),
        sa.Column("content", ops.LongText(), nullable=False),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_form_messages_deleted_has_deletion")
        ),
        sa.ForeignKeyConstraint(
            ["form_id"], ["forms.id"], name=op.f("fk_form_messages_form_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.u_id"], name=op.f("fk_form_messages_user_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_form_messages")),
    )
    op.create_index(op.f("ix_form_messages_created_at_id"), "form_messages", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_form_messages_deletion_id"), "form_messages", ["deletion_id"], unique=False)
    op.create_index(
        op.f("ix_form_messages_form_id_created_at_id"), "form_messages", ["form_id", "created_at", "id"], unique=False
    )
    op.create_index(op.f("ix_form_messages_user_id"), "form_messages", ["user_id"], unique=False)
