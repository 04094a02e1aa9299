"""The schema of the first release: all tables, keys, indexes, value lists and views.

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
    create_tables()
    create_views()


def downgrade() -> None:
    ops.drop_view("project_user_views")
    ops.drop_view("users_with_superadmin")
    ops.drop_view("user_group_views")
    ops.drop_view("group_resource_views")
    ops.drop_view("project_resource_views")
    ops.drop_view("project_group_views")
    op.drop_table("resources")
    op.drop_table("image_allow_list")
    op.drop_table("form_messages")
    op.drop_table("image_requests")
    op.drop_table("forms")
    op.drop_table("course_workloads")
    op.drop_table("config_files")
    op.drop_table("cluster_image_status")
    op.drop_table("user_group")
    op.drop_table("tokens")
    op.drop_table("project_list")
    op.drop_table("idempotency_keys")
    op.drop_table("container_tags")
    op.drop_table("audit_logs")
    op.drop_table("users")
    op.drop_table("sign_in_failures")
    op.drop_table("jobs")
    op.drop_table("group_list")
    op.drop_table("deletions")
    op.drop_table("container_repositories")


def create_tables() -> None:
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
    ops.create_table(
        "course_workloads",
        sa.Column("id", ops.Key(21), nullable=False),
        sa.Column("user_id", ops.Key(20), nullable=False),
        sa.Column("project_id", ops.Key(20), nullable=False),
        sa.Column("name", ops.Words(100), nullable=False),
        sa.Column("namespace", ops.Words(100), nullable=False),
        sa.Column("image", ops.Words(512), nullable=False),
        sa.Column("status", ops.Key(20), server_default="Pending", nullable=False),
        sa.Column("k8s_pod_name", ops.Words(100), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="1000", nullable=False),
        sa.Column("resource_cpu", ops.Words(50), nullable=True),
        sa.Column("resource_mem", ops.Words(50), nullable=True),
        sa.Column("resource_gpu", sa.Integer(), nullable=True),
        sa.Column("created_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("updated_at", ops.Timestamp(), server_default=ops.utc_timestamp(), nullable=False),
        sa.Column("started_at", ops.Timestamp(), nullable=True),
        sa.Column("deleted_at", ops.Timestamp(), nullable=True),
        sa.Column("deletion_id", ops.Key(21), server_default="", nullable=False),
        sa.CheckConstraint(
            "(deleted_at IS NULL) = (deletion_id = '')", name=op.f("ck_course_workloads_deleted_has_deletion")
        ),
        sa.CheckConstraint(
            "status IN ('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown')",
            name=op.f("ck_course_workloads_status"),
        ),
        sa.CheckConstraint(
            "resource_gpu IS NULL OR resource_gpu >= 0", name=op.f("ck_course_workloads_resource_gpu_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project_list.p_id"],
            name=op.f("fk_course_workloads_project_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.u_id"],
            name=op.f("fk_course_workloads_user_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_course_workloads")),
        sa.UniqueConstraint("k8s_pod_name", "deletion_id", name=op.f("uq_course_workloads_k8s_pod_name_deletion_id")),
    )
    op.create_index(op.f("ix_course_workloads_created_at_id"), "course_workloads", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_course_workloads_deletion_id"), "course_workloads", ["deletion_id"], unique=False)
    op.create_index(op.f("ix_course_workloads_priority"), "course_workloads", ["priority"], unique=False)
    op.create_index(op.f("ix_course_workloads_project_id"), "course_workloads", ["project_id"], unique=False)
    op.create_index(op.f("ix_course_workloads_status"), "course_workloads", ["status"], unique=False)
    op.create_index(op.f("ix_course_workloads_user_id"), "course_workloads", ["user_id"], unique=False)
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


def create_views() -> None:
    ops.create_view(
        "project_group_views",
        """
        SELECT g.g_id, g.group_name,
               (SELECT count(*) FROM project_list p WHERE p.g_id = g.g_id AND p.deletion_id = '') AS project_count,
               (SELECT count(*) FROM resources r
                  JOIN config_files c ON c.cf_id = r.cf_id AND c.deletion_id = ''
                  JOIN project_list p ON p.p_id = c.project_id AND p.deletion_id = ''
                 WHERE p.g_id = g.g_id AND r.deletion_id = '') AS resource_count,
               (SELECT count(*) FROM user_group ug
                  JOIN users u ON u.u_id = ug.u_id AND u.deletion_id = ''
                 WHERE ug.g_id = g.g_id AND ug.deletion_id = '') AS user_count,
               g.created_at AS group_created_at, g.updated_at AS group_updated_at
          FROM group_list g
         WHERE g.deletion_id = ''""",
    )
    ops.create_view(
        "project_resource_views",
        """
        SELECT p.p_id, p.project_name, r.r_id, r.type, r.name, c.filename, r.created_at AS resource_created_at
          FROM project_list p
          JOIN config_files c ON c.project_id = p.p_id AND c.deletion_id = ''
          JOIN resources r ON r.cf_id = c.cf_id AND r.deletion_id = ''
         WHERE p.deletion_id = ''""",
    )
    ops.create_view(
        "group_resource_views",
        """
        SELECT g.g_id, g.group_name, p.p_id, p.project_name, r.r_id, r.type AS resource_type,
               r.name AS resource_name, c.filename, r.created_at AS resource_created_at
          FROM group_list g
          JOIN project_list p ON p.g_id = g.g_id AND p.deletion_id = ''
          JOIN config_files c ON c.project_id = p.p_id AND c.deletion_id = ''
          JOIN resources r ON r.cf_id = c.cf_id AND r.deletion_id = ''
         WHERE g.deletion_id = ''""",
    )
    ops.create_view(
        "user_group_views",
        """
        SELECT u.u_id, u.username, g.g_id, g.group_name, ug.role
          FROM user_group ug
          JOIN users u ON u.u_id = ug.u_id AND u.deletion_id = ''
          JOIN group_list g ON g.g_id = ug.g_id AND g.deletion_id = ''
         WHERE ug.deletion_id = ''""",
    )
    ops.create_view(
        "users_with_superadmin",
        """
        SELECT u.u_id, u.username, u.email, u.full_name, u.type, u.status, u.created_at, u.updated_at,
               CASE WHEN EXISTS (SELECT 1 FROM user_group ug
                                   JOIN group_list g ON g.g_id = ug.g_id AND g.deletion_id = ''
                                  WHERE ug.u_id = u.u_id AND g.group_name = 'super' AND ug.role = 'admin'
                                    AND ug.deletion_id = '') THEN 1 ELSE 0 END AS is_super_admin
          FROM users u
         WHERE u.deletion_id = ''""",
    )
    ops.create_view(
        "project_user_views",
        """
        SELECT p.p_id, p.project_name, g.g_id, g.group_name, u.u_id, u.username, ug.role
          FROM project_list p
          JOIN group_list g ON g.g_id = p.g_id AND g.deletion_id = ''
          JOIN user_group ug ON ug.g_id = g.g_id AND ug.deletion_id = ''
          JOIN users u ON u.u_id = ug.u_id AND u.deletion_id = ''
         WHERE p.deletion_id = ''""",
    )
