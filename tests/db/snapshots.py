"""The rows of a whole database, in a form that is the same for equal rows on every engine, and what differs."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Table

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.tables import metadata
from holdfast.db.types import Flag, Json, Timestamp
from tests.factories import insert_rows

Snapshot = dict[str, dict[tuple[Any, ...], dict[str, Any]]]

# The rows that people care about: no jobs, no deletions, no working state of the service.
CONTENT = tuple(table for table in GRAPH.bundled_tables)


async def read_rows(database: Database, tables: tuple[Table, ...] = CONTENT) -> Snapshot:
    """Every row of the tables, by primary key."""
    async with database.read() as tx:
        return await rows_in(tx, tables)


async def rows_in(tx: Transaction, tables: tuple[Table, ...] = CONTENT) -> Snapshot:
    """Every row of the tables, as a transaction sees them."""
    found: Snapshot = {}
    for table in tables:
        names = [column.name for column in table.columns]
        rows = await tx.fetch_text(f"SELECT {', '.join(names)} FROM {table.name}")
        plain = [
            {column.name: _plain(column.type, value) for column, value in zip(table.columns, row, strict=True)}
            for row in rows
        ]
        keys = [column.name for column in table.primary_key]
        found[table.name] = {tuple(row[name] for name in keys): row for row in plain}
    return found


async def put_rows(database: Database, snapshot: Snapshot) -> None:
    """Insert the rows of a snapshot, also into a database of another engine."""
    for table in metadata.sorted_tables:
        rows = [
            {
                column.name: msgspec.Raw(value.encode())
                if isinstance(column.type, Json) and value is not None
                else value
                for column in table.columns
                for value in (row[column.name],)
            }
            for row in snapshot.get(table.name, {}).values()
        ]
        if rows:
            await insert_rows(database, table, rows)


async def read_all(database: Database) -> Snapshot:
    """Every row of every table."""
    return await read_rows(database, tuple(metadata.sorted_tables))


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """What `after` has more, less or otherwise than `before`, one line for each row."""
    lines = []
    for table in sorted(before.keys() | after.keys()):
        old, new = before.get(table, {}), after.get(table, {})
        lines += [f"- {table} {key}" for key in sorted(old.keys() - new.keys())]
        lines += [f"+ {table} {key}" for key in sorted(new.keys() - old.keys())]
        for key in sorted(old.keys() & new.keys()):
            changed = {name: (old[key][name], new[key][name]) for name in old[key] if old[key][name] != new[key][name]}
            if changed:
                lines.append(f"* {table} {key}: {changed}")
    return lines


def without_numbers(snapshot: Snapshot) -> Snapshot:
    """The same, with the rows of the audit log known by what they say: another database numbers them otherwise."""
    rows = [{**row, "id": 0} for row in snapshot["audit_logs"].values()]
    ordered = sorted(rows, key=lambda row: str(sorted(row.items())))
    return {**snapshot, "audit_logs": {(number,): row for number, row in enumerate(ordered)}}


def counted(snapshot: Snapshot) -> dict[str, int]:
    """How many rows each table has; tables without any are left out."""
    return {table: len(rows) for table, rows in snapshot.items() if rows}


def _plain(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, Timestamp):
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return bool(value) if isinstance(kind, Flag) else value
