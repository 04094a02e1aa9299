"""The first start (conformance V-04, V-05)."""

import asyncio

import msgspec
import pytest

from holdfast.core.errors import InvalidInputError
from holdfast.db.engines.base import Database
from holdfast.features.groups.first_start import ensure_first_start
from tests.factories import make_super_admin, make_user
from tests.instance import Instance, run_instance


@pytest.mark.conformance("V-04", "V-05")
async def test_the_first_start_makes_a_super_admin_who_must_choose_a_password(instance: Instance) -> None:
    made = await ensure_first_start(instance.database, None)
    assert made is not None
    assert made.generated_password is not None
    client = instance.client()
    sign_in = {"username": made.username, "password": made.generated_password}
    user = (await client.post("/sessions", json=sign_in)).json()["user"]
    assert (user["username"], user["is_super_admin"], user["must_change_password"]) == ("admin", True, True)
    assert (await client.get("/users")).json()["code"] == "password_change_required"
    passwords = {"old_password": made.generated_password, "new_password": "my own password"}
    assert (await client.put(f"/users/{user['u_id']}/password", json=passwords)).status_code == 204
    assert (await client.get("/users")).json()["total"] == 1
    rows = (await client.get("/audit-logs", params={"action": "create"})).json()["items"]
    assert sorted((row["resource_type"], row["actor_name"]) for row in rows) == [
        ("group", "admin"),
        ("member", "admin"),
        ("user", "admin"),
    ]


@pytest.mark.conformance("V-05")
async def test_a_given_password_is_not_told_and_must_be_changed(instance: Instance) -> None:
    made = await ensure_first_start(instance.database, "from the settings")
    assert made is not None
    assert made.generated_password is None
    answer = await instance.client().post("/sessions", json={"username": "admin", "password": "from the settings"})
    assert answer.json()["user"]["must_change_password"] is True


async def test_a_given_password_that_is_too_short_stops_the_start(database: Database) -> None:
    with pytest.raises(InvalidInputError, match="8 to 128"):
        await ensure_first_start(database, "short")


@pytest.mark.conformance("V-04")
async def test_a_second_start_changes_nothing(instance: Instance) -> None:
    await ensure_first_start(instance.database, None)
    before = await rows(instance.database)
    assert await ensure_first_start(instance.database, "another password") is None
    assert await rows(instance.database) == before


@pytest.mark.conformance("V-04")
async def test_replicas_that_start_at_once_make_one_admin(database: Database) -> None:
    made = await asyncio.gather(*(ensure_first_start(database, None) for _ in range(6)))
    assert sum(each is not None for each in made) == 1
    users, members = await rows(database)
    assert len(users) == len(members) == 1


@pytest.mark.conformance("V-04")
async def test_a_user_admin_without_the_role_gets_it(database: Database) -> None:
    await make_super_admin(database, "root")
    u_id = await make_user(database, "admin")
    made = await asyncio.gather(*(ensure_first_start(database, None) for _ in range(4)))
    assert made == [None] * 4
    _, members = await rows(database)
    assert (u_id, "super_group", "admin") in members


async def test_serving_starts_it(instance: Instance, capfd: pytest.CaptureFixture[str]) -> None:
    settings = msgspec.structs.replace(instance.settings, admin_password=None)
    async with run_instance(instance.engine, settings) as running:
        (line,) = (line for line in capfd.readouterr().err.splitlines() if "password  " in line)
        password = line.strip("| ").split()[-1]
        answer = await running.client().post("/sessions", json={"username": "admin", "password": password})
        assert answer.status_code == 201
        await running.close_clients()
    async with run_instance(instance.engine, settings):
        assert "password" not in capfd.readouterr().err


async def rows(database: Database) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    async with database.read() as tx:
        users = await tx.fetch_text("SELECT u_id, username, password, updated_at FROM users")
        members = await tx.fetch_text("SELECT u_id, g_id, role FROM user_group")
    return [tuple(row) for row in users], [tuple(row) for row in members]
