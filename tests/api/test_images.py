"""The allow list over HTTP (conformance R-05 to R-07, S-04, Q-06)."""

import asyncio
from typing import Any

import pytest

from holdfast.db.tables import container_repositories, container_tags, image_allow_list
from tests.api.cast import Cast, audit_entries, count_rows
from tests.factories import make_group, make_member, make_project, make_rule, make_token, make_user
from tests.features.images.deletion import delete_row
from tests.instance import Instance


@pytest.fixture
async def cast(instance: Instance) -> Cast:
    return await Cast(instance).fill()


async def allowed(cast: Cast, **body: Any) -> dict[str, Any]:
    """A rule that the super administrator makes."""
    answer = await cast.super_admin.post("/images", json={"image_name": "nginx", "tag": "1.27"} | body)
    assert answer.status_code == 201, answer.text
    image: dict[str, Any] = answer.json()
    return image


@pytest.mark.conformance("R-05")
async def test_a_super_administrator_allows_an_image_at_once(cast: Cast) -> None:
    answer = await cast.super_admin.post("/images", json={"image_name": "ghcr.io/org/app:2", "project_id": cast.p_id})
    assert answer.status_code == 201, answer.text
    image = answer.json()
    assert (
        image.items()
        >= {
            "project_id": cast.p_id,
            "project_name": "simulation",
            "full_name": "ghcr.io/org/app",
            "tag": "2",
            "is_enabled": True,
            "request_id": None,
        }.items()
    )
    read = await cast.user.get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == image
    assert read.headers["ETag"] == answer.headers["ETag"]
    assert [entry[0] for entry in await audit_entries(cast.instance, "image")] == ["create"]


async def test_a_rule_without_tag_holds_for_every_tag(cast: Cast) -> None:
    image = await allowed(cast, tag=None)
    assert (image["tag_id"], image["tag"]) == (None, None)
    answer = await cast.user.post("/image-requests", json={"image_name": "nginx:any-tag", "project_id": cast.p_id})
    assert (answer.status_code, answer.json()["code"]) == (409, "image_already_allowed")


async def test_an_equal_rule_is_not_made_twice(cast: Cast) -> None:
    image = await allowed(cast, project_id=cast.p_id)
    bodies = [
        {"image_name": "docker.io/library/nginx:1.27", "project_id": cast.p_id},
        {"image_name": "nginx", "tag": "1.27", "project_id": cast.p_id},
    ]
    for body in bodies:
        answer = await cast.super_admin.post("/images", json=body)
        assert (answer.status_code, answer.json()["image_id"]) == (409, image["id"])
    await allowed(cast)
    await allowed(cast, project_id=cast.p_id, tag=None)
    assert await count_rows(cast.instance, "image_allow_list") == 3


