"""Every difference between the dialects that a migration can meet; the migrations themselves name none."""

from alembic import op
from sqlalchemy import Column, text
from sqlalchemy.schema import SchemaItem

from holdfast.db.types import Flag, Json, Key, LongText, Timestamp, Words, bounds_on_sqlite, utc_timestamp

__all__ = [
    "Flag",
    "Json",
    "Key",
    "LongText",
    "Timestamp",
    "Words",
    "create_table",
    "create_view",
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


def create_view(name: str, query: str) -> None:
    """Create a view from a query in the SQL that all three dialects share."""
    op.execute(text(f"CREATE VIEW {name} AS {query}"))


def drop_view(name: str) -> None:
    """Drop a view."""
    op.execute(text(f"DROP VIEW {name}"))
