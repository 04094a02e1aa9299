"""What happens to a single MariaDB server under load: restarts, crashes, no connections, a standstill, no room."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pymysql

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
from tests.servers.address import parse_address
from tests.servers.mariadb import MariadbServer
from tests.servers.process import DatabaseServer, process_handle, running, signal_process

TITLE = "MariaDB, one server"
_CRASHES = 3
# Longer than the product waits before it asks whether anybody is there, and for the answer.
_STANDSTILL_SECONDS = 15
_DISK_MEGABYTES = 192


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    with running(MariadbServer()) as server:
        yield Stand(folder, server)


async def restart(stand: Stand) -> list[Outcome]:
    """In order, as for an update; it is away for longer than requests wait for it."""
    with stand.holdfast() as replicas:
        async with load_on(replicas) as load:
            await load.until_acknowledged(BEFORE)
            began = load.now()
            await asyncio.to_thread(stand.server.stop)
            await asyncio.sleep(6)
            await asyncio.to_thread(stand.server.start)
            again = load.now()
            seconds = await load.until_all_write(again)
        return [await outcome("restarted in order", load, again - began + seconds, seconds)]


async def crash_again_and_again(stand: Stand) -> list[Outcome]:
    """As by kill -9, and a start that must recover, several times in one load."""
    with stand.holdfast() as replicas:
        async with load_on(replicas) as load:
            longest = since = 0.0
            for _ in range(_CRASHES):
                await load.until_acknowledged(BEFORE)
                began = load.now()
                await asyncio.to_thread(stand.server.kill)
                await asyncio.to_thread(stand.server.start)
                again = load.now()
                seconds = await load.until_all_write(again)
                longest, since = max(longest, again - began + seconds), max(since, seconds)
        return [await outcome(f"crashed and restarted, {_CRASHES} times; the longest", load, longest, since)]


async def have_few_connections(stand: Stand) -> list[Outcome]:
    """64 callers, and a server that takes twelve connections of them; then, for a while, none at all."""
    url = stand.server.create_database("few")
    _administer(
        stand.server,
        "CREATE USER few@'127.0.0.1' WITH MAX_USER_CONNECTIONS 12",
        "GRANT ALL PRIVILEGES ON few.* TO few@'127.0.0.1'",
    )
    with stand.holdfast_at(url.replace("holdfast@", "few@")) as replicas:
        async with load_on(replicas, callers=64) as load:
            await load.until_acknowledged(4 * BEFORE)
            began = load.now()
            _administer(stand.server, "ALTER USER few@'127.0.0.1' ACCOUNT LOCK", "KILL USER few@'127.0.0.1'")
            await asyncio.sleep(6)
            _administer(stand.server, "ALTER USER few@'127.0.0.1' ACCOUNT UNLOCK")
            again = load.now()
            seconds = await load.until_all_write(again)
        return [await outcome("64 callers, 12 connections, then none for 6 s", load, again - began + seconds, seconds)]


async def exhaust_the_pool(stand: Stand) -> list[Outcome]:
    """Somebody locks a table until all connections wait for it: whoever waits for one of those is told in time."""
    with stand.holdfast(pool_max_idle="4", pool_max_open="4", pool_wait_seconds="1") as replicas:
        async with load_on(replicas) as load:
            await load.until_acknowledged(BEFORE)
            began = load.now()
            with _administrator(stand.server) as cursor:
                cursor.execute(f"LOCK TABLES holdfast_{stand.made}.forms WRITE")
                await asyncio.sleep(6)
            again = load.now()
            seconds = await load.until_all_write(again)
        assert load.figures.codes["pool_exhausted"] > 0, load.figures
        return [await outcome("a table locked for 6 s, four connections", load, again - began + seconds, seconds)]


async def stand_still(stand: Stand) -> list[Outcome]:
    """The server stops for a while, as on a machine that swaps or whose disk hangs."""
    with stand.holdfast() as replicas:
        async with load_on(replicas) as load:
            await load.until_acknowledged(BEFORE)
            began = load.now()
            assert stand.server.pid is not None
            with process_handle(stand.server.pid) as process:
                try:
                    signal_process(process, signal.SIGSTOP)
                    await asyncio.sleep(_STANDSTILL_SECONDS)
                finally:
                    signal_process(process, signal.SIGCONT)
            again = load.now()
            seconds = await load.until_all_write(again)
        assert sum([await asyncio.to_thread(each.metric, "holdfast_connections_cut_total") for each in replicas]) > 0
        name = f"stands still for {_STANDSTILL_SECONDS} s"
        return [await outcome(name, load, again - began + seconds, seconds)]


async def only_read(stand: Stand) -> list[Outcome]:
    """An operator lets the server only read for a while, as before a change of servers."""
    with stand.holdfast_at(_plain_user(stand, "reading")) as replicas:
        async with load_on(replicas) as load:
            await load.until_acknowledged(BEFORE)
            began = load.now()
            _administer(stand.server, "SET GLOBAL read_only = ON")
            try:
                await asyncio.sleep(6)
            finally:
                _administer(stand.server, "SET GLOBAL read_only = OFF")
            again = load.now()
            seconds = await load.until_all_write(again)
        return [await outcome("only reads for 6 s", load, again - began + seconds, seconds)]


async def fill_the_disk(stand: Stand) -> list[Outcome]:
    """A disk without a byte left, until the operator makes room, and starts the server again where that had ended."""
    with server_on_small_disk(_SmallDiskServer) as server, stand.holdfast(server) as replicas:
        ballast = server.folder / "data" / "ballast"
        async with load_on(replicas) as load:
            await load.until_acknowledged(BEFORE)
            began = load.now()
            await asyncio.to_thread(fill, ballast)
            deadline = began + 90
            while not told_of_full_disk(load) and load.now() < deadline:
                await asyncio.sleep(0.1)
                if server.pid is None:
                    break
            told = told_of_full_disk(load) or server.pid is None
            await asyncio.sleep(2)
            ballast.unlink()
            assert told, load.figures
            if server.pid is None:
                await asyncio.to_thread(server.start)
            again = load.now()
            seconds = await load.until_all_write(again)
        return [await outcome("disk full", load, again - began + seconds, seconds)]


SCENARIOS = (
    restart,
    crash_again_and_again,
    have_few_connections,
    exhaust_the_pool,
    stand_still,
    only_read,
    fill_the_disk,
)


def _plain_user(stand: Stand, name: str) -> str:
    """The URL of a new database for an account that is no administrator's: those may write where others may not."""
    url = stand.server.create_database(name)
    _administer(
        stand.server, f"CREATE USER {name}@'127.0.0.1'", f"GRANT ALL PRIVILEGES ON {name}.* TO {name}@'127.0.0.1'"
    )
    return url.replace("holdfast@", f"{name}@")


def _administer(server: DatabaseServer, *statements: str) -> None:
    with _administrator(server) as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextlib.contextmanager
def _administrator(server: DatabaseServer) -> Iterator[pymysql.cursors.Cursor]:
    address = parse_address(server.admin_url())
    with (
        pymysql.connect(host=address.host, port=address.port, user=address.user, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        yield cursor


class _SmallDiskServer(MariadbServer):
    """Its data lie on a file system of their own in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._data = self.folder / "data"
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
            unmount(self._data)
        finally:
            super().discard()
