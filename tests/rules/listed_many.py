"""A course with as many rows of every kind as asked, all made at one moment: the order of lists must not rest on it."""

from typing import Any

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id, new_short_id
from holdfast.db.tables import (
    audit_logs,
    config_files,
    container_repositories,
    container_tags,
    course_workloads,
    deletions,
    form_messages,
    forms,
    group_list,
    image_allow_list,
    image_requests,
    jobs,
    project_list,
    resources,
    runs,
    tokens,
    user_group,
    users,
)
from tests.factories import insert_rows, make_group, make_member, make_project, make_super_admin, make_token, make_user
from tests.instance import Instance

Rows = list[dict[str, Any]]


class ManyRows:
    """An admin of a group, a super administrator, and lists that grow."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.database = instance.database
        self.made = 0
        self.moment = utc_now()

    async def fill(self) -> "ManyRows":
        """One group with its admin, one project; the lists begin with them."""
        self.g_id = await make_group(self.database)
        self.p_id = await make_project(self.database, self.g_id)
        self.u_id = await make_user(self.database, "the-admin")
        await make_member(self.database, self.u_id, self.g_id, "admin")
        self.admin_token = await make_token(self.database, self.u_id)
        self.super_id = await make_super_admin(self.database)
        self.super_token = await make_token(self.database, self.super_id)
        self.repository_id, self.cf_id, self.form_id = new_long_id(), new_long_id(), new_long_id()
        await self._add_repositories([self.repository_id])
        await self._add_files([self.cf_id])
        await self._add_forms([self.form_id])
        return self

    async def grow_to(self, number: int) -> None:
        """Make every list at least that long; the nested ones of the first and of each row, too."""
        added = range(self.made, number)
        self.made = number
        await self._add_people(added)
        await self._add_projects(added)
        repository_ids = [new_long_id() for _ in added]
        await self._add_repositories(repository_ids)
        await self._add_rules(repository_ids)
        file_ids = [new_long_id() for _ in added]
        await self._add_files(file_ids)
        await self._add_resources([*file_ids, *[self.cf_id for _ in added]])
        form_ids = [new_long_id() for _ in added]
        await self._add_forms(form_ids)
        await self._add_messages([*form_ids, *[self.form_id for _ in added]])
        await self._add_requests(added)
        await self._add_workloads(added)
        await self._add_entries(added)
        await self._add_deletions(added)
        await self._add_jobs(added)

    def path(self, route: str) -> str:
        """The route with its ids."""
        return route.format(
            g_id=self.g_id,
            p_id=self.p_id,
            u_id=self.u_id,
            cf_id=self.cf_id,
            form_id=self.form_id,
            repository_id=self.repository_id,
        )

    async def _add_people(self, added: range) -> None:
        people = [new_short_id() for _ in added]
        groups = [new_short_id() for _ in added]
        member = {"g_id": self.g_id, "role": "user"}
        await self._insert(users, [{"u_id": u_id, "username": f"student-{u_id}", "password": "-"} for u_id in people])
        await self._insert(user_group, [{"u_id": u_id, **member} for u_id in people])
        await self._insert(group_list, [{"g_id": g_id, "group_name": "a group"} for g_id in groups])
        admins = [{"u_id": u_id, "role": "admin"} for u_id in (self.u_id, self.super_id)]
        await self._insert(user_group, [{"g_id": g_id, **admin} for g_id in groups for admin in admins])
        token = {"kind": "api", "name": "a token", "scopes": "*:read", "expires_at": self.moment}
        owners = [u_id for _ in added for u_id in (self.u_id, self.super_id)]
        rows = [{"id": new_long_id(), "user_id": u_id, **token} for u_id in owners]
        await self._insert(tokens, [row | {"token_hash": row["id"]} for row in rows])

    async def _add_projects(self, added: range) -> None:
        rows = [{"p_id": new_short_id(), "g_id": self.g_id, "project_name": "a project"} for _ in added]
        await self._insert(project_list, rows)

    async def _add_repositories(self, repository_ids: list[str]) -> None:
        rows = [{"id": each, "name": "image", "full_name": f"docker.io/library/{each}"} for each in repository_ids]
        await self._insert(container_repositories, rows)

    async def _add_rules(self, repository_ids: list[str]) -> None:
        rows = [{"id": new_long_id(), "repository_id": self.repository_id, "name": each} for each in repository_ids]
        await self._insert(container_tags, rows)
        rule = {"project_id": self.p_id, "created_by": self.super_id}
        await self._insert(
            image_allow_list, [{"id": new_long_id(), "repository_id": each, **rule} for each in repository_ids]
        )

    async def _add_files(self, file_ids: list[str]) -> None:
        file = {"project_id": self.p_id, "content": "# empty"}
        await self._insert(config_files, [{"cf_id": each, "filename": f"{each}.yaml", **file} for each in file_ids])

    async def _add_resources(self, file_ids: list[str]) -> None:
        ids = [new_long_id() for _ in file_ids]
        await self._insert(
            resources,
            [
                {"r_id": r_id, "cf_id": cf_id, "type": "pod", "name": f"pod/{r_id}", "parsed_yaml": {}}
                for r_id, cf_id in zip(ids, file_ids, strict=True)
            ],
        )

    async def _add_forms(self, form_ids: list[str]) -> None:
        form = {"user_id": self.u_id, "project_id": self.p_id, "title": "A question"}
        await self._insert(forms, [{"id": each, **form} for each in form_ids])

    async def _add_messages(self, form_ids: list[str]) -> None:
        message = {"user_id": self.u_id, "content": "An answer"}
        await self._insert(form_messages, [{"id": new_long_id(), "form_id": each, **message} for each in form_ids])

    async def _add_requests(self, added: range) -> None:
        request = {"user_id": self.u_id, "project_id": self.p_id, "input_tag": "1"}
        rows = [{"id": new_long_id(), "input_image_name": f"image-{number}", **request} for number in added]
        await self._insert(image_requests, rows)
        reviewed = {"status": "approved", "reviewed_at": self.moment}
        rows = [{"id": new_long_id(), "input_image_name": f"old-{number}", **request} for number in added]
        await self._insert(image_requests, [row | reviewed for row in rows])

    async def _add_workloads(self, added: range) -> None:
        workload = {"user_id": self.u_id, "project_id": self.p_id, "name": "training", "namespace": "n", "image": "i"}
        await self._insert(
            course_workloads,
            [{"id": new_long_id(), "k8s_pod_name": f"pod-{number}", **workload} for number in added],
        )

    async def _add_entries(self, added: range) -> None:
        entry = {"user_id": self.u_id, "action": "create", "resource_type": "form", "g_id": self.g_id}
        await self._insert(audit_logs, [{"resource_id": str(number), **entry} for number in added])

    async def _add_deletions(self, added: range) -> None:
        deletion = {"root_type": "form", "actor_id": self.u_id, "actor_name": "the-admin", "planned_counts": {}}
        await self._insert(deletions, [{"id": new_long_id(), "root_id": str(each), **deletion} for each in added])

    async def _add_jobs(self, added: range) -> None:
        names = [f"tests.job_{number}" for number in added]
        job = {"arguments": {}, "run_at": self.moment, "every_seconds": 3600}
        await self._insert(jobs, [{"id": new_long_id(), "name": name, **job} for name in names])
        run = {"host": "here:1", "started_at": self.moment, "finished_at": self.moment, "outcome": "done"}
        await insert_rows(self.database, runs, [{"id": new_long_id(), "name": name, **run} for name in names])

    async def _insert(self, table: Any, rows: Rows) -> None:
        await insert_rows(self.database, table, [row | {"created_at": self.moment} for row in rows])
