"""How long and how large the head of a request may be: the parser itself would take any, from anybody."""

import asyncio
import http
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_STATUS = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_REFUSAL = f"HTTP/1.1 {_STATUS.value} {_STATUS.phrase}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()


class BoundedConnection(HttpToolsProtocol):
    """The library's connection, closed when a head (or a trailer) grows too large or does not come.

    Counted are the bytes that came without completing anything. What one read brings may exceed the limit.
    """

    largest_head_bytes: ClassVar[int] = 65_536
    longest_head_seconds: ClassVar[float] = 20

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unfinished_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > self.largest_head_bytes and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_message_begin(self) -> None:
        self._unfinished_bytes = 0
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._unfinished_bytes = 0
        self._expect_nothing()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def _expect_head(self) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(self.longest_head_seconds, self._close_unless_answering)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_unless_answering(self) -> None:
        cycle: Any = self.cycle  # None before the first request, whatever the library's annotation says
        if cycle is not None and not cycle.response_complete:
            # The next request began while this one is being answered.
            self._expect_head()
        else:
            self.transport.close()
