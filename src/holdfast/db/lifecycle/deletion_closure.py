"""The closure of a deletion in SQL: the rows that bear it, and every row beneath them, whatever deletion that bears.

This is what the purge takes, what its bundle holds, and what the engine's own cascade would take with the rows.
"""

from functools import cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import CTE, Column, Select, Table, and_, bindparam, literal_column, select, union, union_all
from sqlalchemy import func as sql

from holdfast.db.lifecycle.graph import GRAPH, Edge, Rule
from holdfast.db.lifecycle.row_format import RowFormat, format_of
from holdfast.db.statements import Count, Query
from holdfast.db.tables import deletions
from holdfast.db.tables.base import Deletion, policy_of

# The lease belongs to whoever purges now.
DELETION_FORMAT = RowFormat(deletions, without=("lease_token", "lease_until"))

deletion_id = bindparam("deletion_id", type_=deletions.c.id.type)


Row = TypeVar("Row")


class PointerRow(msgspec.Struct, frozen=True):
    """A surviving row whose column names a row of the closure. `key_1` is empty where the key has one column."""

    key_0: str
    key_1: str
    value: str


def is_soft(table: Table) -> bool:
    """Whether rows of the table bear the id of their deletion."""
    return policy_of(table).deletion is Deletion.SOFT


@cache
def keys_of(table: Table) -> CTE:
    """The primary keys of a table's rows in the closure, each once.

    Joins only: MariaDB would read the whole table for `IN (SELECT … UNION …)`.
    """
    ways: list[Select[Any]] = [_marked(table)] if is_soft(table) else []
    for edge in GRAPH.cascades_into(table):
        parents = keys_of(edge.parent)
        ways.append(
            select(*table.primary_key).select_from(table).join(parents, edge.column == parents.c[edge.key.name])
        )
    return union(*ways).cte(f"{table.name}_taken") if len(ways) > 1 else ways[0].cte(f"{table.name}_taken")


def _marked(table: Table) -> Select[Any]:
    return select(*table.primary_key).where(table.c.deletion_id == deletion_id)


def _same_key(table: Table, keys: CTE) -> Any:
    return and_(*(column == keys.c[column.name] for column in table.primary_key))


def _closure_rows(table: Table) -> Query[Any]:
    """The rows of the closure, by key."""
    form = format_of(table)
    keys = keys_of(table)
    rows = form.select.join(keys, _same_key(table, keys)).order_by(*table.primary_key)
    return Query(f"bundle.rows_include_deleted({table.name})", rows, form.row, heavy=True)


def _marked_rows(table: Table) -> Query[Any]:
    """As `_closure_rows`, where no parent of the table is in the closure."""
    form = format_of(table)
    rows = form.select.where(table.c.deletion_id == deletion_id).order_by(*table.primary_key)
    return Query(f"bundle.marked_rows_include_deleted({table.name})", rows, form.row, heavy=True)


def _closure_count(table: Table) -> Query[Count]:
    count = select(sql.count().label("value")).select_from(keys_of(table))
    return Query(f"bundle.count_rows_include_deleted({table.name})", count, Count, heavy=True)


def _marked_count(table: Table) -> Query[Count]:
    count = select(sql.count().label("value")).select_from(table).where(table.c.deletion_id == deletion_id)
    return Query(f"bundle.count_marked_include_deleted({table.name})", count, Count, heavy=True)


def _pointers(edge: Edge) -> Query[PointerRow]:
    """The rows outside the closure that point into it."""
    child = edge.child
    targets, own = keys_of(edge.parent), keys_of(child)
    key_columns: list[Column[Any]] = list(child.primary_key.columns)
    second = key_columns[1] if len(key_columns) > 1 else literal_column("''")
    rows = (
        select(key_columns[0].label("key_0"), second.label("key_1"), edge.column.label("value"))
        .select_from(child)
        .join(targets, edge.column == targets.c[edge.key.name])
        .outerjoin(own, _same_key(child, own))
        .where(own.c[key_columns[0].name].is_(None))
        .order_by(*child.primary_key)
    )
    return Query(f"bundle.pointers_include_deleted({edge.name})", rows, PointerRow, heavy=True)


def _nested_deletions() -> Query[Any]:
    """The deletion itself, and those that rows beneath it bear."""
    borne = []
    for table in GRAPH.soft_tables:
        keys = keys_of(table)
        borne.append(select(table.c.deletion_id.label("id")).join(keys, _same_key(table, keys)))
    ids = union_all(*borne).subquery("borne")
    rows = DELETION_FORMAT.select.where(deletions.c.id.in_(select(ids.c.id))).order_by(deletions.c.id)
    return Query("bundle.nested_deletions", rows, DELETION_FORMAT.row, heavy=True)


# Parents first. What expires is not worth a bundle; it goes with its parent.
BUNDLED: tuple[Table, ...] = GRAPH.bundled_tables
UNBUNDLED_EDGES: tuple[Edge, ...] = tuple(
    edge for edge in GRAPH.edges if edge.rule is Rule.CASCADE and not policy_of(edge.child).in_bundle
)
POINTERS: tuple[Edge, ...] = tuple(edge for edge in GRAPH.edges if edge.rule is Rule.SET_NULL)

CLOSURE_ROWS: dict[str, Query[Any]] = {table.name: _closure_rows(table) for table in BUNDLED}
MARKED_ROWS: dict[str, Query[Any]] = {table.name: _marked_rows(table) for table in BUNDLED if is_soft(table)}
COUNT_CLOSURE: dict[str, Query[Count]] = {table.name: _closure_count(table) for table in BUNDLED}
COUNT_MARKED: dict[str, Query[Count]] = {table.name: _marked_count(table) for table in BUNDLED if is_soft(table)}
POINTER_ROWS: dict[str, Query[PointerRow]] = {edge.name: _pointers(edge) for edge in POINTERS}
NESTED_DELETIONS = _nested_deletions()
DELETION_ROW: Query[Any] = Query(
    "bundle.deletion", DELETION_FORMAT.select.where(deletions.c.id == deletion_id), DELETION_FORMAT.row
)
STATEMENTS: tuple[Query[Any], ...] = (
    *CLOSURE_ROWS.values(),
    *COUNT_CLOSURE.values(),
    *POINTER_ROWS.values(),
    NESTED_DELETIONS,
)


def closure_source(table: Table, counts: dict[str, int]) -> Query[Any] | None:
    """The statement that finds the table's rows, given the counts of the tables before it; None where none can be."""
    return _chosen(table, counts, CLOSURE_ROWS, MARKED_ROWS)


def closure_count(table: Table, counts: dict[str, int]) -> Query[Count] | None:
    """As `closure_source`, for the count alone."""
    return _chosen(table, counts, COUNT_CLOSURE, COUNT_MARKED)


def _chosen(
    table: Table, counts: dict[str, int], closure: dict[str, Query[Row]], marked: dict[str, Query[Row]]
) -> Query[Row] | None:
    # Most deletions are small: a table whose parents stay needs no look at the keys above it.
    if any(counts.get(edge.parent.name) for edge in GRAPH.cascades_into(table)):
        return closure[table.name]
    return marked.get(table.name)
