"""TestTransactionIsolation of the seed (4.2), with real connections at the same time."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import bindparam, select, update

from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Database, Isolation, Transaction
from holdfast.db.engines.sqlite import SqliteDatabase
from holdfast.db.errors import (
    ConnectionLostError,
    DatabaseError,
    ForeignKeyViolationError,
    StatementTimeoutError,
    UniqueViolationError,
)
from holdfast.db.retries import with_retries
from holdfast.db.statements import Command, Count, Query, locked_as_parent, new_value
from holdfast.db.tables import metadata, project_list
from tests.db.conftest import OpenAnother
from tests.db.rows import count_rows, fetch, make_row

_p_id = bindparam("p_id", type_=project_list.c.p_id.type)
_QUOTA = select(project_list.c.gpu_quota.label("value")).where(project_list.c.p_id == _p_id)
GET_QUOTA = Query("tests.isolation.get_quota", _QUOTA, Count)
GET_QUOTA_ALONE = Query("tests.isolation.get_quota_alone", _QUOTA.with_for_update(), Count)
GET_QUOTA_AS_PARENT = Query("tests.isolation.get_quota_as_parent", locked_as_parent(_QUOTA), Count)
SET_QUOTA = Command(
    "tests.isolation.set_quota",
    update(project_list).where(project_list.c.p_id == _p_id).values(new_value(project_list, "gpu_quota")),
)
SET_QUOTA_FROM = Command(
    "tests.isolation.set_quota_from",
    update(project_list)
    .where(
        project_list.c.p_id == _p_id, project_list.c.gpu_quota == bindparam("seen", type_=project_list.c.gpu_quota.type)
    )
    .values(new_value(project_list, "gpu_quota")),
)
_MEMBERS = metadata.tables["user_group"]
_INSERT_MEMBER = Command(
    "tests.isolation.insert_member",
    _MEMBERS.insert().values({name: bindparam(name, type_=_MEMBERS.c[name].type) for name in ("u_id", "g_id", "role")}),
)
_SERVERS = ("postgresql", "mariadb")


@pytest.fixture
async def p_id(database: Database) -> str:
    """A project whose GPU quota is 0."""
    return str((await make_row(database, project_list))["p_id"])


async def _quota(database: Database, p_id: str) -> int:
    async with database.read() as tx:
        return await tx.fetch_count(GET_QUOTA, p_id=p_id)


def _conflicts_retried() -> float:
    return REGISTRY.get_sample_value("holdfast_transactions_retried_total", {"reason": "conflict"}) or 0.0


async def _set(tx: Transaction, p_id: str, quota: int) -> None:
    assert await tx.execute(SET_QUOTA, p_id=p_id, new_gpu_quota=quota) == 1


@pytest.mark.conformance("X-01")
async def test_uncommitted_writes_are_invisible_to_others(database: Database, p_id: str) -> None:
    async with database.write() as tx:
        await _set(tx, p_id, 5)
        assert await _quota(database, p_id) == 0
        assert await tx.fetch_count(GET_QUOTA, p_id=p_id) == 5
    assert await _quota(database, p_id) == 5


@pytest.mark.conformance("X-01")
async def test_another_process_does_not_see_uncommitted_writes(
    database: Database, open_another: OpenAnother, p_id: str
) -> None:
    async with open_another() as other:
        async with database.write() as tx:
            await _set(tx, p_id, 5)
            assert await _quota(other, p_id) == 0
        assert await _quota(other, p_id) == 5


@pytest.mark.conformance("X-01")
async def test_updates_that_lock_the_row_first_lose_nothing(database: Database, p_id: str) -> None:
    async def add_one() -> None:
        async with database.write() as tx:
            seen = await tx.fetch_count(GET_QUOTA_ALONE, p_id=p_id)
            await asyncio.sleep(0)
            await _set(tx, p_id, seen + 1)

    await asyncio.gather(*(add_one() for _ in range(20)))
    assert await _quota(database, p_id) == 20


@pytest.mark.conformance("X-01")
async def test_updates_that_name_the_version_they_saw_lose_nothing(database: Database, p_id: str) -> None:
    async def add_one() -> int:
        seen = await _quota(database, p_id)
        async with database.write() as tx:
            return await tx.execute(SET_QUOTA_FROM, p_id=p_id, seen=seen, new_gpu_quota=seen + 1)

    won = sum(await asyncio.gather(*(add_one() for _ in range(20))))
    assert 1 <= won <= 20
    assert await _quota(database, p_id) == won


async def test_a_matched_row_counts_even_when_nothing_changes(database: Database, p_id: str) -> None:
    async with database.write() as tx:
        await _set(tx, p_id, 0)
        assert await tx.execute(SET_QUOTA, p_id="nobody", new_gpu_quota=1) == 0


async def test_a_repeatable_read_keeps_its_snapshot(
    database: Database, open_another: OpenAnother, p_id: str, engine: str
) -> None:
    if engine == "sqlite":
        # One writer at a time: its snapshot cannot grow old. A reader's is what can be shown.
        async with database.read() as tx:
            assert await tx.fetch_count(GET_QUOTA, p_id=p_id) == 0
            async with database.write() as writing:
                await _set(writing, p_id, 7)
            assert await tx.fetch_count(GET_QUOTA, p_id=p_id) == 0
        return
    async with open_another() as other, database.write(Isolation.REPEATABLE_READ) as tx:
        assert await tx.fetch_count(GET_QUOTA, p_id=p_id) == 0
        async with other.write() as writing:
            await _set(writing, p_id, 7)
        assert await tx.fetch_count(GET_QUOTA, p_id=p_id) == 0
    async with database.write() as tx:
        assert await tx.fetch_count(GET_QUOTA, p_id=p_id) == 7


class _OwnError(Exception):
    pass


@pytest.mark.conformance("X-02")
async def test_an_error_of_the_caller_undoes_everything(database: Database, p_id: str) -> None:
    async def write() -> None:
        async with database.write() as tx:
            await _set(tx, p_id, 5)
            raise _OwnError

    with pytest.raises(_OwnError):
        await write()
    assert await _quota(database, p_id) == 0


@pytest.mark.conformance("X-02")
async def test_a_refused_statement_undoes_everything(database: Database, p_id: str) -> None:
    async def write() -> None:
        async with database.write() as tx:
            await _set(tx, p_id, 5)
            await tx.execute(_INSERT_MEMBER, u_id="nobody", g_id="nowhere", role="user")

    with pytest.raises(ForeignKeyViolationError):
        await write()
    assert await _quota(database, p_id) == 0


@pytest.mark.conformance("X-02")
async def test_a_refused_statement_undoes_everything_even_when_its_error_is_caught(
    database: Database, p_id: str
) -> None:
    async def write() -> None:
        async with database.write() as tx:
            await _set(tx, p_id, 5)
            with pytest.raises(ForeignKeyViolationError):
                await tx.execute(_INSERT_MEMBER, u_id="nobody", g_id="nowhere", role="user")

    with pytest.raises(DatabaseError, match=r"tests\.isolation\.insert_member failed"):
        await write()
    assert await _quota(database, p_id) == 0


async def test_a_batch_that_fails_in_the_middle_leaves_nothing(database: Database) -> None:
    member = await make_row(database, _MEMBERS)
    user = await make_row(database, metadata.tables["users"])
    good = {"u_id": user["u_id"], "g_id": member["g_id"], "role": "user"}
    with pytest.raises(UniqueViolationError):
        async with database.write() as tx:
            await tx.execute_many(_INSERT_MEMBER, [good, {**member, "role": "user"}])
    assert await count_rows(database, _MEMBERS) == 1


@pytest.mark.conformance("X-02")
async def test_a_cancelled_caller_leaves_nothing_behind(database: Database, p_id: str) -> None:
    written = asyncio.Event()

    async def write_and_wait() -> None:
        async with database.write() as tx:
            await _set(tx, p_id, 5)
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as tx:
        # The row is not locked any more, and its old value is there.
        assert await tx.fetch_count(GET_QUOTA_ALONE, p_id=p_id) == 0


async def test_callers_cancelled_at_any_moment_write_all_or_nothing(database: Database, p_id: str) -> None:
    """Each writes two rows that must agree; some are cancelled while they wait, write or commit."""
    other = (await make_row(database, project_list))["p_id"]

    async def write(number: int) -> None:
        async with database.write() as tx:
            await _set(tx, p_id, number)
            await asyncio.sleep(0)
            await _set(tx, other, number)

    for pause in range(24):
        tasks = [asyncio.create_task(write(pause * 10 + number)) for number in range(1, 5)]
        for _ in range(pause):
            await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[3].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        assert results[0] is None
        assert await _quota(database, p_id) == await _quota(database, other)
    assert await _quota(database, p_id) > 230
    assert database.pool.open_connections - database.pool.idle_connections == 0


async def test_among_many_writers_only_the_failing_one_loses(database: Database) -> None:
    group = (await make_row(database, metadata.tables["group_list"]))["g_id"]

    async def write(number: int) -> None:
        async with database.write() as tx:
            await tx.fetch_text(
                f"INSERT INTO project_list (p_id, project_name, g_id) VALUES ('project-{number}', 'x', '{group}')"
            )
            if number % 5 == 0:
                await tx.fetch_text("INSERT INTO user_group (u_id, g_id) VALUES ('nobody', 'nowhere')")
            if number % 7 == 0:
                raise _OwnError

    results = await asyncio.gather(*(write(number) for number in range(1, 41)), return_exceptions=True)
    for number, result in enumerate(results, 1):
        expected = ForeignKeyViolationError if number % 5 == 0 else _OwnError if number % 7 == 0 else type(None)
        assert isinstance(result, expected), (number, result)
    kept = {row[0] for row in await fetch(database, "SELECT p_id FROM project_list")}
    assert kept == {f"project-{number}" for number in range(1, 41) if number % 5 and number % 7}


@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_of_two_in_a_deadlock_one_may_try_again(database: Database, p_id: str) -> None:
    other = str((await make_row(database, project_list))["p_id"])
    both = asyncio.Barrier(2)

    async def write(first: str, second: str) -> None:
        async with database.write() as tx:
            await _set(tx, first, 1)
            await both.wait()
            await _set(tx, second, 1)

    results = await asyncio.gather(write(p_id, other), write(other, p_id), return_exceptions=True)
    assert sorted(str(type(result).__name__) for result in results) == ["NoneType", "SerializationError"]
    assert [await _quota(database, each) for each in (p_id, other)] == [1, 1]


@pytest.mark.conformance("X-06")
@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_of_two_in_a_deadlock_both_succeed_where_the_loser_tries_again(database: Database, p_id: str) -> None:
    other = str((await make_row(database, project_list))["p_id"])
    both = asyncio.Barrier(2)
    attempts = {p_id: 0, other: 0}

    async def write(first: str, second: str) -> None:
        async def attempt() -> None:
            attempts[first] += 1
            async with database.write() as tx:
                await _set(tx, first, await tx.fetch_count(GET_QUOTA_ALONE, p_id=first) + 1)
                if attempts[first] == 1:
                    await both.wait()
                await _set(tx, second, await tx.fetch_count(GET_QUOTA_ALONE, p_id=second) + 1)

        await with_retries(attempt)

    retried_before = _conflicts_retried()
    await asyncio.gather(write(p_id, other), write(other, p_id))
    # Nothing of the attempt that lost was kept, and nothing of the others is lost.
    assert [await _quota(database, each) for each in (p_id, other)] == [2, 2]
    assert sum(attempts.values()) >= 3
    assert _conflicts_retried() - retried_before == sum(attempts.values()) - 2


@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_a_parent_that_children_are_made_under_cannot_be_deleted_meanwhile(database: Database, p_id: str) -> None:
    made, deleted = asyncio.Event(), asyncio.Event()

    async def delete() -> None:
        await made.wait()
        async with database.write() as tx:
            await tx.fetch_text(
                f"UPDATE project_list SET deletion_id = 'd', deleted_at = CURRENT_TIMESTAMP WHERE p_id = '{p_id}'"
            )
        deleted.set()

    deleting = asyncio.create_task(delete())
    async with database.write() as tx:
        await tx.fetch_count(GET_QUOTA_AS_PARENT, p_id=p_id)
        made.set()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(deleted.wait(), 0.2)
    await deleting


@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_a_statement_over_the_limit_ends_with_an_error(open_another: OpenAnother, engine: str) -> None:
    sleep = {"postgresql": "SELECT pg_sleep(20)", "mariadb": "SELECT sum(sleep(1)) FROM information_schema.collations"}
    async with open_another(statement_timeout_seconds=0.2) as database:
        started = time.monotonic()
        with pytest.raises(StatementTimeoutError):
            async with database.write() as tx:
                await tx.fetch_text(sleep[engine])
        assert time.monotonic() - started < 10
        async with database.write() as tx:
            assert await tx.fetch_text("SELECT 1") == [(1,)]


@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_a_cut_connection_is_told_and_replaced(database: Database, p_id: str, engine: str) -> None:
    me = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}[engine]
    cut = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL {}"}[engine]

    async def write_on_a_cut_connection() -> None:
        async with database.write() as tx:
            await _set(tx, p_id, 5)
            ((number,),) = await tx.fetch_text(me)
            async with database.read() as other:
                await other.fetch_text(cut.format(number))
            await _set(tx, p_id, 6)

    with pytest.raises(ConnectionLostError) as lost:
        await write_on_a_cut_connection()
    assert lost.value.status == 503
    assert await _quota(database, p_id) == 0


@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_connections_cut_while_idle_do_not_stop_the_next_request(
    database: Database, p_id: str, engine: str
) -> None:
    me = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}[engine]
    cut = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL {}"}[engine]
    async with database.read() as idle, database.read() as other:
        ((number,),) = await idle.fetch_text(me)
        ((last,),) = await other.fetch_text(me)
        assert number != last
    async with database.read() as tx:
        ((used,),) = await tx.fetch_text(me)
        await tx.fetch_text(cut.format(number if used != number else last))
    # At most the one request that meets the cut connection fails; none after it does.
    failed = 0
    for _ in range(6):
        try:
            assert await _quota(database, p_id) == 0
        except ConnectionLostError:
            failed += 1
    assert failed <= 1


class _Ticks:
    """Counts how often the event loop comes around."""

    def __init__(self) -> None:
        self.count = 0

    @asynccontextmanager
    async def counted(self) -> AsyncIterator["_Ticks"]:
        async def tick() -> None:
            while True:
                self.count += 1
                await asyncio.sleep(0.005)

        task = asyncio.create_task(tick())
        try:
            yield self
        finally:
            task.cancel()


_HOLD_THE_WRITE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
print("free", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
async def lock_holder(database: Database) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that holds SQLite's write lock until it is sent a line."""
    assert isinstance(database, SqliteDatabase)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _HOLD_THE_WRITE_LOCK,
        str(database.path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


_on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], scope="session", indirect=True)


