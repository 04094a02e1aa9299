"""API tokens over HTTP: scopes, expiry, revocation."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from tests.factories import PASSWORD, make_super_admin, make_token, make_user
from tests.instance import Instance


async def signed_in(instance: Instance, username: str) -> Any:
    return instance.client(await make_token(instance.database, await make_user(instance.database, username)))


async def count_live_tokens(database: Database, u_id: str) -> int:
    async with database.read() as tx:
        ((number,),) = await tx.fetch_text(
            f"SELECT count(*) FROM tokens WHERE user_id = '{u_id}' AND revoked_at IS NULL"
        )
    return int(number)


async def test_a_token_works_within_its_scopes_and_is_shown_once(instance: Instance) -> None:
    anna = await signed_in(instance, "anna")
    answer = await anna.post("/tokens", json={"name": "nightly", "scopes": ["forms:write", "forms:read"]})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    nightly = instance.client(made["token"])
    assert (await nightly.post("/forms", json={"title": "Hello"})).status_code == 201
    refused = await nightly.get("/tokens")
    assert refused.status_code == 403
    assert refused.json()["scope"] == "tokens:read"

    read = (await anna.get(answer.headers["Location"].removeprefix("/api/v1"))).json()
    assert read == {name: value for name, value in made.items() if name != "token"}
    listed = (await anna.get("/tokens", params={"kind": "api"})).json()
    assert listed["items"] == [read]
    assert made["token"] not in (await anna.get("/tokens")).text


async def test_a_token_cannot_make_one_that_may_do_more(instance: Instance, database: Database) -> None:
    u_id = await make_user(database, "anna")
    narrow = instance.client(await make_token(database, u_id, kind="api", scopes="tokens:write forms:read"))
    for scopes in (["forms:write"], ["*:read"], ["*:write"], ["forms:read", "users:read"]):
        answer = await narrow.post("/tokens", json={"name": "more", "scopes": scopes})
        assert answer.status_code == 403, scopes
        assert answer.json()["code"] == "scope_forbidden"
    assert (await narrow.post("/tokens", json={"name": "same", "scopes": ["forms:read"]})).status_code == 201
    assert (await narrow.post("/tokens", json={"name": "odd", "scopes": ["moon:read"]})).status_code == 400


async def test_an_api_token_cannot_make_one_that_outlives_it(instance: Instance) -> None:
    anna = await signed_in(instance, "anna")
    asked = {"name": "short", "scopes": ["tokens:write"], "expires_in_days": 2}
    made = (await anna.post("/tokens", json=asked)).json()
    short = instance.client(made["token"])
    longer = await short.post("/tokens", json=asked | {"expires_in_days": 3})
    assert longer.status_code == 400
    assert "no later than the API token in use ends" in longer.json()["detail"]
    by_default = await short.post("/tokens", json={"name": "same", "scopes": ["tokens:write"]})
    assert by_default.json()["expires_at"] == made["expires_at"]


async def test_no_token_made_while_the_password_changes_outlives_the_change(
    instance: Instance, database: Database
) -> None:
    u_id = await make_user(database, "anna")
    own = instance.client(await make_token(database, u_id))
    stolen = instance.client(await make_token(database, u_id))
    made: list[str] = []

    async def make_tokens() -> None:
        while (answer := await stolen.post("/tokens", json={"name": "kept"})).status_code == 201:
            made.append(answer.json()["token"])
        assert answer.status_code == 401, answer.text

    async def change_password() -> None:
        body = {"old_password": PASSWORD, "new_password": "a new password"}
        answer = await own.put(f"/users/{u_id}/password", json=body)
        assert answer.status_code == 204, answer.text

    await asyncio.gather(change_password(), *(make_tokens() for _ in range(8)))
    assert made
    assert await count_live_tokens(database, u_id) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": []},
        {"scopes": ["forms"]},
        {"name": ""},
        {"expires_in_days": 0},
        {"expires_in_days": 366},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "2001-01-01T00:00:00"},
        {"expires_in_days": 3, "expires_at": "2100-01-01T00:00:00Z"},
        {"user_id": "somebody"},
    ],
)
async def test_a_malformed_token_is_refused(instance: Instance, changes: dict[str, Any]) -> None:
    anna = await signed_in(instance, "anna")
    answer = await anna.post("/tokens", json={"name": "nightly", "scopes": ["forms:read"]} | changes)
    assert answer.status_code == 400
    assert (await anna.get("/tokens", params={"kind": "api"})).json()["total"] == 0


async def test_a_token_ends_when_asked(instance: Instance) -> None:
    anna = await signed_in(instance, "anna")
    ends = utc_now() + timedelta(days=2)
    made = (await anna.post("/tokens", json={"name": "short", "expires_at": ends.isoformat()})).json()
    assert made["expires_at"][:19] == ends.isoformat()[:19]
    assert made["scopes"] == ["*:read"]


async def test_a_revoked_token_works_no_more(instance: Instance) -> None:
    anna, berta = await signed_in(instance, "anna"), await signed_in(instance, "berta")
    made = (await anna.post("/tokens", json={"name": "nightly"})).json()
    nightly = instance.client(made["token"])
    assert (await berta.delete(f"/tokens/{made['id']}")).status_code == 404
    assert (await berta.get(f"/tokens/{made['id']}")).status_code == 404
    assert (await nightly.get("/me")).status_code == 200
    assert (await anna.delete(f"/tokens/{made['id']}")).status_code == 204
    assert (await nightly.get("/me")).status_code == 401
    assert (await anna.delete(f"/tokens/{made['id']}")).status_code == 404
    assert (await anna.get("/tokens", params={"kind": "api"})).json()["total"] == 0


async def test_only_super_admins_see_the_tokens_of_others(instance: Instance, database: Database) -> None:
    u_id = await make_user(database, "anna")
    anna = instance.client(await make_token(database, u_id))
    berta = await signed_in(instance, "berta")
    admin = instance.client(await make_token(database, await make_super_admin(database)))
    assert (await berta.get("/tokens", params={"user_id": u_id})).status_code == 403
    (session,) = (await admin.get("/tokens", params={"user_id": u_id})).json()["items"]
    assert session["username"] == "anna"
    assert (await admin.delete(f"/tokens/{session['id']}")).status_code == 204
    assert (await anna.get("/me")).status_code == 401


async def test_a_repeated_post_gives_the_answer_without_the_secret(instance: Instance, database: Database) -> None:
    anna = await signed_in(instance, "anna")
    headers = {"Idempotency-Key": "once"}
    first = await anna.post("/tokens", json={"name": "nightly"}, headers=headers)
    again = await anna.post("/tokens", json={"name": "nightly"}, headers=headers)
    assert again.status_code == 201
    assert again.json() == first.json() | {"token": None}
    async with database.read() as tx:
        stored = await tx.fetch_text("SELECT body FROM idempotency_keys")
        stored += await tx.fetch_text("SELECT new_data FROM audit_logs")
    assert first.json()["token"] not in str(stored)


async def test_the_audit_log_tells_of_tokens_without_their_secrets(instance: Instance, database: Database) -> None:
    anna = await signed_in(instance, "anna")
    made = (await anna.post("/tokens", json={"name": "nightly"})).json()
    await anna.delete(f"/tokens/{made['id']}")
    admin = instance.client(await make_token(database, await make_super_admin(database)))
    rows = (await admin.get("/audit-logs", params={"resource_type": "token"})).json()["items"]
    assert sorted((row["action"], row["resource_id"]) for row in rows) == [
        ("create", made["id"]),
        ("revoke", made["id"]),
    ]
