"""A running Holdfast for tests: real HTTP on a loopback port, and a database of its own for what a test writes."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy import delete

from holdfast.app import create_app
from holdfast.cli.connections import BoundedConnection
from holdfast.db.engines.base import Database
from holdfast.db.open import open_database
from holdfast.db.retries import with_retries
from holdfast.db.statements import Command
from holdfast.db.tables import metadata
from holdfast.features.groups.types import FirstStart
from holdfast.settings import Settings
from tests.servers.postgresql import find_binaries
from tests.servers.process import EngineMissingError

_END_SECONDS = 60
_CLEARING = [Command(f"tests.clear_{table.name}", delete(table)) for table in reversed(metadata.sorted_tables)]


class Instance:
    """A running Holdfast: its settings, its address, and a database of its own for what a test writes directly."""

    def __init__(self, engine: str, settings: Settings, base_url: str, database: Database) -> None:
        self.engine = engine
        self.settings = settings
        self.base_url = base_url
        self.database = database
        self._clients: list[httpx.AsyncClient] = []

    def client(self, token: str | None = None, **options: Any) -> httpx.AsyncClient:
        """A client with the token, for paths below /api/v1."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.AsyncClient(base_url=self.base_url + "/api/v1", headers=headers, timeout=30, **options)
        self._clients.append(client)
        return client

    async def close_clients(self) -> None:
        """Close the clients that a test made."""
        while self._clients:
            await self._clients.pop().aclose()

    async def clear(self) -> None:
        """Delete every row; again where somebody's last act comes in between."""

        async def attempt() -> None:
            async with self.database.write() as tx:
                for command in _CLEARING:
                    await tx.execute(command)

        await with_retries(attempt)


def instance_settings(database_url: str, data_dir: Path, **changes: Any) -> Settings:
    """The settings of an instance in tests."""
    values: dict[str, Any] = {
        "database_url": database_url,
        "data_dir": data_dir,
        "port": 0,
        "access_log": False,
        "worker_in_server": False,
        "sign_in_attempts": 1000,
        "pool_max_open": 60,
        "pool_wait_seconds": 20,
        # Those of the server that the tests run on.
        "postgresql_bin": postgresql_programs(),
    }
    return Settings(**values | changes)


def postgresql_programs() -> str:
    """The folder of the programs of the tests' own server, if there is one."""
    try:
        return str(find_binaries())
    except EngineMissingError:
        return ""


async def _ended(ending: Coroutine[Any, Any, None] | asyncio.Task[None]) -> None:
    """Wait for an end; one that does not come fails with what every task waits for."""
    task = asyncio.ensure_future(ending)
    await asyncio.wait([task], timeout=_END_SECONDS)
    if task.done():
        await task
        return
    told = io.StringIO()
    for each in asyncio.all_tasks():
        each.print_stack(file=told)
    task.cancel()
    raise RuntimeError(f"this did not end in {_END_SECONDS} seconds:\n{told.getvalue()}")


@asynccontextmanager
async def run_instance(
    engine: str, settings: Settings, *, announce: Callable[[FirstStart], None] | None = None
) -> AsyncIterator[Instance]:
    """Serve real HTTP on a free loopback port while the block runs; `announce` is told of a first start."""
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, announce=announce),
            host="127.0.0.1",
            port=0,
            log_config=None,
            lifespan="on",
            access_log=False,
            http=BoundedConnection,
            timeout_graceful_shutdown=5,
        )
    )
    serving = asyncio.create_task(server._serve())
    while not server.started:
        if serving.done():
            await serving
            raise RuntimeError("the server ended before it started")
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    database = open_database(settings)
    try:
        await database.start()
        try:
            yield Instance(engine, settings, f"http://127.0.0.1:{port}", database)
        finally:
            await _ended(database.stop())
    finally:
        server.should_exit = True
        await _ended(serving)
