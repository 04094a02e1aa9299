"""The database tells older releases from which revision on code may use it, so that an upgrade can be rolled out.

Revision: 0017, after 0016. A new column of the migration tool's own table: the release before runs on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
# The oldest revision whose code runs on this schema: what it reads and writes is as it was.
serves_code_from = "0015"


def upgrade() -> None:
    op.add_column("alembic_version", sa.Column("serves_code_from", sa.String(32), nullable=True))


def downgrade() -> None:
    op.drop_column("alembic_version", "serves_code_from")
