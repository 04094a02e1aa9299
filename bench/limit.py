"""The limit: the product's own statements in a bare driver loop, without HTTP and without the product.

`python -m bench.limit TRACES`, driven by lines of JSON; each asks for so many requests of one scenario. Rows are
fetched and left as the driver gives them.
"""

import asyncio
import itertools
import json
import pickle
import secrets
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import asyncmy
import asyncpg
import uvloop
from asyncmy.constants import CLIENT

try:
    import pysqlite3 as sqlite3
except ImportError:  # pragma: no cover - where there is no wheel
    import sqlite3

TraceOfRequest = list[tuple[str, list[Any], dict[int, int], bool]]


class Connection(ABC):
    """One connection of the bare loop."""

    begin = "BEGIN"

    @abstractmethod
    async def run(self, sql: str, arguments: list[Any]) -> Any: ...

    @abstractmethod
    async def control(self, sql: str) -> None: ...


class PostgresqlConnection(Connection):
    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._prepared: dict[str, Any] = {}

    async def run(self, sql: str, arguments: list[Any]) -> Any:
        prepared = self._prepared.get(sql)
        if prepared is None:
            prepared = self._prepared[sql] = await self._driver.prepare(sql)
        return await prepared.fetch(*arguments)

    async def control(self, sql: str) -> None:
        await self._driver.execute(sql)


class MariadbConnection(Connection):
    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def run(self, sql: str, arguments: list[Any]) -> Any:
        async with self._driver.cursor() as cursor:
            await cursor.execute(sql, arguments)
            return await cursor.fetchall()

    async def control(self, sql: str) -> None:
        await self.run(sql, [])


class SqliteConnection(Connection):
    # The lock of the writer from the start, as the product takes it: the serving process writes now and then, too.
    begin = "BEGIN IMMEDIATE"

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def run(self, sql: str, arguments: list[Any]) -> Any:
        return self._driver.execute(sql, arguments).fetchall()

    async def control(self, sql: str) -> None:
        self._driver.execute(sql)


async def connect(dialect_name: str, address: Any, number: int) -> list[Connection]:
    """As many connections, set up as the product sets up its own. SQLite needs one: its loop never waits."""
    if dialect_name == "postgresql":
        settings = {"jit": "off", "timezone": "UTC"}
        drivers = [await asyncpg.connect(address, server_settings=settings) for _ in range(number)]
        return [PostgresqlConnection(driver) for driver in drivers]
    if dialect_name == "mariadb":
        setup = "SET SESSION time_zone='+00:00', tx_isolation='READ-COMMITTED'"
        options = {"charset": "utf8mb4", "autocommit": True, "client_flag": CLIENT.FOUND_ROWS, "init_command": setup}
        return [MariadbConnection(await asyncmy.connect(**address, **options)) for _ in range(number)]
    driver = sqlite3.connect(address, isolation_level=None, cached_statements=1024)
    for pragma in ("journal_mode = WAL", "foreign_keys = ON", "synchronous = FULL", "cache_size = -16000"):
        driver.execute(f"PRAGMA {pragma}")
    return [SqliteConnection(driver)]


async def perform(connection: Connection, trace: TraceOfRequest, *, in_transaction: bool) -> None:
    """The statements of one request."""
    if not in_transaction:
        for sql, arguments, _, _ in trace:
            await connection.run(sql, arguments)
        return
    made: dict[int, str] = {}
    await connection.control(connection.begin)
    for sql, arguments, new_ids, _ in trace:
        values = list(arguments)
        for position, number in new_ids.items():
            if number not in made:
                made[number] = secrets.token_urlsafe(16)[:21]
            values[position] = made[number]
        await connection.run(sql, values)
    await connection.control("COMMIT")


async def perform_all(connections: list[Connection], traces: list[TraceOfRequest], count: int, *, write: bool) -> None:
    """`count` requests, shared by the connections."""
    numbers = iter(range(count))
    turns = itertools.cycle(traces)

    async def work(connection: Connection) -> None:
        for _ in numbers:
            await perform(connection, next(turns), in_transaction=write)

    await asyncio.gather(*(work(connection) for connection in connections))


def main() -> None:
    """Take tasks until the input ends."""
    with Path(sys.argv[1]).open("rb") as file:
        # The file is the parent's own, written a moment ago.
        dialect_name, address, number, scenarios = pickle.load(file)  # noqa: S301
    loop = uvloop.new_event_loop()
    connections = loop.run_until_complete(connect(dialect_name, address, number))
    for line in sys.stdin:
        task = json.loads(line)
        traces, write = scenarios[task["scenario"]]
        loop.run_until_complete(perform_all(connections, traces, task["count"], write=write))
        sys.stdout.write(json.dumps({"done": task["count"]}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
