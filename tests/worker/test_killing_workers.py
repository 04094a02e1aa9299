"""`kill -9` of real workers while they run jobs: each job's effect is there exactly once, whatever died when."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.clock import utc_now
from holdfast.db import jobs
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from tests.conftest import NewDatabase
from tests.db.rows import fetch, run
from tests.instance import instance_settings
from tests.servers.plugin import ENGINES, DatabaseServers
from tests.worker.effects import CREATE, STEPS
from tests.worker.flock import PATIENCE_SECONDS, Flock, flock

pytestmark = pytest.mark.slow

_JOBS = 36
_KILLS = 12


class Ground:
    """A database with a table for effects, and workers on it."""

    def __init__(self, database: Database, workers: Flock, folder: Path) -> None:
        self.database = database
        self.workers = workers
        self.folder = folder

    async def ask(self, name: str, *numbers: int) -> None:
        """One job for each number."""
        async with self.database.write() as tx:
            for number in numbers:
                await jobs.enqueue(tx, name, {"number": number})

    async def effects(self) -> Counter[tuple[int, int]]:
        """How often each step of each job is written."""
        return Counter((row[0], row[1]) for row in await fetch(self.database, "SELECT number, step FROM effects"))

    async def outcomes(self, name: str) -> Counter[str]:
        """How the runs of a name ended."""
        return Counter(
            str(row[0]) for row in await fetch(self.database, f"SELECT outcome FROM runs WHERE name = '{name}'")
        )

    async def count(self, state: str, name: str = "%") -> int:
        """How many jobs are in a state, without those that are periodic."""
        where = f"state = '{state}' AND name LIKE '{name}' AND every_seconds IS NULL"
        ((count,),) = await fetch(self.database, f"SELECT count(*) FROM jobs WHERE {where}")
        return int(count)

    async def put_to_sleep(self, worker: int, name: str) -> None:
        """Stop a worker between two of its transactions: locks of a sleeping one would hold up the others, too."""
        while True:
            os.kill(worker, signal.SIGSTOP)
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await run(self.database, f"UPDATE jobs SET created_at = created_at WHERE name = '{name}'")
                    return
            os.kill(worker, signal.SIGCONT)
            await asyncio.sleep(0.05)

    async def until(self, what: str, is_so: Callable[[], Awaitable[Any]]) -> None:
        """Wait for it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await is_so():
            assert time.monotonic() < deadline, f"{what}: never\n{self.workers.output.read_text()[-6000:]}"
            await asyncio.sleep(0.03)


async def _grounds(url: str, folder: Path) -> AsyncIterator[Ground]:
    await migrate(parse_address(url))
    async with open_database(instance_settings(url, folder)).running() as database:
        await run(database, CREATE)
        with flock(folder, url) as workers:
            yield Ground(database, workers, folder)


@pytest.fixture
async def ground(engine: str, new_database: NewDatabase, tmp_path: Path) -> AsyncIterator[Ground]:
    async for each in _grounds(new_database(engine), tmp_path):
        yield each


async def test_each_job_of_killed_workers_takes_effect_exactly_once(ground: Ground) -> None:
    chance = random.Random(5)  # noqa: S311 - to repeat it
    await ground.ask("tests.once", *range(_JOBS))
    await ground.ask("tests.steps", *range(_JOBS, 2 * _JOBS))
    workers = [ground.workers.start() for _ in range(3)]
    for kill in range(_KILLS):
        written = sum((await ground.effects()).values())

        async def goes_on(written: int = written) -> bool:
            return sum((await ground.effects()).values()) > written

        await ground.until("an effect after each kill", goes_on)
        await asyncio.sleep(chance.uniform(0, 0.1))
        for place in chance.sample(range(3), 1 + kill % 2):
            ground.workers.kill(workers[place])
            workers[place] = ground.workers.start()
        # So that there is work to the last kill.
        await ground.ask("tests.once", 1000 + kill)
    total = 2 * _JOBS + _KILLS

    async def all_done() -> bool:
        return await ground.count("done") == total

    await ground.until("every job is done", all_done)
    wanted = {(number, 0): 1 for number in [*range(_JOBS), *range(1000, 1000 + _KILLS)]}
    wanted |= {(number, step): 1 for number in range(_JOBS, 2 * _JOBS) for step in range(STEPS)}
    found = await ground.effects()
    assert {key: count for key, count in found.items() if key[0] < 10_000} == wanted
    outcomes = await ground.outcomes("tests.once") + await ground.outcomes("tests.steps")
    assert outcomes["done"] == total
    assert outcomes["lost"] >= 1
    assert set(outcomes) == {"done", "lost"}
    assert ground.workers.killed >= _KILLS


