"""The database says which instance it is, so that its backups are not taken for those of another one.

Revision: 0019, after 0018. A new column of the migration tool's own table: the release before runs on.
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
# The oldest revision whose code runs on this schema.
serves_code_from = "0016"


def upgrade() -> None:
    op.add_column("alembic_version", sa.Column("instance_id", sa.String(36), nullable=True))
    op.execute(sa.text("UPDATE alembic_version SET instance_id = :made").bindparams(made=str(uuid.uuid4())))


def downgrade() -> None:
    op.drop_column("alembic_version", "instance_id")
