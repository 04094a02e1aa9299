"""Projects over HTTP (conformance P-01, P-02, Q-05)."""

from typing import Any

import pytest

from holdfast.core.ids import new_long_id
from holdfast.db import metrics
from holdfast.db.tables import course_workloads, resources
from tests.api.cast import Cast, audit_entries
from tests.factories import insert_row, insert_rows, make_config_file, make_group, make_project, make_token
from tests.instance import Instance


@pytest.fixture
async def cast(instance: Instance) -> Cast:
    return await Cast(instance).fill()


@pytest.mark.conformance("P-01")
async def test_an_admin_of_the_group_makes_a_project(cast: Cast) -> None:
    body = {"project_name": "Optics 101", "g_id": cast.g_id, "description": "Autumn"}
    answer = await cast.admin.post("/projects", json=body)
    assert answer.status_code == 201, answer.text
    project = answer.json()
    assert project.items() >= {**body, "group_name": "physics", "gpu_quota": 0, "gpus_in_use": 0}.items()
    read = await cast.user.get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == project
    assert read.headers["ETag"] == answer.headers["ETag"]
    (entry,) = await audit_entries(cast.instance, "project")
    assert entry[:2] == ("create", "Optics 101")


@pytest.mark.conformance("P-01")
@pytest.mark.parametrize(
    ("role", "status"),
    [("super_admin", 201), ("admin", 201), ("manager", 403), ("user", 403), ("outsider", 404)],
)
async def test_who_may_make_a_project(cast: Cast, role: str, status: int) -> None:
    answer = await getattr(cast, role).post("/projects", json={"project_name": "New", "g_id": cast.g_id})
    assert answer.status_code == status
    assert len(await audit_entries(cast.instance, "project")) == (status == 201)


@pytest.mark.conformance("P-01")
async def test_an_unknown_and_an_unseen_group_give_the_same_answer(cast: Cast) -> None:
    hidden = await make_group(cast.database, "hidden")
    answers = [
        await cast.admin.post("/projects", json={"project_name": "New", "g_id": g_id}) for g_id in (hidden, "nowhere")
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "group_not_found")}
    assert (await cast.super_admin.post("/projects", json={"project_name": "X", "g_id": "no"})).status_code == 404


@pytest.mark.conformance("P-01")
@pytest.mark.parametrize(
    ("role", "status"),
    [("super_admin", 200), ("admin", 200), ("manager", 200), ("user", 403), ("outsider", 404)],
)
async def test_who_may_change_name_and_description(cast: Cast, role: str, status: int) -> None:
    answer = await getattr(cast, role).patch(f"/projects/{cast.p_id}", json={"project_name": "Optics"})
    assert answer.status_code == status
    project = (await cast.user.get(f"/projects/{cast.p_id}")).json()
    assert project["project_name"] == ("Optics" if status == 200 else "simulation")


@pytest.mark.conformance("P-02")
@pytest.mark.parametrize("field", [{"gpu_quota": 8}, {"allow_privileged": True}])
async def test_only_super_admins_give_quota_and_privileges(cast: Cast, field: dict[str, Any]) -> None:
    refused = await cast.admin.patch(f"/projects/{cast.p_id}", json=field)
    assert (refused.status_code, refused.json()["code"]) == (403, "project_forbidden")
    refused = await cast.admin.post("/projects", json={"project_name": "New", "g_id": cast.g_id, **field})
    assert refused.status_code == 403
    granted = await cast.super_admin.patch(f"/projects/{cast.p_id}", json=field)
    assert granted.json().items() >= field.items()
    made = await cast.super_admin.post("/projects", json={"project_name": "New", "g_id": cast.g_id, **field})
    assert made.json().items() >= field.items()


@pytest.mark.conformance("P-02")
@pytest.mark.parametrize("gpu_quota", [-1, 2**31, 1.5, "four", None])
async def test_a_quota_that_no_column_holds_is_refused(cast: Cast, gpu_quota: object) -> None:
    created = await cast.super_admin.post(
        "/projects", json={"project_name": "New", "g_id": cast.g_id, "gpu_quota": gpu_quota}
    )
    changed = await cast.super_admin.patch(f"/projects/{cast.p_id}", json={"gpu_quota": gpu_quota})
    assert (created.status_code, changed.status_code) == (400, 400)
    assert (await cast.user.get(f"/projects/{cast.p_id}")).json()["gpu_quota"] == 2


@pytest.mark.conformance("P-02")
async def test_the_largest_quota_is_kept(cast: Cast) -> None:
    changed = await cast.super_admin.patch(f"/projects/{cast.p_id}", json={"gpu_quota": 2**31 - 1})
    assert changed.json()["gpu_quota"] == 2**31 - 1


async def test_a_project_sent_back_as_it_was_read_takes_no_right_to_its_quota(cast: Cast) -> None:
    body = {"project_name": "Optics", "description": None, "gpu_quota": 2, "allow_privileged": False}
    assert (await cast.manager.patch(f"/projects/{cast.p_id}", json=body)).status_code == 200


async def test_the_audit_log_tells_old_and_new_values_of_a_change(cast: Cast) -> None:
    await cast.super_admin.patch(f"/projects/{cast.p_id}", json={"gpu_quota": 5, "project_name": "simulation"})
    (entry,) = await audit_entries(cast.instance, "project")
    assert entry == ("update", "simulation", '{"gpu_quota":2}', '{"gpu_quota":5}')


async def test_a_change_that_changes_nothing_keeps_the_version_and_the_log(cast: Cast) -> None:
    before = await cast.manager.get(f"/projects/{cast.p_id}")
    after = await cast.manager.patch(f"/projects/{cast.p_id}", json={"project_name": "simulation"})
    assert after.headers["ETag"] == before.headers["ETag"]
    assert await audit_entries(cast.instance, "project") == []


