"""An instance on each engine that a test may harm."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.db.address import parse_address
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from tests.conftest import NewDatabase
from tests.instance import Instance, instance_settings
from tests.operations.doctor.ward import Ward, make_healthy

_SERVERS = [pytest.param(engine, marks=pytest.mark.slow) for engine in ("postgresql", "mariadb")]


@pytest.fixture(scope="session", params=["sqlite", *_SERVERS])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn; every day the embedded one, because each test examines a whole instance twice."""
    return str(request.param)


@pytest.fixture(scope="module")
async def harmed(
    engine: str, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """A database of its own, because a test may leave its schema or its numbers otherwise than others expect them."""
    settings = instance_settings(new_database(engine), tmp_path_factory.mktemp("doctor"))
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        yield Instance(engine, settings, "", database)


@pytest.fixture
async def ward(harmed: Instance, tmp_path: Path) -> Ward:
    """A small healthy instance."""
    await harmed.clear()
    made = Ward(harmed, tmp_path)
    await make_healthy(made)
    return made
