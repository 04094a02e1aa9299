"""Soft deletion and its way back: marking the rows of a deletion, and unmarking them.

Marking goes along the foreign keys in topological order, one statement each: live children of rows that bear the
deletion get it too. Whoever makes a child holds its parents live and locked until they commit (`locked_as_parent`), and
marking a parent waits for them; the next statement then sees the child. So a live child of a deleted parent cannot be.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
    union_all,
    update,
)

from holdfast.db.engines.base import Transaction
from holdfast.db.errors import SerializationError
from holdfast.db.lifecycle.closure import closure_of
from holdfast.db.lifecycle.graph import GRAPH, Edge
from holdfast.db.lifecycle.plan import Root
from holdfast.db.statements import Command, Count, Query, any_of, live, locked_as_parent
from holdfast.db.tables import config_files, deletions, users
from holdfast.db.tables.base import Deletion, policy_of
from holdfast.db.types import Timestamp, Words

# So many are marked in a millisecond or two.
_FEW_ROWS = 200


class Conflict(msgspec.Struct, frozen=True):
    """Why a deletion cannot be restored as it is.

    `parent`: the row `key` of `table`, outside the deletion, is deleted by `deletion_id`. `name`: the row `key` of
    `table`, in the deletion, bears a name (`label`) that a live row has now.
    """

    kind: Literal["parent", "name"]
    table: str
    key: str
    label: str
    message: str
    deletion_id: str = ""


class Renamed(msgspec.Struct, frozen=True):
    """A row of a deletion that was given a free name."""

    table: str
    key: str
    column: str
    old: str
    new: str


class _Marked(msgspec.Struct, frozen=True):
    """How many rows of a table bear a deletion."""

    table: str
    rows: int


class _Parent(msgspec.Struct, frozen=True):
    """A row that a deletion's rows hang on and that is not in the deletion."""

    key: str
    label: str
    deletion_id: str


class _Taken(msgspec.Struct, frozen=True):
    """A row with a name that is unique among the live ones, within a scope such as the project of a config file."""

    key: str
    scope: str
    name: str


