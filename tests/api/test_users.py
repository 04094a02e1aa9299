"""Users over HTTP (conformance A-01, A-05, A-06, A-07, Q-05)."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from holdfast.db.engines.base import Database
from tests.api.faculty import Faculty
from tests.factories import PASSWORD, make_group, make_member, make_super_admin, make_token, make_user
from tests.instance import Instance, run_instance

NEW_PASSWORD = "a much better one"


@pytest.fixture
async def faculty(instance: Instance) -> Faculty:
    return await Faculty(instance).fill()


@pytest.fixture
async def open_instance(instance: Instance) -> AsyncIterator[Instance]:
    """A second replica on the same database, where registration is open."""
    settings = msgspec.structs.replace(instance.settings, registration_open=True, sign_in_attempts=3)
    async with run_instance(instance.engine, settings) as running:
        yield running
        await running.close_clients()


def body(**changes: Any) -> dict[str, Any]:
    return {"username": "ada", "password": PASSWORD} | changes


@pytest.mark.conformance("A-01")
async def test_a_super_admin_makes_an_account_that_must_choose_a_password(faculty: Faculty) -> None:
    answer = await faculty["root"].post("/users", json=body(full_name="Ada", email="ada@example.org", status="offline"))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert PASSWORD not in answer.text
    assert "first_password" not in made
    read = await faculty["root"].get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == made
    assert read.headers["ETag"] == answer.headers["ETag"]
    u_id = made["u_id"]
    client = faculty.instance.client()
    signed_in = await client.post("/sessions", json={"username": "ada", "password": PASSWORD})
    assert signed_in.json()["user"]["must_change_password"] is True
    blocked = await client.get("/groups")
    assert blocked.status_code == 403
    assert blocked.json()["code"] == "password_change_required"
    assert (await client.get("/me")).status_code == 200
    changed = await client.put(f"/users/{u_id}/password", json={"old_password": PASSWORD, "new_password": NEW_PASSWORD})
    assert changed.status_code == 204, changed.text
    assert (await client.get("/groups")).status_code == 200


async def test_many_changes_of_ones_own_row_at_one_moment_all_succeed(faculty: Faculty, database: Database) -> None:
    u_id = await make_user(database, "ada")
    ada = faculty.instance.client(await make_token(database, u_id))
    started = time.monotonic()
    answers = await asyncio.gather(
        *(ada.patch(f"/users/{u_id}", json={"full_name": f"Ada {number}"}) for number in range(12))
    )
    assert [answer.status_code for answer in answers] == [200] * 12
    # PostgreSQL looks for a deadlock only after a second.
    assert time.monotonic() - started < 5


async def test_a_generated_first_password_is_shown_once(faculty: Faculty, database: Database) -> None:
    headers = {"Idempotency-Key": "ada"}
    first = await faculty["root"].post("/users", json={"username": "ada"}, headers=headers)
    password = first.json()["first_password"]
    again = await faculty["root"].post("/users", json={"username": "ada"}, headers=headers)
    assert again.json() == first.json() | {"first_password": None}
    client = faculty.instance.client()
    assert (await client.post("/sessions", json={"username": "ada", "password": password})).status_code == 201
    assert (await client.post("/sessions", json={"username": "ada", "password": password})).status_code == 201
    async with database.read() as tx:
        stored = await tx.fetch_text("SELECT body FROM idempotency_keys")
        stored += await tx.fetch_text("SELECT new_data FROM audit_logs")
    assert password not in str(stored)


@pytest.mark.conformance("A-01")
@pytest.mark.parametrize(
    "changes",
    [
        {"username": "ab"},
        {"username": "a" * 51},
        {"username": "ada lovelace"},
        {"username": "adä"},
        {"username": "ada\n"},
        {"password": "short"},
        {"password": "x" * 129},
        {"email": "nowhere"},
        {"full_name": "two\nlines"},
        {"type": "root"},
        {"role": "admin"},
    ],
)
async def test_a_malformed_account_is_refused(faculty: Faculty, changes: dict[str, Any]) -> None:
    answer = await faculty["root"].post("/users", json=body(**changes))
    assert answer.status_code == 400, answer.text
    assert (await faculty["root"].get("/users")).json()["total"] == 5


@pytest.mark.conformance("A-01")
async def test_registration_is_closed_unless_a_setting_opens_it(faculty: Faculty) -> None:
    closed = await faculty.instance.client().post("/users", json=body())
    assert closed.status_code == 401
    assert closed.json()["code"] == "registration_closed"
    for username in ("head", "teacher", "student", "outsider"):
        assert (await faculty[username].post("/users", json=body())).status_code == 403


@pytest.mark.conformance("A-01")
async def test_who_registers_chooses_neither_type_nor_status(open_instance: Instance) -> None:
    client = open_instance.client()
    answer = await client.post("/users", json=body(type="oauth2", status="delete", must_change_password=True))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["type"], made["status"], made["must_change_password"]) == ("origin", "offline", False)
    assert (await client.post("/sessions", json=body())).status_code == 201
    anew = open_instance.client()
    assert (await anew.post("/users", json=body())).status_code == 409
    assert (await anew.post("/users", json={"username": "without"})).status_code == 400


async def test_one_address_cannot_register_without_end(open_instance: Instance) -> None:
    client = open_instance.client()
    answers = [await client.post("/users", json=body(username=f"ada-{number}")) for number in range(31)]
    assert [answer.status_code for answer in answers] == [201] * 30 + [429]


@pytest.mark.conformance("A-01")
async def test_of_many_who_take_one_name_at_once_one_gets_it(faculty: Faculty, open_instance: Instance) -> None:
    answers = await asyncio.gather(
        *(faculty["root"].post("/users", json=body()) for _ in range(4)),
        *(open_instance.client().post("/users", json=body()) for _ in range(4)),
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert (await faculty["root"].get("/users", params={"q": "ada"})).json()["total"] == 1


@pytest.mark.conformance("A-07")
async def test_each_lists_the_users_of_their_scope(faculty: Faculty) -> None:
    async def seen(username: str, **params: Any) -> list[str] | int:
        answer = await faculty[username].get("/users", params=params)
        return [user["username"] for user in answer.json()["items"]] if answer.status_code == 200 else 403

    assert await seen("root") == ["head", "outsider", "root", "student", "teacher"]
    assert await seen("root", sort="-username", limit=2) == ["teacher", "student"]
    assert await seen("root", g_id=faculty.g_id) == ["head", "student", "teacher"]
    assert await seen("root", q="UDEN") == ["student"]
    assert await seen("root", status="online") == []
    assert await seen("head") == ["head", "student", "teacher"]
    assert await seen("head", g_id=faculty.g_id, q="teach") == ["teacher"]
    assert await seen("head", g_id="super_group") == 403
    assert await seen("teacher") == 403
    assert await seen("student") == 403
    assert await seen("outsider") == 403


async def test_a_user_is_seen_by_themselves_their_group_admin_and_super_admins(faculty: Faculty) -> None:
    path = f"/users/{faculty.ids['student']}"
    statuses = {name: (await client.get(path)).status_code for name, client in faculty.clients.items()}
    assert statuses == {"root": 200, "head": 200, "student": 200, "teacher": 404, "outsider": 404}
    missing = await faculty["outsider"].get("/users/nobody")
    hidden = await faculty["outsider"].get(path)
    assert {**missing.json(), "request_id": None} == {**hidden.json(), "request_id": None}


@pytest.mark.conformance("A-05")
async def test_only_a_super_admin_changes_name_type_and_status(faculty: Faculty) -> None:
    path = f"/users/{faculty.ids['student']}"
    own = await faculty["student"].patch(path, json={"full_name": "Sam", "email": "sam@example.org"})
    assert own.status_code == 200
    assert own.json()["email"] == "sam@example.org"
    assert own.json()["updated_at"] > own.json()["created_at"]
    for change in ({"type": "oauth2"}, {"username": "sam"}, {"status": "delete"}):
        assert (await faculty["student"].patch(path, json=change)).status_code == 403
        assert (await faculty["root"].patch(path, json=change)).status_code == 200
    assert (await faculty["head"].patch(path, json={"full_name": "X"})).status_code == 403
    assert (await faculty["outsider"].patch(path, json={"full_name": "X"})).status_code == 404
    taken = await faculty["root"].patch(path, json={"username": "teacher"})
    assert taken.status_code == 409
    assert (await faculty["root"].patch(path, json={"password": NEW_PASSWORD})).status_code == 400


async def test_a_stale_version_of_a_profile_is_refused(faculty: Faculty) -> None:
    path = f"/users/{faculty.ids['student']}"
    etag = (await faculty["student"].get(path)).headers["ETag"]
    first = await faculty["student"].patch(path, json={"full_name": "A"}, headers={"If-Match": etag})
    assert first.status_code == 200
    second = await faculty["student"].patch(path, json={"full_name": "B"}, headers={"If-Match": etag})
    assert second.status_code == 412


@pytest.mark.conformance("A-06")
async def test_user_admin_and_the_last_super_admin_cannot_be_disabled(faculty: Faculty, database: Database) -> None:
    last = await faculty["root"].patch(f"/users/{faculty.ids['root']}", json={"status": "delete"})
    assert last.status_code == 409
    assert last.json()["code"] == "last_super_admin"
    admin_id = await make_super_admin(database, "admin")
    for change in ({"status": "delete"}, {"username": "other"}):
        answer = await faculty["root"].patch(f"/users/{admin_id}", json=change)
        assert answer.status_code == 403
        assert answer.json()["code"] == "protected_user"
    gone = await faculty["root"].patch(f"/users/{faculty.ids['root']}", json={"status": "delete"})
    assert gone.status_code == 200
    assert (await faculty["root"].get("/me")).status_code == 401


@pytest.mark.conformance("A-06")
async def test_two_super_admins_who_disable_each_other_leave_one(faculty: Faculty, database: Database) -> None:
    second_id = await make_super_admin(database, "second")
    second = faculty.instance.client(await make_token(database, second_id))
    answers = await asyncio.gather(
        faculty["root"].patch(f"/users/{second_id}", json={"status": "delete"}),
        second.patch(f"/users/{faculty.ids['root']}", json={"status": "delete"}),
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 200
    assert statuses[1] in {401, 409}


@pytest.mark.conformance("A-05")
async def test_a_new_password_ends_all_other_sessions(faculty: Faculty, database: Database) -> None:
    u_id = faculty.ids["student"]
    other = faculty.instance.client(await make_token(database, u_id))
    script = faculty.instance.client(await make_token(database, u_id, kind="api"))
    path = f"/users/{u_id}/password"
    wrong = await faculty["student"].put(path, json={"old_password": "nothing", "new_password": NEW_PASSWORD})
    assert wrong.status_code == 403
    assert wrong.json()["code"] == "wrong_password"
    missing = await faculty["student"].put(path, json={"new_password": NEW_PASSWORD})
    assert missing.status_code == 403
    same = await faculty["student"].put(path, json={"old_password": PASSWORD, "new_password": PASSWORD})
    assert same.status_code == 400
    assert (await other.get("/me")).status_code == 200
    done = await faculty["student"].put(path, json={"old_password": PASSWORD, "new_password": NEW_PASSWORD})
    assert done.status_code == 204
    assert (await faculty["student"].get("/me")).status_code == 200
    assert (await other.get("/me")).status_code == 401
    assert (await script.get("/me")).status_code == 401
    client = faculty.instance.client()
    assert (await client.post("/sessions", json={"username": "student", "password": PASSWORD})).status_code == 401
    assert (await client.post("/sessions", json={"username": "student", "password": NEW_PASSWORD})).status_code == 201


@pytest.mark.conformance("A-05")
async def test_a_super_admin_sets_a_password_that_must_be_changed(faculty: Faculty) -> None:
    path = f"/users/{faculty.ids['student']}/password"
    assert (await faculty["head"].put(path, json={"new_password": NEW_PASSWORD})).status_code == 403
    assert (await faculty["outsider"].put(path, json={"new_password": NEW_PASSWORD})).status_code == 404
    assert (await faculty["root"].put(path, json={"new_password": NEW_PASSWORD})).status_code == 204
    assert (await faculty["student"].get("/me")).status_code == 401
    answer = await faculty.instance.client().post("/sessions", json={"username": "student", "password": NEW_PASSWORD})
    assert answer.json()["user"]["must_change_password"] is True


async def test_a_stolen_session_cannot_try_all_passwords(open_instance: Instance, faculty: Faculty) -> None:
    u_id = faculty.ids["student"]
    client = open_instance.client(faculty["student"].headers["Authorization"].removeprefix("Bearer "))
    path = f"/users/{u_id}/password"
    statuses = [
        (await client.put(path, json={"old_password": f"guess {n}", "new_password": NEW_PASSWORD})).status_code
        for n in range(4)
    ]
    assert statuses == [403, 403, 403, 429]
    right = await client.put(path, json={"old_password": PASSWORD, "new_password": NEW_PASSWORD})
    assert right.status_code == 429


@pytest.mark.conformance("G-05", "Q-05")
async def test_the_groups_of_a_user_bear_their_roles(faculty: Faculty, database: Database) -> None:
    other = await make_group(database, "chemistry")
    await make_member(database, faculty.ids["student"], other, "manager")
    path = f"/users/{faculty.ids['student']}/groups"

    async def seen(username: str, **params: Any) -> list[tuple[str, str]]:
        answer = await faculty[username].get(path, params=params)
        assert answer.status_code == 200
        return [(group["group_name"], group["role"]) for group in answer.json()["items"]]

    assert await seen("student") == [("chemistry", "manager"), ("physics", "user")]
    assert await seen("root", role="manager") == [("chemistry", "manager")]
    assert await seen("head") == [("physics", "user")]
    assert (await faculty["outsider"].get(path)).status_code == 404


@pytest.mark.conformance("X-07")
async def test_changes_of_users_are_audited_without_passwords(faculty: Faculty) -> None:
    made = (await faculty["root"].post("/users", json=body())).json()
    await faculty["root"].patch(f"/users/{made['u_id']}", json={"full_name": "Ada"})
    await faculty["root"].put(f"/users/{made['u_id']}/password", json={"new_password": NEW_PASSWORD})
    answer = await faculty["root"].get("/audit-logs", params={"resource_type": "user", "resource_id": made["u_id"]})
    rows = answer.json()["items"]
    assert [row["action"] for row in rows] == ["update", "update", "create"]
    assert rows[1]["new_data"] == {"full_name": "Ada"}
    assert rows[1]["old_data"] == {"full_name": None}
    assert rows[0]["new_data"]["password"] == "***"
    assert "argon2" not in answer.text
    assert NEW_PASSWORD not in answer.text
