"""`include_deleted=true`: super administrators see what was deleted, with its deletion (conformance S-01)."""

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.core.pages import PageRequest
from holdfast.db.engines.base import Database
from holdfast.db.include_deleted import include_deleted
from holdfast.db.lifecycle import trash
from holdfast.db.lifecycle.plan import root_of
from holdfast.db.listing import listings
from holdfast.db.statements import live
from holdfast.db.tables import container_tags, course_workloads, forms, image_allow_list, resources
from tests.api.cast import Cast
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
    make_user,
)
from tests.instance import Instance

ROLES = ("outsider", "user", "manager", "admin", "super_admin")


@dataclass(frozen=True)
class Noun:
    """A list, the field that tells its rows apart, and the path of one row."""

    listed: str
    key: str
    single: str


NOUNS = {
    "user": Noun("/users", "u_id", "/users/{user}"),
    "group": Noun("/groups", "g_id", "/groups/{group}"),
    "member": Noun("/groups/{group}/members", "u_id", "/groups/{group}/members/{member}"),
    "project": Noun("/projects", "p_id", "/projects/{project}"),
    "config-file": Noun("/projects/{project}/config-files", "cf_id", "/config-files/{config-file}"),
    "resource": Noun(
        "/config-files/{config-file}/resources", "r_id", "/config-files/{config-file}/resources/{resource}"
    ),
    "form": Noun("/forms", "id", "/forms/{form}"),
    "form-message": Noun("/forms/{form}/messages", "id", "/forms/{form}/messages/{form-message}"),
    "image-request": Noun("/image-requests", "id", "/image-requests/{image-request}"),
    "image": Noun("/images", "id", "/images/{image}"),
    "repository": Noun("/repositories", "id", "/repositories/{repository}"),
    "tag": Noun("/repositories/{repository}/tags", "id", "/repositories/{repository}/tags/{tag}"),
    "workload": Noun("/workloads", "id", "/workloads/{workload}"),
}


