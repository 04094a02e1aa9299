"""Who may delete and restore, what must be decided first, and what is never deleted (S-02, P-04, A-06)."""

import asyncio
from typing import Any

import httpx
import pytest

from holdfast.db.engines.base import Database
from holdfast.db.tables.groups import SUPER_GROUP_ID
from tests.api.cast import audit_entries, count_rows
from tests.api.deletion_course import Course, delete, plan_of, restore
from tests.factories import (
    PASSWORD,
    make_form,
    make_group,
    make_image_request,
    make_member,
    make_message,
    make_rule,
    make_super_admin,
    make_token,
    make_user,
)
from tests.instance import Instance


@pytest.fixture
async def course(instance: Instance) -> Course:
    return await Course(instance).fill()


async def statuses(course: Course, method: str, path: str, **options: Any) -> dict[str, int]:
    """What each person is answered."""
    clients = {
        "outsider": course.outsider,
        "student": course.student,
        "teacher": course.teacher,
        "head": course.head,
    }
    return {name: (await client.request(method, path, **options)).status_code for name, client in clients.items()}


async def plan_statuses(course: Course, noun: str, id_text: str) -> dict[str, int]:
    return await statuses(course, "POST", "/deletion-plans", json={"type": noun, "id": id_text})


@pytest.mark.conformance("P-04")
async def test_who_may_delete_may_plan_and_nobody_else(course: Course) -> None:
    student, teacher = course.ids["student"], course.ids["teacher"]
    cf_id = await course.add_file()
    form_id = await make_form(course.database, student, course.p_id)
    message_id = await make_message(course.database, form_id, teacher)
    pending = await make_image_request(course.database, student, course.p_id)
    decided = await make_image_request(course.database, student, course.p_id, status="rejected")
    rule = await make_rule(course.database, course.root_id, course.p_id)
    rule_for_all = await make_rule(course.database, course.root_id)
    workload = await course.add_workload(student)
    nobody = {"outsider": 404, "student": 403, "teacher": 403, "head": 403}
    head = {"outsider": 404, "student": 403, "teacher": 403, "head": 200}
    staff = {"outsider": 404, "student": 403, "teacher": 200, "head": 200}
    student_or_staff = {"outsider": 404, "student": 200, "teacher": 200, "head": 200}
    student_or_head = {"outsider": 404, "student": 200, "teacher": 403, "head": 200}
    expected = {
        ("user", student): {"outsider": 404, "student": 200, "teacher": 404, "head": 403},
        ("group", course.g_id): head,
        ("group", SUPER_GROUP_ID): dict.fromkeys(nobody, 404),
        ("member", f"{course.g_id}/{student}"): student_or_head,
        ("member", f"{course.g_id}/{course.ids['head']}"): head,
        ("project", course.p_id): head,
        ("config-file", cf_id): staff,
        ("form", form_id): student_or_staff,
        ("form-message", message_id): staff,
        ("image-request", pending): student_or_staff,
        ("image-request", decided): staff,
        ("image", rule): staff,
        ("image", rule_for_all): dict.fromkeys(nobody, 403),
        ("workload", workload): student_or_staff,
    }
    for (noun, id_text), answers in expected.items():
        assert await plan_statuses(course, noun, id_text) == answers, noun


@pytest.mark.conformance("P-04")
async def test_a_misspelt_wish_deletes_nothing(course: Course) -> None:
    form_id = await make_form(course.database, course.ids["student"], course.p_id)
    for query in ("dry_run=true", "handover_to=x", "hand_over_to=x", "take_along=true&Plan=x"):
        refused = await course.student.delete(f"/forms/{form_id}?{query}")
        assert refused.status_code == 400
        assert "nothing was deleted" in refused.json()["detail"]
    assert (await course.student.delete(f"/forms/{form_id}?take_along=true")).status_code == 200


async def test_an_admin_of_a_group_removes_no_other_admin(course: Course) -> None:
    other = await make_user(course.database, "other-head")
    await make_member(course.database, other, course.g_id, "admin")
    path = f"/groups/{course.g_id}/members/{other}"
    assert (await course.head.delete(path)).status_code == 403
    assert (await course.root.delete(path)).status_code == 200


async def test_a_student_may_leave_but_not_come_back_alone(course: Course) -> None:
    student = course.ids["student"]
    left = await course.student.delete(f"/groups/{course.g_id}/members/{student}")
    assert left.status_code == 200
    deletion_id = left.json()["deletion_id"]
    assert (await course.student.get(f"/projects/{course.p_id}")).status_code == 404
    assert (await restore(course.student, deletion_id)).status_code == 403
    assert (await restore(course.teacher, deletion_id)).status_code == 404
    assert (await restore(course.head, deletion_id)).status_code == 200
    assert (await course.student.get(f"/projects/{course.p_id}")).status_code == 200


