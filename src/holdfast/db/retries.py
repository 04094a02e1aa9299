"""Running a transaction again that lost against another one."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from holdfast.db import metrics
from holdfast.db.errors import SerializationError
from holdfast.db.request_statements import request_statements

Result = TypeVar("Result")

_MOST_ATTEMPTS = 8
_LONGEST_RETRYING_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 0.3


async def with_retries(attempt: Callable[[], Awaitable[Result]]) -> Result:
    """Run a whole transaction, and again when it lost against another one: nothing of it was kept."""
    started = time.monotonic()
    pause_seconds = 0.01
    ran = request_statements.get()
    ran_before = 0 if ran is None else len(ran)
    for attempts_left in range(_MOST_ATTEMPTS - 1, -1, -1):
        try:
            return await attempt()
        except SerializationError:
            if attempts_left == 0 or time.monotonic() - started > _LONGEST_RETRYING_SECONDS:
                raise
            metrics.transactions_retried.labels("conflict").inc()
            if ran is not None:
                # What a request had to repeat is nothing that its route could do with fewer statements.
                del ran[ran_before:]
            await asyncio.sleep(random.uniform(0.2, 1) * pause_seconds)  # noqa: S311 - only spreads the callers
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
    raise AssertionError("unreachable")
