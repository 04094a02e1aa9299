"""SQLite's own: what ANALYZE leaves behind must not make each statement dearer."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.db.engines.base import Database
from holdfast.db.engines.sqlite import SqliteDatabase, connect
from holdfast.db.pool import PoolSettings
from holdfast.db.sqlite_driver import sqlite3


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


def test_statistics_do_not_make_a_statement_plan_anew(path: Path) -> None:
    with closing(connect(path, read_only=False)) as connection:
        connection.execute("ANALYZE")
        assert connection.execute("SELECT count(*) FROM sqlite_stat1").fetchone() != (0,)
    with closing(connect(path, read_only=True)) as connection, _preparations(connection) as asked:
        assert _count(connection, "open") == 900
        assert asked
        asked.clear()
        assert _count(connection, "closed") == 100
        assert asked == []


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
