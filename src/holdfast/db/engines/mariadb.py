"""MariaDB through asyncmy: strict mode, UTC, utf8mb4, READ COMMITTED, matched rows counted as on the other engines."""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Mapping
from functools import lru_cache
from typing import Any

import asyncmy
import msgspec
from asyncmy import errors as driver_errors
from asyncmy.constants import CLIENT
from asyncmy.cursors import SSCursor

from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Isolation, Transaction
from holdfast.db.engines.server import ServerDatabase
from holdfast.db.errors import (
    CheckViolationError,
    ConnectionLostError,
    DatabaseError,
    ForeignKeyViolationError,
    NotNullViolationError,
    SerializationError,
    StatementTimeoutError,
    UniqueViolationError,
    UnstorableValueError,
)
from holdfast.db.pool import Pool, PoolSettings
from holdfast.db.statements import CompiledStatement, Statement

_DRIVER_ERRORS = (
    driver_errors.MySQLError,
    OSError,
    TimeoutError,
    RuntimeError,
    asyncio.IncompleteReadError,
    UnicodeEncodeError,
)
_SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
# The driver logs the server's notes, such as one for each primary key whose name MariaDB ignores. In strict mode
# whatever touches a value is an error, which is raised.
logging.getLogger("asyncmy").setLevel(logging.ERROR)
_CONSTRAINT = re.compile(r"CONSTRAINT `([^`]+)`")
_KEY = re.compile(r"for key '(?:[^'.]*\.)?([^']+)'")
_COLUMN = re.compile(r"(?:Column|Field) '([^']+)'")

_DUPLICATE_KEY = {1062, 1586, 1761, 1762}
_NO_PARENT = {1216, 1452}
_STILL_REFERENCED = {1217, 1451}
_CHECK = {4025, 3819}
_MISSING_VALUE = {1048, 1364, 1263}
_UNSTORABLE = {1264, 1265, 1366, 1406, 1292, 1300, 1267, 1270, 1690, 3140, 4037, 4038}
_CONFLICT = {1205, 1213, 1020}
# 1047 is Galera's "no quorum"; 1927 and 1053 come while a server goes down; 1290 and 1836 from one that only reads.
_LOST = {
    1040,
    1042,
    1043,
    1047,
    1053,
    1129,
    1152,
    1153,
    1158,
    1159,
    1160,
    1161,
    1203,
    1290,
    1836,
    1927,
    2002,
    2003,
    2006,
    2013,
    2055,
}
_COMPOUND = "BEGIN NOT ATOMIC"
_TOOK_TOO_LONG = {1969, 3024, 1317}


class MariadbTransaction(Transaction):
    """Named statements on one MariaDB connection."""

    dialect_name = "mariadb"

    def __init__(self, connection: Any, slow_seconds: float, long_seconds: float) -> None:
        super().__init__(slow_seconds)
        self._connection = connection
        self._long_seconds = long_seconds
        self._before_each = ""

    async def allow_long_statements(self) -> None:
        # A setting of the session would outlive the transaction.
        self._before_each = f"SET STATEMENT max_statement_time = {self._long_seconds:g} FOR "

    async def fetch_text(self, sql: str) -> list[tuple[Any, ...]]:
        await self.flush()
        return await _fetch(self._connection, sql, None)

    async def _fetch(self, query: Statement, compiled: CompiledStatement, arguments: list[Any]) -> list[Any]:
        return await _fetch(self._connection, self._before_each + compiled.sql, arguments)

    async def _fetch_pages(
        self, compiled: CompiledStatement, arguments: list[Any], at_most: int
    ) -> AsyncGenerator[list[Any], None]:
        try:
            async with self._connection.cursor(SSCursor) as cursor:
                await cursor.execute(f"SET STATEMENT max_statement_time = 0 FOR {compiled.sql}", arguments)
                while rows := await cursor.fetchmany(at_most):
                    yield list(rows)
        except _DRIVER_ERRORS as error:
            raise translated(error) from error

    async def _execute(self, command: Statement, compiled: CompiledStatement, arguments: list[Any]) -> int:
        # SET STATEMENT takes no compound statement; those are inserts, of which none takes long.
        prefix = "" if compiled.sql.startswith(_COMPOUND) else self._before_each
        return await _run(self._connection, prefix + compiled.sql, arguments)

    def _together(self, inserts: tuple[CompiledStatement, ...]) -> CompiledStatement:
        return _together(inserts)

    async def _execute_many(self, command: Statement, compiled: CompiledStatement, arguments: list[list[Any]]) -> None:
        try:
            async with self._connection.cursor() as cursor:
                await cursor.executemany(compiled.sql, arguments)
        except _DRIVER_ERRORS as error:
            raise translated(error) from error


