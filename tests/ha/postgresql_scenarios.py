"""What happens to a single PostgreSQL server under load: restarts, no connections, slowness, no room."""

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.ha.load import Load
from tests.ha.outcomes import Outcome, outcome
from tests.ha.replicas import Replica, migrate, running_replicas
from tests.servers.postgresql import PostgresqlServer
from tests.servers.process import (
    DatabaseServer,
    child_handles,
    process_handle,
    running,
    signal_process,
)

TITLE = "PostgreSQL, one server"
_BEFORE = 100
# Longer than the product waits before it asks whether anybody is there, for the answer, and for another server.
_STANDSTILL_SECONDS = 20
_DISK_MEGABYTES = 160
_BLOCK = bytes(64 * 1024)


class NotPermittedError(Exception):
    """This machine lets nobody do what the scenario needs; the message says what that is."""


@dataclass
class Stand:
    """A server that survives everything but a full disk, which has one of its own."""

    folder: Path
    server: DatabaseServer
    made: int = 0

    @contextlib.contextmanager
    def holdfast(self, server: DatabaseServer | None = None, **settings: str) -> Iterator[list[Replica]]:
        """Servers of Holdfast on a new database."""
        self.made += 1
        url = (server or self.server).create_database(f"holdfast_{self.made}")
        with self.holdfast_at(url, **settings) as replicas:
            yield replicas

    @contextlib.contextmanager
    def holdfast_at(self, url: str, **settings: str) -> Iterator[list[Replica]]:
        folder = self.folder / url.rpartition("/")[2]
        folder.mkdir()
        migrate(url)
        with running_replicas(folder, url, 2, **settings) as replicas:
            yield replicas


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    with running(PostgresqlServer(durable=False)) as server:
        yield Stand(folder, server)


async def restart(stand: Stand) -> list[Outcome]:
    """In order, as for an update, and by a crash of every process."""
    outcomes = []
    with stand.holdfast() as replicas:
        for name, end in (("restarted in order", stand.server.stop), ("crashed and restarted", stand.server.kill)):
            async with _load(replicas) as load:
                await load.until_acknowledged(_BEFORE)
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
        async with _load(replicas, callers=64) as load:
            await load.until_acknowledged(4 * _BEFORE)
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
        async with _load(replicas) as load:
            await load.until_acknowledged(_BEFORE)
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
        async with _load(replicas) as load:
            await load.until_acknowledged(_BEFORE)
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
    with _small_disk() as server, stand.holdfast(server) as replicas:
        ballast = server.folder / "data" / "ballast"
        async with _load(replicas) as load:
            await load.until_acknowledged(_BEFORE)
            began = load.now()
            await asyncio.to_thread(_fill, ballast)
            deadline = began + 60
            while not _told_of_it(load) and load.now() < deadline:  # noqa: ASYNC110 - the notes tell nobody
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            assert _told_of_it(load), load.figures
            ballast.unlink()
            if server.pid is None:
                await asyncio.to_thread(server.start)
            again = load.now()
            seconds = await load.until_all_write(again)
        return [await outcome("disk full", load, again - began + seconds, seconds)]


SCENARIOS = (restart, have_few_connections, stand_still, hold_a_lock, fill_the_disk)


def _load(replicas: list[Replica], callers: int = 16) -> Load:
    return Load([replica.url for replica in replicas], callers=callers)


def _administer(stand: Stand, *statements: str) -> None:
    with psycopg.connect(stand.server.admin_url(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


class _SmallDiskServer(PostgresqlServer):
    """Its data lie on a file system of their own in memory. Small segments: the log wants room, too, before long."""

    def __init__(self) -> None:
        super().__init__()
        self._data.mkdir()
        options = [f"size={_DISK_MEGABYTES}m", "mode=0700"]
        if self.account.user is not None:
            options += [f"uid={pwd.getpwnam(self.account.user).pw_uid}", f"gid={self.account.group}"]
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(self._data)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.CalledProcessError) as error:
            super().discard()
            raise NotPermittedError(f"A disk of its own takes root and mount: {error}") from error

    def discard(self) -> None:
        try:
            # The folder goes with the server, and its watchdog must not meet the mount.
            self.kill()
            self._remove_shared_memory()
            subprocess.run(["umount", "--lazy", str(self._data)], check=False, capture_output=True, timeout=30)
        finally:
            super().discard()

    def _initialise_command(self) -> list[str]:
        return [*super()._initialise_command(), "--wal-segsize=1"]


@contextlib.contextmanager
def _small_disk() -> Iterator[DatabaseServer]:
    if os.geteuid() != 0:
        raise NotPermittedError("A disk of its own takes root.")
    with running(_SmallDiskServer()) as server:
        yield server


def _fill(ballast: Path) -> None:
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(_BLOCK)
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * 512)


def _told_of_it(load: Load) -> bool:
    return load.figures.codes["database_storage_full"] > 0
