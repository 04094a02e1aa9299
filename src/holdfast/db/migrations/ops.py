"""Every difference between the dialects that a migration can meet; the migrations themselves name none."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from alembic import op
from alembic.operations import BatchOperations
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
    "never_reuse_numbers_on_sqlite",
    "reuse_numbers_on_sqlite",
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


def never_reuse_numbers_on_sqlite(table: str, *, given: Mapping[str, str]) -> None:
    """Number new rows after all that there ever were, as the servers do by themselves.

    `given` are the columns, by their tables, in which numbers stand that were given before.
    """
    if op.get_context().dialect.name != "sqlite":
        return
    with _rebuilt_on_sqlite(table, sqlite_autoincrement=True):
        pass
    numbers = " UNION ALL ".join(f"SELECT max({column}) AS number FROM {name}" for name, column in given.items())
    op.execute(text(f"DELETE FROM sqlite_sequence WHERE name = '{table}'"))
    op.execute(
        text(f"INSERT INTO sqlite_sequence (name, seq) SELECT '{table}', coalesce(max(number), 0) FROM ({numbers})")
    )


def reuse_numbers_on_sqlite(table: str, key: str) -> None:
    """Undo `never_reuse_numbers_on_sqlite`."""
    if op.get_context().dialect.name == "sqlite":
        with _rebuilt_on_sqlite(table) as batch:
            batch.create_primary_key(op.f(f"pk_{table}"), [key])


@contextmanager
def _rebuilt_on_sqlite(table: str, **options: Any) -> Iterator[BatchOperations]:
    """A table made anew with its rows, for what no ALTER TABLE of SQLite changes, and all that hangs on it."""
    connection = op.get_bind()
    # The renaming at the end would look into views, and fail at an operator's that reads the table.
    connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    before = dict(_attached_to(table))
    with op.batch_alter_table(table, recreate="always", table_kwargs=options) as batch:
        yield batch
    # Alembic makes the indexes anew, but no triggers, and no index on an expression.
    there = dict(_attached_to(table))
    for name, definition in before.items():
        if name not in there:
            connection.exec_driver_sql(definition)
    connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")


def _attached_to(table: str) -> list[tuple[str, str]]:
    rows = op.get_bind().execute(
        text("SELECT name, sql FROM sqlite_master WHERE tbl_name = :table AND type <> 'table' AND sql IS NOT NULL"),
        {"table": table},
    )
    return [(name, definition) for name, definition in rows]


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
