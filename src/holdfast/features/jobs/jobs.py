"""What the worker does for the records of jobs."""

from datetime import datetime

from holdfast.db.engines.base import Transaction
from holdfast.features.jobs import queries

ROWS_AT_ONCE = 1000


async def remove_old_jobs(tx: Transaction, before: datetime) -> int:
    """Remove jobs that were done before that moment; how many went, at most `ROWS_AT_ONCE`. Dead letters stay."""
    found = await tx.fetch_all(queries.FIND_OLD_JOBS, before=before, at_most=ROWS_AT_ONCE)
    return await tx.execute(queries.REMOVE_JOBS, ids=[row.id for row in found]) if found else 0
