"""What the database and this process do, for super administrators: no row of the product is in it."""

from typing import Any

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.errors import ForbiddenError
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.pool import Pool
from holdfast.db.statistics import reports
from holdfast.db.statistics.tallies import StatementTallies, read_statement_tallies
from holdfast.db.statistics.types import Connections, IndexUsage, PoolState, TableSizes
from holdfast.features.images import orphan_queries


class StatisticsForbiddenError(ForbiddenError):
    """Only super administrators see the statistics."""

    code = "statistics_forbidden"


async def get_statements(tx: Transaction, actor: Actor, *, limit: int) -> StatementTallies:
    """The statements of this process that took most time in all."""
    _require_super_admin(actor)
    return read_statement_tallies(limit)


async def get_index_usage(tx: Transaction, actor: Actor) -> IndexUsage:
    """How much each index is used, the least used first; on MariaDB with the answer to the seed's query (5.2)."""
    _require_super_admin(actor)
    return await reports.read_index_usage(tx)


async def get_table_sizes(tx: Transaction, actor: Actor) -> TableSizes:
    """How big the tables and their indexes are."""
    _require_super_admin(actor)
    return await reports.read_table_sizes(tx)


async def get_connections(tx: Transaction, actor: Actor, pool: Pool[object]) -> Connections:
    """Who is connected, who waits for whom, and the pool of this process."""
    _require_super_admin(actor)
    state = PoolState(
        name=pool.name,
        open=pool.open_connections,
        in_use=pool.in_use_connections,
        idle=pool.idle_connections,
        waiting=pool.waiting,
        most=pool.settings.max_open,
    )
    return msgspec.structs.replace(await reports.read_connections(tx), pool=state)


async def take_statistics(database: Database) -> dict[str, Any]:
    """Sizes, rows, orphans and indexes that nobody read, to be kept: no value of a row is in it."""
    async with database.read() as tx:
        sizes = await reports.read_table_sizes(tx)
        usage = await reports.read_index_usage(tx)
        orphans = {
            "seed": await orphan_queries.REVIEWED_ORPHANS.count(tx),
            "strict": await orphan_queries.APPROVED_ORPHANS.count(tx),
        }
    tables = {
        each.table: {"rows": each.rows, "table_bytes": each.table_bytes, "index_bytes": each.index_bytes}
        for each in sizes.items
    }
    return {
        "database_bytes": sizes.database_bytes,
        "tables": tables,
        "orphans": orphans,
        "index_reads": {each.index: each.reads for each in usage.items if each.reads is not None},
    }


def _require_super_admin(actor: Actor) -> None:
    if not actor.is_super_admin:
        raise StatisticsForbiddenError("only super administrators see the statistics of the database")
