"""PostgreSQL through asyncpg: statements are prepared once per connection and then only bound and run."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from functools import lru_cache, partial
from typing import Any

import asyncpg
import msgspec

from holdfast.core.errors import HoldfastError
from holdfast.db.address import Host
from holdfast.db.engines.base import Isolation, Transaction
from holdfast.db.engines.hosts import connect_to_first, end_with_its_host
from holdfast.db.engines.server import ServerDatabase
from holdfast.db.errors import (
    CheckViolationError,
    CommitOutcomeUnknownError,
    ConnectionLostError,
    DatabaseError,
    ForeignKeyViolationError,
    NotNullViolationError,
    SerializationError,
    ServerFullError,
    StatementTimeoutError,
    StorageFullError,
    UniqueViolationError,
    UnstorableValueError,
)
from holdfast.db.pool import Pool, PoolSettings
from holdfast.db.statements import CompiledStatement, Statement

_DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
# Each costs the server some kilobytes on each connection; a list with many filters has hundreds of variants.
_MOST_PREPARED = 500
_PLACEHOLDER = re.compile(r"\$(\d+)")
# With others to turn to there is less reason to wait for a host.
_CONNECT_TO_ONE_OF_SEVERAL_SECONDS = 3.0
_CLOSE_SECONDS = 2
# COMMIT where nothing was left to commit; every other warning is about the commit itself.
_NO_TRANSACTION = "25P01"
_OVER = re.compile("closed|closing|another operation is in progress")
_DETAIL_COLUMNS = re.compile(r"Key \(([^)]*)\)")


class _Connection:
    """A driver connection with the statements prepared on it. `host` is the one it leads to, of several."""

    __slots__ = ("_names", "driver", "has_warned", "host", "prepared")

    def __init__(self, driver: Any, host: Host | None) -> None:
        self.driver = driver
        self.host = host
        self.has_warned = False
        self._names = 0
        self.prepared: dict[str, Any] = {}
        driver.add_log_listener(self._hear)

    def _hear(self, _driver: Any, message: Any) -> None:
        if message.severity_en in {"WARNING", None} and message.sqlstate != _NO_TRANSACTION:
            self.has_warned = True

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

    @property
    def host(self) -> Host | None:
        return self._connection.host

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
        hosts: Sequence[Host] = (),
    ) -> None:
        self._dsn = dsn
        self._hosts = tuple(hosts)
        self._primary: Host | None = None
        self._slow_seconds = slow_seconds
        self._statement_timeout_seconds = statement_timeout_seconds
        self._deletion_timeout_seconds = deletion_timeout_seconds
        self._connect_timeout_seconds = (
            min(connect_timeout_seconds, _CONNECT_TO_ONE_OF_SEVERAL_SECONDS) if hosts else connect_timeout_seconds
        )
        self.pool: Pool[_Connection] = Pool(
            "postgresql",
            pool,
            connect=self._connect,
            close=lambda held: close_driver(held.driver),
            is_open=lambda held: not held.driver.is_closed(),
            abort=self._cut,
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

    async def commit(self, connection: _Connection) -> None:
        connection.has_warned = False
        try:
            await connection.driver.execute("COMMIT")
        except asyncpg.InterfaceError as error:
            # The driver found the connection closed and sent nothing.
            raise translated(error) from error
        except _DRIVER_ERRORS as error:
            refused = translated(error)
            if isinstance(refused, ConnectionLostError) or isinstance(error, asyncpg.StatementCompletionUnknownError):
                raise CommitOutcomeUnknownError from error
            raise refused from error
        if connection.has_warned:
            # The wait for the synchronous standby was broken off: it is stored here, and a failover may lose it.
            raise CommitOutcomeUnknownError

    def _cut(self, connection: _Connection) -> None:
        connection.driver.terminate()

    async def _without_answer(self, connections: list[_Connection]) -> list[_Connection]:
        hosts = {connection.host for connection in connections}
        answers = dict(zip(hosts, await asyncio.gather(*map(self._answers, hosts)), strict=True))
        return [connection for connection in connections if not answers[connection.host]]

    async def _answers(self, host: Host | None) -> bool:
        """Whether a server answers a new connection. A refusal is an answer, but for one that nobody listens."""
        try:
            driver = await _open_at(self._dsn, host, timeout=self._connect_timeout_seconds)
        except (OSError, TimeoutError):
            return False
        except _DRIVER_ERRORS:
            return True
        driver.terminate()
        return True

    async def _connect(self) -> _Connection:
        hosts = self._hosts
        if self._primary is not None:
            hosts = (self._primary, *(host for host in hosts if host != self._primary))
        try:
            host, driver = await _open_first(
                self._dsn,
                hosts,
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
            raise _not_connected(error) from error
        if host is not None and host != self._primary:
            # The others lead to a server that was the primary: it may answer from a past that is over.
            if self._primary is not None:
                self.pool.renew()
            self._primary = host
        return _Connection(driver, host)


async def open_connection(dsn: str, hosts: Sequence[Host] = (), **options: Any) -> Any:
    """A connection of the driver, as the address asks for it (`?sslmode=verify-full` and the like included).

    Of several hosts to the primary, whichever that is.
    """
    _, driver = await _open_first(dsn, hosts, **options)
    return driver


async def _open_first(dsn: str, hosts: Sequence[Host], **options: Any) -> tuple[Host | None, Any]:
    if not hosts:
        return None, await _open_at(dsn, None, **options)
    # The driver would go through them one after the other, and spend all its time on the first that is silent.
    return await connect_to_first(hosts, lambda host: _open_at(dsn, host, **options), lambda driver: driver.terminate())


async def _open_at(dsn: str, host: Host | None, **options: Any) -> Any:
    place = {} if host is None else {"host": host.name, "port": host.port}
    if "target_session_attrs=" not in dsn:
        place["target_session_attrs"] = "read-write"
    driver = await asyncpg.connect(dsn, statement_cache_size=0, **place, **options)
    end_with_its_host(driver._transport.get_extra_info("socket"))
    return driver


async def close_driver(driver: Any) -> None:
    """End a connection in order, or at once where that takes long."""
    try:
        # The driver's own limit does not hold while it waits for the answer to a statement's cancellation.
        async with asyncio.timeout(2 * _CLOSE_SECONDS):
            await driver.close(timeout=_CLOSE_SECONDS)
    except asyncio.CancelledError:
        # The driver's own, where the connection was lost meanwhile; or the caller's.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    except _DRIVER_ERRORS:
        driver.terminate()


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
        case asyncpg.TransactionRollbackError() | asyncpg.LockNotAvailableError():
            return SerializationError("the change met another one at the same moment; try again", retry_after_seconds=1)
        case asyncpg.InvalidCachedStatementError():
            return SerializationError("the schema has just changed; try again", retry_after_seconds=1)
        case asyncpg.DataError():
            return UnstorableValueError(f"a value cannot be stored: {error}")
        case asyncpg.QueryCanceledError():
            return StatementTimeoutError()
        case asyncpg.TooManyConnectionsError():
            return ServerFullError(
                "the database takes no further connection now; try again in a moment", retry_after_seconds=2
            )
        case asyncpg.InsufficientResourcesError() | asyncpg.PostgresIOError():
            return StorageFullError()
        case (
            # The primary is one no longer, or it ends.
            asyncpg.ReadOnlySQLTransactionError()
            | asyncpg.OperatorInterventionError()
            | asyncpg.IdleInTransactionSessionTimeoutError()
            | asyncpg.TransactionTimeoutError()
            | asyncpg.PostgresConnectionError()
            | OSError()
            | TimeoutError()
        ):
            return _lost()
        case asyncpg.InternalClientError():
            return _lost()
        case asyncpg.InterfaceError() if _OVER.search(str(error)):
            return _lost()
        case asyncpg.InterfaceError():
            return UnstorableValueError(f"a value cannot be stored: {error}")
    return DatabaseError(f"PostgreSQL refused: {error}")


def _not_connected(error: BaseException) -> HoldfastError:
    """Why there is no connection; each reason is one to try again, and most are the operator's to remove."""
    found = translated(error)
    if isinstance(found, ConnectionLostError):
        return found
    return ConnectionLostError(f"the database takes no connection: {error}", retry_after_seconds=5)


def _lost() -> ConnectionLostError:
    return ConnectionLostError("the database cannot be reached; try again in a moment", retry_after_seconds=2)


def _columns(error: Any) -> str:
    found = _DETAIL_COLUMNS.search(error.detail or "")
    return found[1] if found else "key"
