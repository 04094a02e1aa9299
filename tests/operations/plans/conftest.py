"""The populated database that plans are made on."""

from collections.abc import AsyncIterator

import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.operations.plans.population import populate

SERVERS = [pytest.param(engine, marks=pytest.mark.slow) for engine in ("postgresql", "mariadb")]


@pytest.fixture(scope="module", params=["sqlite", *SERVERS])
async def populated(
    request: pytest.FixtureRequest, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Database]:
    """A database of the engine with the whole population."""
    settings = Settings(
        database_url=new_database(request.param),
        data_dir=tmp_path_factory.mktemp("plans"),
        statement_timeout_seconds=300,
        slow_statement_seconds=300,
    )
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        await populate(database)
        yield database
