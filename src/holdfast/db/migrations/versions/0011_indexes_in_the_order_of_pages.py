"""Indexes that give the pages of a filtered list in their order, in place of those that only find the rows.

Revision: 0011, after 0010. docs/development/indexes.md has what uses each and what it costs.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# The table, the column that was indexed alone, and what orders the rows behind it.
REPLACED = (
    ("forms", "user_id", ("created_at", "id")),
    ("forms", "project_id", ("created_at", "id")),
    ("forms", "status", ("created_at", "id")),
    ("forms", "tag", ("created_at", "id")),
    ("image_requests", "user_id", ("created_at", "id")),
    ("image_requests", "project_id", ("created_at", "id")),
    ("image_requests", "status", ("created_at", "id")),
    ("course_workloads", "user_id", ("created_at", "id")),
    ("course_workloads", "project_id", ("created_at", "id")),
    ("course_workloads", "status", ("created_at", "id")),
    ("course_workloads", "priority", ("id",)),
    ("project_list", "gpu_quota", ("p_id",)),
    ("audit_logs", "action", ("created_at", "id")),
    ("audit_logs", "resource_type", ("created_at", "id")),
    ("deletions", "actor_id", ("created_at", "id")),
    ("deletions", "state", ("created_at", "id")),
)
# No statement reads these tables by the time of their rows.
UNUSED = ("container_tags", "cluster_image_status")
# A deletion is also looked for by its root's id alone.
BY_TYPE, BY_ID = ("root_type", "root_id"), ("root_id", "root_type")


def upgrade() -> None:
    for table, column, order in REPLACED:
        # The new one first: MariaDB keeps an index for a foreign key at every moment.
        op.create_index(_name(table, column, *order), table, [column, *order])
        op.drop_index(_name(table, column), table_name=table)
    op.create_index(_name("deletions", *BY_ID), "deletions", [*BY_ID])
    op.drop_index(_name("deletions", *BY_TYPE), table_name="deletions")
    for table in UNUSED:
        op.drop_index(_name(table, "created_at", "id"), table_name=table)


def downgrade() -> None:
    for table in UNUSED:
        op.create_index(_name(table, "created_at", "id"), table, ["created_at", "id"])
    op.create_index(_name("deletions", *BY_TYPE), "deletions", [*BY_TYPE])
    op.drop_index(_name("deletions", *BY_ID), table_name="deletions")
    for table, column, order in reversed(REPLACED):
        op.create_index(_name(table, column), table, [column])
        op.drop_index(_name(table, column, *order), table_name=table)


def _name(table: str, *columns: str) -> str:
    return str(op.f(f"ix_{table}_{'_'.join(columns)}"))