@lru_cache(maxsize=500)
def _together(inserts: tuple[CompiledStatement, ...]) -> CompiledStatement:
    """Several INSERTs as one compound statement, which stops at the first that fails."""
    texts = "; ".join(each.sql for each in inserts)
    name = "+".join(each.name for each in inserts)
    return msgspec.structs.replace(inserts[-1], name=name, sql=f"{_COMPOUND} {texts}; END")


class MariadbDatabase(ServerDatabase[Any]):
    """A MariaDB server (10.11 or later)."""

    dialect_name = "mariadb"

    def __init__(
        self,
        address: Mapping[str, Any],
        *,
        pool: PoolSettings,
        slow_seconds: float,
        statement_timeout_seconds: float,
        deletion_timeout_seconds: float,
        connect_timeout_seconds: float = 5,
    ) -> None:
        self._address = dict(address)
        self._slow_seconds = slow_seconds
        self._statement_timeout_seconds = statement_timeout_seconds
        self._deletion_timeout_seconds = deletion_timeout_seconds
        self._connect_timeout_seconds = connect_timeout_seconds
        self.pool: Pool[Any] = Pool("mariadb", pool, connect=self._connect, close=_close, is_open=_is_open)

    def transaction_on(self, connection: Any) -> Transaction:
        return MariadbTransaction(connection, self._slow_seconds, self._deletion_timeout_seconds)

    async def _begin(self, connection: Any, isolation: Isolation) -> None:
        if isolation is not Isolation.READ_COMMITTED:
            await self.run(connection, f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        await self.run(connection, "START TRANSACTION")

    async def run(self, connection: Any, sql: str) -> None:
        await _run(connection, sql, None)

    async def _connect(self) -> Any:
        # innodb_lock_wait_timeout: a waiter for a row gives up before the client does.
        setup = (
            f"SET SESSION sql_mode='{_SQL_MODE}', time_zone='+00:00', tx_isolation='READ-COMMITTED',"
            f" innodb_lock_wait_timeout=10, max_statement_time={self._statement_timeout_seconds:g}"
        )
        try:
            return await open_connection(
                self._address, autocommit=True, connect_timeout=self._connect_timeout_seconds, init_command=setup
            )
        except _DRIVER_ERRORS as error:
            raise translated(error) from error


def _is_open(connection: Any) -> bool:
    # `connected` stays true when the server closes the connection while it lies idle.
    return bool(connection.connected and not connection._stream_broken)


async def open_connection(address: Mapping[str, Any], **options: Any) -> Any:
    """A connection of the driver to an address as `DatabaseAddress.connect_arguments` gives it."""
    return await asyncmy.connect(**address, charset="utf8mb4", client_flag=CLIENT.FOUND_ROWS, **options)


async def _fetch(connection: Any, sql: str, arguments: list[Any] | None) -> list[Any]:
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(sql, arguments)
            rows = await cursor.fetchall()
    except _DRIVER_ERRORS as error:
        raise translated(error) from error
    return list(rows)


async def _run(connection: Any, sql: str, arguments: list[Any] | None) -> int:
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(sql, arguments)
            return int(cursor.rowcount)
    except _DRIVER_ERRORS as error:
        raise translated(error) from error


async def _close(connection: Any) -> None:
    # A connection whose state is unknown is cut, not asked to end.
    with contextlib.suppress(*_DRIVER_ERRORS):
        connection.close()


def translated(error: BaseException) -> HoldfastError:
    """The error of the driver in the words of the product."""
    if isinstance(error, UnicodeEncodeError):
        return UnstorableValueError(f"a value cannot be stored: {error}")
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    if isinstance(error, OSError | TimeoutError | RuntimeError | asyncio.IncompleteReadError) or number in _LOST:
        return ConnectionLostError("the database cannot be reached; try again in a moment", retry_after_seconds=2)
    if isinstance(error, driver_errors.InterfaceError) and number == 0:
        return ConnectionLostError("the database closed the connection; try again in a moment", retry_after_seconds=2)
    if number in _DUPLICATE_KEY:
        return UniqueViolationError("another row has this key already", _first(_KEY, text))
    if number in _NO_PARENT:
        return ForeignKeyViolationError("a row that this one refers to does not exist", _first(_CONSTRAINT, text))
    if number in _STILL_REFERENCED:
        return ForeignKeyViolationError("other rows refer to this one", _first(_CONSTRAINT, text))
    if number in _CHECK:
        return CheckViolationError("a check refuses this value", _first(_CONSTRAINT, text))
    if number in _MISSING_VALUE:
        column = _first(_COLUMN, text)
        return NotNullViolationError(f"{column} must be given", column)
    if number in _UNSTORABLE:
        return UnstorableValueError(f"a value cannot be stored: {text}")
    if number in _CONFLICT:
        return SerializationError("the change met another one at the same moment; try again", retry_after_seconds=1)
    if number in _TOOK_TOO_LONG:
        return StatementTimeoutError()
    return DatabaseError(f"MariaDB refused: {text}")


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
