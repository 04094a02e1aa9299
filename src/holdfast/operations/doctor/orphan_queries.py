"""The statements of the cure of orphans, made from the graph.

What goes is the closure of the orphans: rows whose CASCADE parent does not exist, and every row that hangs on one. The
engine would take those with it, and so they must be in the recovery file as well.
"""

from functools import cache
from typing import Any

import msgspec
from sqlalchemy import CTE, Column, Select, Table, and_, delete, func, literal_column, null, or_, select, union, update

from holdfast.db.lifecycle.deletion_closure import PointerRow
from holdfast.db.lifecycle.graph import GRAPH, Edge, Rule
from holdfast.db.lifecycle.row_format import format_of, has_keys
from holdfast.db.statements import Command, Count, Query, any_of, count_of

POINTERS: tuple[Edge, ...] = tuple(edge for edge in GRAPH.edges if edge.rule is Rule.SET_NULL)
# Parents first. A table that hangs on nothing has no orphans.
TABLES: tuple[Table, ...] = tuple(table for table in GRAPH.tables if GRAPH.cascades_into(table))


class KeptKey(msgspec.Struct, frozen=True):
    """A row that goes, by its key."""

    key_0: Any
    key_1: str


@cache
def keys_of(table: Table) -> CTE:
    """The primary keys of a table's rows in the closure, each once."""
    ways: list[Select[Any]] = []
    for edge in GRAPH.cascades_into(table):
        parent = edge.parent.alias(f"{edge.parent.name}_of_{edge.column.name}")
        direct = select(*table.primary_key).select_from(table).outerjoin(parent, edge.column == parent.c[edge.key.name])
        ways.append(direct.where(edge.column.is_not(None), parent.c[edge.key.name].is_(None)))
        if GRAPH.cascades_into(edge.parent):
            above = keys_of(edge.parent)
            ways.append(
                select(*table.primary_key).select_from(table).join(above, edge.column == above.c[edge.key.name])
            )
    return union(*ways).cte(f"{table.name}_lost") if len(ways) > 1 else ways[0].cte(f"{table.name}_lost")


def _same_key(table: Table, keys: CTE) -> Any:
    return and_(*(column == keys.c[column.name] for column in table.primary_key))


def _rows(table: Table) -> Query[Any]:
    form = format_of(table)
    rows = form.select.join(keys_of(table), _same_key(table, keys_of(table))).order_by(*table.primary_key)
    return Query(f"doctor.lost_rows_include_deleted({table.name})", rows, form.row, heavy=True)


def _count(table: Table) -> Query[Count]:
    count = select(func.count().label("value")).select_from(keys_of(table))
    return Query(f"doctor.count_lost_include_deleted({table.name})", count, Count, heavy=True)


def _key_columns(table: Table) -> tuple[Any, Any]:
    columns: list[Column[Any]] = list(table.primary_key.columns)
    return columns[0].label("key_0"), (columns[1] if len(columns) > 1 else literal_column("''")).label("key_1")


def _pointers(edge: Edge) -> Query[PointerRow]:
    """Rows that stay and point to nothing, or to a row that goes."""
    child, own = edge.child, keys_of(edge.child)
    parent = edge.parent.alias("parents")
    parent_key = parent.c[edge.key.name]
    rows = (
        select(*_key_columns(child), edge.column.label("value"))
        .select_from(child)
        .outerjoin(parent, edge.column == parent_key)
        .outerjoin(own, _same_key(child, own))
    )
    lost = [parent_key.is_(None)]
    first = next(iter(child.primary_key))
    if GRAPH.cascades_into(edge.parent):
        targets = keys_of(edge.parent)
        rows = rows.outerjoin(targets, edge.column == targets.c[edge.key.name])
        lost.append(targets.c[edge.key.name].is_not(None))
    rows = rows.where(edge.column.is_not(None), own.c[first.name].is_(None), or_(*lost))
    name = f"doctor.lost_pointers_include_deleted({edge.name})"
    return Query(name, rows.order_by(*child.primary_key), PointerRow, heavy=True)


def _lock(table: Table) -> Query[Any]:
    form = format_of(table)
    rows = form.select.where(has_keys(table)).order_by(*table.primary_key).with_for_update()
    return Query(f"doctor.lock_lost_include_deleted({table.name})", rows, form.row)


def _children(edge: Edge) -> Query[Count]:
    pointing = select(edge.column).where(any_of(edge.column, "parents"))
    return count_of(f"doctor.count_children_include_deleted({edge.name})", pointing)


def _unlink(edge: Edge) -> Command:
    pointing = and_(has_keys(edge.child), any_of(edge.column, "values"))
    return Command(f"doctor.unlink({edge.name})", update(edge.child).where(pointing).values({edge.column: null()}))


ROWS: dict[str, Query[Any]] = {table.name: _rows(table) for table in TABLES}
COUNT: dict[str, Query[Count]] = {table.name: _count(table) for table in TABLES}
POINTER_ROWS: dict[str, Query[PointerRow]] = {edge.name: _pointers(edge) for edge in POINTERS}
LOCK: dict[str, Query[Any]] = {table.name: _lock(table) for table in TABLES}
CHILDREN: dict[str, Query[Count]] = {edge.name: _children(edge) for edge in GRAPH.edges}
REMOVE: dict[str, Command] = {
    table.name: Command(f"doctor.remove_lost({table.name})", delete(table).where(has_keys(table))) for table in TABLES
}
UNLINK: dict[str, Command] = {edge.name: _unlink(edge) for edge in POINTERS}
