"""The release before goes on serving while this one upgrades the schema under it and takes over."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from holdfast.db.migrations.files import known_revisions
from tests.conftest import NewDatabase
from tests.db.live import other_connection
from tests.ha.load import Load, _sign_in
from tests.replicas.processes import Processes, Running, processes
from tests.replicas.releases import PREVIOUS_REVISION, Release, previous_release, this_release

pytestmark = pytest.mark.slow

_HEAD = known_revisions()[-1]


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return previous_release(tmp_path_factory.mktemp("previous"))


@pytest.fixture
def url(engine: str, new_database: NewDatabase, previous: Release) -> str:
    """A database as the release before made it."""
    made = new_database(engine)
    done = previous.run("migrate", database_url=made)
    assert done.returncode == 0, done.stderr
    assert _revision(made) == PREVIOUS_REVISION
    return made


@pytest.fixture
def started(url: str, tmp_path: Path) -> Iterator[Processes]:
    with processes(tmp_path, url) as running:
        yield running


def _revision(url: str) -> str:
    with other_connection(url) as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


async def _client(server: Running, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=f"{server.url}/api/v1", headers=headers, timeout=60)


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True)
async def test_callers_notice_nothing_of_an_upgrade_with_replicas(
    url: str, started: Processes, previous: Release
) -> None:
    old = started.ready_server(previous)
    async with Load([old.url], callers=6) as on_the_old:
        await on_the_old.until_acknowledged(40)
        upgraded = this_release().run("migrate", database_url=url)
        assert upgraded.returncode == 0, upgraded.stderr
        assert _revision(url) == _HEAD
        await on_the_old.until_acknowledged(80)
        new = started.ready_server(this_release())
        async with Load([old.url, new.url], callers=6) as on_both:
            await on_both.until_acknowledged(80)
            await on_the_old.until_acknowledged(20)
    for load in (on_the_old, on_both):
        figures = await load.verify()
        figures.require_kept_promises()
        assert (figures.unavailable, figures.unknown) == (0, 0), figures
    await _each_works_on_what_the_other_made(old, new)
    assert old.stop() == 0
    async with Load([new.url], callers=4) as on_the_new:
        await on_the_new.until_acknowledged(20)
    (await on_the_new.verify()).require_kept_promises()
    # Whoever kept serving has lost nothing on the way, and nothing of the old one was in the new one's way.
    assert new.stop() == 0


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_one_server_stops_and_the_next_goes_on_with_its_objects(
    url: str, started: Processes, previous: Release
) -> None:
    old = started.ready_server(previous)
    async with await _client(old, await _sign_in(old.url)) as client:
        made = await _make(client)
        assert old.stop() == 0
        new = started.ready_server(this_release())
        assert _revision(url) == _HEAD
        client.base_url = httpx.URL(f"{new.url}/api/v1")
        await _change_and_delete(client, client, made)


async def _each_works_on_what_the_other_made(old: Running, new: Running) -> None:
    # Signed in at the one, used at the other.
    of_old = await _client(old, await _sign_in(new.url))
    of_new = await _client(new, await _sign_in(old.url))
    async with of_old, of_new:
        for maker, other in ((of_old, of_new), (of_new, of_old)):
            await _change_and_delete(maker, other, await _make(maker))


async def _make(client: httpx.AsyncClient) -> dict[str, Any]:
    """One of each kind of object, a page of a list, and a request whose answer was kept."""
    name = f"upgrade-{uuid.uuid4().hex[:10]}"
    group = _answered(await client.post("/groups", json={"group_name": name}), 201)
    project = _answered(await client.post("/projects", json={"g_id": group["g_id"], "project_name": name}), 201)
    about = {"title": name, "project_id": project["p_id"]}
    key = {"Idempotency-Key": str(uuid.uuid4())}
    forms = [_answered(await client.post("/forms", json=about, headers=key), 201)]
    forms += [_answered(await client.post("/forms", json=about), 201) for _ in range(3)]
    config_file = _answered(
        await client.post(
            f"/projects/{project['p_id']}/config-files", json={"filename": "web.yaml", "content": _MANIFEST}
        ),
        201,
    )
    page = _answered(await client.get("/forms", params={"project_id": project["p_id"], "limit": "2"}), 200)
    return {
        "group": group,
        "project": project,
        "forms": forms,
        "config_file": config_file,
        "page": page,
        "kept": (about, key),
    }


async def _change_and_delete(maker: httpx.AsyncClient, other: httpx.AsyncClient, made: dict[str, Any]) -> None:
    """What the one made is read, changed, deleted and restored by the other, and the maker sees it."""
    about, key = made["kept"]
    again = await other.post("/forms", json=about, headers=key)
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (201, "true"), again.text
    assert again.json()["id"] == made["forms"][0]["id"]
    project_id = made["project"]["p_id"]
    following = {"project_id": project_id, "limit": "2", "cursor": made["page"]["next"]}
    rest = _answered(await other.get("/forms", params=following), 200)
    listed = [form["id"] for form in (*made["page"]["items"], *rest["items"])]
    assert sorted(listed) == sorted(form["id"] for form in made["forms"])

    path = f"/forms/{made['forms'][1]['id']}"
    read = await other.get(path)
    changed = await other.patch(path, json={"title": "changed"}, headers={"If-Match": read.headers["ETag"]})
    assert changed.status_code == 200, changed.text
    late = await maker.patch(path, json={"title": "too late"}, headers={"If-Match": read.headers["ETag"]})
    assert late.status_code == 412, late.text
    assert _answered(await maker.get(path), 200)["title"] == "changed"
    config_path = f"/config-files/{made['config_file']['cf_id']}"
    assert "nginx" in _answered(await other.get(config_path), 200)["content"]

    plan = _answered(await maker.post("/deletion-plans", json={"type": "project", "id": project_id}), 200)
    gone = await other.delete(f"/projects/{project_id}", params={"plan": plan["token"]})
    assert gone.status_code == 200, gone.text
    assert (await maker.get(path)).status_code == 404
    restored = await maker.post(f"/deletions/{gone.json()['deletion_id']}/restore")
    assert restored.status_code == 200, restored.text
    assert _answered(await other.get(path), 200)["title"] == "changed"


def _answered(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.text}"
    content: dict[str, Any] = answer.json()
    return content


_MANIFEST = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
    - name: web
      image: nginx:1.27
"""
