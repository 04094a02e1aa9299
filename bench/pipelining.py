"""The statements of one request on PostgreSQL by psycopg, one after another and in its pipeline mode, and by asyncpg.

`python -m bench.pipelining TRACES`, driven by lines of JSON: `{"way": …, "scenario": …, "connections": …, "count": …}`.
"""

import asyncio
import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from bench.limit import Connection, connect, perform_all

ASYNCPG = "asyncpg, one after another"
PSYCOPG = "psycopg, one after another"
AWAITED = "psycopg, in a pipeline, what look-ups find awaited"
PIPELINED = "psycopg, all in one pipeline"
WAYS = (ASYNCPG, PSYCOPG, AWAITED, PIPELINED)


class PsycopgConnection(Connection):
    """Each statement waits for its answer."""

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self._driver = driver

    async def run(self, sql: str, arguments: list[Any]) -> Any:
        cursor = await self._driver.execute(sql, arguments, prepare=True)
        return await cursor.fetchall() if cursor.description else None

    async def control(self, sql: str) -> None:
        await self._driver.execute(sql, prepare=False)


class PipelinedConnection(Connection):
    """From BEGIN to COMMIT nothing waits, or only what reads does: a program decides by what its look-ups find."""

    def __init__(self, driver: psycopg.AsyncConnection[Any], *, awaits_reads: bool) -> None:
        self._driver = driver
        self._awaits_reads = awaits_reads
        self._pipeline = driver.pipeline()
        self._unread: list[psycopg.AsyncCursor[Any]] = []

    async def run(self, sql: str, arguments: list[Any]) -> Any:
        cursor = await self._driver.execute(sql, arguments, prepare=True)
        if not sql.startswith("SELECT"):
            return None
        if self._awaits_reads:
            return await cursor.fetchall()
        self._unread.append(cursor)
        return None

    async def control(self, sql: str) -> None:
        if sql == self.begin:
            self._pipeline = self._driver.pipeline()
            await self._pipeline.__aenter__()
        await self._driver.execute(sql, prepare=False)
        if sql == "COMMIT":
            await self._pipeline.__aexit__(None, None, None)
            for cursor in self._unread:
                await cursor.fetchall()
            self._unread.clear()


async def connections_of(way: str, address: str, number: int) -> list[Connection]:
    """As many connections of a way."""
    if way == ASYNCPG:
        return await connect("postgresql", address, number)
    drivers = [await _psycopg(address) for _ in range(number)]
    if way == PSYCOPG:
        return [PsycopgConnection(driver) for driver in drivers]
    return [PipelinedConnection(driver, awaits_reads=way == AWAITED) for driver in drivers]


async def _psycopg(address: str) -> psycopg.AsyncConnection[Any]:
    # The raw cursor takes the statements as PostgreSQL and asyncpg do, with $1.
    return await psycopg.AsyncConnection.connect(
        address, autocommit=True, cursor_factory=psycopg.AsyncRawCursor, options="-c jit=off -c timezone=UTC"
    )


def main() -> None:
    """Take tasks until the input ends."""
    with Path(sys.argv[1]).open("rb") as file:
        # The file is the parent's own, written a moment ago.
        _, address, number, scenarios = pickle.load(file)  # noqa: S301
    loop = uvloop.new_event_loop()
    # Psycopg asks which loop runs while it connects.
    asyncio.set_event_loop(loop)
    ways = {way: loop.run_until_complete(connections_of(way, address, number)) for way in WAYS}
    for line in sys.stdin:
        task = json.loads(line)
        traces, write = scenarios[task["scenario"]]
        chosen = ways[task["way"]][: task["connections"]]
        started = time.perf_counter()
        loop.run_until_complete(perform_all(chosen, traces, task["count"], write=write))
        sys.stdout.write(json.dumps({"seconds": time.perf_counter() - started}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
