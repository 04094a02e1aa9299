"""TestCascadeDelete of the seed (4.1): what goes with a root, and what stays, whatever way the root leaves."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.db.engines.base import Database
from holdfast.db.errors import DatabaseError, ForeignKeyViolationError
from tests.db.cascade_world import EMPTIED, GOES, CascadeWorld
from tests.db.consistency import find_inconsistencies
from tests.db.rows import fetch, key_columns, make_row, parent_key, parent_of, run
from tests.db.test_foreign_keys import ALL_KEYS

# The lines of the seed's trees (2.1) and what the keys of 1.3 to 1.5 imply: the root, and the table or pointer.
SEED_LINES = {
    "left user": "user_group forms form_messages image_requests image_allow_list audit_logs course_workloads"
    " image_requests.reviewer_id",
    "left group": "user_group project_list config_files resources forms form_messages image_allow_list"
    " image_requests course_workloads",
    "left project": "config_files resources forms form_messages image_requests course_workloads image_allow_list",
    "left file": "resources",
    "left form": "form_messages",
    "left request": "image_allow_list.request_id",
    "right repository": "container_tags image_allow_list cluster_image_status",
    "right tag": "image_allow_list cluster_image_status",
}
_CONFORMANCE = {
    "left user": ("C-01", "C-02", "C-03", "C-12"),
    "left group": ("C-04", "C-05", "C-12"),
    "left project": ("C-06", "C-12"),
    "left file": ("C-07", "C-12"),
    "left form": ("C-08", "C-12"),
    "left request": ("C-09", "C-12"),
    "right repository": ("C-10", "C-12"),
    "right tag": ("C-10", "C-12"),
}
_each_root = pytest.mark.parametrize(
    "root",
    [pytest.param(root, marks=pytest.mark.conformance("X-06", *_CONFORMANCE.get(root, ())), id=root) for root in GOES],
)
# An operator's own table, whose rows hold what they name: a cascade that reaches them fails in the middle.
_KEEPER = "operators_own_table"


@pytest.fixture
async def world(database: Database) -> CascadeWorld:
    """A database with both sides."""
    world = CascadeWorld()
    await world.fill(database)
    return world


@pytest.fixture
async def kept_resource(database: Database, world: CascadeWorld) -> AsyncIterator[None]:
    """A resource of the left side that no cascade can take."""
    column = {"mariadb": "VARCHAR(21) CHARACTER SET ascii COLLATE ascii_nopad_bin"}
    await run(
        database,
        f"CREATE TABLE {_KEEPER} (r_id {column.get(database.dialect_name, 'VARCHAR(21)')} NOT NULL,"
        " FOREIGN KEY (r_id) REFERENCES resources (r_id) ON DELETE RESTRICT)",
    )
    await run(database, f"INSERT INTO {_KEEPER} VALUES ('{world.rows['left resource']['r_id']}')")
    yield
    await run(database, f"DROP TABLE {_KEEPER}")


class TestCascadeDelete:
    @_each_root
    async def test_exactly_what_hangs_on_a_root_goes(self, database: Database, world: CascadeWorld, root: str) -> None:
        before = await world.found(database)
        await delete_by_sql(database, world, root)
        assert await world.found(database) == after_deletion(before, root)
        assert await find_inconsistencies(database) == []

    @pytest.mark.parametrize("reference", ALL_KEYS)
    async def test_each_foreign_key_follows_its_rule(self, database: Database, reference: str) -> None:
        table, column = key_columns(reference)
        parent = parent_of(column)
        key, other = await parent_key(database, column), await parent_key(database, column)
        for each in (key, other):
            await make_row(database, table, **{column.name: each})
        await run(database, f"DELETE FROM {parent.table.name} WHERE {parent.name} = '{key}'")
        left = {row[0] for row in await fetch(database, f"SELECT {column.name} FROM {table.name}")}
        assert left == ({other} if ALL_KEYS[reference][1] == "CASCADE" else {other, None})

    @pytest.mark.conformance("C-11")
    @pytest.mark.usefixtures("kept_resource")
    @pytest.mark.parametrize("root", ["left group", "left project", "left file"])
    async def test_a_delete_that_fails_in_the_middle_leaves_all(
        self, database: Database, world: CascadeWorld, root: str
    ) -> None:
        before = await world.found(database)
        with pytest.raises((ForeignKeyViolationError, DatabaseError)):
            await delete_by_sql(database, world, root)
        assert await world.found(database) == before

    @pytest.mark.conformance("C-11")
    async def test_a_transaction_that_fails_later_leaves_all(self, database: Database, world: CascadeWorld) -> None:
        before = await world.found(database)
        group = world.rows["left group"]["g_id"]

        async def delete_and_fail() -> None:
            async with database.write() as tx:
                await tx.fetch_text(f"DELETE FROM group_list WHERE g_id = '{group}'")
                await tx.fetch_text("INSERT INTO user_group (u_id, g_id) VALUES ('nobody', 'nowhere')")

        with pytest.raises(ForeignKeyViolationError):
            await delete_and_fail()
        assert await world.found(database) == before


async def delete_by_sql(database: Database, world: CascadeWorld, root: str) -> None:
    """Delete the root alone, and leave the rest to the database."""
    await run(database, f"DELETE FROM {world.tables[root].name} WHERE {world.condition(root)}")


def after_deletion(before: dict[str, dict[str, Any]], root: str) -> dict[str, dict[str, Any]]:
    """The rows that stay when a root goes, with their pointers emptied."""
    stay = {label: dict(values) for label, values in before.items() if label not in GOES[root]}
    for label, column in EMPTIED.get(root, set()):
        assert stay[label][column] is not None
        stay[label][column] = None
    return stay


@pytest.mark.parametrize("root", SEED_LINES)
def test_the_expected_rows_hold_every_line_of_the_seeds_trees(root: str) -> None:
    world = CascadeWorld()
    going = {world.tables[label].name for label in GOES[root] - {root}}
    emptied = {f"{world.tables[label].name}.{column}" for label, column in EMPTIED.get(root, set())}
    assert going | emptied >= set(SEED_LINES[root].split())


@pytest.mark.parametrize("reference", ALL_KEYS)
def test_the_world_has_a_row_for_every_foreign_key(reference: str) -> None:
    world = CascadeWorld()
    table, column = key_columns(reference)
    naming = {label for label, row in world.rows.items() if world.tables[label] is table and row.get(column.name)}
    assert naming, f"{reference}: give the world a row that names its parent"
