"""Transactions on one MariaDB connection, and how a statement runs on it."""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
from asyncmy.cursors import SSCursor

from holdfast.db.address import Host
from holdfast.db.engines.base import Transaction
from holdfast.db.engines.mariadb_errors import DRIVER_ERRORS, translated
from holdfast.db.statements import CompiledStatement, Statement

_COMPOUND = "BEGIN NOT ATOMIC"


class MariadbTransaction(Transaction):
    """Named statements on one MariaDB connection."""

    dialect_name = "mariadb"

    def __init__(self, connection: Any, slow_seconds: float, long_seconds: float) -> None:
        super().__init__(slow_seconds)
        self._connection = connection
        self._long_seconds = long_seconds
        self._before_each = ""

    @property
    def host(self) -> Host | None:
        return Host(self._connection._host, int(self._connection._port))

    async def allow_long_statements(self) -> None:
        # A setting of the session would outlive the transaction.
        self._before_each = f"SET STATEMENT max_statement_time = {self._long_seconds:g} FOR "

    async def fetch_text(self, sql: str) -> list[tuple[Any, ...]]:
        await self.flush()
        return await fetch(self._connection, sql, None)

    async def _fetch(self, query: Statement, compiled: CompiledStatement, arguments: list[Any]) -> list[Any]:
        return await fetch(self._connection, self._before_each + compiled.sql, arguments)

    async def _fetch_pages(
        self, compiled: CompiledStatement, arguments: list[Any], at_most: int
    ) -> AsyncGenerator[list[Any], None]:
        try:
            async with self._connection.cursor(SSCursor) as cursor:
                await cursor.execute(f"SET STATEMENT max_statement_time = 0 FOR {compiled.sql}", arguments)
                while rows := await cursor.fetchmany(at_most):
                    with _nothing_coming_in(self._connection):
                        yield list(rows)
        except DRIVER_ERRORS as error:
            raise translated(error) from error

    async def _execute(self, command: Statement, compiled: CompiledStatement, arguments: list[Any]) -> int:
        # SET STATEMENT takes no compound statement; those are inserts, of which none takes long.
        prefix = "" if compiled.sql.startswith(_COMPOUND) else self._before_each
        return await run(self._connection, prefix + compiled.sql, arguments)

    def _together(self, inserts: tuple[CompiledStatement, ...]) -> CompiledStatement:
        return _together(inserts)

    async def _execute_many(self, command: Statement, compiled: CompiledStatement, arguments: list[list[Any]]) -> None:
        try:
            async with self._connection.cursor() as cursor:
                await cursor.executemany(compiled.sql, arguments)
        except DRIVER_ERRORS as error:
            raise translated(error) from error


@lru_cache(maxsize=500)
def _together(inserts: tuple[CompiledStatement, ...]) -> CompiledStatement:
    """Several INSERTs as one statement."""
    name = "+".join(each.name for each in inserts)
    return msgspec.structs.replace(inserts[-1], name=name, sql=compound(inserts))


def compound(statements: Iterable[CompiledStatement]) -> str:
    """Several statements as one, which stops at the first that fails."""
    return f"{_COMPOUND} {'; '.join(each.sql for each in statements)}; END"


async def fetch(connection: Any, sql: str, arguments: list[Any] | None) -> list[Any]:
    """The rows of a statement, with errors translated."""
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(sql, arguments)
            rows = await cursor.fetchall()
    except DRIVER_ERRORS as error:
        raise translated(error) from error
    return list(rows)


async def run(connection: Any, sql: str, arguments: list[Any] | None) -> int:
    """Run a statement that gives no rows; how many it matched."""
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(sql, arguments)
            return int(cursor.rowcount)
    except DRIVER_ERRORS as error:
        raise translated(error) from error


@contextlib.contextmanager
def _nothing_coming_in(connection: Any) -> Iterator[None]:
    """Let the server wait: the driver takes in all that comes, a whole table in the end, however slowly it is used."""
    transport = connection._transport
    transport.pause_reading()
    try:
        yield
    finally:
        # One that was closed meanwhile says so when it is read next.
        with contextlib.suppress(RuntimeError):
            transport.resume_reading()