@_on_sqlite
async def test_a_writer_waits_for_another_process_without_stopping_the_loop(
    database: Database, p_id: str, lock_holder: asyncio.subprocess.Process
) -> None:
    async def write(number: int) -> None:
        async with database.write() as tx:
            await _set(tx, p_id, number)

    async with _Ticks().counted() as ticks:
        writing = [asyncio.create_task(write(number)) for number in (1, 2)]
        while ticks.count < 20:
            assert await _quota(database, p_id) == 0
            await asyncio.sleep(0)
        assert not any(task.done() for task in writing)
        assert lock_holder.stdin is not None
        lock_holder.stdin.write(b"\n")
        await asyncio.gather(*writing)
    assert await _quota(database, p_id) in (1, 2)


@_on_sqlite
async def test_a_writer_gives_up_when_another_process_keeps_the_lock(
    open_another: OpenAnother, p_id: str, lock_holder: asyncio.subprocess.Process
) -> None:
    assert lock_holder.returncode is None
    async with open_another(pool_wait_seconds=0.1) as database:

        async def write() -> None:
            async with database.write() as tx:
                await _set(tx, p_id, 1)

        errors = await asyncio.gather(*(write() for _ in range(3)), return_exceptions=True)
        assert [getattr(error, "status", error) for error in errors] == [503, 503, 503]
        assert await _quota(database, p_id) == 0


