"""What the worker does for accounts, in bounded steps: each is one transaction, run again until it finds nothing."""

from datetime import datetime, timedelta

from holdfast.core.clock import Clock, utc_now
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import queries

ROWS_AT_ONCE = 2000
# So that people can still see, for a while, which of their tokens ended.
_EXPIRED_TOKENS_STAY = timedelta(days=30)


async def remove_expired_tokens(tx: Transaction, clock: Clock = utc_now) -> int:
    """Remove tokens that ended a month ago; how many went, at most `ROWS_AT_ONCE`."""
    before = clock() - _EXPIRED_TOKENS_STAY
    found = await tx.fetch_all(queries.OLD_TOKENS, before=before, at_most=ROWS_AT_ONCE)
    if not found:
        return 0
    return await tx.execute(queries.REMOVE_TOKENS, ids=[row.id for row in found])


async def remove_old_sign_in_failures(tx: Transaction, before: datetime) -> int:
    """Remove counts whose window began before that moment; how many went, at most `ROWS_AT_ONCE`."""
    found = await tx.fetch_all(queries.OLD_FAILURES, before=before, at_most=ROWS_AT_ONCE)
    if not found:
        return 0
    return await tx.execute(queries.REMOVE_FAILURES, ids=[row.id for row in found], before=before)


async def set_absent_users_offline(tx: Transaction, clock: Clock = utc_now) -> int:
    """Set users offline whose last session expired; how many, at most `ROWS_AT_ONCE`."""
    now = clock()
    found = await tx.fetch_all(queries.ABSENT_USERS, now=now, at_most=ROWS_AT_ONCE)
    if not found:
        return 0
    return await tx.execute(queries.SET_OFFLINE, ids=[row.id for row in found], now=now)
