"""The statements of the purge, made from the graph: for each table and foreign key its own."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Column, Select, Table, and_, bindparam, delete, literal_column, null, select, update

from holdfast.db.lifecycle.deletion_closure import BUNDLED, POINTERS, UNBUNDLED_EDGES, deletion_id, is_soft
from holdfast.db.lifecycle.graph import GRAPH, Edge
from holdfast.db.lifecycle.row_format import has_keys
from holdfast.db.statements import Command, Count, Query, any_of, count_of, parameters_for
from holdfast.db.tables import deletions


class HeldDeletion(msgspec.Struct, frozen=True):
    """A deletion as the purge sees it. The counts are JSON objects of rows per table."""

    id: str
    root_type: str
    root_id: str
    root_label: str | None
    state: str
    planned_counts: msgspec.Raw
    actual_counts: msgspec.Raw | None
    set_null_counts: msgspec.Raw | None
    bundle_path: str | None
    bundle_sha256: str | None
    bundle_verified_at: datetime | None
    lease_token: str | None
    lease_until: datetime | None


class OtherPurge(msgspec.Struct, frozen=True):
    """A deletion that is being purged; its removal has begun where its bundle is verified."""

    id: str
    bundle_verified_at: datetime | None


class PresentRow(msgspec.Struct, frozen=True):
    """A row that is there. `key_1` is empty where the key has one column."""

    key_0: Any
    key_1: str


class BorneDeletion(msgspec.Struct, frozen=True):
    """A deletion that some row still bears."""

    id: str


_held = and_(
    deletions.c.id == deletion_id,
    deletions.c.state == "purging",
    deletions.c.lease_token == bindparam("held_token", type_=deletions.c.lease_token.type),
)
FIND_DELETION: Query[HeldDeletion] = Query(
    "purge.find_deletion",
    select(*(deletions.c[name] for name in HeldDeletion.__struct_fields__)).where(deletions.c.id == deletion_id),
    HeldDeletion,
)
LOCK_DELETION: Query[HeldDeletion] = Query(
    "purge.lock_deletion",
    select(*(deletions.c[name] for name in HeldDeletion.__struct_fields__))
    .where(deletions.c.id == deletion_id)
    .with_for_update(),
    HeldDeletion,
)
OTHER_PURGES = Query(
    "purge.find_others",
    select(deletions.c.id, deletions.c.bundle_verified_at).where(
        deletions.c.state == "purging", deletions.c.id != deletion_id
    ),
    OtherPurge,
)
# In the order of their ids, so that two who lock them do not wait for each other.
LOCK_PURGES = Query(
    "purge.lock_all",
    select(deletions.c.id, deletions.c.bundle_verified_at)
    .where(deletions.c.state == "purging")
    .order_by(deletions.c.id)
    .with_for_update(),
    OtherPurge,
)
COUNT_ENDED = count_of("purge.count_ended", select(deletions.c.id).where(deletions.c.state.in_(("purged", "failed"))))
ABANDONED_PURGES = Query(
    "purge.find_abandoned",
    select(deletions.c.id)
    .where(
        deletions.c.state == "purging",
        deletions.c.lease_until < bindparam("before", type_=deletions.c.lease_until.type),
    )
    .order_by(deletions.c.id)
    .limit(100),
    BorneDeletion,
)


def _change(name: str, *columns: str, held: bool = True) -> Command:
    condition = _held if held else deletions.c.id == deletion_id
    return Command(name, update(deletions).where(condition).values(parameters_for(deletions, *columns, "updated_at")))


TAKE_LEASE = _change("purge.take_lease", "state", "failure", "lease_token", "lease_until", held=False)
FORGET_BUNDLE = _change("purge.forget_bundle", "bundle_path", "bundle_sha256", "bundle_verified_at", held=False)
RENEW_LEASE = _change("purge.renew_lease", "lease_until")
BEGIN_REMOVAL = _change(
    "purge.begin_removal",
    "planned_counts",
    "actual_counts",
    "set_null_counts",
    "bundle_path",
    "bundle_sha256",
    "bundle_verified_at",
)
SET_PROGRESS = _change("purge.set_progress", "actual_counts", "lease_until")
SETTLE = _change("purge.settle", "state", "failure", "lease_token", "lease_until")
RELEASE_LEASE = _change("purge.release_lease", "lease_token", "lease_until")
MARK_NESTED_PURGED = Command(
    "purge.mark_nested",
    update(deletions)
    .where(any_of(deletions.c.id, "ids"), deletions.c.state.in_(("deleted", "failed")))
    .values(parameters_for(deletions, "state", "purged_with", "updated_at")),
)


def _present(table: Table) -> Select[Any]:
    columns: list[Column[Any]] = list(table.primary_key.columns)
    second = columns[1] if len(columns) > 1 else literal_column("''")
    return select(columns[0].label("key_0"), second.label("key_1"))


def _lock_rows(table: Table) -> Query[PresentRow]:
    rows = _present(table).where(has_keys(table)).order_by(*table.primary_key).with_for_update()
    name = f"purge.lock_rows_include_deleted({table.name})"
    return Query(name, rows, PresentRow, heavy=True, removes_what_it_locks=True)


def _remove_rows(table: Table) -> Command:
    # A row that became live is not taken, whatever the bundle says.
    marked = [table.c.deletion_id != literal_column("''")] if is_soft(table) else []
    return Command(f"purge.remove_rows({table.name})", delete(table).where(has_keys(table), *marked), heavy=True)


def _children(edge: Edge) -> Query[Count]:
    pointing = select(edge.column).where(any_of(edge.column, "parents"))
    return count_of(f"purge.count_children_include_deleted({edge.name})", pointing)


def _expiring(edge: Edge) -> Query[PresentRow]:
    rows = _present(edge.child).where(any_of(edge.column, "parents")).limit(bindparam("at_most", required=True))
    return Query(f"purge.find_expiring_include_deleted({edge.name})", rows, PresentRow)


def _unlink(edge: Edge) -> Command:
    child = edge.child
    pointing = and_(has_keys(child), any_of(edge.column, "values"))
    return Command(
        f"purge.unlink({edge.name})", update(child).where(pointing).values({edge.column: null()}), heavy=True
    )


def _borne(table: Table) -> Query[BorneDeletion]:
    rows = select(table.c.deletion_id.label("id")).where(any_of(table.c.deletion_id, "ids")).distinct()
    return Query(f"purge.find_borne_include_deleted({table.name})", rows, BorneDeletion, heavy=True)


_unbundled = tuple(dict.fromkeys(edge.child for edge in UNBUNDLED_EDGES))
# Only a table with children needs its rows locked before they are looked for.
LOCK_ROWS: dict[str, Query[PresentRow]] = {table.name: _lock_rows(table) for table in BUNDLED}
REMOVE_ROWS: dict[str, Command] = {table.name: _remove_rows(table) for table in (*BUNDLED, *_unbundled)}
COUNT_CHILDREN: dict[str, Query[Count]] = {edge.name: _children(edge) for edge in GRAPH.edges}
FIND_EXPIRING: dict[str, Query[PresentRow]] = {edge.name: _expiring(edge) for edge in UNBUNDLED_EDGES}
UNLINK: dict[str, Command] = {edge.name: _unlink(edge) for edge in POINTERS}
FIND_BORNE: dict[str, Query[BorneDeletion]] = {table.name: _borne(table) for table in GRAPH.soft_tables}
