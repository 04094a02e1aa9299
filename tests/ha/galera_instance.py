"""A running Holdfast whose pool leads to all nodes of a cluster in turn, for tests written for one server.

An operator would not choose it: there a process keeps to one node. Here every two transactions meet on different ones.
"""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import cycle

import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.mariadb_hosts import Hosts, Opened
from holdfast.db.migrate import migrate
from tests.ha.galera import GaleraCluster, galera_cluster
from tests.instance import Instance, instance_settings, run_instance
from tests.servers.process import EngineMissingError


class _HostsInTurn(Hosts):
    """Each connection leads to the next host."""

    _turns: Iterator[int] | None = None

    async def open(self) -> Opened:
        if self._turns is None:
            self._turns = cycle(range(len(self.addresses)))
        rank = next(self._turns)
        return await self._open_at(rank, self.addresses[rank])

    def is_wanted(self, rank: int) -> bool:
        return rank >= 0


def start_or_skip() -> Iterator[GaleraCluster]:
    """A cluster; where it is missing the test is skipped, or fails under HOLDFAST_REQUIRE_ENGINES=1."""
    try:
        with galera_cluster() as cluster:
            yield cluster
    except EngineMissingError as error:
        if os.environ.get("HOLDFAST_REQUIRE_ENGINES") == "1":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def galera() -> Iterator[GaleraCluster]:
    """A cluster that stays whole: nobody kills its nodes."""
    yield from start_or_skip()


@pytest.fixture(scope="session")
def engine() -> str:
    """The engine of the tests that are borrowed from elsewhere."""
    return "mariadb"


@pytest.fixture(scope="session")
async def shared_instance(
    engine: str, galera: GaleraCluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """An instance that writes on every node of the cluster."""
    galera.nodes[0].run("CREATE DATABASE in_turn CHARACTER SET utf8mb4")
    settings = instance_settings(galera.url("in_turn"), tmp_path_factory.mktemp("data"))
    await migrate(parse_address(settings.database_url))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.db.engines.mariadb.Hosts", _HostsInTurn)
        async with run_instance(engine, settings) as running:
            yield running


__all__ = ["engine", "galera", "shared_instance", "start_or_skip"]
