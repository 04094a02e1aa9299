"""The statements of recovery, made from the graph: for each table, foreign key and unique key its own."""

from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)

from holdfast.db.lifecycle.deletion_closure import BUNDLED, DELETION_FORMAT, POINTERS, deletion_id, is_soft
from holdfast.db.lifecycle.graph import GRAPH, Edge
from holdfast.db.lifecycle.row_format import format_of, has_keys, has_values
from holdfast.db.statements import Command, Count, Query, any_of, live, parameters_for
from holdfast.db.tables import deletions
from holdfast.db.types import Timestamp


class ParentRow(msgspec.Struct, frozen=True):
    """A row that others hang on. `deletion_id` is empty where it is live."""

    key: str
    deletion_id: str


class KeyedRow(msgspec.Struct, frozen=True):
    """A row by its key. `key_1` is empty where the key has one column."""

    key_0: Any
    key_1: str

    @property
    def key(self) -> tuple[Any, ...]:
        """The key as `RowFormat.key_of` gives it."""
        return (self.key_0, self.key_1) if self.key_1 else (self.key_0,)


class TakenValue(msgspec.Struct, frozen=True):
    """A row that has a value which is unique, and the value (its columns joined as `has_values` does)."""

    key: str
    value: str


class DeletionState(msgspec.Struct, frozen=True):
    """How far a deletion is."""

    id: str
    state: str


class BundlePath(msgspec.Struct, frozen=True):
    """Where the verified bundle of a deletion was written."""

    id: str
    bundle_path: str | None


def _key_columns(table: Table) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    first, *others = table.primary_key.columns
    return first.label("key_0"), (others[0] if others else literal_column("''")).label("key_1")


def _rows_by_key(table: Table) -> Query[Any]:
    form = format_of(table)
    return Query(f"recover.rows_include_deleted({table.name})", form.select.where(has_keys(table)), form.row)


def _parents(table: Table) -> Query[ParentRow]:
    (key,) = table.primary_key.columns
    bearing = table.c.deletion_id if is_soft(table) else literal_column("''")
    rows = select(key.label("key"), bearing.label("deletion_id")).where(any_of(key, "keys"))
    return Query(f"recover.parents_include_deleted({table.name})", rows, ParentRow)


def unique_columns(unique: UniqueConstraint) -> list[Column[Any]]:
    """What must be unique, among live rows or for ever."""
    return [column for column in unique.columns if column.name != "deletion_id"]


def _taken(unique: UniqueConstraint) -> Query[TakenValue]:
    table = unique.table
    (key,) = table.primary_key.columns
    first, *others = unique_columns(unique)
    value: ColumnElement[Any] = first
    for column in others:
        value = value.concat(literal_column("' '")).concat(column)
    conditions = [has_values(unique_columns(unique))]
    if "deletion_id" in unique.columns:
        conditions.append(live(table))
    rows = select(key.label("key"), value.label("value")).where(and_(*conditions))
    return Query(f"recover.taken_include_deleted({unique.name})", rows, TakenValue)


def _insert(table: Table) -> Command:
    columns = [column.name for column in table.columns]
    return Command(f"recover.insert({table.name})", insert(table).values(parameters_for(table, *columns)))


def _insert_anew(table: Table) -> Command:
    columns = [column.name for column in table.columns if not column.primary_key]
    return Command(f"recover.insert_anew({table.name})", insert(table).values(parameters_for(table, *columns)))


def _same_moments(table: Table) -> Query[Any]:
    """Rows that an interrupted recovery may have inserted under another number."""
    form = format_of(table)
    first, last = bindparam("first_moment", type_=Timestamp()), bindparam("last_moment", type_=Timestamp())
    (owner,) = [edge.column for edge in GRAPH.cascades_into(table)]
    rows = form.select.where(any_of(owner, "owners"), table.c.created_at.between(first, last))
    return Query(f"recover.same_moments({table.name})", rows, form.row)


