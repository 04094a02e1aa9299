"""The load that keeps times, and what is made of it."""

import asyncio

from bench.connections import table_of
from bench.report import Figure
from bench.timed import send_for

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_PAUSE_SECONDS = 0.02


async def test_every_answer_of_a_timed_load_has_its_latency() -> None:
    answered = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        while await reader.readline():
            await asyncio.sleep(_PAUSE_SECONDS)
            writer.write(_ANSWER)
            answered += 1
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        latencies, seconds = await send_for(port, [b"GET\n"], seconds=0.1, connections=3, expected=200)
    # The first of each connection does not count.
    assert len(latencies) == answered - 3 >= 3
    assert min(latencies) >= _PAUSE_SECONDS
    assert max(latencies) <= seconds
    assert seconds >= 0.1


def test_the_table_of_connections_has_a_line_for_each_side() -> None:
    measures = {"throughput": 1234.5, "p50": 1.0, "p99": 2.5, "CPU": 0.25}
    figures = [
        Figure("connections", "sqlite", f"reads, 16 at once, {side}: {name}", value, None, "")
        for side in ("Holdfast", "Django")
        for name, value in measures.items()
    ]
    figures.append(Figure("connections", "sqlite", "memory after the start, Django", 80.0, None, "MiB"))
    assert table_of(figures).splitlines()[2:] == [
        "| reads, 16 at once, Holdfast | 1234 | 1.00 | 2.50 | 0.25 |",
        "| reads, 16 at once, Django | 1234 | 1.00 | 2.50 | 0.25 |",
    ]
