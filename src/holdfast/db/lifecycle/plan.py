"""The plan of a deletion: how many rows go with a root, before anything goes.

One statement per type of root counts every foreign key beneath it, so the numbers are of one moment and no row is
loaded. They rely on the rule that no live row has a deleted parent: the rows that a deletion marks are then those of
the closure that are live.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Table, case, func, literal_column, select, union_all

from holdfast.core.errors import InvalidInputError
from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.closure import Closure, closure_of
from holdfast.db.lifecycle.graph import GRAPH, Edge, Rule
from holdfast.db.statements import Count, Query, live
from holdfast.db.tables import metadata
from holdfast.db.tables.base import Deletion, policy_of

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


class _Counted(msgspec.Struct, frozen=True):
    """The rows of one source: a table's name for the root, a column's for what a foreign key reaches."""

    source: str
    rule: str
    total: int
    standing: int


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
    numbers = Numbers({}, {}, {}, {}, {})
    for counted in await tx.fetch_all(_COUNTING[root.type], **root.parameters):
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
    if column:
        _increase(numbers.by_edge, counted.source, counted.standing)


def _increase(numbers: dict[str, int], name: str, by: int) -> None:
    if by:
        numbers[name] = numbers.get(name, 0) + by


def _counting(root_type: str) -> Query[_Counted]:
    closure = closure_of(GRAPH.root_types[root_type])
    counts = [_count(closure.root.name, Rule.CASCADE, closure.root).where(closure.is_root())]
    for child in closure.tables:
        edges = closure.edges_into(child)
        for index, edge in enumerate(edges):
            earlier = [closure.not_reached_by(other) for other in edges[:index]]
            counts.append(_count_reached(closure, edge, earlier))
    counts += [_count_reached(closure, edge, closure.outside(edge.child)) for edge in closure.unlinked()]
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


def _count_reached(closure: Closure, edge: Edge, conditions: Iterable[ColumnElement[bool]]) -> Select[Any]:
    return closure.reached_by(edge, *_count_columns(edge.name, edge.rule, edge.child)).where(*conditions)


def _count(source: str, rule: Rule, table: Table) -> Select[Any]:
    return select(*_count_columns(source, rule, table)).select_from(table)


def _count_columns(source: str, rule: Rule, table: Table) -> tuple[ColumnElement[Any], ...]:
    total = func.count()
    standing = func.count(case((live(table), literal_column("1")))) if "deletion_id" in table.c else total
    return (
        literal_column(f"'{source}'").label("source"),
        literal_column(f"'{rule}'").label("rule"),
        total.label("total"),
        standing.label("standing"),
    )


def _as_word(root_type: str) -> str:
    return root_type.replace("-", "_")


_COUNTING = {root_type: _counting(root_type) for root_type in GRAPH.root_types}
_LOCKING_TOKENS = {root_type: _locking_tokens(root_type) for root_type in GRAPH.root_types}
_LOCKING = {root_type: _locking(root_type) for root_type in GRAPH.root_types}
