"""A server that is asked to end turns nobody away who has connected already: no balancer repeats a POST by itself."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.ha.replicas import FIRST_PASSWORD
from tests.replicas.processes import processes
from tests.replicas.releases import this_release

pytestmark = pytest.mark.slow
_CALLERS = 24
_REQUESTS_BEFORE = 8
_PATIENCE_SECONDS = 60


class _Caller:
    """Sends one request after the other until the server does not listen any more."""

    def __init__(self, host: str, port: int, request: bytes, *, keeps: bool) -> None:
        self._address = (host, port)
        self._request = request
        self._keeps = keeps
        self.came_to: Counter[str] = Counter()
        self.is_under_way = asyncio.Event()

    async def repeat(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._address)
            except OSError:
                return
            try:
                await self._ask(reader, writer)
            except OSError as error:
                self.came_to[type(error).__name__] += 1
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(self._request)
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            except asyncio.IncompleteReadError as error:
                self.came_to["cut off" if error.partial else "unheard"] += 1
                return
            (length,) = [line.split()[1] for line in head.splitlines() if line.startswith("content-length:")]
            await reader.readexactly(int(length))
            self.came_to[head.split()[1]] += 1
            if self.came_to["200"] == _REQUESTS_BEFORE:
                self.is_under_way.set()
            if not self._keeps or "connection: close" in head:
                return


@pytest.mark.parametrize("keeps", [False, True], ids=["a connection a request", "connections are kept"])
async def test_requests_on_their_way_are_answered(keeps: bool, tmp_path: Path) -> None:
    with processes(tmp_path, f"sqlite:///{tmp_path}/holdfast.db") as started:
        server = started.ready_server(this_release(), worker_in_server="false")
        signing_in = {"username": "admin", "password": FIRST_PASSWORD}
        async with httpx.AsyncClient(timeout=_PATIENCE_SECONDS) as client:
            token = (await client.post(f"{server.url}/api/v1/sessions", json=signing_in)).json()["token"]
        host, _, port = server.url.removeprefix("http://").partition(":")
        lines = ["GET /api/v1/me HTTP/1.1", "Host: holdfast", f"Authorization: Bearer {token}"]
        lines += [] if keeps else ["Connection: close"]
        request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        callers = [_Caller(host, int(port), request, keeps=keeps) for _ in range(_CALLERS)]
        calling = [asyncio.create_task(caller.repeat()) for caller in callers]
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await asyncio.gather(*(caller.is_under_way.wait() for caller in callers))
            server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*calling)
        assert await asyncio.to_thread(server.process.wait, _PATIENCE_SECONDS) == 0
    came_to = sum((caller.came_to for caller in callers), Counter[str]())
    unanswered = came_to.total() - came_to["200"]
    # One may come in the moment in which the socket is closed. Without the care taken, most of these callers did.
    assert unanswered <= 1, came_to
