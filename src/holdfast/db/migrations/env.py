"""What Alembic runs: the connection comes from `holdfast.db.migrate`, which has taken the lock."""

from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext

from holdfast.db.tables import metadata


def render_item(kind: str, item: Any, autogen_context: AutogenContext) -> Any:
    """Write the product's own types as `ops.Key(20)` in a new migration."""
    if kind == "check" and "dialect" in item.info:
        return None  # ops.create_table adds the checks that only one dialect needs
    module = type(item).__module__
    if kind == "type" and module == "holdfast.db.types":
        width = getattr(item, "width", None)
        return f"ops.{type(item).__name__}({'' if width is None else width})"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_item=render_item,
    # SQLite and PostgreSQL undo DDL; MariaDB commits at each statement, whatever is asked.
    transactional_ddl=connection.dialect.name != "mariadb",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
