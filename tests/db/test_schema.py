"""The live schema holds every fact of rules/schema_facts.toml."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.types import JSON, BigInteger, Boolean, DateTime, Integer, String, Text, TypeEngine

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.errors import CheckViolationError, UniqueViolationError, UnstorableValueError
from holdfast.db.tables import metadata
from tests.db.live import LiveTable, live_tables
from tests.db.rows import fetch, make_row, run
from tests.rules.schema_facts import FOREIGN_KEY_FACTS, TABLE_FACTS, ColumnFact, TableFact

_SPECIFICATION = Path(__file__).resolve().parents[3] / "shared" / "spec"
_KINDS: dict[str, tuple[type[TypeEngine[Any]], ...]] = {
    "string": (String,),
    "text": (Text, String),
    "json": (JSON, Text, String),
    "int": (Integer,),
    "bigint": (BigInteger,),
    "bool": (Boolean, Integer),
    "timestamp": (DateTime,),
}
_LOOKUPS = [(table, columns) for table in TABLE_FACTS for columns in table.lookups]
_ID_COLUMNS = {
    "T-04": ["config_files.cf_id", "resources.r_id"],
    "T-05": ["course_workloads.id"],
    "T-06": [
        "forms.id",
        "form_messages.id",
        "container_repositories.id",
        "container_tags.id",
        "image_requests.id",
        "image_allow_list.id",
        "cluster_image_status.id",
    ],
}
_NULLABLE_KEYS = {
    "forms.project_id",
    "image_requests.project_id",
    "image_requests.reviewer_id",
    "image_allow_list.project_id",
    "image_allow_list.tag_id",
    "image_allow_list.request_id",
}


def _named(table: TableFact) -> str:
    return table.name


@pytest.fixture(scope="session")
def live(shared_database: Any) -> dict[str, LiveTable]:
    return live_tables(shared_database.settings.database_url, list(metadata.tables))


def _column_fault(live: LiveTable, fact: ColumnFact, engine: str) -> str | None:
    found = live.columns.get(fact.name)
    if found is None:
        return f"{fact.reference} is missing"
    if found["nullable"] != fact.nullable:
        return f"{fact.reference} has the wrong nullability"
    # SQLite has no timestamps, booleans and JSON of its own.
    if engine != "sqlite" and not isinstance(found["type"], _KINDS[fact.kind]):
        return f"{fact.reference} is {found['type']!r}, not {fact.kind}"
    if fact.width is not None and found["type"].length != fact.width:
        return f"{fact.reference} is {found['type'].length} wide, not {fact.width}"
    if fact.parent and live.foreign_keys.get(fact.name) != (fact.parent, fact.on_delete, "CASCADE"):
        return f"{fact.reference} has the foreign key {live.foreign_keys.get(fact.name)}"
    return None


@pytest.mark.conformance("T-02")
@pytest.mark.parametrize("fact", TABLE_FACTS, ids=_named)
def test_a_table_holds_all_that_is_asked_of_it(live: dict[str, LiveTable], engine: str, fact: TableFact) -> None:
    table = live[fact.name]
    faults = [_column_fault(table, column, engine) for column in fact.columns]
    assert [fault for fault in faults if fault] == []
    assert table.key == fact.key
    for columns in fact.unique:
        assert any(set(unique) == set(columns) for unique in table.uniques), columns


@pytest.mark.conformance("T-02")
@pytest.mark.skipif(not _SPECIFICATION.exists(), reason="the specification is not beside the repository")
def test_the_facts_are_those_of_the_specification() -> None:
    written = tomllib.loads((_SPECIFICATION / "schema.toml").read_text(encoding="utf-8"))["tables"]
    assert [fact.name for fact in TABLE_FACTS] == list(written)
    for fact in TABLE_FACTS:
        wanted = written[fact.name]
        keys = {key["column"]: (key["references"], key["on_delete"]) for key in wanted.get("foreign_keys", [])}
        ours = {column.name: (column.parent, column.on_delete) for column in fact.columns if column.parent}
        assert ours == keys
        assert fact.lookups == wanted["indexes"]
        assert fact.key == wanted["primary_key"]
        assert {column.name: list(column.values) for column in fact.columns if column.values} == wanted.get(
            "values", {}
        )
        for name, kind in wanted["columns"].items():
            (column,) = (each for each in fact.columns if each.name == name)
            width = f"({column.width})" if column.width else ""
            assert f"{column.kind}{width}{'?' if column.nullable else ''}" == kind


@pytest.mark.conformance("T-02")
@pytest.mark.skipif(not _SPECIFICATION.exists(), reason="the specification is not beside the repository")
def test_the_checker_of_the_specification_finds_nothing_missing(url: str, engine: str) -> None:
    driver = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}[engine]
    address = make_url(url).set(drivername=driver).render_as_string(hide_password=False)
    checker = [sys.executable, str(_SPECIFICATION / "check_schema.py"), address]
    done = subprocess.run(checker, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        # The specification numbers 56 of its entries; those beyond share the last number.
        pytest.param(
            table.name,
            columns,
            id=f"{table.name}({','.join(columns)})",
            marks=pytest.mark.conformance(f"I-{min(number, 56):02}"),
        )
        for number, (table, columns) in enumerate(_LOOKUPS, 1)
    ],
)
def test_an_index_begins_with_the_columns(live: dict[str, LiveTable], table: str, columns: list[str]) -> None:
    assert live[table].begins_an_index(columns)


@pytest.mark.conformance("I-57")
@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_every_foreign_key_leads_an_index(live: dict[str, LiveTable], table: Any) -> None:
    assert [column for column in live[table.name].foreign_keys if not live[table.name].begins_an_index([column])] == []


@pytest.mark.conformance("I-58")
def test_the_composite_indexes_of_audit_and_membership_exist(live: dict[str, LiveTable]) -> None:
    assert live["audit_logs"].begins_an_index(["user_id", "action", "resource_type"])
    assert live["user_group"].begins_an_index(["u_id", "g_id"])


@pytest.mark.parametrize(
    "references",
    [pytest.param(columns, id=row, marks=pytest.mark.conformance(row)) for row, columns in _ID_COLUMNS.items()],
)
def test_an_id_is_a_string_of_21(live: dict[str, LiveTable], references: list[str]) -> None:
    for reference in references:
        table, _, column = reference.partition(".")
        assert isinstance(live[table].columns[column]["type"], String), reference
        assert live[table].columns[column]["type"].length == 21, reference


@pytest.mark.conformance("T-07")
async def test_audit_rows_are_numbered_by_the_database(database: Database) -> None:
    audit = metadata.tables["audit_logs"]
    for _ in range(3):
        await make_row(database, audit)
    numbers = [row[0] for row in await fetch(database, "SELECT id FROM audit_logs ORDER BY created_at, id")]
    assert all(isinstance(number, int) for number in numbers)
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 3


@pytest.mark.conformance("T-08")
def test_a_foreign_key_is_as_wide_as_its_parent(live: dict[str, LiveTable]) -> None:
    compared = 0
    for table in live.values():
        for column, (target, _, _) in table.foreign_keys.items():
            parent, _, parent_column = target.partition(".")
            assert table.columns[column]["type"].length == live[parent].columns[parent_column]["type"].length
            compared += 1
    assert compared >= 22


@pytest.mark.conformance("T-32")
def test_only_the_optional_foreign_keys_may_be_empty(live: dict[str, LiveTable]) -> None:
    nullable = {fact.reference for fact in FOREIGN_KEY_FACTS if live[fact.table].columns[fact.name]["nullable"]}
    assert nullable == _NULLABLE_KEYS


@pytest.mark.conformance("T-33")
@pytest.mark.parametrize(
    "fact",
    [column for table in TABLE_FACTS for column in table.columns if column.values],
    ids=lambda fact: fact.reference,
)
async def test_a_listed_column_takes_its_values_and_no_others(database: Database, fact: ColumnFact) -> None:
    table = metadata.tables[fact.table]
    for value in fact.values:
        await make_row(database, table, **{fact.name: value})
    for value in ("", "nonsense", fact.values[0].swapcase(), fact.values[0] + " "):
        with pytest.raises(CheckViolationError):
            await make_row(database, table, **{fact.name: value})


@pytest.mark.conformance("T-34")
@pytest.mark.parametrize("fact", [table for table in TABLE_FACTS if table.defaults], ids=_named)
async def test_a_row_that_names_no_value_gets_the_default(database: Database, fact: TableFact) -> None:
    await make_row(database, metadata.tables[fact.name])
    (row,) = await fetch(database, f"SELECT {', '.join(fact.defaults)} FROM {fact.name}")
    assert list(row) == list(fact.defaults.values())


@pytest.mark.conformance("T-34")
@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
async def test_a_string_fits_its_width_and_a_longer_one_is_refused(database: Database, table: Any) -> None:
    listed = {
        column.name for fact in TABLE_FACTS if fact.name == table.name for column in fact.columns if column.values
    }
    listed |= {"kind", "state", "outcome", "deletion_id"}
    for column in table.columns:
        width = getattr(column.type, "width", None)
        if width is None or column.foreign_keys or column.name in listed:
            continue
        letter = "é" if type(column.type).__name__ == "Words" else "x"
        await make_row(database, table, **{column.name: letter * width})
        with pytest.raises(UnstorableValueError):
            await make_row(database, table, **{column.name: letter * (width + 1)})


@pytest.mark.parametrize(
    ("table", "shared"),
    [
        pytest.param(name, shared, id=name, marks=pytest.mark.conformance(row))
        for row, name, shared in [
            ("T-36", "users", ["username"]),
            ("T-36", "config_files", ["project_id", "filename"]),
            ("T-36", "resources", ["cf_id", "name"]),
            ("T-36", "course_workloads", ["k8s_pod_name"]),
            ("T-37", "container_repositories", ["full_name"]),
            ("T-37", "container_tags", ["repository_id", "name"]),
            ("T-37", "cluster_image_status", ["tag_id"]),
        ]
    ],
)
async def test_a_key_is_unique_among_live_rows_alone(database: Database, table: str, shared: list[str]) -> None:
    made = metadata.tables[table]
    first = await make_row(database, made)
    same = {name: first[name] for name in shared}
    with pytest.raises(UniqueViolationError):
        await make_row(database, made, **same)
    (key,) = made.primary_key.columns
    deleting = f"UPDATE {table} SET deleted_at = CURRENT_TIMESTAMP, deletion_id = 'one'"
    await run(database, f"{deleting} WHERE {key.name} = '{first[key.name]}'")
    await make_row(database, made, **same)
    await make_row(database, made, **same, deleted_at=utc_now(), deletion_id="two")
    with pytest.raises(UniqueViolationError):
        await make_row(database, made, **same, deleted_at=utc_now(), deletion_id="two")


@pytest.mark.conformance("T-36")
async def test_a_user_is_a_member_of_a_group_once(database: Database) -> None:
    membership = await make_row(database, metadata.tables["user_group"])
    with pytest.raises(UniqueViolationError):
        await make_row(database, metadata.tables["user_group"], **membership)


@pytest.mark.conformance("T-38")
async def test_one_group_alone_is_named_super(database: Database) -> None:
    groups = metadata.tables["group_list"]
    with pytest.raises(CheckViolationError):
        await make_row(database, groups, group_name="super")
    await make_row(database, groups, group_name="super", g_id="super_group")
    with pytest.raises(UniqueViolationError):
        await make_row(database, groups, group_name="super", g_id="super_group")
    await make_row(database, groups, group_name="Super")


async def test_a_row_is_deleted_exactly_when_it_has_a_deletion(database: Database) -> None:
    for table in (metadata.tables[fact.name] for fact in TABLE_FACTS if fact.soft_delete):
        with pytest.raises(CheckViolationError):
            await make_row(database, table, deletion_id="one")
        with pytest.raises(CheckViolationError):
            await make_row(database, table, deleted_at=utc_now())
        await make_row(database, table, deleted_at=utc_now(), deletion_id="one")


@pytest.mark.parametrize(("first", "second"), [("aB", "Ab"), ("id", "id "), ("e-1", "é-1")])
async def test_names_that_differ_in_one_byte_are_two(database: Database, first: str, second: str) -> None:
    users = metadata.tables["users"]
    await make_row(database, users, username=first)
    await make_row(database, users, username=second)
    if first.isascii() and second.isascii():
        await make_row(database, users, u_id=first)
        await make_row(database, users, u_id=second)
