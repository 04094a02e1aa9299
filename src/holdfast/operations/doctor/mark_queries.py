"""The statements on deletions and the rows that bear them."""

from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    CTE,
    BindParameter,
    Column,
    Select,
    Table,
    bindparam,
    func,
    literal_column,
    null,
    select,
    type_coerce,
    union_all,
    update,
)

from holdfast.db.lifecycle.graph import GRAPH, Edge
from holdfast.db.lifecycle.row_format import has_keys
from holdfast.db.statements import Command, Query, any_of, live, parameters_for
from holdfast.db.tables import deletions
from holdfast.db.types import LongText, Timestamp
from holdfast.operations.doctor.rows import FaultyRows

SOFT_EDGES: tuple[Edge, ...] = tuple(
    edge for table in GRAPH.soft_tables for edge in GRAPH.cascades_into(table) if edge.parent in GRAPH.soft_tables
)


class MarkedRow(msgspec.Struct, frozen=True):
    """A row by its key, and the deletion that it bears or should bear."""

    key_0: Any
    key_1: str
    deletion_id: str

    @property
    def key(self) -> tuple[Any, ...]:
        """The primary key, in its order."""
        return (self.key_0, self.key_1) if self.key_1 else (self.key_0,)

    @property
    def id_text(self) -> str:
        """The key as reports name it."""
        return "/".join(self.key)


class MarkCount(msgspec.Struct, frozen=True):
    """How many rows of a table bear a deletion."""

    deletion_id: str
    table: str
    rows: int


class CountedDeletion(msgspec.Struct, frozen=True):
    """A deletion with what it says of its rows, in JSON."""

    id: str
    root_type: str
    state: str
    planned_counts: str
    actual_counts: str | None
    created_at: datetime


class BorneId(msgspec.Struct, frozen=True):
    """A deletion's id."""

    id: str


def _live_under_deleted(edge: Edge) -> FaultyRows:
    parent = edge.parent.alias("parents")

    def narrow(rows: Select[Any]) -> Select[Any]:
        # Ids are greater than the empty text: so the index of `deletion_id` finds the deleted ones.
        joined = rows.join(parent, edge.column == parent.c[edge.key.name])
        return joined.where(live(edge.child), parent.c.deletion_id > literal_column("''"))

    return FaultyRows("live_under_deleted", edge.name, edge.child, narrow, note=parent.c.deletion_id)


def _of_unknown_deletion(table: Table) -> FaultyRows:
    def narrow(rows: Select[Any]) -> Select[Any]:
        joined = rows.outerjoin(deletions, deletions.c.id == table.c.deletion_id)
        return joined.where(table.c.deletion_id > literal_column("''"), deletions.c.id.is_(None))

    return FaultyRows("of_unknown_deletion", str(table.name), table, narrow, note=table.c.deletion_id)


def _of_finished_deletion(table: Table) -> FaultyRows:
    def narrow(rows: Select[Any]) -> Select[Any]:
        joined = rows.join(deletions, deletions.c.id == table.c.deletion_id)
        return joined.where(table.c.deletion_id > literal_column("''"), deletions.c.state.in_(("purged", "restored")))

    return FaultyRows("of_finished_deletion", str(table.name), table, narrow, note=table.c.deletion_id)


LIVE_UNDER_DELETED = {edge.name: _live_under_deleted(edge) for edge in SOFT_EDGES}
OF_UNKNOWN = {table.name: _of_unknown_deletion(table) for table in GRAPH.soft_tables}
OF_FINISHED = {table.name: _of_finished_deletion(table) for table in GRAPH.soft_tables}


