"""What happens to a single PostgreSQL server under load: restarts, no connections, slowness, no room."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.ha.one_server import (
    BEFORE,
    NotPermittedError,
    Stand,
    fill,
    load_on,
    mount_small_disk,
    server_on_small_disk,
    told_of_full_disk,
    unmount,
)
from tests.ha.outcomes import Outcome, outcome
from tests.servers.postgresql import PostgresqlServer
from tests.servers.process import (
    child_handles,
    process_handle,
    running,
    signal_process,
)

TITLE = "PostgreSQL, one server"
# Longer than the product waits before it asks whether anybody is there, for the answer, and for another server.
_STANDSTILL_SECONDS = 20
_DISK_MEGABYTES = 160


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    with running(PostgresqlServer(durable=False)) as server:
        yield Stand(folder, server)


async def restart(stand: Stand) -> list[Outcome]:
    """In order, as for an update, and by a crash of every process."""
    outcomes = []
    with stand.holdfast() as replicas:
        for name, end in (("restarted in order", stand.server.stop), ("crashed and restarted", stand.server.kill)):
            async with load_on(replicas) as load:
                await load.until_acknowledged(BEFORE)
                began = load.now()
                await asyncio.to_thread(end)
                # Longer than requests wait for it.
                await asyncio.sleep(6)
                await asyncio.to_thread(stand.server.start)
                stood = load.now()
                seconds = await load.until_all_write(stood)
            outcomes.append(await outcome(name, load, stood - began + seconds, seconds))
    return outcomes


async def have_few_connections(stand: Stand) -> list[Outcome]:
    """64 callers, and a server that takes twelve connections of them; then, for a while, none at all."""
    url = stand.server.create_database("few")
    _administer(stand, "CREATE ROLE few LOGIN CONNECTION LIMIT 12", "ALTER DATABASE few OWNER TO few")
    url = url.replace("holdfast@", "few@")
    with stand.holdfast_at(url) as replicas:
        async with load_on(replicas, callers=64) as load:
            await load.until_acknowledged(4 * BEFORE)
            began = load.now()
            _administer(
                stand,
                "ALTER ROLE few CONNECTION LIMIT 0",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'few'",
            )
            await asyncio.sleep(6)
            _administer(stand, "ALTER ROLE few CONNECTION LIMIT 12")
            again = load.now()
            seconds = await load.until_all_write(again)
        return [await outcome("64 callers, 12 connections, then none for 6 s", load, again - began + seconds, seconds)]


async def stand_still(stand: Stand) -> list[Outcome]:
    """Every process of the server stops for a while, as on a machine that swaps or whose disk hangs."""
    with stand.holdfast() as replicas:
        async with load_on(replicas) as load:
            await load.until_acknowledged(BEFORE)
            began = load.now()
            assert stand.server.pid is not None
            with process_handle(stand.server.pid) as first, child_handles(stand.server.pid) as children:
                try:
                    for each in (first, *children):
                        signal_process(each, signal.SIGSTOP)
                    await asyncio.sleep(_STANDSTILL_SECONDS)
                finally:
                    for each in (*children, first):
                        signal_process(each, signal.SIGCONT)
            again = load.now()
            seconds = await load.until_all_write(again)
        name = f"stands still for {_STANDSTILL_SECONDS} s"
        assert sum([await asyncio.to_thread(each.metric, "holdfast_connections_cut_total") for each in replicas]) > 0
        return [await outcome(name, load, again - began + seconds, seconds)]


async def hold_a_lock(stand: Stand) -> list[Outcome]:
    """Somebody locks a table for longer than a statement may take."""
    with stand.holdfast(statement_timeout_seconds="2") as replicas:
        async with load_on(replicas) as load:
            await load.until_acknowledged(BEFORE)
            began = load.now()
            with psycopg.connect(stand.server.admin_url(f"holdfast_{stand.made}")) as connection:
                connection.execute("LOCK TABLE forms IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(6)
            again = load.now()
            seconds = await load.until_all_write(again)
        return [
            await outcome("a table locked for 6 s, statements limited to 2 s", load, again - began + seconds, seconds)
        ]


async def fill_the_disk(stand: Stand) -> list[Outcome]:
    """A disk without a byte left, until the operator makes room, and starts the server again where that had ended."""
    with server_on_small_disk(_SmallDiskServer) as server, stand.holdfast(server) as replicas:
        ballast = server.folder / "data" / "ballast"
        async with load_on(replicas) as load:
            await load.until_acknowledged(BEFORE)
            began = load.now()
            await asyncio.to_thread(fill, ballast)
            deadline = began + 60
            while not told_of_full_disk(load) and load.now() < deadline:  # noqa: ASYNC110 - the notes tell nobody
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            assert told_of_full_disk(load), load.figures
            ballast.unlink()
            if server.pid is None:
                await asyncio.to_thread(server.start)
            again = load.now()
            seconds = await load.until_all_write(again)
        return [await outcome("disk full", load, again - began + seconds, seconds)]


SCENARIOS = (restart, have_few_connections, stand_still, hold_a_lock, fill_the_disk)


def _administer(stand: Stand, *statements: str) -> None:
    with psycopg.connect(stand.server.admin_url(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


class _SmallDiskServer(PostgresqlServer):
    """Its data lie on a file system of their own in memory. Small segments: the log wants room, too, before long."""

    def __init__(self) -> None:
        super().__init__()
        self._data.mkdir()
        try:
            mount_small_disk(self._data, self.account, megabytes=_DISK_MEGABYTES)
        except NotPermittedError:
            super().discard()
            raise

    def discard(self) -> None:
        try:
            # The folder goes with the server, and its watchdog must not meet the mount.
            self.kill()
            self._remove_shared_memory()
            unmount(self._data)
        finally:
            super().discard()

    def _initialise_command(self) -> list[str]:
        return [*super()._initialise_command(), "--wal-segsize=1"]
