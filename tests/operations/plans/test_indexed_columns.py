"""Every indexed column, asked for alone: PostgreSQL takes an index that begins with it (seed 8)."""

import pytest
from sqlalchemy import UniqueConstraint

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.tables import metadata
from holdfast.operations.plans.postgresql import ESTIMATE, read_plan
from holdfast.operations.plans.types import AccessKind
from tests.operations.plans.conftest import SERVERS
from tests.rules.schema_facts import TABLE_FACTS

_FIRST_COLUMNS = (
    "SELECT i.relname, t.relname, a.attname FROM pg_index x"
    " JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid"
    " JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]"
    " WHERE t.relnamespace = current_schema()::regnamespace AND t.relname <> 'alembic_version'"
)
# Columns with one value or none in the population, where reading the whole table is right for what there is. They are
# asked for a value that no row has.
_WITHOUT_RARE_VALUES = {
    "cluster_image_status.deleted_at": "no status of an image is deleted",
    "cluster_image_status.deletion_id": "no status of an image is deleted",
    "config_files.deletion_id": "no file is deleted",
    "container_tags.deleted_at": "no tag is deleted",
    "container_tags.deletion_id": "no tag is deleted",
    "deletions.purged_with": "no deletion was purged with another",
    "group_list.deletion_id": "no group is deleted",
    "resources.deletion_id": "no resource is deleted",
    "tokens.deletion_id": "no token is deleted",
}
_ABSENT = {"deleted_at": "'2031-01-01 00:00:00+00'", "deletion_id": "'absent'", "purged_with": "'absent'"}
# A value that more rows have than this part of them is no reason to take an index.
_MOST_OF_ROWS = 0.35


def _indexed_columns() -> list[tuple[str, str]]:
    """The first columns of keys and indexes, and of those that the specification names."""
    found = {(fact.name, columns[0]) for fact in TABLE_FACTS for columns in fact.lookups}
    for table in metadata.sorted_tables:
        unique = (each for each in table.constraints if isinstance(each, UniqueConstraint))
        found |= {(table.name, key.columns[0].name) for key in (table.primary_key, *unique)}
        indexes = (each for each in table.indexes if each.info.get("dialect", "postgresql") == "postgresql")
        found |= {(table.name, index.columns[0].name) for index in indexes}
    return sorted(found)


async def _first_columns(tx: Transaction) -> dict[str, tuple[str, str]]:
    return {index: (table, column) for index, table, column in await tx.fetch_text(_FIRST_COLUMNS)}


async def _rarest(tx: Transaction, table: str, column: str) -> str | None:
    """The rarest value of a column as SQL, if there is one that few rows have."""
    rows = await tx.fetch_text(
        f"SELECT quote_literal({column}::text), count(*) < {_MOST_OF_ROWS} * (SELECT count(*) FROM {table})"
        f" FROM {table} WHERE {column} IS NOT NULL GROUP BY {column} ORDER BY count(*), {column} LIMIT 1"
    )
    return str(rows[0][0]) if rows and rows[0][1] else None


@pytest.mark.slow
@pytest.mark.conformance("I-59")
@pytest.mark.parametrize("populated", [SERVERS[0]], indirect=True)
@pytest.mark.parametrize(("table", "column"), [pytest.param(*each, id=".".join(each)) for each in _indexed_columns()])
async def test_a_query_by_an_indexed_column_takes_its_index(populated: Database, table: str, column: str) -> None:
    key = ", ".join(each.name for each in metadata.tables[table].primary_key.columns)
    async with populated.read() as tx:
        value, firsts = await _rarest(tx, table, column), await _first_columns(tx)
        reason = _WITHOUT_RARE_VALUES.get(f"{table}.{column}")
        assert (value is None) == (reason is not None), (
            f"the rarest value of {table}.{column} is {value}: _WITHOUT_RARE_VALUES names the columns without one, and"
            " no others"
        )
        asked = f"SELECT {key} FROM {table} WHERE {column} = {value or _ABSENT[column]}"
        answer = await tx.fetch_text(f"{ESTIMATE} {asked}")
    (access,) = read_plan(asked, answer[0][0]).accesses
    assert access.kind is AccessKind.LOOK_UP, f"PostgreSQL takes no index for {asked}: {access}"
    assert {firsts[index] for index in access.indexes} == {(table, column)}, f"another index for {asked}: {access}"


@pytest.mark.slow
@pytest.mark.parametrize("populated", [SERVERS[0]], indirect=True)
async def test_the_indexed_columns_are_those_of_the_live_schema(populated: Database) -> None:
    async with populated.read() as tx:
        assert set((await _first_columns(tx)).values()) == set(_indexed_columns())
