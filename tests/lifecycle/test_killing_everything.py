"""`kill -9` of server, worker and database in turn, in the middle of everything, again and again.

Meanwhile callers write and read through the API (`tests.ha.load`), and others make groups with people and forms, delete
them and have them purged. Afterwards everything that was acknowledged is there, or gone, as it was told: once.
"""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from tests.conftest import NewDatabase
from tests.db.consistency import find_inconsistencies
from tests.db.rows import fetch, run
from tests.ha.load import Load
from tests.ha.replicas import FIRST_PASSWORD
from tests.instance import instance_settings
from tests.lifecycle.commands import Commands, environment_of, preloaded
from tests.servers.plugin import ENGINES, DatabaseServers
from tests.servers.process import DatabaseServer

pytestmark = pytest.mark.slow

_ROUNDS = 4
_LONG_AGO = "2020-01-01 00:00:00.000000"
_PATIENCE_SECONDS = 120
_PEOPLE = 3
_GROUPS_AT_ONCE = 2


class Stage:
    """A server, a worker and a database, each of which can be killed and started again."""

    def __init__(
        self, folder: Path, url: str, database: DatabaseServer | None, serve: Commands, work: Commands
    ) -> None:
        self.database_url = url
        self.database = database
        self.folder = folder
        self._serve, self._work = serve, work
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.environment = environment_of(url, folder) | {
            "HOLDFAST_PORT": str(self._port),
            "HOLDFAST_ADMIN_PASSWORD": FIRST_PASSWORD,
            "HOLDFAST_WORKER_IN_SERVER": "false",
            "HOLDFAST_WORKER_LEASE_SECONDS": "2",
        }

    async def start(self) -> None:
        """All of it."""
        self._serve.start("serve", environment=self.environment)
        await self.until_ready()
        self._work.start("worker", environment=self.environment)

    async def kill_server(self) -> None:
        assert self._serve.is_alive(), self._serve.output.read_text()[-4000:]
        assert (await asyncio.to_thread(self._serve.kill)).was_killed
        self._serve.start("serve", environment=self.environment)

    async def kill_worker(self) -> None:
        assert self._work.is_alive(), self._work.output.read_text()[-4000:]
        assert (await asyncio.to_thread(self._work.kill)).was_killed
        self._work.start("worker", environment=self.environment)

    async def kill_database(self) -> None:
        """Where it is a file: both that have it open, in one moment."""
        if self.database is None:
            await asyncio.gather(self.kill_server(), self.kill_worker())
            return
        await asyncio.to_thread(self.database.kill)
        await asyncio.to_thread(self.database.start)

    async def until_ready(self) -> None:
        """Wait until the server answers, and its database, too."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        async with httpx.AsyncClient(timeout=_PATIENCE_SECONDS) as client:
            while True:
                with suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                assert time.monotonic() < deadline, self._serve.output.read_text()[-4000:]
                await asyncio.sleep(0.05)


class Housekeeping:
    """Makes groups, fills them, deletes some and has them purged; notes what was acknowledged."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._is_over = False
        self.kept: list[tuple[str, int]] = []
        self.deleted: list[tuple[str, str]] = []

    def end(self) -> None:
        """No more groups after those under way."""
        self._is_over = True

    async def repeat(self) -> None:
        """One group after the other; each second one stays."""
        turn = 0
        async with httpx.AsyncClient(base_url=f"{self._url}/api/v1", headers=self._headers, timeout=60) as client:
            while not self._is_over:
                turn += 1
                await self._keep_house(client, turn)

    async def _keep_house(self, client: httpx.AsyncClient, turn: int) -> None:
        name = f"house-{uuid.uuid4().hex[:10]}"
        group = await self._done(client, "POST", "/groups", {"group_name": name}, key=True)
        g_id = group["g_id"]
        rows = [{"line": n + 2, "username": f"{name}-{n}", "role": "user"} for n in range(_PEOPLE)]
        await self._done(client, "POST", f"/groups/{g_id}/roster", {"rows": rows})
        project = await self._done(client, "POST", "/projects", {"g_id": g_id, "project_name": name}, key=True)
        for number in range(5):
            body = {"title": f"{name} {number}", "project_id": project["p_id"], "message": "What now?"}
            await self._done(client, "POST", "/forms", body, key=True)
        if turn % 2:
            self.kept.append((g_id, _PEOPLE))
            return
        self.deleted.append((g_id, await self._delete(client, g_id)))

    async def _delete(self, client: httpx.AsyncClient, g_id: str) -> str:
        """Delete a group, whatever it takes, and ask for its purge; the deletion's id."""
        while (deletion_id := await self._try_to_delete(client, g_id)) is None:
            pass
        purge = await self._ask(client, "POST", f"/deletions/{deletion_id}/purge")
        assert purge.status_code in {202, 409}, purge.text
        return deletion_id

    async def _try_to_delete(self, client: httpx.AsyncClient, g_id: str) -> str | None:
        plan = await self._ask(client, "POST", "/deletion-plans", json={"type": "group", "id": g_id})
        if plan.status_code == 404:
            # The answer to an earlier attempt was lost, and what it did was not.
            (deletion,) = (await self._done(client, "GET", f"/deletions?root_id={g_id}"))["items"]
            return str(deletion["id"])
        wish = {"plan": plan.json()["token"], "take_along": "true"}
        answer = await self._ask(client, "DELETE", f"/groups/{g_id}", params=wish)
        assert answer.status_code in {200, 404, 409}, answer.text
        return str(answer.json()["deletion_id"]) if answer.status_code == 200 else None

    async def _done(
        self, client: httpx.AsyncClient, method: str, path: str, body: Any = None, *, key: bool = False
    ) -> Any:
        headers = {"Idempotency-Key": str(uuid.uuid4())} if key else {}
        answer = await self._ask(client, method, path, json=body, headers=headers)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def _ask(self, client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
        """The first answer that is not about the one who is dead."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                answer = await client.request(method, path, **options)
                if answer.status_code != 503:
                    return answer
            await asyncio.sleep(0.1)
        raise AssertionError(f"{method} {path} was never answered")


@contextmanager
def _database_of(
    engine: str, database_servers: DatabaseServers, new_database: NewDatabase
) -> Iterator[tuple[str, DatabaseServer | None]]:
    if engine == "sqlite":
        yield new_database(engine), None
        return
    # Asked first, so that a missing engine is skipped or fails by the same rule as everywhere.
    database_servers.address(engine)
    with ENGINES[engine]() as server:
        yield server.create_database("everything"), server


@pytest.fixture
async def stage(
    engine: str, database_servers: DatabaseServers, new_database: NewDatabase, tmp_path: Path
) -> AsyncIterator[Stage]:
    with ExitStack() as stack:
        url, server = stack.enter_context(_database_of(engine, database_servers, new_database))
        await migrate(parse_address(url))
        serve, work = (stack.enter_context(preloaded(tmp_path)) for _ in range(2))
        stage = Stage(tmp_path, url, server, serve, work)
        await stage.start()
        try:
            yield stage
        finally:
            serve.kill()
            work.kill()


async def test_what_was_acknowledged_outlives_the_death_of_server_worker_and_database(stage: Stage) -> None:
    async with Load([stage.url], callers=4, rest_seconds=0.05) as load:
        token = load._clients[0].headers["Authorization"].removeprefix("Bearer ")
        houses = [Housekeeping(stage.url, token) for _ in range(_GROUPS_AT_ONCE)]
        keeping = [asyncio.create_task(house.repeat()) for house in houses]
        try:
            for _ in range(_ROUNDS):
                for kill in (stage.kill_server, stage.kill_worker, stage.kill_database):
                    await load.until_acknowledged(6)
                    await kill()
            await stage.until_ready()
            await load.until_acknowledged(6)
        finally:
            for house in houses:
                house.end()
        await asyncio.gather(*keeping)
    figures = await load.verify()
    # Callers of a server that was killed get no answer; anything else that is no answer is a fault.
    figures.unexpected_answers = [told for told in figures.unexpected_answers if "Error(" not in told]
    figures.require_kept_promises()
    kept = [each for house in houses for each in house.kept]
    deleted = [each for house in houses for each in house.deleted]
    assert kept
    assert deleted
    async with open_database(instance_settings(stage.database_url, stage.folder)).running() as database:
        await _require_all_done(stage, database, [deletion_id for _, deletion_id in deleted])
        await _require_groups(database, kept, [g_id for g_id, _ in deleted])
        assert await find_inconsistencies(database) == []
        assert not list(stage.folder.rglob("*.part"))


async def _require_all_done(stage: Stage, database: Database, deletion_ids: list[str]) -> None:
    """Every purge comes to its end, with the numbers of its plan, and no job is left or a dead letter."""
    # What a minute without the dead workers does.
    await run(database, f"UPDATE deletions SET lease_until = '{_LONG_AGO}' WHERE lease_token IS NOT NULL")
    pending = "SELECT name, state, failure FROM jobs WHERE every_seconds IS NULL AND state <> 'done'"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := await fetch(database, pending):
        assert time.monotonic() < deadline, f"{left}\n{stage._work.output.read_text()[-4000:]}"
        assert all(state != "failed" for _, state, _ in left), left
        await asyncio.sleep(0.1)
    ids = ", ".join(f"'{each}'" for each in deletion_ids)
    found = await fetch(
        database, f"SELECT id, state, planned_counts, actual_counts, failure FROM deletions WHERE id IN ({ids})"
    )
    assert len(found) == len(deletion_ids)
    for row in found:
        assert row[1] == "purged", row
        planned, removed = (msgspec.json.decode(counts, type=dict[str, int]) for counts in row[2:4])
        assert planned == removed, row
    # Each is told once that it was asked for, that it began, and that it ended.
    told = await fetch(database, "SELECT count(*) FROM audit_logs WHERE action = 'purge' AND description = 'purged'")
    assert [tuple(each) for each in told] == [(len(deletion_ids),)]


async def _require_groups(database: Database, kept: list[tuple[str, int]], deleted: list[str]) -> None:
    """Those that were kept are there once, with all their people; of the others no row is left."""
    members = {
        str(g_id): int(count)
        for g_id, count in await fetch(
            database,
            "SELECT g.g_id, (SELECT count(*) FROM user_group m WHERE m.g_id = g.g_id AND m.role = 'user')"
            " FROM group_list g WHERE g.deletion_id = '' AND g.group_name LIKE 'house-%'",
        )
    }
    assert members == dict(kept)
    gone = ", ".join(f"'{each}'" for each in deleted)
    assert await fetch(database, f"SELECT g_id FROM group_list WHERE g_id IN ({gone})") == []
