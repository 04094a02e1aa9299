"""SQLite in this process: WAL, one writer, readers beside it, foreign keys always on.

Statements run inside the event loop, because they take microseconds and a thread costs tens of them; statements
declared `heavy` and every commit, which waits for the disk, run in a thread. A heavy query has a millisecond or two to
end in the loop before it goes there. Write transactions that meet are committed together: each is a savepoint of one
database transaction, and none is answered before the disk has it.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog

from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Database, Isolation, Transaction
from holdfast.db.errors import (
    CheckViolationError,
    ConnectionLostError,
    DatabaseError,
    ForeignKeyViolationError,
    NotNullViolationError,
    PoolExhaustedError,
    SerializationError,
    UniqueViolationError,
    UnstorableValueError,
)
from holdfast.db.pool import Pool, PoolSettings
from holdfast.db.sqlite_driver import SQLITE_VERSION_IS_SAFE, sqlite3
from holdfast.db.statements import CompiledStatement, Statement
from holdfast.db.tables.base import metadata
from holdfast.db.types import BOUNDS_SUFFIX

_log = structlog.get_logger("holdfast.db")
_driver: ModuleType = sqlite3
_UNIQUE = re.compile(r"UNIQUE constraint failed: (.+)")
_NOT_NULL = re.compile(r"NOT NULL constraint failed: \w+\.(\w+)")
_CHECK = re.compile(r"CHECK constraint failed: (\w+)")
# Together a millisecond or two.
_OPERATIONS_A_LOOK, _MOST_LOOKS = 5_000, 4


class SqliteTransaction(Transaction):
    """Named statements on one SQLite connection."""

    dialect_name = "sqlite"
    writes_alone = True

    def __init__(self, connection: Any, slow_seconds: float, thread: ThreadPoolExecutor) -> None:
        super().__init__(slow_seconds)
        self._connection = connection
        self._thread = thread
        self._expects_few_rows = False

    def expect_few_rows(self) -> None:
        self._expects_few_rows = True

    async def allow_long_statements(self) -> None:
        """SQLite has no limit for a statement."""

    async def fetch_text(self, sql: str) -> list[tuple[Any, ...]]:
        await self.flush()
        rows: list[tuple[Any, ...]] = await self._run(lambda: self._connection.execute(sql).fetchall(), heavy=True)
        return rows

    async def _fetch(self, query: Statement, compiled: CompiledStatement, arguments: list[Any]) -> list[Any]:
        if query.heavy:
            quick: list[Any] | None = await self._run(
                lambda: self._fetch_if_quick(compiled.sql, arguments), heavy=False
            )
            if quick is not None:
                return quick
        rows: list[Any] = await self._run(
            lambda: self._connection.execute(compiled.sql, arguments).fetchall(), heavy=query.heavy
        )
        return rows

    def _fetch_if_quick(self, sql: str, arguments: list[Any]) -> list[Any] | None:
        """The rows, or None where it was broken off because it takes longer than a thread would cost.

        Breaking off a statement that only reads leaves its transaction as it is.
        """
        patience = _Patience()
        self._connection.set_progress_handler(patience.is_over, _OPERATIONS_A_LOOK)
        try:
            rows: list[Any] = self._connection.execute(sql, arguments).fetchall()
        except _driver.OperationalError:
            if patience.looks > _MOST_LOOKS:
                return None
            raise
        finally:
            self._connection.set_progress_handler(None, 0)
        return rows

    async def _fetch_pages(
        self, compiled: CompiledStatement, arguments: list[Any], at_most: int
    ) -> AsyncGenerator[list[Any], None]:
        cursor = await self._run(lambda: self._connection.execute(compiled.sql, arguments), heavy=True)
        try:
            while rows := await self._run(lambda: cursor.fetchmany(at_most), heavy=True):
                yield rows
        finally:
            cursor.close()

    async def _execute(self, command: Statement, compiled: CompiledStatement, arguments: list[Any]) -> int:
        matched: int = await self._run(
            lambda: self._connection.execute(compiled.sql, arguments).rowcount,
            heavy=command.heavy and not self._expects_few_rows,
        )
        return matched

    async def _execute_many(self, command: Statement, compiled: CompiledStatement, arguments: list[list[Any]]) -> None:
        await self._run(
            lambda: self._connection.executemany(compiled.sql, arguments), heavy=command.heavy or len(arguments) > 200
        )

    async def _run(self, work: Callable[[], Any], *, heavy: bool) -> Any:
        try:
            if heavy:
                return await _in_thread(self._thread, work)
            return work()
        except (_driver.Error, OverflowError, UnicodeEncodeError) as error:
            raise translated(error) from error


class _Patience:
    """SQLite asks it every so many operations of its machine; a statement that ran before may be asked at once."""

    __slots__ = ("looks",)

    def __init__(self) -> None:
        self.looks = 0

    def is_over(self) -> bool:
        self.looks += 1
        return self.looks > _MOST_LOOKS


class SqliteDatabase(Database):
    """A database file. Other processes may read and write it, too; they take turns at the write lock."""

    dialect_name = "sqlite"

    def __init__(self, path: Path, *, pool: PoolSettings, slow_seconds: float) -> None:
        self.path = path
        self._slow_seconds = slow_seconds
        self._reader_threads = ThreadPoolExecutor(4, thread_name_prefix="sqlite-reader")
        self.pool: Pool[Any] = Pool(
            "sqlite", pool, connect=self._connect_reader, close=_close, is_open=lambda connection: True
        )
        self._writer = _Writer(path, wait_seconds=pool.wait_seconds)
        self._checkpoints = _Checkpoints(path)

    async def start(self) -> None:
        if not SQLITE_VERSION_IS_SAFE:
            _log.warning(
                "sqlite_with_known_bug", version=_driver.sqlite_version, advice="install pysqlite3 0.6.1 or later"
            )
        await self._writer.start()
        await self.pool.release(await self.pool.acquire())

    async def stop(self) -> None:
        await self.pool.close()
        await self._writer.stop()
        await self._checkpoints.stop()
        self._reader_threads.shutdown(wait=False)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        connection = await self.pool.acquire()
        broken = True
        try:
            connection.execute("BEGIN")
            try:
                yield SqliteTransaction(connection, self._slow_seconds, self._reader_threads)
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
            broken = False
        except HoldfastError as error:
            broken = isinstance(error, ConnectionLostError)
            raise
        finally:
            await self.pool.release(connection, broken=broken)

    @asynccontextmanager
    async def write(self, isolation: Isolation = Isolation.READ_COMMITTED) -> AsyncIterator[Transaction]:
        writer = self._writer
        await writer.begin()
        try:
            tx = SqliteTransaction(writer.connection, self._slow_seconds, writer.thread)
            yield tx
            await tx.flush()
            tx.require_whole()
        except BaseException:
            await writer.roll_back()
            raise
        await writer.commit()

    def snapshot(self) -> AbstractAsyncContextManager[Transaction]:
        """As of the interface; a reader's connection, so that writers go on."""
        return self.read()

    async def tidy(self) -> None:
        """As of the interface: the log goes to the database file, which else a commit does while others wait."""
        await self._checkpoints.run()

    async def _connect_reader(self) -> Any:
        return connect(self.path, read_only=True)