@pytest.mark.parametrize("name", ["tests.waits_once", "tests.waits_held"])
async def test_a_worker_that_slept_past_its_lease_writes_nothing(ground: Ground, name: str) -> None:
    await ground.ask(name, 7)
    sleeper = ground.workers.start()
    await ground.until("the first worker began", _is_there(ground.folder / f"began-{sleeper}"))
    await ground.put_to_sleep(sleeper, name)
    other = ground.workers.start()
    await ground.until("the second worker took over", _is_there(ground.folder / f"began-{other}"))
    (ground.folder / "go").touch()

    async def is_done() -> bool:
        return await ground.count("done") == 1

    await ground.until("the second worker is done", is_done)
    os.kill(sleeper, signal.SIGCONT)

    async def was_refused() -> bool:
        return any(line["job"] == name for line in ground.workers.lines("job_lost"))

    await ground.until("the first worker was refused", was_refused)
    found = await fetch(ground.database, "SELECT number, worker FROM effects WHERE number = 7")
    assert [tuple(row) for row in found] == [(7, other)]
    assert await ground.outcomes(name) == {"done": 1, "lost": 1}


async def test_a_job_that_kills_its_worker_becomes_a_dead_letter_and_harms_no_other(ground: Ground) -> None:
    await ground.ask("tests.poison", 1)
    # As after six crashes; further ones would be minutes apart.
    await run(ground.database, f"UPDATE jobs SET attempts = {jobs.MOST_ATTEMPTS - 1}")
    worker = ground.workers.start()
    ground.workers.wait_for_end(worker)
    await ground.ask("tests.once", *range(20))
    worker = ground.workers.start()

    async def others_are_done() -> bool:
        return await ground.count("done") == 20 and await ground.count("failed") == 1

    await ground.until("the poison is dead and the others are done", others_are_done)
    assert ground.workers.is_alive(worker)
    ((name, attempts, failure),) = await fetch(
        ground.database, "SELECT name, attempts, failure FROM jobs WHERE state = 'failed'"
    )
    assert (name, attempts) == ("tests.poison", jobs.MOST_ATTEMPTS)
    assert "its worker" in str(failure)
    assert await ground.outcomes("tests.poison") == {"lost": 1}


async def test_a_periodic_job_runs_once_in_each_interval_however_many_workers_there_are(ground: Ground) -> None:
    for _ in range(4):
        ground.workers.start()

    async def has_ticked() -> bool:
        return (await ground.outcomes("tests.tick"))["done"] >= 5

    await ground.until("the fifth tick", has_ticked)
    ((created_at,),) = await fetch(ground.database, "SELECT created_at FROM jobs WHERE name = 'tests.tick'")
    rows = await fetch(ground.database, "SELECT started_at FROM runs WHERE name = 'tests.tick'")
    began = _moment(created_at)
    seconds = Counter(int((_moment(started_at) - began).total_seconds()) for (started_at,) in rows)
    assert set(seconds.values()) == {1}, seconds
    assert await ground.outcomes("tests.tick") == {"done": len(rows)}


async def test_a_worker_gives_its_jobs_back_when_it_is_asked_to_end(ground: Ground) -> None:
    await ground.ask("tests.waits_once", 3)
    worker = ground.workers.start()
    await ground.until("the worker began", _is_there(ground.folder / f"began-{worker}"))
    os.kill(worker, signal.SIGTERM)
    ground.workers.wait_for_end(worker)
    found = await fetch(ground.database, "SELECT state, attempts FROM jobs WHERE name = 'tests.waits_once'")
    assert [tuple(row) for row in found] == [("waiting", 0)]
    assert await ground.outcomes("tests.waits_once") == {"put_off": 1}
    assert ground.workers.lines("worker_ended")


@pytest.mark.parametrize("server_engine", ["postgresql", "mariadb"])
async def test_workers_outlive_a_crash_of_the_database(
    server_engine: str, database_servers: DatabaseServers, tmp_path: Path
) -> None:
    # Asked first, so that a missing engine is skipped or fails by the same rule as everywhere.
    database_servers.address(server_engine)
    with ENGINES[server_engine]() as server:
        async for ground in _grounds(server.create_database("crash"), tmp_path):
            workers = [ground.workers.start() for _ in range(2)]
            await ground.ask("tests.once", *range(30))

            async def has_begun(ground: Ground = ground) -> bool:
                return bool(await ground.effects())

            await ground.until("the first effect", has_begun)
            server.kill()
            began_at_crash = ground.workers.start()
            await asyncio.sleep(0.5)
            server.start()

            async def all_done(ground: Ground = ground) -> bool:
                return await ground.count("done") == 30

            await ground.until("every job is done", all_done)
            assert all(ground.workers.is_alive(worker) for worker in [*workers, began_at_crash])
            found = await ground.effects()
            assert {key: count for key, count in found.items() if key[0] < 10_000} == {(n, 0): 1 for n in range(30)}


def _is_there(path: Path) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return path.exists()  # noqa: ASYNC240

    return look


def _moment(value: Any) -> datetime:
    """A time as any driver gives it."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found.replace(tzinfo=found.tzinfo or utc_now().tzinfo)