@_on_sqlite
async def test_a_full_disk_is_told_to_every_caller_of_the_batch(database: Database, p_id: str) -> None:
    """`max_page_count` stands for the disk. Whoever was told of success finds the rows, whoever was not does not."""
    assert isinstance(database, SqliteDatabase)
    writer = database._writer.connection

    async def write(number: int, size: int) -> None:
        async with database.write() as tx:
            await tx.fetch_text(
                f"INSERT INTO config_files (cf_id, filename, content, project_id)"
                f" VALUES ('file-{number}', 'name-{number}', hex(zeroblob({size // 2})), '{p_id}')"
            )

    # Pages that earlier tests left free would hold the large rows.
    writer.execute("VACUUM")
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 8}")
    try:
        sizes = [100, 100, 200_000, 100, 100, 200_000, 100]
        results = await asyncio.gather(*(write(*pair) for pair in enumerate(sizes)), return_exceptions=True)
    finally:
        writer.execute("PRAGMA max_page_count = 1073741823")
    told = {number for number, result in enumerate(results) if result is None}
    failures = [result for result in results if result is not None]
    assert all(isinstance(failure, HoldfastError) and failure.status == 503 for failure in failures), failures
    assert {2, 5}.isdisjoint(told)
    kept = {row[0] for row in await fetch(database, "SELECT cf_id FROM config_files")}
    assert kept == {f"file-{number}" for number in told}
    await write(8, 200_000)


