"""Course workloads over HTTP (conformance N-01, F-08, F-12, R-06, S-04)."""

import asyncio
from typing import Any

import httpx
import pytest

from holdfast.db.tables import container_tags, course_workloads, user_group
from tests.api.cast import Cast, audit_entries, count_rows
from tests.factories import make_member, make_project, make_token, make_user
from tests.features.images.deletion import delete_all_rows, delete_row
from tests.instance import Instance

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
async def cast(instance: Instance) -> Cast:
    """A project with 2 GPUs in which `nginx:1.27` is allowed."""
    people = await Cast(instance).fill()
    await people.super_admin.post("/images", json={"image_name": "nginx:1.27", "project_id": people.p_id})
    return people


async def ask(client: httpx.AsyncClient, cast: Cast, **body: Any) -> httpx.Response:
    """Ask to run something in the project."""
    return await client.post(
        "/workloads", json={"project_id": cast.p_id, "name": "training", "image": "nginx:1.27"} | body
    )


async def running(cast: Cast, client: httpx.AsyncClient | None = None, **body: Any) -> dict[str, Any]:
    """A workload of the user, or of another."""
    answer = await ask(client or cast.user, cast, **body)
    assert answer.status_code == 201, answer.text
    workload: dict[str, Any] = answer.json()
    return workload


async def gpus_in_use(cast: Cast) -> int:
    """The project's GPUs in use, counted in the table."""
    async with cast.database.read() as tx:
        ((gpus,),) = await tx.fetch_text(
            "SELECT coalesce(sum(resource_gpu), 0) FROM course_workloads"
            f" WHERE project_id = '{cast.p_id}' AND status IN ('Pending', 'Running') AND deletion_id = ''"
        )
    return int(gpus)


@pytest.mark.conformance("N-01")
async def test_a_workload_is_admitted(cast: Cast) -> None:
    answer = await ask(
        cast.user,
        cast,
        resource_cpu="500m",
        resource_mem="1.5Gi",
        resource_gpu=1,
    )
    assert answer.status_code == 201, answer.text
    workload = answer.json()
    assert (
        workload.items()
        >= {
            "username": "the-user",
            "project_name": "simulation",
            "image": "docker.io/library/nginx:1.27",
            "status": "Pending",
            "priority": 1000,
            "resource_cpu": "500m",
            "resource_mem": "1.5Gi",
            "resource_gpu": 1,
            "has_gpu": True,
            "started_at": None,
        }.items()
    )
    read = await cast.manager.get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == workload
    assert read.headers["ETag"] == answer.headers["ETag"]
    assert [entry[:2] for entry in await audit_entries(cast.instance, "workload")] == [("create", "training")]


@pytest.mark.conformance("N-01")
async def test_the_gpu_flag_says_whether_any_is_asked_for(cast: Cast) -> None:
    flags = [(await running(cast, resource_gpu=gpus))["has_gpu"] for gpus in (None, 0, 1)]
    assert flags == [False, False, True]
    listed = (await cast.user.get("/workloads", params={"sort": "created_at"})).json()["items"]
    assert [workload["has_gpu"] for workload in listed] == flags


@pytest.mark.conformance("F-08")
async def test_names_are_made_that_nobody_shares(cast: Cast) -> None:
    first, second = await running(cast), await running(cast)
    other = await running(cast, cast.manager)
    assert first["namespace"] == second["namespace"] != other["namespace"]
    assert len({each["k8s_pod_name"] for each in (first, second, other)}) == 3


