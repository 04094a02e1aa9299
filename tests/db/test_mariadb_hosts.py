"""Which host of a MariaDB address a process uses."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from asyncmy.errors import OperationalError

from holdfast.core.errors import UnavailableError
from holdfast.db.engines.mariadb import open_ready
from holdfast.db.engines.mariadb_errors import translated
from holdfast.db.engines.mariadb_hosts import Hosts, Opened
from holdfast.db.errors import (
    ConnectionLostError,
    DatabaseError,
    SerializationError,
    ServerFullError,
    StatementTimeoutError,
    StorageFullError,
)

if TYPE_CHECKING:
    from tests.servers.plugin import DatabaseServers


class _Line:
    def close(self) -> None:
        """Nothing is open."""


class _Servers:
    """Hosts that answer, or fail as told; each attempt is noted."""

    def __init__(self, count: int) -> None:
        self.failures: list[Exception | None] = [None] * count
        self.asked: list[int] = []
        self.hosts = Hosts([{"host": "h", "port": rank} for rank in range(count)], self._open_at)

    async def _open_at(self, rank: int, address: Mapping[str, Any]) -> Opened:
        assert address["port"] == rank
        self.asked.append(rank)
        if (failure := self.failures[rank]) is not None:
            raise failure
        return Opened(_Line(), rank, is_node=True)

    async def open(self) -> int:
        self.asked.clear()
        return (await self.hosts.open()).rank


_GONE = ConnectionLostError("nobody answers")


async def test_the_first_host_is_used_while_it_is_well() -> None:
    servers = _Servers(3)
    assert [await servers.open() for _ in range(3)] == [0, 0, 0]
    assert servers.asked == [0]
    assert not servers.hosts.are_some_down


async def test_when_the_first_falls_away_the_next_is_used_and_nobody_waits_for_the_first_again() -> None:
    servers = _Servers(3)
    assert await servers.open() == 0
    servers.failures[0] = _GONE
    assert await servers.open() == 1
    assert servers.asked == [0, 1]
    assert await servers.open() == 1
    assert servers.asked == [1]
    assert not servers.hosts.is_wanted(0)
    assert servers.hosts.is_wanted(1)


async def test_all_go_back_to_the_first_when_it_is_well_again() -> None:
    servers = _Servers(2)
    servers.failures[0] = _GONE
    assert await servers.open() == 1
    await servers.hosts.ask_again()
    assert servers.hosts.is_wanted(1)
    servers.failures[0] = None
    await servers.hosts.ask_again()
    assert not servers.hosts.is_wanted(1)
    assert not servers.hosts.are_some_down
    assert await servers.open() == 0


async def test_where_all_are_down_each_is_asked_each_time() -> None:
    servers = _Servers(3)
    servers.failures = [_GONE, _GONE, _GONE]
    for _ in range(2):
        with pytest.raises(ConnectionLostError):
            await servers.open()
        assert sorted(servers.asked) == [0, 1, 2]
    servers.failures[2] = None
    assert await servers.open() == 2


async def test_a_host_that_is_only_full_is_not_left() -> None:
    servers = _Servers(2)
    servers.failures[0] = ServerFullError("no further connection")
    with pytest.raises(ServerFullError):
        await servers.open()
    assert servers.asked == [0]
    assert await servers.hosts.answers(0)
    assert not servers.hosts.are_some_down


async def test_a_single_host_is_never_given_up() -> None:
    servers = _Servers(1)
    servers.failures[0] = _GONE
    with pytest.raises(ConnectionLostError):
        await servers.open()
    assert not servers.hosts.are_some_down
    servers.hosts.lose(0, "it stopped answering")
    servers.failures[0] = None
    assert await servers.open() == 0
    assert servers.hosts.is_wanted(0)


async def test_a_connection_that_the_server_refuses_is_to_be_tried_again(database_servers: "DatabaseServers") -> None:
    server = database_servers.address("mariadb")
    address = {"host": server.host, "port": server.port, "user": "stranger", "password": "wrong", "db": "mysql"}
    with pytest.raises(ConnectionLostError, match="takes no connection: Access denied"):
        await open_ready(address, several=False)


async def test_a_server_that_takes_connections_and_says_nothing_is_given_up() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        host, port = silent.sockets[0].getsockname()
        with pytest.raises(ConnectionLostError):
            await open_ready({"host": host, "port": port, "user": "holdfast", "db": "mysql"}, several=True)


@pytest.mark.parametrize(
    ("number", "text", "kind"),
    [
        (1047, "WSREP has not yet prepared node for application use", ConnectionLostError),
        (1053, "Server shutdown in progress", ConnectionLostError),
        (1180, 'Got error 5 "Input/output error" during COMMIT', ConnectionLostError),
        (1180, "wsrep_max_ws_rows exceeded", UnavailableError),
        (1290, "The MariaDB server is running with the --read-only option", ConnectionLostError),
        (1792, "Cannot execute statement in a READ ONLY transaction", ConnectionLostError),
        (1927, "Connection was killed", ConnectionLostError),
        (2003, "Can't connect to MySQL server on 'h'", ConnectionLostError),
        (2006, "MySQL server has gone away", ConnectionLostError),
        (2013, "Lost connection to MySQL server during query", ConnectionLostError),
        (4031, "The client was disconnected by the server because of inactivity", ConnectionLostError),
        (1040, "Too many connections", ServerFullError),
        (1203, "User holdfast already has more than 'max_user_connections' active connections", ServerFullError),
        (1205, "Lock wait timeout exceeded", SerializationError),
        (1213, "Deadlock found when trying to get lock", SerializationError),
        (1969, "Query execution was interrupted (max_statement_time exceeded)", StatementTimeoutError),
        (3, "Error writing file '/tmp/MY' (Errcode: 28 \"No space left on device\")", StorageFullError),
        (1021, "Disk full (/tmp/x); waiting for someone to free some space", StorageFullError),
        (1030, 'Got error 28 "No space left on device" from storage engine InnoDB', StorageFullError),
        (1114, "The table 'forms' is full", StorageFullError),
        (1064, "You have an error in your SQL syntax", DatabaseError),
    ],
)
def test_errors_are_told_apart(number: int, text: str, kind: type[Exception]) -> None:

    assert type(translated(OperationalError(number, text))) is kind
