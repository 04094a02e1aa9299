"""What the database and this process do, for super administrators: no row of the product is in it."""

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.errors import ForbiddenError
from holdfast.db.engines.base import Transaction
from holdfast.db.pool import Pool
from holdfast.db.statistics import reports
from holdfast.db.statistics.tallies import StatementTallies, read_statement_tallies
from holdfast.db.statistics.types import Connections, IndexUsage, PoolState, TableSizes


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


def _require_super_admin(actor: Actor) -> None:
    if not actor.is_super_admin:
        raise StatisticsForbiddenError("only super administrators see the statistics of the database")
