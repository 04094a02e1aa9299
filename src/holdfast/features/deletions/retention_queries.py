"""The statements of retention: what is due, what would go, and which audit entries stand in an archive."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    CTE,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    union,
    union_all,
    update,
)

from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.row_format import format_of
from holdfast.db.statements import Command, Count, Query, count_of, parameters_for
from holdfast.db.tables import audit_archives, audit_logs, deletions
from holdfast.db.tables.base import Deletion, policy_of

_before = bindparam("before", type_=deletions.c.created_at.type)


class DueDeletion(msgspec.Struct, frozen=True):
    """A deletion whose time is over."""

    id: str
    state: str
    bundle_verified_at: datetime | None


class CountedRows(msgspec.Struct, frozen=True):
    """How many rows of a table, or of a column, are meant."""

    name: str
    rows: int


class EntryRange(msgspec.Struct, frozen=True):
    """The first entries of the audit log that are due; None where none is."""

    first_id: int | None
    last_id: int | None
    row_count: int


class Archive(msgspec.Struct, frozen=True):
    """Entries of the audit log that stand in a verified file, and how many of them have left the log."""

    id: str
    first_id: int
    last_id: int
    made_before: datetime
    row_count: int
    removed_rows: int
    bundle_path: str


class LastEntry(msgspec.Struct, frozen=True):
    """The number of an entry; None where there is none."""

    id: int | None


_is_due = (deletions.c.state == "deleted", deletions.c.created_at < _before)
FIND_DUE = Query(
    "retention.find_due",
    select(deletions.c.id, deletions.c.state, deletions.c.bundle_verified_at)
    .where(*_is_due)
    .order_by(deletions.c.created_at, deletions.c.id),
    DueDeletion,
)
SET_BUNDLE = Command(
    "retention.set_bundle",
    update(deletions)
    .where(deletions.c.id == bindparam("deletion_id", type_=deletions.c.id.type), deletions.c.state == "deleted")
    .values(parameters_for(deletions, "bundle_path", "bundle_sha256", "bundle_verified_at", "updated_at")),
)


def _is_soft(table: Table) -> bool:
    return policy_of(table).deletion is Deletion.SOFT


def _keys(table: Table, made: dict[str, CTE]) -> CTE:
    """The keys of a table's rows that bear a deletion which is due, or hang on one that does, each once."""
    if table.name not in made:
        due = select(deletions.c.id).where(*_is_due)
        ways: list[Select[Any]] = []
        if _is_soft(table):
            ways.append(select(*table.primary_key).where(table.c.deletion_id.in_(due)))
        for edge in GRAPH.cascades_into(table):
            parents = _keys(edge.parent, made)
            on = edge.column == parents.c[edge.key.name]
            ways.append(select(*table.primary_key).select_from(table).join(parents, on))
        name = f"{table.name}_due"
        made[table.name] = union(*ways).cte(name) if len(ways) > 1 else ways[0].cte(name)
    return made[table.name]


def _counts() -> Select[Any]:
    made: dict[str, CTE] = {}
    tables = [table for table in GRAPH.tables if _is_soft(table) or GRAPH.cascades_into(table)]
    counts = [_count(table.name, select(func.count()).select_from(_keys(table, made))) for table in tables]
    for edge in GRAPH.edges:
        if edge in GRAPH.unlinks_from(edge.parent):
            parents, own = _keys(edge.parent, made), _keys(edge.child, made)
            same = [edge.child.c[column.name] == own.c[column.name] for column in edge.child.primary_key]
            (key, *_) = own.c
            pointing = (
                select(func.count())
                .select_from(edge.child)
                .join(parents, edge.column == parents.c[edge.key.name])
                .outerjoin(own, *same)
                .where(key.is_(None))
            )
            counts.append(_count(edge.name, pointing))
    rows = union_all(*counts).subquery("counted")
    return select(rows.c.name, rows.c.rows)


def _count(name: str, count: Select[Any]) -> Select[Any]:
    return select(literal_column(f"'{name}'").label("name"), count.scalar_subquery().label("rows"))


