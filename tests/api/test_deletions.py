"""Deleting and restoring over HTTP (conformance S-02, S-03, C-13, X-07)."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from holdfast.core.ids import new_long_id
from holdfast.db.tables import container_repositories, container_tags, course_workloads, resources
from tests.api.cast import audit_entries, count_rows
from tests.factories import (
    insert_row,
    make_config_file,
    make_form,
    make_group,
    make_image_request,
    make_member,
    make_message,
    make_project,
    make_rule,
    make_super_admin,
    make_token,
    make_user,
)
from tests.instance import Instance


class Course:
    """A group with a project that holds one of everything, its people, and an outsider; a client for each."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.database = instance.database
        self.ids: dict[str, str] = {}

    async def fill(self) -> "Course":
        database = self.database
        self.g_id = await make_group(database, "physics")
        self.p_id = await make_project(database, self.g_id, "course", gpu_quota=4)
        self.root_id = await make_super_admin(database, "root")
        for username, role in (("head", "admin"), ("teacher", "manager"), ("student", "user"), ("outsider", None)):
            self.ids[username] = await make_user(database, username)
            if role is not None:
                await make_member(database, self.ids[username], self.g_id, role)
        self.ids["root"] = self.root_id
        self.root = await self.client_of(self.root_id)
        self.head = await self.client_of(self.ids["head"])
        self.teacher = await self.client_of(self.ids["teacher"])
        self.student = await self.client_of(self.ids["student"])
        self.outsider = await self.client_of(self.ids["outsider"])
        return self

    async def client_of(self, u_id: str) -> httpx.AsyncClient:
        return self.instance.client(await make_token(self.database, u_id))

    async def add_workload(self, user_id: str, status: str = "Succeeded", **values: Any) -> str:
        row = {
            "id": new_long_id(),
            "user_id": user_id,
            "project_id": self.p_id,
            "name": "training",
            "namespace": "course",
            "image": "docker.io/library/python:3.13",
            "status": status,
            "k8s_pod_name": f"pod-{new_long_id()}",
        } | values
        await insert_row(self.database, course_workloads, **row)
        return str(row["id"])

    async def add_file(self, filename: str = "web.yaml", number_of_resources: int = 2) -> str:
        cf_id = await make_config_file(self.database, self.p_id, filename)
        for number in range(number_of_resources):
            await insert_row(
                self.database,
                resources,
                r_id=new_long_id(),
                cf_id=cf_id,
                type="pod",
                name=f"pod/{number}",
                parsed_yaml={"kind": "Pod"},
            )
        return cf_id


@pytest.fixture
async def course(instance: Instance) -> Course:
    return await Course(instance).fill()


async def plan_of(client: httpx.AsyncClient, noun: str, id_text: str) -> dict[str, Any]:
    answer = await client.post("/deletion-plans", json={"type": noun, "id": id_text})
    assert answer.status_code == 200, answer.text
    plan: dict[str, Any] = answer.json()
    return plan


async def delete(client: httpx.AsyncClient, path: str, noun: str, id_text: str, **params: Any) -> dict[str, Any]:
    """Look at the plan, then delete with its token; what went is what was planned."""
    plan = await plan_of(client, noun, id_text)
    answer = await client.delete(path, params={"plan": plan["token"], **params})
    assert answer.status_code == 200, answer.text
    deleted: dict[str, Any] = answer.json()
    assert deleted["counts"] == plan["counts"]
    return deleted


async def restore(client: httpx.AsyncClient, deletion_id: str, **body: Any) -> httpx.Response:
    return await client.post(f"/deletions/{deletion_id}/restore", json=body)


Maker = Callable[[Course], Awaitable[tuple[str, str, dict[str, int]]]]


async def _a_user(course: Course) -> tuple[str, str, dict[str, int]]:
    u_id = course.ids["student"]
    form_id = await make_form(course.database, u_id, course.p_id)
    await make_message(course.database, form_id, course.ids["teacher"])
    return f"/users/{u_id}", u_id, {"users": 1, "tokens": 1, "user_group": 1, "forms": 1, "form_messages": 1}


async def _a_group(course: Course) -> tuple[str, str, dict[str, int]]:
    await course.add_file()
    counts = {"group_list": 1, "user_group": 3, "project_list": 1, "config_files": 1, "resources": 2}
    return f"/groups/{course.g_id}", course.g_id, counts


async def _a_member(course: Course) -> tuple[str, str, dict[str, int]]:
    u_id = course.ids["student"]
    return f"/groups/{course.g_id}/members/{u_id}", f"{course.g_id}/{u_id}", {"user_group": 1}


async def _a_project(course: Course) -> tuple[str, str, dict[str, int]]:
    await course.add_file()
    await make_image_request(course.database, course.ids["student"], course.p_id)
    await make_rule(course.database, course.root_id, course.p_id)
    counts = {"project_list": 1, "config_files": 1, "resources": 2, "image_requests": 1, "image_allow_list": 1}
    return f"/projects/{course.p_id}", course.p_id, counts


