"""What happens to a Galera cluster of three nodes while callers write and read."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.ha.galera import GaleraCluster, GaleraNode, galera_cluster, wait_until
from tests.ha.load import Load
from tests.ha.network import NetworkMissingError
from tests.ha.outcomes import Outcome, outcome
from tests.ha.replicas import Replica, migrate, running_replicas

TITLE = "MariaDB, three nodes of a Galera cluster"
_BEFORE = 120
_DATABASE = "holdfast"


@dataclass
class Stand:
    """The cluster, and servers of Holdfast on it. `network_missing` says why no node can be cut off."""

    cluster: GaleraCluster
    folder: Path
    network_missing: str = ""
    made: int = 0

    @contextlib.contextmanager
    def holdfast(self, *firsts: int) -> Iterator[list[Replica]]:
        """A server for each number, which names that node first."""
        with contextlib.ExitStack() as stack:
            replicas = []
            for first in firsts:
                self.made += 1
                folder = self.folder / str(self.made)
                folder.mkdir()
                url = self.cluster.url(_DATABASE, first=first)
                replicas += stack.enter_context(running_replicas(folder, url, 1))
            yield replicas


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    """Raises EngineMissingError where programs are missing."""
    with contextlib.ExitStack() as stack:
        missing = ""
        try:
            cluster = stack.enter_context(galera_cluster(cuttable=True))
        except NetworkMissingError as error:
            missing = str(error)
            cluster = stack.enter_context(galera_cluster())
        cluster.nodes[0].run(f"CREATE DATABASE {_DATABASE} CHARACTER SET utf8mb4")
        migrate(cluster.url(_DATABASE))
        yield Stand(cluster, folder, missing)


async def kill_the_node_that_writes(stand: Stand) -> list[Outcome]:
    """All servers name it first, and go to the second; it is sent what it missed, and they come back to it."""
    first = stand.cluster.nodes[0]
    with stand.holdfast(0, 0, 0) as replicas:
        async with _load(replicas) as load:
            await load.until_acknowledged(_BEFORE)
            broken = load.now()
            await asyncio.to_thread(first.kill)
            seconds, since = await _until_written(stand, load, broken)
            await load.until_acknowledged(_BEFORE)
            await _bring_back(stand, first)
            await _until_clients_are_at(first)
            await load.until_all_write(load.now())
        assert "database_host_down" in replicas[0].log()
        return [await outcome("the node that writes is killed, and comes back", load, seconds, since)]


async def kill_one_of_three_that_write(stand: Stand) -> list[Outcome]:
    """Each server names another node first, so that they lose rounds against one another all the time."""
    with stand.holdfast(0, 1, 2) as replicas:
        async with _load(replicas, callers=6) as load:
            await load.until_acknowledged(_BEFORE // 2)
            broken = load.now()
            await asyncio.to_thread(stand.cluster.nodes[1].kill)
            seconds, since = await _until_written(stand, load, broken)
            await load.until_acknowledged(_BEFORE // 2)
            await _bring_back(stand, stand.cluster.nodes[1])
            await load.until_all_write(load.now())
        return [await outcome("all three write, and one is killed", load, seconds, since)]


async def lose_the_quorum(stand: Stand) -> list[Outcome]:
    """Two of three die. The third neither writes nor reads until it is told to go on alone; then the others join it."""
    left, *dying = stand.cluster.nodes
    with stand.holdfast(0, 0, 0) as replicas:
        async with _load(replicas) as load:
            await load.until_acknowledged(_BEFORE)
            for node in dying:
                await asyncio.to_thread(node.kill)
            await asyncio.to_thread(
                wait_until, lambda: left.status("wsrep_cluster_status") == "non-Primary", "quorum is lost", left
            )
            written, refused = len(load.acknowledged), load.figures.unavailable
            await _all_say_that_they_are_not_ready(replicas)
            while load.figures.unavailable < refused + 2 * len(replicas):  # noqa: ASYNC110 - the callers tell nobody
                await asyncio.sleep(0.05)
            assert len(load.acknowledged) == written
            again = load.now()
            await asyncio.to_thread(left.run, "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=true'")
            seconds = await load.until_all_write(again)
            await _bring_back(stand, *dying)
            await load.until_all_write(load.now())
        return [await outcome("quorum lost; counted from when it is there again", load, seconds)]


async def freeze_the_node_that_writes(stand: Stand) -> list[Outcome]:
    """It stands still, and nobody is told; when it goes on it finds itself left, and joins again."""
    first = stand.cluster.nodes[0]
    with stand.holdfast(0, 0) as replicas:
        async with _load(replicas) as load:
            await load.until_acknowledged(_BEFORE)
            broken = load.now()
            first.freeze()
            try:
                seconds, since = await _until_written(stand, load, broken)
            finally:
                first.thaw()
            await asyncio.to_thread(stand.cluster.wait_until_whole)
            await load.until_all_write(load.now())
        return [await outcome("the node that writes stands still", load, seconds, since)]


async def cut_the_node_that_writes_off(stand: Stand) -> list[Outcome]:
    """Its packets vanish in both directions, to the other nodes and to the servers."""
    network = stand.cluster.network
    assert network is not None, stand.network_missing
    first = stand.cluster.nodes[0]
    with stand.holdfast(0, 0) as replicas:
        async with _load(replicas) as load:
            await load.until_acknowledged(_BEFORE)
            broken = load.now()
            await asyncio.to_thread(network.cut, first.number)
            try:
                seconds, since = await _until_written(stand, load, broken)
            finally:
                await asyncio.to_thread(network.heal, first.number)
            await asyncio.to_thread(stand.cluster.wait_until_whole)
            await load.until_all_write(load.now())
        return [await outcome("the node that writes is cut off the network", load, seconds, since)]


async def part_a_node_from_the_others(stand: Stand) -> list[Outcome]:
    """The servers still reach it, and it answers them: from a past that may be over, if they let it."""
    first = stand.cluster.nodes[0]
    with stand.holdfast(0, 1) as replicas:
        async with _load(replicas, callers=8) as load:
            await load.until_acknowledged(_BEFORE // 2)
            broken = load.now()
            await asyncio.to_thread(first.run, "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
            try:
                seconds, since = await _until_written(stand, load, broken)
                await load.until_acknowledged(_BEFORE // 2)
            finally:
                await asyncio.to_thread(first.run, "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'")
            await asyncio.to_thread(stand.cluster.wait_until_whole)
            await load.until_all_write(load.now())
        return [
            await outcome("a node that writes is parted from the others, not from the servers", load, seconds, since)
        ]


SCENARIOS = (
    kill_the_node_that_writes,
    kill_one_of_three_that_write,
    lose_the_quorum,
    freeze_the_node_that_writes,
    cut_the_node_that_writes_off,
    part_a_node_from_the_others,
)


def _load(replicas: list[Replica], callers: int = 16) -> Load:
    return Load([replica.url for replica in replicas], callers=callers)


async def _until_written(stand: Stand, load: Load, broken: float) -> tuple[float, float]:
    """Seconds until the first write after the loss, and from when two are a cluster until every caller writes again."""
    left = stand.cluster.nodes[2]
    await asyncio.to_thread(wait_until, lambda: left.status("wsrep_cluster_size") == "2", "two are left", left)
    stood = load.now()
    seconds = stood - broken + await load.seconds_until_written(stood)
    return seconds, await load.until_all_write(stood)


async def _bring_back(stand: Stand, *nodes: GaleraNode) -> None:
    await asyncio.to_thread(stand.cluster.rejoin, *nodes)
    await asyncio.to_thread(stand.cluster.wait_until_whole)


async def _until_clients_are_at(node: GaleraNode) -> None:
    """Wait until the servers have come back to the first host of their address."""
    asked = f"SELECT count(*) FROM information_schema.processlist WHERE db = '{_DATABASE}'"
    await asyncio.to_thread(wait_until, lambda: int(node.ask(asked)[0][0]) > 0, "the servers have come back", node)


async def _all_say_that_they_are_not_ready(replicas: list[Replica]) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        for replica in replicas:
            answer = await client.get(f"{replica.url}/readyz")
            assert answer.status_code == 503, answer.text
