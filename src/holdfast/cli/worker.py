"""`holdfast worker`: a worker in the foreground, beside servers that run none."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated

import structlog
import typer
import uvicorn
import uvloop

from holdfast import __version__
from holdfast.app import create_probes
from holdfast.cli.connections import BoundedConnection
from holdfast.cli.serve import listen
from holdfast.core.errors import UnavailableError
from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import check_schema
from holdfast.db.open import open_database
from holdfast.settings import Settings, load_settings
from holdfast.worker.loop import work as run_jobs

_log = structlog.get_logger("holdfast.worker")
_LONGEST_PAUSE_SECONDS = 10.0
_SHUTDOWN_SECONDS = 2


def work(
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            min=0,
            max=65_535,
            help="Serve /healthz, /readyz and /metrics on this port of HOLDFAST_HOST; 0 takes a free one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C: purges, cleanups, and all that is due by the schedule.

    Start as many as you like, on any machine that sees the database and HOLDFAST_BUNDLE_DIR; each job is run by one of
    them. Servers beside it may have HOLDFAST_WORKER_IN_SERVER=false. A database that is away is waited for. Jobs under
    way at the end are finished, or put back when they take long.

    Example: holdfast worker --metrics-port 9090
    """
    settings = load_settings(os.environ)
    configure_logs(settings.log_level, settings.log_format)
    with contextlib.ExitStack() as stack:
        listening = None
        if metrics_port is not None:
            listening = stack.enter_context(listen(settings.host, metrics_port))
        uvloop.run(_work(settings, listening))


async def _work(settings: Settings, listening: socket.socket | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = open_database(settings)
    async with AsyncExitStack() as stack:
        if listening is not None:
            await stack.enter_async_context(_probes(settings, database, listening))
        if not await _start(settings, database, stop):
            return
        stack.push_async_callback(database.stop)
        typer.echo("Holdfast works on jobs (Ctrl-C ends it).", err=True)
        _log.info("worker_started", version=__version__, concurrency=settings.worker_concurrency)
        await run_jobs(database, settings, stop)
        _log.info("worker_ended")


async def _start(settings: Settings, database: Database, stop: asyncio.Event) -> bool:
    """Check the schema and open the first connection, however long the database is away; False when asked to end."""
    address = parse_address(settings.resolved_database_url)
    pause_seconds = 0.5
    while not stop.is_set():
        try:
            status = await check_schema(address)
            await database.start()
        except UnavailableError as error:
            _log.warning("worker_waits", code=error.code, reason=error.message)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
        else:
            if status.is_ahead:
                _log.warning("schema_is_ahead", revision=status.current, this_version=status.head)
            return True
    return False


class _Probes(uvicorn.Server):
    """The library's server, which leaves the signals to the worker."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is caught."""
        yield


@asynccontextmanager
async def _probes(settings: Settings, database: Database, listening: socket.socket) -> AsyncIterator[None]:
    """Answer probes and scrapers while the block runs."""
    config = uvicorn.Config(
        create_probes(settings, database),
        log_config=None,
        access_log=False,
        lifespan="off",
        http=BoundedConnection,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    server = _Probes(config)
    host, port = listening.getsockname()[:2]
    typer.echo(f"Probes and metrics are at http://{host}:{port}/metrics", err=True)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving
