"""Repositories, tags, image requests, the allow list and what the cluster has pulled.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_container_repositories()
    create_container_tags()
    create_image_requests()
    create_image_allow_list()
    create_cluster_image_status()


def downgrade() -> None:
    op.drop_table("cluster_image_status")
    op.drop_table("image_allow_list")
    op.drop_table("image_requests")
    op.drop_table("container_tags")
    op.drop_table("container_repositories")


def create_container_repositories() -> None:
    ops.create_table(
        "container_repositories",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("registry", ops.Words(255), server_default="docker.io", nullable=False),
        sa.Column("namespace", ops.Words(255), nullable=True),
        sa.Column("name", ops.Words(255), nullable=False),
        sa.Column("full_name", ops.Words(512), nullable=False),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_container_repositories_deleted_has_deletion")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_container_repositories")),
        sa.UniqueConstraint("full_name", "deletion_id", name=op.f("uq_container_repositories_full_name_deletion_id")),
    )
    op.create_index(
        op.f("ix_container_repositories_created_at_id"), "container_repositories", ["created_at", "id"], unique=False
    )
    op.create_index(
        op.f("ix_container_repositories_deleted_at"), "container_repositories", ["deleted_at"], unique=False
    )
    op.create_index(
        op.f("ix_container_repositories_deletion_id"), "container_repositories", ["deletion_id"], unique=False
    )
    op.create_index(op.f("ix_container_repositories_name"), "container_repositories", ["name"], unique=False)
    op.create_index(op.f("ix_container_repositories_registry"), "container_repositories", ["registry"], unique=False)


def create_container_tags() -> None:
    ops.create_table(
        "container_tags",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("repository_id", ops.Key(21), nullable=False),
        sa.Column("name", ops.Words(128), nullable=False),
        sa.Column("digest", ops.Words(255), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("pushed_at", ops.Timestamp(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_container_tags_deleted_has_deletion")
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["container_repositories.id"],
            name=op.f("fk_container_tags_repository_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_container_tags")),
        sa.UniqueConstraint(
            "repository_id", "name", "deletion_id", name=op.f("uq_container_tags_repository_id_name_deletion_id")
        ),
    )
    op.create_index(op.f("ix_container_tags_created_at_id"), "container_tags", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_container_tags_deleted_at"), "container_tags", ["deleted_at"], unique=False)
    op.create_index(op.f("ix_container_tags_deletion_id"), "container_tags", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_container_tags_digest"), "container_tags", ["digest"], unique=False)
    op.create_index(op.f("ix_container_tags_name"), "container_tags", ["name"], unique=False)
    op.create_index(op.f("ix_container_tags_pushed_at"), "container_tags", ["pushed_at"], unique=False)


def create_image_requests() -> None:
    ops.create_table(
        "image_requests",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("user_id", ops.Key(20), nullable=False),
        sa.Column("project_id", ops.Key(20), nullable=True),
        sa.Column("input_registry", ops.Words(255), nullable=True),
        sa.Column("input_image_name", ops.Words(255), nullable=False),
        sa.Column("input_tag", ops.Words(128), nullable=False),
        sa.Column("status", ops.Key(20), server_default="pending", nullable=False),
        sa.Column("reviewer_id", ops.Key(20), nullable=True),
        sa.Column("reviewed_at", ops.Timestamp(), nullable=True),
        sa.Column("reviewer_note", ops.LongText(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_image_requests_deleted_has_deletion")
        ),
        sa.CheckConstraint("status IN ('pending', 'approved', 'rejected')", name=op.f("ck_image_requests_status")),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project_list.p_id"],
            name=op.f("fk_image_requests_project_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["reviewer_id"],
            ["users.u_id"],
            name=op.f("fk_image_requests_reviewer_id"),
            onupdate="CASCADE",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.u_id"], name=op.f("fk_image_requests_user_id"), onupdate="CASCADE", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_requests")),
    )
    op.create_index(op.f("ix_image_requests_created_at_id"), "image_requests", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_image_requests_deleted_at"), "image_requests", ["deleted_at"], unique=False)
    op.create_index(op.f("ix_image_requests_deletion_id"), "image_requests", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_image_requests_project_id"), "image_requests", ["project_id"], unique=False)
    op.create_index(op.f("ix_image_requests_reviewer_id"), "image_requests", ["reviewer_id"], unique=False)
    op.create_index(op.f("ix_image_requests_status"), "image_requests", ["status"], unique=False)
    op.create_index(op.f("ix_image_requests_user_id"), "image_requests", ["user_id"], unique=False)


def create_image_allow_list() -> None:
    ops.create_table(
        "image_allow_list",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("project_id", ops.Key(20), nullable=True),
        sa.Column("tag_id", ops.Key(21), nullable=True),
        sa.Column("repository_id", ops.Key(21), nullable=False),
        sa.Column("request_id", ops.Key(21), nullable=True),
        sa.Column("created_by", ops.Key(20), nullable=False),
        sa.Column("is_enabled", ops.Flag(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_image_allow_list_deleted_has_deletion")
        ),
        sa.ForeignKeyConstraint(
            ["created_by"],
            ["users.u_id"],
            name=op.f("fk_image_allow_list_created_by"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project_list.p_id"],
            name=op.f("fk_image_allow_list_project_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["container_repositories.id"],
            name=op.f("fk_image_allow_list_repository_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["image_requests.id"],
            name=op.f("fk_image_allow_list_request_id"),
            onupdate="CASCADE",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["tag_id"],
            ["container_tags.id"],
            name=op.f("fk_image_allow_list_tag_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_allow_list")),
    )
    op.create_index(op.f("ix_image_allow_list_created_at_id"), "image_allow_list", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_image_allow_list_created_by"), "image_allow_list", ["created_by"], unique=False)
    op.create_index(op.f("ix_image_allow_list_deleted_at"), "image_allow_list", ["deleted_at"], unique=False)
    op.create_index(op.f("ix_image_allow_list_deletion_id"), "image_allow_list", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_image_allow_list_is_enabled"), "image_allow_list", ["is_enabled"], unique=False)
    op.create_index(op.f("ix_image_allow_list_project_id"), "image_allow_list", ["project_id"], unique=False)
    op.create_index(op.f("ix_image_allow_list_repository_id"), "image_allow_list", ["repository_id"], unique=False)
    op.create_index(op.f("ix_image_allow_list_request_id"), "image_allow_list", ["request_id"], unique=False)
    op.create_index(op.f("ix_image_allow_list_tag_id"), "image_allow_list", ["tag_id"], unique=False)


def create_cluster_image_status() -> None:
    ops.create_table(
        "cluster_image_status",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("tag_id", ops.Key(21), nullable=False),
        sa.Column("is_pulled", ops.Flag(), server_default=sa.false(), nullable=False),
        sa.Column("last_pulled_at", ops.Timestamp(), nullable=True),
        sa.Column("pull_error", ops.LongText(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_cluster_image_status_deleted_has_deletion")
        ),
        sa.ForeignKeyConstraint(
            ["tag_id"],
            ["container_tags.id"],
            name=op.f("fk_cluster_image_status_tag_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cluster_image_status")),
        sa.UniqueConstraint("tag_id", "deletion_id", name=op.f("uq_cluster_image_status_tag_id_deletion_id")),
    )
    op.create_index(
        op.f("ix_cluster_image_status_created_at_id"), "cluster_image_status", ["created_at", "id"], unique=False
    )
    op.create_index(op.f("ix_cluster_image_status_deleted_at"), "cluster_image_status", ["deleted_at"], unique=False)
    op.create_index(op.f("ix_cluster_image_status_deletion_id"), "cluster_image_status", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_cluster_image_status_is_pulled"), "cluster_image_status", ["is_pulled"], unique=False)
