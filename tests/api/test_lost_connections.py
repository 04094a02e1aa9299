"""Requests whose connection to the database breaks: run again where nothing was kept, told where nobody knows (R3)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from holdfast.core.errors import ConflictError
from holdfast.db.open import open_database
from tests.factories import make_super_admin, make_token
from tests.instance import Instance, instance_settings, run_instance
from tests.wire import Loses, Wire, wire_to

pytestmark = pytest.mark.parametrize("engine", ["postgresql", "mariadb"], scope="session", indirect=True)


# As it travels; the name of the isolation level has the word in it, too.
_COMMIT = {"postgresql": b"COMMIT\0", "mariadb": b"\x03COMMIT"}


@asynccontextmanager
async def _over_a_wire(instance: Instance) -> AsyncIterator[tuple[Wire, httpx.AsyncClient]]:
    """A second server on the instance's database, which reaches it over a wire; a super administrator's client."""
    async with wire_to(instance.settings.database_url) as (wire, url):
        token = await make_token(instance.database, await make_super_admin(instance.database))
        settings = instance_settings(url, instance.settings.data_dir)
        async with run_instance(instance.engine, settings) as other:
            client = other.client(token)
            # So that a connection is open, and its statements are known.
            assert (await client.get("/groups")).status_code == 200
            yield wire, client
            await other.close_clients()


async def _names(instance: Instance) -> list[str]:
    async with instance.database.read() as tx:
        rows = await tx.fetch_text("SELECT group_name FROM group_list WHERE group_name <> 'super'")
    return [name for (name,) in rows]


@pytest.mark.parametrize("what", list(Loses))
async def test_a_keyed_request_whose_commit_was_lost_is_done_once(instance: Instance, what: Loses) -> None:
    async with _over_a_wire(instance) as (wire, client):
        wire.lose(what, at=_COMMIT[instance.engine])
        answer = await client.post("/groups", json={"group_name": "physics"}, headers={"Idempotency-Key": "k"})
        assert wire.lost == 1
    assert answer.status_code == 201, answer.text
    # Where the first commit took effect the second run found its answer.
    assert ("Idempotency-Replayed" in answer.headers) == (what is Loses.ANSWER)
    assert await _names(instance) == ["physics"]


@pytest.mark.parametrize("what", list(Loses))
async def test_a_request_without_a_key_is_told_that_nobody_knows(instance: Instance, what: Loses) -> None:
    async with _over_a_wire(instance) as (wire, client):
        wire.lose(what, at=_COMMIT[instance.engine])
        answer = await client.post("/groups", json={"group_name": "physics"})
        again = await client.get("/groups")
    assert (answer.status_code, answer.json()["code"]) == (503, "commit_outcome_unknown")
    assert answer.headers["Retry-After"].isdigit()
    assert "Idempotency-Key" in answer.json()["detail"]
    assert again.status_code == 200
    assert await _names(instance) == (["physics"] if what is Loses.ANSWER else [])


@pytest.mark.parametrize("what", list(Loses))
async def test_a_change_whose_connection_breaks_before_its_commit_is_made_again(
    instance: Instance, what: Loses
) -> None:
    async with _over_a_wire(instance) as (wire, client):
        # Prepared statements are sent by name from the second time on; the first group makes a connection of its own.
        wire.lose(what, at=b"chemistry")
        answer = await client.post("/groups", json={"group_name": "chemistry"})
        assert wire.lost == 1
    assert answer.status_code == 201, answer.text
    assert await _names(instance) == ["chemistry"]


async def test_a_read_whose_connection_breaks_is_made_again(instance: Instance) -> None:
    async with _over_a_wire(instance) as (wire, client):
        wire.lose(Loses.ANSWER, at=b"wanted-text")
        answer = await client.get("/groups", params={"q": "wanted-text"})
        assert wire.lost == 1
    assert answer.status_code == 200, answer.text


async def test_of_many_at_once_on_dead_connections_none_fails(instance: Instance) -> None:
    async with _over_a_wire(instance) as (wire, client):
        await asyncio.gather(*(client.get("/groups") for _ in range(10)))
        before = wire.connections
        await wire.break_all()
        answers = await asyncio.gather(*(client.get("/groups") for _ in range(30)))
        assert wire.connections > before
    assert {answer.status_code for answer in answers} == {200}


async def test_a_database_that_is_away_is_told_with_a_time_to_come_back(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.db.retries._LONGEST_WITHOUT_DATABASE_SECONDS", 0.3)
    async with _over_a_wire(instance) as (wire, client):
        wire.lead_nowhere()
        await wire.break_all()
        answers = [
            await client.get("/groups"),
            await client.post("/groups", json={"group_name": "physics"}),
            await client.post("/groups", json={"group_name": "physics"}, headers={"Idempotency-Key": "k"}),
            await client.post("/sessions", json={"username": "admin", "password": "a password"}),
        ]
    assert [answer.status_code for answer in answers] == [503] * 4
    assert all(answer.headers["Retry-After"].isdigit() for answer in answers)
    assert {answer.json()["code"] for answer in answers} == {"connection_lost"}
    assert await _names(instance) == []


async def test_what_ended_a_transaction_is_told_though_its_undoing_was_lost(instance: Instance) -> None:
    rollback = _COMMIT[instance.engine].replace(b"COMMIT", b"ROLLBACK")
    async with (
        wire_to(instance.settings.database_url) as (wire, url),
        open_database(instance_settings(url, instance.settings.data_dir)).running() as database,
    ):

        async def refuse() -> None:
            async with database.write() as tx:
                await tx.fetch_text("DELETE FROM group_list")
                wire.lose(Loses.REQUEST, rollback)
                raise ConflictError("of the block itself")

        with pytest.raises(ConflictError, match="of the block itself"):
            await refuse()
        assert wire.lost == 1
        async with database.write() as tx:
            await tx.fetch_text("DELETE FROM group_list")