# Rows that two deletions would take are counted once.
COUNT_DUE: Query[CountedRows] = Query("retention.count_due_include_deleted", _counts(), CountedRows, heavy=True)

_made_before = bindparam("made_before", type_=audit_logs.c.created_at.type)
_first_id = bindparam("first_id", type_=audit_logs.c.id.type)
_last_id = bindparam("last_id", type_=audit_logs.c.id.type)
_in_range = (audit_logs.c.id.between(_first_id, _last_id), audit_logs.c.created_at < _made_before)
COUNT_OLD_ENTRIES: Query[Count] = count_of(
    "retention.count_old_entries", select(audit_logs.c.id).where(audit_logs.c.created_at < _made_before)
)
_archived = audit_archives.c
_is_archived = exists().where(
    _archived.bundle_verified_at.is_not(null()),
    _archived.removed_at.is_(null()),
    audit_logs.c.id <= _archived.last_id,
)
# Those that stand in an archive go before anything is archived again; an archive holds one unbroken range.
_oldest = (
    select(audit_logs.c.id)
    .where(audit_logs.c.created_at < _made_before, ~_is_archived)
    .order_by(audit_logs.c.id)
    .limit(bindparam("at_most", required=True))
    .subquery("oldest")
)
_range: Any = select(
    func.min(_oldest.c.id).label("first_id"), func.max(_oldest.c.id).label("last_id"), func.count().label("row_count")
)
FIND_RANGE: Query[EntryRange] = Query("retention.find_range", _range, EntryRange, heavy=True)
ENTRIES: Query[Any] = Query(
    "retention.entries",
    format_of(audit_logs).select.where(*_in_range).order_by(audit_logs.c.id),
    format_of(audit_logs).row,
    heavy=True,
)
INSERT_ARCHIVE = Command(
    "retention.insert_archive",
    insert(audit_archives).values(
        parameters_for(
            audit_archives,
            "id",
            "first_id",
            "last_id",
            "made_before",
            "row_count",
            "removed_rows",
            "bundle_path",
            "bundle_sha256",
            "bundle_verified_at",
            "created_at",
            "updated_at",
        )
    ),
)
_ARCHIVE = select(
    audit_archives.c.id,
    audit_archives.c.first_id,
    audit_archives.c.last_id,
    audit_archives.c.made_before,
    audit_archives.c.row_count,
    audit_archives.c.removed_rows,
    audit_archives.c.bundle_path,
).where(audit_archives.c.bundle_verified_at.is_not(null()), audit_archives.c.removed_at.is_(null()))
OPEN_ARCHIVES = Query(
    "retention.open_archives", _ARCHIVE.order_by(audit_archives.c.created_at, audit_archives.c.id), Archive
)
_archive_id = bindparam("archive_id", type_=audit_archives.c.id.type)
# The lock that all wait for who remove its entries, on other nodes of a cluster too.
LOCK_ARCHIVE = Query(
    "retention.lock_archive", _ARCHIVE.where(audit_archives.c.id == _archive_id).with_for_update(), Archive
)
COUNT_IN_RANGE: Query[Count] = count_of("retention.count_in_range", select(audit_logs.c.id).where(*_in_range))
_next_entries = select(audit_logs.c.id).where(*_in_range).order_by(audit_logs.c.id)
_chunk = _next_entries.limit(bindparam("at_most", required=True)).subquery("chunk")
FIND_END_OF_CHUNK: Query[LastEntry] = Query(
    "retention.find_end_of_chunk", select(func.max(_chunk.c.id).label("id")), LastEntry
)
REMOVE_ENTRIES = Command("retention.remove_entries", delete(audit_logs).where(*_in_range))
SET_REMOVED = Command(
    "retention.set_removed",
    update(audit_archives)
    .where(audit_archives.c.id == _archive_id)
    .values(parameters_for(audit_archives, "removed_rows", "removed_at", "updated_at")),
)
UNFINISHED_PURGES: Query[Count] = count_of(
    "retention.count_unfinished",
    select(deletions.c.id).where(
        or_(deletions.c.state == "purging", deletions.c.state == "failed"), deletions.c.created_at < _before
    ),
)
