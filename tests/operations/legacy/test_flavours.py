"""The older schemas load with all their rows, and what is expected of them adds up."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.operations.legacy.expected import TARGETS, Expected, expected, planted_rows
from tests.operations.legacy.faults import FAULTY_ROWS
from tests.operations.legacy.flavours import FLAVOURS, REFERENCES, UNLINKED_COLUMNS, WELL_KNOWN_ADMIN_HASH, Flavour
from tests.operations.legacy.generated import FIRST
from tests.operations.legacy.loading import LegacyDatabase, make_legacy, open_legacy
from tests.operations.legacy.rows import GOOD_ROWS, Reason, Row

# What stands in the catalogue of each: keys between tables, views, and the type of the users' key.
_CATALOGUE = {
    "july_2025_first": (4, 4, "integer"),
    "july_2025": (5, 5, "integer"),
    "september_2025": (6, 6, "integer"),
    "december_2025": (0, 0, "bigint"),
    "january_2026": (3, 0, "bigint"),
    "january_2026_role_level": (3, 0, "bigint"),
    "february_2026": (6, 0, "bigint"),
    "mixed": (12, 6, "integer"),
    "seed7_mariadb": (0, 0, "int"),
    "seed7_postgresql": (0, 0, "integer"),
    "seed7_sqlite": (0, 0, "INTEGER"),
}
_FEBRUARY = (
    "audit_logs cluster_image_statuses config_files container_repositories container_tags course_workloads"
    " form_messages forms group_list group_pvcs group_storage_access_policies group_storage_permissions"
    " image_allow_lists image_requests persistent_volume_claims project_list project_pvc_bindings resource_list"
    " storage_hubs user_group users"
)
# What happens to some row of every older schema, and what only where it can.
_ALWAYS = {Reason.ORPHAN, Reason.RENAMED, Reason.UNKNOWN_KIND, Reason.YEAR_ONE, Reason.REFERENCES_RESOLVED}


@pytest.mark.parametrize("name", FLAVOURS)
def test_a_flavour_loads_with_all_its_rows(new_database: NewDatabase, name: str) -> None:
    flavour = FLAVOURS[name]
    url = new_database(flavour.engine)
    legacy = make_legacy(url, name, scale=25)
    with open_legacy(url) as database:
        found = {table: database.count(table) for table in database.tables()}
        assert {table: count for table, count in found.items() if count} == legacy.source_counts
        assert _catalogue(database, flavour) == _CATALOGUE[name]
        _check_planted_rows(database, legacy)
        _check_generated_rows(database, flavour)
        _check_new_row(database, flavour)


def _catalogue(database: LegacyDatabase, flavour: Flavour) -> tuple[int, int, str]:
    if database.engine == "sqlite":
        [(views,)] = database.run("SELECT count(*) FROM sqlite_schema WHERE type = 'view'")
        keys = [key for table in database.tables() for key in database.run(f"PRAGMA foreign_key_list({table})")]
        [(key_type,)] = database.run("SELECT type FROM pragma_table_info('users') WHERE pk")
        return len(keys), views, key_type
    schema = "current_schema()" if database.engine == "postgresql" else "DATABASE()"
    key = flavour.column("users", "u_id")
    [(keys,)] = database.run(
        f"SELECT count(*) FROM information_schema.referential_constraints WHERE constraint_schema = {schema}"
    )
    [(views,)] = database.run(f"SELECT count(*) FROM information_schema.views WHERE table_schema = {schema}")
    [(key_type,)] = database.run(
        "SELECT data_type FROM information_schema.columns"
        f" WHERE table_schema = {schema} AND table_name = 'users' AND column_name = '{key}'"
    )
    return keys, views, key_type


def _check_planted_rows(database: LegacyDatabase, legacy: Expected) -> None:
    """Each is found by its key, once."""
    for row in legacy.rows:
        condition = " AND ".join(f"{column} = %s" for column in row.key)
        found = database.run(f"SELECT count(*) FROM {row.table} WHERE {condition}", *row.key.values())
        assert found == [(1,)], (row.noun, row.name)


def _check_generated_rows(database: LegacyDatabase, flavour: Flavour) -> None:
    """None of them names a row that is not there."""
    for noun, columns in REFERENCES.items():
        for column, parent in columns.items():
            if noun not in flavour.tables or parent not in flavour.tables:
                continue
            key, named = flavour.column(noun, flavour.key(noun)[0]), flavour.column(noun, column)
            if named not in database.columns(flavour.tables[noun]):
                continue
            lost = database.run(
                f"SELECT count(*) FROM {flavour.tables[noun]} WHERE {key} BETWEEN {FIRST} AND {2 * FIRST}"
                f" AND {named} IS NOT NULL AND {named} NOT IN"
                f" (SELECT {flavour.key_columns(parent)[0]} FROM {flavour.tables[parent]})"
            )
            assert lost == [(0,)], (noun, column)


def _check_new_row(database: LegacyDatabase, flavour: Flavour) -> None:
    """The older program goes on above all numbers but the widest, and those it never reaches."""
    database.run("INSERT INTO users (username, password) VALUES ('latecomer', 'x')")
    key = flavour.column("users", "u_id")
    assert database.run(f"SELECT {key} FROM users WHERE username = 'latecomer'") == [(FIRST + 25,)]


def test_the_first_administrator_has_the_well_known_hash(new_database: NewDatabase) -> None:
    for name in ("september_2025", "february_2026"):
        url = new_database("postgresql")
        make_legacy(url, name, with_faults=False)
        with open_legacy(url) as database:
            assert database.run("SELECT u_id, password FROM users WHERE username = 'admin'") == [
                (1, WELL_KNOWN_ADMIN_HASH)
            ]
            assert database.run("SELECT u_id, g_id FROM user_group WHERE u_id = 1") == [(1, 1)]


def test_february_has_all_its_tables(new_database: NewDatabase) -> None:
    url = new_database("postgresql")
    make_legacy(url, "february_2026", with_faults=False)
    with open_legacy(url) as database:
        assert database.tables() == _FEBRUARY.split()


def test_another_engine_is_refused(new_database: NewDatabase) -> None:
    with pytest.raises(ValueError, match="schema of postgresql"):
        make_legacy(new_database("mariadb"), "september_2025")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["february_2026", "seed7_mariadb", "seed7_postgresql", "seed7_sqlite"])
def test_a_million_rows_load(new_database: NewDatabase, name: str) -> None:
    url = new_database(FLAVOURS[name].engine)
    legacy = make_legacy(url, name, scale=210_000, with_faults=False)
    with open_legacy(url) as database:
        found = {table: database.count(table) for table in legacy.source_counts}
    assert found == legacy.source_counts
    assert sum(found.values()) > 1_000_000


@pytest.mark.parametrize("name", FLAVOURS)
@pytest.mark.parametrize("with_faults", [False, True])
def test_what_names_a_missing_row_is_an_orphan(name: str, with_faults: bool) -> None:
    flavour = FLAVOURS[name]
    rows = planted_rows(flavour, with_faults=with_faults)
    there = {noun: {row.values[flavour.key(noun)[0]] for row in _of(rows, noun) if row.arrives} for noun in TARGETS}
    there["projects"] |= there["old_projects"]
    there["requests"] |= there["flat_requests"]
    for row in rows:
        missing = {
            (row.noun, column)
            for column, parent in REFERENCES.get(row.noun, {}).items()
            if parent in flavour.tables and row.values[column] is not None and row.values[column] not in there[parent]
        }
        assert bool(missing - UNLINKED_COLUMNS) == (Reason.ORPHAN in row.reasons), (row.noun, row.name)
        assert bool(missing & UNLINKED_COLUMNS) == (Reason.UNLINKED in row.reasons), (row.noun, row.name)
        assert with_faults or not missing


@pytest.mark.parametrize("name", FLAVOURS)
def test_rows_have_names_and_keys_of_their_own(name: str) -> None:
    rows = expected(name).rows
    assert not _twice((row.noun, row.name) for row in rows)
    assert not _twice((row.table, tuple(row.key.values())) for row in rows)
    arriving = [row for row in rows if row.target_key]
    assert not _twice((row.target_table, *(row.target_key or {}).values()) for row in arriving)


@pytest.mark.parametrize("name", FLAVOURS)
def test_every_flavour_has_the_faults_that_it_can_have(name: str) -> None:
    reasons = {reason for row in expected(name).rows for reason in row.reasons}
    assert reasons >= _ALWAYS
    lets = FLAVOURS[name].lets
    assert (Reason.HASHED_ID in reasons) == ("wide ids" in lets)
    assert (Reason.SOFT_DELETED in reasons) == ("soft deletion" in lets)
    assert (Reason.MERGED in reasons) == (name == "mixed")
    assert (Reason.PASSWORD_RESET in reasons) == ("no admin" not in lets)


def test_every_row_and_every_reason_is_in_some_flavour() -> None:
    planted = {(row.noun, row.name) for flavour in FLAVOURS.values() for row in planted_rows(flavour)}
    assert planted == {(row.noun, row.name) for row in (*GOOD_ROWS, *FAULTY_ROWS)}
    reasons = {reason for name in FLAVOURS for row in expected(name).rows for reason in row.reasons}
    assert reasons | {Reason.MADE_FROM_ROWS} == set(Reason)


def test_what_is_left_out_has_one_reason() -> None:
    for name in FLAVOURS:
        for row in expected(name).rows:
            assert row.arrives or len(row.reasons) == 1, (name, row.noun, row.name)


@pytest.mark.parametrize("name", FLAVOURS)
def test_counts_add_up(name: str) -> None:
    legacy = expected(name, scale=1000)
    counts = {table: legacy.count(table) for table in legacy.source_counts}
    assert {table: count.there for table, count in counts.items()} == legacy.source_counts
    for table, count in counts.items():
        generated = sum(number for noun, number in legacy.generated.items() if legacy.flavour.tables[noun] == table)
        copies = generated if table == legacy.flavour.tables.get("old_projects") else 0
        assert count.there == count.arriving + sum(count.left_out.values()) + copies
    arriving = sum(count.arriving for count in counts.values())
    assert sum(legacy.target_counts.values()) == arriving + sum(legacy.made.values())


def test_what_is_made_of_other_rows_is_counted() -> None:
    flat = {"container_repositories": 4, "container_tags": 4, "cluster_image_status": 2}
    assert expected("january_2026").made == flat
    # Beside the repositories, tags and states that February has already.
    assert expected("mixed").made == {"container_repositories": 2, "container_tags": 2}
    assert expected("july_2025_first", with_faults=False).made == {"config_files": 4}
    assert expected("february_2026").made == {}


def _of(rows: list[Row], noun: str) -> list[Row]:
    return [row for row in rows if row.noun == noun]


def _twice(items: Iterable[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    return {item for item, count in Counter(items).items() if count > 1}
