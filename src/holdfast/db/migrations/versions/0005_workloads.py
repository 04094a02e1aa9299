"""Course workloads.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
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


def downgrade() -> None:
    op.drop_table("course_workloads")
