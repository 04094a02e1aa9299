"""Migrations, procedures, purges and recovery on a Galera cluster, through whichever node."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator

import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import check_schema, migrate
from tests.db.consistency import find_inconsistencies
from tests.db.rows import fetch
from tests.db.test_procedures import call, test_it_takes_what_the_engines_own_cascades_take
from tests.ha.galera import GaleraCluster
from tests.ha.galera_instance import engine, galera, shared_instance
from tests.instance import Instance
from tests.lifecycle.crowd import Crowd

pytestmark = pytest.mark.ha

__all__ = ["call", "engine", "galera", "shared_instance", "test_it_takes_what_the_engines_own_cascades_take"]

_MESSAGES = 6000
_MOST_ROWS = 1500


@pytest.fixture
def url(galera: GaleraCluster) -> str:
    """The address of the instance's database on a node that is not the first."""
    return galera.url("in_turn", only=1)


async def test_migrations_started_by_way_of_different_nodes_both_succeed(galera: GaleraCluster) -> None:
    galera.nodes[0].run("CREATE DATABASE migrated CHARACTER SET utf8mb4")

    async def run(first: int) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from holdfast.cli.main import main; main()", "migrate"),
            env={"HOLDFAST_DATABASE_URL": galera.url("migrated", first=first), "PATH": "/usr/bin:/bin"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    for code, output in await asyncio.gather(run(0), run(1), run(2)):
        assert code == 0, output
    for only in range(3):
        await check_schema(parse_address(galera.url("migrated", only=only)))
    # A second time nothing is left to do.
    assert (await migrate(parse_address(galera.url("migrated")))).pending == []


@contextlib.contextmanager
def _small_write_sets(galera: GaleraCluster) -> Iterator[None]:
    """No transaction may write more rows than a purge's chunk has, with some to spare."""
    for node in galera.nodes:
        node.run(f"SET GLOBAL wsrep_max_ws_rows = {_MOST_ROWS}")
    try:
        yield
    finally:
        for node in galera.nodes:
            node.run("SET GLOBAL wsrep_max_ws_rows = 0")


async def test_a_large_purge_keeps_within_small_write_sets_and_can_be_recovered(
    instance: Instance, galera: GaleraCluster, database: Database
) -> None:
    crowd = await Crowd(instance).gather()
    place = await crowd.make_place()
    async with database.write() as tx:
        await tx.fetch_text(
            "INSERT INTO form_messages (id, form_id, user_id, content, created_at)"
            f" SELECT concat('m', seq), '{place.form_id}', '{place.u_id}', 'Words', utc_timestamp(6)"
            f" FROM seq_1_to_{_MESSAGES}"
        )
    deletion_id = (await crowd.delete(place, "form")).json()["deletion_id"]
    with _small_write_sets(galera):
        assert await crowd.purge(deletion_id) == _MESSAGES + 1
    assert await fetch(database, "SELECT count(*) FROM form_messages") == [(0,)]
    # To come back is one transaction, as to be deleted is.
    await crowd.bring_one_back(deletion_id)
    assert await fetch(database, "SELECT count(*) FROM form_messages") == [(_MESSAGES,)]
    assert await find_inconsistencies(database) == []
