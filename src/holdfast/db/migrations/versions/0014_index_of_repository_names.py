"""On MariaDB, all repositories in the order of their full names.

Revision: 0014, after 0013. docs/plans.md has what it gains.
"""

from holdfast.db.migrations import ops

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BY_NAME = "ix_container_repositories_full_name_id"


def upgrade() -> None:
    ops.create_index_on_mariadb(BY_NAME, "container_repositories", ["full_name", "id"])


def downgrade() -> None:
    ops.drop_index_on_mariadb(BY_NAME, "container_repositories")