async def test_a_stale_version_is_refused(cast: Cast) -> None:
    etag = (await cast.manager.get(f"/projects/{cast.p_id}")).headers["ETag"]
    path, headers = f"/projects/{cast.p_id}", {"If-Match": etag}
    assert (await cast.manager.patch(path, json={"description": "a"}, headers=headers)).status_code == 200
    assert (await cast.manager.patch(path, json={"description": "b"}, headers=headers)).status_code == 412
    assert (await cast.manager.get(path)).json()["description"] == "a"


@pytest.mark.parametrize(
    "body",
    [
        {"project_name": ""},
        {"project_name": " \t"},
        {"project_name": "x" * 101},
        {"project_name": "a\x00b"},
        {"project_name": None},
        {"g_id": "elsewhere"},
        {"allow_privileged": "yes"},
        [],
    ],
)
async def test_a_malformed_change_is_refused(cast: Cast, body: object) -> None:
    assert (await cast.super_admin.patch(f"/projects/{cast.p_id}", json=body)).status_code == 400


async def test_each_sees_the_projects_of_their_groups(cast: Cast) -> None:
    foreign_group = await make_group(cast.database, "chemistry")
    foreign = await make_project(cast.database, foreign_group, "acids")

    async def seen(client: Any, **parameters: str) -> list[str]:
        answer = (await client.get("/projects", params=parameters)).json()
        assert answer["total"] == len(answer["items"])
        return [project["p_id"] for project in answer["items"]]

    assert await seen(cast.user) == [cast.p_id]
    assert await seen(cast.user, g_id=foreign_group) == []
    assert await seen(cast.outsider) == []
    assert await seen(cast.super_admin) == [foreign, cast.p_id]
    assert await seen(cast.super_admin, g_id=foreign_group) == [foreign]
    assert await seen(cast.super_admin, q="SIMUL") == [cast.p_id]
    assert (await cast.user.get(f"/projects/{foreign}")).status_code == 404


async def test_projects_are_sorted_as_asked(cast: Cast) -> None:
    await make_project(cast.database, cast.g_id, "optics", gpu_quota=9)

    async def names(sort: str) -> list[str]:
        answer = await cast.user.get("/projects", params={"sort": sort})
        return [project["project_name"] for project in answer.json()["items"]]

    assert await names("project_name") == ["optics", "simulation"]
    assert await names("gpu_quota") == ["simulation", "optics"]
    assert await names("-created_at") == ["optics", "simulation"]
    assert (await cast.user.get("/projects", params={"sort": "description"})).status_code == 400


async def test_a_project_counts_the_gpus_of_pending_and_running_workloads(cast: Cast) -> None:
    me = (await cast.super_admin.get("/projects")).json()["items"][0]
    async with cast.database.read() as tx:
        ((user_id,),) = await tx.fetch_text("SELECT u_id FROM users WHERE username = 'the-user'")
    for number, (status, gpus) in enumerate([("Pending", 1), ("Running", 2), ("Succeeded", 4), ("Running", None)]):
        await insert_row(
            cast.database,
            course_workloads,
            id=new_long_id(),
            user_id=user_id,
            project_id=me["p_id"],
            name="w",
            namespace="n",
            image="nginx",
            status=status,
            k8s_pod_name=f"pod-{number}",
            resource_gpu=gpus,
        )
    assert (await cast.user.get(f"/projects/{cast.p_id}")).json()["gpus_in_use"] == 3


async def make_files(cast: Cast, number: int, *, first: int = 0) -> None:
    for index in range(first, first + number):
        cf_id = await make_config_file(cast.database, cast.p_id, f"file-{index:03}.yaml")
        rows = [
            {"r_id": new_long_id(), "cf_id": cf_id, "type": "service", "name": f"service/s{each}", "parsed_yaml": {}}
            for each in range(3)
        ]
        await insert_rows(cast.database, resources, rows)


@pytest.mark.conformance("Q-05")
async def test_a_project_comes_with_its_config_files_in_as_many_statements_whatever_their_number(cast: Cast) -> None:
    path = f"/projects/{cast.p_id}?include=config_files"

    async def read() -> tuple[dict[str, Any], int]:
        before = statements_run()
        project = (await cast.user.get(path)).json()
        return project, statements_run() - before

    await make_files(cast, 2)
    project, statements_for_two = await read()
    assert [file["filename"] for file in project["config_files"]] == ["file-000.yaml", "file-001.yaml"]
    for file in project["config_files"]:
        assert [resource["name"] for resource in file["resources"]] == ["service/s0", "service/s1", "service/s2"]
        assert "parsed_yaml" not in file["resources"][0]
        assert "content" not in file
        assert file["resource_count"] == 3
    await make_files(cast, 99, first=2)
    project, statements_for_many = await read()
    assert len(project["config_files"]) == 100
    assert project["config_file_count"] == 101
    assert statements_for_many == statements_for_two <= 4


async def test_a_token_needs_the_scope_of_projects(cast: Cast) -> None:
    async with cast.database.read() as tx:
        ((user_id,),) = await tx.fetch_text("SELECT u_id FROM users WHERE username = 'the-admin'")
    token = await make_token(cast.database, user_id, kind="api", scopes="projects:read")
    client = cast.instance.client(token)
    assert (await client.get(f"/projects/{cast.p_id}")).status_code == 200
    assert (await client.patch(f"/projects/{cast.p_id}", json={"description": "x"})).status_code == 403
    assert (await client.get(f"/projects/{cast.p_id}/config-files")).status_code == 403


def statements_run() -> int:
    """How many statements this process has run so far."""
    samples = [sample for family in metrics.statement_timings.collect() for sample in family.samples]
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))
