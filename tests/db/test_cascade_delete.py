"""TestCascadeDelete of the seed (4.1): what goes with a root, and what stays, whatever way the root leaves."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Table

from holdfast.db.engines.base import Database
from holdfast.db.errors import DatabaseError, ForeignKeyViolationError
from holdfast.db.lifecycle.bundle_file import open_bundle
from holdfast.features.deletions.types import Deleted
from tests.db.cascade_world import EMPTIED, GOES, CascadeWorld, Values
from tests.db.consistency import find_inconsistencies
from tests.db.rows import fetch, key_columns, make_row, parent_key, parent_of, run
from tests.db.test_foreign_keys import ALL_KEYS
from tests.instance import instance_settings
from tests.lifecycle.model import ROOT_TYPES
from tests.lifecycle.world import World

Remove = Callable[[Table, tuple[str, ...]], Awaitable[None]]

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
_each_root_softly = pytest.mark.parametrize(
    "root", [pytest.param(root, marks=pytest.mark.conformance("X-06", "X-08"), id=root) for root in GOES]
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


@pytest.fixture
async def service(database: Database, url: str, tmp_path: Path) -> World:
    """The product's own acts on the database, by its super administrator."""
    service = World(database, instance_settings(url, tmp_path))
    await service.start()
    return service


@pytest.fixture(params=["sql", "purge"])
def remove(request: pytest.FixtureRequest, database: Database, service: World) -> Remove:
    """The two ways in which a row leaves with all that hangs on it: raw SQL, and a deletion that is purged."""

    async def by_sql(table: Table, key: tuple[str, ...]) -> None:
        names = [column.name for column in table.primary_key]
        condition = " AND ".join(f"{name} = '{part}'" for name, part in zip(names, key, strict=True))
        await run(database, f"DELETE FROM {table.name} WHERE {condition}")

    async def by_purge(table: Table, key: tuple[str, ...]) -> None:
        deleted = await delete_softly(service, table, key)
        assert await service.purge(deleted.deletion_id) > 0

    return by_sql if request.param == "sql" else by_purge


@pytest.fixture
async def refused_marks(database: Database) -> AsyncIterator[None]:
    """A database that lets nobody change a resource."""
    refusal = {
        "sqlite": "BEGIN SELECT RAISE(ABORT, 'refused'); END",
        "postgresql": "EXECUTE FUNCTION refuse_marks()",
        "mariadb": "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'",
    }
    if database.dialect_name == "postgresql":
        await run(
            database,
            "CREATE FUNCTION refuse_marks() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$",
        )
    await run(
        database,
        f"CREATE TRIGGER refuse_marks BEFORE UPDATE ON resources FOR EACH ROW {refusal[database.dialect_name]}",
    )
    yield
    await run(database, f"DROP TRIGGER refuse_marks{' ON resources' if database.dialect_name == 'postgresql' else ''}")
    if database.dialect_name == "postgresql":
        await run(database, "DROP FUNCTION refuse_marks()")


class TestCascadeDelete:
    @_each_root
    async def test_exactly_what_hangs_on_a_root_goes(
        self, database: Database, world: CascadeWorld, remove: Remove, root: str
    ) -> None:
        before = await world.found(database)
        await remove(world.tables[root], world.key(root))
        assert without_versions(await world.found(database), root) == after_removal(before, root)
        assert await find_inconsistencies(database) == []

    @pytest.mark.conformance("C-12")
    @pytest.mark.parametrize("reference", ALL_KEYS)
    async def test_each_foreign_key_follows_its_rule(self, database: Database, remove: Remove, reference: str) -> None:
        table, column = key_columns(reference)
        parent = parent_of(column)
        key, other = await parent_key(database, column), await parent_key(database, column)
        for each in (key, other):
            await make_row(database, table, **{column.name: each})
        await remove(parent.table, (key,))
        ours = f"{column.name} IS NULL OR {column.name} IN ('{key}', '{other}')"
        left = {row[0] for row in await fetch(database, f"SELECT {column.name} FROM {table.name} WHERE {ours}")}
        assert left == ({other} if ALL_KEYS[reference][1] == "CASCADE" else {other, None})

    @pytest.mark.conformance("C-11")
    @pytest.mark.usefixtures("kept_resource")
    @pytest.mark.parametrize("root", ["left group", "left project", "left file"])
    async def test_a_delete_that_fails_in_the_middle_leaves_all(
        self, database: Database, world: CascadeWorld, root: str
    ) -> None:
        before = await world.found(database)
        with pytest.raises((ForeignKeyViolationError, DatabaseError)):
            await run(database, f"DELETE FROM {world.tables[root].name} WHERE {world.condition(root)}")
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


