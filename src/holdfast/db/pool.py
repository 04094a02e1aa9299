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
from holdfast.db.errors import PoolClosedError, PoolExhaustedError, ServerFullError

Connection = TypeVar("Connection")

_FULL_SERVER_REST_SECONDS = 0.2


class PoolSettings(msgspec.Struct, frozen=True):
    """How a pool grows and shrinks. The defaults are the seed's.

    More than `max_idle` connections stay open for `surplus_seconds`, and are then closed as far as nobody wanted them
    in that time. Closed at once, as Go's pool does, they would be opened again by the next request of a busy server,
    which costs more than the request. For the same reason callers who find `max_idle` open, and all lent, wait for one
    to come back: in a burst of short requests it does. More are opened, one after the other, while the first in the
    queue has waited for more than `patience_seconds`.
    """

    max_idle: int = 10
    max_open: int = 100
    lifetime_seconds: float = 3600
    wait_seconds: float = 5
    surplus_seconds: float = 5
    patience_seconds: float = 0.2


class _Pooled(Generic[Connection]):
    __slots__ = ("born", "connection", "generation", "lent_at")

    def __init__(self, connection: Connection, generation: int) -> None:
        self.connection = connection
        self.generation = generation
        self.born = self.lent_at = time.monotonic()


class _Waiter(Generic[Connection]):
    """A place in the queue. It is given a connection, or None: there is room to open one."""

    __slots__ = ("given", "since")

    def __init__(self) -> None:
        self.given: asyncio.Future[_Pooled[Connection] | None] = asyncio.get_running_loop().create_future()
        self.since = time.monotonic()


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
        abort: Callable[[Connection], None] | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._connect = connect
        self._close = close
        self._is_open = is_open
        # How to end a connection that nobody answers on, without a word.
        self._abort = abort
        self._idle: list[_Pooled[Connection]] = []
        self._lent: dict[int, _Pooled[Connection]] = {}
        self._waiters: deque[_Waiter[Connection]] = deque()
        self._open = 0
        self._generation = 0
        self._server_full_until = 0.0
        self._closed = False
        self._fewest_idle = 0
        self._trimming: asyncio.Task[None] | None = None
        self._growing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Future[None]] = set()
        # Read at a scrape, because they change with every request.
        metrics.pool_open.labels(name).set_function(lambda: self._open)
        metrics.pool_in_use.labels(name).set_function(lambda: len(self._lent))
        metrics.pool_waiting.labels(name).set_function(lambda: len(self._waiters))

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
    def lent_connections(self) -> list[Connection]:
        """The connections that are lent."""
        return [pooled.connection for pooled in self._lent.values()]

    @property
    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return len(self._waiters)

    async def acquire(self) -> Connection:
        """Borrow a connection; waits at most `wait_seconds`, then raises `PoolExhaustedError`.

        PoolClosedError: there are no more, because the process ends.
        """
        if self._closed:
            raise PoolClosedError
        while self._idle:
            pooled = self._idle.pop()
            self._fewest_idle = min(self._fewest_idle, len(self._idle))
            if self._is_fresh(pooled):
                return self._lend(pooled)
            # Not waited for: a server that no longer answers would be waited for once for each connection.
            self._close_aside(pooled)
        if self._opens_at_once:
            try:
                return self._lend(await self._open_one())
            except ServerFullError:
                if self._open == 0:
                    raise
                # One of those that are open comes back.
        return self._lend(await self._wait())

    async def release(self, connection: Connection, *, broken: bool = False, lost: bool = False) -> None:
        """Give a connection back; `broken` when its state is unknown, and it is closed.

        `lost` when the server broke it or is no longer the one to speak to: then so may all others be.
        """
        pooled = self._lent.pop(id(connection))
        if lost:
            if pooled.generation == self._generation:
                self.renew()
            if self._abort is not None:
                self._abort(connection)
            await self._discard(pooled)
        elif broken or not self._is_fresh(pooled):
            await self._discard(pooled)
        else:
            await self._keep(pooled)

    def renew(self) -> None:
        """Let no connection be lent again that was made before now: the idle ones end, the others when they come back.

        After a failover they lead to a server that is gone, or no longer the one to ask.
        """
        self._generation += 1
        while self._idle:
            self._end_aside(self._idle.pop())
        self._fewest_idle = 0
        self._tell_of_room()

    def lent_since(self, moment: float) -> list[Connection]:
        """The connections that are lent, and were before the moment (of `time.monotonic`)."""
        return [pooled.connection for pooled in self._lent.values() if pooled.lent_at < moment]

    async def close(self) -> None:
        """Close the idle connections now and each lent one when it comes back; who waits for one is told."""
        self._closed = True
        while self._wake_one(PoolClosedError()):
            pass
        for task in (self._trimming, self._growing):
            if task is not None:
                task.cancel()
        while self._idle:
            await self._discard(self._idle.pop())
        if self._closing:
            await asyncio.wait(self._closing)

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
        pooled.lent_at = time.monotonic()
        self._lent[id(pooled.connection)] = pooled
        return pooled.connection

    def _is_fresh(self, pooled: _Pooled[Connection]) -> bool:
        age = time.monotonic() - pooled.born
        return (
            pooled.generation == self._generation
            and age < self.settings.lifetime_seconds
            and self._is_open(pooled.connection)
        )

    @property
    def _opens_at_once(self) -> bool:
        """Whether so few are open that nobody waits for one of them, and the server takes more."""
        few = self._open < min(max(1, self.settings.max_idle), self.settings.max_open)
        return few and (self._open == 0 or time.monotonic() >= self._server_full_until)

    async def _open_one(self) -> _Pooled[Connection]:
        self._open += 1
        generation = self._generation
        try:
            return _Pooled(await self._connect(), generation)
        except BaseException as error:
            self._open -= 1
            if isinstance(error, ServerFullError):
                self._server_full_until = time.monotonic() + _FULL_SERVER_REST_SECONDS
            self._tell_of_room()
            raise

    async def _discard(self, pooled: _Pooled[Connection]) -> None:
        self._open -= 1
        self._tell_of_room()
        await self._close(pooled.connection)

    def _close_aside(self, pooled: _Pooled[Connection]) -> None:
        closing = asyncio.ensure_future(self._close(pooled.connection))
        self._open -= 1
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _end_aside(self, pooled: _Pooled[Connection]) -> None:
        if self._abort is not None:
            self._abort(pooled.connection)
        self._close_aside(pooled)

    def _tell_of_room(self) -> None:
        if self._opens_at_once:
            self._wake_one(None)
        else:
            self._grow()

    async def _wait(self) -> _Pooled[Connection]:
        """The next connection that comes back, for the first in the queue; or one that is opened for it."""
        waiter = _Waiter[Connection]()
        self._waiters.append(waiter)
        self._grow()
        try:
            async with asyncio.timeout(self.settings.wait_seconds):
                while True:
                    pooled = await waiter.given
                    if pooled is not None:
                        return pooled
                    if self._opens_at_once:
                        try:
                            return await self._open_one()
                        except ServerFullError:
                            if self._open == 0:
                                raise
                    # Somebody was faster: first in the queue again.
                    waiter.given = asyncio.get_running_loop().create_future()
                    self._waiters.appendleft(waiter)
                    self._grow()
        except TimeoutError:
            # It may have come at the last moment.
            if (pooled := self._leave(waiter)) is not None:
                return pooled
            raise self._exhausted() from None
        except asyncio.CancelledError:
            if (pooled := self._leave(waiter)) is not None:
                await self._keep(pooled)
            raise
        finally:
            metrics.pool_wait_seconds.labels(self.name).observe(time.monotonic() - waiter.since)

    def _leave(self, waiter: _Waiter[Connection]) -> _Pooled[Connection] | None:
        """Leave the queue; the connection that was given meanwhile. Room is passed on."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            return None
        if not waiter.given.done() or waiter.given.cancelled() or waiter.given.exception() is not None:
            return None
        pooled = waiter.given.result()
        if pooled is None:
            self._tell_of_room()
        return pooled

    def _grow(self) -> None:
        """See to it that the first in the queue does not wait too long while there is room."""
        if self._growing is None and self._waiters and self._open < self.settings.max_open and not self._closed:
            self._growing = asyncio.create_task(self._open_for_the_first())

    async def _open_for_the_first(self) -> None:
        patience = min(self.settings.patience_seconds, self.settings.wait_seconds / 2)
        try:
            while self._waiters and self._open < self.settings.max_open:
                left = self._waiters[0].since + patience - time.monotonic()
                if left > 0:
                    await asyncio.sleep(left)
                    continue
                try:
                    pooled = await self._open_one()
                except ServerFullError as error:
                    if self._open == 0:
                        self._wake_one(error)
                    await asyncio.sleep(_FULL_SERVER_REST_SECONDS)
                except Exception as error:
                    self._wake_one(error)
                else:
                    await self._keep(pooled)
        finally:
            self._growing = None

    def _wake_one(self, given: "_Pooled[Connection] | Exception | None") -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if waiter.given.done():
                continue
            if isinstance(given, Exception):
                waiter.given.set_exception(given)
            else:
                waiter.given.set_result(given)
            return True
        return False

    def _exhausted(self) -> PoolExhaustedError:
        metrics.pool_timeouts.labels(self.name).inc()
        return PoolExhaustedError(
            f"all {self.settings.max_open} database connections were busy for {self.settings.wait_seconds:g} seconds;"
            " try again in a moment",
            retry_after_seconds=1,
        )
