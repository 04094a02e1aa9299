"""What every table must have, and what no table may have. A failure says what to add, and where."""

import pytest
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Table, UniqueConstraint

from holdfast.db.tables import metadata
from holdfast.db.tables.base import Deletion, policy_of
from tests.rules.schema_facts import TABLE_FACTS

_each_table = pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
_LOOKUPS = {(fact.name, tuple(columns)) for fact in TABLE_FACTS for columns in fact.lookups}
_SOFT = [table for table in metadata.sorted_tables if policy_of(table).deletion is Deletion.SOFT]


def _keys(table: Table) -> dict[str, tuple[str, ...]]:
    """Every index, unique key and the primary key, by name."""
    keys = {str(table.primary_key.name): tuple(column.name for column in table.primary_key.columns)}
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            keys[str(constraint.name)] = tuple(column.name for column in constraint.columns)
    for index in table.indexes:
        keys[str(index.name)] = tuple(column.name for column in index.columns)
    return keys


def _checks(table: Table) -> list[CheckConstraint]:
    return [check for check in table.constraints if isinstance(check, CheckConstraint)]


@_each_table
def test_a_table_says_how_its_rows_leave(table: Table) -> None:
    retention = policy_of(table).retention
    assert retention, f"{table.name}: name the setting that says how long its rows stay"


def test_the_tables_of_the_specification_are_deleted_as_it_says() -> None:
    for fact in TABLE_FACTS:
        wanted = Deletion.SOFT if fact.soft_delete else Deletion.PURGE_ONLY
        assert metadata.tables[fact.name].info["policy"].deletion is wanted, fact.name
        assert metadata.tables[fact.name].info["policy"].in_bundle, fact.name


@pytest.mark.conformance("S-01")
@pytest.mark.parametrize("table", _SOFT, ids=lambda table: table.name)
def test_a_table_of_soft_deletes_has_all_they_need(table: Table) -> None:
    assert table.c.deleted_at.nullable
    assert not table.c.deletion_id.nullable
    assert table.c.deletion_id.server_default is not None
    assert f"ck_{table.name}_deleted_has_deletion" in {str(check.name) for check in _checks(table)}
    assert ("deletion_id",) in _keys(table).values(), f"{table.name} needs an index on deletion_id alone"


@_each_table
def test_only_soft_deletes_have_their_columns(table: Table) -> None:
    assert ("deletion_id" in table.c) == (table in _SOFT)
    assert ("deleted_at" in table.c) == (table in _SOFT)


@_each_table
def test_a_foreign_key_says_its_rules_and_leads_an_index(table: Table) -> None:
    for constraint in table.constraints:
        if not isinstance(constraint, ForeignKeyConstraint):
            continue
        assert constraint.onupdate == "CASCADE", f"{constraint.name} needs onupdate='CASCADE'"
        assert constraint.ondelete in ("CASCADE", "SET NULL"), f"{constraint.name} needs an ondelete"
        (column,) = constraint.columns
        parent = constraint.elements[0].column
        assert type(column.type) is type(parent.type), f"{constraint.name}: its parent has another type"
        assert column.type.width == parent.type.width, f"{constraint.name}: its parent has another width"  # type: ignore[attr-defined]
        assert any(key[0] == column.name for key in _keys(table).values()), (
            f"{table.name}.{column.name} leads no index: a delete of its parent would read the whole table;"
            " leave out index=False, or begin another key with it"
        )


@_each_table
def test_no_check_is_on_a_column_that_is_emptied_by_its_parent(table: Table) -> None:
    """MariaDB refuses such a table (error 1901)."""
    emptied = {key.parent.name for key in table.foreign_keys if key.ondelete == "SET NULL"}
    for check in _checks(table):
        # Those of one dialect are never made on MariaDB.
        if "dialect" not in check.info:
            assert not any(column in str(check.sqltext) for column in emptied), f"{check.name} is on an emptied column"


@_each_table
def test_no_index_repeats_the_beginning_of_another(table: Table) -> None:
    keys = _keys(table)
    for name, columns in keys.items():
        longer = [other for other, key in keys.items() if other != name and key[: len(columns)] == columns]
        if not longer or name == str(table.primary_key.name) or name.startswith("uq_"):
            continue
        by_name = (table.name, columns) in _LOOKUPS and all(keys[other] == columns for other in longer)
        assert by_name, f"{name} is the beginning of {longer[0]}, which serves the same look-ups: drop {name}"


@_each_table
def test_every_constraint_has_a_name(table: Table) -> None:
    unnamed = [constraint for constraint in table.constraints if constraint.name is None]
    assert unnamed == []
    names = [str(constraint.name) for constraint in table.constraints]
    names += [str(index.name) for index in table.indexes]
    long = [name for name in names if len(name) > 63]
    assert long == [], "PostgreSQL cuts names at 63 characters"


@_each_table
def test_a_live_key_holds_the_deletion(table: Table) -> None:
    """On a table of soft deletes a unique key without `deletion_id` would keep the name of a deleted row taken."""
    if table not in _SOFT:
        return
    for name, columns in _keys(table).items():
        if name.startswith("uq_") and (table.name, columns) not in _UNIQUE_FOR_EVER:
            assert columns[-1] == "deletion_id", f"{name}: use live_unique(…)"


# The hash of a token is random: no second token ever has it.
_UNIQUE_FOR_EVER = {("tokens", ("token_hash",))}
