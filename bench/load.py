"""The load: keep-alive connections that send the requests of a scenario in turn, each the next when one is answered.

`python -m bench.load REQUESTS CONNECTIONS`, driven by lines of JSON. It runs in a process of its own, because its CPU
time does not count; it checks every status and adds up the bytes of the answers.
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

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, numbers: Iterator[int], turns: Iterator[bytes], expected: bytes) -> None:
        self._numbers = numbers
        self._turns = turns
        self._expected = expected
        self._received = bytearray()
        self._wanted = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.bytes_received = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._wanted:
            self._wanted = self._answer_length()
        if self._wanted and len(self._received) >= self._wanted:
            if self._received[9:12] != self._expected:
                self._fail(f"unexpected answer: {bytes(self._received[:2000])!r}")
                return
            self.bytes_received += len(self._received)
            self._received.clear()
            self._wanted = 0
            self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the server closed the connection: {exc}")

    def _send_next(self) -> None:
        if next(self._numbers, None) is None:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(next(self._turns))

    def _answer_length(self) -> int:
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return 0
        head = bytes(self._received[:head_end]).lower()
        start = head.index(_LENGTH) + len(_LENGTH)
        return head_end + len(_HEAD_END) + int(head[start:].partition(b"\r\n")[0])

    def _fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(reason))


async def send_all(port: int, requests: list[bytes], *, count: int, connections: int, expected: int) -> int:
    """Send `count` requests; how many bytes came back."""
    numbers, turns = iter(range(count)), itertools.cycle(requests)
    loop = asyncio.get_running_loop()
    opened = []
    for _ in range(connections):
        _, connection = await loop.create_connection(
            lambda: Connection(numbers, turns, str(expected).encode()), "127.0.0.1", port
        )
        opened.append(connection)
    await asyncio.gather(*(connection.done for connection in opened))
    return sum(connection.bytes_received for connection in opened)


def on_the_wire(method: str, path: str, token: str, body: dict[str, Any] | None) -> bytes:
    """A request as it is sent."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}"]
    lines += ["User-Agent: holdfast-bench", "Accept: application/json"]
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


def main() -> None:
    """Take tasks until the input ends."""
    with Path(sys.argv[1]).open("rb") as file:
        # The file is the parent's own, written a moment ago.
        scenarios = pickle.load(file)  # noqa: S301
    connections = int(sys.argv[2])
    loop = uvloop.new_event_loop()
    for line in sys.stdin:
        task = json.loads(line)
        requests, expected = scenarios[task["scenario"]]
        started = time.perf_counter()
        received = loop.run_until_complete(
            send_all(
                task["port"],
                [on_the_wire(*request) for request in requests],
                count=task["count"],
                connections=min(connections, task["count"]),
                expected=expected,
            )
        )
        seconds = time.perf_counter() - started
        answer = {"seconds": seconds, "bytes": received}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