class TestSoftCascade:
    """Deletion as people do it: the same rows as the cascade's, marked as one deletion, and nothing else touched."""

    @pytest.mark.conformance("S-02")
    @_each_root_softly
    async def test_a_deletion_marks_exactly_what_the_cascade_would_take(
        self, database: Database, world: CascadeWorld, service: World, root: str
    ) -> None:
        before = await world.found(database)
        deleted = await delete_softly(service, world.tables[root], world.key(root))
        after = await world.found(database)
        live_before = {label for label in before if before[label].get("deletion_id") == ""}
        marked = {label for label in after if after[label].get("deletion_id") == deleted.deletion_id}
        assert marked == live_before & GOES[root]
        for label in after.keys() - marked:
            assert after[label] == before[label]
        counts = Counter(world.tables[label].name for label in marked)
        assert deleted.counts == counts
        assert await find_inconsistencies(database) == []

    @pytest.mark.conformance("C-11")
    @pytest.mark.usefixtures("refused_marks")
    @pytest.mark.parametrize("root", ["left group", "left project", "left file"])
    async def test_a_deletion_that_fails_in_the_middle_leaves_all(
        self, database: Database, world: CascadeWorld, service: World, root: str
    ) -> None:
        before = await world.found(database)
        with pytest.raises(DatabaseError):
            await delete_softly(service, world.tables[root], world.key(root))
        assert await world.found(database) == before
        for table in ("deletions", "audit_logs"):
            action = "" if table == "deletions" else " WHERE action = 'delete'"
            assert await fetch(database, f"SELECT count(*) FROM {table}{action}") == [(0,)]

    @pytest.mark.conformance("C-11")
    @pytest.mark.usefixtures("kept_resource")
    async def test_a_purge_that_is_stopped_in_the_middle_loses_nothing_and_goes_on_later(
        self, database: Database, world: CascadeWorld, service: World
    ) -> None:
        before = await world.found(database)
        deleted = await delete_softly(service, world.tables["left group"], world.key("left group"))
        with pytest.raises((ForeignKeyViolationError, DatabaseError)):
            await service.purge(deleted.deletion_id)
        assert await find_inconsistencies(database) == []
        there = (await world.found(database)).keys()
        assert {"left resource", "left file", "left project", "left group"} <= there
        assert {label for label in before if label not in GOES["left group"]} <= there
        await run(database, f"DELETE FROM {_KEEPER}")
        await service.purge(deleted.deletion_id)
        after = await world.found(database)
        assert without_versions(after, "left group") == after_removal(before, "left group")

    @pytest.mark.conformance("X-09")
    async def test_audit_rows_of_a_purged_user_are_in_its_verified_bundle(
        self, database: Database, world: CascadeWorld, service: World
    ) -> None:
        deleted = await delete_softly(service, world.tables["left user"], world.key("left user"))
        await service.purge(deleted.deletion_id)
        ((path, sha256),) = await fetch(
            database, f"SELECT bundle_path, bundle_sha256 FROM deletions WHERE id = '{deleted.deletion_id}'"
        )
        bundle = open_bundle(Path(path))
        assert bundle.sha256 == sha256
        (page,) = bundle.pages("audit_logs.jsonl", 100)
        assert [msgspec.json.decode(line)["id"] for line in page] == [world.rows["left audit"]["id"]]
        told = await fetch(database, "SELECT user_id, actor_name FROM audit_logs WHERE action = 'purge'")
        assert set(told) == {(service.root.user_id, "admin")}


async def delete_softly(service: World, table: Table, key: tuple[str, ...]) -> Deleted:
    """Delete a root as a person does, by its plan."""
    (root_type,) = (noun for noun, name in ROOT_TYPES.items() if name == table.name)
    plan = await service.plan(root_type, (table.name, key))
    return await service.delete(root_type, (table.name, key), plan.token)


def after_removal(before: dict[str, Values], root: str) -> dict[str, Values]:
    """The rows that stay when a root goes, with their pointers emptied."""
    stay = {label: dict(values) for label, values in before.items() if label not in GOES[root]}
    for label, column in EMPTIED.get(root, set()):
        assert stay[label][column] is not None
        stay[label][column] = None
    return without_versions(stay, root)


def without_versions(rows: dict[str, Values], root: str) -> dict[str, Values]:
    """Without the versions of rows whose pointers are emptied: the purge raises them, the engine's cascade does not."""
    emptied = {label for label, _ in EMPTIED.get(root, set())}
    return {
        label: {name: value for name, value in values.items() if name != "updated_at" or label not in emptied}
        for label, values in rows.items()
    }


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