@cache
def _to_mark(table: Table) -> CTE:
    """The live rows beneath deleted ones, with one deletion each: that of a parent, or of a parent's parent."""
    ways: list[Select[Any]] = []
    for edge in GRAPH.cascades_into(table):
        if edge not in SOFT_EDGES:
            continue
        parent = edge.parent.alias(f"{edge.parent.name}_of_{edge.column.name}")
        direct = (
            select(*table.primary_key, parent.c.deletion_id.label("taken_with"))
            .select_from(table)
            .join(parent, edge.column == parent.c[edge.key.name])
            .join(deletions, deletions.c.id == parent.c.deletion_id)
        )
        is_deleted = parent.c.deletion_id > literal_column("''")
        ways.append(direct.where(live(table), is_deleted, deletions.c.state == "deleted"))
        if any(each in SOFT_EDGES for each in GRAPH.cascades_into(edge.parent)):
            above = _to_mark(edge.parent)
            further = select(*table.primary_key, above.c.taken_with).select_from(table)
            further = further.join(above, edge.column == above.c[edge.key.name])
            ways.append(further.where(live(table)))
    found = union_all(*ways).subquery(f"{table.name}_found")
    keys = [found.c[column.name] for column in table.primary_key]
    return select(*keys, func.min(found.c.taken_with).label("taken_with")).group_by(*keys).cte(f"{table.name}_to_mark")


def _key_columns(table: Table, source: Any) -> tuple[Any, Any]:
    columns: list[Column[Any]] = list(table.primary_key.columns)
    second = source.c[columns[1].name] if len(columns) > 1 else literal_column("''")
    return source.c[columns[0].name].label("key_0"), second.label("key_1")


def _rows_to_mark(table: Table) -> Query[MarkedRow]:
    marks = _to_mark(table)
    key_0, key_1 = _key_columns(table, marks)
    rows = select(key_0, key_1, marks.c.taken_with.label("deletion_id")).order_by(key_0, key_1)
    return Query(f"doctor.rows_to_mark_include_deleted({table.name})", rows, MarkedRow, heavy=True)


def _mark(table: Table) -> Command:
    marked_at = bindparam("deleted_at", type_=Timestamp())
    values: dict[str, Any] = {**parameters_for(table, "deletion_id"), "deleted_at": marked_at}
    if "revoked_at" in table.c:
        values["revoked_at"] = func.coalesce(table.c.revoked_at, marked_at)
    return Command(f"doctor.mark({table.name})", update(table).where(has_keys(table), live(table)).values(values))


# Parents first: a row takes the deletion of a parent that was marked a moment ago.
MARKABLE: tuple[Table, ...] = tuple(
    table for table in GRAPH.soft_tables if any(edge in SOFT_EDGES for edge in GRAPH.cascades_into(table))
)
ROWS_TO_MARK = {table.name: _rows_to_mark(table) for table in MARKABLE}
MARK = {table.name: _mark(table) for table in MARKABLE}

_ids = bindparam("after_id", type_=deletions.c.id.type)
_limit: BindParameter[Any] = bindparam("at_most", required=True)


def _counted() -> Select[Any]:
    return select(
        deletions.c.id,
        deletions.c.root_type,
        deletions.c.state,
        type_coerce(deletions.c.planned_counts, LongText()).label("planned_counts"),
        type_coerce(deletions.c.actual_counts, LongText()).label("actual_counts"),
        deletions.c.created_at,
    )


DELETED_PAGE = Query(
    "doctor.deleted_page",
    _counted().where(deletions.c.state == "deleted", deletions.c.id > _ids).order_by(deletions.c.id).limit(_limit),
    CountedDeletion,
    heavy=True,
)
PURGED_PAGE = Query(
    "doctor.purged_page",
    _counted().where(deletions.c.state == "purged", deletions.c.id > _ids).order_by(deletions.c.id).limit(_limit),
    CountedDeletion,
    heavy=True,
)
LOCK_DELETED = Query(
    "doctor.lock_deleted",
    _counted()
    .where(any_of(deletions.c.id, "ids"), deletions.c.state == "deleted")
    .order_by(deletions.c.id)
    .with_for_update(),
    CountedDeletion,
)
PURGED_SINCE = Query(
    "doctor.purged_since",
    _counted().where(
        deletions.c.state.in_(("purged", "purging", "failed")),
        deletions.c.purged_with.is_(null()),
        deletions.c.created_at >= bindparam("since", type_=deletions.c.created_at.type),
    ),
    CountedDeletion,
)