class _Writer:
    """The one connection that writes, its turn-taking, and the shared commit.

    A caller holds the turn from `begin` until its savepoint is released or rolled back. The commit is made by a
    caller that finds nobody waiting, or else by a task that queues behind those who wait now; so whoever comes while
    the disk is busy shares the next commit.
    """

    def __init__(self, path: Path, *, wait_seconds: float) -> None:
        self._path = path
        self._wait_seconds = wait_seconds
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._committed: asyncio.Future[None] | None = None
        self._flush: asyncio.Task[None] | None = None
        self.connection: Any = None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")

    async def start(self) -> None:
        self.connection = connect(self._path, read_only=False)
        _forget_samples(self.connection)

    async def stop(self) -> None:
        async with self._turn:
            await self._commit_now()
            self.connection.close()
        self.thread.shutdown()

    async def begin(self) -> None:
        await self._take_turn()
        try:
            if not self.connection.in_transaction:
                await self._begin_batch()
            self.connection.execute("SAVEPOINT request")
        except BaseException as error:
            self._turn.release()
            if isinstance(error, _driver.Error):
                raise translated(error) from error
            raise

    async def _take_turn(self) -> None:
        if not self._turn.locked() and self._waiting == 0:
            await self._turn.acquire()
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._turn.acquire()
        except TimeoutError:
            raise PoolExhaustedError(
                f"the database was busy writing for {self._wait_seconds:g} seconds; try again in a moment",
                retry_after_seconds=1,
            ) from None
        finally:
            self._waiting -= 1

    async def roll_back(self) -> None:
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO request")
                self.connection.execute("RELEASE request")
            else:
                # An error such as a full disk makes SQLite roll back all: those who share the batch must know.
                self._settle(SerializationError("the database rolled back; nothing was written, try again"))
            # What others in the batch released stays; the flush that their commit asked for takes it to the disk.
            if self._committed is None and self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        finally:
            self._turn.release()

    async def commit(self) -> None:
        try:
            self.connection.execute("RELEASE request")
        except _driver.Error as error:
            await self.roll_back()
            raise translated(error) from error
        if self._committed is None:
            self._committed = asyncio.get_running_loop().create_future()
        committed = self._committed
        if self._waiting == 0:
            await asyncio.shield(asyncio.ensure_future(self._commit_and_release()))
        else:
            self._turn.release()
            if self._flush is None:
                self._flush = asyncio.create_task(self._commit_after_those_waiting())
        await asyncio.shield(committed)

    async def _commit_and_release(self) -> None:
        try:
            await self._commit_now()
        finally:
            self._turn.release()

    async def _commit_after_those_waiting(self) -> None:
        async with self._turn:
            self._flush = None
            await self._commit_now()

    async def _commit_now(self) -> None:
        if self._committed is None:
            return
        try:
            await _in_thread(self.thread, lambda: self.connection.execute("COMMIT"))
        except _driver.Error as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self._settle(translated(error))
        else:
            self._settle(None)

    def _settle(self, error: HoldfastError | None) -> None:
        committed, self._committed = self._committed, None
        if committed is None or committed.done():
            return
        if error is None:
            committed.set_result(None)
        else:
            committed.set_exception(error)
            committed.exception()  # marks it as seen: the callers who wait raise it themselves

    async def _begin_batch(self) -> None:
        deadline = time.monotonic() + self._wait_seconds
        pause_seconds = 0.001
        while True:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
            except _driver.OperationalError as error:
                # Another process holds the write lock. Waiting inside SQLite would stop the event loop.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 0.05)
            else:
                return


