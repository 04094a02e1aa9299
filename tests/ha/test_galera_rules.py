"""The rules that hold by locks hold between the nodes of a Galera cluster, where a lock does not reach (ADR 9).

Each connection of the server leads to another node than the one before, so that people who act at once are on all of
them.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from holdfast.core.ids import new_long_id
from holdfast.db import jobs
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import SerializationError
from holdfast.db.open import open_database
from holdfast.features.groups import queries as groups
from holdfast.features.projects import queries as projects
from tests.api.cast import Cast, count_rows
from tests.db.consistency import find_inconsistencies
from tests.factories import make_group, make_member, make_project, make_super_admin, make_token, make_user
from tests.ha.galera import GaleraCluster
from tests.ha.galera_instance import engine, galera, shared_instance
from tests.instance import Instance, instance_settings
from tests.lifecycle.crowd import Crowd, Place

pytestmark = pytest.mark.ha

__all__ = ["engine", "galera", "shared_instance"]

_ROUNDS = 5
Act = Callable[[Transaction], Awaitable[None]]


@pytest.fixture
async def nodes(galera: GaleraCluster, instance: Instance) -> AsyncIterator[list[Database]]:
    """The same database, through each node."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                open_database(
                    instance_settings(galera.url("in_turn", only=number), instance.settings.data_dir)
                ).running()
            )
            for number in range(3)
        ]


@pytest.fixture
async def cast(instance: Instance) -> Cast:
    people = await Cast(instance).fill()
    await people.super_admin.post("/images", json={"image_name": "nginx:1.27", "project_id": people.p_id})
    return people


@pytest.fixture
async def crowd(instance: Instance) -> Crowd:
    return await Crowd(instance).gather()


async def asked(client: httpx.AsyncClient, method: str, path: str, **options: object) -> httpx.Response:
    """An answer of the rules: who loses too many rounds is told so, and asks again."""
    for _ in range(30):
        answer = await client.request(method, path, **options)  # type: ignore[arg-type]
        if answer.status_code != 503:
            return answer
        assert answer.headers["Retry-After"].isdigit()
    raise AssertionError("the rounds were lost thirty times")


async def meet(nodes: list[Database], first: Act, second: Act) -> int:
    """Two transactions on two nodes, of which the second begins and ends within the first; how many committed."""
    committed = 0
    try:
        async with nodes[0].write() as one:
            await first(one)
            async with nodes[1].write() as other:
                await second(other)
            committed += 1
    except SerializationError:
        return committed
    return committed + 1


async def admit_one(tx: Transaction, cast: Cast, actor: str) -> None:
    """What an admission of a workload does: lock the project, count, insert."""
    assert await tx.fetch_one(projects.FIND_ACCESS_ALONE, p_id=cast.p_id, actor_id=actor) is not None
    ((used,),) = await tx.fetch_text(f"SELECT count(*) FROM resources_taken WHERE p_id = '{cast.p_id}'")
    assert used == 0
    await tx.fetch_text(f"INSERT INTO resources_taken VALUES ('{new_long_id()}', '{cast.p_id}')")


@pytest.mark.parametrize("cured", [True, False], ids=["as it is", "without writing what is locked"])
async def test_of_two_who_count_beneath_one_lock_on_two_nodes_one_loses(
    cast: Cast, nodes: list[Database], monkeypatch: pytest.MonkeyPatch, cured: bool
) -> None:
    if not cured:
        monkeypatch.setattr("holdfast.db.engines.mariadb_node.touching_of", lambda query: None)
    u_id = await make_user(cast.database, "somebody")
    async with cast.database.write() as tx:
        await tx.fetch_text("CREATE OR REPLACE TABLE resources_taken (id varchar(30) PRIMARY KEY, p_id varchar(30))")
    try:
        committed = await meet(nodes, lambda tx: admit_one(tx, cast, u_id), lambda tx: admit_one(tx, cast, u_id))
        ((taken,),) = await rows(nodes[2], "SELECT count(*) FROM resources_taken")
        # The other half shows what would be: a lock alone does not reach the other node.
        assert (committed, taken) == ((1, 1) if cured else (2, 2))
    finally:
        async with cast.database.write() as tx:
            await tx.fetch_text("DROP TABLE resources_taken")


