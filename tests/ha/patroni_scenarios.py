"""What happens to a cluster under Patroni while callers write and read."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ha.load import Load
from tests.ha.outcomes import Outcome, outcome
from tests.ha.patroni_cluster import Node, PatroniCluster, patroni_cluster
from tests.ha.replicas import Replica, migrate, running_replicas

TITLE = "PostgreSQL, three servers under Patroni, synchronous"
_BEFORE = 150


@dataclass(frozen=True)
class Stand:
    """The cluster, and servers of Holdfast on it."""

    cluster: PatroniCluster
    replicas: list[Replica]

    def load(self) -> Load:
        return Load([replica.url for replica in self.replicas], callers=16)


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    """Raises EngineMissingError where programs are missing."""
    with patroni_cluster() as cluster:
        url = cluster.create_database("holdfast")
        migrate(url)
        with running_replicas(folder, url) as replicas:
            yield Stand(cluster, replicas)


async def kill_the_primary_twice(stand: Stand) -> list[Outcome]:
    """Its machine is gone, and comes back as a follower; then that of the next one."""
    outcomes = []
    for turn in ("first", "second"):
        async with stand.load() as load:
            await load.until_acknowledged(_BEFORE)
            primary = await asyncio.to_thread(stand.cluster.wait_for_primary)
            await asyncio.to_thread(stand.cluster.kill, primary)
            broken = load.now()
            seconds, since_primary = await _until_written(stand, load, primary, broken)
            await asyncio.to_thread(stand.cluster.start_node, primary)
            await asyncio.to_thread(stand.cluster.wait_until_whole)
            await load.until_all_write(load.now())
        outcomes.append(await outcome(f"primary killed, {turn} time", load, seconds, since_primary))
    return outcomes


async def switch_over(stand: Stand) -> list[Outcome]:
    """As before maintenance: the primary hands over to the synchronous standby."""
    async with stand.load() as load:
        await load.until_acknowledged(_BEFORE)
        primary = await asyncio.to_thread(stand.cluster.wait_for_primary)
        switching = asyncio.create_task(asyncio.to_thread(stand.cluster.switch_over, primary))
        began = load.now()
        await asyncio.to_thread(stand.cluster.wait_for_primary, other_than=primary)
        stood = load.now()
        seconds_since = await load.until_all_write(stood)
        await switching
        await asyncio.to_thread(stand.cluster.wait_until_whole)
        await load.until_all_write(load.now())
    return [await outcome("planned switchover", load, load.longest_silence(since=began), seconds_since)]


async def cut_the_primary_off(stand: Stand) -> list[Outcome]:
    """Its packets vanish in both directions; then the network is there again, and the old primary follows."""
    network = stand.cluster.network
    assert network is not None, stand.cluster.network_missing
    async with stand.load() as load:
        await load.until_acknowledged(_BEFORE)
        primary = await asyncio.to_thread(stand.cluster.wait_for_primary)
        try:
            await asyncio.to_thread(network.cut, primary.number)
            seconds, since_primary = await _until_written(stand, load, primary, load.now())
        finally:
            await asyncio.to_thread(network.heal, primary.number)
        await asyncio.to_thread(stand.cluster.wait_until_whole)
        await load.until_all_write(load.now())
    return [await outcome("primary cut off the network", load, seconds, since_primary)]


async def _until_written(stand: Stand, load: Load, lost: Node, broken: float) -> tuple[float, float]:
    """Seconds until the first write after the loss, and from the new primary until every caller writes again."""
    await asyncio.to_thread(stand.cluster.wait_for_primary, other_than=lost)
    stood = load.now()
    seconds = stood - broken + await load.seconds_until_written(stood)
    return seconds, await load.until_all_write(stood)


SCENARIOS = (kill_the_primary_twice, switch_over, cut_the_primary_off)
