"""The numbers of a deletion: exact, from one statement, and what the engine's own DELETE then does."""

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings

from holdfast.core.clock import utc_now
from holdfast.core.errors import InvalidInputError
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.graph import GRAPH, Rule
from holdfast.db.lifecycle.plan import Numbers, Root, count_deletion, lock_root, root_of
from holdfast.db.lifecycle.trash import mark
from holdfast.db.tables import course_workloads
from holdfast.db.tables.base import Deletion, policy_of
from tests.db.populations import (
    EMPTY_FOR_ALL_EXAMPLES,
    Population,
    State,
    delete_statement,
    fill,
    populations,
    read_state,
    undone,
)
from tests.db.rows import make_row
from tests.factories import (
    make_form,
    make_group,
    make_image_request,
    make_member,
    make_message,
    make_project,
    make_rule,
    make_user,
)

_POINTERS = [edge.column for edge in GRAPH.edges if edge.rule is Rule.SET_NULL]


@pytest.mark.conformance("C-12", "C-13")
@settings(max_examples=150, suppress_health_check=EMPTY_FOR_ALL_EXAMPLES)
@given(population=populations())
async def test_the_plan_is_what_the_engine_then_removes(database: Database, population: Population) -> None:
    async with undone(database) as tx:
        await fill(tx, population)
        for number, earlier in enumerate(population.roots[:-1]):
            await mark(tx, earlier, f"deletion-{number}", utc_now())
        before = await read_state(tx)
        numbers = await count_deletion(tx, population.roots[-1])
        await tx.fetch_text(delete_statement(population.roots[-1]))
        assert numbers == _differences(before, await read_state(tx), numbers)


def _differences(before: State, after: State, numbers: Numbers) -> Numbers:
    """What a deletion did to the database, as the plan tells it."""
    gone = [
        (name, row.get("deletion_id"))
        for name, rows in before.items()
        for key, row in rows.items()
        if key not in after[name]
    ]
    soft = {table.name for table in GRAPH.tables if policy_of(table).deletion is Deletion.SOFT}
    emptied = [
        f"{column.table.name}.{column.name}"
        for column in _POINTERS
        for key, row in after[column.table.name].items()
        if row[column.name] != before[column.table.name][key][column.name]
    ]
    return Numbers(
        counts=_counted(name for name, deletion in gone if deletion == ""),
        already_deleted=_counted(name for name, deletion in gone if deletion),
        at_purge=_counted(name for name, _ in gone if name not in soft),
        set_null=_counted(emptied),
        by_edge=numbers.by_edge,
        asking=numbers.asking,
        protected=numbers.protected,
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names))


async def _count(database: Database, root_type: str, id_text: str) -> Numbers:
    async with database.read() as tx:
        return await count_deletion(tx, root_of(root_type, id_text))


async def _mark(database: Database, root_type: str, id_text: str, deletion_id: str) -> None:
    async with database.write() as tx:
        assert await mark(tx, root_of(root_type, id_text), deletion_id, utc_now())


async def test_a_row_on_two_foreign_keys_is_counted_once(database: Database) -> None:
    ada, bob = await make_user(database), await make_user(database)
    own, other = await make_form(database, ada), await make_form(database, bob)
    for form_id, u_id in ((own, ada), (own, bob), (other, ada), (other, ada), (other, bob)):
        await make_message(database, form_id, u_id)
    numbers = await _count(database, "user", ada)
    assert numbers.counts == {"users": 1, "forms": 1, "form_messages": 4}
    assert numbers.by_edge == {"forms.user_id": 1, "form_messages.form_id": 2, "form_messages.user_id": 2}


async def test_what_an_earlier_deletion_took_is_told_apart(database: Database) -> None:
    ada = await make_user(database)
    p_id = await make_project(database, await make_group(database))
    gone = await make_form(database, ada, p_id)
    await make_message(database, gone, ada)
    await make_message(database, await make_form(database, ada, p_id), ada)
    await _mark(database, "form", gone, "earlier")
    numbers = await _count(database, "project", p_id)
    assert numbers.counts == {"project_list": 1, "forms": 1, "form_messages": 1}
    assert numbers.already_deleted == {"forms": 1, "form_messages": 1}