async def test_who_was_thrown_out_cannot_undo_it(course: Course) -> None:
    removed = await course.head.delete(f"/groups/{course.g_id}/members/{course.ids['teacher']}")
    deletion_id = removed.json()["deletion_id"]
    assert (await course.teacher.get(f"/deletions/{deletion_id}")).status_code == 404
    assert (await restore(course.teacher, deletion_id)).status_code == 404


async def test_each_sees_their_own_deletions(course: Course) -> None:
    form_id = await make_form(course.database, course.ids["student"], course.p_id)
    own = (await course.student.delete(f"/forms/{form_id}")).json()["deletion_id"]
    file = await delete(course.teacher, f"/config-files/{(cf_id := await course.add_file())}", "config-file", cf_id)

    async def seen(client: httpx.AsyncClient, **params: Any) -> list[str]:
        answer = await client.get("/deletions", params=params)
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["items"]]

    assert await seen(course.student) == [own]
    assert await seen(course.outsider) == []
    assert await seen(course.root) == [file["deletion_id"], own]
    assert await seen(course.root, type="form") == [own]
    assert await seen(course.root, state="restored") == []
    assert await seen(course.root, actor_id=course.ids["teacher"], q="WEB") == [file["deletion_id"]]
    assert (await course.student.get(f"/deletions/{file['deletion_id']}")).status_code == 404
    assert (await course.head.get(f"/deletions/{file['deletion_id']}")).status_code == 200
    shown = (await course.teacher.get(f"/deletions/{file['deletion_id']}")).json()
    assert (shown["actor_name"], shown["root_label"], shown["state"]) == ("teacher", "web.yaml", "deleted")


async def test_staff_restore_what_one_of_them_deleted(course: Course) -> None:
    cf_id = await course.add_file()
    deleted = await delete(course.teacher, f"/config-files/{cf_id}", "config-file", cf_id)
    assert (await restore(course.student, deleted["deletion_id"])).status_code == 404
    assert (await restore(course.head, deleted["deletion_id"])).status_code == 200


async def test_the_admin_of_a_deleted_group_restores_it(course: Course) -> None:
    deleted = await delete(course.head, f"/groups/{course.g_id}", "group", course.g_id)
    assert (await course.head.get(f"/groups/{course.g_id}")).status_code == 404
    assert (await restore(course.teacher, deleted["deletion_id"])).status_code == 404
    assert (await restore(course.head, deleted["deletion_id"])).status_code == 200
    assert (await course.teacher.get(f"/groups/{course.g_id}")).status_code == 200


async def test_staff_take_back_only_their_own_deletion_of_a_rule(course: Course) -> None:
    rule = await make_rule(course.database, course.root_id, course.p_id)
    own = (await course.teacher.delete(f"/images/{rule}")).json()["deletion_id"]
    assert (await restore(course.teacher, own)).status_code == 200
    banned = (await course.root.delete(f"/images/{rule}")).json()["deletion_id"]
    assert (await restore(course.teacher, banned)).status_code == 404


@pytest.mark.conformance("S-02")
async def test_a_deleted_user_is_out_at_once_and_for_good(course: Course) -> None:
    student = course.ids["student"]
    client = course.instance.client()
    session = (await client.post("/sessions", json={"username": "student", "password": PASSWORD})).json()["token"]
    signed_in = course.instance.client(session)
    deleted = await delete(course.root, f"/users/{student}", "user", student)
    assert (await signed_in.get("/me")).status_code == 401
    assert (await course.student.get("/me")).status_code == 401
    again = await client.post("/sessions", json={"username": "student", "password": PASSWORD})
    assert again.status_code == 401
    assert (await restore(course.root, deleted["deletion_id"])).status_code == 200
    assert (await signed_in.get("/me")).status_code == 401
    assert (await client.post("/sessions", json={"username": "student", "password": PASSWORD})).status_code == 201


async def test_users_delete_themselves(course: Course) -> None:
    student = course.ids["student"]
    deleted = await delete(course.student, f"/users/{student}", "user", student, reason="I am done")
    assert (await course.student.get("/me")).status_code == 401
    shown = (await course.root.get(f"/deletions/{deleted['deletion_id']}")).json()
    assert (shown["actor_name"], shown["reason"]) == ("student", "I am done")
    assert (await restore(course.root, deleted["deletion_id"])).status_code == 200


