"""The real `holdfast serve` and `holdfast recover`, killed at a chosen moment.

`python -m tests.lifecycle.dying_commands` reads lines of JSON. For each a process is forked that runs the command line
as it stands, with the order's words and settings; importing it once is what makes hundreds of starts affordable. With a
moment to die at, the process counts the ends of statements, the commits and the files brought to the disk, and sends
itself SIGKILL: no handler, no `finally`, no ROLLBACK. Without one nothing in it is touched.
"""

import gc
import os
import select
import signal
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NoReturn

import anyio._backends._asyncio  # noqa: F401 - imported with the first request otherwise
import msgspec
import uvloop  # noqa: F401 - imported with the first event loop otherwise
from litestar.types import ASGIApp, Receive, Send

import holdfast.app
import holdfast.cli.main
import holdfast.cli.recover
import holdfast.cli.serve
import holdfast.cli.worker
import holdfast.db.server_connection  # imported with the first check of a server's schema otherwise
import holdfast.worker.loop
from holdfast.db.engines import load_engine
from holdfast.db.engines.base import Database
from holdfast.db.statements import Command, Statement
from holdfast.settings import Settings
from tests.lifecycle.killing import Death, Moments

# A worker looks for jobs every few seconds; one that is to die must not be waited for that long each time.
_POLL_SECONDS = 0.02

_is_counted: ContextVar[bool] = ContextVar("is_counted", default=False)


class CommandOrder(msgspec.Struct, frozen=True):
    """A command, its environment, the file of its output, and when it dies (`dies_at` 0: never by itself).

    Moments count in the request `METHOD /path`, and in all the process does from a statement of this name on; from
    its start on where neither is given.
    """

    words: list[str]
    environment: dict[str, str]
    output: str
    dies_at: int = 0
    in_request: str | None = None
    from_statement: str | None = None


class CommandMoments(Moments):
    """Counts what the order asks for."""

    def __init__(self, order: CommandOrder) -> None:
        super().__init__(order.dies_at)
        self._in_request = order.in_request
        self._from_statement = order.from_statement
        self._has_begun = order.in_request is None and order.from_statement is None

    def pass_one(self) -> None:
        """A moment, if it counts."""
        if self._has_begun or _is_counted.get():
            super().pass_one()

    def pass_statement(self, statement: Statement) -> None:
        """The end of a statement: a moment if it writes. Who dies after a read leaves what they left before."""
        self._has_begun = self._has_begun or statement.name == self._from_statement
        if isinstance(statement, Command):
            self.pass_one()

    def watch_opened(self, open_database: Callable[[Settings], Database]) -> Callable[[Settings], Database]:
        """The function that opens the database of a process, watched."""

        def open_watched(settings: Settings) -> Database:
            database = open_database(settings)
            self.watch(database)
            return database

        return open_watched

    def watch_requests(self, create_app: Callable[..., ASGIApp]) -> Callable[..., ASGIApp]:
        """The function that makes the application, which tells the request that counts from others."""

        def create_watched(settings: Settings) -> ASGIApp:
            app = create_app(settings)

            async def serve(scope: Any, receive: Receive, send: Send) -> None:
                if scope["type"] == "http" and f"{scope['method']} {scope['path']}" == self._in_request:
                    _is_counted.set(True)
                await app(scope, receive, send)

            return serve

        return create_watched


def run(order: CommandOrder) -> NoReturn:
    """Run the command in this process, to its end."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        del os.environ[name]
    os.environ.update(order.environment)
    sys.argv = ["holdfast", *order.words]
    output = os.open(order.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, standard in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, standard)
    if order.dies_at:
        let_die(CommandMoments(order))
    holdfast.cli.main.main()
    raise SystemExit


def let_die(moments: CommandMoments) -> None:
    """Put the moments where the commands find their database and their application."""
    product: Any
    for product in (holdfast.app, holdfast.cli.recover):
        product.open_database = moments.watch_opened(product.open_database)
    product = holdfast.cli.serve
    product.create_app = moments.watch_requests(product.create_app)
    product = holdfast.worker.loop
    product._POLL_SECONDS = _POLL_SECONDS


def load_everything() -> None:
    """Import what the commands import on their way, and leave it out of their garbage collections."""
    for engine in ("sqlite", "postgresql", "mariadb"):
        load_engine(engine)
    holdfast.app.describe_api(Settings())
    gc.collect()
    gc.freeze()


def wait_for_death(child: int, alive: int) -> Death:
    """How the process ended. An empty line, or the end of who gives the orders, kills it."""
    ready, _, _ = select.select([sys.stdin, alive], [], [])
    if alive not in ready:
        sys.stdin.buffer.readline()
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return Death(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status)


def main() -> None:
    """Answer orders until there are no more."""
    load_everything()
    while line := sys.stdin.buffer.readline():
        if not line.strip():
            # It was to be killed, and had died by then.
            continue
        order = msgspec.json.decode(line, type=CommandOrder)
        # Nobody writes to it: it ends with the process that holds its other end.
        alive, held = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(alive)
            run(order)
        os.close(held)
        death = wait_for_death(child, alive)
        os.close(alive)
        sys.stdout.write(msgspec.json.encode(death).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
