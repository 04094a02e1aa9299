"""Two servers and two workers of this release on one database, and clients of the servers."""

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.ha.replicas import FIRST_PASSWORD, PASSWORD
from tests.replicas.processes import Processes, Running, processes
from tests.replicas.releases import this_release

# A password takes its time; five failures are soon made.
SIGN_IN_ATTEMPTS = 5


class Cluster:
    """The processes, and what a client does at the one server and the other."""

    def __init__(self, started: Processes, servers: list[Running], workers: list[Running], url: str) -> None:
        self.processes = started
        self.servers = servers
        self.workers = workers
        self.database_url = url

    def client(self, number: int, token: str | None = None) -> httpx.AsyncClient:
        """A client of one of the servers."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=f"{self.servers[number].url}/api/v1", headers=headers, timeout=60)

    @contextlib.asynccontextmanager
    async def clients(self, token: str | None = None) -> Any:
        """A client of each of the two servers, with the administrator's token where none is given."""
        token = await self.administrator() if token is None else token
        async with self.client(0, token) as here, self.client(1, token) as there:
            yield here, there

    async def administrator(self) -> str:
        """A token of the administrator, made by the first server."""
        async with self.client(0) as client:
            answer = await client.post("/sessions", json={"username": "admin", "password": PASSWORD})
            if answer.status_code == 201:
                return str(answer.json()["token"])
            session = answered(
                await client.post("/sessions", json={"username": "admin", "password": FIRST_PASSWORD}), 201
            )
            changed = await client.put(
                f"/users/{session['user']['u_id']}/password",
                json={"old_password": FIRST_PASSWORD, "new_password": PASSWORD},
                headers={"Authorization": f"Bearer {session['token']}"},
            )
            assert changed.status_code == 204, changed.text
        return await self.administrator()

    async def make_user(self, client: httpx.AsyncClient) -> tuple[str, str, str]:
        """A user who has chosen a password: name, id and a token made by the server of the client."""
        username = new_name("user")
        first = {"username": username, "password": FIRST_PASSWORD}
        user = answered(await client.post("/users", json=first), 201)
        session = answered(await client.post("/sessions", json=first), 201)
        changed = await client.put(
            f"/users/{user['u_id']}/password",
            json={"old_password": FIRST_PASSWORD, "new_password": PASSWORD},
            headers={"Authorization": f"Bearer {session['token']}"},
        )
        assert changed.status_code == 204, changed.text
        session = answered(await client.post("/sessions", json={"username": username, "password": PASSWORD}), 201)
        return username, str(user["u_id"]), str(session["token"])


@contextlib.contextmanager
def running_cluster(folder: Path, url: str) -> Iterator[Cluster]:
    """Two servers, started in the same moment on a database that has no user yet, and two workers."""
    release = this_release()
    done = release.run("migrate", database_url=url)
    assert done.returncode == 0, done.stderr
    with processes(folder, url) as started:
        limits = {"sign_in_attempts": str(SIGN_IN_ATTEMPTS), "worker_in_server": "false"}
        servers = [started.server(release, **limits) for _ in range(2)]
        for server in servers:
            server.wait_until_ready()
        yield Cluster(started, servers, [started.worker(release) for _ in range(2)], url)


def answered(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The content of an answer with this status."""
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.text}"
    content: dict[str, Any] = answer.json()
    return content


def new_name(kind: str) -> str:
    """A name that nothing else has."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


async def make_project(client: httpx.AsyncClient) -> dict[str, Any]:
    """A project in a group of its own."""
    group = answered(await client.post("/groups", json={"group_name": new_name("group")}), 201)
    body = {"g_id": group["g_id"], "project_name": new_name("project")}
    return answered(await client.post("/projects", json=body), 201)


async def until(condition: Any, *, seconds: float = 120, what: str) -> None:
    """Wait for an asynchronous condition to hold."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"it did not come about: {what}"
        await asyncio.sleep(0.2)
