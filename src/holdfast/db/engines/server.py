"""What PostgreSQL and MariaDB have in common: a pool, and transactions that begin and end by statements."""

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        connection = await self.pool.acquire()
        broken = True
        try:
            yield self._transaction(connection)
            broken = False
        except HoldfastError as error:
            broken = isinstance(error, ConnectionLostError)
            raise
        finally:
            await self.pool.release(connection, broken=broken)

    @asynccontextmanager
    async def write(self, isolation: Isolation = Isolation.READ_COMMITTED) -> AsyncIterator[Transaction]:
        connection = await self._acquire_begun(isolation)
        broken = True
        try:
            try:
                tx = self._transaction(connection)
                yield tx
                tx.require_whole()
            except HoldfastError as error:
                if not isinstance(error, ConnectionLostError):
                    await self._run(connection, "ROLLBACK")
                    broken = False
                raise
            await self._run(connection, "COMMIT")
            broken = False
        finally:
            await self.pool.release(connection, broken=broken)

    async def _acquire_begun(self, isolation: Isolation) -> Connection:
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
    def _transaction(self, connection: Connection) -> Transaction: ...

    @abstractmethod
    async def _begin(self, connection: Connection, isolation: Isolation) -> None: ...

    @abstractmethod
    async def _run(self, connection: Connection, sql: str) -> None: ...
