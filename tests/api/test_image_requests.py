"""Image requests over HTTP (conformance R-01 to R-04, X-05, S-10)."""

import asyncio
from typing import Any

import msgspec
import pytest

from holdfast.db.tables import container_repositories, container_tags, image_allow_list
from tests.api.cast import Cast, audit_entries, count_rows
from tests.factories import make_image_request, make_project, make_super_admin, make_token
from tests.features.images.deletion import delete_all_rows
from tests.instance import Instance, run_instance

_RECORDED = ("image-request", "repository", "tag", "image")


@pytest.fixture
async def cast(instance: Instance) -> Cast:
    return await Cast(instance).fill()


async def filed(cast: Cast, **body: Any) -> str:
    """A request of the user for the project; its id."""
    asked = {"image_name": "nginx", "tag": "1.27", "project_id": cast.p_id} | body
    answer = await cast.user.post("/image-requests", json=asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.conformance("R-01")
async def test_a_request_is_filed_in_normal_form(cast: Cast) -> None:
    body = {"image_name": "ghcr.io/org/app:2", "project_id": cast.p_id}
    answer = await cast.user.post("/image-requests", json=body)
    assert answer.status_code == 201, answer.text
    request = answer.json()
    assert (
        request.items()
        >= {
            "input_registry": "ghcr.io",
            "input_image_name": "org/app",
            "input_tag": "2",
            "status": "pending",
            "username": "the-user",
            "project_name": "simulation",
            "reviewer_id": None,
            "image_id": None,
        }.items()
    )
    read = await cast.user.get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == request
    assert read.headers["ETag"] == answer.headers["ETag"]
    (entry,) = await audit_entries(cast.instance, "image-request")
    assert entry[:2] == ("create", "ghcr.io/org/app:2")


@pytest.mark.conformance("R-01")
async def test_a_request_without_tag_asks_for_latest_and_without_registry_for_docker_hub(cast: Cast) -> None:
    request = (await cast.user.post("/image-requests", json={"image_name": "nginx"})).json()
    assert (request["input_registry"], request["input_image_name"], request["input_tag"]) == (
        "docker.io",
        "library/nginx",
        "latest",
    )
    assert request["project_id"] is None


@pytest.mark.conformance("R-01")
@pytest.mark.parametrize(
    "body",
    [
        {"image_name": "Nginx", "tag": "1"},
        {"image_name": "nginx", "tag": ".1"},
        {"image_name": "nginx", "tag": "t" * 129},
        {"image_name": "nginx:1", "tag": "2"},
        {"image_name": "ghcr.io/a/b", "registry": "quay.io"},
        {"image_name": "nginx", "registry": "not a host"},
        {"image_name": "nginx@sha256:" + "a" * 64},
        {"image_name": "ng\x00inx"},
        {"image_name": ""},
        {"image_name": 7},
        {"tag": "1"},
        {"image_name": "nginx", "status": "approved"},
    ],
)
async def test_what_names_no_image_is_refused(cast: Cast, body: dict[str, Any]) -> None:
    answer = await cast.user.post("/image-requests", json=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert await count_rows(cast.instance, "image_requests") == 0


async def test_only_members_ask_for_a_project(cast: Cast) -> None:
    body = {"image_name": "nginx", "project_id": cast.p_id}
    answer = await cast.outsider.post("/image-requests", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "project_not_found")
    assert (await cast.outsider.post("/image-requests", json={"image_name": "nginx"})).status_code == 201


@pytest.mark.conformance("R-01")
async def test_the_same_request_is_not_filed_twice(cast: Cast) -> None:
    first = await filed(cast)
    again = await cast.manager.post(
        "/image-requests", json={"image_name": "docker.io/library/nginx:1.27", "project_id": cast.p_id}
    )
    assert (again.status_code, again.json()["code"]) == (409, "image_request_pending")
    assert again.json()["request_id"] == first
    # Another tag and another project are other requests.
    await filed(cast, tag="1.28")
    assert (await cast.user.post("/image-requests", json={"image_name": "nginx:1.27"})).status_code == 201
    assert (await cast.user.post("/image-requests", json={"image_name": "nginx:1.27"})).status_code == 409


@pytest.mark.parametrize("for_all", [True, False], ids=["for all", "for a project"])
async def test_many_callers_file_one_request_at_one_moment(cast: Cast, for_all: bool) -> None:
    await make_super_admin(cast.database, "second")
    body = {"image_name": "nginx:1.27", "project_id": None if for_all else cast.p_id}
    callers = [cast.user, cast.manager, cast.admin] * 4
    answers = await asyncio.gather(*(caller.post("/image-requests", json=body) for caller in callers))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
    assert await count_rows(cast.instance, "image_requests") == 1


@pytest.mark.conformance("R-02")
async def test_each_sees_the_requests_of_their_scope(cast: Cast) -> None:
    own = await filed(cast)
    foreign = (await cast.outsider.post("/image-requests", json={"image_name": "redis"})).json()["id"]
    staffs = (
        await cast.manager.post("/image-requests", json={"image_name": "python", "project_id": cast.p_id})
    ).json()["id"]
    expected = {
        "super_admin": {own, foreign, staffs},
        "admin": {own, staffs},
        "manager": {own, staffs},
        "user": {own},
        "outsider": {foreign},
    }
    for role, ids in expected.items():
        client = getattr(cast, role)
        listed = (await client.get("/image-requests")).json()
        assert {request["id"] for request in listed["items"]} == ids, role
        assert listed["total"] == len(ids)
        for request_id in (own, foreign, staffs):
            status = (await client.get(f"/image-requests/{request_id}")).status_code
            assert status == (200 if request_id in ids else 404), role


@pytest.mark.conformance("R-02")
async def test_requests_are_filtered_searched_and_sorted(cast: Cast) -> None:
    first = await filed(cast)
    second = await filed(cast, image_name="pytorch/pytorch", tag="2.4")
    await cast.super_admin.post(f"/image-requests/{second}/reject", json={"note": "too large"})
    await cast.user.post("/image-requests", json={"image_name": "redis"})

    async def seen(**parameters: Any) -> list[str]:
        answer = await cast.super_admin.get("/image-requests", params={"sort": "created_at", **parameters})
        assert answer.status_code == 200, answer.text
        return [request["id"] for request in answer.json()["items"]]

    assert await seen(project_id=cast.p_id) == [first, second]
    assert await seen(status="pending", project_id=cast.p_id) == [first]
    assert await seen(status="rejected") == [second]
    assert await seen(q="TORCH") == [second]
    assert await seen(user_id="nobody") == []
    assert (await cast.user.get("/image-requests", params={"sort": "status"})).status_code == 400
    assert (await cast.user.get("/image-requests", params={"status": "lost"})).status_code == 400


@pytest.mark.conformance("R-03", "X-05", "S-10")
async def test_approval_writes_decision_repository_tag_and_rule(cast: Cast) -> None:
    request_id = await filed(cast)
    answer = await cast.super_admin.post(f"/image-requests/{request_id}/approve", json={"note": "fine"})
    assert answer.status_code == 200, answer.text
    request = answer.json()
    assert (
        request.items()
        >= {
            "status": "approved",
            "reviewer_name": "root-of-tests",
            "reviewer_note": "fine",
        }.items()
    )
    assert request["reviewed_at"] is not None
    image = (await cast.user.get(f"/images/{request['image_id']}")).json()
    assert (
        image.items()
        >= {
            "project_id": cast.p_id,
            "full_name": "docker.io/library/nginx",
            "registry": "docker.io",
            "namespace": "library",
            "name": "nginx",
            "tag": "1.27",
            "request_id": request_id,
            "request_note": "fine",
            "created_by_name": "root-of-tests",
            "is_enabled": True,
            "is_pulled": None,
        }.items()
    )
    actions = {kind: [entry[0] for entry in await audit_entries(cast.instance, kind)] for kind in _RECORDED}
    assert actions == {
        "image-request": ["create", "approve"],
        "repository": ["create"],
        "tag": ["create"],
        "image": ["create"],
    }
    again = await cast.user.post("/image-requests", json={"image_name": "nginx:1.27", "project_id": cast.p_id})
    assert (again.status_code, again.json()["code"]) == (409, "image_already_allowed")


@pytest.mark.conformance("R-03")
async def test_approval_for_everyone_makes_a_rule_without_project(cast: Cast) -> None:
    request_id = await filed(cast)
    request = (await cast.super_admin.post(f"/image-requests/{request_id}/approve", json={"is_global": True})).json()
    image = (await cast.outsider.get(f"/images/{request['image_id']}")).json()
    assert image["project_id"] is None
    assert request["project_id"] == cast.p_id


@pytest.mark.conformance("R-03")
async def test_an_image_of_the_private_registry_is_marked_pulled(cast: Cast) -> None:
    settings = msgspec.structs.replace(cast.instance.settings, private_registry="registry.uni.example/mirror")
    inside = await filed(cast, image_name="registry.uni.example/mirror/app", tag="1")
    beside = await filed(cast, image_name="registry.uni.example/mirrored/app", tag="1")
    token = cast.super_admin.headers["Authorization"].removeprefix("Bearer ")
    async with run_instance(cast.instance.engine, settings) as private:
        client = private.client(token)
        states = []
        for request_id in (inside, beside):
            request = (await client.post(f"/image-requests/{request_id}/approve", json={})).json()
            states.append((await client.get(f"/images/{request['image_id']}")).json()["is_pulled"])
        await private.close_clients()
    assert states == [True, None]


@pytest.mark.conformance("R-04")
async def test_rejection_keeps_note_reviewer_and_time(cast: Cast) -> None:
    request_id = await filed(cast)
    assert (await cast.super_admin.post(f"/image-requests/{request_id}/reject", json={})).status_code == 400
    assert (await cast.super_admin.post(f"/image-requests/{request_id}/reject", json={"note": " "})).status_code == 400
    answer = await cast.super_admin.post(f"/image-requests/{request_id}/reject", json={"note": "use 1.28"})
    assert answer.status_code == 200
    assert answer.json().items() >= {"status": "rejected", "reviewer_note": "use 1.28", "image_id": None}.items()
    assert answer.json()["reviewed_at"] > answer.json()["created_at"]
    for verb, body in (("approve", {}), ("reject", {"note": "again"})):
        late = await cast.super_admin.post(f"/image-requests/{request_id}/{verb}", json=body)
        assert (late.status_code, late.json()["code"]) == (409, "image_request_decided")
    assert await count_rows(cast.instance, "image_allow_list") == 0
    assert [entry[0] for entry in await audit_entries(cast.instance, "image-request")] == ["create", "reject"]


@pytest.mark.parametrize(("role", "status"), [("admin", 403), ("manager", 403), ("user", 403), ("outsider", 404)])
async def test_only_super_administrators_decide(cast: Cast, role: str, status: int) -> None:
    request_id = await filed(cast)
    client = getattr(cast, role)
    approved = await client.post(f"/image-requests/{request_id}/approve", json={})
    rejected = await client.post(f"/image-requests/{request_id}/reject", json={"note": "no"})
    assert (approved.status_code, rejected.status_code) == (status, status)
    assert await count_rows(cast.instance, "image_requests", "status = 'pending'") == 1


@pytest.mark.conformance("X-05")
async def test_deciders_at_one_moment_give_one_decision_and_one_rule(cast: Cast) -> None:
    request_id = await filed(cast)
    second = await make_super_admin(cast.database, "second")
    others = cast.instance.client(await make_token(cast.database, second))
    answers = await asyncio.gather(
        *(
            caller.post(f"/image-requests/{request_id}/{verb}", json=body)
            for caller in (cast.super_admin, others)
            for verb, body in (("approve", {}), ("approve", {"is_global": True}), ("reject", {"note": "no"}))
            for _ in range(3)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 17
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert await count_rows(cast.instance, "image_allow_list") == (winner["status"] == "approved")
    decisions = [entry[0] for entry in await audit_entries(cast.instance, "image-request")]
    assert decisions == ["create", "approve" if winner["status"] == "approved" else "reject"]


@pytest.mark.conformance("X-05", "T-37")
async def test_requests_of_many_projects_share_one_repository_and_tag(cast: Cast) -> None:
    requests = []
    for number in range(8):
        p_id = await make_project(cast.database, cast.g_id, f"project {number}")
        requests.append(await filed(cast, project_id=p_id))
    answers = await asyncio.gather(
        *(cast.super_admin.post(f"/image-requests/{each}/approve", json={}) for each in requests)
    )
    assert {answer.status_code for answer in answers} == {200}
    assert await count_rows(cast.instance, "container_repositories") == 1
    assert await count_rows(cast.instance, "container_tags") == 1
    assert await count_rows(cast.instance, "image_allow_list") == 8


@pytest.mark.conformance("X-05")
async def test_two_requests_for_one_image_for_all_give_one_rule(cast: Cast) -> None:
    first, second = await filed(cast), await filed(cast, project_id=None)
    answers = await asyncio.gather(
        *(
            cast.super_admin.post(f"/image-requests/{each}/approve", json={"is_global": True})
            for each in (first, second)
        )
    )
    assert [answer.status_code for answer in answers] == [200, 200]
    assert await count_rows(cast.instance, "image_allow_list") == 1


async def test_approval_enables_a_disabled_rule_again(cast: Cast) -> None:
    first = (await cast.super_admin.post(f"/image-requests/{await filed(cast)}/approve", json={})).json()
    await cast.manager.patch(f"/images/{first['image_id']}", json={"is_enabled": False})
    second = (await cast.super_admin.post(f"/image-requests/{await filed(cast)}/approve", json={})).json()
    assert second["image_id"] == first["image_id"]
    image = (await cast.user.get(f"/images/{first['image_id']}")).json()
    assert (image["is_enabled"], image["request_id"]) == (True, second["id"])
    assert [entry[0] for entry in await audit_entries(cast.instance, "image")] == ["create", "update", "update"]


async def test_a_deleted_repository_is_made_anew(cast: Cast) -> None:
    await cast.super_admin.post(f"/image-requests/{await filed(cast)}/approve", json={})
    await delete_all_rows(cast.database, container_repositories, container_tags, image_allow_list)
    request = (await cast.super_admin.post(f"/image-requests/{await filed(cast)}/approve", json={})).json()
    assert request["image_id"] is not None
    assert await count_rows(cast.instance, "container_repositories") == 2
    assert await count_rows(cast.instance, "container_repositories", "deletion_id = ''") == 1


@pytest.mark.conformance("U-01")
async def test_the_groups_admin_reads_what_became_of_a_request(cast: Cast) -> None:
    here, everywhere = await filed(cast), await filed(cast, image_name="redis")
    await cast.super_admin.post(f"/image-requests/{here}/approve", json={})
    await cast.super_admin.post(f"/image-requests/{everywhere}/approve", json={"is_global": True})
    entries = (await cast.admin.get("/audit-logs")).json()["items"]
    assert [(entry["resource_type"], entry["action"]) for entry in reversed(entries)] == [
        ("image-request", "create"),
        ("image-request", "create"),
        ("image-request", "approve"),
        ("image", "create"),
        ("image-request", "approve"),
    ]


async def test_an_imported_request_is_read_as_its_user_wrote_it(cast: Cast) -> None:
    u_id = await make_super_admin(cast.database, "second")
    request_id = await make_image_request(
        cast.database, u_id, input_registry=None, input_image_name="index.docker.io/nginx", input_tag="1.27"
    )
    request = (await cast.super_admin.post(f"/image-requests/{request_id}/approve", json={})).json()
    image = (await cast.user.get(f"/images/{request['image_id']}")).json()
    assert image["full_name"] == "docker.io/library/nginx"


async def test_a_repeated_post_with_one_key_files_one_request(cast: Cast) -> None:
    headers = {"Idempotency-Key": "a1"}
    first, again = [
        await cast.user.post("/image-requests", json={"image_name": "nginx"}, headers=headers) for _ in range(2)
    ]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert await count_rows(cast.instance, "image_requests") == 1
