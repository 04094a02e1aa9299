"""The head of a request is neither endless nor endlessly awaited, whoever sends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from holdfast.cli.connections import BoundedConnection

START = b"GET / HTTP/1.1\r\nHost: x\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HurriedConnection(BoundedConnection):
    longest_head_seconds = 0.05


async def answer_when_read(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = str(size).encode()
    headers = [(b"connection", b"close"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def connected(kind: type[BoundedConnection], app: Any = answer_when_read) -> AsyncIterator[Streams]:
    config = uvicorn.Config(app, log_config=None)
    state = ServerState()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: kind(config, state, {}), "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def is_closed_while_sending(writer: asyncio.StreamWriter, piece: bytes) -> bool:
    """Whether the other side closes before it has been sent 50 MB more."""
    try:
        for _ in range(50_000_000 // len(piece)):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        return True
    return False


async def answer_in_parts(scope: Any, receive: Any, send: Any) -> None:
    """The first part of the body is half of it where the path asks for that."""
    headers = [(b"content-length", b"4"), (b"x-first", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/parts":
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"cd"})
    elif scope["path"] == "/wrong":
        await send({"type": "http.response.body", "body": b"too long"})
    else:
        await send({"type": "http.response.body", "body": b"abcd"})


@pytest.mark.parametrize("path", [b"/whole", b"/parts"])
async def test_one_connection_answers_one_request_after_the_other(path: bytes) -> None:
    async with connected(BoundedConnection, answer_in_parts) as (reader, writer):
        for _ in range(3):
            writer.write(START.replace(b"/", path, 1) + b"\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nx-first: 1\r\n" in head
            assert b"\r\ncontent-length: 4\r\n" in head
            assert await reader.readexactly(4) == b"abcd"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with connected(BoundedConnection, answer_in_parts) as (reader, writer):
        writer.write((START.replace(b"/", b"/parts", 1) + b"\r\n" + START + b"\r\n") * 2)
        answers = [await reader.readuntil(b"abcd") for _ in range(4)]
        assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)


async def test_an_answer_of_another_length_than_it_says_is_not_passed_on() -> None:
    async with connected(BoundedConnection, answer_in_parts) as (reader, writer):
        writer.write(START.replace(b"/", b"/wrong", 1) + b"\r\n")
        async with asyncio.timeout(30):
            assert b"too long" not in await reader.read()


@pytest.mark.parametrize("piece", [b"a" * 65_536, b"X-More: a\r\n" * 5_000], ids=["one header", "many headers"])
async def test_an_endless_head_is_refused(piece: bytes) -> None:
    async with connected(BoundedConnection) as (_, writer):
        writer.write(START + b"X-First: ")
        assert await is_closed_while_sending(writer, piece)


async def test_an_endless_trailer_is_refused() -> None:
    async with connected(BoundedConnection) as (_, writer):
        writer.write(START.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
        assert await is_closed_while_sending(writer, b"X-More: a\r\n" * 5_000)


async def test_a_large_body_in_small_chunks_is_read() -> None:
    async with connected(BoundedConnection) as (reader, writer):
        writer.write(START.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            writer.write(b"2\r\nab\r\n" * 1_000)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n200000")


@pytest.mark.parametrize("begun", [b"", START], ids=["nothing came", "half a head came"])
async def test_a_head_that_does_not_come_is_not_awaited(begun: bytes) -> None:
    async with connected(HurriedConnection) as (reader, writer):
        writer.write(begun)
        async with asyncio.timeout(10):
            assert await reader.read() == b""


async def test_a_slow_body_is_awaited() -> None:
    async with connected(HurriedConnection) as (reader, writer):
        writer.write(START.replace(b"GET", b"POST") + b"Content-Length: 1\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4 * HurriedConnection.longest_head_seconds):
                await reader.read()
        writer.write(b"x")
        assert (await reader.read()).endswith(b"\r\n\r\n1")
