"""What indexes bring: the same query on a table and on a copy of its rows that has none."""

from typing import Any

import msgspec
from sqlalchemy import Column, MetaData, Table, bindparam, select

from bench.orm_cascade import engine_of
from holdfast.db.engines.base import Transaction
from holdfast.db.statements import Query, live
from holdfast.db.tables import form_messages, forms

ROWS = 100
_COPY = "unindexed_{}"


class IndexedQuery(msgspec.Struct, frozen=True):
    """The newest rows of a table that a column chooses, or of all of them, by index and without."""

    name: str
    table: Table
    indexed: Query[Any]
    unindexed: Query[Any]
    by: Column[Any] | None

    async def run(self, tx: Transaction, value: str | None) -> list[Any]:
        """By index."""
        return await tx.fetch_all(self.indexed, **_arguments(value))

    async def run_without(self, tx: Transaction, value: str | None) -> list[Any]:
        """On the copy."""
        return await tx.fetch_all(self.unindexed, **_arguments(value))


def copy_tables(database_url: str) -> None:
    """Copy the rows of each table of the queries into one without any index."""
    engine = engine_of(database_url)
    with engine.begin() as connection:
        for table in {query.table.name for query in INDEXED_QUERIES}:
            connection.exec_driver_sql(f"CREATE TABLE {_COPY.format(table)} AS SELECT * FROM {table}")
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def _indexed_query(name: str, table: Table, by: str | None = None) -> IndexedQuery:
    copied = Table(
        _COPY.format(table.name),
        MetaData(),
        *(Column(column.name, column.type) for column in table.columns),
    )
    row = msgspec.defstruct(f"{table.name}_row", [(str(column.name), Any) for column in table.columns], frozen=True)
    label = f"{table.name}_by_{by or 'time'}"
    return IndexedQuery(
        name,
        table,
        Query(f"bench.{label}", _newest(table, by), row),
        Query(f"bench.{label}_unindexed", _newest(copied, by), row),
        None if by is None else table.c[by],
    )


def _newest(table: Table, by: str | None) -> Any:
    found = select(*table.columns).where(live(table))
    if by is not None:
        found = found.where(table.c[by] == bindparam("value", type_=table.c[by].type))
    return found.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(ROWS)


def _arguments(value: str | None) -> dict[str, str]:
    return {} if value is None else {"value": value}


INDEXED_QUERIES = (
    _indexed_query("forms of a project", forms, "project_id"),
    _indexed_query("forms of a user", forms, "user_id"),
    _indexed_query("the newest forms", forms),
    _indexed_query("messages of a form", form_messages, "form_id"),
)