def _marks(name: str, condition: Any) -> Query[MarkCount]:
    parts = [
        select(table.c.deletion_id, literal_column(f"'{table.name}'").label("table"), func.count().label("rows"))
        .where(condition(table))
        .group_by(table.c.deletion_id)
        for table in GRAPH.soft_tables
    ]
    return Query(f"doctor.{name}_include_deleted", union_all(*parts), MarkCount, heavy=True)


MARKS = _marks("marks", lambda table: any_of(table.c.deletion_id, "ids"))


def _unknown_ids() -> Query[BorneId]:
    parts = [
        select(table.c.deletion_id.label("id"))
        .outerjoin(deletions, deletions.c.id == table.c.deletion_id)
        .where(table.c.deletion_id > literal_column("''"), deletions.c.id.is_(None))
        for table in GRAPH.soft_tables
    ]
    found = union_all(*parts).subquery("unknown")
    rows = select(found.c.id).where(found.c.id > _ids).distinct().order_by(found.c.id).limit(_limit)
    return Query("doctor.unknown_deletions_include_deleted", rows, BorneId, heavy=True)


UNKNOWN_IDS = _unknown_ids()


def _finished_ids() -> Query[BorneId]:
    parts = [
        select(table.c.deletion_id.label("id")).where(table.c.deletion_id > literal_column("''")).distinct()
        for table in GRAPH.soft_tables
    ]
    found = union_all(*parts).subquery("borne")
    rows = (
        select(deletions.c.id)
        .where(
            deletions.c.state.in_(("purged", "restored")),
            deletions.c.id > _ids,
            deletions.c.id.in_(select(found.c.id)),
        )
        .order_by(deletions.c.id)
        .limit(_limit)
    )
    return Query("doctor.finished_deletions_include_deleted", rows, BorneId, heavy=True)


FINISHED_IDS = _finished_ids()


def _first_marked(table: Table) -> Query[MarkedRow]:
    key_0, key_1 = _key_columns(table, table)
    condition = table.c.deletion_id == bindparam("deletion_id", type_=deletions.c.id.type)
    rows = select(key_0, key_1, table.c.deletion_id).where(condition).order_by(*table.primary_key).limit(1)
    return Query(f"doctor.first_marked_include_deleted({table.name})", rows, MarkedRow)


FIRST_MARKED = {table.name: _first_marked(table) for table in GRAPH.soft_tables}
_deletion_id = bindparam("deletion_id", type_=deletions.c.id.type)
SET_COUNTS = Command(
    "doctor.set_counts",
    update(deletions)
    .where(deletions.c.id == _deletion_id, deletions.c.state == "deleted")
    .values(parameters_for(deletions, "planned_counts", "actual_counts", "updated_at")),
)
REOPEN_RESTORED = Command(
    "doctor.reopen_restored",
    # Without a bundle that anybody goes by, so that it can be restored once more.
    update(deletions)
    .where(deletions.c.id == _deletion_id, deletions.c.state == "restored")
    .values(
        {
            **parameters_for(deletions, "planned_counts", "actual_counts", "failure", "updated_at"),
            "state": "failed",
            "bundle_verified_at": null(),
        }
    ),
)
REOPEN_PURGED = Command(
    "doctor.reopen_purged",
    # Its bundle stays: the next purge takes its rows along.
    update(deletions)
    .where(deletions.c.id == _deletion_id, deletions.c.state == "purged")
    .values({**parameters_for(deletions, "failure", "updated_at"), "state": "failed", "purged_with": null()}),
)
