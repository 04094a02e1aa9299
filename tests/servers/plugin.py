"""One server of each engine for a whole test run, shared by the workers of pytest-xdist.

With workers the controlling process starts the servers and lends their addresses; without, each starts when a test
first asks for it. Every worker makes databases of its own on them.
"""

import contextlib
import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import pytest
from xdist.workermanage import WorkerController

from tests.servers.address import ServerAddress, parse_address
from tests.servers.mariadb import mariadb_server
from tests.servers.postgresql import postgresql_server
from tests.servers.process import EngineMissingError, OpenServer

ENGINES: dict[str, OpenServer] = {
    "postgresql": postgresql_server,
    "mariadb": mariadb_server,
}


class DatabaseServers(ABC):
    """The run's servers as one process sees them."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}

    @property
    def server_urls(self) -> dict[str, str | None]:
        """For each engine the URL of its administrative database, or None where the engine is missing."""
        return {engine: self._find_url(engine) for engine in ENGINES}

    def address(self, engine: str) -> ServerAddress:
        """Where `engine` answers. A missing engine skips the test, or fails it under HOLDFAST_REQUIRE_ENGINES=1."""
        url = self._find_url(engine)
        if url is not None:
            return parse_address(url)
        if os.environ.get("HOLDFAST_REQUIRE_ENGINES") == "1":
            pytest.fail(self.missing[engine], pytrace=False)
        pytest.skip(self.missing[engine])

    @abstractmethod
    def _find_url(self, engine: str) -> str | None: ...


class OwnServers(DatabaseServers):
    """Servers that this process starts at the first use and ends in `close`."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        self._urls: dict[str, str | None] = {}

    def start_all(self) -> None:
        with ThreadPoolExecutor(len(ENGINES)) as executor:
            for _ in executor.map(self._find_url, ENGINES):
                pass

    def close(self) -> None:
        self._stack.close()

    def _find_url(self, engine: str) -> str | None:
        if engine not in self._urls:
            try:
                self._urls[engine] = self._stack.enter_context(ENGINES[engine]()).admin_url()
            except EngineMissingError as error:
                self._urls[engine] = None
                self.missing[engine] = str(error)
        return self._urls[engine]


class LentServers(DatabaseServers):
    """Servers that the controlling process of the run started."""

    def __init__(self, urls: dict[str, str | None], missing: dict[str, str]) -> None:
        super().__init__()
        self._urls = urls
        self.missing = missing

    def _find_url(self, engine: str) -> str | None:
        return self._urls[engine]


SERVERS = pytest.StashKey[DatabaseServers]()


def pytest_configure(config: pytest.Config) -> None:
    lent = getattr(config, "workerinput", {}).get("holdfast_servers")
    config.stash[SERVERS] = OwnServers() if lent is None else LentServers(lent["urls"], lent["missing"])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    servers = node.config.stash[SERVERS]
    if isinstance(servers, OwnServers):
        servers.start_all()
    node.workerinput["holdfast_servers"] = {"urls": servers.server_urls, "missing": servers.missing}


def pytest_unconfigure(config: pytest.Config) -> None:
    servers = config.stash.get(SERVERS, None)
    if isinstance(servers, OwnServers):
        servers.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for sentence in config.stash[SERVERS].missing.values():
        terminalreporter.write_line(f"NOT TESTED: {sentence}", red=True, bold=True)


@pytest.fixture(scope="session")
def database_servers(request: pytest.FixtureRequest) -> DatabaseServers:
    """The run's servers; ask `address(engine)` for the one a test needs."""
    return request.config.stash[SERVERS]
