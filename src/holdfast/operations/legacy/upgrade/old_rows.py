"""Rows and SHA-256 of each old table, exact whatever its columns are: the server hashes each row, we hash the hashes.

A row's hash is that of all its columns. They are taken in the order of a key of whole numbers, and where a table has no
such key in the order of the hashes themselves: so no server's way of comparing texts matters.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    Text,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.db.address import DatabaseAddress
from holdfast.db.server_connection import server_connection
from holdfast.operations.backup.running import Progress, no_progress
from holdfast.operations.checksums import Checksums, TableChecksum

_HASHES_AT_ONCE = 2000
_ROW = "holdfast_old_row"
# Whatever gives a value another text; and the connection lies idle while programs of the database run.
_SET_UP = {
    "postgresql": (
        "SET search_path = pg_catalog",
        "SET TIME ZONE 'UTC'",
        "SET DateStyle = 'ISO, YMD'",
        "SET IntervalStyle = 'postgres'",
        "SET extra_float_digits = 1",
        "SET bytea_output = 'hex'",
        "SET xmlbinary = 'base64'",
        "SET lc_monetary = 'C'",
        # Refuse rather than leave out rows that a policy hides.
        "SET row_security = off",
        (
            "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout',"
            " 'idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"
        ),
    ),
    "mariadb": (
        "SET SESSION time_zone = '+00:00', sql_mode = ''",
        "SET SESSION max_statement_time = 0, wait_timeout = 604800, net_write_timeout = 3600, lock_wait_timeout = 30",
    ),
}
_SNAPSHOT = {
    "postgresql": ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",),
    "mariadb": (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
}
_COLUMNS = {
    "postgresql": (
        "SELECT relname, attname, typname, coalesce(array_position(indkey::int2[], attnum) + 1, 0)"
        " FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped"
        " LEFT JOIN pg_type ON pg_type.oid = atttypid"
        " LEFT JOIN pg_index ON indrelid = pg_class.oid AND indisprimary"
        " WHERE nspname = :namespace AND relkind IN ('r', 'p') ORDER BY relname, attnum"
    ),
    "mariadb": (
        "SELECT t.table_name, c.column_name, c.data_type, coalesce(s.seq_in_index, 0)"
        " FROM information_schema.tables t"
        " LEFT JOIN information_schema.columns c"
        " ON c.table_schema = t.table_schema AND c.table_name = t.table_name"
        " LEFT JOIN information_schema.statistics s"
        " ON s.table_schema = c.table_schema AND s.table_name = c.table_name AND s.index_name = 'PRIMARY'"
        " AND s.column_name = c.column_name"
        " WHERE t.table_schema = :namespace AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"
        " ORDER BY t.table_name, c.ordinal_position"
    ),
}
_WHOLE_NUMBERS = {"int2", "int4", "int8", "tinyint", "smallint", "mediumint", "int", "bigint"}


class OldTable(msgspec.Struct, frozen=True):
    """An old table: its columns with the names of their types, and the columns of its key if it has one."""

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]

    @property
    def numbered_by(self) -> tuple[str, ...]:
        """The columns of a key that holds whole numbers only."""
        types = dict(self.columns)
        return self.key if all(types[name] in _WHOLE_NUMBERS for name in self.key) else ()


@asynccontextmanager
async def steady_connection(address: DatabaseAddress) -> AsyncIterator[AsyncConnection]:
    """A connection that gives a value the same text always, and may lie idle; each statement is committed."""
    async with server_connection(address) as opened:
        connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
        for statement in _SET_UP[address.dialect_name]:
            await connection.execute(text(statement))
        yield connection


async def begin_snapshot(connection: AsyncConnection) -> None:
    """From now on the connection reads one moment."""
    for statement in _SNAPSHOT[connection.dialect.name]:
        await connection.execute(text(statement))


async def tables_in(connection: AsyncConnection, namespace: str) -> list[OldTable]:
    """The tables of a schema of PostgreSQL, or a database of MariaDB, in the order of their names."""
    columns: dict[str, list[tuple[str, str]]] = {}
    keys: dict[str, list[tuple[int, str]]] = {}
    query = text(_COLUMNS[connection.dialect.name])
    for name, of_column, type_name, place in await connection.execute(query, {"namespace": namespace}):
        columns.setdefault(name, [])
        if of_column is None:
            continue
        columns[name].append((of_column, str(type_name)))
        if place:
            keys.setdefault(name, []).append((int(place), of_column))
    return [
        OldTable(name, tuple(found), tuple(key for _, key in sorted(keys.get(name, []))))
        for name, found in sorted(columns.items())
    ]


async def checksums_in(
    connection: AsyncConnection, namespace: str, tables: Sequence[OldTable], *, progress: Progress = no_progress
) -> Checksums:
    """The checksums of these tables as the connection sees them; of any one some thousand hashes are in memory."""
    found: Checksums = {}
    done = 0
    for each in tables:
        digest, rows = hashlib.sha256(), 0
        async with connection.stream(_hashes(connection.dialect.name, namespace, each)) as result:
            async for page in result.partitions(_HASHES_AT_ONCE):
                digest.update(b"".join(row_hash for (row_hash,) in page))
                rows += len(page)
                done += len(page)
                progress("Reading checksums", done, None)
        found[each.name] = TableChecksum(rows, digest.hexdigest())
    return found


def _hashes(dialect_name: str, namespace: str, of: OldTable) -> Select[Any]:
    """A query of one hash for each row."""
    named = table(of.name, schema=namespace)
    if dialect_name == "postgresql":
        # The rows of a partition or a child are its own.
        rows = named.alias(_ROW)
        whole = func.convert_to(cast(literal_column(_ROW), Text), literal("UTF8"))
        query = select(func.sha256(whole).label("row_hash")).select_from(rows).with_hint(rows, "ONLY", "postgresql")
    else:
        values = [func.coalesce(func.sha2(_value(name, kind), 256), literal("-")) for name, kind in of.columns]
        query = select(func.unhex(func.sha2(func.concat(*values), 256)).label("row_hash")).select_from(named)
    order: list[ColumnElement[Any]] = [column(name) for name in of.numbered_by] or [literal_column("row_hash")]
    return query.order_by(*order)


def _value(name: str, kind: str) -> ColumnElement[Any]:
    """A column of MariaDB as it is: of a FLOAT the text has six digits only."""
    return cast(column(name), Double) if kind == "float" else column(name)
