"""Databases without a server in front of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from tests.conftest import NewDatabase
from tests.instance import Instance, instance_settings

OpenAnother = Callable[..., AbstractAsyncContextManager[Database]]


@pytest.fixture(scope="session")
async def shared_database(
    engine: str, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """The database that the tests of an engine share; use `database`, which empties it first."""
    settings = instance_settings(new_database(engine), tmp_path_factory.mktemp("data"))
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        yield Instance(engine, settings, "", database)


@pytest.fixture
async def database(shared_database: Instance) -> Database:
    """A migrated database without a single row."""
    await shared_database.clear()
    return shared_database.database


@pytest.fixture
def url(shared_database: Instance) -> str:
    """The address of the shared database."""
    return shared_database.settings.database_url


@pytest.fixture
def open_another(url: str, tmp_path: Path) -> OpenAnother:
    """Opens the shared database a second time, with other settings, as another process would."""

    def open_with(**changes: Any) -> AbstractAsyncContextManager[Database]:
        return open_database(instance_settings(url, tmp_path, **changes)).running()

    return open_with
