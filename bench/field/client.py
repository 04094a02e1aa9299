"""A client of one server: one connection that is kept, one request after the other."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

_LONGEST_HEAD = 64 * 1024


class Client:
    """Sends `headers` with each request."""

    def __init__(self, port: int, headers: Mapping[str, str] | None) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        sent = {"Host": "127.0.0.1", "Accept": "application/json", "User-Agent": "holdfast-bench"} | dict(headers or {})
        self._head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self.answer_headers: dict[str, str] = {}

    async def ask(self, method: str, path: str, body: Any = None, *, expected: int = 200) -> bytes:
        """The body of the answer. Raises RuntimeError where it has not the expected status."""
        status, received = await self.try_to(method, path, body)
        if status != expected:
            raise RuntimeError(f"{method} {path}: {status} {received[:1000]!r}")
        return received

    async def try_to(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """The status and the body of the answer."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\n{self._head}"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        elif method != "GET":
            head += "Content-Length: 0\r\n"
        reader, writer = await self.open()
        writer.write(f"{head}\r\n".encode() + content)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.answer_headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])
        }
        if "transfer-encoding" in self.answer_headers:
            raise RuntimeError(f"{method} {path}: an answer in chunks, which this client does not read")
        received = await reader.readexactly(int(self.answer_headers.get("content-length", "0")))
        if self.answer_headers.get("connection", "").lower() == "close":
            # As waitress does after an answer without a body.
            self.close()
        return int(lines[0].split()[1]), received

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The two ends of the connection, opened where it is not."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_LONGEST_HEAD)
        return self._reader, self._writer

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@asynccontextmanager
async def connected(port: int, headers: Mapping[str, str] | None = None) -> AsyncIterator[Client]:
    """A client, closed with the block."""
    client = Client(port, headers)
    try:
        await client.open()
        yield client
    finally:
        client.close()
