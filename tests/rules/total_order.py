"""Whether a statement that orders its rows, or cuts them off, leaves no two of them to chance.

Rows with equal values change places between one run and the next, so an order ends with a unique key: a page would show
a row twice, or never.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BindParameter, Column, Select, Table, UniqueConstraint
from sqlalchemy.sql import CompoundSelect, operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, Label, UnaryExpression

from holdfast.db.statements import Statement, is_live_condition


def order_faults(statement: Statement) -> Iterator[str]:
    """A sentence for each way in which the rows of the statement have no total order."""
    for dialect, element in {"": statement.element, **statement.by_dialect}.items():
        if isinstance(element, (Select, CompoundSelect)):
            where = f" on {dialect}" if dialect else ""
            yield from (f"{statement.name}{where} {fault}" for fault in _faults_of(element))


def last_column(statement: Statement) -> "Column[Any] | None":
    """The column that the order of a statement ends with."""
    assert isinstance(statement.element, Select)
    clauses = statement.element._order_by_clauses
    return _column_of(clauses[-1]) if clauses else None


def _faults_of(select: "Select[Any] | CompoundSelect[Any]") -> Iterator[str]:
    columns = [_column_of(each) for each in select._order_by_clauses]
    if not columns:
        if _is_cut_off(select):
            yield "takes some of its rows without an order, so that chance says which: order it by a unique key"
        return
    if not _is_unique([each for each in columns if each is not None], _fixed_columns(select)):
        last = "an expression" if columns[-1] is None else str(columns[-1])
        yield (
            f"ends its order with {last}, without a unique key: rows with equal values would change places between"
            " pages. Append the row's id"
        )


def _is_cut_off(select: "Select[Any] | CompoundSelect[Any]") -> bool:
    """Whether only some rows are taken. Whether there is one at all does not depend on which."""
    limit = select._limit_clause
    return limit is not None and getattr(limit, "value", None) != 1


def _is_unique(ordered: "list[Column[Any]]", fixed: "set[Column[Any]]") -> bool:
    """Whether the order, with what is the same in all rows, holds a unique key of one of its tables."""
    known = {(each.table, each.name) for each in (*ordered, *fixed)}
    return any(
        all((column.table, name) in known for name in key) for column in ordered for key in _unique_keys(column.table)
    )


def _unique_keys(table: Any) -> Iterator[set[str]]:
    while not isinstance(table, Table):
        if not hasattr(table, "element"):
            return
        table = table.element
    yield {each.name for each in table.primary_key}
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield {each.name for each in constraint.columns}
    yield from ({each.name for each in index.columns} for index in table.indexes if index.unique)


def _fixed_columns(select: "Select[Any] | CompoundSelect[Any]") -> "set[Column[Any]]":
    """The columns that have one value in all rows: the WHERE compares them with a parameter, or with a constant."""
    found: set[Column[Any]] = set()
    conditions = list(select._where_criteria) if isinstance(select, Select) else []
    while conditions:
        condition = conditions.pop()
        if isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
            conditions += condition.clauses
        elif is_live_condition(condition):
            found |= {each for each in condition.left.clauses if isinstance(each, Column)}
        elif isinstance(condition, BinaryExpression) and condition.operator is operators.eq:
            column = _column_of(condition.left)
            if column is not None and isinstance(condition.right, BindParameter):
                found.add(column)
    return found


def _column_of(clause: Any) -> "Column[Any] | None":
    """The column that a clause orders by, or None for an expression."""
    while isinstance(clause, (UnaryExpression, Label)):
        clause = clause.element
    return clause if getattr(clause, "table", None) is not None else None