@_on_sqlite
async def test_a_commit_that_fails_is_told_to_every_caller_of_the_batch(database: Database, p_id: str) -> None:
    assert isinstance(database, SqliteDatabase)
    writer = database._writer.connection

    async def write(number: int) -> None:
        async with database.write() as tx:
            await tx.fetch_text(
                f"INSERT INTO config_files (cf_id, filename, content, project_id)"
                f" VALUES ('file-{number}', 'name-{number}', '', '{p_id}')"
            )

    # A foreign key that is checked only at COMMIT makes the commit itself fail.
    writer.execute("PRAGMA defer_foreign_keys = ON")

    async def write_an_orphan() -> None:
        async with database.write() as tx:
            await tx.fetch_text("PRAGMA defer_foreign_keys = ON")
            await tx.fetch_text("INSERT INTO user_group (u_id, g_id) VALUES ('nobody', 'nowhere')")

    results = await asyncio.gather(write(1), write_an_orphan(), write(2), return_exceptions=True)
    kept = {row[0] for row in await fetch(database, "SELECT cf_id FROM config_files")}
    assert kept == {f"file-{number}" for number, result in ((1, results[0]), (2, results[2])) if result is None}
    assert isinstance(results[1], HoldfastError)
    await write(3)
    assert await count_rows(database, _MEMBERS) == 0