@pytest.mark.parametrize("cured", [True, False], ids=["as it is", "without writing what is locked"])
async def test_two_admins_who_leave_on_two_nodes_do_not_both_leave(
    cast: Cast, nodes: list[Database], monkeypatch: pytest.MonkeyPatch, cured: bool
) -> None:
    if not cured:
        monkeypatch.setattr("holdfast.db.engines.mariadb_node.touching_of", lambda query: None)
    g_id = await make_group(cast.database, "chemistry")
    admins = [await make_user(cast.database, name) for name in ("one", "two")]
    for u_id in admins:
        await make_member(cast.database, u_id, g_id, "admin")

    def leave(u_id: str) -> Act:
        async def act(tx: Transaction) -> None:
            assert await tx.fetch_one(groups.FIND_ACCESS_ALONE, g_id=g_id, actor_id=u_id) is not None
            ((left,),) = await tx.fetch_text(
                f"SELECT count(*) FROM user_group WHERE g_id = '{g_id}' AND role = 'admin' AND u_id <> '{u_id}'"
            )
            assert left > 0
            await tx.fetch_text(f"UPDATE user_group SET role = 'user' WHERE g_id = '{g_id}' AND u_id = '{u_id}'")

        return act

    committed = await meet(nodes, leave(admins[0]), leave(admins[1]))
    ((left,),) = await rows(nodes[2], f"SELECT count(*) FROM user_group WHERE g_id = '{g_id}' AND role = 'admin'")
    assert (committed, left) == ((1, 1) if cured else (2, 0))


async def rows(database: Database, sql: str) -> list[tuple[object, ...]]:
    async with database.read() as tx:
        return await tx.fetch_text(sql)


async def test_what_is_locked_and_written_back_keeps_its_version(cast: Cast, nodes: list[Database]) -> None:
    before = await rows(nodes[0], f"SELECT * FROM project_list WHERE p_id = '{cast.p_id}'")
    async with nodes[1].write() as tx:
        await tx.fetch_one(projects.FIND_ACCESS_ALONE, p_id=cast.p_id, actor_id="nobody")
    assert await rows(nodes[2], f"SELECT * FROM project_list WHERE p_id = '{cast.p_id}'") == before


async def test_64_callers_on_all_nodes_never_pass_the_quota(cast: Cast) -> None:
    people = [cast.user, cast.manager, cast.admin, cast.super_admin]
    body = {"project_id": cast.p_id, "name": "w", "image": "nginx:1.27", "resource_gpu": 1}
    answers = await asyncio.gather(
        *(asked(people[number % 4], "POST", "/workloads", json=body | {"name": f"w{number}"}) for number in range(64))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 2, 409: 62}
    assert await count_rows(cast.instance, "course_workloads", "resource_gpu = 1") == 2


