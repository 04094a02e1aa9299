"""What PostgreSQL and MariaDB have in common: a pool, and transactions that begin and end by statements."""

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, TypeVar

from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Database, Isolation, Transaction
from holdfast.db.errors import ConnectionLostError
from holdfast.db.pool import Pool

Connection = TypeVar("Connection")


class ServerDatabase(Database, Generic[Connection]):
    """A database server. A connection whose state is not known goes back to the pool as broken, which closes it."""

    pool: Pool[Connection]

    async def start(self) -> None:
        await self.pool.release(await self.pool.acquire())

    async def stop(self) -> None:
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
                await self.pool.release(connection, broken=True)
                # Each turn spends an idle connection, so this ends; a new one that fails says that the server is away.
                if not (was_idle and isinstance(error, ConnectionLostError)):
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
        """Run COMMIT or ROLLBACK."""


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
        await self._database.pool.release(self._connection, broken=error is not None and not foreseen)


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
        broken = True
        try:
            if error is None:
                await self._commit()
            elif not await self._roll_back(error):
                return
            broken = False
        except HoldfastError as refused:
            broken = error is not None or not await self._roll_back(refused)
            raise
        finally:
            await self._database.pool.release(self._connection, broken=broken)

    async def _commit(self) -> None:
        await self._tx.flush()
        self._tx.require_whole()
        await self._database.run(self._connection, "COMMIT")

    async def _roll_back(self, error: BaseException) -> bool:
        """Whether the connection is good again."""
        if isinstance(error, ConnectionLostError) or not isinstance(error, HoldfastError):
            return False
        await self._database.run(self._connection, "ROLLBACK")
        return True
