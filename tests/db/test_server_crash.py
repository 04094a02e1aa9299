"""A database server that dies and comes back: errors that say so meanwhile, and a pool that recovers by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.errors import ConnectionLostError
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.db.tables import group_list
from tests.db.rows import count_rows, make_row
from tests.instance import instance_settings
from tests.servers.plugin import ENGINES, DatabaseServers
from tests.servers.process import DatabaseServer

pytestmark = pytest.mark.slow


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, database_servers: DatabaseServers) -> Iterator[DatabaseServer]:
    """A server of one's own, to kill."""
    # Asked first, so that a missing engine is skipped or fails by the same rule as everywhere.
    database_servers.address(request.param)
    with ENGINES[request.param]() as running:
        yield running


async def _count_groups(database: Database) -> int:
    return await count_rows(database, group_list)


async def test_a_killed_server_is_told_and_found_again(server: DatabaseServer, tmp_path: Path) -> None:
    url = server.create_database("crash")
    await migrate(parse_address(url))
    async with open_database(instance_settings(url, tmp_path)).running() as database:
        await make_row(database, group_list)

        async def write_through_a_crash() -> None:
            async with database.write() as tx:
                await tx.fetch_text("INSERT INTO group_list (g_id, group_name) VALUES ('lost', 'lost')")
                server.kill()
                await tx.fetch_text("SELECT 1")

        with pytest.raises(ConnectionLostError):
            await write_through_a_crash()
        for _ in range(3):
            with pytest.raises(ConnectionLostError):
                await _count_groups(database)
        server.start()
        assert await _count_groups(database) == 1
        await make_row(database, group_list)
        assert await _count_groups(database) == 2