def _highest(table: Table) -> Query[Count]:
    (key,) = table.primary_key.columns
    return Query(f"recover.highest({table.name})", select(func.coalesce(func.max(key), 0).label("value")), Count)


def _unlinked(edge: Edge) -> Query[KeyedRow]:
    rows = select(*_key_columns(edge.child)).where(has_keys(edge.child), edge.column.is_(None))
    return Query(f"recover.unlinked_include_deleted({edge.name})", rows, KeyedRow)


def _relink(edge: Edge) -> Command:
    child = edge.child
    is_row = [
        column == bindparam(f"key_{index}", type_=column.type) for index, column in enumerate(child.primary_key.columns)
    ]
    command = update(child).where(*is_row, edge.column.is_(None))
    return Command(
        f"recover.relink({edge.name})", command.values({edge.column: bindparam("value", type_=edge.column.type)})
    )


def is_numbered(table: Table) -> bool:
    """Whether the engine numbers the rows: then another database may have given a row's number away."""
    return isinstance(table.primary_key.columns[0].type, BigInteger)


def uniques_of(table: Table) -> list[UniqueConstraint]:
    """The unique keys of a table, in a fixed order."""
    found = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    return sorted(found, key=lambda each: str(each.name))


_numbered = [table for table in BUNDLED if is_numbered(table)]
_parent_tables = tuple(dict.fromkeys(edge.parent for edge in GRAPH.edges))
_deletion_columns = [column.name for column in DELETION_FORMAT.columns]

ROWS_BY_KEY: dict[str, Query[Any]] = {table.name: _rows_by_key(table) for table in BUNDLED}
PARENTS: dict[str, Query[ParentRow]] = {table.name: _parents(table) for table in _parent_tables}
TAKEN: dict[str, Query[TakenValue]] = {
    str(unique.name): _taken(unique) for table in BUNDLED for unique in uniques_of(table)
}
INSERT: dict[str, Command] = {table.name: _insert(table) for table in BUNDLED}
INSERT_ANEW: dict[str, Command] = {table.name: _insert_anew(table) for table in _numbered}
SAME_MOMENTS: dict[str, Query[Any]] = {table.name: _same_moments(table) for table in _numbered}
HIGHEST: dict[str, Query[Count]] = {table.name: _highest(table) for table in _numbered}
UNLINKED: dict[str, Query[KeyedRow]] = {edge.name: _unlinked(edge) for edge in POINTERS}
RELINK: dict[str, Command] = {edge.name: _relink(edge) for edge in POINTERS}

DELETION_STATES: Query[DeletionState] = Query(
    "recover.deletion_states",
    select(deletions.c.id, deletions.c.state).where(any_of(deletions.c.id, "ids")),
    DeletionState,
)
BUNDLE_PATHS: Query[BundlePath] = Query(
    "recover.bundle_paths",
    select(deletions.c.id, deletions.c.bundle_path).where(
        any_of(deletions.c.id, "ids"), deletions.c.bundle_verified_at.is_not(None)
    ),
    BundlePath,
)
LOCK_DELETION: Query[DeletionState] = Query(
    "recover.lock_deletion",
    select(deletions.c.id, deletions.c.state).where(deletions.c.id == deletion_id).with_for_update(),
    DeletionState,
)
INSERT_DELETION = Command(
    "recover.insert_deletion", insert(deletions).values(parameters_for(deletions, *_deletion_columns))
)
REVIVE_NESTED = Command(
    "recover.revive_nested",
    update(deletions)
    .where(any_of(deletions.c.id, "ids"), deletions.c.state == "purged")
    .values({**parameters_for(deletions, "state", "updated_at"), "purged_with": null()}),
)
SETTLE = Command(
    "recover.settle",
    update(deletions)
    .where(deletions.c.id == deletion_id)
    .values(
        {
            **parameters_for(deletions, "state", "planned_counts", "actual_counts", "updated_at"),
            "purged_with": null(),
            "failure": null(),
        }
    ),
)
