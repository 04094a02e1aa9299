"""A load that keeps the time of each answer: `bench.load` for so many seconds instead of so many requests.

The connections are opened one after the other, each with a request that does not count. A server of libuv accepts one
in each turn of its loop, so that among busy ones the last would wait a second for its first answer.

`python -m bench.timed REQUESTS CONNECTIONS`, driven by lines of JSON: `{"scenario": …, "port": …, "seconds": …,
"connections": …}`, where the task's own connections count. The answer holds the latencies in seconds, and the seconds
from the first request to the last answer.
"""

import asyncio
import itertools
import json
import pickle
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.load import Connection, on_the_wire


class TimedConnection(Connection):
    """Notes when each request is sent, and how long its answer takes, once it was answered and is told to begin."""

    def __init__(self, numbers: Iterator[int], turns: Iterator[bytes], expected: bytes, latencies: list[float]) -> None:
        super().__init__(numbers, turns, expected)
        self._latencies = latencies
        self._sent_at: float | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._transport.write(next(self._turns))

    def begin(self) -> None:
        self._send_next()

    def _send_next(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)
            return
        now = time.perf_counter()
        if self._sent_at is not None:
            self._latencies.append(now - self._sent_at)
        self._sent_at = now
        super()._send_next()

    def _fail(self, reason: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(RuntimeError(reason))
        super()._fail(reason)


async def send_for(
    port: int, requests: list[bytes], *, seconds: float, connections: int, expected: int
) -> tuple[list[float], float]:
    """Keep all connections busy for so long; the latencies, and how long it took from then until the last answer."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    numbers, turns = _numbers_for(seconds), itertools.cycle(requests)
    opened = []
    for _ in range(connections):
        _, connection = await loop.create_connection(
            lambda: TimedConnection(numbers, turns, str(expected).encode(), latencies), "127.0.0.1", port
        )
        await connection.ready
        opened.append(connection)
    begun = time.perf_counter()
    for connection in opened:
        connection.begin()
    await asyncio.gather(*(connection.done for connection in opened))
    return latencies, time.perf_counter() - begun


def _numbers_for(seconds: float) -> Iterator[int]:
    """Numbers until so long after the first was asked for."""
    end = time.perf_counter() + seconds
    yield 0
    for number in itertools.count(1):
        if time.perf_counter() >= end:
            return
        yield number


def main() -> None:
    """Take tasks until the input ends."""
    with Path(sys.argv[1]).open("rb") as file:
        # The file is the parent's own, written a moment ago.
        scenarios: dict[str, Any] = pickle.load(file)  # noqa: S301
    loop = uvloop.new_event_loop()
    for line in sys.stdin:
        task = json.loads(line)
        requests, expected = scenarios[task["scenario"]]
        sending = send_for(
            task["port"],
            [on_the_wire(*request) for request in requests],
            seconds=task["seconds"],
            connections=task["connections"],
            expected=expected,
        )
        latencies, seconds = loop.run_until_complete(sending)
        sys.stdout.write(json.dumps({"latencies": latencies, "seconds": seconds}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
