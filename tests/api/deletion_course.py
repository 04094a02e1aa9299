"""A course whose things tests of deletions delete, and how they do it."""

from typing import Any

import httpx

from holdfast.core.ids import new_long_id
from holdfast.db.tables import course_workloads, resources
from tests.factories import (
    insert_row,
    make_config_file,
    make_group,
    make_member,
    make_project,
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
