"""The server's connections: bounded heads, since the parser would take any from anybody, and answers in one write."""

import asyncio
import http
from functools import lru_cache
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

_STATUS = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_REFUSAL = f"HTTP/1.1 {_STATUS.value} {_STATUS.phrase}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()


class BoundedConnection(HttpToolsProtocol):
    """The library's connection, closed when a head (or a trailer) grows too large or does not come.

    When the server ends, a request that is on its way is waited for, answered, and told that it was the last one.

    Counted are the bytes that came without completing anything. What one read brings may exceed the limit.
    """

    largest_head_bytes: ClassVar[int] = 65_536
    longest_head_seconds: ClassVar[float] = 20
    last_request_seconds: ClassVar[float] = 0.5

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unfinished_bytes = 0
        self._head_began: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._is_ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_began = self.loop.time()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > self.largest_head_bytes and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = _OneWrite
        if self._is_ending:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """As the library's, but what was sent before the client could know of the end is still answered."""
        if self._is_idle():
            self._is_ending = True
            self.loop.call_later(self.last_request_seconds, self._close_if_idle)
        else:
            super().shutdown()

    def _is_idle(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever the library's annotation says
        return cycle is None or bool(cycle.response_complete)

    def _close_if_idle(self) -> None:
        if self._is_idle() and not self.transport.is_closing():
            self.transport.close()

    def on_message_begin(self) -> None:
        self._unfinished_bytes = 0
        self._head_began = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._unfinished_bytes = 0
        self._head_began = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def _look(self) -> None:
        """Close where a head has not come in time. One timer for the connection: one for each request costs more."""
        began = self._head_began
        left = self.longest_head_seconds if began is None else began + self.longest_head_seconds - self.loop.time()
        cycle: Any = self.cycle  # None before the first request, whatever the library's annotation says
        if left <= 0 and cycle is not None and not cycle.response_complete:
            # The next request began while this one is being answered.
            left = self.longest_head_seconds
        if left > 0:
            self._watch = self.loop.call_later(left, self._look)
        else:
            self.transport.close()


class _OneWrite(RequestResponseCycle):
    """The library's answer, but head and body of a plain one leave together.

    Two writes cost two system calls and two packets; checking and joining eleven headers costs as much again, and
    nearly all of them are the same each time. What is not plain goes the library's way.
    """

    _head: Any = None

    async def send(self, message: Any) -> None:
        head = self._head
        if head is None:
            if message["type"] == "http.response.start" and self._is_plain(message):
                self._head = message
            else:
                await super().send(message)
            return
        self._head = None
        body = message.get("body", b"")
        length = (b"content-length", b"%d" % len(body))
        if message.get("more_body", False) or length not in head["headers"]:
            await super().send(head)
            await super().send(message)
            return
        lines = [STATUS_LINE[head["status"]]]
        lines += [_line(header) for header in self.default_headers]
        lines += [_line(header) for header in head["headers"]]
        lines += (b"\r\n", body)
        self.transport.write(b"".join(lines))
        self.waiting_for_100_continue = False
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.on_response()

    def _is_plain(self, message: Any) -> bool:
        return (
            not self.response_started
            and not self.disconnected
            and not self.flow.write_paused
            and self.keep_alive
            and self.scope["method"] != "HEAD"
            and not any(name in _OF_THE_CONNECTION for name, _ in message["headers"])
        )


_OF_THE_CONNECTION = frozenset({b"connection", b"transfer-encoding"})


@lru_cache(maxsize=512)
def _line(header: tuple[bytes, bytes]) -> bytes:
    name, value = header
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        raise RuntimeError(f"a header cannot be {name!r}: {value!r}")
    return b"%b: %b\r\n" % header
