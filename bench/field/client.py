"""A client of one server: one connection that is kept, one request after the other."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

_LONGEST_HEAD = 64 * 1024


class Client:
    """Sends `headers` with each request."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str] | None
    ) -> None:
        self._reader = reader
        self._writer = writer
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
        self._writer.write(f"{head}\r\n".encode() + content)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.answer_headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])
        }
        if "transfer-encoding" in self.answer_headers:
            raise RuntimeError(f"{method} {path}: an answer in chunks, which this client does not read")
        received = await self._reader.readexactly(int(self.answer_headers.get("content-length", "0")))
        return int(lines[0].split()[1]), received

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


@asynccontextmanager
async def connected(port: int, headers: Mapping[str, str] | None = None) -> AsyncIterator[Client]:
    """A client, closed with the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LONGEST_HEAD)
    client = Client(reader, writer, headers)
    try:
        yield client
    finally:
        client.close()
