"""`holdfast serve`: the server in the foreground."""

import asyncio
import gc
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import typer
import uvicorn

from holdfast.app import create_app
from holdfast.cli.connections import BoundedConnection
from holdfast.core.errors import UnavailableError
from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.db.migrate import check_schema, migrate
from holdfast.settings import Settings, load_settings

_log = structlog.get_logger("holdfast.serve")
_SHUTDOWN_SECONDS = 20
# libuv accepts one connection from a socket in each turn of the loop. While 64 others are busy a turn takes some
# 40 ms, and the last of as many newcomers would wait for a second.
_ACCEPTED_IN_A_TURN = 8
_LETTING_IN_SECONDS = 0.2
_LETTING_IN_AT_MOST_SECONDS = 2.0


def serve() -> None:
    """Serve the API on HOLDFAST_HOST and HOLDFAST_PORT (127.0.0.1:8080) until SIGTERM or Ctrl-C.

    An embedded SQLite database is made and upgraded at the start; on PostgreSQL and MariaDB run `holdfast migrate`
    first. Requests under way are finished before the end.
    """
    # Nearly all that is made until the server is ready stays; it is looked through once, by `_Server.startup`.
    gc.disable()
    settings = load_settings(os.environ)
    configure_logs(settings.log_level, settings.log_format)
    asyncio.run(_prepare(settings))
    listening = listen(settings.host, settings.port)
    host, port = listening.getsockname()[:2]
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        loop="uvloop",
        http=BoundedConnection,
        server_header=False,
        date_header=True,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    typer.echo(f"Holdfast serves http://{host}:{port}/api/v1 (Ctrl-C ends it).", err=True)
    server = _Server(config)
    server.run(sockets=[listening, *(listening.dup() for _ in range(_ACCEPTED_IN_A_TURN - 1))])
    if not server.started:
        raise typer.Exit(3)


class _Server(uvicorn.Server):
    """The library's server, which ends with status 0 when it was asked to end."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the library's; what is there then is left out of garbage collections from now on.

        A full one would look through all modules, routes and statements, and stop every request for 0.1 s.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.enable()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As the library's, after all who have connected already are let in: closing would turn them away unheard.

        A balancer could not tell such a request from one that was carried out, and repeats none that changes anything.
        """
        for each in sockets or []:
            # From now on the kernel lets newcomers wait, and soon tells them that nobody listens.
            each.listen(0)
        await self._let_in()
        await super().shutdown(sockets)

    async def _let_in(self) -> None:
        """Accept until nobody new came for a moment; a busy server has many to let in."""
        connections = self.server_state.connections
        deadline = time.monotonic() + _LETTING_IN_AT_MOST_SECONDS
        while time.monotonic() < deadline:
            known = set(connections)
            await asyncio.sleep(_LETTING_IN_SECONDS)
            if connections <= known:
                return

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the library's, without raising the signal again after everything was ended in order."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()


async def _prepare(settings: Settings) -> None:
    address = parse_address(settings.resolved_database_url)
    if address.dialect_name == "sqlite":
        await migrate(address)
    status = await check_schema(address)
    if status.is_ahead:
        _log.warning("schema_is_ahead", revision=status.current, this_version=status.head)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; a port of 0 takes any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {error.strerror}; set HOLDFAST_HOST, and HOLDFAST_PORT or --metrics-port"
        ) from error
    listening.listen(2048)
    return listening
