"""The parts of failover: attempts, a pool that renews itself, several hosts, what PostgreSQL says (R3)."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from holdfast.core.errors import UnavailableError
from holdfast.db.engines.base import Database
from holdfast.db.engines.hosts import connect_to_first
from holdfast.db.engines.postgresql import close_driver, translated
from holdfast.db.errors import (
    CommitOutcomeUnknownError,
    ConnectionLostError,
    SerializationError,
    ServerFullError,
    StatementTimeoutError,
    StorageFullError,
)
from holdfast.db.open import open_database
from holdfast.db.retries import until_known, with_retries
from tests.db.conftest import OpenAnother
from tests.db.test_pool import Exchange, Line
from tests.instance import Instance, instance_settings
from tests.wire import wire_to

_ONLY_POSTGRESQL = pytest.mark.parametrize("engine", ["postgresql"], scope="session", indirect=True)


def _attempt(*errors: Exception) -> tuple[Callable[[], Awaitable[int]], list[int]]:
    """Fails so often, then answers; and how often it ran."""
    left, runs = list(errors), [0]

    async def attempt() -> int:
        runs[0] += 1
        if left:
            raise left.pop(0)
        return runs[0]

    return attempt, runs


async def test_what_left_nothing_runs_again() -> None:
    attempt, _ = _attempt(ConnectionLostError("gone"), SerializationError("met"), ServerFullError("full"))
    assert await with_retries(attempt) == 4


async def test_what_may_have_taken_effect_runs_again_only_where_it_finds_out() -> None:
    attempt, runs = _attempt(CommitOutcomeUnknownError())
    with pytest.raises(CommitOutcomeUnknownError):
        await with_retries(attempt)
    assert runs == [1]
    attempt, _ = _attempt(CommitOutcomeUnknownError(), ConnectionLostError("gone"))
    assert await until_known(attempt) == 3


@pytest.mark.parametrize(
    ("first", "raised"),
    [(ConnectionLostError("gone"), ConnectionLostError), (CommitOutcomeUnknownError(), CommitOutcomeUnknownError)],
)
async def test_attempts_end_and_no_later_one_hides_what_an_earlier_may_have_done(
    monkeypatch: pytest.MonkeyPatch, first: Exception, raised: type[Exception]
) -> None:
    monkeypatch.setattr("holdfast.db.retries._LONGEST_WITHOUT_DATABASE_SECONDS", 0.2)
    attempt, runs = _attempt(first, *(ConnectionLostError("gone") for _ in range(10_000)))
    with pytest.raises(raised):
        await until_known(attempt)
    assert 2 <= runs[0] < 1000


async def test_one_lost_connection_renews_all() -> None:
    exchange = Exchange()
    pool = exchange.pool(max_idle=4)
    lent = [await pool.acquire() for _ in range(4)]
    for line in lent[:2]:
        await pool.release(line)
    await pool.release(lent[2], broken=True, lost=True)
    await asyncio.sleep(0.01)
    assert [line.is_open for line in lent] == [False, False, False, True]
    # It is not interrupted, and not lent again.
    await pool.release(lent[3])
    assert not lent[3].is_open
    fresh = await pool.acquire()
    assert fresh not in lent
    # What an older connection suffers says nothing of a newer one.
    other = await pool.acquire()
    await pool.release(fresh)
    pool.renew()
    newest = await pool.acquire()
    await pool.release(newest)
    await pool.release(other, broken=True, lost=True)
    assert await pool.acquire() is newest


async def test_a_full_server_makes_callers_share_what_is_open() -> None:
    exchange = Exchange()
    pool = exchange.pool(max_idle=10, max_open=50, wait_seconds=20)
    most, asked = 3, [0]

    async def connect_while_there_is_room() -> Line:
        asked[0] += 1
        await asyncio.sleep(0)
        if exchange.open_lines >= most:
            raise ServerFullError("full")
        line = Line()
        exchange.lines.append(line)
        return line

    pool._connect = connect_while_there_is_room

    async def use() -> None:
        line = await pool.acquire()
        await asyncio.sleep(0.001)
        await pool.release(line)

    await asyncio.gather(*(use() for _ in range(64)))
    assert exchange.open_lines == most
    # The server is not asked by each of them, again and again.
    assert asked[0] < 20
    for line in [await pool.acquire() for _ in range(most)]:
        await pool.release(line)


async def test_nobody_waits_for_a_server_that_is_full_of_others() -> None:
    exchange = Exchange()
    pool = exchange.pool(wait_seconds=60)

    async def refuse() -> Line:
        raise ServerFullError("full")

    pool._connect = refuse
    async with asyncio.timeout(10):
        results = await asyncio.gather(*(pool.acquire() for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {ServerFullError}


async def test_a_silent_host_keeps_nobody_from_the_next() -> None:
    discarded: list[str] = []
    asked: list[str] = []
    answers = asyncio.Event()

    async def connect(host: str) -> str:
        asked.append(host)
        if host == "silent":
            await answers.wait()
        if host == "refuses":
            raise ConnectionRefusedError(host)
        return f"to {host}"

    assert await connect_to_first(["good", "never asked"], connect, discarded.append) == ("good", "to good")
    async with asyncio.timeout(10):
        assert await connect_to_first(["silent", "refuses", "good"], connect, discarded.append) == ("good", "to good")
    assert "never asked" not in asked
    with pytest.raises(ConnectionRefusedError):
        await connect_to_first(["refuses", "refuses"], connect, discarded.append)


async def test_a_connection_that_comes_too_late_is_discarded() -> None:
    discarded: list[str] = []

    async def connect(host: str) -> str:
        try:
            await asyncio.sleep(0 if host == "second" else 30)
        except asyncio.CancelledError:
            # As a driver that was just about to have it.
            return f"to {host}"
        return f"to {host}"

    assert await connect_to_first(["first", "second"], connect, discarded.append) == ("second", "to second")
    await asyncio.sleep(0.01)
    assert discarded == ["to first"]


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (asyncpg.AdminShutdownError, ConnectionLostError),
        (asyncpg.CrashShutdownError, ConnectionLostError),
        (asyncpg.CannotConnectNowError, ConnectionLostError),
        (asyncpg.DatabaseDroppedError, ConnectionLostError),
        (asyncpg.IdleInTransactionSessionTimeoutError, ConnectionLostError),
        (asyncpg.ConnectionDoesNotExistError, ConnectionLostError),
        (asyncpg.ConnectionFailureError, ConnectionLostError),
        (asyncpg.ReadOnlySQLTransactionError, ConnectionLostError),
        (asyncpg.InternalClientError, ConnectionLostError),
        (asyncpg.exceptions.TargetServerAttributeNotMatched, ConnectionLostError),
        (ConnectionResetError, ConnectionLostError),
        (TimeoutError, ConnectionLostError),
        (asyncpg.TooManyConnectionsError, ServerFullError),
        (asyncpg.SerializationError, SerializationError),
        (asyncpg.DeadlockDetectedError, SerializationError),
        (asyncpg.LockNotAvailableError, SerializationError),
        (asyncpg.QueryCanceledError, StatementTimeoutError),
        (asyncpg.DiskFullError, StorageFullError),
        (asyncpg.OutOfMemoryError, StorageFullError),
    ],
)
def test_what_postgresql_says_when_it_cannot_is_503_with_a_time_to_come_back(
    said: type[Exception], means: type[UnavailableError]
) -> None:
    error = translated(said("as it says"))
    assert type(error) is means
    assert error.status == 503
    assert int(error.details["retry_after_seconds"]) > 0


@_ONLY_POSTGRESQL
async def test_a_commit_that_came_back_with_a_warning_is_not_taken_for_stored(database: Database) -> None:
    # As PostgreSQL answers when somebody breaks off the wait for the synchronous standby.
    async with database.write() as tx:
        await tx.fetch_text(
            "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE WARNING 'x'; RETURN NULL; END$$"
        )
        await tx.fetch_text(
            "CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON group_list INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION warn()"
        )
    try:
        with pytest.raises(CommitOutcomeUnknownError):
            async with database.write() as tx:
                await tx.fetch_text("INSERT INTO group_list (g_id, group_name) VALUES ('warned', 'warned')")
        async with database.write() as tx:
            assert await tx.fetch_text("SELECT group_name FROM group_list") == [("warned",)]
    finally:
        async with database.write() as tx:
            await tx.fetch_text("DROP TRIGGER warn ON group_list")
            await tx.fetch_text("DROP FUNCTION warn")


@_ONLY_POSTGRESQL
async def test_a_primary_that_only_reads_is_left_and_not_taken_again(open_another: OpenAnother) -> None:
    async with open_another() as database:
        async with database.read() as first, database.read() as second:
            await first.fetch_text("SELECT 1")
            await second.fetch_text("SELECT 1")
        name = None
        async with database.write() as tx:
            ((name,),) = await tx.fetch_text("SELECT current_database()")
            await tx.fetch_text(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            await tx.fetch_text("SET default_transaction_read_only = on")
        try:
            # The connection was one of a primary; a new one would not be.
            with pytest.raises(ConnectionLostError):
                async with database.write() as tx:
                    await tx.fetch_text("DELETE FROM group_list")
            assert database.pool.open_connections == 0
            with pytest.raises(ConnectionLostError):
                async with database.read() as tx:
                    await tx.fetch_text("SELECT 1")
        finally:
            settings_of_all = {"server_settings": {"default_transaction_read_only": "off"}}
            connection = await asyncpg.connect(database._dsn, **settings_of_all)  # type: ignore[attr-defined]
            await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            await connection.close()
        async with database.write() as tx:
            await tx.fetch_text("DELETE FROM group_list")


@_ONLY_POSTGRESQL
async def test_nobody_waits_for_long_on_a_server_that_vanished_without_a_word(
    shared_database: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.db.engines.server._SUSPICIOUS_SECONDS", 0.3)
    monkeypatch.setattr("holdfast.db.engines.server._WATCH_SECONDS", 0.1)
    settings = shared_database.settings
    async with wire_to(settings.database_url) as (wire, url):
        database = open_database(instance_settings(url, settings.data_dir))
        database._connect_timeout_seconds = 0.5  # type: ignore[attr-defined]
        async with database.running():
            # One that works for long, and answers, is let work.
            async with database.read() as tx:
                await tx.fetch_text("SELECT pg_sleep(1)")

            async def ask_in_vain() -> None:
                async with asyncio.timeout(30), database.read() as tx:
                    wire.be_silent()
                    await tx.fetch_text("SELECT 1")

            started = time.monotonic()
            with pytest.raises(ConnectionLostError):
                await ask_in_vain()
            assert time.monotonic() - started < 20
            wire.speak()
            async with database.read() as tx:
                assert await tx.fetch_text("SELECT 1") == [(1,)]


async def test_a_connection_that_does_not_end_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck:
        """A driver that waits for the answer to a cancellation which the server never gives."""

        is_terminated = False

        async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - as the driver has it
            await asyncio.Event().wait()

        def terminate(self) -> None:
            self.is_terminated = True

    monkeypatch.setattr("holdfast.db.engines.postgresql._CLOSE_SECONDS", 0.02)
    stuck = Stuck()
    async with asyncio.timeout(5):
        await close_driver(stuck)
    assert stuck.is_terminated
