"""Who purges a deletion now: a token and its end on the deletion's row, which every transaction of the purge renews."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from holdfast.core.clock import Clock
from holdfast.core.errors import ConflictError
from holdfast.core.ids import new_long_id
from holdfast.db import metrics
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import PoolExhaustedError
from holdfast.db.lifecycle import purge_statements as statements
from holdfast.db.retries import with_retries
from holdfast.db.statements import Command

Result = TypeVar("Result")

LEASE_SECONDS = 60


class PurgeWaitsError(ConflictError):
    """Another purge is under way, or this one is held by another worker: come back later."""

    code = "purge_waits"


class LeaseLostError(ConflictError):
    """Another worker took this purge over."""

    code = "lease_lost"


class Lease:
    """A worker's hold of one deletion. It is taken by the purge itself."""

    def __init__(self, database: Database, deletion_id: str, clock: Clock) -> None:
        self.database = database
        self.deletion_id = deletion_id
        self.clock = clock
        self.token = new_long_id()
        self._renewed_at = time.monotonic()

    @property
    def end(self) -> datetime:
        """Until when it holds if it is renewed now."""
        return self.clock() + timedelta(seconds=LEASE_SECONDS)

    async def in_transaction(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Do the work in one transaction, again where it lost against another one."""

        async def attempt() -> Result:
            async with self.database.write() as tx:
                started = time.monotonic()
                result = await work(tx)
            metrics.purge_transaction_seconds.observe(time.monotonic() - started)
            return result

        return await with_retries(attempt)

    async def update(self, tx: Transaction, command: Command, **values: Any) -> None:
        """Change the deletion's row, which proves that the lease is held."""
        matched = await tx.execute(
            command, deletion_id=self.deletion_id, held_token=self.token, updated_at=self.clock(), **values
        )
        if matched != 1:
            raise LeaseLostError("another worker took this purge over")

    async def renew(self, tx: Transaction) -> None:
        """Renew it in a transaction, which fails where it was lost."""
        await self.update(tx, statements.RENEW_LEASE, lease_until=self.end)

    async def renew_sometimes(self) -> None:
        """Renew it, unless that was done a moment ago. Where the pool is full, later, as long as it holds."""
        since = time.monotonic() - self._renewed_at
        if since <= LEASE_SECONDS / 4:
            return
        try:
            await self.in_transaction(self.renew)
        except PoolExhaustedError:
            if since > LEASE_SECONDS / 2:
                raise
        else:
            self._renewed_at = time.monotonic()

    async def settle(self, state: str, failure: str | None) -> None:
        """End the run in this state, unless the lease was lost."""

        async def settle(tx: Transaction) -> None:
            await tx.execute(
                statements.SETTLE,
                deletion_id=self.deletion_id,
                held_token=self.token,
                state=state,
                failure=failure,
                lease_token=None,
                lease_until=None,
                updated_at=self.clock(),
            )

        await self.in_transaction(settle)

    async def release(self) -> None:
        """Give the lease back, so that the next run need not wait for its end."""

        async def release(tx: Transaction) -> None:
            await tx.execute(
                statements.RELEASE_LEASE,
                deletion_id=self.deletion_id,
                held_token=self.token,
                lease_token=None,
                lease_until=self.clock(),
                updated_at=self.clock(),
            )

        await self.in_transaction(release)