@pytest.mark.conformance("A-06")
async def test_user_admin_and_group_super_stay(course: Course) -> None:
    admin = await make_user(course.database, "admin")
    await make_member(course.database, admin, SUPER_GROUP_ID, "admin")
    for noun, path, id_text in (
        ("user", f"/users/{admin}", admin),
        ("member", f"/groups/{SUPER_GROUP_ID}/members/{admin}", f"{SUPER_GROUP_ID}/{admin}"),
        ("group", f"/groups/{SUPER_GROUP_ID}", SUPER_GROUP_ID),
    ):
        planned = await course.root.post("/deletion-plans", json={"type": noun, "id": id_text})
        assert planned.status_code == 403, noun
        assert (await course.root.delete(path)).status_code == 403, noun


@pytest.mark.conformance("A-06")
async def test_the_last_super_administrator_stays(course: Course) -> None:
    root = course.root_id
    seat = f"/groups/{SUPER_GROUP_ID}/members/{root}"
    for path in (f"/users/{root}", seat):
        refused = await course.root.delete(path)
        assert refused.status_code == 409, path
        assert refused.json()["code"] == "last_super_admin"
    await make_super_admin(course.database, "second")
    assert (await course.root.delete(seat)).status_code == 200


async def test_a_protected_thing_is_not_deleted_until_somebody_lifts_that(course: Course) -> None:
    project, group, user = f"/projects/{course.p_id}", f"/groups/{course.g_id}", f"/users/{course.ids['student']}"
    protect = {"deletion_protected": True}
    assert await statuses(course, "PATCH", project, json=protect) == {
        "outsider": 404,
        "student": 403,
        "teacher": 403,
        "head": 200,
    }
    assert (await course.head.get(project)).json()["deletion_protected"] is True
    for client, path, noun, id_text in (
        (course.head, project, "project", course.p_id),
        (course.root, group, "group", course.g_id),
    ):
        plan = await plan_of(client, noun, id_text)
        assert plan["protected"] == [{"type": "project", "id": course.p_id, "label": "course"}]
        refused = await client.delete(path, params={"plan": plan["token"]})
        assert refused.status_code == 409
        assert refused.json()["code"] == "deletion_protected"
        assert refused.json()["protected"] == plan["protected"]
    lifted = await course.head.patch(project, json={"deletion_protected": False})
    assert lifted.json()["deletion_protected"] is False
    assert (await course.head.delete(project)).status_code == 200
    assert (await course.head.patch(group, json=protect)).json()["deletion_protected"] is True
    assert (await course.student.patch(user, json=protect)).status_code == 403
    assert (await course.root.patch(user, json=protect)).json()["deletion_protected"] is True
    plan = await plan_of(course.student, "user", course.ids["student"])
    assert [each["type"] for each in plan["protected"]] == ["user"]
    assert (await course.student.delete(user, params={"plan": plan["token"]})).status_code == 409


async def test_enabled_rules_of_a_user_need_a_decision(course: Course) -> None:
    author = await make_super_admin(course.database, "author")
    rule = await make_rule(course.database, author, course.p_id)
    await make_rule(course.database, author, is_enabled=False)
    plan = await plan_of(course.root, "user", author)
    (decision,) = plan["decisions"]
    assert (decision["kind"], decision["count"]) == ("enabled-rules", 1)
    assert decision["message"] == "1 enabled rule of the allow list would go"
    assert [item["id"] for item in decision["items"]] == [rule]
    path, token = f"/users/{author}", {"plan": plan["token"]}
    refused = await course.root.delete(path, params=token)
    assert refused.status_code == 409
    assert refused.json()["code"] == "decision_needed"
    assert refused.json()["plan"] == plan
    assert (await course.root.delete(path, params=token | {"take_along": True})).status_code == 200
    assert (await course.root.get(f"/images/{rule}")).status_code == 404


async def test_the_last_admin_of_a_group_needs_a_decision(course: Course) -> None:
    head = course.ids["head"]
    for noun, path, id_text in (
        ("user", f"/users/{head}", head),
        ("member", f"/groups/{course.g_id}/members/{head}", f"{course.g_id}/{head}"),
    ):
        plan = await plan_of(course.root, noun, id_text)
        (decision,) = plan["decisions"]
        assert (decision["kind"], decision["items"]) == (
            "last-admin",
            [{"type": "group", "id": course.g_id, "label": "physics"}],
        )
        assert (await course.root.delete(path, params={"plan": plan["token"]})).status_code == 409
    second = await make_user(course.database, "second-head", status="delete")
    await make_member(course.database, second, course.g_id, "admin")
    assert (await plan_of(course.root, "user", head))["decisions"], "a disabled admin administers nothing"
    third = await make_user(course.database, "third-head")
    await make_member(course.database, third, course.g_id, "admin")
    assert (await plan_of(course.root, "user", head))["decisions"] == []


