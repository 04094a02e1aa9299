"""The pool by the seed's rule (3.2): idle and open limits, renewal, a wait limit; no cancellation loses anything."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import REGISTRY

from holdfast.db.engines.base import Database
from holdfast.db.engines.sqlite import SqliteDatabase
from holdfast.db.errors import ConnectionLostError, PoolClosedError, PoolExhaustedError
from holdfast.db.pool import Pool, PoolSettings
from holdfast.settings import Settings
from tests.db.conftest import OpenAnother


class Line:
    """What the pool lends here: a numbered connection that can be cut."""

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.is_open = True


class Exchange:
    """Opens and closes lines, and counts them."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.most_open = 0
        self.refuses = False
        self.pause: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)

    async def connect(self) -> Line:
        await self.pause()
        if self.refuses:
            raise ConnectionLostError("refused")
        line = Line()
        self.lines.append(line)
        self.most_open = max(self.most_open, self.open_lines)
        return line

    async def close(self, line: Line) -> None:
        line.is_open = False
        await self.pause()

    @property
    def open_lines(self) -> int:
        return sum(line.is_open for line in self.lines)

    def pool(self, name: str = "lines", **settings: float) -> Pool[Line]:
        return Pool(
            name,
            PoolSettings(**({"surplus_seconds": 0, "patience_seconds": 0} | settings)),  # type: ignore[arg-type]
            connect=self.connect,
            close=self.close,
            is_open=lambda line: line.is_open,
        )


async def _use(pool: Pool[Line]) -> None:
    line = await pool.acquire()
    await asyncio.sleep(0)
    await pool.release(line)


async def _settled(pool: Pool[Line]) -> Pool[Line]:
    """The pool once it has closed what it does not keep."""
    async with asyncio.timeout(5):
        while pool.open_connections > pool.settings.max_idle:  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0)
    return pool


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.mark.conformance("Q-01")
def test_the_limits_are_those_of_the_seed_unless_set() -> None:
    settings, pool = Settings(), PoolSettings()
    assert (settings.pool_max_idle, settings.pool_max_open, settings.pool_lifetime_seconds) == (10, 100, 3600)
    assert (pool.max_idle, pool.max_open, pool.lifetime_seconds) == (10, 100, 3600)


@pytest.mark.conformance("Q-01")
async def test_the_settings_reach_the_pool(open_another: OpenAnother) -> None:
    changes = {"pool_max_idle": 2, "pool_max_open": 3, "pool_lifetime_seconds": 7.0, "pool_wait_seconds": 0.5}
    async with open_another(**changes) as database:
        settings = database.pool.settings
        assert settings == PoolSettings(max_idle=2, max_open=3, lifetime_seconds=7, wait_seconds=0.5)


@pytest.mark.conformance("Q-01")
async def test_at_most_so_many_are_open_and_so_many_stay_idle(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=5, max_idle=2)

    await asyncio.gather(*(_use(pool) for _ in range(40)))
    assert exchange.most_open == 5
    await _settled(pool)
    assert pool.open_connections == pool.idle_connections == exchange.open_lines == 2


async def test_the_connection_used_last_is_lent_first(exchange: Exchange) -> None:
    pool = exchange.pool()
    first, second = await pool.acquire(), await pool.acquire()
    await pool.release(first)
    await pool.release(second)
    assert await pool.acquire() is second
    assert await pool.acquire() is first


