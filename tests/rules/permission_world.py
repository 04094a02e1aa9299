"""The people and things that the permission matrix is called on: two groups, and somebody for each role."""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import httpx
import msgspec

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db import runs
from holdfast.db.schedule import periodic_id
from holdfast.db.statistics.gauges import DATABASE_NUMBERS
from holdfast.db.tables import (
    container_repositories,
    container_tags,
    course_workloads,
    image_allow_list,
    jobs,
    resources,
)
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.images.orphan_gauge import ORPHANS
from holdfast.features.jobs.gauges import SCHEDULE
from holdfast.operations.backup.gauges import NEWEST_BACKUP
from holdfast.operations.backup.types import ASKED_RUN
from holdfast.operations.doctor.gauge import DOCTOR
from holdfast.operations.doctor.service import EXAMINE_JOB
from holdfast.operations.doctor.types import RUN, Report, Severity
from tests.db.rows import run
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

# `elsewhere` administers another group, `self` is a plain member whom or whose the thing is.
ROLES = ("public", "outsider", "elsewhere", "user", "manager", "admin", "super", "self")

Ids = dict[str, str]
MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n"


class World:
    """A group `physics` with a project and members, a group `chemistry` with its own, and people outside of both."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.database = instance.database
        self._numbers = count(1)
        self._people: dict[str, str] = {}
        self._tokens: dict[str, str] = {}

    async def fill(self) -> "World":
        """Make the rows."""
        self.g_id = await make_group(self.database, "physics")
        self.p_id = await make_project(self.database, self.g_id, "physics course", gpu_quota=2)
        self.other_g_id = await make_group(self.database, "chemistry")
        self.other_p_id = await make_project(self.database, self.other_g_id, "chemistry course")
        self._people["super"] = await make_super_admin(self.database, "super")
        self.user_admin_id = await make_user(self.database, "admin")
        await make_member(self.database, self.user_admin_id, SUPER_GROUP_ID, "admin")
        for role in ("outsider", "elsewhere", "user", "manager", "admin", "self"):
            self._people[role] = await make_user(self.database, f"the-{role}")
        await make_member(self.database, self._people["elsewhere"], self.other_g_id, "admin")
        for role in ("user", "manager", "admin"):
            await make_member(self.database, self._people[role], self.g_id, role)
        await make_member(self.database, self._people["self"], self.g_id, "user")
        for role, u_id in self._people.items():
            self._tokens[role] = await make_token(self.database, u_id)
        await self.allow("global", "3.13")
        self._client = self.instance.client()
        return self

    def id_of(self, role: str) -> str:
        """The user of a role."""
        return self._people[role]

    def fresh(self, word: str) -> str:
        """A name that nobody has yet."""
        return f"{word}-{next(self._numbers)}"

    async def call(
        self, role: str, method: str, path: str, *, json: Any = None, token: str | None = None
    ) -> httpx.Response:
        """Send a request as a role; `token` instead of the role's own where it is given."""
        if role != "public":
            token = token or self._tokens[role]
        headers = {} if token is None or role == "public" else {"Authorization": f"Bearer {token}"}
        self._client.cookies.clear()
        return await self._client.request(method, self.instance.base_url + path, json=json, headers=headers)

    async def plan(self, noun: str, ids: Ids) -> str:
        """The token of a deletion's plan, as a super administrator gets it."""
        id_text = _ID_OF[noun].format(**ids)
        answer = await self.call("super", "POST", "/api/v1/deletion-plans", json={"type": noun, "id": id_text})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    async def delete(self, role: str, path: str, noun: str, ids: Ids, *, token: str | None = None) -> Ids:
        """Delete something as a role; the id of the deletion."""
        path = f"/api/v1{path}?plan={await self.plan(noun, ids)}".format(**ids)
        answer = await self.call(role, "DELETE", path, token=token)
        assert answer.status_code == 200, answer.text
        return {"deletion_id": answer.json()["deletion_id"]}

    async def allow(self, name: str, tag: str, project_id: str | None = None) -> None:
        """A rule of the allow list for an image of that name."""
        repository_id, tag_id = new_long_id(), new_long_id()
        await insert_row(
            self.database,
            container_repositories,
            id=repository_id,
            namespace="library",
            name=name,
            full_name=f"docker.io/library/{name}",
        )
        await insert_row(self.database, container_tags, id=tag_id, repository_id=repository_id, name=tag)
        await insert_row(
            self.database,
            image_allow_list,
            id=new_long_id(),
            project_id=project_id,
            repository_id=repository_id,
            tag_id=tag_id,
            created_by=self._people["super"],
        )


