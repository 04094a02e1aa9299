"""A connection pool by the seed's rule: so many kept idle, so many at most, each renewed after a time (seed 3.2).

Drivers' own pools either do not know an idle limit and a lifetime, or run a statement at each return.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec

from holdfast.db import metrics
from holdfast.db.errors import PoolExhaustedError

Connection = TypeVar("Connection")


class PoolSettings(msgspec.Struct, frozen=True):
    """How a pool grows and shrinks. The defaults are the seed's.

    More than `max_idle` connections stay open for `surplus_seconds`, and are then closed as far as nobody wanted them
    in that time. Closed at once, as Go's pool does, they would be opened again by the next request of a busy server,
    which costs more than the request. For the same reason a caller who finds `max_idle` open, and all lent, waits
    `patience_seconds` for one to come back before another is opened: in a burst of short requests it does.
    """

    max_idle: int = 10
    max_open: int = 100
    lifetime_seconds: float = 3600
    wait_seconds: float = 5
    surplus_seconds: float = 5
    patience_seconds: float = 0.2


class _Pooled(Generic[Connection]):
    __slots__ = ("born", "connection")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.born = time.monotonic()


class Pool(Generic[Connection]):
    """Lends connections. The one used last is lent first, so that the others grow old and go."""

    def __init__(
        self,
        name: str,
        settings: PoolSettings,
        *,
        connect: Callable[[], Awaitable[Connection]],
        close: Callable[[Connection], Awaitable[None]],
        is_open: Callable[[Connection], bool],
    ) -> None:
        self.name = name
        self.settings = settings
        self._connect = connect
        self._close = close
        self._is_open = is_open
        self._idle: list[_Pooled[Connection]] = []
        self._lent: dict[int, _Pooled[Connection]] = {}
        self._waiters: deque[asyncio.Future[_Pooled[Connection] | None]] = deque()
        self._open = 0
        self._closed = False
        self._fewest_idle = 0
        self._trimming: asyncio.Task[None] | None = None
        self._open_gauge = metrics.pool_open.labels(name)
        # Read at a scrape, because it changes with every request.
        metrics.pool_in_use.labels(name).set_function(lambda: len(self._lent))
        self._waiting_gauge = metrics.pool_waiting.labels(name)

    @property
    def open_connections(self) -> int:
        """How many connections exist, lent or idle."""
        return self._open

    @property
    def idle_connections(self) -> int:
        """How many connections wait to be lent."""
        return len(self._idle)

    @property
    def in_use_connections(self) -> int:
        """How many connections are lent."""
        return len(self._lent)

    @property
    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return len(self._waiters)

    async def acquire(self) -> Connection:
        """Borrow a connection; waits at most `wait_seconds`, then raises `PoolExhaustedError`."""
        while self._idle:
            pooled = self._idle.pop()
            self._fewest_idle = min(self._fewest_idle, len(self._idle))
            if self._is_fresh(pooled):
                return self._lend(pooled)
            await self._discard(pooled)
        if self._open < min(max(1, self.settings.max_idle), self.settings.max_open):
            return self._lend(await self._open_one())
        return self._lend(await self._wait())

    async def release(self, connection: Connection, *, broken: bool = False) -> None:
        """Give a connection back; `broken` when its state is unknown, and it is closed."""
        pooled = self._lent.pop(id(connection))
        if broken or not self._is_fresh(pooled):
            await self._discard(pooled)
        else:
            await self._keep(pooled)

    async def close(self) -> None:
        """Close the idle connections now and each lent one when it comes back."""
        self._closed = True
        if self._trimming is not None:
            self._trimming.cancel()
        while self._idle:
            await self._discard(self._idle.pop())

    async def _keep(self, pooled: _Pooled[Connection]) -> None:
        """Hand a good connection to the first in the queue, or keep it idle, or close it."""
        if self._closed:
            await self._discard(pooled)
        elif not self._wake_one(pooled):
            self._idle.append(pooled)
            if len(self._idle) > self.settings.max_idle and self._trimming is None:
                self._trimming = asyncio.create_task(self._trim())

    async def _trim(self) -> None:
        """Close what nobody wanted for a while, the longest unused first, until no more than `max_idle` are left."""
        try:
            while len(self._idle) > self.settings.max_idle:
                self._fewest_idle = len(self._idle)
                await asyncio.sleep(self.settings.surplus_seconds)
                for _ in range(self._fewest_idle - self.settings.max_idle):
                    # One at a time: while one closes, the pool may be used, or closed itself.
                    if len(self._idle) > self.settings.max_idle:
                        await self._discard(self._idle.pop(0))
        finally:
            self._trimming = None

    def _lend(self, pooled: _Pooled[Connection]) -> Connection:
        self._lent[id(pooled.connection)] = pooled
        return pooled.connection

    def _is_fresh(self, pooled: _Pooled[Connection]) -> bool:
        age = time.monotonic() - pooled.born
        return age < self.settings.lifetime_seconds and self._is_open(pooled.connection)

    async def _open_one(self) -> _Pooled[Connection]:
        self._open += 1
        try:
            pooled = _Pooled(await self._connect())
        except BaseException:
            self._open -= 1
            self._wake_one(None)
            raise
        self._open_gauge.set(self._open)
        return pooled

    async def _discard(self, pooled: _Pooled[Connection]) -> None:
        self._open -= 1
        self._open_gauge.set(self._open)
        self._wake_one(None)
        await self._close(pooled.connection)

    async def _wait(self) -> _Pooled[Connection]:
        """The next connection that comes back; or a new one, once that takes longer than patience and there is room."""
        started = time.monotonic()
        deadline = started + self.settings.wait_seconds
        patient_until = min(started + self.settings.patience_seconds, deadline)
        while True:
            has_room = self._open < self.settings.max_open
            if has_room and time.monotonic() >= patient_until:
                return await self._open_one()
            try:
                pooled = await self._next_back(patient_until if has_room else deadline)
            except TimeoutError:
                if time.monotonic() >= deadline and self._open >= self.settings.max_open:
                    raise self._exhausted() from None
            else:
                if pooled is not None:
                    return pooled
                # A connection was closed: there is room to open one, unless somebody was faster.
                patient_until = started
            finally:
                metrics.pool_wait_seconds.labels(self.name).observe(time.monotonic() - started)

    async def _next_back(self, until: float) -> _Pooled[Connection] | None:
        """What the queue hands over by then: a connection, or None for the room of one that was closed."""
        waiter: asyncio.Future[_Pooled[Connection] | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._waiting_gauge.set(len(self._waiters))
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                return await waiter
        except BaseException:
            await self._give_up(waiter)
            raise
        finally:
            self._waiting_gauge.set(len(self._waiters))

    async def _give_up(self, waiter: "asyncio.Future[_Pooled[Connection] | None]") -> None:
        """Leave the queue, and pass on a connection that arrived at the last moment."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif waiter.done() and not waiter.cancelled():
            pooled = waiter.result()
            if pooled is None:
                self._wake_one(None)
            else:
                await self._keep(pooled)

    def _wake_one(self, pooled: _Pooled[Connection] | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(pooled)
                return True
        return False

    def _exhausted(self) -> PoolExhaustedError:
        metrics.pool_timeouts.labels(self.name).inc()
        return PoolExhaustedError(
            f"all {self.settings.max_open} database connections were busy for {self.settings.wait_seconds:g} seconds;"
            " try again in a moment",
            retry_after_seconds=1,
        )
