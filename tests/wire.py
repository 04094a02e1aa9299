"""A wire to a database server that loses what a test says, at the byte where it says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit


class Loses(StrEnum):
    """What the wire does when it comes to the text that it waits for."""

    REQUEST = "request"
    ANSWER = "answer"


class Wire:
    """Forwards connections. `lose` makes it break one, `be_silent` makes everything vanish without a word."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._expected: tuple[bytes, Loses] | None = None
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.lost = 0
        self.connections = 0

    def lose(self, what: Loses, at: bytes) -> None:
        """Break the next connection on which a client sends the text: before the server gets it, or answers it."""
        self._expected = (at, what)

    def be_silent(self) -> None:
        """Forward nothing more, in no direction, and tell nobody."""
        self._speaks.clear()

    def lead_nowhere(self) -> None:
        """From now on the server is not reached: who connects is turned away."""
        self._port = 1

    def speak(self) -> None:
        self._speaks.set()

    async def break_all(self) -> None:
        """Break all connections; new ones are forwarded again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A task that never ran has closed nothing.
        while self._writers:
            await self._close(self._writers.pop())

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._speaks.wait()
            self.connections += 1
            there, to_there = await asyncio.open_connection(self._host, self._port)
        except BaseException as error:
            await self._close(writer)
            if isinstance(error, OSError):
                return
            raise
        self._writers.add(to_there)
        answers_lost = asyncio.Event()

        def spoil(sent: bytes) -> bool:
            """Whether the connection breaks before this is forwarded."""
            if self._expected is None or self._expected[0] not in sent:
                return False
            _, what = self._expected
            self._expected = None
            self.lost += 1
            if what is Loses.REQUEST:
                return True
            answers_lost.set()
            return False

        pumps = [
            asyncio.create_task(self._pump(reader, to_there, spoil)),
            asyncio.create_task(self._pump(there, writer, lambda _: answers_lost.is_set())),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await self._close(writer)
            await self._close(to_there)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, breaks: Callable[[bytes], bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._speaks.wait()
                if breaks(data):
                    return
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[tuple[Wire, str]]:
    """A wire to the server of an address, and the address that leads over it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    wire = Wire(parts.hostname, parts.port)
    server = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield wire, urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))
    finally:
        wire.speak()
        server.close()
        await wire.break_all()