@pytest.mark.parametrize("noun", ["user", "group", "project", "workload"])
async def test_running_workloads_need_a_decision(course: Course, noun: str) -> None:
    student = course.ids["student"]
    running = await course.add_workload(student, "Running")
    await course.add_workload(student, "Succeeded")
    id_text = {"user": student, "group": course.g_id, "project": course.p_id, "workload": running}[noun]
    plan = await plan_of(course.root, noun, id_text)
    (decision,) = plan["decisions"]
    assert (decision["kind"], decision["count"]) == ("running-workloads", 1)
    assert decision["items"] == [{"type": "workload", "id": running, "label": "training"}]
    path, params = f"/{noun}s/{id_text}", {"plan": plan["token"]}
    assert (await course.root.delete(path, params=params)).status_code == 409
    assert (await course.root.delete(path, params=params | {"take_along": True})).status_code == 200


async def test_a_decision_names_the_first_twenty(course: Course) -> None:
    for _ in range(23):
        await course.add_workload(course.ids["student"], "Pending")
    (decision,) = (await plan_of(course.root, "project", course.p_id))["decisions"]
    assert decision["count"] == 23
    assert decision["message"] == "23 workloads pending or running would go"
    assert len(decision["items"]) == 20


async def test_a_users_things_are_handed_over_in_the_same_act(course: Course) -> None:
    database = course.database
    leaving, heir = await make_super_admin(database, "leaving"), course.ids["teacher"]
    chemistry, biology, history = [await make_group(database, name) for name in ("chemistry", "biology", "history")]
    for g_id in (course.g_id, chemistry, biology, history):
        await make_member(database, leaving, g_id, "admin")
    await make_member(database, heir, biology, "admin")
    await make_member(database, heir, history, "user")
    left = (await course.root.delete(f"/groups/{history}/members/{heir}")).json()["deletion_id"]
    rule = await make_rule(database, leaving, course.p_id)
    disabled = await make_rule(database, leaving, is_enabled=False)
    form, closed = await make_form(database, leaving), await make_form(database, leaving, status="Completed")
    deleted = await _hand_over(course, leaving, heir)
    assert (await course.root.get(f"/images/{rule}")).json()["created_by"] == heir
    assert (await course.root.get(f"/images/{disabled}")).status_code == 404
    assert (await course.root.get(f"/forms/{form}")).json()["user_id"] == heir
    assert (await course.root.get(f"/forms/{closed}")).status_code == 404
    roles = {row["group_name"]: row["role"] for row in (await course.root.get(f"/users/{heir}/groups")).json()["items"]}
    assert roles == {"physics": "admin", "chemistry": "admin", "biology": "admin", "history": "admin"}
    assert (await course.root.get(f"/deletions/{left}")).json()["state"] == "restored"
    assert deleted["counts"]["forms"] == deleted["counts"]["image_allow_list"] == 1
    assert (await audit_entries(course.instance, "image"))[0][0] == "update"
    assert [entry[0] for entry in await audit_entries(course.instance, "form")] == ["update"]
    assert {entry[1] for entry in await audit_entries(course.instance, "member") if entry[0] != "delete"} == {
        "teacher in physics",
        "teacher in chemistry",
        "teacher in history",
    }
    assert (await restore(course.root, deleted["deletion_id"])).status_code == 200
    assert (await course.root.get(f"/forms/{form}")).json()["user_id"] == heir


async def _hand_over(course: Course, leaving: str, heir: str) -> dict[str, Any]:
    plan = await plan_of(course.root, "user", leaving)
    assert {each["kind"] for each in plan["decisions"]} == {"enabled-rules", "last-admin"}
    answer = await course.root.delete(f"/users/{leaving}", params={"plan": plan["token"], "hand_over_to": heir})
    assert answer.status_code == 200, answer.text
    deleted: dict[str, Any] = answer.json()
    return deleted


async def test_a_hand_over_settles_no_workloads(course: Course) -> None:
    head = course.ids["head"]
    await course.add_workload(head, "Running")
    plan = await plan_of(course.root, "user", head)
    params = {"plan": plan["token"], "hand_over_to": course.ids["teacher"]}
    refused = await course.root.delete(f"/users/{head}", params=params)
    assert refused.status_code == 409
    assert refused.json()["decisions_needed"] == ["running-workloads"]
    assert (await course.root.delete(f"/users/{head}", params=params | {"take_along": True})).status_code == 200
    member = await course.root.get(f"/groups/{course.g_id}/members/{course.ids['teacher']}")
    assert member.json()["role"] == "admin"


