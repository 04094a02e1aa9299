"""Signing in and out over HTTP (conformance A-02, A-03, A-04)."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from tests.db.rows import fetch
from tests.factories import (
    BCRYPT_HASH,
    PASSWORD,
    PASSWORD_HASH,
    make_group,
    make_member,
    make_super_admin,
    make_token,
    make_user,
)
from tests.instance import Instance, run_instance

WRONG = "not the password"


@pytest.fixture
async def strict_instance(instance: Instance) -> AsyncIterator[Instance]:
    """A second replica on the same database, which lets a password be tried three times."""
    settings = msgspec.structs.replace(instance.settings, sign_in_attempts=3, secure_cookies=True)
    async with run_instance(instance.engine, settings) as strict:
        yield strict
        await strict.close_clients()


@pytest.mark.conformance("A-02", "A-03")
async def test_a_sign_in_gives_a_token_and_a_cookie_that_work_until_sign_out(
    instance: Instance, database: Database
) -> None:
    await make_user(database, "anna")
    browser = instance.client()
    answer = await browser.post("/sessions", json={"username": "anna", "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    signed_in = answer.json()
    assert signed_in["user"]["username"] == "anna"
    assert signed_in["user"]["status"] == "online"
    assert "password" not in signed_in["user"]
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie

    by_header = instance.client(signed_in["token"])
    location = answer.headers["Location"].removeprefix("/api/v1")
    assert (await by_header.get(location)).json()["kind"] == "session"
    assert (await browser.get("/me")).json()["username"] == "anna"
    signed_out = await browser.delete("/sessions/current")
    assert signed_out.status_code == 204
    assert "holdfast_session" not in browser.cookies
    assert (await by_header.get("/me")).status_code == 401
    admin = instance.client(await make_token(database, await make_super_admin(database)))
    assert (await admin.get("/users", params={"q": "anna"})).json()["items"][0]["status"] == "offline"


@pytest.mark.parametrize("stored", [PASSWORD_HASH, BCRYPT_HASH])
async def test_first_sign_ins_at_one_moment_all_succeed(instance: Instance, database: Database, stored: str) -> None:
    await make_user(database, "anna", password=stored)  # which the first sign-in replaces
    client = instance.client()
    answers = await asyncio.gather(
        *(client.post("/sessions", json={"username": "anna", "password": PASSWORD}) for _ in range(4))
    )
    assert [answer.status_code for answer in answers] == [201] * 4


async def test_the_first_sign_in_replaces_a_hash_of_bcrypt(instance: Instance, database: Database) -> None:
    u_id = await make_user(database, "anna", password=BCRYPT_HASH)
    client = instance.client()

    async def sign_in(password: str) -> tuple[int, str]:
        answer = await client.post("/sessions", json={"username": "anna", "password": password})
        ((stored,),) = await fetch(database, f"SELECT password FROM users WHERE u_id = '{u_id}'")
        return answer.status_code, stored

    assert await sign_in(WRONG) == (401, BCRYPT_HASH)
    status, replaced = await sign_in(PASSWORD)
    assert (status, replaced[:31]) == (201, "$argon2id$v=19$m=19456,t=2,p=1$")
    assert await sign_in(PASSWORD) == (201, replaced)
    assert await sign_in(WRONG) == (401, replaced)


async def test_a_hash_of_bcrypt_proves_the_old_password_of_a_change(instance: Instance, database: Database) -> None:
    u_id = await make_user(database, "anna", password=BCRYPT_HASH)
    client = instance.client(await make_token(database, u_id))
    change = {"old_password": WRONG, "new_password": "a new password"}
    assert (await client.put(f"/users/{u_id}/password", json=change)).status_code == 403
    change["old_password"] = PASSWORD
    assert (await client.put(f"/users/{u_id}/password", json=change)).status_code == 204
    answer = await client.post("/sessions", json={"username": "anna", "password": "a new password"})
    assert answer.status_code == 201


@pytest.mark.conformance("A-02")
async def test_refusals_do_not_tell_why(instance: Instance, database: Database) -> None:
    await make_user(database, "anna")
    await make_user(database, "disabled", status="delete")
    client = instance.client()
    answers = [
        await client.post("/sessions", json={"username": username, "password": password})
        for username, password in (("anna", WRONG), ("nobody", WRONG), ("disabled", PASSWORD), ("A@ b", WRONG))
    ]
    assert [answer.status_code for answer in answers] == [401] * 4
    bodies = [{**answer.json(), "request_id": None} for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert all("set-cookie" not in answer.headers for answer in answers)


@pytest.mark.conformance("A-02")
async def test_the_attempts_of_a_name_are_limited_on_all_replicas(
    instance: Instance, strict_instance: Instance, database: Database
) -> None:
    await make_user(database, "anna")
    await make_user(database, "berta")
    client = strict_instance.client()
    for _ in range(3):
        assert (await client.post("/sessions", json={"username": "anna", "password": WRONG})).status_code == 401
    refused = await client.post("/sessions", json={"username": "anna", "password": PASSWORD})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= strict_instance.settings.sign_in_window_seconds
    assert (await client.post("/sessions", json={"username": "berta", "password": PASSWORD})).status_code == 201


@pytest.mark.conformance("A-02")
async def test_a_success_gives_a_name_all_its_attempts_again(strict_instance: Instance, database: Database) -> None:
    await make_user(database, "anna")
    client = strict_instance.client()
    tried = (WRONG, WRONG, PASSWORD, WRONG, WRONG, PASSWORD)
    answers = [await client.post("/sessions", json={"username": "anna", "password": password}) for password in tried]
    assert [answer.status_code for answer in answers] == [401, 401, 201, 401, 401, 201]
    assert "secure" in answers[-1].headers["set-cookie"].lower()


@pytest.mark.conformance("A-02")
async def test_of_many_attempts_at_one_moment_only_as_many_as_allowed_are_answered(
    strict_instance: Instance, database: Database
) -> None:
    await make_user(database, "anna")
    client = strict_instance.client()
    answers = await asyncio.gather(
        *(client.post("/sessions", json={"username": "anna", "password": f"{WRONG} {n}"}) for n in range(12))
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(401) <= 3
    assert set(statuses) <= {401, 429}


@pytest.mark.conformance("A-02")
async def test_an_address_is_limited_across_names(strict_instance: Instance, database: Database) -> None:
    await make_user(database, "anna")
    client = strict_instance.client()
    for number in range(30):
        answer = await client.post("/sessions", json={"username": f"guess-{number}", "password": WRONG})
        assert answer.status_code == 401
    assert (await client.post("/sessions", json={"username": "anna", "password": PASSWORD})).status_code == 429


@pytest.mark.conformance("A-03")
async def test_an_expired_a_revoked_and_a_made_up_token_are_refused(instance: Instance, database: Database) -> None:
    u_id = await make_user(database, "anna")
    now = utc_now()
    tokens = [
        await make_token(database, u_id, expires_at=now - timedelta(seconds=1)),
        await make_token(database, u_id, revoked_at=now),
        "hf_" + "x" * 43,
        "eyJhbGciOiJub25lIn0.e30.",
    ]
    for token in tokens:
        answer = await instance.client(token).get("/me")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.conformance("A-03")
async def test_a_disabled_user_and_a_lost_role_end_at_the_next_request(instance: Instance, database: Database) -> None:
    admin = instance.client(await make_token(database, await make_super_admin(database, "first")))
    second_id = await make_super_admin(database, "second")
    second = instance.client(await make_token(database, second_id))
    assert (await second.get("/users")).status_code == 200
    demoted = await admin.patch(f"/groups/super_group/members/{second_id}", json={"role": "user"})
    assert demoted.status_code == 200, demoted.text
    assert (await second.get("/users")).status_code == 403
    assert (await admin.patch(f"/users/{second_id}", json={"status": "delete"})).status_code == 200
    assert (await second.get("/me")).status_code == 401
    assert (await admin.patch(f"/users/{second_id}", json={"status": "offline"})).status_code == 200
    assert (await second.get("/me")).status_code == 401


@pytest.mark.conformance("A-04")
async def test_me_tells_the_user_the_groups_and_the_scopes(instance: Instance, database: Database) -> None:
    u_id = await make_user(database, "anna", full_name="Anna Adams")
    g_id = await make_group(database, "physics")
    await make_member(database, u_id, g_id, "manager")
    client = instance.client(await make_token(database, u_id, kind="api", scopes="forms:read"))
    me = (await client.get("/me")).json()
    assert (me["u_id"], me["full_name"], me["is_super_admin"]) == (u_id, "Anna Adams", False)
    assert [(group["g_id"], group["role"]) for group in me["groups"]] == [(g_id, "manager")]
    assert me["scopes"] == ["forms:read"]
    assert (await client.get("/groups")).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example", "Content-Type": "text/plain"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://public.example"}, 201),
        ({"Sec-Fetch-Site": "none"}, 201),
    ],
)
async def test_a_foreign_page_cannot_sign_its_reader_in(
    instance: Instance, database: Database, headers: dict[str, str], status: int
) -> None:
    await make_user(database, "anna")
    body = json.dumps({"username": "anna", "password": PASSWORD})
    answer = await instance.client().post("/sessions", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert ("set-cookie" in answer.headers) == (status == 201)


async def test_a_cookie_from_a_foreign_page_changes_nothing(instance: Instance, database: Database) -> None:
    await make_user(database, "anna")
    browser = instance.client()
    await browser.post("/sessions", json={"username": "anna", "password": PASSWORD})
    refused = await browser.delete("/sessions/current", headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403
    assert (await browser.get("/me")).status_code == 200


@pytest.mark.parametrize(
    "body",
    ["{", "[]", '{"username": "a"}', '{"username": 1, "password": "x"}', '{"username": "a\\u0000", "password": ""}'],
)
async def test_a_malformed_sign_in_is_refused(instance: Instance, body: str) -> None:
    answer = await instance.client().post("/sessions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
