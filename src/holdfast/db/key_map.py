"""The tables of the key map: which row the key of an older database became (docs/decisions/0010-key-map.md).

No migration makes them: an instance that came from nowhere else never has them. Nothing that the product runs reads
them, so the drift check leaves them alone; backups carry them, as they carry every table.
"""

from typing import Any

from sqlalchemy import Column, Connection, Index, MetaData, Table

from holdfast.db.address import DatabaseAddress
from holdfast.db.migrate import on_database
from holdfast.db.types import Flag, Key, LongText, Timestamp

_metadata = MetaData()
_KIND: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}

legacy_keys = Table(
    "legacy_keys",
    _metadata,
    Column("source", Key(60), primary_key=True),
    Column("table_name", Key(40), primary_key=True),
    Column("old_key", Key(64), primary_key=True),
    # Empty where the row was left out.
    Column("new_id", Key(64), nullable=False),
    Column("outcome", Key(20), nullable=False),
    # What was done to the row, as JSON; empty for nothing.
    Column("notes", LongText(), nullable=False),
    # Whether it was compared with the old row since it was made.
    Column("is_checked", Flag(), nullable=False),
    Index("ix_legacy_keys_table_name_new_id", "table_name", "new_id"),
    **_KIND,
)
legacy_imports = Table(
    "legacy_imports",
    _metadata,
    Column("source", Key(60), primary_key=True),
    Column("flavour", LongText(), nullable=False),
    # The import time of the rules: that of the first run, so that every run gives the same rows.
    Column("started_at", Timestamp(), nullable=False),
    Column("finished_at", Timestamp()),
    # Which numbers the old audit entries get, as JSON.
    Column("audit_ranges", LongText(), nullable=False),
    **_KIND,
)
KEY_MAP_TABLES = frozenset(table.name for table in _metadata.sorted_tables)


async def ensure_key_map(address: DatabaseAddress) -> None:
    """Make the tables where they are not there yet."""
    await on_database(address, _create, locked=True)


def _create(connection: Connection) -> None:
    _metadata.create_all(connection)
    connection.commit()