async def test_a_hand_over_needs_a_super_administrator_and_somebody_to_take_it(course: Course) -> None:
    head = course.ids["head"]
    plan = await plan_of(course.root, "user", head)
    disabled = await make_user(course.database, "disabled", status="delete")
    for heir, status in ((head, 400), ("nobody", 404), (disabled, 409)):
        params = {"plan": plan["token"], "hand_over_to": heir}
        assert (await course.root.delete(f"/users/{head}", params=params)).status_code == status, heir
    params = {"plan": plan["token"], "hand_over_to": course.ids["teacher"]}
    assert (await course.head.delete(f"/users/{head}", params=params)).status_code == 403
    assert await count_rows(course.instance, "users", "deletion_id <> ''") == 0
    assert (await course.head.get(f"/groups/{course.g_id}")).json()["role"] == "admin"


async def test_a_token_without_the_scope_neither_deletes_nor_restores(course: Course, database: Database) -> None:
    form_id = await make_form(database, course.ids["student"], course.p_id)
    reading = course.instance.client(await make_token(database, course.ids["student"], kind="api", scopes="*:read"))
    assert (await reading.post("/deletion-plans", json={"type": "form", "id": form_id})).status_code == 200
    assert (await reading.delete(f"/forms/{form_id}")).status_code == 403
    forms = course.instance.client(await make_token(database, course.ids["student"], kind="api", scopes="forms:write"))
    deleted = await forms.delete(f"/forms/{form_id}")
    assert deleted.status_code == 200
    assert (await restore(forms, deleted.json()["deletion_id"])).status_code == 403
    undo = course.instance.client(
        await make_token(database, course.ids["student"], kind="api", scopes="deletions:write")
    )
    assert (await restore(undo, deleted.json()["deletion_id"])).status_code == 200


async def test_two_admins_who_leave_at_once_need_a_decision(course: Course) -> None:
    second = await make_user(course.database, "second-head")
    await make_member(course.database, second, course.g_id, "admin")
    other = await course.client_of(second)
    members = f"/groups/{course.g_id}/members"
    answers = await asyncio.gather(
        course.head.delete(f"{members}/{course.ids['head']}"), other.delete(f"{members}/{second}")
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_what_is_protected_at_that_moment_stays(course: Course) -> None:
    project, group = f"/projects/{course.p_id}", f"/groups/{course.g_id}"
    token = {"plan": (await plan_of(course.root, "group", course.g_id))["token"]}
    protected, deleted = await asyncio.gather(
        course.root.patch(project, json={"deletion_protected": True}), course.root.delete(group, params=token)
    )
    assert (protected.status_code, deleted.status_code) in {(200, 409), (404, 200)}


async def test_a_file_does_not_come_back_to_a_project_that_forbids_it_now(course: Course) -> None:
    manifest = (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: driver\nspec:\n  hostNetwork: true\n  containers:\n"
        "  - name: driver\n    image: nginx:1.27\n"
    )
    project = f"/projects/{course.p_id}"
    assert (await course.root.patch(project, json={"allow_privileged": True})).status_code == 200
    made = await course.teacher.post(f"{project}/config-files", json={"filename": "driver.yaml", "content": manifest})
    assert made.status_code == 201, made.text
    cf_id = made.json()["cf_id"]
    deleted = await delete(course.teacher, f"/config-files/{cf_id}", "config-file", cf_id)
    assert (await course.root.patch(project, json={"allow_privileged": False})).status_code == 200
    refused = await restore(course.teacher, deleted["deletion_id"])
    assert refused.status_code == 409
    (conflict,) = refused.json()["conflicts"]
    assert (conflict["kind"], conflict["key"], conflict["label"]) == ("rule", cf_id, "driver.yaml")
    assert "hostNetwork" in conflict["message"]
    assert "allow_privileged" in conflict["message"]
    assert (await course.teacher.get(f"/config-files/{cf_id}")).status_code == 404
    # With its project it comes back as all of it was.
    whole = await delete(course.head, project, "project", course.p_id)
    assert (await restore(course.head, whole["deletion_id"])).status_code == 200
    assert (await course.root.patch(project, json={"allow_privileged": True})).status_code == 200
    assert (await restore(course.teacher, deleted["deletion_id"])).status_code == 200
