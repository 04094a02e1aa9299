"""A process that kills itself: `python -m tests.lifecycle.killing` runs acts in children that die by SIGKILL.

It reads a line of JSON for each act and answers with a line. The act runs in a fork, so that what is imported once is
there for every death. Moments are counted at the end of each statement, after each commit, and after each file that is
brought to the disk or renamed; at the chosen one the fork sends itself SIGKILL: no handler, no `finally`, no ROLLBACK.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.logs import configure_logs
from holdfast.db.engines.base import Database, Isolation, Transaction
from holdfast.db.open import open_database
from holdfast.db.statements import Statement
from tests.instance import instance_settings
from tests.lifecycle.world import World


class Order(msgspec.Struct, frozen=True):
    """An act, and the moment at which its process dies (0: never)."""

    database_url: str
    data_dir: str
    actor_id: str
    act: str
    arguments: list[str]
    dies_at: int


class Death(msgspec.Struct, frozen=True):
    """How an act's process ended: by the signal, or by itself with this status."""

    was_killed: bool
    status: int


class Moments:
    """Counts moments, and ends the process at the chosen one."""

    def __init__(self, dies_at: int) -> None:
        self._left = dies_at

    def pass_one(self) -> None:
        """A moment."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def pass_statement(self, statement: Statement) -> None:
        """The end of a statement."""
        self.pass_one()

    def watch(self, database: Database) -> None:
        """Count the statements and commits of a database, and what reaches the disk."""
        observe, write = Transaction._observe, database.write

        def observe_and_pass(tx: Transaction, statement: Statement, started: float, rows: int) -> None:
            observe(tx, statement, started, rows)
            self.pass_statement(statement)

        @asynccontextmanager
        async def write_and_pass(isolation: Isolation = Isolation.READ_COMMITTED) -> AsyncIterator[Transaction]:
            async with write(isolation) as tx:
                yield tx
            self.pass_one()

        Transaction._observe = observe_and_pass  # type: ignore[assignment, method-assign]
        database.write = write_and_pass  # type: ignore[method-assign]
        os.fsync = self._then_pass(os.fsync)
        os.replace = self._then_pass(os.replace)
        os.rename = self._then_pass(os.rename)

    def _then_pass(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def call_and_pass(*arguments: Any, **options: Any) -> Any:
            result = call(*arguments, **options)
            self.pass_one()
            return result

        return call_and_pass


async def run(order: Order) -> None:
    """Do what the order says."""
    settings = instance_settings(order.database_url, Path(order.data_dir))
    async with open_database(settings).running() as database:
        world = World(database, settings)
        world.root = Actor(order.actor_id, "admin", is_super_admin=True)
        Moments(order.dies_at).watch(database)
        await world.do(order.act, order.arguments)


def main() -> None:
    """Answer orders until there are no more."""
    configure_logs("error", "json")
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        child = os.fork()
        if child == 0:
            asyncio.run(run(order))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        death = Death(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status)
        sys.stdout.write(msgspec.json.encode(death).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