@pytest.mark.conformance("N-01", "F-08")
async def test_a_pod_name_is_unique_among_the_living(cast: Cast) -> None:
    answers = await asyncio.gather(*(ask(cast.user, cast, k8s_pod_name="my-pod") for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"pod_name_taken"}
    await delete_all_rows(cast.database, course_workloads)
    assert (await running(cast, k8s_pod_name="my-pod"))["k8s_pod_name"] == "my-pod"


@pytest.mark.conformance("F-12", "F-08")
@pytest.mark.parametrize(
    "body",
    [
        {"resource_cpu": "much"},
        {"resource_mem": "1GiB"},
        {"resource_mem": ""},
        {"resource_gpu": -1},
        {"resource_gpu": 2**31},
        {"resource_gpu": "one"},
        {"resource_gpu": 0.5},
        {"priority": 2**31},
        {"priority": None},
        {"namespace": "Not_A_Label"},
        {"namespace": "kube-system"},
        {"k8s_pod_name": "-pod"},
        {"k8s_pod_name": "p" * 64},
        {"image": "NGINX"},
        {"image": "x" * 600},
        {"name": ""},
        {"name": "n\x00"},
        {"status": "Running"},
        {"user_id": "somebody"},
    ],
)
async def test_a_workload_that_cannot_be_is_refused(cast: Cast, body: dict[str, Any]) -> None:
    answer = await ask(cast.user, cast, **body)
    assert answer.status_code == 400, answer.text
    assert await count_rows(cast.instance, "course_workloads") == 0


@pytest.mark.parametrize(
    ("role", "status"), [("super_admin", 201), ("admin", 201), ("manager", 201), ("user", 201), ("outsider", 404)]
)
async def test_members_of_the_group_may_run(cast: Cast, role: str, status: int) -> None:
    assert (await ask(getattr(cast, role), cast)).status_code == status


@pytest.mark.parametrize("image", ["nginx:1.28", "nginx", "redis", f"nginx@{DIGEST}", "quay.io/library/nginx:1.27"])
async def test_an_image_that_is_not_allowed_is_refused(cast: Cast, image: str) -> None:
    answer = await ask(cast.user, cast, image=image)
    assert (answer.status_code, answer.json()["code"]) == (409, "image_not_allowed")
    assert (await ask(cast.super_admin, cast, image=image)).status_code == 201


@pytest.mark.parametrize("image", ["library/nginx:1.27", "docker.io/nginx:1.27", "index.docker.io/library/nginx:1.27"])
async def test_every_spelling_of_an_allowed_image_may_run(cast: Cast, image: str) -> None:
    assert (await running(cast, image=image))["image"] == "docker.io/library/nginx:1.27"


async def test_a_digest_may_run_where_an_allowed_tag_carries_it(cast: Cast) -> None:
    image = (await cast.user.get("/images")).json()["items"][0]
    path = f"/repositories/{image['repository_id']}/tags/{image['tag_id']}"
    assert (await cast.super_admin.patch(path, json={"digest": DIGEST})).status_code == 200
    assert (await running(cast, image=f"nginx@{DIGEST}"))["image"] == f"docker.io/library/nginx@{DIGEST}"
    # The runtime pulls the digest and never looks at the tag beside it.
    other = f"nginx:1.27@sha256:{'b' * 64}"
    assert (await ask(cast.user, cast, image=other)).status_code == 409
    await cast.super_admin.post("/images", json={"image_name": "nginx"})
    assert (await ask(cast.user, cast, image=other)).status_code == 201


@pytest.mark.conformance("R-06", "S-04")
@pytest.mark.parametrize("how", ["disabled", "deleted"])
async def test_what_is_allowed_no_longer_runs_no_longer(cast: Cast, how: str) -> None:
    image = (await cast.user.get("/images")).json()["items"][0]
    await running(cast)
    if how == "disabled":
        await cast.manager.patch(f"/images/{image['id']}", json={"is_enabled": False})
    else:
        await delete_row(cast.database, container_tags, image["tag_id"])
    assert (await ask(cast.user, cast)).status_code == 409


@pytest.mark.conformance("F-12")
async def test_gpus_beyond_the_quota_are_refused_with_the_numbers(cast: Cast) -> None:
    await running(cast, resource_gpu=1)
    answer = await ask(cast.user, cast, resource_gpu=2)
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["code"] == "quota_exceeded"
    assert (problem["asked"], problem["in_use"], problem["quota"]) == (2, 1, 2)
    assert (await ask(cast.super_admin, cast, resource_gpu=2)).status_code == 409
    await running(cast, resource_gpu=1)
    await running(cast, resource_gpu=0)
    assert await gpus_in_use(cast) == 2


@pytest.mark.conformance("F-12")
async def test_a_project_without_quota_gets_no_gpu(cast: Cast) -> None:
    p_id = await make_project(cast.database, cast.g_id, "poor")
    await cast.super_admin.post("/images", json={"image_name": "nginx:1.27"})
    assert (await ask(cast.user, cast, project_id=p_id, resource_gpu=1)).status_code == 409
    assert (await ask(cast.user, cast, project_id=p_id, resource_gpu=0)).status_code == 201


@pytest.mark.conformance("F-12")
@pytest.mark.parametrize("status", ["Succeeded", "Failed", "Unknown"])
async def test_what_no_longer_runs_frees_its_gpus(cast: Cast, status: str) -> None:
    workload = await running(cast, resource_gpu=2)
    assert (await ask(cast.user, cast, resource_gpu=1)).status_code == 409
    await cast.user.patch(f"/workloads/{workload['id']}", json={"status": status})
    await running(cast, resource_gpu=2)
    if status == "Unknown":
        back = await cast.user.patch(f"/workloads/{workload['id']}", json={"status": "Running"})
        assert (back.status_code, back.json()["code"]) == (409, "quota_exceeded")


@pytest.mark.conformance("F-12", "X-01")
async def test_64_callers_at_one_moment_never_pass_the_quota(cast: Cast) -> None:
    people = [cast.user, cast.manager, cast.admin, cast.super_admin]
    answers = await asyncio.gather(*(ask(people[number % 4], cast, resource_gpu=1) for number in range(64)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (2, 62), statuses
    assert await gpus_in_use(cast) == 2


@pytest.mark.conformance("F-12", "X-01")
async def test_changes_at_one_moment_never_pass_the_quota(cast: Cast) -> None:
    made = [await running(cast, resource_gpu=0) for _ in range(8)]
    answers = await asyncio.gather(
        *(cast.user.patch(f"/workloads/{each['id']}", json={"resource_gpu": 1}) for each in made),
        *(ask(cast.manager, cast, resource_gpu=1) for _ in range(8)),
    )
    assert sorted(answer.status_code // 100 for answer in answers) == [2] * 2 + [4] * 14
    assert await gpus_in_use(cast) == 2


@pytest.mark.conformance("N-01")
async def test_a_workload_starts_once_and_ends_for_good(cast: Cast) -> None:
    path = f"/workloads/{(await running(cast))['id']}"
    first = (await cast.user.patch(path, json={"status": "Running"})).json()
    assert first["started_at"] is not None
    await cast.user.patch(path, json={"status": "Unknown"})
    again = (await cast.user.patch(path, json={"status": "Running"})).json()
    assert again["started_at"] == first["started_at"]
    assert (await cast.user.patch(path, json={"status": "Pending"})).status_code == 409
    assert (await cast.user.patch(path, json={"status": "Succeeded"})).status_code == 200
    for status in ("Pending", "Running", "Failed", "Unknown"):
        answer = await cast.manager.patch(path, json={"status": status})
        assert (answer.status_code, answer.json()["code"]) == (409, "workload_status_refused")
    assert (await cast.user.patch(path, json={"status": "Gone"})).status_code == 400
    assert (await cast.user.patch(path, json={"resource_gpu": 1})).json()["code"] == "workload_finished"
    assert (await cast.user.patch(path, json={"name": "done", "status": "Succeeded"})).json()["name"] == "done"
    actions = [entry[0] for entry in await audit_entries(cast.instance, "workload")]
    assert actions == ["create"] + ["update"] * 5
    logged = (await cast.admin.get("/audit-logs", params={"resource_type": "workload"})).json()
    assert logged["total"] == 6


async def test_a_change_that_takes_more_gpus_is_admitted_as_a_new_workload_is(cast: Cast) -> None:
    workload = await running(cast, resource_gpu=1)
    await running(cast, resource_gpu=1)
    path = f"/workloads/{workload['id']}"
    refused = await cast.user.patch(path, json={"resource_gpu": 2, "name": "larger"})
    assert refused.status_code == 409
    assert (refused.json()["asked"], refused.json()["in_use"], refused.json()["quota"]) == (2, 1, 2)
    assert (await cast.user.get(path)).json() == workload
    changed = await cast.user.patch(path, json={"resource_gpu": None, "resource_cpu": "2", "priority": -5})
    assert changed.status_code == 200, changed.text
    assert changed.json().items() >= {"has_gpu": False, "resource_cpu": "2", "priority": -5}.items()
    assert (await cast.user.patch(path, json={"resource_mem": "lots"})).status_code == 400


async def test_fewer_gpus_are_taken_even_when_the_quota_was_cut(cast: Cast) -> None:
    workload = await running(cast, resource_gpu=2)
    await cast.super_admin.patch(f"/projects/{cast.p_id}", json={"gpu_quota": 0})
    answer = await cast.user.patch(f"/workloads/{workload['id']}", json={"resource_gpu": 1, "status": "Running"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("role", "status"),
    [("super_admin", 200), ("admin", 200), ("manager", 200), ("user", 200), ("classmate", 403), ("outsider", 404)],
)
async def test_who_may_change_a_workload(cast: Cast, role: str, status: int) -> None:
    workload = await running(cast)
    if role == "classmate":
        u_id = await make_user(cast.database, role)
        await make_member(cast.database, u_id, cast.g_id)
        client = cast.instance.client(await make_token(cast.database, u_id))
        assert (await client.get(f"/workloads/{workload['id']}")).status_code == 200
    else:
        client = getattr(cast, role)
    answer = await client.patch(f"/workloads/{workload['id']}", json={"status": "Failed"})
    assert answer.status_code == status
    ended = await count_rows(cast.instance, "course_workloads", "status = 'Failed'")
    assert ended == (status == 200)


async def test_an_owner_who_left_the_group_sees_the_workload_no_longer(cast: Cast) -> None:
    workload = await running(cast)
    await delete_all_rows(cast.database, user_group)
    assert (await cast.user.get(f"/workloads/{workload['id']}")).status_code == 404
    assert (await cast.user.patch(f"/workloads/{workload['id']}", json={"name": "x"})).status_code == 404
    assert (await cast.user.get("/workloads")).json()["total"] == 0


async def test_a_stale_version_of_a_workload_is_refused(cast: Cast) -> None:
    path = f"/workloads/{(await running(cast))['id']}"
    headers = {"If-Match": (await cast.user.get(path)).headers["ETag"]}
    assert (await cast.user.patch(path, json={"priority": 1}, headers=headers)).status_code == 200
    assert (await cast.user.patch(path, json={"priority": 2}, headers=headers)).status_code == 412


@pytest.mark.conformance("N-01")
async def test_workloads_are_listed_by_scope_filter_and_sort(cast: Cast) -> None:
    first = (await running(cast, name="train ResNet", priority=5))["id"]
    second = (await running(cast, cast.manager, name="notebook", priority=9))["id"]
    manager_id = (await cast.manager.get(f"/workloads/{second}")).json()["user_id"]
    await cast.user.patch(f"/workloads/{first}", json={"status": "Running"})

    async def seen(client: httpx.AsyncClient, **parameters: Any) -> list[str]:
        answer = await client.get("/workloads", params=parameters)
        assert answer.status_code == 200, answer.text
        return [workload["id"] for workload in answer.json()["items"]]

    for client in (cast.super_admin, cast.admin, cast.manager, cast.user):
        assert await seen(client) == [second, first]
    assert await seen(cast.outsider) == []
    assert await seen(cast.user, sort="priority") == [first, second]
    assert await seen(cast.user, status="Running", project_id=cast.p_id) == [first]
    assert await seen(cast.user, user_id=manager_id) == [second]
    assert await seen(cast.user, q="resnet") == [first]
    page = (await cast.user.get("/workloads", params={"sort": "-priority", "limit": 1})).json()
    assert await seen(cast.user, sort="-priority", limit=1, cursor=page["next"]) == [first]
    assert (await cast.user.get("/workloads", params={"sort": "image"})).status_code == 400
