"""A database whose process dies at a chosen statement: what was open is lost, and nothing runs afterwards."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from holdfast.db.engines.base import Database, Isolation


class DiedError(BaseException):
    """The process is gone. Nobody may catch it, as nobody catches `kill -9`."""


class DyingDatabase:
    """Stands for a database until its `statements`-th statement; that one and all later ones never run."""

    def __init__(self, database: Database, statements: int) -> None:
        self._database = database
        self._left = statements
        self.dialect_name = database.dialect_name

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        """As of the interface."""
        self._require_alive()
        async with self._database.read() as tx:
            yield _DyingTransaction(tx, self)

    @asynccontextmanager
    async def write(self, isolation: Isolation = Isolation.READ_COMMITTED) -> AsyncIterator[Any]:
        """As of the interface."""
        self._require_alive()
        async with self._database.write(isolation) as tx:
            yield _DyingTransaction(tx, self)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Any]:
        """As of the interface."""
        self._require_alive()
        async with self._database.snapshot() as tx:
            yield _DyingTransaction(tx, self)

    async def tidy(self) -> None:
        """As of the interface."""
        self._require_alive()
        await self._database.tidy()

    def spend(self) -> None:
        """One statement is to be run."""
        self._left -= 1
        self._require_alive()

    def _require_alive(self) -> None:
        if self._left <= 0:
            raise DiedError


class _DyingTransaction:
    """Passes statements on, as long as the process lives."""

    def __init__(self, tx: Any, database: DyingDatabase) -> None:
        self._tx = tx
        self._dying = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    async def fetch_all(self, *arguments: Any, **parameters: Any) -> Any:
        self._dying.spend()
        return await self._tx.fetch_all(*arguments, **parameters)

    async def fetch_one(self, *arguments: Any, **parameters: Any) -> Any:
        self._dying.spend()
        return await self._tx.fetch_one(*arguments, **parameters)

    async def fetch_count(self, *arguments: Any, **parameters: Any) -> Any:
        self._dying.spend()
        return await self._tx.fetch_count(*arguments, **parameters)

    async def execute(self, *arguments: Any, **parameters: Any) -> Any:
        self._dying.spend()
        return await self._tx.execute(*arguments, **parameters)

    async def execute_many(self, *arguments: Any) -> None:
        self._dying.spend()
        await self._tx.execute_many(*arguments)

    async def fetch_pages(self, *arguments: Any, **parameters: Any) -> AsyncGenerator[Any, None]:
        self._dying.spend()
        async for page in self._tx.fetch_pages(*arguments, **parameters):
            yield page
