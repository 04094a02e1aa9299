"""Running a transaction again that lost against another one, or whose connection broke before anything was kept."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from holdfast.db import metrics
from holdfast.db.errors import CommitOutcomeUnknownError, ConnectionLostError, SerializationError
from holdfast.db.request_statements import request_statements

Result = TypeVar("Result")

# What was not kept, so that another attempt cannot do anything twice.
NOTHING_KEPT = (SerializationError, ConnectionLostError)
_MOST_CONFLICTS = 8
_LONGEST_RETRYING_SECONDS = 10.0
# From the first loss on: as long as a planned switchover takes. Whoever asks waits meanwhile, so not much longer.
_LONGEST_WITHOUT_DATABASE_SECONDS = 4.0
_SHORTEST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.3


async def with_retries(attempt: Callable[[], Awaitable[Result]]) -> Result:
    """Run a whole transaction, and again when it lost against another one or its connection: nothing of it was kept."""
    return await _Attempts(NOTHING_KEPT).run(attempt)


async def until_known(attempt: Callable[[], Awaitable[Result]]) -> Result:
    """As `with_retries`, and again when nobody knows whether its commit took effect.

    For a transaction that finds out, when it runs again, that it was there before.
    """
    return await _Attempts((*NOTHING_KEPT, CommitOutcomeUnknownError)).run(attempt)


async def once_more(attempt: Callable[[], Awaitable[Result]]) -> Result:
    """Go on as `with_retries` where a first attempt failed with one of `NOTHING_KEPT`.

    For the hot paths, whose first attempt is spared all this. All statements of the request until now are forgotten.
    """
    ran = request_statements.get()
    if ran is not None:
        ran.clear()
    metrics.transactions_retried.labels("connection").inc()
    await asyncio.sleep(_spread(_SHORTEST_PAUSE_SECONDS))
    return await with_retries(attempt)


class _Attempts:
    """How often and for how long one transaction was tried."""

    def __init__(self, again_after: tuple[type[Exception], ...]) -> None:
        self._again_after = again_after
        self._started = time.monotonic()
        self._conflicts = 0
        self._lost_at: float | None = None
        self._unknown: CommitOutcomeUnknownError | None = None
        self._pause_seconds = _SHORTEST_PAUSE_SECONDS

    async def run(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        ran = request_statements.get()
        ran_before = 0 if ran is None else len(ran)
        while True:
            try:
                return await attempt()
            except self._again_after as error:
                if self._is_over(error):
                    if self._unknown is not None:
                        # The last attempt left nothing; an earlier one may have.
                        raise self._unknown from error
                    raise
            if ran is not None:
                # What a request had to repeat is nothing that its route could do with fewer statements.
                del ran[ran_before:]
            await asyncio.sleep(_spread(self._pause_seconds))
            self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _is_over(self, error: Exception) -> bool:
        now = time.monotonic()
        if isinstance(error, SerializationError):
            self._conflicts += 1
            if self._conflicts == _MOST_CONFLICTS or now - self._started > _LONGEST_RETRYING_SECONDS:
                return True
            metrics.transactions_retried.labels("conflict").inc()
            return False
        if isinstance(error, CommitOutcomeUnknownError):
            self._unknown = error
        if self._lost_at is None:
            self._lost_at = now
        elif now - self._lost_at > _LONGEST_WITHOUT_DATABASE_SECONDS:
            return True
        metrics.transactions_retried.labels("connection").inc()
        return False


def _spread(seconds: float) -> float:
    return random.uniform(0.2, 1) * seconds  # noqa: S311 - only spreads the callers
