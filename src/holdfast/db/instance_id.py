"""Which instance a database is: a random id that migration 0019 gives it, and that goes along with all its rows.

It stands beside the revision. A database of an older revision has none, nor has one without any tables.
"""

import re
from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection, inspect, text

from holdfast.db.address import DatabaseAddress
from holdfast.db.engines.base import Transaction
from holdfast.db.errors import DatabaseError
from holdfast.db.migrate import on_database
from holdfast.db.sqlite_driver import sqlite3

FIRST_REVISION = "0019"
_FORM = r"[0-9A-Za-z-]{1,36}"
_READ = "SELECT instance_id FROM alembic_version"
_PATIENCE_SECONDS = 10

InstanceId = Annotated[str, msgspec.Meta(pattern=rf"\A{_FORM}\Z")]


async def find_instance_id(tx: Transaction) -> str | None:
    """The id of a database that has tables; None where its revision has no place for one."""
    rows = await tx.fetch_text("SELECT version_num FROM alembic_version")
    if not rows or str(rows[0][0]) < FIRST_REVISION:
        return None
    return _checked(await tx.fetch_text(_READ))


async def find_instance_id_at(address: DatabaseAddress) -> str | None:
    """As `find_instance_id`, of a database that may hold nothing, or not be there at all; it is left as it is."""
    if address.dialect_name == "sqlite":
        return _of_file(address)
    return await on_database(address, _of_server)


async def set_instance_id(tx: Transaction, instance_id: str) -> None:
    """Make the database that instance."""
    _require_form(instance_id)
    await tx.fetch_text(f"UPDATE alembic_version SET instance_id = '{instance_id}'")


def _of_file(address: DatabaseAddress) -> str | None:
    path = address.path
    try:
        if not path.exists() or not path.stat().st_size:
            return None
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE_SECONDS)
        try:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(alembic_version)")]
            return _checked(connection.execute(_READ).fetchall()) if "instance_id" in columns else None
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise DatabaseError(f"{address.shown} cannot be read: {error}") from error


def _of_server(connection: Connection) -> str | None:
    inspector = inspect(connection)
    if not inspector.has_table("alembic_version"):
        return None
    if "instance_id" not in {column["name"] for column in inspector.get_columns("alembic_version")}:
        return None
    return _checked(connection.execute(text(_READ)).all())


def _checked(rows: Any) -> str | None:
    if not rows or rows[0][0] is None:
        return None
    found = str(rows[0][0])
    _require_form(found)
    return found


def _require_form(instance_id: str) -> None:
    if not re.fullmatch(_FORM, instance_id):
        raise DatabaseError(
            f"instance_id of alembic_version is {instance_id!r}, which is no id: at most 36 letters, digits and hyphens"
        )
