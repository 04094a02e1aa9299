"""Rows of any table, made from its columns alone, with the parents that their keys ask for."""

from datetime import timedelta
from itertools import count
from typing import Any

from sqlalchemy import Column, Table

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.tables import metadata
from holdfast.db.types import Flag, Json, Key, LongText, Timestamp, Words
from tests.factories import insert_row

# Columns whose value a check limits and that have no default.
_ALLOWED: dict[str, Any] = {"tokens.kind": "session", "resources.type": "pod", "runs.outcome": "done"}
_numbers = count(1)


async def make_row(database: Database, table: Table, **given: Any) -> dict[str, Any]:
    """Insert a row; columns that must be given and are not get a plain value, and their parents rows of their own."""
    values = dict(given)
    for column in table.columns:
        if column.name in values or not _must_be_given(column):
            continue
        values[column.name] = await parent_key(database, column) if column.foreign_keys else plain_value(column)
    await insert_row(database, table, **values)
    return values


def plain_row(table: Table, **given: Any) -> dict[str, Any]:
    """The given values, and a plain one for each other column that must be given; keys of parents must be given."""
    missing = [column for column in table.columns if _must_be_given(column) and column.name not in given]
    return given | {column.name: plain_value(column) for column in missing}


async def parent_key(database: Database, column: Column[Any]) -> Any:
    """The key of a new parent for a foreign-key column."""
    parent = parent_of(column)
    return (await make_row(database, parent.table))[parent.name]


def parent_of(column: Column[Any]) -> Column[Any]:
    """The column that a foreign-key column refers to."""
    (key,) = column.foreign_keys
    return key.column


def plain_value(column: Column[Any]) -> Any:
    """A value that the column takes, another one each time where it is text."""
    allowed = _ALLOWED.get(f"{column.table.name}.{column.name}")
    if allowed is not None:
        return allowed
    if isinstance(column.type, Key | Words):
        return f"{column.name[:6]}-{next(_numbers)}"[-column.type.width :]
    if isinstance(column.type, LongText):
        return f"text {next(_numbers)}"
    if isinstance(column.type, Json):
        return {"number": next(_numbers)}
    if isinstance(column.type, Timestamp):
        return utc_now() + timedelta(hours=1)
    return False if isinstance(column.type, Flag) else 1


def key_columns(reference: str) -> tuple[Table, Column[Any]]:
    """The table and the column of `table.column`."""
    table_name, _, column_name = reference.partition(".")
    table = metadata.tables[table_name]
    return table, table.columns[column_name]


async def fetch(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a statement given as text."""
    async with database.read() as tx:
        return await tx.fetch_text(sql)


async def run(database: Database, sql: str) -> None:
    """A statement given as text, in a transaction of its own."""
    async with database.write() as tx:
        await tx.fetch_text(sql)


async def count_rows(database: Database, table: Table) -> int:
    """How many rows a table holds, deleted ones too."""
    return int((await fetch(database, f"SELECT count(*) FROM {table.name}"))[0][0])


def _must_be_given(column: Column[Any]) -> bool:
    numbered = column.table.autoincrement_column is column and column.identity is not None
    return not column.nullable and column.server_default is None and not numbered
