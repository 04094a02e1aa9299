"""Transactions on a node of a Galera cluster.

A lock on a row holds on its own node only. Between nodes nothing counts but what a transaction wrote: of two that wrote
the same row the second to commit loses (error 1213) and runs again. So here a statement that locks rows also writes
them: it moves a time of each row by a microsecond and back. Nothing of that is left, no version changes, and two
transactions that locked the same row on different nodes meet in it: docs/decisions/0009-locks-on-galera.md.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, ColumnElement, Select, Table, UniqueConstraint, literal_column, update
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import FromClause, Join

from holdfast.db.engines.mariadb_transaction import MariadbTransaction, compound, fetch, run
from holdfast.db.errors import SerializationError
from holdfast.db.statements import CompiledStatement, Query, Statement, compile_statement
from holdfast.db.types import Timestamp

Row = TypeVar("Row")

# A read on a node waits until what the others had committed has arrived. For the first statement that is enough.
_NOT_AGAIN = "SET STATEMENT wsrep_sync_wait = 0 FOR "


class NodeTransaction(MariadbTransaction):
    """Named statements on one connection to a node."""

    async def fetch_all(self, query: Query[Row], **parameters: Any) -> list[Row]:
        touching = touching_of(query)
        if touching is None:
            return await super().fetch_all(query, **parameters)
        await self.flush()
        try:
            touched = await run(self._connection, touching.sql, touching.arguments(parameters))
        except BaseException:
            self._failed_statement = query.name
            raise
        rows = await super().fetch_all(query, **parameters)
        if rows and not touched:
            # Between the two statements a row came into being, or back to life.
            self._failed_statement = query.name
            raise SerializationError("the change met another one at the same moment; try again", retry_after_seconds=1)
        return rows

    async def _fetch(self, query: Statement, compiled: CompiledStatement, arguments: list[Any]) -> list[Any]:
        if self.statements_run and not self._before_each:
            return await fetch(self._connection, _NOT_AGAIN + compiled.sql, arguments)
        return await super()._fetch(query, compiled, arguments)


class Touching(msgspec.Struct, frozen=True):
    """The statements that write what a query locks, there and back for each table, and all of them as one."""

    statements: list[CompiledStatement]
    sql: str

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The values for all placeholders, from the parameters of the query."""
        return [value for statement in self.statements for value in statement.arguments(parameters)]


@lru_cache(maxsize=1000)
def touching_of(query: Query[Any]) -> Touching | None:
    """How the rows that a query locks are written; None where it locks none.

    A row that is locked to be removed meets others in its removal, and a job in its claim.
    """
    element = query.by_dialect.get("mariadb", query.element)
    lock = element._for_update_arg if isinstance(element, Select) else None
    if lock is None or lock.skip_locked or query.removes_what_it_locks:
        return None
    assert isinstance(element, Select)
    tables = [each for each in lock.of or () if isinstance(each, Table)] or _tables_of(element)
    statements = [_moving(query, element, table, direction) for table in tables for direction in "+-"]
    return Touching(statements, compound(statements))


def _moving(query: Query[Any], element: Select[Any], table: Table, direction: str) -> CompiledStatement:
    moved = _column_to_move(table)
    conditions = _conditions_of(element)
    if len(conditions) > 1 or any(isinstance(part, Select) for part in visitors.iterate(conditions[0])):
        # Of several tables, and be one of them the same again: only then MariaDB joins what stands behind IN.
        same = table.alias("same")
        conditions += [key == same.c[key.name] for key in table.primary_key]
    command = (
        update(table).where(*conditions).values({moved: moved.op(direction)(literal_column("INTERVAL 1 MICROSECOND"))})
    )
    return compile_statement(f"{query.name} (touched)", command, "mariadb")


def _conditions_of(element: Select[Any]) -> list[ColumnElement[Any]]:
    """Which rows a query finds, apart from its limit and from what it asks of rows that need not be there.

    So it may be more rows. No part may become a table of its own, because MariaDB refuses the rows of such a one while
    `wsrep_max_ws_rows` is set (4165).
    """
    conditions: list[Any] = list(element._where_criteria)
    optional: set[Any] = set()
    joins: list[tuple[Any, Any, bool]] = [(to, on, how["isouter"]) for to, on, _, how in element._setup_joins]
    waiting: list[Any] = list(element._from_obj)
    while waiting:
        each = waiting.pop()
        if isinstance(each, Join):
            waiting += [each.left, each.right]
            joins.append((each.right, each.onclause, each.isouter))
    for to, on, is_outer in joins:
        if is_outer:
            optional.add(to)
        else:
            conditions.append(on)
    return [each for each in conditions if optional.isdisjoint(each._from_objects)]


def _column_to_move(table: Table) -> Column[Any]:
    """A time that every row has; one that no index holds, where there is such a one."""
    indexed = {column.name for index in table.indexes for column in index.columns}
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            indexed.update(column.name for column in constraint.columns)
    times = [column for column in table.c if isinstance(column.type, Timestamp) and not column.nullable]
    return min(times, key=lambda column: (column.name in indexed, column.name != "updated_at"))


def _tables_of(element: Select[Any]) -> list[Table]:
    """The tables of the FROM of a query that names none after FOR UPDATE: MariaDB locks them all."""
    found: list[Table] = []
    waiting: list[FromClause] = [*element._from_obj, *element.columns_clause_froms]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Join):
            waiting += [each.left, each.right]
        elif isinstance(each, Table) and each not in found:
            found.append(each)
    return found
