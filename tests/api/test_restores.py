"""Restoring over HTTP: exactly one deletion, and only where nothing stands against it (S-03, C-13)."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete as delete_from
from sqlalchemy import update

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import bundle_path
from holdfast.db.statements import Command, parameters_for
from holdfast.db.tables import deletions, resources
from holdfast.features.accounts.jobs import remove_expired_tokens
from holdfast.features.accounts.rules import ADMIN_USERNAME
from holdfast.features.deletions.recovery import recover
from tests.api.cast import audit_entries, count_rows
from tests.api.deletion_course import Course, delete, plan_of, restore
from tests.db.consistency import find_inconsistencies
from tests.db.deleting import purge_now
from tests.factories import make_form, make_image_request, make_message, make_token, make_user
from tests.instance import Instance

_SET_STATE = Command("tests.set_deletion_state", update(deletions).values(parameters_for(deletions, "state")))
_REMOVE_RESOURCES = Command("tests.remove_resources", delete_from(resources))
_MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\n"


@pytest.fixture
async def course(instance: Instance) -> Course:
    return await Course(instance).fill()


async def delete_file(course: Course, cf_id: str) -> str:
    deleted = await delete(course.root, f"/config-files/{cf_id}", "config-file", cf_id)
    return str(deleted["deletion_id"])


async def delete_project(course: Course) -> str:
    deleted = await delete(course.root, f"/projects/{course.p_id}", "project", course.p_id, take_along=True)
    return str(deleted["deletion_id"])


async def set_state(database: Database, state: str) -> None:
    async with database.write() as tx:
        await tx.execute(_SET_STATE, state=state)


async def test_a_user_comes_back_although_their_tokens_would_have_expired_for_good(course: Course) -> None:
    database = course.instance.database
    u_id = await make_user(database, "absent")
    await make_token(database, u_id, expires_at=utc_now() - timedelta(days=29))
    deleted = await delete(course.root, f"/users/{u_id}", "user", u_id)
    async with database.write() as tx:
        assert await remove_expired_tokens(tx, lambda: utc_now() + timedelta(days=5)) == 0
    restored = await restore(course.root, str(deleted["deletion_id"]))
    assert restored.json()["counts"] == {"users": 1, "tokens": 1}


@pytest.mark.conformance("S-03")
async def test_a_restore_brings_back_exactly_one_deletion(course: Course) -> None:
    first, second = await course.add_file("first.yaml"), await course.add_file("second.yaml")
    earlier = await delete_file(course, first)
    later = await delete_project(course)
    assert (await restore(course.root, later)).json()["counts"] == {
        "project_list": 1,
        "config_files": 1,
        "resources": 2,
    }
    assert (await course.root.get(f"/config-files/{first}")).status_code == 404
    assert (await course.root.get(f"/config-files/{second}")).status_code == 200
    assert (await restore(course.root, earlier)).status_code == 200
    assert (await course.root.get(f"/config-files/{first}")).status_code == 200


@pytest.mark.conformance("S-03")
async def test_nothing_comes_back_beneath_a_deleted_parent(course: Course) -> None:
    file = await delete_file(course, await course.add_file())
    project = await delete_project(course)
    group = (await delete(course.root, f"/groups/{course.g_id}", "group", course.g_id))["deletion_id"]
    refused = await restore(course.root, file)
    assert refused.status_code == 409
    assert refused.json()["code"] == "restore_refused"
    (conflict,) = refused.json()["conflicts"]
    assert (conflict["kind"], conflict["table"], conflict["key"]) == ("parent", "project_list", course.p_id)
    assert conflict["deletion_id"] == project
    assert (await restore(course.root, project)).json()["conflicts"][0]["table"] == "group_list"
    for deletion_id in (group, project, file):
        assert (await restore(course.root, deletion_id)).status_code == 200
    assert await find_inconsistencies(course.database) == []


@pytest.mark.conformance("S-03")
async def test_a_restore_refuses_a_taken_name_or_takes_another(course: Course) -> None:
    cf_id = await course.add_file("web.yaml")
    deletion_id = await delete_file(course, cf_id)
    other = await course.add_file("web.yaml")
    refused = await restore(course.teacher, deletion_id)
    assert refused.status_code == 409
    (conflict,) = refused.json()["conflicts"]
    assert (conflict["kind"], conflict["key"], conflict["label"]) == ("name", cf_id, "web.yaml")
    assert (await course.root.get(f"/deletions/{deletion_id}")).json()["state"] == "deleted"
    renamed = await restore(course.teacher, deletion_id, rename=True)
    assert renamed.status_code == 200, renamed.text
    (change,) = renamed.json()["renamed"]
    assert (change["table"], change["key"], change["old"], change["new"]) == (
        "config_files",
        cf_id,
        "web.yaml",
        "web-restored.yaml",
    )
    assert (await course.root.get(f"/config-files/{cf_id}")).json()["filename"] == "web-restored.yaml"
    assert (await course.root.get(f"/config-files/{other}")).json()["filename"] == "web.yaml"


@pytest.mark.conformance("S-03")
async def test_a_user_name_is_free_again_and_may_be_taken_meanwhile(course: Course) -> None:
    student = course.ids["student"]
    deleted = await delete(course.root, f"/users/{student}", "user", student)
    made = await course.root.post("/users", json={"username": "student", "password": "another password"})
    assert made.status_code == 201
    assert (await restore(course.root, deleted["deletion_id"])).status_code == 409
    assert (await restore(course.root, deleted["deletion_id"], rename=True)).status_code == 200
    assert (await course.root.get(f"/users/{student}")).json()["username"] == "student-restored"


async def test_a_pod_name_that_runs_elsewhere_stays_a_conflict(course: Course) -> None:
    workload = await course.add_workload(course.ids["student"], k8s_pod_name="trainer")
    deletion_id = (await course.student.delete(f"/workloads/{workload}")).json()["deletion_id"]
    await course.add_workload(course.ids["teacher"], k8s_pod_name="trainer")
    for rename in (False, True):
        refused = await restore(course.student, deletion_id, rename=rename)
        assert refused.status_code == 409
        assert refused.json()["conflicts"][0]["label"] == "trainer"


async def test_a_workload_does_not_come_back_over_the_quota(course: Course) -> None:
    student = course.ids["student"]
    first = await course.add_workload(student, "Running", resource_gpu=3)
    deleted = await delete(course.student, f"/workloads/{first}", "workload", first, take_along=True)
    second = await course.add_workload(student, "Pending", resource_gpu=2)
    refused = await restore(course.student, deleted["deletion_id"])
    assert refused.status_code == 409
    (conflict,) = refused.json()["conflicts"]
    assert (conflict["kind"], conflict["key"]) == ("quota", course.p_id)
    assert conflict["message"] == (
        "project course may use 4 GPUs and uses 2; the workloads that would come back hold 3"
    )
    await course.student.patch(f"/workloads/{second}", json={"status": "Succeeded"})
    assert (await restore(course.student, deleted["deletion_id"])).status_code == 200
    assert (await course.root.get(f"/projects/{course.p_id}")).json()["gpus_in_use"] == 3


async def test_a_project_comes_back_with_its_workloads_whatever_its_quota_says(course: Course) -> None:
    await course.add_workload(course.ids["student"], "Running", resource_gpu=4)
    await course.root.patch(f"/projects/{course.p_id}", json={"gpu_quota": 1})
    deletion_id = await delete_project(course)
    assert (await restore(course.head, deletion_id)).status_code == 200
    assert (await course.root.get(f"/projects/{course.p_id}")).json()["gpus_in_use"] == 4


async def test_joining_again_ends_the_deletion_of_the_member(course: Course) -> None:
    student = course.ids["student"]
    path = f"/groups/{course.g_id}/members"
    removed = (await course.head.delete(f"{path}/{student}")).json()["deletion_id"]
    assert (await course.head.post(path, json={"u_id": student, "role": "manager"})).status_code == 201
    assert (await course.root.get(f"/deletions/{removed}")).json()["state"] == "restored"
    assert (await restore(course.head, removed)).json()["counts"] == {}
    assert (await course.head.get(f"{path}/{student}")).json()["role"] == "manager"
    again = (await course.head.delete(f"{path}/{student}")).json()["deletion_id"]
    rows = [{"line": 2, "username": "student", "role": "user"}]
    assert (await course.head.post(f"/groups/{course.g_id}/roster", json={"rows": rows})).status_code == 200
    assert (await course.root.get(f"/deletions/{again}")).json()["state"] == "restored"


async def test_nobody_joins_again_while_the_old_membership_is_purged(course: Course, database: Database) -> None:
    student = course.ids["student"]
    path = f"/groups/{course.g_id}/members"
    await course.head.delete(f"{path}/{student}")
    await set_state(database, "purging")
    refused = await course.head.post(path, json={"u_id": student})
    assert refused.status_code == 409
    assert refused.json()["code"] == "member_being_purged"


async def test_what_an_update_of_a_file_left_out_is_not_restored_by_itself(course: Course) -> None:
    made = await course.teacher.post(
        f"/projects/{course.p_id}/config-files", json={"filename": "a.yaml", "content": _MANIFEST.format("one")}
    )
    assert made.status_code == 201, made.text
    path = f"/config-files/{made.json()['cf_id']}"
    assert (await course.teacher.put(path, json={"content": _MANIFEST.format("two")})).status_code == 200
    (row,) = (await course.teacher.get("/deletions")).json()["items"]
    assert row["root_type"] == "config-file-update"
    for client in (course.teacher, course.root):
        refused = await restore(client, row["id"])
        assert refused.status_code == 409
        assert "put the earlier content back" in refused.json()["detail"]


@pytest.mark.parametrize("state", ["purging", "purged"])
async def test_what_is_purged_does_not_come_back_by_a_restore(course: Course, database: Database, state: str) -> None:
    deletion_id = await delete_file(course, await course.add_file())
    await set_state(database, state)
    refused = await restore(course.root, deletion_id)
    assert refused.status_code == 409
    assert refused.json()["code"] == "restore_refused"


async def test_a_purge_that_failed_before_it_began_can_be_undone(course: Course, database: Database) -> None:
    deletion_id = await delete_file(course, await course.add_file())
    await set_state(database, "failed")
    assert (await restore(course.root, deletion_id)).status_code == 200


async def test_a_deletion_that_lost_rows_is_not_restored_by_halves(course: Course, database: Database) -> None:
    deletion_id = await delete_file(course, await course.add_file())
    async with database.write() as tx:
        await tx.execute(_REMOVE_RESOURCES)
    refused = await restore(course.root, deletion_id)
    assert refused.status_code == 409
    assert refused.json()["conflicts"] == [
        {
            "kind": "incomplete",
            "deleted": {"config_files": 1, "resources": 2},
            "present": {"config_files": 1},
            "purged_deletions": [],
        }
    ]


async def test_a_course_whose_member_is_gone_says_which_deletion_has_to_come_first(
    course: Course, database: Database, tmp_path: Path
) -> None:
    student = course.ids["student"]
    await make_user(database, ADMIN_USERNAME)
    whole = await delete(course.head, f"/groups/{course.g_id}", "group", course.g_id)
    account = await delete(course.root, f"/users/{student}", "user", student)
    # The membership would be a live row of somebody who is deleted.
    refused = await restore(course.root, whole["deletion_id"])
    (conflict,) = refused.json()["conflicts"]
    assert (conflict["kind"], conflict["table"], conflict["deletion_id"]) == ("parent", "users", account["deletion_id"])
    assert conflict["message"] == (
        f"its user student is deleted, too: restore deletion {account['deletion_id']} first,"
        " which takes a super administrator"
    )
    assert await purge_now(database, account["deletion_id"], tmp_path)
    refused = await restore(course.root, whole["deletion_id"])
    assert refused.status_code == 409
    assert refused.json()["conflicts"][0]["purged_deletions"] == [account["deletion_id"]]
    assert f"recover that one's bundle first, {account['deletion_id']} (user student)" in refused.json()["detail"]
    await recover(database, bundle_path(tmp_path, account["deletion_id"]))
    back = await restore(course.root, whole["deletion_id"])
    assert (back.status_code, back.json()["counts"]) == (200, whole["counts"])


async def test_purges_are_asked_for_once_at_a_time(course: Course, database: Database) -> None:
    deletion_id = await delete_file(course, await course.add_file())
    asked = await course.root.post(f"/deletions/{deletion_id}/purge")
    assert asked.status_code == 202
    assert asked.headers["Location"] == f"/api/v1/deletions/{deletion_id}"
    assert await count_rows(course.instance, "jobs", "name = 'deletions.purge'") == 1
    assert ("purge", "web.yaml") in [entry[:2] for entry in await audit_entries(course.instance, "config-file")]
    await set_state(database, "purging")
    assert (await course.root.post(f"/deletions/{deletion_id}/purge")).status_code == 202
    assert await count_rows(course.instance, "jobs", "name = 'deletions.purge'") == 1
    for state in ("purged", "restored"):
        await set_state(database, state)
        refused = await course.root.post(f"/deletions/{deletion_id}/purge")
        assert (refused.status_code, refused.json()["code"]) == (409, "purge_refused")


async def test_unknown_deletions_are_not_found(course: Course) -> None:
    for client in (course.root, course.student):
        assert (await client.get("/deletions/nothing")).status_code == 404
        assert (await restore(client, "nothing")).status_code == 404
        assert (await client.post("/deletions/nothing/purge")).status_code == 404


def _statuses(answers: list[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


async def test_of_two_deletions_at_once_one_does_it(course: Course) -> None:
    cf_id = await course.add_file()
    token = {"plan": (await plan_of(course.root, "config-file", cf_id))["token"]}
    clients = (course.root, course.head, course.teacher)
    answers = await asyncio.gather(*(client.delete(f"/config-files/{cf_id}", params=token) for client in clients))
    assert _statuses(list(answers)) == [200, 404, 404]
    assert await count_rows(course.instance, "deletions") == 1


async def test_deletions_that_overlap_take_each_row_once(course: Course) -> None:
    student = course.ids["student"]
    for _ in range(5):
        form_id = await make_form(course.database, student, course.p_id)
        await make_message(course.database, form_id, course.ids["teacher"])
        await make_image_request(course.database, student, course.p_id)
    answers = await asyncio.gather(
        *(_delete_until_done(course, noun, path, id_text) for noun, path, id_text in _overlapping(course))
    )
    taken = {row["deletion_id"]: row["counts"] for row in answers}
    assert len(taken) == 3
    forms = sum(counts.get("forms", 0) for counts in taken.values())
    requests = sum(counts.get("image_requests", 0) for counts in taken.values())
    assert (forms, requests) == (5, 5)
    for deletion_id, counts in taken.items():
        for table, number in counts.items():
            assert await count_rows(course.instance, table, f"deletion_id = '{deletion_id}'") == number
    assert await find_inconsistencies(course.database) == []


def _overlapping(course: Course) -> list[tuple[str, str, str]]:
    student, teacher = course.ids["student"], course.ids["teacher"]
    return [
        ("user", f"/users/{student}", student),
        ("user", f"/users/{teacher}", teacher),
        ("project", f"/projects/{course.p_id}", course.p_id),
    ]


async def _delete_until_done(course: Course, noun: str, path: str, id_text: str) -> dict[str, Any]:
    """As a person would: look at the plan, and look again when the numbers have moved."""
    plan = await plan_of(course.root, noun, id_text)
    while True:
        answer = await course.root.delete(path, params={"plan": plan["token"], "take_along": True})
        if answer.status_code == 200:
            deleted: dict[str, Any] = answer.json()
            return deleted
        assert answer.status_code == 409, answer.text
        plan = answer.json()["plan"]


async def test_a_restore_beside_the_deletion_of_its_parent(course: Course) -> None:
    for number in range(6):
        cf_id = await course.add_file(f"{number}.yaml")
        deletion_id = await delete_file(course, cf_id)
        token = (await plan_of(course.root, "project", course.p_id))["token"]
        restored, deleted = await asyncio.gather(
            restore(course.teacher, deletion_id),
            course.root.delete(f"/projects/{course.p_id}", params={"plan": token}),
        )
        assert restored.status_code in {200, 403, 404, 409}, restored.text
        assert deleted.status_code in {200, 409}, deleted.text
        assert await find_inconsistencies(course.database) == []
        if deleted.status_code == 200:
            assert (await restore(course.root, deleted.json()["deletion_id"])).status_code == 200


async def test_forms_opened_while_a_project_goes_are_never_left_live(course: Course) -> None:
    async def open_forms() -> list[int]:
        body = {"title": "Help", "project_id": course.p_id, "message": "please"}
        return [(await course.student.post("/forms", json=body)).status_code for _ in range(10)]

    opened, deleted = await asyncio.gather(
        open_forms(), _delete_until_done(course, "project", f"/projects/{course.p_id}", course.p_id)
    )
    assert set(opened) <= {201, 404}
    assert deleted["counts"].get("forms", 0) == opened.count(201)
    assert await find_inconsistencies(course.database) == []


async def test_two_super_administrators_cannot_delete_one_another_at_once(course: Course) -> None:
    second = await make_user(course.database, "second-root")
    await course.root.post("/groups/super_group/members", json={"u_id": second, "role": "admin"})
    other = course.instance.client(await make_token(course.database, second))
    tokens = [
        (await plan_of(course.root, "user", second))["token"],
        (await plan_of(course.root, "user", course.root_id))["token"],
    ]
    answers = await asyncio.gather(
        course.root.delete(f"/users/{second}", params={"plan": tokens[0]}),
        other.delete(f"/users/{course.root_id}", params={"plan": tokens[1]}),
    )
    assert _statuses(list(answers)) in ([200, 401], [200, 409])
    assert await count_rows(course.instance, "user_group", "g_id = 'super_group' AND deletion_id = ''") == 1