@pytest.mark.parametrize("for_all", [True, False], ids=["for all", "for a project"])
@pytest.mark.parametrize("tag", ["1.27", None], ids=["one tag", "every tag"])
async def test_many_callers_make_one_rule_at_one_moment(cast: Cast, for_all: bool, tag: str | None) -> None:
    # The repository is there already, so that making it does not put the callers in a row.
    await allowed(cast, project_id=await make_project(cast.database, cast.g_id, "other"))
    body = {"image_name": "nginx", "tag": tag, "project_id": None if for_all else cast.p_id}
    answers = await asyncio.gather(*(cast.super_admin.post("/images", json=body) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
    assert await count_rows(cast.instance, "image_allow_list") == 2


@pytest.mark.conformance("R-07")
@pytest.mark.parametrize("role", ["admin", "manager"])
async def test_what_staff_add_becomes_a_pending_request(cast: Cast, role: str) -> None:
    client = getattr(cast, role)
    body = {"image_name": "nginx", "tag": "1.27", "project_id": cast.p_id}
    answer = await client.post("/images", json=body, headers={"Idempotency-Key": "once"})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/api/v1/image-requests/{answer.json()['id']}"
    assert answer.json()["status"] == "pending"
    assert await count_rows(cast.instance, "image_allow_list") == 0
    again = await client.post("/images", json=body, headers={"Idempotency-Key": "once"})
    assert (again.status_code, again.json()) == (202, answer.json())
    without_tag = await client.post("/images", json={"image_name": "redis", "project_id": cast.p_id})
    assert without_tag.status_code == 400


@pytest.mark.parametrize(
    ("role", "in_project", "status"),
    [
        ("admin", False, 403),
        ("manager", False, 403),
        ("user", True, 403),
        ("user", False, 403),
        ("outsider", True, 404),
        ("outsider", False, 403),
    ],
)
async def test_who_may_not_add_an_image(cast: Cast, role: str, in_project: bool, status: int) -> None:
    body = {"image_name": "nginx", "tag": "1", "project_id": cast.p_id if in_project else None}
    assert (await getattr(cast, role).post("/images", json=body)).status_code == status
    assert await count_rows(cast.instance, "image_requests") == 0


@pytest.mark.conformance("R-05")
async def test_each_sees_the_rules_for_all_and_those_of_their_projects(cast: Cast) -> None:
    other_group = await make_group(cast.database, "chemistry")
    other_project = await make_project(cast.database, other_group, "titration")
    everywhere = (await allowed(cast, tag=None))["id"]
    here = (await allowed(cast, project_id=cast.p_id))["id"]
    there = (await allowed(cast, project_id=other_project))["id"]
    expected = {
        "super_admin": {everywhere, here, there},
        "admin": {everywhere, here},
        "manager": {everywhere, here},
        "user": {everywhere, here},
        "outsider": {everywhere},
    }
    for role, ids in expected.items():
        client = getattr(cast, role)
        listed = (await client.get("/images")).json()
        assert {image["id"] for image in listed["items"]} == ids, role
        assert listed["total"] == len(ids)
        for image_id in (everywhere, here, there):
            status = (await client.get(f"/images/{image_id}")).status_code
            assert status == (200 if image_id in ids else 404), role


@pytest.mark.conformance("R-05")
async def test_the_list_is_filtered_and_searched(cast: Cast) -> None:
    everywhere = (await allowed(cast))["id"]
    here = (await allowed(cast, image_name="redis", project_id=cast.p_id))["id"]
    other = await make_project(cast.database, cast.g_id, "other")
    there = (await allowed(cast, image_name="redis", project_id=other))["id"]
    await cast.manager.patch(f"/images/{here}", json={"is_enabled": False})

    async def seen(**parameters: Any) -> list[str]:
        answer = await cast.user.get("/images", params={"sort": "created_at", **parameters})
        assert answer.status_code == 200, answer.text
        return [image["id"] for image in answer.json()["items"]]

    assert await seen() == [everywhere, here, there]
    assert await seen(project_id=cast.p_id) == [everywhere, here]
    assert await seen(is_enabled="true") == [everywhere, there]
    assert await seen(is_enabled="false", project_id=cast.p_id) == [here]
    assert await seen(q="REDIS", project_id=other) == [there]


@pytest.mark.conformance("R-06")
@pytest.mark.parametrize(
    ("role", "of_project", "of_all"),
    [("super_admin", 200, 200), ("admin", 200, 403), ("manager", 200, 403), ("user", 403, 403), ("outsider", 404, 403)],
)
async def test_who_may_disable_a_rule(cast: Cast, role: str, of_project: int, of_all: int) -> None:
    here, everywhere = await allowed(cast, project_id=cast.p_id), await allowed(cast)
    client = getattr(cast, role)
    for image, status in ((here, of_project), (everywhere, of_all)):
        answer = await client.patch(f"/images/{image['id']}", json={"is_enabled": False})
        assert answer.status_code == status
        enabled = (await cast.super_admin.get(f"/images/{image['id']}")).json()["is_enabled"]
        assert enabled == (status != 200)


async def test_only_super_administrators_enable_a_rule_again(cast: Cast) -> None:
    image = await allowed(cast, project_id=cast.p_id)
    await cast.manager.patch(f"/images/{image['id']}", json={"is_enabled": False})
    for role in ("admin", "manager", "user"):
        answer = await getattr(cast, role).patch(f"/images/{image['id']}", json={"is_enabled": True})
        assert answer.status_code == 403
    again = await cast.super_admin.patch(f"/images/{image['id']}", json={"is_enabled": True})
    assert again.json()["is_enabled"] is True
    entries = await audit_entries(cast.instance, "image")
    assert [entry[0] for entry in entries] == ["create", "update", "update"]
    assert entries[1][2:] == ('{"is_enabled":true}', '{"is_enabled":false}')
    logged = (await cast.admin.get("/audit-logs", params={"resource_type": "image"})).json()
    assert logged["total"] == 3


async def test_a_stale_version_of_a_rule_is_refused(cast: Cast) -> None:
    image = await allowed(cast)
    etag = (await cast.super_admin.get(f"/images/{image['id']}")).headers["ETag"]
    path, headers = f"/images/{image['id']}", {"If-Match": etag}
    assert (await cast.super_admin.patch(path, json={"is_enabled": False}, headers=headers)).status_code == 200
    assert (await cast.super_admin.patch(path, json={"is_enabled": True}, headers=headers)).status_code == 412
    assert (await cast.super_admin.patch(path, json={})).status_code == 400


@pytest.mark.conformance("R-06", "S-04")
@pytest.mark.parametrize("gone", ["rule disabled", "rule deleted", "tag deleted", "repository deleted"])
async def test_what_no_longer_counts_allows_nothing(cast: Cast, gone: str) -> None:
    image = await allowed(cast, project_id=cast.p_id)
    asked = {"image_name": "nginx:1.27", "project_id": cast.p_id}
    assert (await cast.user.post("/image-requests", json=asked)).status_code == 409
    if gone == "rule disabled":
        await cast.manager.patch(f"/images/{image['id']}", json={"is_enabled": False})
    else:
        table, row_id = {
            "rule deleted": (image_allow_list, image["id"]),
            "tag deleted": (container_tags, image["tag_id"]),
            "repository deleted": (container_repositories, image["repository_id"]),
        }[gone]
        await delete_row(cast.database, table, row_id)
        assert (await cast.user.get("/images")).json()["total"] == 0
        assert (await cast.user.get(f"/images/{image['id']}")).status_code == 404
    assert (await cast.user.post("/image-requests", json=asked)).status_code == 201


@pytest.mark.conformance("S-04")
async def test_a_deleted_repository_takes_the_rule_for_every_tag_with_it(cast: Cast) -> None:
    image = await allowed(cast, tag=None)
    await delete_row(cast.database, container_repositories, image["repository_id"])
    assert (await cast.user.post("/image-requests", json={"image_name": "nginx:1"})).status_code == 201


async def test_a_rule_of_another_project_allows_nothing_here(cast: Cast) -> None:
    other = await make_project(cast.database, cast.g_id, "other")
    await allowed(cast, project_id=other)
    for project_id in (cast.p_id, None):
        body = {"image_name": "nginx:1.27", "project_id": project_id}
        assert (await cast.user.post("/image-requests", json=body)).status_code == 201


async def test_a_removed_member_sees_the_projects_rules_no_longer(cast: Cast) -> None:
    u_id = await make_user(cast.database, "guest")
    client = cast.instance.client(await make_token(cast.database, u_id))
    rule = await make_rule(cast.database, u_id, cast.p_id)
    assert (await client.get(f"/images/{rule}")).status_code == 404
    await make_member(cast.database, u_id, cast.g_id)
    assert (await client.get(f"/images/{rule}")).status_code == 200


async def test_cursors_walk_the_allow_list_once(cast: Cast) -> None:
    owner = await make_user(cast.database, "owner")
    made = {await make_rule(cast.database, owner, cast.p_id) for _ in range(7)}
    seen: list[str] = []
    parameters: dict[str, Any] = {"limit": 3}
    while True:
        page = (await cast.user.get("/images", params=parameters)).json()
        seen += [image["id"] for image in page["items"]]
        if page["next"] is None:
            break
        parameters = {"limit": 3, "cursor": page["next"]}
    assert len(seen) == 7
    assert set(seen) == made
