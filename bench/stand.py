"""A stand to measure on: a database of its own on each engine, with the population in it, and who runs there."""

import asyncio
import http.client
import pickle
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from bench.peers import Peer
from bench.population import Populated, load
from bench.processes import Driven, cpu_seconds, driven, started
from bench.recording import record, to_wire
from bench.scenarios import CONNECTIONS, Scenario
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Transaction
from holdfast.db.engines.mariadb_transaction import MariadbTransaction
from holdfast.db.engines.postgresql import PostgresqlTransaction
from holdfast.db.engines.sqlite import SqliteTransaction
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from tests.instance import instance_settings, run_instance
from tests.servers import mariadb_server, postgresql_server
from tests.servers.process import free_loopback_port

ENGINES = ("postgresql", "mariadb", "sqlite")
# Given, so that no first start prints one.
ADMIN_PASSWORD = "correct horse battery staple"  # noqa: S105 - of databases that live for minutes
_READY_SECONDS = 60
_TRANSACTIONS: dict[str, type[Transaction]] = {
    "postgresql": PostgresqlTransaction,
    "mariadb": MariadbTransaction,
    "sqlite": SqliteTransaction,
}
_OPEN_SERVER = {"postgresql": postgresql_server, "mariadb": mariadb_server}


class Stand:
    """A loaded database on one engine. `folder` is for what the processes on it write."""

    def __init__(self, engine: str, database_url: str, server_pids: Sequence[int], folder: Path) -> None:
        self.engine = engine
        self.database_url = database_url
        self.server_pids = tuple(server_pids)
        self.folder = folder
        # Settings of the product that differ from their defaults, to try something.
        self.settings: dict[str, str] = {}
        # Whether the processes run where the kernel puts them, instead of each on its own core.
        self.shares_cores = False

    @property
    def environment(self) -> dict[str, str]:
        """What a serving process of the product is started with."""
        return {
            "HOLDFAST_DATABASE_URL": self.database_url,
            "HOLDFAST_DATA_DIR": str(self.folder),
            "HOLDFAST_ADMIN_PASSWORD": ADMIN_PASSWORD,
            **self.settings,
        }

    def cpu_seconds(self, pid: int) -> float:
        """The CPU time of an application and of the database."""
        return cpu_seconds(pid, *self.server_pids)

    async def usable(self, scenarios: Sequence[Scenario]) -> tuple[list[Scenario], list[str]]:
        """The scenarios whose routes this version has, and a sentence for each other one."""
        found, missing = [], []
        async with self._recorder() as client:
            routes = (await client.get("/api/v1/openapi.json")).json()["paths"]
        for scenario in scenarios:
            if any(_matches(route, scenario.requests[0].path.partition("?")[0]) for route in routes):
                found.append(scenario)
            else:
                missing.append(f"{scenario.name}: left out, this version has no such route")
        return found, missing

    async def record(self, scenarios: Sequence[Scenario]) -> Path:
        """Write what the limit replays: the product's statements for each request."""
        kept: dict[str, Any] = {}
        async with self._recorder() as client:
            for scenario in scenarios:
                traces = await record(client, _TRANSACTIONS[self.engine], scenario.requests)
                kept[scenario.name] = (to_wire(traces), scenario.is_write)
        file = self.folder / f"traces-{self.engine}.pickle"
        file.write_bytes(pickle.dumps((self.engine, self._driver_address(), CONNECTIONS, kept)))
        return file

    @contextmanager
    def holdfast(self) -> Iterator["Server"]:
        """A serving process with the default settings of the product."""
        command = [str(Path(sys.executable).with_name("holdfast")), "serve"]
        with serving(command, self.environment, self.folder / "holdfast.log", ready="/readyz") as server:
            yield server

    @contextmanager
    def peer(self, peer: Peer) -> Iterator["Server"]:
        """A peer on the same database."""
        environment = {"BENCH_PEER_DATABASE": self.database_url}
        with serving(peer.command, environment, self.folder / f"{peer.name}.log", ready="/readyz") as server:
            yield server

    @asynccontextmanager
    async def _recorder(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client of an instance in this process."""
        settings = instance_settings(self.database_url, self.folder, admin_password=ADMIN_PASSWORD)
        async with (
            run_instance(self.engine, settings) as instance,
            httpx.AsyncClient(base_url=instance.base_url, timeout=30) as client,
        ):
            yield client

    def _driver_address(self) -> Any:
        address = parse_address(self.database_url)
        if self.engine == "postgresql":
            return address.dsn
        return address.connect_arguments if self.engine == "mariadb" else str(address.path)


class Server:
    """A serving process."""

    def __init__(self, pid: int, port: int, ready_seconds: float) -> None:
        self.pid = pid
        self.port = port
        self.ready_seconds = ready_seconds

    def get(self, path: str, token: str | None = None) -> bytes:
        """The body of an answer, which must be 200."""
        return self._ask("GET", path, token, expected=200)

    def post(self, path: str, token: str, *, expected: int) -> bytes:
        """The body of an answer to a POST without one."""
        return self._ask("POST", path, token, expected=expected)

    def _ask(self, method: str, path: str, token: str | None, *, expected: int) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != expected:
            raise RuntimeError(f"{method} {path}: {answer.status} {body[:500]!r}")
        return body


@contextmanager
def loaded_stand(engine: str, population: Populated, folder: Path) -> Iterator[Stand]:
    """Start the engine's server, make the schema and load the population. Raises EngineMissingError."""
    with ExitStack() as stack:
        pids: list[int] = []
        if engine == "sqlite":
            database_url = f"sqlite:///{folder}/bench.db"
        else:
            server = stack.enter_context(_OPEN_SERVER[engine](durable=True))
            assert server.pid is not None
            pids = [server.pid]
            database_url = server.create_database("bench")
        asyncio.run(_fill(engine, database_url, population, folder))
        yield Stand(engine, database_url, pids, folder)


@contextmanager
def load_process(scenarios: Sequence[Scenario], folder: Path, *, module: str = "bench.load") -> Iterator[Driven]:
    """The process that sends requests: `bench.load`, as fast as they are answered, or `bench.steady`."""
    kept = {
        scenario.name: (
            [(request.method, request.path, request.token, request.body) for request in scenario.requests],
            201 if scenario.is_write else 200,
        )
        for scenario in scenarios
    }
    file = folder / "requests.pickle"
    file.write_bytes(pickle.dumps(kept))
    with driven(module, str(file), str(CONNECTIONS)) as process:
        yield process


@contextmanager
def serving(command: list[str], environment: dict[str, str], log: Path, *, ready: str) -> Iterator[Server]:
    """Start a server on a free port and wait until it is ready."""
    port = free_loopback_port()
    begun = time.perf_counter()
    with started(command, environment | {"HOLDFAST_PORT": str(port)}, log) as process:
        while not _answers(port, ready):
            if process.poll() is not None or time.perf_counter() > begun + _READY_SECONDS:
                raise RuntimeError(f"{command} is not ready; its log ends with\n{log.read_text()[-4000:]}")
            time.sleep(0.005)
        yield Server(process.pid, port, time.perf_counter() - begun)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


async def _fill(engine: str, database_url: str, population: Populated, folder: Path) -> None:
    await migrate(parse_address(database_url))
    database = open_database(instance_settings(database_url, folder))
    async with database.running():
        await load(database, population)
        if engine == "sqlite":
            async with database.write() as tx:
                # The peer's statements need it for good plans; the product's do not.
                await tx.fetch_text("ANALYZE")
    if engine == "postgresql":
        with psycopg.connect(database_url, autocommit=True) as connection:
            # Left on, the autovacuum would clean up after the load during some rounds and not during others.
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")


def _matches(route: str, path: str) -> bool:
    parts, asked = route.strip("/").split("/"), path.strip("/").split("/")
    return len(parts) == len(asked) and all(
        part == word or part.startswith("{") for part, word in zip(parts, asked, strict=True)
    )
