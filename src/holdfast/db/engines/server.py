"""What PostgreSQL and MariaDB have in common: a pool, and transactions that begin and end by statements."""

import asyncio
import time
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, TypeVar

import structlog

from holdfast.core.errors import HoldfastError
from holdfast.db import metrics
from holdfast.db.engines.base import Database, Isolation, Transaction
from holdfast.db.errors import CommitOutcomeUnknownError, ConnectionLostError
from holdfast.db.pool import Pool

Connection = TypeVar("Connection")

_log = structlog.get_logger("holdfast.db")
# From when on a lent connection makes one ask whether its server still answers anybody.
_SUSPICIOUS_SECONDS = 3.0
_WATCH_SECONDS = 1.0


class ServerDatabase(Database, Generic[Connection]):
    """A database server. A connection whose state is not known goes back to the pool as broken, which closes it."""

    pool: Pool[Connection]
    _watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.pool.release(await self.pool.acquire())
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self.pool.close()

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        return _Borrowed(self)

    def write(self, isolation: Isolation = Isolation.READ_COMMITTED) -> AbstractAsyncContextManager[Transaction]:
        return _Begun(self, isolation)

    async def acquire_begun(self, isolation: Isolation) -> Connection:
        """A connection with an open transaction; another one where the first was lost while it lay idle."""
        while True:
            was_idle = self.pool.idle_connections > 0
            connection = await self.pool.acquire()
            try:
                await self._begin(connection, isolation)
            except BaseException as error:
                is_lost = isinstance(error, ConnectionLostError)
                await self.pool.release(connection, broken=True, lost=is_lost)
                # Each turn spends an idle connection, so this ends; a new one that fails says that the server is away.
                if not (was_idle and is_lost):
                    raise
            else:
                return connection

    @abstractmethod
    def transaction_on(self, connection: Connection) -> Transaction:
        """Named statements on a borrowed connection."""

    @abstractmethod
    async def _begin(self, connection: Connection, isolation: Isolation) -> None: ...

    @abstractmethod
    async def run(self, connection: Connection, sql: str) -> None:
        """Run a statement that begins or ends a transaction."""

    async def commit(self, connection: Connection) -> None:
        """Run COMMIT. Raises CommitOutcomeUnknownError where no answer to it came."""
        try:
            await self.run(connection, "COMMIT")
        except ConnectionLostError as error:
            raise CommitOutcomeUnknownError from error

    async def _without_answer(self, connections: list[Connection]) -> list[Connection]:
        """Those whose server does not answer a new connection either."""
        return []

    def _cut(self, connection: Connection) -> None:
        """End a connection at once; whoever waits for an answer on it gets a ConnectionLostError."""

    async def _watch(self) -> None:
        """Cut the connections to a server that stands still: neither it nor the network tells those who wait for it.

        A time limit for each statement would cost every one of them, and end those that may take long.
        """
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            suspicious = self.pool.lent_since(time.monotonic() - _SUSPICIOUS_SECONDS)
            if not suspicious:
                continue
            began = time.monotonic()
            silent = {id(connection) for connection in await self._without_answer(suspicious)}
            # What came back meanwhile may have been lent to somebody else.
            waiting = [held for held in self.pool.lent_since(began) if id(held) in silent]
            if waiting:
                _log.warning("database_stands_still", connections=len(waiting))
                metrics.connections_cut.inc(len(waiting))
                self.pool.renew()
            for connection in waiting:
                self._cut(connection)


class _Borrowed(AbstractAsyncContextManager[Transaction], Generic[Connection]):
    """A connection for reading. A class, because a generator for each request costs more than the pool."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: ServerDatabase[Connection]) -> None:
        self._database = database

    async def __aenter__(self) -> Transaction:
        self._connection = await self._database.pool.acquire()
        return self._database.transaction_on(self._connection)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What the product foresees leaves the connection usable, unless it is lost; all else leaves its state unknown.
        foreseen = isinstance(error, HoldfastError) and not isinstance(error, ConnectionLostError)
        await self._database.pool.release(
            self._connection,
            broken=error is not None and not foreseen,
            lost=error is not None and isinstance(error, ConnectionLostError),
        )


class _Begun(AbstractAsyncContextManager[Transaction], Generic[Connection]):
    """A transaction, ended with its block. What leaves its state unknown closes the connection, which undoes it."""

    __slots__ = ("_connection", "_database", "_isolation", "_tx")

    def __init__(self, database: ServerDatabase[Connection], isolation: Isolation) -> None:
        self._database = database
        self._isolation = isolation

    async def __aenter__(self) -> Transaction:
        self._connection = await self._database.acquire_begun(self._isolation)
        self._tx = self._database.transaction_on(self._connection)
        return self._tx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        broken, lost = True, isinstance(error, ConnectionLostError)
        try:
            if error is None:
                await self._commit()
            elif not await self._roll_back(error):
                return
            broken = False
        except HoldfastError as refused:
            lost = isinstance(refused, ConnectionLostError | CommitOutcomeUnknownError)
            if error is not None:
                # What could not be undone goes with the connection, and what ended the block is what there is to tell.
                return
            broken = not await self._roll_back(refused)
            raise
        finally:
            await self._database.pool.release(self._connection, broken=broken, lost=lost)

    async def _commit(self) -> None:
        await self._tx.flush()
        self._tx.require_whole()
        await self._database.commit(self._connection)

    async def _roll_back(self, error: BaseException) -> bool:
        """Whether the connection is good again."""
        if isinstance(error, ConnectionLostError | CommitOutcomeUnknownError) or not isinstance(error, HoldfastError):
            return False
        await self._database.run(self._connection, "ROLLBACK")
        return True