Maker = Callable[[World], Awaitable[Ids]]

_ID_OF = {
    "user": "{u_id}",
    "group": "{g_id}",
    "member": "{g_id}/{u_id}",
    "project": "{p_id}",
    "config-file": "{cf_id}",
    "form": "{form_id}",
    "image": "{image_id}",
    "repository": "{repository_id}",
}


async def nothing(world: World) -> Ids:
    return {}


async def nothing_read_lately(world: World) -> Ids:
    """A scrape reads everything anew, as it does from time to time."""
    for numbers in (DATABASE_NUMBERS, DOCTOR, NEWEST_BACKUP, ORPHANS, SCHEDULE):
        numbers.read_at.clear()
    return {}


async def group(world: World) -> Ids:
    return {"g_id": world.g_id}


async def fresh_group(world: World) -> Ids:
    """A group with the same people: what it is called may change."""
    g_id = await make_group(world.database, world.fresh("group"))
    for role in ("user", "manager", "admin"):
        await make_member(world.database, world.id_of(role), g_id, role)
    return {"g_id": g_id}


async def super_group(world: World) -> Ids:
    return {"g_id": SUPER_GROUP_ID}


async def member(world: World) -> Ids:
    """A plain member of the group, who is `self`."""
    u_id = await make_user(world.database)
    await make_member(world.database, u_id, world.g_id, "user")
    return {"g_id": world.g_id, "u_id": u_id, "self": u_id}


async def group_admin(world: World) -> Ids:
    """Another admin of the group, who is `self`."""
    u_id = await make_user(world.database)
    await make_member(world.database, u_id, world.g_id, "admin")
    return {"g_id": world.g_id, "u_id": u_id, "self": u_id}


async def newcomer(world: World) -> Ids:
    """Somebody to take into the group."""
    username = world.fresh("newcomer")
    return {"g_id": world.g_id, "new": await make_user(world.database, username), "username": username}


async def newcomer_of_super(world: World) -> Ids:
    return await newcomer(world) | {"g_id": SUPER_GROUP_ID}


async def user_admin(world: World) -> Ids:
    return {"u_id": world.user_admin_id, "g_id": SUPER_GROUP_ID, "self": world.user_admin_id}


async def project(world: World) -> Ids:
    return {"p_id": await make_project(world.database, world.g_id, world.fresh("project"))}


async def config_file(world: World) -> Ids:
    cf_id = await make_config_file(world.database, world.p_id, f"{world.fresh('file')}.yaml")
    r_id = new_long_id()
    await insert_row(
        world.database,
        resources,
        r_id=r_id,
        cf_id=cf_id,
        type="configmap",
        name="configmap/settings",
        parsed_yaml={"kind": "ConfigMap"},
    )
    return {"cf_id": cf_id, "r_id": r_id}


async def form(world: World) -> Ids:
    form_id = await make_form(world.database, world.id_of("self"), world.p_id)
    return {"form_id": form_id, "message_id": await make_message(world.database, form_id, world.id_of("self"))}


async def form_without_project(world: World) -> Ids:
    form_id = await make_form(world.database, world.id_of("self"))
    return {"form_id": form_id, "message_id": await make_message(world.database, form_id, world.id_of("self"))}


async def form_with_an_answer(world: World) -> Ids:
    """A form of `self` with a message of somebody who may not see it otherwise."""
    form_id = await make_form(world.database, world.id_of("self"), world.p_id)
    return {"form_id": form_id, "message_id": await make_message(world.database, form_id, world.id_of("super"))}


async def image_request(world: World) -> Ids:
    image = f"library/{world.fresh('image')}"
    request_id = await make_image_request(world.database, world.id_of("self"), world.p_id, input_image_name=image)
    return {"request_id": request_id}


async def decided_image_request(world: World) -> Ids:
    image = f"library/{world.fresh('image')}"
    request_id = await make_image_request(
        world.database, world.id_of("self"), world.p_id, input_image_name=image, status="rejected"
    )
    return {"request_id": request_id}


async def image_request_for_all(world: World) -> Ids:
    image = f"library/{world.fresh('image')}"
    return {"request_id": await make_image_request(world.database, world.id_of("self"), input_image_name=image)}


