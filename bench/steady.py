"""A steady load: requests that come at a fixed rate, whether or not those before them are answered.

`python -m bench.steady REQUESTS CONNECTIONS`, driven by lines of JSON: `{"port": …, "rate": …, "seconds": …}`. The
answer holds each request's latency, counted from the moment at which it was due, so that a stall shows in all who had
to wait for it.
"""

import asyncio
import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.load import on_the_wire

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_ANSWER_SECONDS = 60.0


class Connection:
    """A keep-alive connection that is lent to one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def send(self, request: bytes, expected: int) -> None:
        """Send one request and read its answer, which must have the expected status."""
        self._writer.write(request)
        head = await self._reader.readuntil(_HEAD_END)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(_LENGTH))
        body = await self._reader.readexactly(int(length[len(_LENGTH) :]))
        if int(head[9:12]) != expected:
            raise RuntimeError(f"unexpected answer: {head!r} {body[:500]!r}")


async def send_steadily(
    port: int, requests: list[tuple[bytes, int]], *, rate: float, seconds: float, connections: int
) -> list[float]:
    """Send for so many seconds; the latencies in seconds, in the order in which the requests were due."""
    opened = [Connection(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(connections)]
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in opened:
        idle.put_nowait(connection)

    async def one(due: float, request: bytes, expected: int) -> float:
        connection = await idle.get()
        await connection.send(request, expected)
        idle.put_nowait(connection)
        return time.perf_counter() - due

    begun = time.perf_counter()
    under_way = []
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        under_way.append(asyncio.create_task(one(due, *requests[number % len(requests)])))
    async with asyncio.timeout(_ANSWER_SECONDS):
        latencies = await asyncio.gather(*under_way)
    for connection in opened:
        connection.close()
    return latencies


def main() -> None:
    """Take tasks until the input ends."""
    with Path(sys.argv[1]).open("rb") as file:
        # The file is the parent's own, written a moment ago.
        scenarios: dict[str, Any] = pickle.load(file)  # noqa: S301
    by_scenario = [
        [(on_the_wire(*request), expected) for request in requests] for requests, expected in scenarios.values()
    ]
    # One of each scenario in turn.
    turns = max(len(requests) for requests in by_scenario)
    mixed = [requests[turn % len(requests)] for turn in range(turns) for requests in by_scenario]
    loop = uvloop.new_event_loop()
    for line in sys.stdin:
        task = json.loads(line)
        sending = send_steadily(
            task["port"], mixed, rate=task["rate"], seconds=task["seconds"], connections=int(sys.argv[2])
        )
        sys.stdout.write(json.dumps({"latencies": loop.run_until_complete(sending)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
