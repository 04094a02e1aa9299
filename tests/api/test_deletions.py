"""Deleting and restoring over HTTP (conformance S-02, S-03, C-13, X-07)."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.core.ids import new_long_id
from holdfast.db.tables import container_repositories, container_tags
from tests.api.cast import audit_entries, count_rows
from tests.api.deletion_course import Course, delete, plan_of, restore
from tests.db.rows import run
from tests.factories import (
    insert_row,
    make_form,
    make_image_request,
    make_message,
    make_rule,
)
from tests.instance import Instance


@pytest.fixture
async def course(instance: Instance) -> Course:
    return await Course(instance).fill()


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


async def test_the_plan_is_a_tree_that_people_understand(course: Course) -> None:
    await course.add_file()
    form_id = await make_form(course.database, course.ids["student"], course.p_id)
    await make_message(course.database, form_id, course.ids["teacher"])
    plan = await plan_of(course.root, "group", course.g_id)

    def written(node: dict[str, Any], depth: int = 0) -> list[str]:
        line = f"{'  ' * depth}{node['count']} {node['label']} ({node['type']})"
        return [line, *(each for child in node["children"] for each in written(child, depth + 1))]

    assert written(plan["tree"]) == [
        "1 physics (group)",
        "  1 projects (project)",
        "    1 config files (config-file)",
        "      2 resources (resource)",
        "    1 forms (form)",
        "      1 messages (form-message)",
        "  3 memberships (member)",
    ]


async def test_a_plan_tells_pointers_earlier_deletions_and_audit_rows(course: Course) -> None:
    database, reviewer = course.database, course.ids["head"]
    request_id = await make_image_request(
        database, course.ids["student"], course.p_id, status="approved", reviewer_id=reviewer
    )
    form_id = await make_form(database, reviewer)
    await delete(course.root, f"/forms/{form_id}", "form", form_id)
    await course.head.patch(f"/projects/{course.p_id}", json={"description": "new"})
    plan = await plan_of(course.root, "user", reviewer)
    assert plan["set_null"] == {"image_requests.reviewer_id": 1}
    assert plan["already_deleted"] == {"forms": 1}
    assert plan["at_purge"] == {"audit_logs": 1}
    deleted = await delete(course.root, f"/users/{reviewer}", "user", reviewer, take_along=True)
    seen = (await course.root.get(f"/image-requests/{request_id}")).json()
    assert seen["reviewer_id"] is None
    assert await count_rows(course.instance, "image_requests", f"reviewer_id = '{reviewer}'") == 1
    assert (await restore(course.root, deleted["deletion_id"])).status_code == 200
    assert (await course.root.get(f"/image-requests/{request_id}")).json()["reviewer_id"] == reviewer
    assert (await course.root.get(f"/forms/{form_id}")).status_code == 404


async def test_a_plan_is_good_only_while_its_numbers_stay(course: Course) -> None:
    cf_id = await course.add_file()
    path = f"/projects/{course.p_id}"
    plan = await plan_of(course.head, "project", course.p_id)
    await make_form(course.database, course.ids["student"], course.p_id)
    answer = await course.head.delete(path, params={"plan": plan["token"]})
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["code"] == "plan_changed"
    assert problem["plan"]["counts"] == plan["counts"] | {"forms": 1}
    assert problem["plan"]["token"] != plan["token"]
    other = await plan_of(course.head, "config-file", cf_id)
    assert (await course.head.delete(path, params={"plan": other["token"]})).status_code == 409
    assert (await course.head.get(path)).status_code == 200
    assert (await course.head.delete(path, params={"plan": problem["plan"]["token"]})).status_code == 200


async def test_a_plan_leaves_no_trace(course: Course) -> None:
    await plan_of(course.root, "group", course.g_id)
    assert await count_rows(course.instance, "deletions") == 0
    assert await count_rows(course.instance, "audit_logs") == 0


async def test_a_malformed_plan_is_refused(course: Course) -> None:
    for body in (
        {"type": "planet", "id": "x"},
        {"type": "user"},
        {"type": "member", "id": course.g_id},
        {"type": "user", "id": "\u0000"},
    ):
        assert (await course.root.post("/deletion-plans", json=body)).status_code == 400, body
    assert (await course.root.post("/deletion-plans", json={"type": "user", "id": "nobody"})).status_code == 404
    token = {"plan": "no token\u0000"}
    assert (await course.root.delete(f"/projects/{course.p_id}", params=token)).status_code == 400


async def test_a_stale_version_is_not_deleted(course: Course) -> None:
    path = f"/projects/{course.p_id}"
    etag = (await course.head.get(path)).headers["ETag"]
    await course.head.patch(path, json={"description": "new"})
    assert (await course.head.delete(path, headers={"If-Match": etag})).status_code == 412
    etag = (await course.head.get(path)).headers["ETag"]
    assert (await course.head.delete(path, headers={"If-Match": etag})).status_code == 200


async def test_a_message_is_deleted_on_its_own_form_only(course: Course) -> None:
    path, message_id, _ = await _a_message(course)
    other = await make_form(course.database, course.ids["student"], course.p_id)
    assert (await course.root.delete(f"/forms/{other}/messages/{message_id}")).status_code == 404
    assert (await course.root.delete(path)).status_code == 200


async def test_a_state_that_is_none_is_refused_by_the_name_of_its_parameter(course: Course) -> None:
    refused = await course.root.get("/deletions", params={"state": "bogus"})
    assert refused.status_code == 400
    problem = refused.json()
    assert [(each["field"], each["in"]) for each in problem["errors"]] == [("state", "query")]
    assert "state_is" not in refused.text
    assert "'bogus'" in problem["detail"]


async def test_a_restore_without_a_body_is_a_restore_without_wishes(course: Course) -> None:
    deleted = await delete(course.head, f"/projects/{course.p_id}", "project", course.p_id)
    path = f"/deletions/{deleted['deletion_id']}/restore"
    prepared = "bundle_path = '/prepared', bundle_sha256 = 'a', bundle_verified_at = created_at"
    await run(course.database, f"UPDATE deletions SET {prepared}")
    answer = await course.head.post(path)
    assert (answer.status_code, answer.json()["counts"]) == (200, deleted["counts"])
    # What was prepared for a purge is of no use any more.
    shown = (await course.root.get(path.removesuffix("/restore"))).json()
    assert [shown[name] for name in ("state", "bundle_path", "bundle_verified_at")] == ["restored", None, None]
    assert (await course.head.post(path, json=None, headers={"Content-Type": "application/json"})).json() == {
        "deletion_id": deleted["deletion_id"],
        "counts": {},
        "renamed": [],
    }
    assert (await course.head.post(path, json=[])).status_code == 400


async def test_counts_say_what_a_purge_has_removed_so_far(course: Course) -> None:
    deleted = await delete(course.root, f"/projects/{course.p_id}", "project", course.p_id)
    path, counts = f"/deletions/{deleted['deletion_id']}", deleted["counts"]

    async def seen_with(**values: str) -> dict[str, Any]:
        changes = ", ".join(f"{name} = {value}" for name, value in values.items())
        await run(course.database, f"UPDATE deletions SET {changes} WHERE id = '{deleted['deletion_id']}'")
        found: dict[str, Any] = (await course.root.get(path)).json()
        return found

    assert (await course.root.get(path)).json()["removed_counts"] is None
    # The bundle is being written: everything is still there.
    found = await seen_with(state="'purging'", lease_token="'worker'")
    assert (found["planned_counts"], found["actual_counts"], found["removed_counts"]) == (counts, counts, None)
    found = await seen_with(bundle_verified_at="created_at", actual_counts="'{}'")
    assert (found["planned_counts"], found["removed_counts"]) == (counts, {})
    found = await seen_with(lease_token="'call-1'")
    assert found["removed_counts"] is None
    found = await seen_with(state="'failed'", lease_token="NULL", actual_counts="'{\"project_list\": 1}'")
    assert found["removed_counts"] == {"project_list": 1}
    found = await seen_with(state="'purged'", bundle_verified_at="NULL")
    assert found["removed_counts"] == {"project_list": 1}
    listed = (await course.root.get("/deletions")).json()["items"]
    assert [each["removed_counts"] for each in listed] == [{"project_list": 1}]
