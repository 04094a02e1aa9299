"""PostgreSQL through asyncpg: statements are prepared once per connection and then only bound and run."""

import asyncio
import re
from collections.abc import AsyncGenerator
from functools import lru_cache, partial
from typing import Any

import asyncpg
import msgspec

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

_DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
# Each costs the server some kilobytes on each connection; a list with many filters has hundreds of variants.
_MOST_PREPARED = 500
_PLACEHOLDER = re.compile(r"\$(\d+)")
_DETAIL_COLUMNS = re.compile(r"Key \(([^)]*)\)")


class _Connection:
    """A driver connection with the statements prepared on it."""

    __slots__ = ("_names", "driver", "prepared")

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self._names = 0
        self.prepared: dict[str, Any] = {}

    async def prepare(self, compiled: CompiledStatement) -> Any:
        prepared = self.prepared.get(compiled.name)
        if prepared is None:
            # Without a name of its own the statement would be parsed and planned anew at each run.
            self._names += 1
            prepared = await self.driver.prepare(compiled.sql, name=f"holdfast_{self._names}")
            if len(self.prepared) >= _MOST_PREPARED:
                # The driver closes it on the server once nothing refers to it.
                del self.prepared[next(iter(self.prepared))]
            self.prepared[compiled.name] = prepared
        return prepared


class PostgresqlTransaction(Transaction):
    """Named statements on one PostgreSQL connection."""

    dialect_name = "postgresql"

    def __init__(self, connection: _Connection, slow_seconds: float, long_seconds: float) -> None:
        super().__init__(slow_seconds)
        self._connection = connection
        self._long_seconds = long_seconds

    async def allow_long_statements(self) -> None:
        # LOCAL: it ends with the transaction, however that ends.
        try:
            await self._connection.driver.execute(f"SET LOCAL statement_timeout = {int(self._long_seconds * 1000)}")
        except _DRIVER_ERRORS as error:
            raise translated(error) from error

    async def fetch_text(self, sql: str) -> list[tuple[Any, ...]]:
        await self.flush()
        try:
            return [tuple(row) for row in await self._connection.driver.fetch(sql)]
        except _DRIVER_ERRORS as error:
            raise translated(error) from error

    async def _fetch(self, query: Statement, compiled: CompiledStatement, arguments: list[Any]) -> list[Any]:
        try:
            prepared = self._connection.prepared.get(compiled.name) or await self._connection.prepare(compiled)
            rows: list[Any] = await prepared.fetch(*arguments)
        except _DRIVER_ERRORS as error:
            raise self._failed(error) from error
        return rows

    async def _fetch_pages(
        self, compiled: CompiledStatement, arguments: list[Any], at_most: int
    ) -> AsyncGenerator[list[Any], None]:
        driver = self._connection.driver
        try:
            # The first page waits for the sort of all rows, which are all wanted.
            await driver.execute("SET LOCAL statement_timeout = 0; SET LOCAL cursor_tuple_fraction = 1")
            await driver.execute(f"DECLARE holdfast_pages NO SCROLL CURSOR FOR {compiled.sql}", *arguments)
            while rows := await driver.fetch(f"FETCH FORWARD {at_most} FROM holdfast_pages"):
                yield rows
            await driver.execute("CLOSE holdfast_pages")
        except _DRIVER_ERRORS as error:
            raise translated(error) from error

    async def _execute(self, command: Statement, compiled: CompiledStatement, arguments: list[Any]) -> int:
        try:
            prepared = self._connection.prepared.get(compiled.name) or await self._connection.prepare(compiled)
            await prepared.fetch(*arguments)
        except _DRIVER_ERRORS as error:
            raise self._failed(error) from error
        # The status reads "UPDATE 3" or "INSERT 0 1".
        return int(prepared.get_statusmsg().rpartition(" ")[2])

    def _together(self, inserts: tuple[CompiledStatement, ...]) -> CompiledStatement:
        return _together(inserts)

    async def _execute_many(self, command: Statement, compiled: CompiledStatement, arguments: list[list[Any]]) -> None:
        try:
            prepared = await self._connection.prepare(compiled)
            await prepared.executemany(arguments)
        except _DRIVER_ERRORS as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> HoldfastError:
        if isinstance(error, asyncpg.InvalidCachedStatementError):
            # The schema changed under a prepared plan: the next try prepares anew.
            self._connection.prepared.clear()
        return translated(error)


@lru_cache(maxsize=500)
def _together(inserts: tuple[CompiledStatement, ...]) -> CompiledStatement:
    """Several INSERTs as one statement; foreign keys between their rows are checked when all are in."""
    texts: list[str] = []
    before = 0
    for each in inserts:
        texts.append(_PLACEHOLDER.sub(partial(_shifted, before), each.sql))
        before += len(each.positions)
    *first, last = texts
    named = ", ".join(f"insert_{number} AS ({text})" for number, text in enumerate(first, 1))
    return msgspec.structs.replace(
        inserts[-1], name="+".join(each.name for each in inserts), sql=f"WITH {named} {last}"
    )


