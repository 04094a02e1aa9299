"""Rows at both ends of each table, from which the review draws the parameters of statements."""

from typing import Any

import msgspec
from sqlalchemy import Column, Integer, Table, bindparam, select

from holdfast.db.statements import Query
from holdfast.db.tables import metadata
from holdfast.db.types import Json, LongText


def sampled_columns(table: Table) -> list[Column[Any]]:
    """The columns that statements look rows up by: all but long texts, JSON and password hashes."""
    return [
        column
        for column in table.columns
        if not isinstance(column.type, LongText | Json) and column.name not in ("password", "token_hash")
    ]


def _rows_of(table: Table, end: str) -> Query[Any]:
    columns = sampled_columns(table)
    row = msgspec.defstruct(f"{table.name}_row", [str(column.name) for column in columns], frozen=True)
    order = [column.desc() if end == "newest" else column.asc() for column in table.primary_key]
    found = select(*columns).order_by(*order).limit(bindparam("limit", type_=Integer()))
    return Query(f"plans.{end}_rows_include_deleted({table.name})", found, row)


OLDEST_ROWS = {table.name: _rows_of(table, "oldest") for table in metadata.sorted_tables}
NEWEST_ROWS = {table.name: _rows_of(table, "newest") for table in metadata.sorted_tables}
