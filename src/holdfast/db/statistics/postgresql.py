"""PostgreSQL: pg_stat_user_indexes, pg_stat_user_tables, pg_stat_activity and pg_locks."""

from holdfast.db.engines.base import Transaction
from holdfast.db.statistics.types import Connections, IndexUsage, IndexUse, TableSize, TableSizes, Wait

_INDEXES = """
SELECT relname, indexrelname, idx_scan, idx_tup_read, pg_relation_size(indexrelid)
FROM pg_stat_user_indexes WHERE schemaname = current_schema()
ORDER BY idx_scan, relname, indexrelname
"""
_COUNTED_SINCE = """
SELECT to_char(stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM pg_stat_database WHERE datname = current_database()
"""
_TABLES = """
SELECT relname, n_live_tup, n_dead_tup, pg_table_size(relid), pg_indexes_size(relid)
FROM pg_stat_user_tables WHERE schemaname = current_schema()
ORDER BY pg_total_relation_size(relid) DESC, relname
"""
_STATES = """
SELECT coalesce(state, 'unknown'), count(*)
FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
GROUP BY 1 ORDER BY 1
"""
_LIMITS = """
SELECT current_setting('max_connections')::int,
    (SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::float8
    FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
    AND pid <> pg_backend_pid())
"""
# pg_locks gives since when, on 14 and later; pg_blocking_pids who holds what is wanted.
_WAITS = """
SELECT a.pid::text, array_to_string(pg_blocking_pids(a.pid), ' '), a.usename, a.wait_event,
    extract(epoch FROM clock_timestamp() - coalesce(min(l.waitstart), a.query_start))::float8
FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted
WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'
GROUP BY a.pid, a.usename, a.wait_event, a.query_start
ORDER BY 5 DESC
"""


async def read_index_usage(tx: Transaction) -> IndexUsage:
    """Scans and entries read, since the counts were last reset."""
    rows = await tx.fetch_text(_INDEXES)
    ((since,),) = await tx.fetch_text(_COUNTED_SINCE)
    items = [
        IndexUse(table=table, index=index, reads=reads, rows_read=rows_read, size_bytes=size)
        for table, index, reads, rows_read, size in rows
    ]
    return IndexUsage(engine="postgresql", items=items, counted_since=since)


async def read_table_sizes(tx: Transaction) -> TableSizes:
    """Estimates of the statistics collector, sizes of the files."""
    items = [
        TableSize(table=table, rows=rows, dead_rows=dead, table_bytes=size, index_bytes=index_size)
        for table, rows, dead, size, index_size in await tx.fetch_text(_TABLES)
    ]
    ((size,),) = await tx.fetch_text("SELECT pg_database_size(current_database())")
    return TableSizes(engine="postgresql", items=items, database_bytes=size)


async def estimate_table_sizes(tx: Transaction) -> TableSizes:
    """The same: nothing of it reads a table."""
    return await read_table_sizes(tx)


async def read_connections(tx: Transaction) -> Connections:
    """The client connections of this database, of all programs."""
    states = {state: int(count) for state, count in await tx.fetch_text(_STATES)}
    ((most, longest),) = await tx.fetch_text(_LIMITS)
    waits = [
        Wait(connection=pid, waits_for=blockers.split(), user=user, kind=kind, seconds=round(max(0.0, seconds), 3))
        for pid, blockers, user, kind, seconds in await tx.fetch_text(_WAITS)
    ]
    return Connections(
        engine="postgresql",
        states=states,
        most=most,
        longest_transaction_seconds=None if longest is None else round(longest, 3),
        waits=waits,
    )