async def test_pointers_count_only_where_their_row_stays(database: Database) -> None:
    ada, bob = await make_user(database), await make_user(database)
    p_id = await make_project(database, await make_group(database))
    request_id = await make_image_request(database, bob, p_id, reviewer_id=ada)
    await make_image_request(database, ada, reviewer_id=ada)
    await make_rule(database, ada, p_id, request_id=request_id)
    deleted_rule = await make_rule(database, ada, request_id=request_id)
    await _mark(database, "image", deleted_rule, "earlier")
    assert (await _count(database, "user", ada)).set_null == {"image_requests.reviewer_id": 1}
    # The project's own rule goes with the project; the global one stays, though deleted, and loses its pointer.
    assert (await _count(database, "project", p_id)).set_null == {"image_allow_list.request_id": 1}
    assert (await _count(database, "image-request", request_id)).set_null == {"image_allow_list.request_id": 2}


@pytest.mark.parametrize("root_type", GRAPH.root_types)
async def test_a_plan_is_one_statement_for_every_type_of_root(database: Database, root_type: str) -> None:
    row = await make_row(database, GRAPH.root_types[root_type])
    root = Root(root_type, tuple(row[column.name] for column in GRAPH.root_types[root_type].primary_key))
    async with database.read() as tx:
        numbers = await count_deletion(tx, root)
        assert tx.statements_run == 1
    # A workload is pending until it is told otherwise.
    asking = {"course_workloads": 1} if root_type == "workload" else {}
    assert numbers == Numbers({root.table.name: 1}, {}, {}, {}, {}, asking)


async def test_what_may_ask_for_a_decision_and_what_is_protected_is_counted(database: Database) -> None:
    ada, g_id = await make_user(database), await make_group(database)
    await make_member(database, ada, g_id, "admin")
    await make_member(database, ada, await make_group(database))
    kept, plain, gone = [await make_project(database, g_id, deletion_protected=kept) for kept in (True, False, True)]
    await _mark(database, "project", gone, "earlier")
    for status in ("Pending", "Running", "Failed"):
        await make_row(
            database, course_workloads, user_id=ada, project_id=kept, status=status, k8s_pod_name=f"pod-{status}"
        )
    for is_enabled in (True, False):
        await make_rule(database, ada, plain, is_enabled=is_enabled)
    of_group = await _count(database, "group", g_id)
    assert (of_group.asking, of_group.protected) == ({"course_workloads": 2}, {"project_list": 1})
    of_user = await _count(database, "user", ada)
    assert of_user.asking == {"course_workloads": 2, "image_allow_list": 1, "user_group": 1}
    assert of_user.protected == {}
    assert (await _count(database, "member", f"{g_id}/{ada}")).asking == {"user_group": 1}
    assert (await _count(database, "project", plain)).asking == {}
    assert (await _count(database, "project", kept)).protected == {"project_list": 1}


async def test_a_root_that_is_not_there_has_no_numbers(database: Database) -> None:
    assert await _count(database, "group", "nothing") == Numbers({}, {}, {}, {}, {})


async def test_only_a_live_root_can_be_locked(database: Database) -> None:
    g_id = await make_group(database)
    for root_id, expected in ((g_id, True), ("nothing", False)):
        async with database.write() as tx:
            assert await lock_root(tx, root_of("group", root_id)) is expected
    await _mark(database, "group", g_id, "earlier")
    async with database.write() as tx:
        assert not await lock_root(tx, root_of("group", g_id))


def test_a_members_id_is_written_group_first() -> None:
    root = root_of("member", "physics/ada")
    assert root == Root("member", ("ada", "physics"))
    assert root.id_text == "physics/ada"


@pytest.mark.parametrize(("root_type", "id_text"), [("token", "x"), ("", "x"), ("member", "ada"), ("member", "a/b/c")])
def test_what_cannot_be_a_root_is_refused(root_type: str, id_text: str) -> None:
    with pytest.raises(InvalidInputError):
        root_of(root_type, id_text)
