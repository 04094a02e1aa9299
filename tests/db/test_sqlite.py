"""SQLite's own: what ANALYZE leaves behind, what runs in the event loop, and the log beside the file."""

import shutil
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, column, delete, func, insert, select, table

import holdfast.db.engines.sqlite
from holdfast.db.engines.base import Database
from holdfast.db.engines.sqlite import SqliteDatabase, connect
from holdfast.db.pool import PoolSettings
from holdfast.db.sqlite_driver import sqlite3
from holdfast.db.statements import Command, Count, Query

_forms = table("forms", column("f_id", String()), column("status", String()))
_others = _forms.alias("others")
_HEAVY_AND_SHORT = Query(
    "tests.count_heavy", select(func.count().label("value")).select_from(_forms), Count, heavy=True
)
_HEAVY_AND_LONG = Query(
    "tests.count_heavy_pairs",
    select(func.count().label("value")).join_from(_forms, _others, _forms.c.status == _others.c.status),
    Count,
    heavy=True,
)
_HEAVY_INSERT = Command("tests.insert_heavy", insert(_forms).values(f_id="new", status="late"), heavy=True)

_DELETION = Command("tests.delete_all", delete(_forms), heavy=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database whose rows are worth a sample, without statistics yet."""
    path = tmp_path / "holdfast.db"
    with closing(connect(path, read_only=False)) as connection:
        connection.execute("CREATE TABLE forms (f_id TEXT PRIMARY KEY, status TEXT)")
        connection.execute("CREATE INDEX ix_forms_status ON forms (status)")
        rows = [(f"form-{number}", "open" if number % 10 else "closed") for number in range(1000)]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO forms VALUES (?, ?)", rows)
        connection.execute("COMMIT")
    return path


@contextmanager
def _preparations(connection: Any) -> Iterator[list[str]]:
    """What SQLite asks leave for, which it does while it makes the plan of a statement, and at no other time."""
    asked: list[str] = []

    def note(*call: Any) -> int:
        asked.append(str(call))
        return 0

    connection.set_authorizer(note)
    # Setting it lets all plans go.
    yield asked


def _count(connection: Any, status: str) -> int:
    (count,) = connection.execute("SELECT count(*) FROM forms WHERE status = ?", [status]).fetchone()
    return int(count)


def _started(path: Path) -> AbstractAsyncContextManager[Database]:
    return SqliteDatabase(path, pool=PoolSettings(), slow_seconds=1).running()


def _analyzed_elsewhere(path: Path) -> None:
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("ANALYZE")
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat4'").fetchone() is None:
            pytest.skip("this build of SQLite knows no samples")


async def test_a_start_lets_go_the_samples_of_another_program(path: Path) -> None:
    _analyzed_elsewhere(path)
    async with _started(path) as database:
        async with database.read() as tx:
            assert await tx.fetch_text("SELECT name FROM sqlite_schema WHERE name LIKE 'sqlite_stat_'") == [
                ("sqlite_stat1",)
            ]
        with closing(connect(path, read_only=True)) as connection, _preparations(connection) as asked:
            assert _count(connection, "open") == 900
            asked.clear()
            assert _count(connection, "closed") == 100
            assert asked == []


async def test_samples_that_cannot_be_let_go_now_do_not_stop_a_start(path: Path) -> None:
    _analyzed_elsewhere(path)
    with closing(sqlite3.connect(str(path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with _started(path) as database, database.read() as tx:
            assert await tx.fetch_text("SELECT count(*) FROM forms") == [(1000,)]
        other.execute("ROLLBACK")


@pytest.fixture
def threaded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What went to a thread."""
    went: list[object] = []
    in_thread = holdfast.db.engines.sqlite._in_thread

    async def note(thread: Any, work: Any) -> Any:
        went.append(work)
        return await in_thread(thread, work)

    monkeypatch.setattr(holdfast.db.engines.sqlite, "_in_thread", note)
    return went


async def test_a_heavy_query_goes_to_a_thread_only_where_it_takes_long(path: Path, threaded: list[object]) -> None:
    async with _started(path) as database, database.read() as tx:
        # A statement that ran before may be looked at sooner: that alone must not break it off.
        for _ in range(50):
            assert await tx.fetch_count(_HEAVY_AND_SHORT) == 1000
        assert threaded == []
        assert await tx.fetch_count(_HEAVY_AND_LONG) == 900**2 + 100**2
        assert len(threaded) == 1


async def test_a_query_that_is_broken_off_undoes_nothing_that_its_transaction_wrote(
    path: Path, threaded: list[object]
) -> None:
    async with _started(path) as database:
        async with database.write() as tx:
            await tx.execute(_HEAVY_INSERT)
            assert await tx.fetch_count(_HEAVY_AND_LONG) == 900**2 + 100**2 + 1
            # The insert, too.
            assert len(threaded) == 2
        async with database.read() as tx:
            assert await tx.fetch_count(_HEAVY_AND_SHORT) == 1001


async def test_a_heavy_command_of_few_rows_stays_in_the_loop(path: Path, threaded: list[object]) -> None:
    async with _started(path) as database:
        async with database.write() as tx:
            tx.expect_few_rows()
            assert await tx.execute(_HEAVY_INSERT) == 1
            assert threaded == []
        async with database.read() as tx:
            assert await tx.fetch_count(_HEAVY_AND_SHORT) == 1001


async def test_the_log_goes_to_the_file_beside_a_transaction_that_writes(path: Path, tmp_path: Path) -> None:
    async with _started(path) as database:
        async with database.write() as tx:
            await tx.execute(_HEAVY_INSERT)
        assert _without_its_log(path, tmp_path / "before.db") == 1000
        async with database.write() as tx:
            await tx.execute(_DELETION)
            await database.tidy()
            assert _without_its_log(path, tmp_path / "beside.db") == 1001
        await database.tidy()
        assert _without_its_log(path, tmp_path / "after.db") == 0


def _without_its_log(path: Path, copy: Path) -> int:
    """The rows of the database file alone."""
    shutil.copy(path, copy)
    with closing(connect(copy, read_only=False)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM forms").fetchone()
        return int(count)
