"""A course seen by a student, a teacher, an admin and a super administrator, whose lists change while they are walked.

Rows differ in what lists sort and filter by, but not all of them: three share each moment, names repeat where they may
and differ in case, accents and spaces where they may not, and what may be null is so in every other row.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import httpx
from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, update

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id, new_short_id
from holdfast.db.statements import Command, new_value
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
from holdfast.db.tables.groups import SUPER_GROUP_ID
from tests.factories import (
    insert_row,
    make_form,
    make_group,
    make_member,
    make_project,
    make_super_admin,
    make_token,
    make_user,
)
from tests.instance import Instance

ROLES = ("student", "teacher", "admin", "super")
# Of each list the table and the key of its rows.
LISTS: dict[str, tuple[Table, str]] = {
    "/users": (users, "u_id"),
    "/groups": (group_list, "g_id"),
    "/groups/{g_id}/members": (user_group, "u_id"),
    "/projects": (project_list, "p_id"),
    "/projects/{p_id}/config-files": (config_files, "cf_id"),
    "/config-files/{cf_id}/resources": (resources, "r_id"),
    "/users/{student}/groups": (user_group, "g_id"),
    "/forms": (forms, "id"),
    "/forms/{form_id}/messages": (form_messages, "id"),
    "/image-requests": (image_requests, "id"),
    "/images": (image_allow_list, "id"),
    "/repositories": (container_repositories, "id"),
    "/repositories/{repository_id}/tags": (container_tags, "id"),
    "/workloads": (course_workloads, "id"),
    "/tokens": (tokens, "id"),
    "/deletions": (deletions, "id"),
    "/audit-logs": (audit_logs, "id"),
    "/jobs": (jobs, "id"),
    "/runs": (runs, "id"),
}
_NAMES = ("anna", "Anna", "änna", "anna ", "ANNA", "b a", "", "zz\U0001f600a", "a'b", 'a"\\b')

Rows = list[tuple[Table, dict[str, Any]]]


class WalkedCourse:
    """The course, and what makes, changes and removes the rows of its lists."""

    def __init__(self, instance: Instance) -> None:
        self.database = instance.database
        self._instance = instance
        self._made = 0
        self._began = utc_now() - timedelta(hours=1)

    async def fill(self, number: int) -> "WalkedCourse":
        """People, and so many rows in every list."""
        database = self.database
        self.ids = {role: await make_user(database, f"the-{role}") for role in ROLES[:-1]}
        self.ids["super"] = await make_super_admin(database)
        self.ids["stranger"] = await make_user(database, "a-stranger")
        self.ids["g_id"], self.ids["other_g_id"] = await make_group(database), await make_group(database, "Physics")
        for role, seat in (("student", "user"), ("teacher", "manager"), ("admin", "admin")):
            await make_member(database, self.ids[role], self.ids["g_id"], seat)
        self.ids["p_id"] = await make_project(database, self.ids["g_id"])
        self.ids["other_p_id"] = await make_project(database, self.ids["other_g_id"])
        for role in ROLES:
            await make_token(database, self.ids[role])
        self.clients: dict[str, httpx.AsyncClient] = {
            role: self._instance.client(await make_token(database, self.ids[role])) for role in ROLES
        }
        self.ids["form_id"] = await make_form(database, self.ids["student"], self.ids["p_id"])
        for name, route in (("repository_id", "/repositories"), ("cf_id", "/projects/{p_id}/config-files")):
            (self.ids[name],) = await self.add(route)
        for route in LISTS:
            for _ in range(number):
                await self.add(route)
        # Those of the callers and all that the rows hang on must stay.
        async with database.read() as tx:
            callers = await tx.fetch_text("SELECT id FROM tokens WHERE token_hash <> id")
        self.kept = {*self.ids.values(), SUPER_GROUP_ID, *(row[0] for row in callers)}
        return self

    def path(self, route: str) -> str:
        """The route with its ids."""
        return route.format(**self.ids)

    def moment(self, number: int) -> datetime:
        """A time that about three rows share."""
        return self._began + timedelta(microseconds=number // 3)

    async def add(self, route: str) -> set[str]:
        """One more row for the list, or one for each role where everybody has their own; the keys."""
        table, column = LISTS[route]
        number = self._made = self._made + 1
        # Among the moments that are there, so that new rows also come before and between the others.
        moment = self.moment(number * 7 % 29)
        rows = self._rows(route, number)
        for each, row in rows:
            made = "started_at" if each is runs else "created_at"
            await insert_row(self.database, each, **{made: moment} | row)
        if table is audit_logs:
            async with self.database.read() as tx:
                return {str((await tx.fetch_text("SELECT max(id) FROM audit_logs"))[0][0])}
        return {str(row[column]) for each, row in rows if each is table}

    async def remove(self, route: str, key: str) -> None:
        """Mark the row as deleted, or delete it where the table keeps none."""
        table, column = LISTS[route]
        if "deletion_id" in table.c:
            await self.change(route, key, deleted_at=utc_now(), deletion_id="walked")
            return
        async with self.database.write() as tx:
            await tx.execute(_deleting(table, column), key_0=_stored(table, key))

    async def drop(self, route: str, keys: Iterable[str]) -> None:
        """Rows that were added are gone, with the person or group that came with them."""
        table, column = LISTS[route]
        if table is user_group:
            table = users if column == "u_id" else group_list
        async with self.database.write() as tx:
            for key in keys:
                await tx.execute(_deleting(table, column), key_0=_stored(table, key))

    async def bring_back(self, route: str, keys: Iterable[str]) -> None:
        """Rows that were marked as deleted live again; the others are gone."""
        if "deletion_id" in LISTS[route][0].c:
            for key in keys:
                await self.change(route, key, deleted_at=None, deletion_id="")

    async def change(self, route: str, key: str, **values: Any) -> None:
        """Give the row other values."""
        table, column = LISTS[route]
        # The other half of a membership's key.
        rest = {"u_id": ("g_id", self.ids["g_id"]), "g_id": ("u_id", self.ids["student"])}
        others = [rest[column]] if table is user_group else []
        command = _updating(table, (column, *(name for name, _ in others)), tuple(values))
        keys = [_stored(table, key), *(value for _, value in others)]
        async with self.database.write() as tx:
            await tx.execute(
                command,
                **{f"key_{number}": each for number, each in enumerate(keys)},
                **{f"new_{name}": value for name, value in values.items()},
            )

    def _rows(self, route: str, number: int) -> Rows:
        """The rows of a new entry of the list."""
        table, column = LISTS[route]
        name = _NAMES[number % len(_NAMES)]
        note = None if number % 2 else "an answer"
        if route in ("/users", "/groups/{g_id}/members"):
            return self._person(f"{name}{number}", note, number)
        if route in ("/groups", "/users/{student}/groups"):
            return self._group(name, note, number)
        if table is tokens:
            return [self._token(role, name, number) for role in ROLES]
        if table is deletions:
            return [self._deletion(role, name, number) for role in ROLES]
        return [(table, ({} if table is audit_logs else {column: _new_key(column)}) | self._values(table, number))]

    def _values(self, table: Table, number: int) -> dict[str, Any]:
        """The values of a row that has none below it, but for its key."""
        name = _NAMES[number % len(_NAMES)]
        unique = f"{name}{number}"
        note = None if number % 2 else "an answer"
        owner = self.ids[("student", "teacher", "student", "stranger")[number % 4]]
        project = (self.ids["p_id"], self.ids["p_id"], None, self.ids["other_p_id"])[number // 4 % 4]
        p_id, made = project or self.ids["p_id"], {"user_id": owner, "project_id": project}
        values: dict[str, dict[str, Any]] = {
            "project_list": {
                "project_name": name,
                "description": note,
                "g_id": self.ids["other_g_id" if number % 5 == 4 else "g_id"],
                "gpu_quota": number % 3,
            },
            "config_files": {"filename": unique, "content": "# empty", "project_id": self.ids["p_id"]},
            "resources": {
                "cf_id": self.ids.get("cf_id"),
                "type": ("pod", "service")[number % 2],
                "name": unique,
                "parsed_yaml": {},
                "description": note,
            },
            "forms": made
            | {"title": name, "description": note, "tag": note, "status": ("Pending", "Completed")[number % 2]},
            "form_messages": {"form_id": self.ids.get("form_id"), "user_id": owner, "content": name},
            "image_requests": made
            | {"input_image_name": name, "input_tag": "1", "input_registry": note, "reviewer_note": note},
            "image_allow_list": {
                "project_id": project,
                "repository_id": self.ids.get("repository_id"),
                "created_by": self.ids["super"],
                "is_enabled": number % 3 > 0,
            },
            "container_repositories": {"name": name, "full_name": unique, "namespace": note},
            "container_tags": {"repository_id": self.ids.get("repository_id"), "name": unique, "digest": note},
            "course_workloads": {
                "user_id": owner,
                "project_id": p_id,
                "name": name,
                "namespace": "n",
                "image": "i",
                "k8s_pod_name": f"pod-{number}",
                "priority": number % 3 * 50,
            },
            "audit_logs": {
                "user_id": owner,
                "actor_name": name,
                "action": ("create", "update")[number % 2],
                "resource_type": ("form", "group")[number // 2 % 2],
                "resource_id": f"a{number % 5}",
                "resource_label": note,
                "g_id": (self.ids["g_id"], self.ids["g_id"], None, self.ids["other_g_id"])[number % 4],
            },
            "jobs": {
                "name": ("tests.sweep", "tests.copy")[number % 2],
                "state": ("waiting", "done", "failed")[number % 3],
                "arguments": {},
                "run_at": self._began,
                "failure": note,
            },
            "runs": {
                "name": ("tests.sweep", "tests.copy")[number % 2],
                "outcome": ("done", "failed", "lost")[number % 3],
                "host": "here:1",
                "finished_at": utc_now(),
                "failure": note,
                "job_id": (None, "a-job", "another")[number % 3],
            },
        }
        return values[table.name]

    def _person(self, username: str, note: str | None, number: int) -> Rows:
        u_id = new_short_id()
        person = {"u_id": u_id, "username": username, "password": "-", "full_name": note, "email": note}
        seat = {"u_id": u_id, "g_id": self.ids["g_id"], "role": ("user", "manager")[number % 2]}
        return [(users, person), (user_group, seat)]

    def _group(self, group_name: str, note: str | None, number: int) -> Rows:
        g_id = new_short_id()
        seats = {"student": ("user", "manager")[number % 2], "teacher": "manager", "admin": "admin"}
        return [
            (group_list, {"g_id": g_id, "group_name": group_name, "description": note}),
            *((user_group, {"g_id": g_id, "u_id": self.ids[role], "role": seat}) for role, seat in seats.items()),
        ]

    def _token(self, role: str, name: str, number: int) -> tuple[Table, dict[str, Any]]:
        token_id = new_long_id()
        return tokens, {
            "id": token_id,
            "token_hash": token_id,
            "user_id": self.ids[role],
            "kind": ("api", "session")[number % 2],
            "name": name,
            "scopes": "*:read",
            "expires_at": self._began + timedelta(days=1, microseconds=number % 3),
        }

    def _deletion(self, role: str, name: str, number: int) -> tuple[Table, dict[str, Any]]:
        return deletions, {
            "id": new_long_id(),
            "root_type": ("form", "project")[number % 2],
            "root_id": f"r{number % 4}",
            "root_label": name,
            "actor_id": self.ids[role],
            "actor_name": role,
            "state": ("deleted", "restored")[number // 2 % 2],
            "planned_counts": {},
        }


def _new_key(column: str) -> str:
    return new_short_id() if column == "p_id" else new_long_id()


def _stored(table: Table, key: str) -> str | int:
    return int(key) if table is audit_logs else key


@cache
def _updating(table: Table, keys: tuple[str, ...], changed: tuple[str, ...]) -> Command:
    return Command(
        f"tests.walked_update_{table.name}({','.join(keys)}:{','.join(changed)})",
        update(table).where(_is_row(table, keys)).values(new_value(table, *changed)),
    )


@cache
def _deleting(table: Table, key: str) -> Command:
    return Command(f"tests.walked_delete_{table.name}", delete(table).where(_is_row(table, (key,))))


def _is_row(table: Table, keys: tuple[str, ...]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == bindparam(f"key_{n}", type_=table.c[name].type) for n, name in enumerate(keys)))
