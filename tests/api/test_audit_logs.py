"""The audit log over HTTP (conformance U-01, U-02)."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.core.actor import Actor
from holdfast.db.engines.base import Database
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from tests.factories import make_group, make_member, make_super_admin, make_token, make_user
from tests.instance import Instance

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def record(database: Database, actor: Actor, minutes: int, **values: object) -> None:
    async with database.write() as tx:
        await audit.record(
            tx,
            actor,
            values.pop("action", Action.CREATE),  # type: ignore[arg-type]
            str(values.pop("resource_type", "form")),
            str(values.pop("resource_id", "f1")),
            clock=lambda: NOON + timedelta(minutes=minutes),
            **values,  # type: ignore[arg-type]
        )


@pytest.mark.conformance("U-01")
async def test_filters_narrow_the_log_and_the_newest_comes_first(instance: Instance, database: Database) -> None:
    root = Actor(user_id=await make_super_admin(database), username="root")
    alice = Actor(user_id=await make_user(database, "alice"), username="alice")
    await record(database, root, 0, action=Action.APPROVE, resource_type="image-request", resource_id="r1")
    await record(database, alice, 1)
    await record(database, alice, 2, action=Action.UPDATE)
    client = instance.client(await make_token(database, root.user_id))

    async def found(**filters: str) -> list[str]:
        answer = await client.get("/audit-logs", params=filters)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["total"] == len(body["items"])
        return [entry["action"] for entry in body["items"]]

    assert await found() == ["update", "create", "approve"]
    assert await found(user_id=alice.user_id) == ["update", "create"]
    assert await found(actor="alice", action="create") == ["create"]
    assert await found(resource_type="image-request") == ["approve"]
    assert await found(resource_id="f1") == ["update", "create"]
    assert await found(**{"from": "2026-03-01T12:01:00Z"}) == ["update", "create"]
    assert await found(**{"from": "2026-03-01T13:01:00+01:00", "to": "2026-03-01T12:02:00Z"}) == ["create"]
    assert (await client.get("/audit-logs", params={"from": "yesterday"})).status_code == 400
    assert (await client.get("/audit-logs", params={"from": "2026-03-01T12:00:00"})).status_code == 400


@pytest.mark.conformance("U-01")
async def test_a_page_can_hold_a_thousand_rows(instance: Instance, database: Database) -> None:
    root = Actor(user_id=await make_super_admin(database), username="root")
    async with database.write() as tx:
        for _ in range(150):
            await audit.record(tx, root, Action.UPDATE, "form", "f1")
    client = instance.client(await make_token(database, root.user_id))
    assert len((await client.get("/audit-logs", params={"limit": 1000})).json()["items"]) == 150
    assert len((await client.get("/audit-logs", params={"limit": 1001})).json()["items"]) == 20


@pytest.mark.conformance("U-01")
async def test_a_group_admin_reads_the_log_of_their_group_only(instance: Instance, database: Database) -> None:
    root = Actor(user_id=await make_super_admin(database), username="root")
    own, other = await make_group(database, "own"), await make_group(database, "other")
    admin, member = await make_user(database), await make_user(database)
    await make_member(database, admin, own, "admin")
    await make_member(database, admin, other, "manager")
    await make_member(database, member, own, "user")
    await record(database, root, 0, resource_id="in-own", g_id=own)
    await record(database, root, 1, resource_id="in-other", g_id=other)
    await record(database, root, 2, resource_id="nowhere")
    seen = (await instance.client(await make_token(database, admin)).get("/audit-logs")).json()
    assert [entry["resource_id"] for entry in seen["items"]] == ["in-own"]
    assert seen["total"] == 1
    assert (await instance.client(await make_token(database, member)).get("/audit-logs")).status_code == 403


@pytest.mark.conformance("U-02")
async def test_an_entry_holds_who_what_where_and_masks_secrets(instance: Instance, database: Database) -> None:
    u_id = await make_super_admin(database)
    actor = Actor(user_id=u_id, username="root", address="192.0.2.7", user_agent="curl/8")
    await record(
        database,
        actor,
        0,
        label="A question",
        old={"title": "a"},
        new={"title": "b", "password": "hunter22"},
        description="by hand",
    )
    client = instance.client(await make_token(database, u_id))
    (entry,) = (await client.get("/audit-logs")).json()["items"]
    assert entry.pop("id") > 0
    assert entry == {
        "user_id": u_id,
        "actor_name": "root",
        "action": "create",
        "resource_type": "form",
        "resource_id": "f1",
        "resource_label": "A question",
        "g_id": None,
        "old_data": {"title": "a"},
        "new_data": {"title": "b", "password": "***"},
        "ip_address": "192.0.2.7",
        "user_agent": "curl/8",
        "description": "by hand",
        "created_at": "2026-03-01T12:00:00Z",
    }
