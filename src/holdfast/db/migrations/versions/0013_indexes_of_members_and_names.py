"""The members of a group in the order in which they came; on MariaDB also all users in the order of their names.

Revision: 0013, after 0012. docs/performance.md has what each gains.
"""

from alembic import op

from holdfast.db.migrations import ops

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BY_GROUP = "ix_user_group_g_id"
IN_ORDER = "ix_user_group_g_id_created_at_u_id"
BY_NAME = "ix_users_username_u_id"


def upgrade() -> None:
    # The new one first: MariaDB keeps an index for a foreign key at every moment.
    op.create_index(op.f(IN_ORDER), "user_group", ["g_id", "created_at", "u_id"])
    op.drop_index(op.f(BY_GROUP), table_name="user_group")
    ops.create_index_on_mariadb(BY_NAME, "users", ["username", "u_id"])


def downgrade() -> None:
    ops.drop_index_on_mariadb(BY_NAME, "users")
    op.create_index(op.f(BY_GROUP), "user_group", ["g_id"])
    op.drop_index(op.f(IN_ORDER), table_name="user_group")
