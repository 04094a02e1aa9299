"""TestSoftDelete of the seed (4.2), on the rows themselves: marking, restoring one deletion, and what refuses it."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.errors import UniqueViolationError
from holdfast.db.lifecycle.graph import GRAPH, Edge, Rule
from holdfast.db.lifecycle.plan import count_deletion, root_of
from holdfast.db.lifecycle.trash import Conflict, count_marked, find_conflicts, mark, rename_taken, unmark
from holdfast.db.tables import metadata
from holdfast.db.tables.base import Deletion, policy_of
from tests.db.populations import EMPTY_FOR_ALL_EXAMPLES, Population, State, fill, populations, read_state, undone
from tests.db.rows import fetch, make_row
from tests.factories import (
    make_config_file,
    make_form,
    make_group,
    make_image_request,
    make_member,
    make_message,
    make_project,
    make_rule,
    make_token,
    make_user,
)

_CASCADES = [edge for edge in GRAPH.edges if edge.rule is Rule.CASCADE and "deletion_id" in edge.child.c]


@pytest.mark.conformance("S-02", "C-13")
@settings(max_examples=60, suppress_health_check=EMPTY_FOR_ALL_EXAMPLES)
@given(population=populations())
async def test_marking_takes_what_the_plan_says_and_restoring_gives_it_back(
    database: Database, population: Population
) -> None:
    async with undone(database) as tx:
        await fill(tx, population)
        before: dict[str, State] = {}
        for number, root in enumerate(population.roots):
            deletion_id = f"deletion-{number}"
            numbers = await count_deletion(tx, root)
            before[deletion_id] = await read_state(tx)
            # The way with the plan's numbers, and the one without.
            counts = await mark(tx, root, deletion_id, utc_now(), by_edge=None if number % 2 else numbers.by_edge)
            if not numbers.counts.get(root.table.name):
                assert counts == {}, "a root that is deleted already takes nothing"
                continue
            assert counts == numbers.counts == await count_marked(tx, deletion_id)
            state = await read_state(tx)
            assert _without(deletion_id, state) == before[deletion_id], "other rows are as they were"
            assert _live_beneath_deleted(state) == []
            assert numbers.by_edge == _first_edges(deletion_id, state)
        for deletion_id in reversed(before):
            assert await find_conflicts(tx, deletion_id) == []
            await unmark(tx, deletion_id)
            assert await read_state(tx) == before[deletion_id]


@pytest.mark.conformance("S-02", "S-03")
@settings(max_examples=60, suppress_health_check=EMPTY_FOR_ALL_EXAMPLES)
@given(population=populations())
async def test_a_restore_is_refused_exactly_where_a_parent_outside_is_deleted(
    database: Database, population: Population
) -> None:
    async with undone(database) as tx:
        await fill(tx, population)
        for number, root in enumerate(population.roots):
            await mark(tx, root, f"deletion-{number}", utc_now())
        state = await read_state(tx)
        for number in range(len(population.roots)):
            conflicts = await find_conflicts(tx, f"deletion-{number}")
            found = {(each.table, each.key, each.deletion_id) for each in conflicts}
            assert found == _deleted_parents(f"deletion-{number}", state)
            if not conflicts:
                await unmark(tx, f"deletion-{number}")
                state = await read_state(tx)
                assert _live_beneath_deleted(state) == []


def _without(deletion_id: str, state: State) -> State:
    """The state with the rows of that deletion live."""
    return {
        name: {
            key: {**row, "deletion_id": ""} if row.get("deletion_id") == deletion_id else row
            for key, row in rows.items()
        }
        for name, rows in state.items()
    }


def _first_edges(deletion_id: str, state: State) -> dict[str, int]:
    """The rows of a deletion by the first foreign key that ties them to another row of it."""
    first: Counter[str] = Counter()
    for table in GRAPH.soft_tables:
        into = [edge for edge in _CASCADES if edge.child is table]
        for row in state[table.name].values():
            if row["deletion_id"] == deletion_id:
                first.update([e.name for e in into if _deletion_of_parent(e, row, state) == deletion_id][:1])
    return dict(first)


def _live_beneath_deleted(state: State) -> list[str]:
    return [
        f"{edge.name} {key}"
        for edge in _CASCADES
        for key, row in state[edge.child.name].items()
        if row["deletion_id"] == "" and _deletion_of_parent(edge, row, state)
    ]


def _deleted_parents(deletion_id: str, state: State) -> set[tuple[str, str, str]]:
    """The deleted rows outside the deletion that its rows hang on, each with its own deletion."""
    return {
        (edge.parent.name, row[edge.column.name], deletion_of_parent)
        for edge in _CASCADES
        for row in state[edge.child.name].values()
        if row["deletion_id"] == deletion_id
        and (deletion_of_parent := _deletion_of_parent(edge, row, state)) not in ("", deletion_id)
    }


def _deletion_of_parent(edge: Edge, row: Mapping[str, Any], state: State) -> str:
    key = row[edge.column.name]
    return "" if key is None else str(state[edge.parent.name][(key,)]["deletion_id"])


async def _mark(database: Database, root_type: str, id_text: str, deletion_id: str) -> dict[str, int]:
    async with database.write() as tx:
        return await mark(tx, root_of(root_type, id_text), deletion_id, utc_now())


async def _unmark(database: Database, deletion_id: str) -> dict[str, int]:
    async with database.write() as tx:
        return await unmark(tx, deletion_id)


async def _conflicts(database: Database, deletion_id: str) -> list[Conflict]:
    async with database.write() as tx:
        return await find_conflicts(tx, deletion_id)


async def _live(database: Database, table: str) -> set[str]:
    (key, *_) = metadata.tables[table].primary_key
    return {row[0] for row in await fetch(database, f"SELECT {key.name} FROM {table} WHERE deletion_id = ''")}


@pytest.mark.conformance("S-03")
async def test_restore_brings_back_exactly_one_deletion(database: Database) -> None:
    p_id = await make_project(database, await make_group(database))
    first, second = await make_config_file(database, p_id, "a.yaml"), await make_config_file(database, p_id, "b.yaml")
    await _mark(database, "config-file", first, "one")
    await _mark(database, "config-file", second, "two")
    assert await _unmark(database, "one") == {"config_files": 1}
    assert await _live(database, "config_files") == {first}


@pytest.mark.conformance("S-03")
async def test_what_was_deleted_before_its_project_stays_deleted(database: Database) -> None:
    p_id = await make_project(database, await make_group(database))
    gone, kept = await make_config_file(database, p_id, "a.yaml"), await make_config_file(database, p_id, "b.yaml")
    await _mark(database, "config-file", gone, "file")
    assert await _mark(database, "project", p_id, "project") == {"project_list": 1, "config_files": 1}
    await _unmark(database, "project")
    assert await _live(database, "config_files") == {kept}
    await _unmark(database, "file")
    assert await _live(database, "config_files") == {gone, kept}


async def test_restoring_twice_does_nothing(database: Database) -> None:
    g_id = await make_group(database)
    await _mark(database, "group", g_id, "once")
    assert await _unmark(database, "once") == {"group_list": 1}
    assert await _unmark(database, "once") == {}


@pytest.mark.conformance("S-03")
async def test_a_restore_under_a_deleted_parent_says_what_to_restore_first(database: Database) -> None:
    p_id = await make_project(database, await make_group(database), "algebra")
    await _mark(database, "config-file", await make_config_file(database, p_id), "file")
    await _mark(database, "project", p_id, "project")
    (conflict,) = await _conflicts(database, "file")
    assert (conflict.kind, conflict.table, conflict.key) == ("parent", "project_list", p_id)
    assert (conflict.label, conflict.deletion_id) == ("algebra", "project")
    assert conflict.message == "its project algebra is deleted, too: restore deletion project first"


@pytest.mark.conformance("S-03")
async def test_a_name_can_be_used_again_and_then_refuses_the_restore(database: Database) -> None:
    old = await make_user(database, "ada")
    await _mark(database, "user", old, "ada-left")
    new = await make_user(database, "ada")
    (conflict,) = await _conflicts(database, "ada-left")
    assert (conflict.kind, conflict.table, conflict.key, conflict.label) == ("name", "users", old, "ada")
    with pytest.raises(UniqueViolationError):
        await _unmark(database, "ada-left")
    assert await _live(database, "users") == {new}


async def _rename(database: Database, deletion_id: str) -> dict[str, str]:
    async with database.write() as tx:
        renamed = await rename_taken(tx, deletion_id, now=utc_now())
        assert await find_conflicts(tx, deletion_id) == []
        await unmark(tx, deletion_id)
    return {each.old: each.new for each in renamed}


async def test_a_taken_name_is_replaced_where_asked(database: Database) -> None:
    await _mark(database, "user", await make_user(database, "ada"), "ada-left")
    await make_user(database, "ada")
    assert await _rename(database, "ada-left") == {"ada": "ada-restored"}
    assert len(await _live(database, "users")) == 2


async def test_a_new_name_is_free_among_live_rows_and_in_the_deletion_itself(database: Database) -> None:
    p_id = await make_project(database, await make_group(database))
    deleted = {"deletion_id": "files", "deleted_at": utc_now()}
    for name in ("web.yaml", "web-restored.yaml", "noext", ".hidden"):
        await make_config_file(database, p_id, name, **deleted)
    for name in ("web.yaml", "web-restored-2.yaml", "noext", ".hidden"):
        await make_config_file(database, p_id, name)
    # A name in another project takes nothing away.
    await make_config_file(database, await make_project(database, await make_group(database)), "web-restored-3.yaml")
    assert await _rename(database, "files") == {
        "web.yaml": "web-restored-3.yaml",
        "noext": "noext-restored",
        ".hidden": ".hidden-restored",
    }


async def test_a_new_name_is_not_longer_than_the_column(database: Database) -> None:
    p_id = await make_project(database, await make_group(database))
    name = "n" * 195 + ".yaml"
    await make_config_file(database, p_id, name, deletion_id="file", deleted_at=utc_now())
    await make_config_file(database, p_id, name)
    assert await _rename(database, "file") == {name: "n" * 186 + "-restored.yaml"}


async def test_names_that_follow_from_something_else_stay_conflicts(database: Database) -> None:
    rule = await make_rule(database, await make_user(database))
    ((full_name, repository_id),) = await fetch(database, "SELECT full_name, id FROM container_repositories")
    await _mark(database, "repository", repository_id, "images")
    await make_row(database, metadata.tables["container_repositories"], full_name=full_name)
    async with database.write() as tx:
        assert await rename_taken(tx, "images", now=utc_now()) == []
    assert [(each.kind, each.label) for each in await _conflicts(database, "images")] == [("name", full_name)]
    assert rule not in await _live(database, "image_allow_list")


@pytest.mark.conformance("S-01")
async def test_what_is_deleted_is_in_no_view(database: Database) -> None:
    u_id, g_id = await make_user(database, "ada"), await make_group(database)
    await make_member(database, u_id, g_id)
    await _mark(database, "user", u_id, "ada-left")
    assert await fetch(database, "SELECT * FROM users_with_superadmin") == []
    assert await fetch(database, "SELECT * FROM user_group_views") == []
    assert await fetch(database, "SELECT user_count FROM project_group_views") == [(0,)]
    await _unmark(database, "ada-left")
    assert await fetch(database, "SELECT u_id, g_id FROM user_group_views") == [(u_id, g_id)]


@pytest.mark.conformance("S-02")
async def test_pointers_survive_deletion_and_restore(database: Database) -> None:
    ada, bob = await make_user(database), await make_user(database)
    request_id = await make_image_request(database, bob, reviewer_id=ada)
    rule_id = await make_rule(database, ada, request_id=request_id)
    pointers = "SELECT r.id, r.reviewer_id, a.id, a.request_id FROM image_requests r, image_allow_list a"
    await _mark(database, "user", ada, "ada-left")
    assert await fetch(database, pointers) == [(request_id, ada, rule_id, request_id)]
    await _unmark(database, "ada-left")
    assert await fetch(database, pointers) == [(request_id, ada, rule_id, request_id)]


async def test_tokens_of_a_deleted_user_are_revoked_for_good(database: Database) -> None:
    u_id = await make_user(database)
    await make_token(database, u_id)
    long_ago = utc_now() - timedelta(days=1)
    await make_token(database, u_id, revoked_at=long_ago)
    before = await fetch(database, "SELECT revoked_at FROM tokens WHERE revoked_at IS NOT NULL")
    assert await _mark(database, "user", u_id, "left") == {"users": 1, "tokens": 2}
    assert await _unmark(database, "left") == {"users": 1, "tokens": 2}
    after = await fetch(database, "SELECT revoked_at FROM tokens ORDER BY revoked_at")
    assert len(after) == 2
    assert after[0] == before[0]
    assert after[1] > before[0]


async def test_a_member_can_be_deleted_and_restored_alone(database: Database) -> None:
    ada, bob, g_id = await make_user(database), await make_user(database), await make_group(database)
    for u_id in (ada, bob):
        await make_member(database, u_id, g_id)
    assert await _mark(database, "member", f"{g_id}/{ada}", "left") == {"user_group": 1}
    assert await _live(database, "user_group") == {bob}
    assert await _unmark(database, "left") == {"user_group": 1}
    assert await _live(database, "user_group") == {ada, bob}


async def _statements_of_a_course(database: Database, forms_in_it: int) -> list[int]:
    u_id, g_id = await make_user(database), await make_group(database)
    p_id = await make_project(database, g_id)
    for _ in range(forms_in_it):
        await make_message(database, await make_form(database, u_id, p_id), u_id)
    runs = []
    async with database.write() as tx:
        await mark(tx, root_of("group", g_id), g_id, utc_now())
        runs.append(tx.statements_run)
        await find_conflicts(tx, g_id)
        runs.append(tx.statements_run)
        await unmark(tx, g_id)
        runs.append(tx.statements_run)
    return runs


async def test_the_number_of_statements_does_not_depend_on_the_number_of_rows(database: Database) -> None:
    assert await _statements_of_a_course(database, 1) == await _statements_of_a_course(database, 7)


def test_every_table_with_soft_deletion_is_marked_and_restored() -> None:
    """A table that is neither a root nor beneath one could never be deleted."""
    reached = {table for root in GRAPH.root_types.values() for table in GRAPH.beneath(root)}
    soft = {table for table in GRAPH.tables if policy_of(table).deletion is Deletion.SOFT}
    assert soft <= reached