class _Checkpoints:
    """Takes the log to the database file over a connection of its own, beside those who write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-checkpoint")
        self._connection: Any = None

    async def run(self) -> None:
        # One that cannot go on leaves the log as it is, for the next.
        with contextlib.suppress(_driver.Error, HoldfastError):
            await _in_thread(self._thread, self._checkpoint)

    async def stop(self) -> None:
        if self._connection is not None:
            await _in_thread(self._thread, self._connection.close)
            self._connection = None
        self._thread.shutdown(wait=False)

    def _checkpoint(self) -> None:
        if self._connection is None:
            self._connection = connect(self._path, read_only=False)
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def connect(path: Path, *, read_only: bool) -> Any:
    """A connection with the settings that every connection of the product must have."""
    try:
        connection = _driver.connect(
            str(path), isolation_level=None, check_same_thread=False, cached_statements=1024, timeout=0
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        # KiB for each connection. Readers are many, and the system's own cache is behind them.
        connection.execute(f"PRAGMA cache_size = {-4000 if read_only else -16000}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA busy_timeout = {1000 if read_only else 0}")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except _driver.Error as error:
        raise translated(error) from error
    # SQLite's own lower() knows ASCII only.
    connection.create_function("lower", 1, _lower, deterministic=True)
    return connection


def _forget_samples(connection: Any) -> None:
    """Drop what an ANALYZE kept of the values themselves.

    A build of SQLite that knows such samples plans a statement anew each time that its parameters change, for the sake
    of the samples, which takes three times as long as running it does. What the plans need is in sqlite_stat1.
    """
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat4'").fetchone() is None:
        return
    try:
        connection.execute("DROP TABLE sqlite_stat4")
    except _driver.OperationalError:
        # Another process is writing: the next start finds them.
        _log.info("sqlite_samples_kept")


def translated(error: BaseException) -> HoldfastError:
    """The error of the driver in the words of the product."""
    text = str(error)
    if found := _UNIQUE.search(text):
        return UniqueViolationError(f"another row has this {found[1]} already", _unique_constraint(found[1]))
    if "FOREIGN KEY constraint failed" in text:
        return ForeignKeyViolationError("a row that this one refers to does not exist")
    if found := _NOT_NULL.search(text):
        return NotNullViolationError(f"{found[1]} must be given", found[1])
    if (found := _CHECK.search(text)) and found[1].endswith(BOUNDS_SUFFIX):
        return UnstorableValueError(f"a value cannot be stored: it is too long or too large ({found[1]})")
    if found := _CHECK.search(text):
        return CheckViolationError(f"{found[1]} refuses this value", found[1])
    if "locked" in text or "busy" in text:
        return SerializationError("another process holds the database; try again", retry_after_seconds=1)
    if "unable to open" in text or "disk I/O" in text or "full" in text or "closed database" in text:
        return ConnectionLostError(f"the database file cannot be used: {text}", retry_after_seconds=5)
    if isinstance(error, OverflowError | UnicodeEncodeError | _driver.DataError):
        return UnstorableValueError(f"a value cannot be stored: {text}")
    return DatabaseError(f"SQLite refused: {text}")


def _unique_constraint(columns: str) -> str:
    """The name of the unique key that SQLite describes as `users.username, users.deletion_id`."""
    table, _, _ = columns.partition(".")
    names = {column.strip().partition(".")[2] for column in columns.split(",")}
    if table not in metadata.tables:
        return ""
    for constraint in metadata.tables[table].constraints:
        if {column.name for column in getattr(constraint, "columns", [])} == names and constraint.name:
            return str(constraint.name)
    return ""


async def _in_thread(thread: ThreadPoolExecutor, work: Callable[[], Any]) -> Any:
    """Run in the thread, and wait for the end even when cancelled: the connection is in use until then."""
    running = asyncio.get_running_loop().run_in_executor(thread, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        raise


async def _close(connection: Any) -> None:
    connection.close()


def _lower(text: str | None) -> str | None:
    if text is None or str(text).isascii():
        return None if text is None else str(text).lower()
    # Letter by letter, as the servers do: Python's own lower() looks at the neighbours of a sigma.
    return "".join(letter.lower()[0] for letter in str(text))
