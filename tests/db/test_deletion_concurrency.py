"""Marking beside writers, other deletions and restores, with real connections at the same time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from holdfast.core.actor import Actor, Origin
from holdfast.core.clock import utc_now
from holdfast.core.errors import HoldfastError, NotFoundError, NotSignedInError
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import SerializationError
from holdfast.db.lifecycle.closure import closure_of
from holdfast.db.lifecycle.graph import GRAPH, Edge
from holdfast.db.lifecycle.plan import Numbers, Root, count_deletion, lock_root, root_of
from holdfast.db.lifecycle.trash import count_marked, find_conflicts, mark, unmark
from holdfast.db.retries import with_retries
from holdfast.db.tables.base import Deletion, policy_of
from holdfast.features.accounts import service as accounts
from holdfast.features.forms import service as forms
from tests.db.consistency import find_inconsistencies
from tests.db.rows import make_row
from tests.factories import (
    make_config_file,
    make_form,
    make_group,
    make_member,
    make_message,
    make_project,
    make_token,
    make_user,
)

_SERVERS = ("postgresql", "mariadb")
Work = Callable[[Transaction], Awaitable[object]]


async def _write(database: Database, work: Work) -> None:
    async def attempt() -> None:
        async with database.write() as tx:
            await work(tx)

    await with_retries(attempt)


async def _delete(database: Database, root_type: str, id_text: str, deletion_id: str) -> dict[str, int]:
    """What a deletion marks; nothing where the root is deleted already."""
    root = root_of(root_type, id_text)

    async def attempt() -> dict[str, int]:
        async with database.write() as tx:
            if not await lock_root(tx, root):
                return {}
            return await _count_and_mark(tx, root, deletion_id)

    return await with_retries(attempt)


async def _count_and_mark(tx: Transaction, root: Root, deletion_id: str) -> dict[str, int]:
    """As the product does once the root is locked."""
    numbers = await count_deletion(tx, root)
    return await mark(tx, root, deletion_id, utc_now(), by_edge=numbers.by_edge)


async def _restore(database: Database, deletion_id: str) -> dict[str, int]:
    """What a restore brings back; nothing where it is refused."""

    async def attempt() -> dict[str, int]:
        async with database.write() as tx:
            return {} if await find_conflicts(tx, deletion_id) else await unmark(tx, deletion_id)

    return await with_retries(attempt)


async def _marked(database: Database, deletion_id: str) -> dict[str, int]:
    async with database.read() as tx:
        return await count_marked(tx, deletion_id)


class _Crowd:
    """Writers that write until they are refused; `busy` once enough was written."""

    def __init__(self, database: Database, refusal: type[HoldfastError]) -> None:
        self._database = database
        self._refusal = refusal
        self._written = 0
        self.busy = asyncio.Event()

    async def write_until_refused(self, work: Work) -> None:
        while await self._is_taken(work):
            self._written += 1
            if self._written >= 20:
                self.busy.set()

    async def _is_taken(self, work: Work) -> bool:
        try:
            await _write(self._database, work)
        except self._refusal:
            return False
        return True


@pytest.mark.conformance("X-06")
async def test_writers_beneath_a_group_leave_no_live_row_when_it_is_deleted(database: Database) -> None:
    u_id, g_id = await make_user(database), await make_group(database)
    await make_member(database, u_id, g_id, "manager")
    actor = Actor(u_id, "writer")
    p_ids = [await make_project(database, g_id) for _ in range(3)]
    form_ids = [await make_form(database, u_id, p_id) for p_id in p_ids]
    crowd = _Crowd(database, NotFoundError)

    async def delete() -> dict[str, int]:
        await crowd.busy.wait()
        return await _delete(database, "group", g_id, "course")

    opening = [lambda tx, p=p: forms.open_form(tx, actor, title="t", project_id=p, message="m") for p in p_ids]
    answering = [lambda tx, f=f: forms.add_message(tx, actor, f, "m") for f in form_ids]
    counts, *_ = await asyncio.gather(delete(), *(crowd.write_until_refused(each) for each in opening + answering))
    assert await find_inconsistencies(database) == []
    assert counts == await _marked(database, "course")
    assert counts["form_messages"] >= 10


@pytest.mark.conformance("X-06")
async def test_a_user_who_writes_while_being_deleted_leaves_no_live_row(database: Database) -> None:
    u_id = await make_user(database)
    token = await make_token(database, u_id)
    form_id = await make_form(database, await make_user(database))
    crowd = _Crowd(database, NotSignedInError)

    async def act(tx: Transaction) -> None:
        actor = await accounts.resolve_actor_for_change(tx, token, Origin())
        await forms.open_form(tx, actor, title="t", message="m")

    async def delete() -> dict[str, int]:
        await crowd.busy.wait()
        return await _delete(database, "user", u_id, "left")

    counts, *_ = await asyncio.gather(delete(), *(crowd.write_until_refused(act) for _ in range(6)))
    assert await find_inconsistencies(database) == []
    assert counts == await _marked(database, "left")
    assert counts["forms"] >= 20
    async with database.read() as tx:
        assert (await count_deletion(tx, root_of("form", form_id))).counts == {"forms": 1}


@pytest.mark.conformance("X-06")
async def test_deletions_that_overlap_share_the_rows_and_mark_none_twice(database: Database) -> None:
    for round_number in range(5):
        u_id, g_id = await make_user(database), await make_group(database)
        others = [await make_user(database) for _ in range(2)]
        p_id = await make_project(database, g_id)
        for author in (u_id, *others):
            form_id = await make_form(database, author, p_id)
            for each in (u_id, *others):
                await make_message(database, form_id, each)
        roots = [("user", u_id), ("group", g_id), ("project", p_id), ("user", others[0])]
        marked = await asyncio.gather(
            *(_delete(database, *root, f"{round_number}-{number}") for number, root in enumerate(roots))
        )
        assert [await _marked(database, f"{round_number}-{number}") for number in range(4)] == marked
        assert [sum(each.get(table, 0) for each in marked) for table in ("forms", "form_messages")] == [3, 9]
        assert await find_inconsistencies(database) == []


@pytest.mark.conformance("X-06")
async def test_a_restore_beside_the_deletion_of_its_parent_leaves_no_live_row_beneath_it(database: Database) -> None:
    for round_number in range(10):
        p_id = await make_project(database, await make_group(database))
        await _delete(database, "config-file", await make_config_file(database, p_id), f"file-{round_number}")
        restored, deleted = await asyncio.gather(
            _restore(database, f"file-{round_number}"), _delete(database, "project", p_id, f"project-{round_number}")
        )
        # Either the file came back first and went with its project, or it stayed deleted.
        assert restored.get("config_files", 0) == deleted.get("config_files", 0)
        assert await find_inconsistencies(database) == []


async def test_of_two_restores_of_one_deletion_one_does_nothing(database: Database) -> None:
    g_id = await make_group(database)
    await make_project(database, g_id)
    await _delete(database, "group", g_id, "course")
    restored = await asyncio.gather(_restore(database, "course"), _restore(database, "course"))
    assert sorted(restored, key=len) == [{}, {"group_list": 1, "project_list": 1}]


@pytest.mark.conformance("X-06")
@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_a_deletion_waits_for_a_writer_and_takes_what_it_wrote(database: Database) -> None:
    u_id, g_id = await make_user(database), await make_group(database)
    await make_member(database, u_id, g_id)
    p_id = await make_project(database, g_id)
    async with database.write() as tx:
        await forms.open_form(tx, Actor(u_id, "writer"), title="t", project_id=p_id)
        deleting = asyncio.create_task(_delete(database, "group", g_id, "course"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(deleting), 0.2)
    assert (await deleting)["forms"] == 1


@pytest.mark.conformance("X-06")
@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
@pytest.mark.parametrize("has_committed", [True, False])
async def test_a_row_where_there_was_none_when_it_was_counted_refuses_the_deletion(
    database: Database, has_committed: bool
) -> None:
    u_id, g_id = await make_user(database), await make_group(database)
    await make_member(database, u_id, g_id)
    p_id = await make_project(database, g_id)
    root = root_of("group", g_id)

    async def mark_as_counted(tx: Transaction, numbers: Numbers) -> dict[str, int]:
        return await mark(tx, root, "course", utc_now(), by_edge=numbers.by_edge)

    async def delete_beside_a_writer() -> None:
        async with database.write() as tx:
            assert await lock_root(tx, root)
            numbers = await count_deletion(tx, root)
            marking: asyncio.Task[dict[str, int]] | None = None
            async with database.write() as other:
                await forms.open_form(other, Actor(u_id, "writer"), title="t", project_id=p_id)
                if not has_committed:
                    marking = asyncio.create_task(mark_as_counted(tx, numbers))
                    # It waits for the writer, who holds the project.
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(asyncio.shield(marking), 0.2)
            await (marking or mark_as_counted(tx, numbers))

    with pytest.raises(SerializationError, match="beneath at the same moment"):
        await delete_beside_a_writer()
    assert await _marked(database, "course") == {}
    assert (await _delete(database, "group", g_id, "course"))["forms"] == 1


def _edges_a_locked_root_leaves_open() -> list[tuple[str, str]]:
    """By type of root, the foreign keys to rows beneath it, which are not locked with it."""
    return [
        (root_type, edge.name)
        for root_type, table in GRAPH.root_types.items()
        for child in closure_of(table).tables
        for edge in closure_of(table).edges_into(child)
        if edge.parent is not table and policy_of(child).deletion is Deletion.SOFT
    ]


def _way_from(root_type: str, edge: Edge) -> list[Edge]:
    """The foreign keys from the root to the parent of `edge`, each by the first way."""
    closure = closure_of(GRAPH.root_types[root_type])
    way: list[Edge] = []
    while edge.parent is not closure.root:
        edge = closure.edges_into(edge.parent)[0]
        way.insert(0, edge)
    return way


@pytest.mark.conformance("X-06")
@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
@pytest.mark.parametrize(("root_type", "edge_name"), _edges_a_locked_root_leaves_open())
async def test_a_first_row_on_any_foreign_key_after_the_count_refuses_the_deletion(
    database: Database, root_type: str, edge_name: str
) -> None:
    (edge,) = [each for each in GRAPH.edges if each.name == edge_name]
    table = GRAPH.root_types[root_type]
    row = await make_row(database, table)
    root = Root(root_type, tuple(str(row[column.name]) for column in table.primary_key))
    for step in _way_from(root_type, edge):
        row = await make_row(database, step.child, **{step.column.name: row[step.key.name]})

    async def delete_beside_a_writer() -> None:
        async with database.write() as tx:
            assert await lock_root(tx, root)
            numbers = await count_deletion(tx, root)
            assert edge_name not in numbers.by_edge
            await make_row(database, edge.child, **{edge.column.name: row[edge.key.name]})
            await mark(tx, root, "course", utc_now(), by_edge=numbers.by_edge)

    with pytest.raises(SerializationError, match="beneath at the same moment"):
        await delete_beside_a_writer()
    assert await _marked(database, "course") == {}
    counts = await _delete(database, root_type, root.id_text, "course")
    assert counts[edge.child.name] >= 1
    assert counts == await _marked(database, "course")
    assert await find_inconsistencies(database) == []


@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_what_is_protected_after_it_was_counted_is_not_marked(database: Database) -> None:
    g_id = await make_group(database)
    p_ids = [await make_project(database, g_id) for _ in range(2)]
    await make_config_file(database, p_ids[0])
    root = root_of("group", g_id)
    async with database.write() as tx:
        assert await lock_root(tx, root)
        numbers = await count_deletion(tx, root)
        async with database.write() as other:
            await other.fetch_text(f"UPDATE project_list SET deletion_protected = true WHERE p_id = '{p_ids[0]}'")
        counts = await mark(tx, root, "course", utc_now(), by_edge=numbers.by_edge)
    assert numbers.counts == {"group_list": 1, "project_list": 2, "config_files": 1}
    assert counts == {"group_list": 1, "project_list": 1}


@pytest.mark.conformance("X-06")
@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_a_writer_waits_for_a_deletion_and_is_refused(database: Database) -> None:
    u_id, g_id = await make_user(database), await make_group(database)
    await make_member(database, u_id, g_id)
    p_id = await make_project(database, g_id)
    async with database.write() as tx:
        root = root_of("group", g_id)
        assert await lock_root(tx, root)
        await _count_and_mark(tx, root, "course")
        writing = asyncio.create_task(
            _write(database, lambda tx: forms.open_form(tx, Actor(u_id, "writer"), title="t", project_id=p_id))
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(writing), 0.2)
    with pytest.raises(NotFoundError):
        await writing
