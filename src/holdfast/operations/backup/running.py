"""Blocking work beside the event loop that ends when the task is cancelled, and who is told how far it is."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeVar

from holdfast.db.lifecycle.bundle import in_thread
from holdfast.operations.backup.streams import Stop

Result = TypeVar("Result")

# Called with a stage in words, the bytes (or rows) of it that are done and how many there are, where that is known.
Progress = Callable[[str, int, int | None], None]


def no_progress(stage: str, done: int, total: int | None) -> None:
    """Tells nobody."""


async def stoppable(work: Callable[[], Result], stop: Stop, end: Callable[[], None] | None = None) -> Result:
    """Run beside the event loop.

    Cancelled, the work is told to stop, `end` breaks off what it waits for, and its end is awaited.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        if end is not None:
            await in_thread(end)
        await asyncio.wait([running])
        # How it ended is nobody's concern any more.
        running.exception()
        raise


@asynccontextmanager
async def entered(manager: AbstractContextManager[Result]) -> AsyncIterator[Result]:
    """A context manager that blocks, entered and left beside the event loop."""
    value = await in_thread(manager.__enter__)
    try:
        yield value
    except BaseException:
        if not await in_thread(manager.__exit__, *sys.exc_info()):
            raise
    else:
        await in_thread(manager.__exit__, None, None, None)
