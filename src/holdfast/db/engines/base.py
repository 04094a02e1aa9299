"""The interface that features and edges see: `Database.read`, `Database.write` and what a `Transaction` can do."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

import msgspec
import structlog

from holdfast.core.errors import HoldfastError
from holdfast.db import metrics
from holdfast.db.address import Host
from holdfast.db.errors import DatabaseError, UniqueViolationError
from holdfast.db.pool import Pool
from holdfast.db.request_statements import request_statements
from holdfast.db.statements import Command, CompiledStatement, Count, Query, QueryWithTotal, Statement

Row = TypeVar("Row")

_log = structlog.get_logger("holdfast.db")


class Isolation(StrEnum):
    """What a transaction may see of others. SQLite is serializable whatever is asked.

    `READ_COMMITTED` is the default on both servers: rules that must hold between rows lock the row they depend on.
    """

    READ_COMMITTED = "READ COMMITTED"
    REPEATABLE_READ = "REPEATABLE READ"
    SERIALIZABLE = "SERIALIZABLE"


class Transaction(ABC):
    """One open transaction (or, for reading, one borrowed connection), running named statements."""

    dialect_name: ClassVar[str]
    # Whether nobody else writes until a transaction that writes ends, so that what it has read stays true.
    writes_alone: ClassVar[bool] = False

    def __init__(self, slow_seconds: float) -> None:
        self._slow_seconds = slow_seconds
        self._failed_statement: str | None = None
        self._later: list[tuple[Command, CompiledStatement, list[Any]]] = []
        self.statements_run = 0
        self._request_statements = request_statements.get()

    async def fetch_all(self, query: Query[Row], **parameters: Any) -> list[Row]:
        """All rows of a query, as its structs."""
        compiled = query.compiled(self.dialect_name)
        if self._later:
            await self.flush()
        started = time.perf_counter()
        try:
            rows = await self._fetch(query, compiled, compiled.arguments(parameters))
        except BaseException:
            self._failed_statement = query.name
            raise
        self._observe(query, started, len(rows))
        return _decode(rows, compiled, query.make)

    async def fetch_with_total(self, query: QueryWithTotal[Row], **parameters: Any) -> tuple[list[Row], int | None]:
        """A page of rows, and how many match in all; None where the page is empty."""
        compiled = query.compiled(self.dialect_name)
        if self._later:
            await self.flush()
        started = time.perf_counter()
        try:
            rows = await self._fetch(query, compiled, compiled.arguments(parameters))
        except BaseException:
            self._failed_statement = query.name
            raise
        self._observe(query, started, len(rows))
        if not rows:
            return [], None
        return _decode([row[:-1] for row in rows], compiled, query.make), rows[0][-1]

    async def fetch_one(self, query: Query[Row], **parameters: Any) -> Row | None:
        """The only row of a query, or None. Two rows are a mistake in the statement."""
        rows = await self.fetch_all(query, **parameters)
        if len(rows) > 1:
            raise DatabaseError(f"statement {query.name} gave {len(rows)} rows where one was expected")
        return rows[0] if rows else None

    async def fetch_count(self, query: Query[Count], **parameters: Any) -> int:
        """The number that a counting query gives."""
        (row,) = await self.fetch_all(query, **parameters)
        return row.value

    async def fetch_pages(self, query: Query[Row], at_most: int, **parameters: Any) -> AsyncGenerator[list[Row], None]:
        """The rows of a query, at most so many at once, for results that no memory should hold.

        Only in a transaction of `Database.snapshot`, and with no other statement in between. Callers close what they
        leave before its end (`contextlib.aclosing`).
        """
        compiled = query.compiled(self.dialect_name)
        await self.flush()
        started = time.perf_counter()
        try:
            async with aclosing(self._fetch_pages(compiled, compiled.arguments(parameters), at_most)) as pages:
                async for rows in pages:
                    yield _decode(rows, compiled, query.make)
        except HoldfastError:
            self._failed_statement = query.name
            raise
        query.timing.observe(time.perf_counter() - started)
        self._count(query)

    async def execute(self, command: Command, **parameters: Any) -> int:
        """Run a command; how many rows it matched."""
        compiled = command.compiled(self.dialect_name)
        if self._later:
            await self.flush()
        started = time.perf_counter()
        try:
            matched = await self._execute(command, compiled, compiled.arguments(parameters))
        except BaseException:
            self._failed_statement = command.name
            raise
        self._observe(command, started, matched)
        return matched

    async def insert_unless_present(self, command: Command, **parameters: Any) -> bool:
        """Run a command made by `statements.insert_unless_present`; whether it inserted the row."""
        failed_before = self._failed_statement
        try:
            return await self.execute(command, **parameters) > 0
        except UniqueViolationError:
            # MariaDB undoes only the statement then, and the transaction goes on.
            if self.dialect_name != "mariadb":
                raise
            self._failed_statement = failed_before
            return False

    async def execute_many(self, command: Command, parameter_sets: Iterable[Mapping[str, Any]]) -> None:
        """Run a command once for each set of parameters, in as few round trips as the driver can; counts as one."""
        compiled = command.compiled(self.dialect_name)
        arguments = [compiled.arguments(parameters) for parameters in parameter_sets]
        if not arguments:
            return
        await self.flush()
        started = time.perf_counter()
        try:
            await self._execute_many(command, compiled, arguments)
        except BaseException:
            self._failed_statement = command.name
            raise
        self._observe(command, started, len(arguments))

    def insert_later(self, command: Command, **parameters: Any) -> None:
        """Run an INSERT whose result nobody needs together with the next ones, before any other statement or commit.

        The servers take them in one round trip; what they violate is raised there.
        """
        compiled = command.compiled(self.dialect_name)
        self._later.append((command, compiled, compiled.arguments(parameters)))

    async def flush(self) -> None:
        """Run the inserts that were put off."""
        later, self._later = self._later, []
        if not later:
            return
        try:
            await self._insert_all(later)
        except BaseException:
            self._failed_statement = later[-1][0].name
            raise

    async def _insert_all(self, later: Sequence[tuple[Command, CompiledStatement, list[Any]]]) -> None:
        together = self._together(tuple(compiled for _, compiled, _ in later)) if len(later) > 1 else None
        if together is not None:
            # Counted once, under the name of the last: it is one round trip.
            arguments = [value for _, _, values in later for value in values]
            started = time.perf_counter()
            await self._execute(later[-1][0], together, arguments)
            self._observe(later[-1][0], started, len(later))
            return
        for command, compiled, arguments in later:
            started = time.perf_counter()
            matched = await self._execute(command, compiled, arguments)
            self._observe(command, started, matched)

    def _together(self, inserts: tuple[CompiledStatement, ...]) -> CompiledStatement | None:
        """Several INSERTs as one statement whose arguments follow one another; None where the engine has none such."""
        return None

    def require_whole(self) -> None:
        """Refuse to commit after a failed statement, whoever caught its error.

        PostgreSQL would answer COMMIT with a silent rollback, the others would keep the rest: neither is what the
        caller meant.
        """
        if self._failed_statement is not None:
            raise DatabaseError(f"statement {self._failed_statement} failed in this transaction: nothing of it is kept")

    @property
    def host(self) -> Host | None:
        """The server that the transaction is on, where the address names several."""
        return None

    @abstractmethod
    async def allow_long_statements(self) -> None:
        """From now on each statement may take as long as one of a deletion may (`deletion_timeout_seconds`)."""

    def expect_few_rows(self) -> None:
        """From now on no command changes more than some hundred rows: on SQLite the heavy ones stay in the loop."""
        return

    @abstractmethod
    async def fetch_text(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a statement given as text, for the catalogue and reports of `holdfast.db` and operations only."""

    async def explain(
        self, statement: Statement, compiled: CompiledStatement, prefix: str, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """The engine's answer to `prefix` (EXPLAIN …) before the statement, for the plan review of operations only."""
        asked = msgspec.structs.replace(compiled, name=f"{prefix} {compiled.name}", sql=f"{prefix} {compiled.sql}")
        return [tuple(row) for row in await self._fetch(statement, asked, asked.arguments(parameters))]

    @abstractmethod
    async def _fetch(self, query: Statement, compiled: CompiledStatement, arguments: list[Any]) -> list[Any]: ...

    @abstractmethod
    def _fetch_pages(
        self, compiled: CompiledStatement, arguments: list[Any], at_most: int
    ) -> AsyncGenerator[list[Any], None]: ...

    @abstractmethod
    async def _execute(self, command: Statement, compiled: CompiledStatement, arguments: list[Any]) -> int: ...

    @abstractmethod
    async def _execute_many(
        self, command: Statement, compiled: CompiledStatement, arguments: list[list[Any]]
    ) -> None: ...

    def _observe(self, statement: Statement, started: float, rows: int) -> None:
        seconds = time.perf_counter() - started
        self._count(statement)
        statement.timing.observe(seconds)
        statement.rows += rows
        if seconds >= self._slow_seconds:
            metrics.slow_statements.labels(statement.name).inc()
            _log.warning("slow_statement", statement=statement.name, milliseconds=round(seconds * 1000, 1), rows=rows)

    def _count(self, statement: Statement) -> None:
        self.statements_run += 1
        if self._request_statements is not None:
            self._request_statements.append(statement.name)


class Database(ABC):
    """An engine with its connections, started once per process."""

    dialect_name: ClassVar[str]
    pool: Pool[Any]

    @abstractmethod
    async def start(self) -> None:
        """Open the first connection, so that a wrong address is told at once."""

    @abstractmethod
    async def stop(self) -> None:
        """Close all connections; those in use close when they are given back."""

    @abstractmethod
    def read(self) -> AbstractAsyncContextManager[Transaction]:
        """A connection for reading.

        On SQLite all its statements see one snapshot; on the servers each sees what was committed when it began.
        """

    @abstractmethod
    def write(self, isolation: Isolation = Isolation.READ_COMMITTED) -> AbstractAsyncContextManager[Transaction]:
        """A transaction: committed when the block ends, rolled back when it raises or when a statement in it failed."""

    def snapshot(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that only reads, all of whose statements see one moment, however long it lasts."""
        return _with_long_statements(self.write(Isolation.REPEATABLE_READ))

    async def tidy(self) -> None:
        """Do beside those who write what the engine would put off until one of their commits."""
        return

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Database"]:
        """Start, and stop at the end of the block."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()


@asynccontextmanager
async def _with_long_statements(opened: AbstractAsyncContextManager[Transaction]) -> AsyncIterator[Transaction]:
    async with opened as tx:
        await tx.allow_long_statements()
        yield tx


def _decode(rows: list[Any], compiled: CompiledStatement, make: Callable[..., Row]) -> list[Row]:
    decoders = compiled.decoders
    if not decoders:
        return [make(*row) for row in rows]
    if not rows:
        return []
    columns: list[Any] = list(zip(*rows, strict=True))
    for index, decode in decoders:
        columns[index] = [None if value is None else decode(value) for value in columns[index]]
    return list(map(make, *columns))
