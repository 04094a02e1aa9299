"""What a scrape reads from the database: fresh enough, and no failure or delay of the scrape."""

import asyncio
import time

import pytest

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.statistics import reading
from holdfast.db.statistics.reading import Reading

_SLEEP = {"postgresql": "SELECT pg_sleep(30)", "mariadb": "SELECT sleep(30)"}


async def test_a_reading_is_read_again_once_it_is_not_fresh(database: Database) -> None:
    numbers: list[int] = []

    async def read(tx: Transaction) -> None:
        ((number,),) = await tx.fetch_text("SELECT 17")
        numbers.append(number)

    read_seldom = Reading("numbers", read, fresh_seconds=600)
    await asyncio.gather(*(read_seldom.refresh(database) for _ in range(3)))
    assert numbers == [17], "scrapes that meet read once"
    read_seldom.read_at[database] -= 599
    await read_seldom.refresh(database)
    assert numbers == [17]
    read_seldom.read_at[database] -= 1
    await read_seldom.refresh(database)
    assert numbers == [17, 17]


async def test_a_reading_that_fails_or_hangs_ends_soon_and_leaves_a_usable_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LONGEST_SECONDS", 0.05)
    reached: list[str] = []

    async def fail(tx: Transaction) -> None:
        reached.append("failing")
        await tx.fetch_text("SELECT no_such_column FROM no_such_table")
        reached.append("failed")

    async def hang(tx: Transaction) -> None:
        reached.append("hanging")
        if tx.dialect_name in _SLEEP:
            await tx.fetch_text(_SLEEP[tx.dialect_name])
        await asyncio.sleep(30)

    started = time.monotonic()
    for read in (fail, hang):
        await Reading("numbers", read, fresh_seconds=600).refresh(database)
    assert time.monotonic() - started < 10
    assert reached == ["failing", "hanging"]
    async with database.read() as tx:
        assert await tx.fetch_text("SELECT 1") == [(1,)]
    assert database.pool.in_use_connections == 0
