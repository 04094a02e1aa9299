"""Every row of every table, as canonical lines in the order of the primary keys: what checksums and transfers are of.

The keys compare byte by byte on each engine, so equal rows give the same lines in the same order everywhere.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from sqlalchemy import Select, Table, func, select

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.row_format import format_of, line_of
from holdfast.db.statements import Count, Query
from holdfast.db.tables import metadata

# The event loop makes the rows of a page in a millisecond or two; none may hold up those who are served beside it.
ROWS_AT_ONCE = 250

Lines = list[bytes]


def _in_order(table: Table) -> Select[Any]:
    return format_of(table).select.order_by(*table.primary_key)


ROWS: dict[str, Query[Any]] = {
    table.name: Query(f"tables.rows_include_deleted({table.name})", _in_order(table), format_of(table).row, heavy=True)
    for table in metadata.sorted_tables
}
COUNTS: dict[str, Query[Count]] = {
    table.name: Query(
        f"tables.count_include_deleted({table.name})",
        select(func.count().label("value")).select_from(table),
        Count,
        heavy=True,
    )
    for table in metadata.sorted_tables
}


async def count_all(tx: Transaction) -> dict[str, int]:
    """How many rows each table has, deleted ones too."""
    return {table.name: await tx.fetch_count(COUNTS[table.name]) for table in metadata.sorted_tables}


async def lines_of(tx: Transaction, table: Table) -> AsyncGenerator[Lines, None]:
    """The rows of a table as lines, a page at a time; `tx` is of `Database.snapshot`. Callers close what they leave."""
    async with aclosing(tx.fetch_pages(ROWS[table.name], ROWS_AT_ONCE)) as pages:
        async for page in pages:
            yield await in_thread(_lines, page)


def _lines(page: list[Any]) -> Lines:
    return [line_of(row) for row in page]
