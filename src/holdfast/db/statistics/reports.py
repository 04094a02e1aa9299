"""The reports, by the engine that is asked."""

from typing import Protocol

from holdfast.db.engines.base import Transaction
from holdfast.db.statistics import mariadb, postgresql, sqlite
from holdfast.db.statistics.types import Connections, IndexUsage, TableSizes


class _Engine(Protocol):
    """What each engine's module has."""

    async def read_index_usage(self, tx: Transaction) -> IndexUsage: ...

    async def read_table_sizes(self, tx: Transaction) -> TableSizes: ...

    async def estimate_table_sizes(self, tx: Transaction) -> TableSizes: ...

    async def read_connections(self, tx: Transaction) -> Connections: ...


_ENGINES: dict[str, _Engine] = {"mariadb": mariadb, "postgresql": postgresql, "sqlite": sqlite}


async def read_index_usage(tx: Transaction) -> IndexUsage:
    """Which index is used how much."""
    return await _ENGINES[tx.dialect_name].read_index_usage(tx)


async def read_table_sizes(tx: Transaction) -> TableSizes:
    """How big the tables are; may take seconds on a big SQLite file."""
    return await _ENGINES[tx.dialect_name].read_table_sizes(tx)


async def estimate_table_sizes(tx: Transaction) -> TableSizes:
    """As `read_table_sizes`, but never reads a table: for metrics."""
    return await _ENGINES[tx.dialect_name].estimate_table_sizes(tx)


async def read_connections(tx: Transaction) -> Connections:
    """Who is connected, and who waits for whom."""
    return await _ENGINES[tx.dialect_name].read_connections(tx)