async def test_deciders_on_all_nodes_give_one_decision(cast: Cast) -> None:
    other = cast.instance.client(await make_token(cast.database, await make_super_admin(cast.database, "second")))
    for number in range(_ROUNDS):
        body = {"image_name": f"library/redis:{number}", "project_id": cast.p_id}
        filed = await cast.user.post("/image-requests", json=body)
        path = f"/image-requests/{filed.json()['id']}"
        answers = await asyncio.gather(
            *(
                asked(caller, "POST", f"{path}/{verb}", json=decision)
                for caller in (cast.super_admin, other)
                for verb, decision in (("approve", {}), ("reject", {"note": "no"}))
                for _ in range(3)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11


async def test_super_admins_who_demote_each_other_on_all_nodes_leave_one(instance: Instance) -> None:
    ids = [await make_super_admin(instance.database, f"root-{number}") for number in range(4)]
    clients = {u_id: instance.client(await make_token(instance.database, u_id)) for u_id in ids}
    answers = await asyncio.gather(
        *(
            asked(clients[actor], "PATCH", f"/groups/super_group/members/{target}", json={"role": "user"})
            for actor in ids
            for target in ids
            if actor != target
        )
    )
    assert {answer.status_code for answer in answers} <= {200, 403, 404, 409}
    ((left,),) = await rows(instance.database, "SELECT count(*) FROM users_with_superadmin WHERE is_super_admin = 1")
    assert left == 1


@pytest.mark.parametrize(
    ("root_type", "tables"),
    [
        ("group", ("project_list", "user_group")),
        ("project", ("forms", "config_files")),
        ("form", ("form_messages",)),
        ("user", ("forms", "tokens", "form_messages")),
        ("repository", ("container_tags",)),
    ],
)
async def test_no_child_made_on_another_node_stays_live_beneath_a_deleted_parent(
    crowd: Crowd, root_type: str, tables: tuple[str, ...]
) -> None:
    for _ in range(_ROUNDS):
        place = await crowd.make_place()
        begun = asyncio.Event()
        writing = [asyncio.create_task(write_until_refused(place, table, begun)) for table in tables for _ in range(3)]
        await begun.wait()
        deletion_id, counts = await marked(crowd, place, root_type)
        made = await asyncio.gather(*writing)
        assert sum(made) > 0
        assert await crowd.counts_of([deletion_id]) == {deletion_id: counts}
    assert await find_inconsistencies(crowd.database) == []


async def marked(crowd: Crowd, place: Place, root_type: str) -> tuple[str, dict[str, int]]:
    """A deletion, which beside many writers on other nodes may lose more rounds than a request has."""
    for _ in range(30):
        try:
            return await crowd.mark_at_once(place, root_type)
        except SerializationError:
            await asyncio.sleep(0.1)
    raise AssertionError("the rounds were lost thirty times")


async def write_until_refused(place: Place, table: str, begun: asyncio.Event) -> int:
    """Make rows beneath a place until it is gone; how many."""
    for made in range(1000):
        method, path, body = place.writing(table)
        answer = await asked(place.client, method, path, json=body)
        begun.set()
        if answer.status_code not in {200, 201}:
            assert answer.status_code in {401, 403, 404, 409}, answer.text
            if answer.status_code != 409:
                return made
        # Whoever deletes beneath writers on other nodes that never rest loses every round.
        await asyncio.sleep(0.1)
    raise AssertionError("it was never refused")


async def test_nothing_comes_back_beneath_what_is_deleted_on_another_node(crowd: Crowd) -> None:
    for _ in range(_ROUNDS):
        place = await crowd.make_place()
        form = (await crowd.delete(place, "form")).json()["deletion_id"]
        restored, _ = await asyncio.gather(
            asked(crowd.root, "POST", f"/deletions/{form}/restore", json={}), marked(crowd, place, "project")
        )
        assert restored.status_code in {200, 409}, restored.text
    assert await find_inconsistencies(crowd.database) == []


async def test_each_job_is_claimed_once_by_workers_on_all_nodes(instance: Instance, nodes: list[Database]) -> None:
    async with instance.database.write() as tx:
        asked_for = [await jobs.enqueue(tx, "a.job", {"number": number}) for number in range(30)]

    async def work(database: Database) -> list[str]:
        claimed = []
        while (job := await jobs.claim(database, 600)) is not None:
            claimed.append(job.id)
        return claimed

    found = await asyncio.gather(*(work(node) for node in nodes for _ in range(2)))
    assert Counter(job for each in found for job in each) == Counter(dict.fromkeys(asked_for, 1))


async def test_a_read_on_another_node_sees_what_was_acknowledged(cast: Cast, nodes: list[Database]) -> None:
    for number in range(100):
        writer, reader = nodes[number % 3], nodes[(number + 1) % 3]
        p_id = await make_project(writer, cast.g_id, f"p-{number}")
        assert await rows(reader, f"SELECT count(*) FROM project_list WHERE p_id = '{p_id}'") == [(1,)]
