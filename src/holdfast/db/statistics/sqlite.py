"""SQLite: its schema, sqlite_stat1 where ANALYZE has filled it, and dbstat where the library was built with it.

SQLite counts neither the use of indexes nor connections: it has no server that could.
"""

from holdfast.db.engines.base import Transaction
from holdfast.db.errors import DatabaseError
from holdfast.db.statistics.types import Connections, IndexUsage, IndexUse, TableSize, TableSizes

_INDEXES = """
SELECT t.name, i.name FROM sqlite_schema t JOIN pragma_index_list(t.name) i
WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY t.name, i.name
"""
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
_PAGES = "SELECT name, sum(pgsize) FROM dbstat WHERE aggregate = TRUE GROUP BY name"
_NO_COUNTS = "SQLite does not count how often an index is used; rows_per_key tells how well it selects."
_NEVER_ANALYZED = " It has no statistics yet: run ANALYZE."
_NO_DBSTAT = (
    "this build of SQLite has no dbstat, so the size of each table is not known: sqlite3_analyzer tells it, from a copy"
)
_ONE_FILE = "SQLite has no list of connections; writers take turns, and the pool is what this process reads with."


async def read_index_usage(tx: Transaction) -> IndexUsage:
    """How well each index selects, by the last ANALYZE, and its size."""
    statistics = {index: words for _, index, words in await _read_statistics(tx)}
    sizes = await _read_sizes(tx)
    items = [
        IndexUse(table=table, index=index, size_bytes=sizes.get(index), rows_per_key=_rows_per_key(statistics, index))
        for table, index in await tx.fetch_text(_INDEXES)
    ]
    return IndexUsage(engine="sqlite", items=items, remark=_NO_COUNTS + ("" if statistics else _NEVER_ANALYZED))


async def read_table_sizes(tx: Transaction) -> TableSizes:
    """Counted rows, and sizes where dbstat is there; both read whole indexes."""
    names = [name for (name,) in await tx.fetch_text(_TABLES)]
    counting = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM \"{name}\"" for name in names)
    counts = dict(await tx.fetch_text(counting)) if names else {}
    sizes = await _read_sizes(tx)
    indexes: dict[str, int] = {}
    for table, index in await tx.fetch_text(_INDEXES):
        indexes[table] = indexes.get(table, 0) + sizes.get(index, 0)
    items = [
        TableSize(
            table=name,
            rows=counts[name],
            table_bytes=sizes.get(name),
            index_bytes=indexes.get(name, 0) if sizes else None,
        )
        for name in names
    ]
    items.sort(key=lambda each: (-(each.table_bytes or 0) - (each.index_bytes or 0), -(each.rows or 0), each.table))
    return TableSizes(
        engine="sqlite",
        items=items,
        database_bytes=await _read_file_size(tx),
        remark=None if sizes else _NO_DBSTAT,
    )


async def estimate_table_sizes(tx: Transaction) -> TableSizes:
    """The rows of the last ANALYZE, and the size of the file: nothing that reads a table."""
    rows = {table: int(words.split()[0]) for table, _, words in await _read_statistics(tx)}
    items = [TableSize(table=table, rows=count) for table, count in sorted(rows.items())]
    return TableSizes(engine="sqlite", items=items, database_bytes=await _read_file_size(tx))


async def read_connections(tx: Transaction) -> Connections:
    """Nothing but the remark."""
    return Connections(engine="sqlite", states={}, remark=_ONE_FILE)


async def _read_statistics(tx: Transaction) -> list[tuple[str, str, str]]:
    if not await tx.fetch_text("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'"):
        return []
    return [
        (table, index, words)
        for table, index, words in await tx.fetch_text(
            "SELECT tbl, coalesce(idx, tbl), stat FROM sqlite_stat1 WHERE tbl NOT LIKE 'sqlite%'"
        )
    ]


async def _read_sizes(tx: Transaction) -> dict[str, int]:
    """By the name of a table or index; empty where the library cannot tell."""
    try:
        return dict(await tx.fetch_text(_PAGES))
    except DatabaseError:
        return {}


async def _read_file_size(tx: Transaction) -> int:
    ((pages,),) = await tx.fetch_text("PRAGMA page_count")
    ((page_size,),) = await tx.fetch_text("PRAGMA page_size")
    return int(pages) * int(page_size)


def _rows_per_key(statistics: dict[str, str], index: str) -> int | None:
    """The last number that sqlite_stat1 has of an index: the rows for a value of all its columns."""
    words = [word for word in statistics.get(index, "").split() if word.isdigit()]
    return int(words[-1]) if words else None
