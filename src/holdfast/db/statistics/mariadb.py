"""MariaDB: performance_schema with the seed's query, information_schema's tables, processlist and innodb_trx."""

from typing import Any

from holdfast.db.engines.base import Transaction
from holdfast.db.errors import DatabaseError
from holdfast.db.statistics.types import Connections, IndexUsage, IndexUse, SeedIndexUse, TableSize, TableSizes, Wait

# Word for word (seed 5.2). It tells of every schema that the account may see, and names no index.
SEED_INDEX_QUERY = """\
SELECT object_schema, object_name, count_read, count_write
FROM performance_schema.table_io_waits_summary_by_index_usage
WHERE count_read > 1000
ORDER BY count_read DESC;"""
_INDEXES = """
SELECT object_name, index_name, count_fetch, count_write
FROM performance_schema.table_io_waits_summary_by_index_usage
WHERE object_schema = DATABASE() AND index_name IS NOT NULL
ORDER BY count_fetch, object_name, index_name
"""
_INDEX_STATISTICS = """
SELECT table_name, index_name, rows_read FROM information_schema.index_statistics
WHERE table_schema = DATABASE() ORDER BY rows_read, table_name, index_name
"""
_PERFORMANCE_SCHEMA_IS_OFF = (
    "performance_schema is off on this server, so it does not count the use of indexes: set performance_schema = ON"
    " in the server's configuration and start it again. SET GLOBAL userstat = 1 counts at least the rows read, at once."
)
_ROWS_READ_ONLY = (
    "performance_schema is off on this server; userstat is on and counts the rows read by each index that was used."
)
_NO_RIGHT_TO_COUNTS = (
    "this account may not read performance_schema:"
    " GRANT SELECT ON performance_schema.* to it, or ask as another account."
)
_TABLES = """
SELECT table_name, table_rows, data_length, index_length
FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'
ORDER BY data_length + index_length DESC, table_name
"""
_STATES = """
SELECT LOWER(command), COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() GROUP BY 1 ORDER BY 1
"""
_LONGEST = """
SELECT MAX(TIMESTAMPDIFF(MICROSECOND, trx_started, NOW(6))) FROM information_schema.innodb_trx
JOIN information_schema.processlist p ON p.id = trx_mysql_thread_id
WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()
"""
_WAITS = """
SELECT waiting.trx_mysql_thread_id, GROUP_CONCAT(blocking.trx_mysql_thread_id SEPARATOR ' '), p.user,
    TIMESTAMPDIFF(MICROSECOND, waiting.trx_wait_started, NOW(6))
FROM information_schema.innodb_lock_waits w
JOIN information_schema.innodb_trx waiting ON waiting.trx_id = w.requesting_trx_id
JOIN information_schema.innodb_trx blocking ON blocking.trx_id = w.blocking_trx_id
JOIN information_schema.processlist p ON p.id = waiting.trx_mysql_thread_id
WHERE p.db = DATABASE()
GROUP BY waiting.trx_mysql_thread_id, p.user, waiting.trx_wait_started
ORDER BY waiting.trx_wait_started
"""
_NO_RIGHT_TO_WAITS = (
    "this account sees only its own connections, and not who waits for whom: GRANT PROCESS ON *.* to it."
)


async def read_index_usage(tx: Transaction) -> IndexUsage:
    """Entries read and written since the server started, and the answer to the seed's query."""
    ((is_on, counts_rows),) = await tx.fetch_text("SELECT @@performance_schema, @@userstat")
    if not is_on:
        return await _read_rows_read(tx, bool(counts_rows))
    try:
        rows = await tx.fetch_text(_INDEXES)
        seed = await tx.fetch_text(SEED_INDEX_QUERY)
    except DatabaseError:
        return IndexUsage(engine="mariadb", items=[], remark=_NO_RIGHT_TO_COUNTS)
    items = [
        IndexUse(table=table, index=index, reads=int(reads), writes=int(writes)) for table, index, reads, writes in rows
    ]
    ((uptime,),) = await tx.fetch_text(
        "SELECT DATE_FORMAT(UTC_TIMESTAMP() - INTERVAL variable_value SECOND, '%Y-%m-%dT%H:%i:%sZ')"
        " FROM information_schema.global_status WHERE variable_name = 'UPTIME'"
    )
    return IndexUsage(
        engine="mariadb",
        items=items,
        counted_since=uptime,
        seed_query=[SeedIndexUse(schema, name, int(read), int(written)) for schema, name, read, written in seed],
    )


async def _read_rows_read(tx: Transaction, counts_rows: bool) -> IndexUsage:
    if not counts_rows:
        return IndexUsage(engine="mariadb", items=[], remark=_PERFORMANCE_SCHEMA_IS_OFF)
    items = [
        IndexUse(table=table, index=index, rows_read=int(rows))
        for table, index, rows in await tx.fetch_text(_INDEX_STATISTICS)
    ]
    return IndexUsage(engine="mariadb", items=items, remark=_ROWS_READ_ONLY)


async def read_table_sizes(tx: Transaction) -> TableSizes:
    """InnoDB's estimates of rows, and the pages of its tables and secondary indexes."""
    items = [
        TableSize(table=table, rows=int(rows), table_bytes=int(size), index_bytes=int(index_size))
        for table, rows, size, index_size in await tx.fetch_text(_TABLES)
    ]
    size = sum((each.table_bytes or 0) + (each.index_bytes or 0) for each in items)
    return TableSizes(engine="mariadb", items=items, database_bytes=size)


async def estimate_table_sizes(tx: Transaction) -> TableSizes:
    """The same: nothing of it reads a table."""
    return await read_table_sizes(tx)


async def read_connections(tx: Transaction) -> Connections:
    """The connections to this database, of all programs that the account may see."""
    states = {state: int(count) for state, count in await tx.fetch_text(_STATES)}
    ((most,),) = await tx.fetch_text("SELECT @@max_connections")
    try:
        ((longest,),) = await tx.fetch_text(_LONGEST)
        waits = [_wait(row) for row in await tx.fetch_text(_WAITS)]
    except DatabaseError:
        return Connections(engine="mariadb", states=states, most=most, remark=_NO_RIGHT_TO_WAITS)
    return Connections(
        engine="mariadb",
        states=states,
        most=most,
        longest_transaction_seconds=None if longest is None else int(longest) / 1_000_000,
        waits=waits,
    )


def _wait(row: tuple[Any, ...]) -> Wait:
    connection, blockers, user, microseconds = row
    seconds = int(microseconds or 0) / 1_000_000
    return Wait(connection=str(connection), waits_for=str(blockers).split(), user=user, kind="row", seconds=seconds)
