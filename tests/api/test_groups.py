"""Groups and members over HTTP (conformance G-01 to G-05, T-38, A-06, Q-05)."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.statements import Command, parameters_for
from holdfast.db.tables import user_group
from tests.api.faculty import Faculty
from tests.factories import make_group, make_project, make_super_admin, make_token, make_user
from tests.instance import Instance

_DELETE_MEMBERS = Command(
    "tests.delete_members", update(user_group).values(parameters_for(user_group, "deleted_at", "deletion_id"))
)


@pytest.fixture
async def faculty(instance: Instance) -> Faculty:
    return await Faculty(instance).fill()


@pytest.mark.conformance("G-01")
async def test_a_super_admin_makes_a_group(faculty: Faculty) -> None:
    answer = await faculty["root"].post("/groups", json={"group_name": " chemistry ", "description": "Lab 3"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["group_name"] == "chemistry"
    assert (made["member_count"], made["project_count"], made["role"]) == (0, 0, None)
    read = await faculty["root"].get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == made
    assert read.headers["ETag"] == answer.headers["ETag"]
    for username in ("head", "teacher", "student", "outsider"):
        assert (await faculty[username].post("/groups", json={"group_name": "own"})).status_code == 403


@pytest.mark.conformance("G-01", "T-38")
@pytest.mark.parametrize(
    "name", ["super", "SUPER", " Super ", "\uff53\uff55\uff50\uff45\uff52", "su\u200bper", "su\u00adper", "SUPER\u202e"]
)
async def test_the_name_super_is_reserved(faculty: Faculty, name: str) -> None:
    made = await faculty["root"].post("/groups", json={"group_name": name})
    assert made.status_code == 403
    assert made.json()["code"] == "reserved_name"
    assert (await faculty["root"].patch(f"/groups/{faculty.g_id}", json={"group_name": name})).status_code == 403


@pytest.mark.conformance("G-01")
async def test_group_super_keeps_its_name(faculty: Faculty) -> None:
    assert (await faculty["root"].patch("/groups/super_group", json={"group_name": "other"})).status_code == 403
    answer = await faculty["root"].patch("/groups/super_group", json={"group_name": "super", "description": "Us"})
    assert answer.json()["description"] == "Us"


@pytest.mark.conformance("G-02")
async def test_each_lists_the_groups_of_their_scope(faculty: Faculty, database: Database) -> None:
    await make_group(database, "chemistry", description="lab")
    await make_project(database, faculty.g_id)

    async def seen(username: str, **params: Any) -> list[str]:
        return [
            group["group_name"] for group in (await faculty[username].get("/groups", params=params)).json()["items"]
        ]

    assert await seen("root") == ["chemistry", "physics", "super"]
    assert await seen("root", sort="-group_name", limit=1) == ["super"]
    assert await seen("root", q="LAB") == ["chemistry"]
    assert await seen("student") == ["physics"]
    assert await seen("outsider") == []
    (group,) = (await faculty["teacher"].get("/groups")).json()["items"]
    assert (group["member_count"], group["project_count"], group["role"]) == (3, 1, "manager")


@pytest.mark.conformance("G-02")
async def test_a_group_is_seen_by_members_and_changed_by_its_admins(faculty: Faculty) -> None:
    path = f"/groups/{faculty.g_id}"
    seen = await faculty.statuses("GET", path)
    assert seen == {"root": 200, "head": 200, "teacher": 200, "student": 200, "outsider": 404}
    assert await faculty.statuses("GET", f"{path}/members") == seen
    assert await faculty.statuses("GET", f"{path}/members/{faculty.ids['student']}") == seen
    changed = await faculty.statuses("PATCH", path, {"description": "new"})
    assert changed == {"root": 200, "head": 200, "teacher": 403, "student": 403, "outsider": 404}
    etag = (await faculty["head"].get(path)).headers["ETag"]
    assert (await faculty["head"].patch(path, json={"group_name": "a"}, headers={"If-Match": etag})).status_code == 200
    stale = await faculty["head"].patch(path, json={"group_name": "b"}, headers={"If-Match": etag})
    assert stale.status_code == 412


@pytest.mark.conformance("G-02", "G-05")
async def test_members_are_listed_with_their_roles(faculty: Faculty) -> None:
    path = f"/groups/{faculty.g_id}/members"

    async def seen(**params: Any) -> list[tuple[str, str]]:
        items = (await faculty["student"].get(path, params=params)).json()["items"]
        return [(member["username"], member["role"]) for member in items]

    assert await seen() == [("head", "admin"), ("student", "user"), ("teacher", "manager")]
    assert await seen(role="manager") == [("teacher", "manager")]
    assert await seen(q="UDE") == [("student", "user")]
    nested = (await faculty["student"].get(f"/groups/{faculty.g_id}", params={"include": "members"})).json()
    assert [(member["username"], member["role"]) for member in nested["members"]] == await seen()
    listed = (await faculty["root"].get("/groups", params={"include": "members"})).json()["items"]
    assert {group["group_name"]: len(group["members"]) for group in listed} == {"physics": 3, "super": 1}


@pytest.mark.conformance("G-03")
async def test_admins_of_a_group_add_members(faculty: Faculty) -> None:
    path, u_id = f"/groups/{faculty.g_id}/members", faculty.ids["outsider"]
    for username, status in (("teacher", 403), ("student", 403), ("outsider", 404)):
        assert (await faculty[username].post(path, json={"u_id": u_id, "role": "user"})).status_code == status
    answer = await faculty["head"].post(path, json={"u_id": u_id, "role": "manager"})
    assert answer.status_code == 201, answer.text
    read = await faculty["outsider"].get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == answer.json()
    again = await faculty["head"].post(path, json={"username": "outsider"})
    assert again.status_code == 409
    assert again.json()["code"] == "already_member"


async def test_a_member_that_cannot_be_added_is_refused(faculty: Faculty, database: Database) -> None:
    await make_user(database, "disabled", status="delete")
    path = f"/groups/{faculty.g_id}/members"
    for json, status in (
        ({}, 400),
        ({"u_id": faculty.ids["outsider"], "username": "outsider"}, 400),
        ({"username": "outsider", "role": "boss"}, 400),
        ({"u_id": "nobody"}, 404),
        ({"username": "nobody"}, 404),
        ({"username": "disabled"}, 409),
    ):
        assert (await faculty["head"].post(path, json=json)).status_code == status, json
    assert (await faculty["head"].get(path)).json()["total"] == 3


@pytest.mark.conformance("G-03")
async def test_role_admin_is_given_and_taken_by_super_admins_alone(faculty: Faculty) -> None:
    members = f"/groups/{faculty.g_id}/members"
    assert (await faculty["head"].post(members, json={"username": "outsider", "role": "admin"})).status_code == 403
    student = f"{members}/{faculty.ids['student']}"
    for username, status in (("head", 403), ("teacher", 403), ("student", 403), ("outsider", 404), ("root", 200)):
        assert (await faculty[username].patch(student, json={"role": "admin"})).status_code == status
    assert (await faculty["head"].patch(student, json={"role": "user"})).status_code == 403


@pytest.mark.conformance("G-03")
async def test_nobody_raises_themselves(faculty: Faculty) -> None:
    members = f"/groups/{faculty.g_id}/members"
    for username in ("teacher", "student"):
        for role in ("admin", "manager", "user"):
            answer = await faculty[username].patch(f"{members}/{faculty.ids[username]}", json={"role": role})
            assert answer.status_code == 403
    assert (
        await faculty["head"].patch(f"{members}/{faculty.ids['student']}", json={"role": "admin"})
    ).status_code == 403
    assert (await faculty["head"].patch(f"{members}/{faculty.ids['head']}", json={"role": "user"})).status_code == 403
    answer = await faculty["head"].patch(f"{members}/{faculty.ids['student']}", json={"role": "manager"})
    assert answer.json()["role"] == "manager"
    assert (await faculty["head"].patch(f"{members}/nobody", json={"role": "user"})).status_code == 404


@pytest.mark.conformance("T-35")
async def test_a_change_of_role_moves_updated_at_alone(faculty: Faculty) -> None:
    path = f"/groups/{faculty.g_id}/members/{faculty.ids['student']}"
    before = await faculty["head"].get(path)
    after = await faculty["head"].patch(path, json={"role": "manager"}, headers={"If-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert after.json()["created_at"] == before.json()["created_at"]
    assert after.json()["updated_at"] > before.json()["updated_at"]
    stale = await faculty["head"].patch(path, json={"role": "user"}, headers={"If-Match": before.headers["ETag"]})
    assert stale.status_code == 412


async def test_who_was_deleted_from_a_group_joins_anew(faculty: Faculty, database: Database) -> None:
    path = f"/groups/{faculty.g_id}/members"
    before = (await faculty["root"].get(f"{path}/{faculty.ids['student']}")).json()
    async with database.write() as tx:
        await tx.execute(_DELETE_MEMBERS, deleted_at=utc_now(), deletion_id="a-deletion")
    root = await make_super_admin(database, "second-root")
    client = faculty.instance.client(await make_token(database, root))
    assert (await client.get(path)).json()["total"] == 0
    answer = await client.post(path, json={"username": "student", "role": "manager"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["role"] == "manager"
    assert answer.json()["created_at"] > before["created_at"]
    assert (await client.get(path)).json()["total"] == 1


@pytest.mark.conformance("A-06")
async def test_the_last_super_admin_and_user_admin_keep_the_role(faculty: Faculty, database: Database) -> None:
    last = await faculty["root"].patch(f"/groups/super_group/members/{faculty.ids['root']}", json={"role": "user"})
    assert last.status_code == 409
    assert last.json()["code"] == "last_super_admin"
    disabled = await make_super_admin(database, "disabled")
    await faculty["root"].patch(f"/users/{disabled}", json={"status": "delete"})
    last = await faculty["root"].patch(f"/groups/super_group/members/{faculty.ids['root']}", json={"role": "user"})
    assert last.status_code == 409
    admin_id = await make_super_admin(database, "admin")
    answer = await faculty["root"].patch(f"/groups/super_group/members/{admin_id}", json={"role": "manager"})
    assert answer.status_code == 403
    assert answer.json()["code"] == "protected_user"


@pytest.mark.conformance("A-06")
async def test_super_admins_who_demote_each_other_at_once_leave_one(faculty: Faculty, database: Database) -> None:
    admins = {faculty.ids["root"]: faculty["root"]}
    for number in range(3):
        u_id = await make_super_admin(database, f"root-{number}")
        admins[u_id] = faculty.instance.client(await make_token(database, u_id))
    ids = list(admins)
    pairs = [(actor, target) for actor in ids for target in ids if actor != target]
    answers = await asyncio.gather(
        *(
            admins[actor].patch(f"/groups/super_group/members/{target}", json={"role": "user"})
            for actor, target in pairs
        )
    )
    assert {answer.status_code for answer in answers} <= {200, 403, 404, 409}
    async with database.read() as tx:
        ((left,),) = await tx.fetch_text("SELECT count(*) FROM users_with_superadmin WHERE is_super_admin = 1")
    assert left == 1


async def test_of_many_who_add_one_user_at_once_one_does(faculty: Faculty) -> None:
    path = f"/groups/{faculty.g_id}/members"
    answers = await asyncio.gather(*(faculty["head"].post(path, json={"username": "outsider"}) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5


@pytest.mark.conformance("X-07")
async def test_changes_of_groups_and_members_are_audited(faculty: Faculty) -> None:
    made = (await faculty["root"].post("/groups", json={"group_name": "chemistry"})).json()
    await faculty["root"].patch(f"/groups/{made['g_id']}", json={"description": "Lab"})
    await faculty["root"].post(f"/groups/{made['g_id']}/members", json={"username": "student"})
    await faculty["root"].patch(f"/groups/{made['g_id']}/members/{faculty.ids['student']}", json={"role": "admin"})
    rows = (await faculty["root"].get("/audit-logs")).json()["items"]
    assert [(row["resource_type"], row["action"]) for row in rows] == [
        ("member", "update"),
        ("member", "create"),
        ("group", "update"),
        ("group", "create"),
    ]
    assert (rows[0]["old_data"], rows[0]["new_data"]) == ({"role": "user"}, {"role": "admin"})