class FinishedCourse:
    """One row of each noun, deleted: a group with all that hangs on it, a user, and a repository with its tag."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.database = cast.database
        self.ids: dict[str, str] = {}
        self.deletion_of: dict[str, str] = {}

    async def fill(self) -> "FinishedCourse":
        database, ids = self.database, self.ids
        ids["user"] = await make_user(database, "leaver")
        ids["group"] = await make_group(database, "chemistry")
        ids["member"] = await make_user(database, "chemist")
        await make_member(database, ids["member"], ids["group"], "manager")
        ids["project"] = await make_project(database, ids["group"], "titration")
        await self._fill_project(ids["project"], ids["member"])
        await self._delete("group", "member", "project", "config-file", "resource", "form", "form-message")
        self.deletion_of |= dict.fromkeys(("image-request", "image", "workload"), self.deletion_of["group"])
        await self._delete("user")
        await self._delete("repository", "tag")
        return self

    def path(self, path: str) -> str:
        return path.format(**self.ids)

    async def _fill_project(self, p_id: str, u_id: str) -> None:
        database, ids = self.database, self.ids
        ids["config-file"] = await make_config_file(database, p_id)
        ids["resource"] = new_long_id()
        await insert_row(
            database,
            resources,
            r_id=ids["resource"],
            cf_id=ids["config-file"],
            type="configmap",
            name="configmap/web",
            parsed_yaml={},
        )
        ids["form"] = await make_form(database, u_id, p_id)
        ids["form-message"] = await make_message(database, ids["form"], u_id)
        ids["image-request"] = await make_image_request(database, u_id, p_id)
        ids["image"] = await make_rule(database, u_id, p_id)
        async with database.read() as tx:
            ((ids["repository"], ids["tag"]),) = await tx.fetch_text(
                f"SELECT repository_id, tag_id FROM image_allow_list WHERE id = '{ids['image']}'"
            )
        ids["workload"] = await make_workload(database, u_id, p_id, "titrate")

    async def _delete(self, root_type: str, *beneath: str) -> None:
        deletion_id = new_long_id()
        async with self.database.write() as tx:
            await trash.mark(tx, root_of(root_type, self.ids[root_type]), deletion_id, utc_now())
        self.deletion_of |= dict.fromkeys((root_type, *beneath), deletion_id)


async def make_workload(database: Database, user_id: str, project_id: str, name: str) -> str:
    workload_id = new_long_id()
    await insert_row(
        database,
        course_workloads,
        id=workload_id,
        user_id=user_id,
        project_id=project_id,
        name=name,
        namespace="course",
        image="docker.io/library/python:3.13",
        k8s_pod_name=f"pod-{name}",
    )
    return workload_id


@pytest.fixture
async def course(instance: Instance) -> FinishedCourse:
    return await FinishedCourse(await Cast(instance).fill()).fill()


def _deletion(row: dict[str, Any]) -> tuple[Any, Any]:
    return (row["deletion_id"], row["deleted_at"] is not None)


@pytest.mark.conformance("S-01")
async def test_lists_show_deleted_rows_only_with_the_flag(course: FinishedCourse) -> None:
    client = course.cast.super_admin
    for name, noun in NOUNS.items():
        path, row_id = course.path(noun.listed), course.ids[name]
        answer = await client.get(path, params={"limit": 100})
        rows = answer.json()["items"] if answer.status_code == 200 else []
        assert all(row[noun.key] != row_id for row in rows), f"{path} shows a deleted {name}"
        assert all(not {"deletion_id", "deleted_at"} & set(row) for row in rows), f"{path} grew"
        answer = await client.get(path, params={"limit": 100, "include_deleted": True})
        assert answer.status_code == 200, f"{path}: {answer.text}"
        page = answer.json()
        found = {row[noun.key]: _deletion(row) for row in page["items"]}
        assert found.pop(row_id) == (course.deletion_of[name], True)
        assert set(found.values()) <= {(None, False), *((each, True) for each in course.deletion_of.values())}
        assert page["total"] == len(page["items"])


@pytest.mark.conformance("S-01")
async def test_one_row_is_shown_deleted_only_with_the_flag(course: FinishedCourse) -> None:
    client = course.cast.super_admin
    for name, noun in NOUNS.items():
        path = course.path(noun.single)
        assert (await client.get(path)).status_code == 404, f"{path} shows a deleted {name}"
        answer = await client.get(path, params={"include_deleted": True})
        assert answer.status_code == 200, f"{path}: {answer.text}"
        assert _deletion(answer.json()) == (course.deletion_of[name], True)
        # No version: what was deleted cannot be changed, and a live row's version is not that of its deletion.
        assert "ETag" not in answer.headers or name in {"group", "project"}


@pytest.mark.conformance("S-01", "P-04")
async def test_only_super_administrators_use_the_flag(course: FinishedCourse) -> None:
    for noun in NOUNS.values():
        for path in (noun.listed, noun.single):
            statuses = {}
            for role in ROLES:
                client = getattr(course.cast, role)
                statuses[role] = (await client.get(course.path(path), params={"include_deleted": True})).status_code
            assert statuses == dict.fromkeys(ROLES, 403) | {"super_admin": 200}, path


@pytest.mark.conformance("S-01")
async def test_a_live_row_says_that_it_is_live(course: FinishedCourse) -> None:
    path = f"/projects/{course.cast.p_id}"
    client = course.cast.super_admin
    plain = (await client.get(path)).json()
    assert (await client.get(path, params={"include_deleted": True})).json() == plain | {
        "deleted_at": None,
        "deletion_id": None,
    }


@pytest.mark.conformance("S-01", "X-04")
async def test_pages_of_deleted_rows_follow_one_another(course: FinishedCourse) -> None:
    client = course.cast.super_admin
    whole = (await client.get("/users", params={"include_deleted": True})).json()
    walked: list[str] = []
    following: dict[str, Any] = {"limit": 2}
    while following:
        page = (await client.get("/users", params={"include_deleted": True, **following})).json()
        walked += [row["u_id"] for row in page["items"]]
        following = {"limit": 2, "cursor": page["next"]} if page["next"] else {}
    assert walked == [row["u_id"] for row in whole["items"]]
    assert course.ids["user"] in walked


@pytest.mark.conformance("S-01", "X-04")
async def test_a_cursor_of_live_rows_is_none_of_deleted_ones(course: FinishedCourse) -> None:
    client = course.cast.super_admin
    given = (await client.get("/users", params={"limit": 1})).json()["next"]
    answer = await client.get("/users", params={"limit": 1, "cursor": given, "include_deleted": True})
    assert answer.status_code == 400
    assert "another sort or other filters" in answer.json()["detail"]


@pytest.mark.conformance("S-01")
async def test_filters_and_search_find_deleted_rows(course: FinishedCourse) -> None:
    client = course.cast.super_admin
    for query in ({"q": "titra"}, {"g_id": course.ids["group"]}):
        rows = (await client.get("/projects", params={**query, "include_deleted": True})).json()["items"]
        assert [row["p_id"] for row in rows] == [course.ids["project"]]
    assert (await client.get("/projects", params={"q": "titra"})).json()["items"] == []


@pytest.mark.conformance("S-01")
async def test_a_deleted_form_and_file_stand_with_what_went_with_them(course: FinishedCourse) -> None:
    client = course.cast.super_admin
    form = (await client.get(course.path("/forms/{form}"), params={"include_deleted": True})).json()
    assert [_deletion(message) for message in form["messages"]] == [(course.deletion_of["form"], True)]
    file = (await client.get(course.path("/config-files/{config-file}"), params={"include_deleted": True})).json()
    assert [_deletion(resource) for resource in file["resources"]] == [(course.deletion_of["config-file"], True)]


@pytest.mark.conformance("S-01")
async def test_what_is_included_and_what_is_deleted_do_not_mix(course: FinishedCourse) -> None:
    for path, included in (
        ("/groups", "members"),
        ("/groups/{group}", "members"),
        ("/projects/{project}", "config_files"),
        ("/forms", "messages"),
    ):
        answer = await course.cast.super_admin.get(
            course.path(path), params={"include": included, "include_deleted": True}
        )
        assert answer.status_code == 400, path
        assert f"include={included} and include_deleted=true" in answer.json()["detail"]


@pytest.mark.conformance("S-01")
async def test_what_does_not_exist_is_not_found_with_the_flag_either(course: FinishedCourse) -> None:
    absent = dict.fromkeys(course.ids, "nothing")
    for noun in NOUNS.values():
        answer = await course.cast.super_admin.get(noun.single.format(**absent), params={"include_deleted": True})
        assert answer.status_code == 404, noun.single


async def test_a_list_refuses_who_does_not_see_deleted_rows(database: Database) -> None:
    async with database.read() as tx:
        with pytest.raises(Exception, match="only super administrators"):
            await listings["forms"].fetch_page(tx, PageRequest(include_deleted=True))


def test_only_the_conditions_of_the_select_itself_fall() -> None:
    counted = select(forms.c.id).where(live(forms)).scalar_subquery()
    wanted = select(image_allow_list.c.id).where(live(image_allow_list), image_allow_list.c.id.in_(counted))
    text = str(include_deleted(wanted))
    assert "forms.deletion_id = ''" in text
    assert "image_allow_list.deletion_id" not in text
    joined = wanted.outerjoin(container_tags, (container_tags.c.id == image_allow_list.c.tag_id) & live(container_tags))
    assert "ON container_tags.id = image_allow_list.tag_id AND container_tags.deletion_id = ''" in str(
        include_deleted(joined)
    )
