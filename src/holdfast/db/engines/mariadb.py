"""MariaDB through asyncmy: strict mode, UTC, utf8mb4, READ COMMITTED, matched rows counted as on the other engines."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import asyncmy
from asyncmy.constants import CLIENT

from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Isolation, Transaction
from holdfast.db.engines.hosts import end_with_its_host
from holdfast.db.engines.mariadb_errors import DRIVER_ERRORS, translated
from holdfast.db.engines.mariadb_hosts import Hosts, Opened
from holdfast.db.engines.mariadb_node import NodeTransaction
from holdfast.db.engines.mariadb_transaction import MariadbTransaction, fetch, run
from holdfast.db.engines.server import ServerDatabase
from holdfast.db.errors import ConnectionLostError
from holdfast.db.pool import Pool, PoolSettings

_SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
# The driver logs the server's notes, such as one for each primary key whose name MariaDB ignores. In strict mode
# whatever touches a value is an error, which is raised.
logging.getLogger("asyncmy").setLevel(logging.ERROR)
# Where there are other hosts to go to, one that is silent is left sooner.
_CONNECT_SECONDS = 5.0
_CONNECT_SECONDS_OF_SEVERAL = 2.0
_ASK_AGAIN_SECONDS = 1.0
_SYNCED = "4"
_IS_NODE = "SHOW SESSION VARIABLES LIKE 'wsrep_on'"
_NODE_STATE = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_local_state')"
# A read sees what any node has acknowledged before, as BEGIN does for the transaction.
_SEE_OTHERS = "SET SESSION wsrep_sync_wait = 1"


class MariadbDatabase(ServerDatabase[Any]):
    """A MariaDB server (10.11 or later), or a Galera cluster of them."""

    dialect_name = "mariadb"

    def __init__(
        self,
        addresses: Sequence[Mapping[str, Any]],
        *,
        pool: PoolSettings,
        slow_seconds: float,
        statement_timeout_seconds: float,
        deletion_timeout_seconds: float,
    ) -> None:
        self._slow_seconds = slow_seconds
        self._statement_timeout_seconds = statement_timeout_seconds
        self._deletion_timeout_seconds = deletion_timeout_seconds
        self._opened: dict[int, Opened] = {}
        self._hosts = Hosts(addresses, self._open_at)
        self._asking_again: asyncio.Task[None] | None = None
        self.pool: Pool[Any] = Pool(
            "mariadb", pool, connect=self._connect, close=self._close, is_open=self._is_open, abort=self._cut
        )

    async def start(self) -> None:
        await super().start()
        if len(self._hosts.addresses) > 1:
            self._asking_again = asyncio.create_task(self._ask_again())

    async def stop(self) -> None:
        if self._asking_again is not None:
            self._asking_again.cancel()
            await asyncio.wait([self._asking_again])
        await super().stop()

    def transaction_on(self, connection: Any) -> Transaction:
        kind = NodeTransaction if self._opened[id(connection)].is_node else MariadbTransaction
        return kind(connection, self._slow_seconds, self._deletion_timeout_seconds)

    async def _begin(self, connection: Any, isolation: Isolation) -> None:
        if isolation is not Isolation.READ_COMMITTED:
            await self.run(connection, f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        await self.run(connection, "START TRANSACTION")

    async def run(self, connection: Any, sql: str) -> None:
        await run(connection, sql, None)

    async def _connect(self) -> Any:
        opened = await self._hosts.open()
        self._opened[id(opened.connection)] = opened
        return opened.connection

    async def _open_at(self, rank: int, address: Mapping[str, Any]) -> Opened:
        # innodb_lock_wait_timeout: a waiter for a row gives up before the client does.
        setup = (
            f"SET SESSION sql_mode='{_SQL_MODE}', time_zone='+00:00', tx_isolation='READ-COMMITTED',"
            f" innodb_lock_wait_timeout=10, max_statement_time={self._statement_timeout_seconds:g}"
        )
        several = len(self._hosts.addresses) > 1
        connection, is_node = await open_ready(address, several=several, autocommit=True, init_command=setup)
        return Opened(connection, rank, is_node)

    async def _close(self, connection: Any) -> None:
        self._opened.pop(id(connection), None)
        # A connection whose state is unknown is cut, not asked to end.
        with contextlib.suppress(*DRIVER_ERRORS):
            connection.close()

    def _is_open(self, connection: Any) -> bool:
        # `connected` stays true when the server closes the connection while it lies idle.
        if not connection.connected or connection._stream_broken:
            return False
        return self._hosts.is_wanted(self._opened[id(connection)].rank)

    async def _without_answer(self, connections: list[Any]) -> list[Any]:
        ranks = {id(connection): self._opened[id(connection)].rank for connection in connections}
        silent = {rank for rank in set(ranks.values()) if not await self._hosts.answers(rank)}
        for rank in silent:
            self._hosts.lose(rank, "it stopped answering")
        return [connection for connection in connections if ranks[id(connection)] in silent]

    def _cut(self, connection: Any) -> None:
        transport = connection._transport
        if transport is not None:
            transport.abort()

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
            if self._hosts.are_some_down:
                await self._hosts.ask_again()


async def open_connection(addresses: Sequence[Mapping[str, Any]], **options: Any) -> Any:
    """A connection of the driver to the first host that is well, for what needs no pool.

    The hosts are tried in the order of their names, so that all migrations meet at one, whose lock they then take:
    GET_LOCK holds on one node only.
    """
    in_order = sorted(addresses, key=lambda address: (str(address.get("host")), int(address.get("port", 0))))
    refused: HoldfastError | None = None
    for address in in_order:
        try:
            connection, _ = await open_ready(address, several=len(in_order) > 1, **options)
        except ConnectionLostError as error:
            refused = error
        else:
            return connection
    assert refused is not None
    raise refused


async def open_ready(address: Mapping[str, Any], *, several: bool, **options: Any) -> tuple[Any, bool]:
    """A connection to a host that can be worked with, and whether it is a node of a cluster; within a bounded time."""
    limit = _CONNECT_SECONDS_OF_SEVERAL if several else _CONNECT_SECONDS
    connection: Any = None
    try:
        # The limit of the driver ends with the handshake of TCP, which the system does for a frozen server.
        async with asyncio.timeout(limit):
            connection = await asyncmy.connect(
                **address, charset="utf8mb4", client_flag=CLIENT.FOUND_ROWS, connect_timeout=limit, **options
            )
            if "unix_socket" not in address:
                end_with_its_host(connection._transport.get_extra_info("socket"))
            is_node = await _prepare_node(connection)
    except DRIVER_ERRORS as error:
        _abandon(connection)
        raise _not_connected(error) from error
    except BaseException:
        _abandon(connection)
        raise
    return connection, is_node


async def _prepare_node(connection: Any) -> bool:
    """Whether this is a node of a cluster, which then lets reads wait for what the others wrote."""
    is_node = any(str(value).upper() in {"ON", "1"} for _, value in await fetch(connection, _IS_NODE, None))
    if is_node:
        state = {str(name).lower(): str(value) for name, value in await fetch(connection, _NODE_STATE, None)}
        if state.get("wsrep_ready") != "ON" or state.get("wsrep_local_state") != _SYNCED:
            raise ConnectionLostError(
                "the node of the database takes no part in its cluster; try again in a moment", retry_after_seconds=2
            )
        await run(connection, _SEE_OTHERS, None)
    return is_node


def _not_connected(error: BaseException) -> HoldfastError:
    """Why there is no connection; each reason is one to try again, and most are the operator's to remove."""
    found = translated(error)
    if isinstance(found, ConnectionLostError):
        return found
    return ConnectionLostError(f"the database takes no connection: {error.args[-1]}", retry_after_seconds=5)


def _abandon(connection: Any) -> None:
    if connection is not None:
        with contextlib.suppress(*DRIVER_ERRORS):
            connection.close()