async def mark(
    tx: Transaction, root: Root, deletion_id: str, now: datetime, *, by_edge: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Mark the live root and every live row that hangs on it; how many, per table. Nothing is marked without a root.

    Tokens are also revoked, and stay so after a restore. Pointers (SET NULL columns) stay as they are. A protected row
    beneath the root is left as it is, with what hangs on it.

    `by_edge` tells what hangs on each foreign key, as `count_deletion` told it in this transaction once the root was
    locked. One without rows is not gone along then; SerializationError where rows came there meanwhile.
    """
    counts: dict[str, int] = {}
    empty: list[Edge] = []
    if by_edge is not None and sum(by_edge.values()) <= _FEW_ROWS:
        tx.expect_few_rows()
    marked = await tx.execute(_MARKING_ROOT[root.type], deletion_id=deletion_id, deleted_at=now, **root.parameters)
    if marked:
        counts[root.table.name] = marked
    for edge in _edges_beneath(root.table):
        # Without a marked parent there is nothing to hang on.
        if edge.parent.name not in counts:
            continue
        if by_edge is not None and edge.name not in by_edge:
            empty.append(edge)
            continue
        marked = await tx.execute(_MARKING[edge.name], deletion_id=deletion_id, deleted_at=now)
        if marked:
            counts[edge.child.name] = counts.get(edge.child.name, 0) + marked
    await _require_none_left(tx, root, deletion_id, empty)
    return counts


async def count_marked(tx: Transaction, deletion_id: str) -> dict[str, int]:
    """How many rows bear the deletion, per table; nothing is listed with a zero."""
    marked = await tx.fetch_all(COUNT_MARKED, deletion_id=deletion_id)
    return {row.table: row.rows for row in marked if row.rows}


async def unmark(tx: Transaction, deletion_id: str) -> dict[str, int]:
    """Make the rows of a deletion live again; how many, per table. `find_conflicts` must have found none.

    A name taken meanwhile ends in a UniqueViolationError.
    """
    counts: dict[str, int] = {}
    marked = await count_marked(tx, deletion_id)
    for table in GRAPH.soft_tables:
        if table.name in marked and (unmarked := await tx.execute(_UNMARKING[table.name], deletion_id=deletion_id)):
            counts[table.name] = unmarked
    return counts


async def find_conflicts(tx: Transaction, deletion_id: str) -> list[Conflict]:
    """What forbids to restore the deletion now. The parents that it needs are locked until the transaction ends."""
    marked = await count_marked(tx, deletion_id)
    conflicts = []
    for edge in _soft_edges():
        if edge.child.name in marked:
            parents = await tx.fetch_all(_PARENTS_OUTSIDE[edge.name], deletion_id=deletion_id)
            conflicts += [_deleted_parent(edge.parent, each) for each in parents if each.deletion_id]
    for table in GRAPH.soft_tables:
        for unique in _live_uniques(table) if table.name in marked else ():
            taken = await tx.fetch_all(_TAKEN[unique.name], deletion_id=deletion_id)
            conflicts += [_taken_name(table, each) for each in taken]
    return list(dict.fromkeys(conflicts))


async def rename_taken(tx: Transaction, deletion_id: str, *, now: datetime) -> list[Renamed]:
    """Give the deletion's users and config files whose name a live row has now a free one: `web-restored.yaml`.

    Other names follow from what they stand for, such as an image's, and stay conflicts.
    """
    renamed: list[Renamed] = []
    for table in _RENAMED:
        (unique,) = _live_uniques(table)
        taken = await tx.fetch_all(_TAKEN[unique.name], deletion_id=deletion_id)
        if not taken:
            continue
        candidates = {row.key: _candidates(row.name, _name_column(unique)) for row in taken}
        wanted = sorted({name for names in candidates.values() for name in names})
        others = await tx.fetch_all(_NAMES_IN_USE[table.name], deletion_id=deletion_id, names=wanted)
        in_use = {(other.scope, other.name) for other in others}
        changes = []
        for row in taken:
            new = next((name for name in candidates[row.key] if (row.scope, name) not in in_use), None)
            if new is not None:
                in_use.add((row.scope, new))
                # As plain texts: the names of tables are a class of their own, which JSON does not know.
                column = str(_name_column(unique).name)
                changes.append(Renamed(str(table.name), row.key, column, row.name, new))
        await tx.execute_many(
            _RENAMING[table.name], [{"key": each.key, "name": each.new, "updated_at": now} for each in changes]
        )
        renamed += changes
    return renamed


async def _require_none_left(tx: Transaction, root: Root, deletion_id: str, empty: Iterable[Edge]) -> None:
    """Refuse where a live row hangs on a marked one by a foreign key that had none.

    The marked rows are locked now: whoever made a child of one of them has committed, and this statement sees it.
    """
    looked_at = {edge.name for edge in empty} & {edge.name for edge in _filled_meanwhile(root.table)}
    if not looked_at:
        return
    switches = {_switch(edge): edge.name in looked_at for edge in _filled_meanwhile(root.table)}
    if await tx.fetch_count(_COUNT_LEFT[root.type], deletion_id=deletion_id, **switches):
        raise SerializationError("a row was made beneath at the same moment; try again", retry_after_seconds=1)


def _filled_meanwhile(root: Table) -> list[Edge]:
    """The foreign keys beneath a locked root to which a row can still come.

    None can come to the root itself; but its children by a second foreign key may have been counted by the first.
    """
    closure = closure_of(root)
    return [
        edge for edge in _edges_beneath(root) if not (edge.parent is root and edge is closure.edges_into(edge.child)[0])
    ]


@cache
def _edges_beneath(root: Table) -> list[Edge]:
    closure = closure_of(root)
    soft = [table for table in closure.tables if policy_of(table).deletion is Deletion.SOFT]
    return [edge for table in soft for edge in closure.edges_into(table)]


def _soft_edges() -> list[Edge]:
    return [
        edge
        for child in GRAPH.soft_tables
        for edge in GRAPH.cascades_into(child)
        if policy_of(edge.parent).deletion is Deletion.SOFT
    ]


def _live_uniques(table: Table) -> list[UniqueConstraint]:
    """The unique keys of live rows (`live_unique`), in a fixed order."""
    uniques = [
        each for each in table.constraints if isinstance(each, UniqueConstraint) and "deletion_id" in each.columns
    ]
    return sorted(uniques, key=lambda each: str(each.name))


def _name_column(unique: UniqueConstraint) -> Column[Any]:
    """The column of a live-unique key that holds the name, within the scope of the columns before it."""
    return [column for column in unique.columns if column.name != "deletion_id"][-1]


def _deleted_parent(parent: Table, row: _Parent) -> Conflict:
    noun = policy_of(parent).audited_as
    # Whoever may restore a course need not be allowed to restore an account that was a member of it.
    whose = ", which takes a super administrator" if parent is users else ""
    message = f"its {noun} {row.label} is deleted, too: restore deletion {row.deletion_id} first{whose}"
    return Conflict("parent", str(parent.name), row.key, row.label, message, row.deletion_id)


def _taken_name(table: Table, row: _Taken) -> Conflict:
    noun = policy_of(table).audited_as
    return Conflict("name", str(table.name), row.key, row.name, f"another {noun} is named {row.name} now")


def _candidates(name: str, column: Column[Any]) -> list[str]:
    stem, dot, extension = name.rpartition(".") if column.name == "filename" else ("", "", "")
    if not stem:
        stem, dot, extension = name, "", ""
    assert isinstance(column.type, Words)
    names = []
    for number in range(1, 21):
        suffix = ("-restored" if number == 1 else f"-restored-{number}") + dot + extension
        names.append(stem[: column.type.width - len(suffix)] + suffix)
    return names


# How people know a parent; a table that is not here is known by its key.
_LABELS = {
    "users": "username",
    "group_list": "group_name",
    "project_list": "project_name",
    "config_files": "filename",
    "forms": "title",
    "container_repositories": "full_name",
    "container_tags": "name",
}
_RENAMED = (users, config_files)

_deletion_id = bindparam("deletion_id", type_=deletions.c.id.type)
_deleted_at = bindparam("deleted_at", type_=Timestamp())

COUNT_MARKED = Query(
    "deletions.count_marked",
    union_all(
        *(
            select(literal_column(f"'{table.name}'").label("table"), func.count().label("rows"))
            .select_from(table)
            .where(table.c.deletion_id == _deletion_id)
            for table in GRAPH.soft_tables
        )
    ),
    _Marked,
    heavy=True,
)


def _marking_root(root_type: str) -> Command:
    closure = closure_of(GRAPH.root_types[root_type])
    command = update(closure.root).where(closure.is_root(), live(closure.root)).values(_mark_of(closure.root))
    return Command(f"deletions.mark_{root_type.replace('-', '_')}", command)


def _marking(edge: Edge) -> Command:
    # A join, because MariaDB would run a subquery of an UPDATE once for each row of the whole table.
    hanging = [edge.column == edge.key, edge.parent.c.deletion_id == _deletion_id, live(edge.child)]
    if "deletion_protected" in edge.child.c:
        # Somebody protected it after it was counted: that fewer rows were marked tells.
        hanging.append(not_(edge.child.c.deletion_protected))
    command = update(edge.child).where(*hanging).values(_mark_of(edge.child))
    quicker = {"postgresql": command.values(_indexed_as_they_are(edge.child))}
    return Command(f"deletions.mark({edge.name})", command, by_dialect=quicker, heavy=True)


def _counting_left(root_type: str) -> Query[Count]:
    ways = []
    for edge in _filled_meanwhile(GRAPH.root_types[root_type]):
        hanging = (edge.column == edge.key, edge.parent.c.deletion_id == _deletion_id, live(edge.child))
        is_looked_at = bindparam(_switch(edge), type_=Boolean())
        ways.append(and_(is_looked_at, exists().select_from(edge.parent, edge.child).where(*hanging)))
    left = select(case((or_(*ways), literal_column("1")), else_=literal_column("0")).label("value"))
    return Query(f"deletions.count_left(of_{root_type.replace('-', '_')})", left, Count)


def _switch(edge: Edge) -> str:
    return f"looks_at_{edge.name.replace('.', '_')}"


def _unmarking(table: Table) -> Command:
    command = (
        update(table)
        .where(table.c.deletion_id == _deletion_id)
        .values(deletion_id=literal_column("''"), deleted_at=null())
    )
    quicker = {"postgresql": command.values(_indexed_as_they_are(table))}
    return Command(f"deletions.unmark({table.name})", command, by_dialect=quicker, heavy=True)


def _indexed_as_they_are(table: Table) -> dict[str, Any]:
    """Each other column of an index, set to what it is: on PostgreSQL the UPDATE takes a quarter less time.

    Before it splits a page of an index whose columns the SET list leaves alone, PostgreSQL looks for versions of the
    rows that nobody needs ("bottom-up index deletion"). Here all are of this very transaction: it never finds any.
    """
    uniques = [constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    indexed = {column.name for index in table.indexes for column in index.columns}
    indexed.update(column.name for unique in (table.primary_key, *uniques) for column in unique.columns)
    return {name: table.c[name] for name in sorted(indexed - {"deletion_id", "deleted_at", "revoked_at"})}


def _parents_outside(edge: Edge) -> Query[_Parent]:
    child, parent = edge.child, edge.parent
    needed = select(edge.column).where(child.c.deletion_id == _deletion_id)
    label = parent.c[_LABELS.get(parent.name, edge.key.name)]
    rows = select(edge.key.label("key"), label.label("label"), parent.c.deletion_id)
    rows = rows.where(parent.c.deletion_id != _deletion_id, edge.key.in_(needed))
    return Query(f"deletions.lock_parents({edge.name})", locked_as_parent(rows), _Parent, heavy=True)


def _taken(unique: UniqueConstraint) -> Query[_Taken]:
    ours, theirs = unique.table, unique.table.alias("theirs")
    same = [theirs.c[column.name] == column for column in unique.columns if column.name != "deletion_id"]
    rows = select(*_taken_columns(unique)).join_from(ours, theirs, and_(*same))
    rows = rows.where(ours.c.deletion_id == _deletion_id, theirs.c.deletion_id == literal_column("''"))
    return Query(f"deletions.find_taken({unique.name})", rows, _Taken, heavy=True)


def _names_in_use(unique: UniqueConstraint) -> Query[_Taken]:
    ours = or_(live(unique.table), unique.table.c.deletion_id == _deletion_id)
    rows = select(*_taken_columns(unique)).where(any_of(_name_column(unique), "names"), ours)
    return Query(f"deletions.list_names_in_use({unique.name})", rows, _Taken)


def _renaming(unique: UniqueConstraint) -> Command:
    table, name = unique.table, _name_column(unique)
    (key,) = table.primary_key
    command = update(table).where(key == bindparam("key", type_=key.type))
    values = {name.name: bindparam("name", type_=name.type), "updated_at": bindparam("updated_at", type_=Timestamp())}
    return Command(f"deletions.rename({table.name}.{name.name})", command.values(values))


def _taken_columns(unique: UniqueConstraint) -> tuple[ColumnElement[Any], ...]:
    (key,) = unique.table.primary_key
    name = _name_column(unique)
    scope = [column for column in unique.columns if column.name not in ("deletion_id", name.name)]
    return key.label("key"), (scope[0] if scope else literal_column("''")).label("scope"), name.label("name")


def _mark_of(table: Table) -> dict[str, Any]:
    values: dict[str, Any] = {"deletion_id": _deletion_id, "deleted_at": _deleted_at}
    if "revoked_at" in table.c:
        values["revoked_at"] = func.coalesce(table.c.revoked_at, _deleted_at)
    return values


_MARKING_ROOT = {root_type: _marking_root(root_type) for root_type in GRAPH.root_types}
_MARKING = {edge.name: _marking(edge) for edge in _soft_edges()}
_COUNT_LEFT = {
    root_type: _counting_left(root_type) for root_type, table in GRAPH.root_types.items() if _filled_meanwhile(table)
}
_UNMARKING = {table.name: _unmarking(table) for table in GRAPH.soft_tables}
_PARENTS_OUTSIDE = {edge.name: _parents_outside(edge) for edge in _soft_edges()}
_TAKEN = {unique.name: _taken(unique) for table in GRAPH.soft_tables for unique in _live_uniques(table)}
_NAMES_IN_USE = {table.name: _names_in_use(unique) for table in _RENAMED for unique in _live_uniques(table)}
_RENAMING = {table.name: _renaming(unique) for table in _RENAMED for unique in _live_uniques(table)}
