"""The plan of a deletion: how many rows go with a root, before anything goes.

One statement per type of root counts every foreign key beneath it, so the numbers are of one moment and no row is
loaded. They rely on the rule that no live row has a deleted parent: the rows that a deletion marks are then those of
the closure that are live.
"""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Table, and_, case, func, literal_column, select, union_all

from holdfast.core.errors import InvalidInputError
from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.closure import closure_of
from holdfast.db.lifecycle.graph import GRAPH, Rule
from holdfast.db.statements import Count, Query, live
from holdfast.db.tables import course_workloads, image_allow_list, metadata, user_group
from holdfast.db.tables.base import Deletion, policy_of
from holdfast.db.tables.workloads import STATUSES_HOLDING_GPUS

# The columns of a root's id as people write it, where that is not the primary key in its order.
_WRITTEN_AS = {"member": ("g_id", "u_id")}


class Root(msgspec.Struct, frozen=True):
    """What is to be deleted. `key` is the primary key, in its order."""

    type: str
    key: tuple[str, ...]

    @property
    def table(self) -> Table:
        """The table that holds it."""
        return GRAPH.root_types[self.type]

    @property
    def id_text(self) -> str:
        """Its id as people write it: `g_id/u_id` for a member."""
        by_column = dict(zip(self.table.primary_key.columns.keys(), self.key, strict=True))
        return "/".join(by_column[name] for name in _written_columns(self.type))

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of statements on its closure."""
        return {f"key_{index}": value for index, value in enumerate(self.key)}


class Numbers(msgspec.Struct, frozen=True):
    """What a deletion does, in rows; nothing is listed with a zero.

    The engine's own DELETE of the root takes `counts`, `already_deleted` and `at_purge` together, and empties
    `set_null`.
    """

    # Per table: live rows, which soft deletion marks; the root is one of them.
    counts: dict[str, int]
    # Per table: rows beneath the root that an earlier deletion marked.
    already_deleted: dict[str, int]
    # Per table without soft deletion (audit rows, working state of the service): rows that go at the purge.
    at_purge: dict[str, int]
    # Per column: rows that stay, live or deleted, and lose their pointer at the purge.
    set_null: dict[str, int]
    # `counts` without the root, per foreign key; a row on two of them is counted where it is marked first.
    by_edge: dict[str, int]
    # Per table: rows of `counts` about which somebody may have to decide (`_ASKS`).
    asking: dict[str, int] = {}
    # Per table: rows of `counts` that are protected.
    protected: dict[str, int] = {}


class _Counted(msgspec.Struct, frozen=True):
    """The rows of one source: a table's name for the root, a column's for what a foreign key reaches."""

    source: str
    rule: str
    total: int
    standing: int
    asking: int
    protected: int


class _Locked(msgspec.Struct, frozen=True):
    """The key of a row that is locked now."""

    key: str


def root_of(root_type: str, id_text: str) -> Root:
    """The root of that type and id. An unknown type, or an id with too few or too many parts, is refused."""
    if root_type not in GRAPH.root_types:
        raise InvalidInputError(f"type must be one of {', '.join(sorted(GRAPH.root_types))}", field="type")
    columns = _written_columns(root_type)
    parts = id_text.split("/") if len(columns) > 1 else [id_text]
    if len(parts) != len(columns):
        raise InvalidInputError(f"the id of a {root_type} is written {'/'.join(columns)}", field="id")
    by_column = dict(zip(columns, parts, strict=True))
    return Root(root_type, tuple(by_column[column.name] for column in GRAPH.root_types[root_type].primary_key))


async def count_deletion(tx: Transaction, root: Root) -> Numbers:
    """The numbers of a deletion of `root`, from one statement. A root that does not exist has none."""
    numbers = Numbers({}, {}, {}, {}, {}, {}, {})
    for counted in await tx.fetch_all(_COUNTING[root.type], **root.parameters):
        if counted.total:
            _add(numbers, counted)
    return numbers


async def lock_root(tx: Transaction, root: Root) -> bool:
    """Lock the root until the transaction ends; whether it is live.

    A user's tokens are locked before the user: so does MariaDB whenever one of them signs a request, and the other
    way round a busy user's deletion would meet a deadlock again and again.
    """
    for query in _LOCKING_TOKENS[root.type]:
        await tx.fetch_all(query, **root.parameters)
    return bool(await tx.fetch_all(_LOCKING[root.type], **root.parameters))


def _written_columns(root_type: str) -> tuple[str, ...]:
    return _WRITTEN_AS.get(root_type) or tuple(GRAPH.root_types[root_type].primary_key.columns.keys())


def _add(numbers: Numbers, counted: _Counted) -> None:
    if counted.rule == Rule.SET_NULL:
        _increase(numbers.set_null, counted.source, counted.total)
        return
    table_name, _, column = counted.source.partition(".")
    if policy_of(metadata.tables[table_name]).deletion is not Deletion.SOFT:
        _increase(numbers.at_purge, table_name, counted.total)
        return
    _increase(numbers.counts, table_name, counted.standing)
    _increase(numbers.already_deleted, table_name, counted.total - counted.standing)
    _increase(numbers.asking, table_name, counted.asking)
    _increase(numbers.protected, table_name, counted.protected)
    if column:
        _increase(numbers.by_edge, counted.source, counted.standing)


def _increase(numbers: dict[str, int], name: str, by: int) -> None:
    if by:
        numbers[name] = numbers.get(name, 0) + by


def _counting(root_type: str) -> Query[_Counted]:
    closure = closure_of(GRAPH.root_types[root_type])
    asks = _ASKS_OF.get(root_type, _ASKS_BENEATH)
    of_root = _count_columns(closure.root.name, Rule.CASCADE, closure.root, asks.get(closure.root))
    counts = [select(*of_root).select_from(closure.root).where(closure.is_root())]
    for child in closure.tables:
        edges = closure.edges_into(child)
        for index, edge in enumerate(edges):
            columns = _count_columns(edge.name, edge.rule, child, asks.get(child))
            earlier = [closure.not_reached_by(other) for other in edges[:index]]
            counts.append(closure.reached_by(edge, *columns).where(*earlier))
    for edge in closure.unlinked():
        columns = _count_columns(edge.name, edge.rule, edge.child, None)
        counts.append(closure.reached_by(edge, *columns).where(*closure.outside(edge.child)))
    return Query(f"deletions.count_{_as_word(root_type)}", union_all(*counts), _Counted, heavy=True)


def _locking(root_type: str) -> Query[Count]:
    closure = closure_of(GRAPH.root_types[root_type])
    row: Select[Any] = select(literal_column("1").label("value")).select_from(closure.root)
    row = row.where(closure.is_root(), live(closure.root)).with_for_update()
    return Query(f"deletions.lock_{_as_word(root_type)}", row, Count)


def _locking_tokens(root_type: str) -> list[Query[_Locked]]:
    closure = closure_of(GRAPH.root_types[root_type])
    queries = []
    for edge in GRAPH.cascades_from(closure.root):
        if "revoked_at" in edge.child.c:
            (key,) = edge.child.primary_key
            rows = closure.reached_by(edge, key.label("key")).where(live(edge.child)).with_for_update()
            queries.append(Query(f"deletions.lock_{edge.child.name}_of_{_as_word(root_type)}", rows, _Locked))
    return queries


def _count_columns(
    source: str, rule: Rule, table: Table, asks: ColumnElement[bool] | None
) -> tuple[ColumnElement[Any], ...]:
    none: ColumnElement[Any] = literal_column("0")
    total = func.count()
    standing = _count_live(table) if "deletion_id" in table.c else total
    can_be_protected = rule is Rule.CASCADE and "deletion_protected" in table.c
    return (
        literal_column(f"'{source}'").label("source"),
        literal_column(f"'{rule}'").label("rule"),
        total.label("total"),
        standing.label("standing"),
        (none if asks is None else _count_live(table, asks)).label("asking"),
        (_count_live(table, table.c.deletion_protected) if can_be_protected else none).label("protected"),
    )


def _count_live(table: Table, *conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((and_(live(table), *conditions), literal_column("1"))))


def _as_word(root_type: str) -> str:
    return root_type.replace("-", "_")


# What a person may have to decide about, which `features.deletions.decisions` lists where there is any.
_ASKS_BENEATH: dict[Table, ColumnElement[bool]] = {
    course_workloads: course_workloads.c.status.in_(STATUSES_HOLDING_GPUS),
}
_ASKS_OF: dict[str, dict[Table, ColumnElement[bool]]] = {
    "user": {
        **_ASKS_BENEATH,
        image_allow_list: image_allow_list.c.is_enabled,
        user_group: user_group.c.role == literal_column("'admin'"),
    },
    "member": {user_group: user_group.c.role == literal_column("'admin'")},
}
_COUNTING = {root_type: _counting(root_type) for root_type in GRAPH.root_types}
_LOCKING_TOKENS = {root_type: _locking_tokens(root_type) for root_type in GRAPH.root_types}
_LOCKING = {root_type: _locking(root_type) for root_type in GRAPH.root_types}
