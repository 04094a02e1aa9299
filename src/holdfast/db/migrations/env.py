"""What Alembic runs: the connection comes from `holdfast.db.migrate`, which has taken the lock."""

from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import text

from holdfast.db.tables import metadata

FIRST_TO_TELL = "0017"


def render_item(kind: str, item: Any, autogen_context: AutogenContext) -> Any:
    """Write the product's own types as `ops.Key(20)` in a new migration."""
    if kind == "check" and "dialect" in item.info:
        return None  # ops.create_table adds the checks that only one dialect needs
    module = type(item).__module__
    if kind == "type" and module == "holdfast.db.types":
        width = getattr(item, "width", None)
        return f"ops.{type(item).__name__}({'' if width is None else width})"
    return False


def tell_older_releases(
    ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
) -> None:
    """Write beside the revision from which one on code may use the schema: `serves_code_from` of its migration.

    One that says nothing serves only the code that knows it.
    """
    for head in heads:
        script = context.script.get_revision(head)
        if head >= FIRST_TO_TELL:
            oldest = getattr(script.module, "serves_code_from", None)
            connection.execute(text("UPDATE alembic_version SET serves_code_from = :oldest"), {"oldest": oldest})


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_item=render_item,
    # SQLite and PostgreSQL undo DDL; MariaDB commits at each statement, whatever is asked.
    transactional_ddl=connection.dialect.name != "mariadb",
    transaction_per_migration=True,
    on_version_apply=tell_older_releases,
)
with context.begin_transaction():
    context.run_migrations()