def _shifted(by: int, placeholder: re.Match[str]) -> str:
    return f"${int(placeholder[1]) + by}"


class PostgresqlDatabase(ServerDatabase[_Connection]):
    """A PostgreSQL server (15 to 18)."""

    dialect_name = "postgresql"

    def __init__(
        self,
        dsn: str,
        *,
        pool: PoolSettings,
        slow_seconds: float,
        statement_timeout_seconds: float,
        deletion_timeout_seconds: float,
        connect_timeout_seconds: float = 5,
    ) -> None:
        self._dsn = dsn
        self._slow_seconds = slow_seconds
        self._statement_timeout_seconds = statement_timeout_seconds
        self._deletion_timeout_seconds = deletion_timeout_seconds
        self._connect_timeout_seconds = connect_timeout_seconds
        self.pool: Pool[_Connection] = Pool(
            "postgresql", pool, connect=self._connect, close=_close, is_open=lambda held: not held.driver.is_closed()
        )

    def transaction_on(self, connection: _Connection) -> Transaction:
        return PostgresqlTransaction(connection, self._slow_seconds, self._deletion_timeout_seconds)

    async def _begin(self, connection: _Connection, isolation: Isolation) -> None:
        await self.run(connection, f"BEGIN ISOLATION LEVEL {isolation}")

    async def run(self, connection: _Connection, sql: str) -> None:
        try:
            await connection.driver.execute(sql)
        except _DRIVER_ERRORS as error:
            raise translated(error) from error

    async def _connect(self) -> _Connection:
        try:
            driver = await open_connection(
                self._dsn,
                timeout=self._connect_timeout_seconds,
                server_settings={
                    "application_name": "holdfast",
                    "timezone": "UTC",
                    # Compiling a plan costs more than any statement of the product runs.
                    "jit": "off",
                    # Rows in memory or on an SSD cost about the same anywhere; the default of 4 is for turning disks,
                    # and reads all users to find the hundred of one group.
                    "random_page_cost": "1.1",
                    "statement_timeout": str(int(self._statement_timeout_seconds * 1000)),
                    # A waiter for a row gives up before the client does, and may try again.
                    "lock_timeout": "10s",
                },
            )
        except _DRIVER_ERRORS as error:
            raise translated(error) from error
        return _Connection(driver)


async def open_connection(dsn: str, **options: Any) -> Any:
    """A connection of the driver, as the address asks for it (`?sslmode=verify-full` and the like included)."""
    return await asyncpg.connect(dsn, statement_cache_size=0, **options)


async def _close(connection: _Connection) -> None:
    try:
        await connection.driver.close(timeout=2)
    except asyncio.CancelledError:
        # The driver's own, where the connection was lost meanwhile; or the caller's.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    except _DRIVER_ERRORS:
        pass


def translated(error: BaseException) -> HoldfastError:
    """The error of the driver in the words of the product."""
    match error:
        case asyncpg.UniqueViolationError():
            return UniqueViolationError(f"another row has this {_columns(error)} already", error.constraint_name or "")
        case asyncpg.ForeignKeyViolationError():
            return ForeignKeyViolationError(f"the {_columns(error)} named does not exist", error.constraint_name or "")
        case asyncpg.CheckViolationError():
            return CheckViolationError(f"{error.constraint_name} refuses this value", error.constraint_name or "")
        case asyncpg.NotNullViolationError():
            return NotNullViolationError(f"{error.column_name} must be given", error.column_name or "")
        case asyncpg.SerializationError() | asyncpg.DeadlockDetectedError() | asyncpg.LockNotAvailableError():
            return SerializationError("the change met another one at the same moment; try again", retry_after_seconds=1)
        case asyncpg.InvalidCachedStatementError():
            return SerializationError("the schema has just changed; try again", retry_after_seconds=1)
        case asyncpg.DataError():
            return UnstorableValueError(f"a value cannot be stored: {error}")
        case asyncpg.QueryCanceledError():
            return StatementTimeoutError()
        case asyncpg.TooManyConnectionsError() | asyncpg.CannotConnectNowError() | asyncpg.PostgresConnectionError():
            return _lost()
        case (
            asyncpg.ReadOnlySQLTransactionError()
            | asyncpg.AdminShutdownError()
            | asyncpg.CrashShutdownError()
            | OSError()
            | TimeoutError()
        ):
            return _lost()
        case asyncpg.InternalClientError():
            return _lost()
        case asyncpg.InterfaceError() if "closed" in str(error) or "closing" in str(error):
            return _lost()
        case asyncpg.InterfaceError():
            return UnstorableValueError(f"a value cannot be stored: {error}")
    return DatabaseError(f"PostgreSQL refused: {error}")


def _lost() -> ConnectionLostError:
    return ConnectionLostError("the database cannot be reached; try again in a moment", retry_after_seconds=2)


def _columns(error: Any) -> str:
    found = _DETAIL_COLUMNS.search(error.detail or "")
    return found[1] if found else "key"
