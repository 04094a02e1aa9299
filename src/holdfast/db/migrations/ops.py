"""Every difference between the dialects that a migration can meet; the migrations themselves name none."""

import re
from typing import Any

from alembic import op
from sqlalchemy import CheckConstraint, Column, text
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from holdfast.db.migrations.files import procedures_of
from holdfast.db.types import Flag, Json, Key, LongText, Timestamp, Words, bounds_on_sqlite, utc_timestamp

__all__ = [
    "Flag",
    "Json",
    "Key",
    "LongText",
    "Timestamp",
    "Words",
    "add_column",
    "create_index_on_mariadb",
    "create_procedures",
    "create_table",
    "create_view",
    "drop_index_on_mariadb",
    "drop_procedures",
    "drop_view",
    "utc_timestamp",
]


def create_table(name: str, *items: SchemaItem) -> None:
    """Create a table as every table is: its engine and collation on MariaDB, its columns bounded on SQLite."""
    op.create_table(
        name,
        *items,
        *bounds_on_sqlite(item for item in items if isinstance(item, Column)),
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_nopad_bin",
    )


def add_column(
    table: str, name: str, type_: TypeEngine[Any], *, nullable: bool = True, server_default: Any = None
) -> None:
    """Add a column; on SQLite with the bounds that `create_table` gives it, as checks of the column itself."""
    checks = []
    if op.get_context().dialect.name == "sqlite":
        # The naming convention reaches only the constraints of a table.
        checks = [
            CheckConstraint(check.sqltext, name=op.f(f"ck_{table}_{check.name}"))
            for check in bounds_on_sqlite([Column(name, type_)])
        ]
    op.add_column(table, Column(name, type_, *checks, nullable=nullable, server_default=server_default))


def create_index_on_mariadb(name: str, table: str, columns: list[str]) -> None:
    """Create an index that only MariaDB needs: `index_on_mariadb` of the tables."""
    if op.get_context().dialect.name == "mariadb":
        op.create_index(name, table, columns)


def drop_index_on_mariadb(name: str, table: str) -> None:
    """Drop what `create_index_on_mariadb` created."""
    if op.get_context().dialect.name == "mariadb":
        op.drop_index(name, table_name=table)


def create_view(name: str, query: str) -> None:
    """Create a view from a query in the SQL that all three dialects share."""
    op.execute(text(f"CREATE VIEW {name} AS {query}"))


def drop_view(name: str) -> None:
    """Drop a view."""
    op.execute(text(f"DROP VIEW {name}"))


def create_procedures(revision: str) -> None:
    """Create the procedures of a revision where the engine has them."""
    connection = op.get_bind()
    for statement in procedures_of(revision, connection.dialect.name):
        connection.exec_driver_sql(statement)


def drop_procedures(revision: str) -> None:
    """Drop the procedures of a revision."""
    connection = op.get_bind()
    for statement in reversed(procedures_of(revision, connection.dialect.name)):
        name = re.match(r"CREATE PROCEDURE (\w+)", statement)
        assert name is not None
        connection.exec_driver_sql(f"DROP PROCEDURE {name[1]}")