@pytest.mark.conformance("Q-01")
async def test_a_connection_is_renewed_after_its_time(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("holdfast.db.pool.time.monotonic", lambda: now)
    pool = exchange.pool(lifetime_seconds=3600)
    idle, lent = await pool.acquire(), await pool.acquire()
    await pool.release(idle)
    now += 3599
    assert await pool.acquire() is idle
    await pool.release(idle)
    now += 1
    fresh = await pool.acquire()
    assert fresh not in (idle, lent)
    await pool.release(lent)
    assert [line.is_open for line in (idle, lent, fresh)] == [False, False, True]
    assert pool.open_connections == exchange.open_lines == 1


async def test_a_broken_connection_is_replaced(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=1)
    first = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    await pool.release(first, broken=True)
    second = await waiting
    assert second is not first
    await pool.release(second)
    second.is_open = False
    third = await pool.acquire()
    assert third is not second
    assert pool.open_connections == 1


@pytest.mark.conformance("Q-01")
async def test_waiting_too_long_ends_in_503_and_a_metric(exchange: Exchange) -> None:
    def timeouts() -> float:
        return REGISTRY.get_sample_value("holdfast_pool_timeouts_total", {"pool": "counted"}) or 0

    pool = exchange.pool("counted", max_open=1, wait_seconds=0.02)
    line = await pool.acquire()
    before = timeouts()
    with pytest.raises(PoolExhaustedError) as refused:
        await pool.acquire()
    assert refused.value.status == 503
    assert refused.value.details["retry_after_seconds"] >= 1
    assert timeouts() == before + 1
    await pool.release(line)
    assert await pool.acquire() is line


async def test_those_who_wait_are_served_in_turn(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=1)
    served: list[int] = []

    async def use(number: int) -> None:
        line = await pool.acquire()
        served.append(number)
        await pool.release(line)

    line = await pool.acquire()
    users = [asyncio.create_task(use(number)) for number in range(5)]
    await asyncio.sleep(0)
    await pool.release(line)
    await asyncio.gather(*users)
    assert served == [0, 1, 2, 3, 4]


async def test_a_failed_connect_leaves_its_place_to_the_next(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=1, wait_seconds=1)
    exchange.refuses = True
    results = await asyncio.gather(*(pool.acquire() for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionLostError] * 3
    exchange.refuses = False
    assert (await pool.acquire()).is_open
    assert pool.open_connections == 1


async def test_a_waiter_cancelled_as_its_connection_comes_passes_it_on(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=1)
    line = await pool.acquire()
    first, second = asyncio.create_task(pool.acquire()), asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    await pool.release(line)
    first.cancel()
    assert await second is line
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_closed_pool_keeps_nothing(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=2)
    idle, lent = await pool.acquire(), await pool.acquire()
    await pool.release(idle)
    await pool.close()
    assert not idle.is_open
    await pool.release(lent)
    assert exchange.open_lines == pool.open_connections == 0


async def test_a_closed_pool_lends_nothing_and_tells_who_waits(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=1)
    lent = await pool.acquire()
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await asyncio.sleep(0)
    await pool.close()
    for told in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(told, PoolClosedError)
    with pytest.raises(PoolClosedError):
        await pool.acquire()
    await pool.release(lent)
    assert exchange.open_lines == pool.open_connections == pool.waiting == 0


@pytest.mark.parametrize("seed", range(30))
async def test_nothing_is_lost_whoever_is_cancelled_whenever(exchange: Exchange, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a repeatable play, no secret
    pool = exchange.pool(
        max_open=chance.randint(1, 4),
        max_idle=chance.randint(0, 3),
        wait_seconds=0.05,
        patience_seconds=chance.choice((0, 0.001, 1)),
    )
    holding: set[Line] = set()

    async def pause() -> None:
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
        exchange.refuses = chance.random() < 0.1

    async def use() -> None:
        line = await pool.acquire()
        assert line.is_open
        assert line not in holding, "one connection was lent to two"
        holding.add(line)
        try:
            await pause()
        finally:
            holding.discard(line)
            await pool.release(line, broken=chance.random() < 0.2)

    exchange.pause = pause
    tasks = []
    for _ in range(60):
        tasks.append(asyncio.create_task(use()))
        await pause()
        if chance.random() < 0.5:
            chance.choice(tasks).cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        assert result is None or isinstance(result, asyncio.CancelledError | ConnectionLostError | PoolExhaustedError)
    assert exchange.most_open <= pool.settings.max_open
    await _settled(pool)
    assert pool.open_connections == pool.idle_connections == exchange.open_lines


async def test_surplus_connections_stay_while_they_are_wanted(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=4, max_idle=1, surplus_seconds=0.05)
    lines = [await pool.acquire() for _ in range(4)]
    for line in lines:
        await pool.release(line)
    assert [await pool.acquire() for _ in range(4)] == lines[::-1]
    for line in lines:
        await pool.release(line)
    await _settled(pool)
    assert exchange.open_lines == 1


async def test_a_burst_of_short_uses_opens_no_more_than_are_kept(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=50, max_idle=3, patience_seconds=30)

    await asyncio.gather(*(_use(pool) for _ in range(200)))
    assert exchange.most_open == 3
    assert pool.waiting == 0


async def test_more_are_opened_once_none_comes_back_in_time(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=4, max_idle=2, patience_seconds=0.05, wait_seconds=0.2)
    held = [await pool.acquire() for _ in range(2)]
    third = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    assert (pool.waiting, exchange.most_open) == (1, 2)
    held += [await third, await pool.acquire()]
    assert (pool.waiting, exchange.most_open) == (0, 4)
    with pytest.raises(PoolExhaustedError):
        await pool.acquire()
    for line in held:
        await pool.release(line)


async def test_patience_never_ends_in_503_while_there_is_room(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=2, max_idle=1, patience_seconds=30, wait_seconds=0.01)
    held = [await pool.acquire(), await pool.acquire()]
    for line in held:
        await pool.release(line)


async def test_connections_are_added_one_after_the_other(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=20, max_idle=1, patience_seconds=0.01, wait_seconds=30)
    connecting = 0

    async def pause() -> None:
        nonlocal connecting
        connecting += 1
        assert connecting <= 1, "two connections were added to the pool at once"
        await asyncio.sleep(0)
        connecting -= 1

    exchange.pause = pause
    held = await asyncio.gather(*(pool.acquire() for _ in range(15)))
    assert exchange.most_open == len(set(held)) == 15
    exchange.pause = _no_pause
    for line in held:
        await pool.release(line)


async def _no_pause() -> None:
    """Nothing."""


async def test_who_came_first_is_served_first_after_all_patience(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=2, max_idle=1, patience_seconds=0.01, wait_seconds=30)
    held = [await pool.acquire(), await pool.acquire()]
    served: list[str] = []

    async def use(name: str) -> None:
        line = await pool.acquire()
        served.append(name)
        await pool.release(line)

    early = [asyncio.create_task(use(f"early {number}")) for number in range(3)]
    await asyncio.sleep(0.05)
    late = [asyncio.create_task(use(f"late {number}")) for number in range(3)]
    await asyncio.sleep(0)
    for line in held:
        await pool.release(line)
    await asyncio.gather(*early, *late)
    assert served == [f"{when} {number}" for when in ("early", "late") for number in range(3)]


async def test_a_connection_that_comes_at_the_last_moment_is_taken(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=1, wait_seconds=0.05)
    line = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)

    def give_back() -> None:
        with pytest.raises(StopIteration):
            pool.release(line).send(None)

    # It comes a moment before the deadline, and both are found in the same turn, before the one who waits runs.
    asyncio.get_running_loop().call_later(0.04, give_back)
    time.sleep(0.08)  # noqa: ASYNC251 - on purpose
    assert await waiting is line


async def test_the_first_who_waits_is_told_that_the_database_refuses(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=3, max_idle=1, patience_seconds=0.01, wait_seconds=30)
    held = await pool.acquire()
    exchange.refuses = True
    with pytest.raises(ConnectionLostError):
        await pool.acquire()
    await pool.release(held)
    assert (pool.waiting, pool.open_connections) == (0, 1)


async def test_stale_connections_are_not_waited_for(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=3, max_idle=3, patience_seconds=30, wait_seconds=30)
    held = [await pool.acquire() for _ in range(3)]
    for line in held:
        await pool.release(line)
        line.is_open = False
    hangs = asyncio.Event()
    exchange.pause = hangs.wait

    async def connect_at_once() -> Line:
        return Line()

    pool._connect = connect_at_once
    async with asyncio.timeout(5):
        fresh = await pool.acquire()
    assert fresh.is_open
    hangs.set()
    await pool.release(fresh)
    await pool.close()


async def test_who_waits_patiently_takes_the_place_of_a_broken_connection(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=4, max_idle=1, patience_seconds=30, wait_seconds=60)
    first = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    await pool.release(first, broken=True)
    assert (await waiting).is_open
    assert exchange.most_open == 1


async def test_a_pool_that_keeps_none_opens_the_first_at_once(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=2, max_idle=0, patience_seconds=30, wait_seconds=60)
    async with asyncio.timeout(5):
        line = await pool.acquire()
    await pool.release(line)


async def test_closing_while_the_surplus_goes_leaves_nothing_open(exchange: Exchange) -> None:
    pool = exchange.pool(max_open=6, max_idle=1)
    lines = [await pool.acquire() for _ in range(6)]
    for line in lines:
        await pool.release(line)
    while exchange.open_lines == 6:  # noqa: ASYNC110 - the pool tells nobody
        await asyncio.sleep(0)
    await pool.close()
    assert exchange.open_lines == pool.open_connections == 0


@pytest.mark.conformance("Q-01")
async def test_an_engine_opens_no_more_than_it_may(open_another: OpenAnother, engine: str) -> None:
    async with open_another(pool_max_open=3, pool_max_idle=1, pool_wait_seconds=10) as database:

        async def read(among: Database) -> None:
            async with among.read() as tx:
                await tx.fetch_text("SELECT 1")

        await asyncio.gather(*(read(database) for _ in range(12)))
        assert 1 <= database.pool.open_connections <= 3
        assert isinstance(database, SqliteDatabase) == (engine == "sqlite")
