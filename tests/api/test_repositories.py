"""Repositories and tags over HTTP (conformance R-05, T-37)."""

import asyncio
from typing import Any

import pytest

from holdfast.db.tables import container_repositories
from tests.api.cast import Cast, audit_entries, count_rows
from tests.features.images.deletion import delete_row
from tests.instance import Instance

SHA256 = "sha256:" + "a" * 64


@pytest.fixture
async def cast(instance: Instance) -> Cast:
    return await Cast(instance).fill()


async def kept(cast: Cast, name: str = "nginx") -> str:
    """A repository; its id."""
    answer = await cast.super_admin.post("/repositories", json={"name": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def tagged(cast: Cast, repository_id: str, **body: Any) -> dict[str, Any]:
    """A tag of a repository."""
    answer = await cast.super_admin.post(f"/repositories/{repository_id}/tags", json={"name": "1.27"} | body)
    assert answer.status_code == 201, answer.text
    tag: dict[str, Any] = answer.json()
    return tag


async def test_a_repository_is_kept_in_normal_form(cast: Cast) -> None:
    answer = await cast.super_admin.post("/repositories", json={"name": "org/app", "registry": "GHCR.io"})
    assert answer.status_code == 201, answer.text
    repository = answer.json()
    assert (
        repository.items()
        >= {
            "registry": "ghcr.io",
            "namespace": "org",
            "name": "app",
            "full_name": "ghcr.io/org/app",
        }.items()
    )
    read = await cast.user.get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == repository
    assert [entry[:2] for entry in await audit_entries(cast.instance, "repository")] == [("create", "ghcr.io/org/app")]


@pytest.mark.conformance("T-37")
async def test_a_repository_is_kept_once_while_it_lives(cast: Cast) -> None:
    names = ["nginx", "library/nginx", "docker.io/nginx", "index.docker.io/library/nginx"] * 2
    answers = await asyncio.gather(*(cast.super_admin.post("/repositories", json={"name": name}) for name in names))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    (repository_id,) = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    await delete_row(cast.database, container_repositories, repository_id)
    assert (await cast.user.get(f"/repositories/{repository_id}")).status_code == 404
    assert await kept(cast) != repository_id
    assert await count_rows(cast.instance, "container_repositories") == 2


@pytest.mark.conformance("T-37")
async def test_a_tag_is_kept_once_in_its_repository(cast: Cast) -> None:
    repository_id = await kept(cast)
    answers = await asyncio.gather(
        *(cast.super_admin.post(f"/repositories/{repository_id}/tags", json={"name": "1"}) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    await tagged(cast, await kept(cast, "redis"), name="1")
    assert len(await audit_entries(cast.instance, "tag")) == 2


@pytest.mark.parametrize("body", [{"name": "nginx:1"}, {"name": f"nginx@{SHA256}"}, {"name": "NGINX"}, {"name": ""}])
async def test_what_names_no_repository_is_refused(cast: Cast, body: dict[str, Any]) -> None:
    assert (await cast.super_admin.post("/repositories", json=body)).status_code == 400


@pytest.mark.parametrize("role", ["admin", "manager", "user", "outsider"])
async def test_others_read_repositories_but_change_nothing(cast: Cast, role: str) -> None:
    repository_id = await kept(cast)
    tag = await tagged(cast, repository_id)
    client = getattr(cast, role)
    assert (await client.get("/repositories")).json()["total"] == 1
    assert (await client.get(f"/repositories/{repository_id}/tags")).json()["items"] == [tag]
    assert (await client.post("/repositories", json={"name": "redis"})).status_code == 403
    assert (await client.post(f"/repositories/{repository_id}/tags", json={"name": "2"})).status_code == 403
    changed = await client.patch(f"/repositories/{repository_id}/tags/{tag['id']}", json={"digest": SHA256})
    assert changed.status_code == 403


async def test_a_tag_holds_digest_size_and_time_of_push(cast: Cast) -> None:
    repository_id = await kept(cast)
    body = {"name": "1.27", "digest": SHA256, "size": 2**40, "pushed_at": "2026-05-01T12:00:00+02:00"}
    tag = await tagged(cast, repository_id, **body)
    assert (
        tag.items()
        >= {
            "repository_id": repository_id,
            "name": "1.27",
            "digest": SHA256,
            "size": 2**40,
            "pushed_at": "2026-05-01T10:00:00Z",
            "is_pulled": None,
        }.items()
    )


@pytest.mark.parametrize(
    "body",
    [
        {"digest": "sha256:short"},
        {"size": -1},
        {"size": 2**63},
        {"pushed_at": "yesterday"},
        {"pushed_at": "2026-05-01T12:00:00"},
        {"pushed_at": "9999-12-31T23:59:59-23:00"},
        {"pushed_at": "0001-01-01T00:00:00+23:00"},
        {"name": "-"},
        {"name": None},
        {"repository_id": "other"},
    ],
)
async def test_a_tag_that_cannot_be_is_refused(cast: Cast, body: dict[str, Any]) -> None:
    repository_id = await kept(cast)
    answer = await cast.super_admin.post(f"/repositories/{repository_id}/tags", json={"name": "1"} | body)
    assert answer.status_code == 400, answer.text
    assert await count_rows(cast.instance, "container_tags") == 0


async def test_a_tag_is_changed_with_its_version(cast: Cast) -> None:
    repository_id = await kept(cast)
    tag = await tagged(cast, repository_id, size=5)
    path = f"/repositories/{repository_id}/tags/{tag['id']}"
    read = await cast.user.get(path)
    assert read.json() == tag
    headers = {"If-Match": read.headers["ETag"]}
    changed = await cast.super_admin.patch(path, json={"digest": SHA256, "size": None}, headers=headers)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["digest"], changed.json()["size"]) == (SHA256, None)
    assert (await cast.super_admin.patch(path, json={"size": 1}, headers=headers)).status_code == 412
    unchanged = await cast.super_admin.patch(path, json={"digest": SHA256})
    assert unchanged.json() == changed.json()
    entries = await audit_entries(cast.instance, "tag")
    assert [entry[:2] for entry in entries] == [
        ("create", "docker.io/library/nginx:1.27"),
        ("update", "docker.io/library/nginx:1.27"),
    ]


async def test_tags_of_what_is_not_there_are_not_found(cast: Cast) -> None:
    repository_id = await kept(cast)
    other_id = await kept(cast, "redis")
    tag = await tagged(cast, repository_id)
    assert (await cast.user.get("/repositories/nowhere/tags")).status_code == 404
    assert (await cast.super_admin.post("/repositories/nowhere/tags", json={"name": "1"})).status_code == 404
    assert (await cast.user.get(f"/repositories/{other_id}/tags/{tag['id']}")).status_code == 404
    moved = await cast.super_admin.patch(f"/repositories/{other_id}/tags/{tag['id']}", json={"size": 1})
    assert moved.status_code == 404


async def test_repositories_and_tags_are_sorted_and_searched(cast: Cast) -> None:
    await kept(cast, "redis")
    await kept(cast, "nginx")
    repository_id = await kept(cast, "ghcr.io/org/app")
    for tag_name in ("2", "1-slim"):
        await tagged(cast, repository_id, name=tag_name)

    async def seen(path: str, field: str, **parameters: Any) -> list[str]:
        answer = await cast.user.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return [row[field] for row in answer.json()["items"]]

    hub = ["docker.io/library/nginx", "docker.io/library/redis"]
    assert await seen("/repositories", "full_name", sort="full_name") == [*hub, "ghcr.io/org/app"]
    assert await seen("/repositories", "full_name", sort="-created_at", q="Library") == hub
    tags = f"/repositories/{repository_id}/tags"
    assert await seen(tags, "name", sort="name") == ["1-slim", "2"]
    assert await seen(tags, "name") == ["1-slim", "2"]
    assert await seen(tags, "name", q="slim") == ["1-slim"]
    first = (await cast.user.get("/repositories", params={"sort": "full_name", "limit": 2})).json()
    rest = await seen("/repositories", "full_name", sort="full_name", limit=2, cursor=first["next"])
    assert rest == ["ghcr.io/org/app"]