async def _a_file(course: Course) -> tuple[str, str, dict[str, int]]:
    cf_id = await course.add_file()
    return f"/config-files/{cf_id}", cf_id, {"config_files": 1, "resources": 2}


async def _a_form(course: Course) -> tuple[str, str, dict[str, int]]:
    form_id = await make_form(course.database, course.ids["student"], course.p_id)
    await make_message(course.database, form_id, course.ids["teacher"])
    return f"/forms/{form_id}", form_id, {"forms": 1, "form_messages": 1}


async def _a_message(course: Course) -> tuple[str, str, dict[str, int]]:
    form_id = await make_form(course.database, course.ids["student"], course.p_id)
    message_id = await make_message(course.database, form_id, course.ids["student"])
    return f"/forms/{form_id}/messages/{message_id}", message_id, {"form_messages": 1}


async def _a_request(course: Course) -> tuple[str, str, dict[str, int]]:
    request_id = await make_image_request(course.database, course.ids["student"], course.p_id)
    return f"/image-requests/{request_id}", request_id, {"image_requests": 1}


async def _a_rule(course: Course) -> tuple[str, str, dict[str, int]]:
    image_id = await make_rule(course.database, course.root_id, course.p_id)
    return f"/images/{image_id}", image_id, {"image_allow_list": 1}


async def _a_repository(course: Course) -> tuple[str, str, dict[str, int]]:
    repository_id = new_long_id()
    await insert_row(course.database, container_repositories, id=repository_id, name="r", full_name="docker.io/r")
    await insert_row(course.database, container_tags, id=new_long_id(), repository_id=repository_id, name="1")
    return f"/repositories/{repository_id}", repository_id, {"container_repositories": 1, "container_tags": 1}


async def _a_tag(course: Course) -> tuple[str, str, dict[str, int]]:
    repository_id, tag_id = new_long_id(), new_long_id()
    await insert_row(course.database, container_repositories, id=repository_id, name="r", full_name="docker.io/r")
    await insert_row(course.database, container_tags, id=tag_id, repository_id=repository_id, name="1")
    return f"/repositories/{repository_id}/tags/{tag_id}", tag_id, {"container_tags": 1}


async def _a_workload(course: Course) -> tuple[str, str, dict[str, int]]:
    workload_id = await course.add_workload(course.ids["student"])
    return f"/workloads/{workload_id}", workload_id, {"course_workloads": 1}


MAKERS: dict[str, Maker] = {
    "user": _a_user,
    "group": _a_group,
    "member": _a_member,
    "project": _a_project,
    "config-file": _a_file,
    "form": _a_form,
    "form-message": _a_message,
    "image-request": _a_request,
    "image": _a_rule,
    "repository": _a_repository,
    "tag": _a_tag,
    "workload": _a_workload,
}


@pytest.mark.conformance("S-02", "S-03", "C-13", "X-07")
@pytest.mark.parametrize("noun", MAKERS)
async def test_everything_is_deleted_with_what_hangs_on_it_and_comes_back(course: Course, noun: str) -> None:
    path, id_text, counts = await MAKERS[noun](course)
    before = (await course.root.get(path)).json()
    plan = await plan_of(course.root, noun, id_text)
    assert plan["counts"] == counts
    assert (plan["root"]["type"], plan["root"]["id"]) == (noun, id_text)
    assert plan["already_deleted"] == {}
    assert plan["decisions"] == []
    bare = await course.root.delete(path)
    if sum(counts.values()) > 1:
        assert bare.status_code == 428
        assert bare.json()["code"] == "plan_required"
        assert bare.json()["plan"] == plan
        bare = await course.root.delete(path, params={"plan": plan["token"], "reason": "the term is over"})
    assert bare.status_code == 200, bare.text
    deletion_id = bare.json()["deletion_id"]
    assert bare.json()["counts"] == counts
    assert (await course.root.get(path)).status_code == 404
    assert (await course.root.delete(path)).status_code == 404
    for table, number in counts.items():
        assert await count_rows(course.instance, table, f"deletion_id = '{deletion_id}'") == number
    deletion = (await course.root.get(f"/deletions/{deletion_id}")).json()
    assert (deletion["state"], deletion["root_type"], deletion["root_id"]) == ("deleted", noun, id_text)
    assert deletion["planned_counts"] == deletion["actual_counts"] == counts
    restored = await restore(course.root, deletion_id)
    assert restored.status_code == 200, restored.text
    assert restored.json() == {"deletion_id": deletion_id, "counts": counts, "renamed": []}
    assert (await course.root.get(path)).json() == before
    again = await restore(course.root, deletion_id)
    assert (again.status_code, again.json()["counts"]) == (200, {})
    assert [entry[0] for entry in await audit_entries(course.instance, noun)] == ["delete", "restore"]
