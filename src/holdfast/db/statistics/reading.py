"""What a scrape reads from the database: seldom, whoever scrapes how often, and never at the cost of the scrape."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

import structlog

from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Database, Transaction

_log = structlog.get_logger("holdfast.db")
# A scrape must answer also when the database does not, and soon.
_LONGEST_SECONDS = 2.0


class Reading:
    """Numbers that are read at a scrape, unless they were read less than `fresh_seconds` ago.

    `read` puts them where the scrape finds them. `name` stands in the log where that fails.
    """

    def __init__(self, name: str, read: Callable[[Transaction], Awaitable[None]], *, fresh_seconds: float) -> None:
        self._name = name
        self._read = read
        self._fresh_seconds = fresh_seconds
        self.read_at: WeakKeyDictionary[Database, float] = WeakKeyDictionary()

    async def refresh(self, database: Database) -> None:
        """Read anew what is no longer fresh; where that fails or takes long, the old numbers stay until it is again."""
        now = time.monotonic()
        if now - self.read_at.get(database, -self._fresh_seconds) < self._fresh_seconds:
            return
        # Before the first await, so that scrapes that meet read once.
        self.read_at[database] = now
        try:
            async with asyncio.timeout(_LONGEST_SECONDS), database.read() as tx:
                await self._read(tx)
        except (HoldfastError, TimeoutError) as error:
            _log.warning(f"{self._name}_not_read", reason=str(error) or type(error).__name__)
