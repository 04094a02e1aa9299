"""Projects, config files and the resources read from them.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_project_list()
    create_config_files()
    create_resources()


def downgrade() -> None:
    op.drop_table("resources")
    op.drop_table("config_files")
    op.drop_table("project_list")


def create_project_list() -> None:
    ops.create_table(
        "project_list",
        sa.Column("p_id", ops.Key(20), nullable=False),
        sa.Column("project_name", ops.Words(100), nullable=False),
        sa.Column("description", ops.LongText(), nullable=True),
        sa.Column("g_id", ops.Key(20), nullable=False),
        sa.Column("gpu_quota", sa.Integer(), server_default="0", nullable=False),
        sa.Column("allow_privileged", ops.Flag(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_project_list_deleted_has_deletion")
        ),
        sa.CheckConstraint("gpu_quota >= 0", name=op.f("ck_project_list_gpu_quota_not_negative")),
        sa.ForeignKeyConstraint(
            ["g_id"], ["group_list.g_id"], name=op.f("fk_project_list_g_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("p_id", name=op.f("pk_project_list")),
    )
    op.create_index(op.f("ix_project_list_created_at_p_id"), "project_list", ["created_at", "p_id"], unique=False)
    op.create_index(op.f("ix_project_list_deletion_id"), "project_list", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_project_list_g_id"), "project_list", ["g_id"], unique=False)
    op.create_index(op.f("ix_project_list_gpu_quota"), "project_list", ["gpu_quota"], unique=False)
    op.create_index(op.f("ix_project_list_project_name_p_id"), "project_list", ["project_name", "p_id"], unique=False)


def create_config_files() -> None:
    ops.create_table(
        "config_files",
        sa.Column("cf_id", ops.Key(21), nullable=False),
        sa.Column("filename", ops.Words(200), nullable=False),
        sa.Column("content", ops.LongText(), nullable=False),
        sa.Column("project_id", ops.Key(20), nullable=False),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_config_files_deleted_has_deletion")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project_list.p_id"],
            name=op.f("fk_config_files_project_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("cf_id", name=op.f("pk_config_files")),
        sa.UniqueConstraint(
            "project_id", "filename", "deletion_id", name=op.f("uq_config_files_project_id_filename_deletion_id")
        ),
    )
    op.create_index(op.f("ix_config_files_created_at_cf_id"), "config_files", ["created_at", "cf_id"], unique=False)
    op.create_index(op.f("ix_config_files_deletion_id"), "config_files", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_config_files_filename"), "config_files", ["filename"], unique=False)


def create_resources() -> None:
    ops.create_table(
        "resources",
        sa.Column("r_id", ops.Key(21), nullable=False),
        sa.Column("cf_id", ops.Key(21), nullable=False),
        sa.Column("type", ops.Key(50), nullable=False),
        sa.Column("name", ops.Words(300), nullable=False),
        sa.Column("parsed_yaml", ops.Json(), nullable=False),
        sa.Column("description", ops.LongText(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint("(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_resources_deleted_has_deletion")),
        sa.ForeignKeyConstraint(
            ["cf_id"], ["config_files.cf_id"], name=op.f("fk_resources_cf_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("r_id", name=op.f("pk_resources")),
        sa.UniqueConstraint("cf_id", "name", "deletion_id", name=op.f("uq_resources_cf_id_name_deletion_id")),
    )
    op.create_index(op.f("ix_resources_created_at_r_id"), "resources", ["created_at", "r_id"], unique=False)
    op.create_index(op.f("ix_resources_deletion_id"), "resources", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_resources_name"), "resources", ["name"], unique=False)
    op.create_index(op.f("ix_resources_type"), "resources", ["type"], unique=False)