async def project_rule(world: World) -> Ids:
    return {"image_id": await make_rule(world.database, world.id_of("super"), world.p_id)}


async def disabled_project_rule(world: World) -> Ids:
    return {"image_id": await make_rule(world.database, world.id_of("super"), world.p_id, is_enabled=False)}


async def global_rule(world: World) -> Ids:
    return {"image_id": await make_rule(world.database, world.id_of("super"))}


async def repository(world: World) -> Ids:
    repository_id, tag_id, name = new_long_id(), new_long_id(), world.fresh("repository")
    await insert_row(
        world.database, container_repositories, id=repository_id, name=name, full_name=f"docker.io/library/{name}"
    )
    await insert_row(world.database, container_tags, id=tag_id, repository_id=repository_id, name="1.0")
    return {"repository_id": repository_id, "tag_id": tag_id}


async def workload(world: World) -> Ids:
    workload_id = new_long_id()
    await insert_row(
        world.database,
        course_workloads,
        id=workload_id,
        user_id=world.id_of("self"),
        project_id=world.p_id,
        name="training",
        namespace="course",
        image="docker.io/library/global:3.13",
        k8s_pod_name=world.fresh("pod"),
    )
    return {"workload_id": workload_id}


async def deleted_group(world: World) -> Ids:
    ids = await fresh_group(world)
    return await world.delete("super", "/groups/{g_id}", "group", ids)


async def deleted_project(world: World) -> Ids:
    return await world.delete("super", "/projects/{p_id}", "project", await project(world))


async def deleted_file(world: World) -> Ids:
    return await world.delete("super", "/config-files/{cf_id}", "config-file", await config_file(world))


async def deleted_rule(world: World) -> Ids:
    return await world.delete("super", "/images/{image_id}", "image", await project_rule(world))


async def deleted_user(world: World) -> Ids:
    return await world.delete("super", "/users/{u_id}", "user", await member(world))


async def form_deleted_by_self(world: World) -> Ids:
    return await world.delete("self", "/forms/{form_id}", "form", await form(world))


async def removed_member(world: World) -> Ids:
    ids = await member(world)
    return {"self": ids["self"]} | await world.delete("admin", "/groups/{g_id}/members/{u_id}", "member", ids)


async def member_who_left(world: World) -> Ids:
    ids = await member(world)
    token = await make_token(world.database, ids["self"])
    left = await world.delete("self", "/groups/{g_id}/members/{u_id}", "member", ids, token=token)
    return {"self": ids["self"]} | left


async def token_of_self(world: World) -> Ids:
    """A token of `self`, other than the one in use."""
    token_id = new_long_id()
    await make_token(world.database, world.id_of("self"), id=token_id)
    return {"token_id": token_id}


async def own_token(world: World) -> Ids:
    """Nothing named by an id: the token in use is what the request is about."""
    return {"fresh_token": "yes"}


async def dead_letter(world: World) -> Ids:
    """A job that failed for good."""
    return await _job(world, name="tests.dead", state="failed", attempts=8, failure="the disk is tired")


async def no_backup_asked(world: World) -> Ids:
    """Nobody asked for a backup that is still to be made."""
    await run(world.database, f"DELETE FROM jobs WHERE name = '{ASKED_RUN}'")
    return {}


async def no_examination_asked(world: World) -> Ids:
    """Nobody asked for an examination that is still to be made."""
    await run(world.database, f"DELETE FROM jobs WHERE name = '{EXAMINE_JOB}'")
    return {}


async def examination(world: World) -> Ids:
    """An examination that has ended, and found nothing."""
    now = utc_now()
    report = Report(
        started_at=now,
        finished_at=now,
        engine=world.database.dialect_name,
        checks=["orphans"],
        counts=dict.fromkeys(Severity, 0),
        findings=[],
    )
    async with world.database.write() as tx:
        await runs.record(tx, RUN, now, "done", detail=msgspec.to_builtins(report))
    return {}


async def periodic_job(world: World) -> Ids:
    """A job of the schedule, which waits for its next time."""
    name = world.fresh("tests.periodic")
    return await _job(world, id=periodic_id(name), name=name, every_seconds=3600) | {"name": name}


async def _job(world: World, **values: Any) -> Ids:
    values.setdefault("id", new_long_id())
    await insert_row(world.database, jobs, arguments={}, run_at=utc_now(), **values)
    return {"job_id": values["id"]}
