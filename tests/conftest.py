"""Fixtures: a running Holdfast on each engine, emptied before every test.

The schema is made once per worker and engine; a test gets the same database with its rows gone. Deleting the rows
is far quicker than making the schema anew.
"""

import os
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import hypothesis
import pytest

from holdfast.api.budgets import requests_over_budget
from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from tests.instance import Instance, instance_settings, run_instance

if TYPE_CHECKING:
    # pytest itself must be the first to import its plugins.
    from tests.servers.plugin import DatabaseServers

pytest_plugins = ["tests.servers.plugin", "tests.rules.conformance"]

configure_logs("error", "json")

ENGINES = ("sqlite", "postgresql", "mariadb")

# The machine is shared with database servers, so the time of one example says nothing.
hypothesis.settings.register_profile("holdfast", deadline=None)
hypothesis.settings.load_profile("holdfast")

NewDatabase = Callable[[str], str]


@pytest.fixture(scope="session")
def new_database(database_servers: "DatabaseServers", tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Makes an empty database on an engine and gives its URL."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    made = 0

    def make(engine: str) -> str:
        nonlocal made
        made += 1
        if engine == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/holdfast.db"
        return database_servers.address(engine).create_database(f"holdfast_{worker}_{made}")

    return make


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
async def shared_instance(
    engine: str, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Instance]:
    """The instance that all tests of an engine share; use `instance`, which empties it first."""
    settings = instance_settings(new_database(engine), tmp_path_factory.mktemp("data"))
    await migrate(parse_address(settings.database_url))
    async with run_instance(engine, settings) as running:
        yield running


@pytest.fixture
async def instance(shared_instance: Instance) -> AsyncIterator[Instance]:
    """A running Holdfast without a single row."""
    await shared_instance.clear()
    over_budget = requests_over_budget.read()
    yield shared_instance
    await shared_instance.close_clients()
    added = {route for (route,), count in requests_over_budget.read().items() if count > over_budget.get((route,), 0)}
    assert not added, f"these ran more statements than they declare with opt=budget(…); the log names them: {added}"


@pytest.fixture
def database(instance: Instance) -> Database:
    """The database of the running instance."""
    return instance.database
