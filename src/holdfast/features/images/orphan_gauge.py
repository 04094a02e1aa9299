"""How many rows the orphan reports have, as a metric: counted at a scrape, at most every ten minutes."""

from prometheus_client import Gauge

from holdfast.db.engines.base import Transaction
from holdfast.db.statistics.reading import Reading
from holdfast.features.images import orphan_queries as queries

_orphans = Gauge(
    "holdfast_orphaned_image_requests",
    "Decided image requests without a rule, by the report that finds them.",
    ["report"],
)


async def _count(tx: Transaction) -> None:
    """Both are told only once both are known."""
    seed = await queries.REVIEWED_ORPHANS.count(tx)
    strict = await queries.APPROVED_ORPHANS.count(tx)
    _orphans.labels("seed").set(seed)
    _orphans.labels("strict").set(strict)


# Each counting reads the requests as a whole.
ORPHANS = Reading("orphans", _count, fresh_seconds=600)
