"""People who act at the same moment, over real HTTP."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from holdfast.core.actor import Actor
from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.jobs import PutOffError
from holdfast.db.lifecycle.bundle_file import BundleRefusedError
from holdfast.db.lifecycle.plan import count_deletion, lock_root, root_of
from holdfast.db.lifecycle.recover import RecoveryRefusedError
from holdfast.db.lifecycle.trash import mark
from holdfast.db.retries import with_retries
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.deletions.errors import RestoreRefusedError
from holdfast.features.images import service as images
from holdfast.features.images.errors import ImageAlreadyAllowedError
from holdfast.features.images.references import parse_image
from tests.db.rows import fetch
from tests.factories import (
    make_config_file,
    make_form,
    make_group,
    make_member,
    make_project,
    make_rule,
    make_super_admin,
    make_token,
    make_user,
)
from tests.instance import Instance
from tests.lifecycle.model import PRIMARY_KEYS
from tests.lifecycle.world import World

_CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\n"


@dataclass(frozen=True)
class Place:
    """A group with a project, a form, a file, a repository with a tag and its rule, and who works there."""

    g_id: str
    p_id: str
    form_id: str
    cf_id: str
    repository_id: str
    tag_id: str
    image_name: str
    u_id: str
    newcomer: str
    client: httpx.AsyncClient

    @property
    def roots(self) -> dict[str, tuple[str, str]]:
        """What can be deleted: its path and its id, by type."""
        return {
            "group": (f"/groups/{self.g_id}", self.g_id),
            "project": (f"/projects/{self.p_id}", self.p_id),
            "user": (f"/users/{self.u_id}", self.u_id),
            "member": (f"/groups/{self.g_id}/members/{self.u_id}", f"{self.g_id}/{self.u_id}"),
            "form": (f"/forms/{self.form_id}", self.form_id),
            "config-file": (f"/config-files/{self.cf_id}", self.cf_id),
            "repository": (f"/repositories/{self.repository_id}", self.repository_id),
            "tag": (f"/repositories/{self.repository_id}/tags/{self.tag_id}", self.tag_id),
        }

    def writing(self, table: str) -> tuple[str, str, dict[str, Any]]:
        """A request that makes a row of a table: method, path and body."""
        name = f"n-{new_long_id().lower().strip('-_')}".replace("_", "x")
        in_project = {"project_id": self.p_id}
        return {
            "project_list": ("POST", "/projects", {"g_id": self.g_id, "project_name": name}),
            "user_group": ("POST", f"/groups/{self.g_id}/members", {"u_id": self.newcomer}),
            "config_files": (
                "POST",
                f"/projects/{self.p_id}/config-files",
                {"filename": f"{name}.yaml", "content": _CONFIG_MAP.format("web")},
            ),
            "resources": ("PUT", f"/config-files/{self.cf_id}", {"content": _CONFIG_MAP.format(name)}),
            "forms": ("POST", "/forms", {"title": name, "message": "Please", **in_project}),
            "form_messages": ("POST", f"/forms/{self.form_id}/messages", {"content": name}),
            "image_requests": ("POST", "/image-requests", {"image_name": f"library/{name}", **in_project}),
            "image_allow_list": ("POST", "/images", {"image_name": f"library/{name}:1", **in_project}),
            "course_workloads": ("POST", "/workloads", {"name": name, "image": "nginx:1", **in_project}),
            "container_tags": ("POST", f"/repositories/{self.repository_id}/tags", {"name": name}),
            "tokens": ("POST", "/tokens", {"name": name}),
        }[table]


class Crowd:
    """A super administrator who deletes and restores, and places for others to write in."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.database = instance.database
        self.root = instance.client()
        self.world = World(instance.database, instance.settings)

    async def gather(self) -> "Crowd":
        """Make the super administrator."""
        u_id = await make_super_admin(self.database, "admin")
        self.world.root = Actor(u_id, "admin", is_super_admin=True)
        self.root = self.instance.client(await make_token(self.database, u_id))
        return self

    async def make_place(self) -> Place:
        """A new place; who works there has every right."""
        database = self.database
        g_id = await make_group(database)
        p_id = await make_project(database, g_id)
        u_id = await make_user(database)
        await make_member(database, u_id, g_id, "admin")
        await make_member(database, u_id, SUPER_GROUP_ID, "admin")
        rule = await make_rule(database, u_id, p_id)
        ((repository_id, tag_id, image_name),) = await fetch(
            database,
            "SELECT rule.repository_id, rule.tag_id, repository.full_name FROM image_allow_list rule"
            f" JOIN container_repositories repository ON repository.id = rule.repository_id WHERE rule.id = '{rule}'",
        )
        return Place(
            g_id=g_id,
            p_id=p_id,
            form_id=await make_form(database, u_id, p_id),
            cf_id=await make_config_file(database, p_id),
            repository_id=repository_id,
            tag_id=tag_id,
            image_name=image_name,
            u_id=u_id,
            newcomer=await make_user(database),
            client=self.instance.client(await make_token(database, u_id)),
        )

    async def delete(self, place: Place, root_type: str) -> httpx.Response:
        """Delete by a plan, and by the new one where the numbers moved meanwhile."""
        path, root_id = place.roots[root_type]
        answer = await self.root.post("/deletion-plans", json={"type": root_type, "id": root_id})
        for _ in range(100):
            if answer.status_code == 404:
                return answer
            plan = answer.json().get("plan", answer.json())
            answer = await self.root.delete(path, params={"plan": plan["token"], "take_along": "true"})
            if answer.status_code != 409 or "plan" not in answer.json():
                return answer
        raise AssertionError("the numbers moved a hundred times")

    async def mark_at_once(self, place: Place, root_type: str) -> tuple[str, dict[str, int]]:
        """Delete as the product does, but without a plan, which would never stand still while others write."""
        root = root_of(root_type, place.roots[root_type][1])
        deletion_id = new_long_id()

        async def attempt() -> dict[str, int]:
            async with self.database.write() as tx:
                assert await lock_root(tx, root)
                numbers = await count_deletion(tx, root)
                return await mark(tx, root, deletion_id, utc_now(), by_edge=numbers.by_edge)

        return deletion_id, await with_retries(attempt)

    async def admit(self, place: Place) -> bool:
        """Let the place's user into a new group; whether the user was still there to join."""
        g_id = await make_group(self.database)
        answer = await self.root.post(f"/groups/{g_id}/members", json={"u_id": place.u_id})
        assert answer.status_code in {201, 404}, answer.text
        return answer.status_code == 201

    async def allow(self, place: Place, tag: str | None) -> str | None:
        """Allow the place's image for all, and note that the cluster has it; the rule, or None where there is one.

        Where the repository or the tag is deleted, another of its name is made.
        """
        image = parse_image(place.image_name, tag=tag)
        try:
            rule = await self.world.act(
                images.add_rule, self.world.root, image, project_id=None, private_registry=image.registry
            )
        except ImageAlreadyAllowedError:
            return None
        return rule.id

    async def forbid(self, rule_id: str) -> None:
        """Delete a rule, unless it is gone with something else."""
        answer = await self.root.delete(f"/images/{rule_id}", params={"take_along": "true"})
        assert answer.status_code in {200, 404}, answer.text

    async def purge(self, deletion_id: str) -> int:
        """Purge as a worker does, which comes again when it is told to wait; how many rows went."""
        while True:
            try:
                return await self.world.purge(deletion_id)
            except PutOffError:
                await asyncio.sleep(0)

    async def bring_back(self, deletion_ids: list[str]) -> None:
        """Recover what was purged, each as soon as its parents are back."""
        left = list(deletion_ids)
        while left:
            refused = []
            for deletion_id in left:
                try:
                    await self.bring_one_back(deletion_id)
                except (RecoveryRefusedError, RestoreRefusedError, BundleRefusedError):
                    refused.append(deletion_id)
            assert len(refused) < len(left), "none of them can be recovered"
            left = refused

    async def bring_one_back(self, deletion_id: str) -> None:
        """Recover a deletion, or restore it where another's bundle brought its rows."""
        if await self.state_of(deletion_id) == "deleted":
            await self.world.restore(deletion_id)
        else:
            await self.world.recover(deletion_id)

    async def state_of(self, deletion_id: str) -> str:
        """How far a deletion is."""
        answer = await self.root.get(f"/deletions/{deletion_id}")
        return str(answer.json()["state"])

    async def counts_of(self, deletion_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """How many rows bear each deletion, per table."""
        counts: dict[str, dict[str, int]] = {each: {} for each in deletion_ids}
        for table in PRIMARY_KEYS:
            for deletion_id, count in await fetch(
                self.database, f"SELECT deletion_id, count(*) FROM {table} GROUP BY deletion_id"
            ):
                if deletion_id in counts:
                    counts[deletion_id][table] = int(count)
        return counts

    async def is_there(self, table: str, key: str) -> bool:
        """Whether a row is in the database, deleted or not."""
        column = PRIMARY_KEYS[table][0]
        return bool(await fetch(self.database, f"SELECT 1 FROM {table} WHERE {column} = '{key}'"))
