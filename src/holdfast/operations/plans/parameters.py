"""Parameters for a statement, drawn from the rows of the database: values that occur often, together in one row.

A parameter that is compared with a column takes that column's value from the heaviest row of the column's table, the
one whose values are the most frequent of those sampled. So a form is looked for by a user and a project that have it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Boolean, Column, FromClause, Integer, Table
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BinaryExpression, ColumnElement
from sqlalchemy.types import NullType

from holdfast.db.engines.base import Transaction
from holdfast.db.statements import ListOf, Statement, any_of, contains_text, search_pattern
from holdfast.db.tables import metadata
from holdfast.db.types import Flag, Json, Timestamp
from holdfast.features.groups.types import STAFF_ROLES
from holdfast.operations.plans.queries import NEWEST_ROWS, OLDEST_ROWS, sampled_columns

_SAMPLED_ROWS = 1000
_LIST_LENGTH = 20
PAGE_LIMIT = 21
_ABSENT = "absent"

Values = Mapping[str, Any]


class Sample(msgspec.Struct, frozen=True):
    """Of one table: its first and last rows, and the live one with the most frequent values."""

    oldest: Values
    newest: Values
    heaviest: Values
    rows: list[Values]


class Samples(msgspec.Struct, frozen=True):
    """Of every table that has rows. `deletion_id` is a deletion of many rows, `actor_id` staff of many groups."""

    tables: dict[str, Sample]
    actor_id: str
    deletion_id: str


async def draw_samples(tx: Transaction) -> Samples:
    """Read some rows at both ends of each table."""
    tables: dict[str, Sample] = {}
    for table in metadata.sorted_tables:
        oldest = await tx.fetch_all(OLDEST_ROWS[table.name], limit=_SAMPLED_ROWS)
        newest = await tx.fetch_all(NEWEST_ROWS[table.name], limit=_SAMPLED_ROWS)
        if oldest:
            rows: list[Values] = [msgspec.structs.asdict(row) for row in (*oldest, *newest)]
            heaviest = _heaviest(table, rows)
            tables[table.name] = Sample(rows[0], rows[len(oldest)], heaviest, rows)
    busiest = _busiest_group(tables)
    for name in ("group_list", "project_list", "audit_logs"):
        if busiest is not None and name in tables:
            tables[name] = _centred_on(metadata.tables[name], tables[name], busiest)
    return Samples(tables, _actor_of(tables), _deletion_of(tables))


def rare_samples(samples: Samples) -> Samples:
    """The same with the value of each column that is the rarest of those sampled: each alone, not of one row."""
    tables = {name: msgspec.structs.replace(each, heaviest=_rarest(each)) for name, each in samples.tables.items()}
    return msgspec.structs.replace(samples, tables=tables)


def _rarest(sample: Sample) -> Values:
    live = [row for row in sample.rows if not row.get("deletion_id")] or sample.rows
    found: dict[str, Any] = {}
    for name in sample.heaviest:
        counts = Counter(row[name] for row in live if row[name] is not None)
        found[name] = min(counts, key=counts.__getitem__) if counts else None
    return found


def _heaviest(table: Table, rows: list[Values]) -> Values:
    live = [row for row in rows if not row.get("deletion_id")] or rows
    looked_up = [column.name for column in sampled_columns(table) if _is_looked_up(column)]
    counts = {name: Counter(row[name] for row in live) for name in looked_up}
    return max(live, key=lambda row: sum(counts[name][row[name]] for name in looked_up if row[name] is not None))


def _centred_on(table: Table, sample: Sample, g_id: str) -> Sample:
    """The sample with the heaviest of the rows that belong to the group, so that its staff find what is drawn."""
    rows = [row for row in sample.rows if row["g_id"] == g_id]
    return msgspec.structs.replace(sample, heaviest=_heaviest(table, rows)) if rows else sample


def _is_looked_up(column: Column[Any]) -> bool:
    if column.primary_key or isinstance(column.type, Timestamp):
        return False
    return bool(column.foreign_keys) or any(index.columns[0] is column for index in column.table.indexes)


def _busiest_group(tables: Mapping[str, Sample]) -> str | None:
    """The group whose project has the most forms: what its staff see is a long list."""
    project = tables["forms"].heaviest["project_id"] if "forms" in tables else None
    groups = [row["g_id"] for row in _rows(tables, "project_list") if row["p_id"] == project]
    return groups[0] if groups else None


def _actor_of(tables: Mapping[str, Sample]) -> str:
    """Somebody on the staff of the busiest group, an admin if it has one, with as many other seats as possible."""
    seats = [row for row in _rows(tables, "user_group") if row["role"] in STAFF_ROLES and not row["deletion_id"]]
    if not seats:
        return _ABSENT
    busiest, held = _busiest_group(tables), Counter(row["u_id"] for row in seats)
    best = max(seats, key=lambda row: (row["g_id"] == busiest, row["role"] == "admin", held[row["u_id"]]))
    return str(best["u_id"])


def _deletion_of(tables: Mapping[str, Sample]) -> str:
    marked = Counter(row["deletion_id"] for sample in tables.values() for row in sample.rows if row.get("deletion_id"))
    return str(marked.most_common(1)[0][0]) if marked else _ABSENT


def _rows(tables: Mapping[str, Sample], name: str) -> list[Values]:
    return tables[name].rows if name in tables else []


class Drawing:
    """The parameters of statements, from one set of samples."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._now = datetime.now(UTC)

    def parameters_of(self, statement: Statement, dialect_name: str) -> dict[str, Any]:
        """A value for each parameter of the statement."""
        element = statement.by_dialect.get(dialect_name, statement.element)
        columns = dict(_compared(element))
        types = {each.key: each.type for each in _parameters(element)}
        names = {name for name in statement.compiled(dialect_name).positions if name is not None}
        return {name: self._value(statement, name, columns.get(name), types.get(name)) for name in sorted(names)}

    def _value(self, statement: Statement, name: str, column: Column[Any] | None, type_: Any) -> Any:
        if name in _FIXED:
            return _FIXED[name]
        if name == "actor_id":
            return self._samples.actor_id
        if name in ("deletion_id", "deletion_ids"):
            return self._in_list(self._samples.deletion_id, type_)
        if column is None:
            column = _column_named(statement, name.removeprefix("new_"))
        if column is not None and column.table.name in self._samples.tables:
            return self._from_column(statement, name, column, type_)
        if type_ is None or isinstance(type_, NullType):
            # Only limits have no type of their own.
            return PAGE_LIMIT
        return self._in_list(_plain_value(type_, self._now), type_)

    def _from_column(self, statement: Statement, name: str, column: Column[Any], type_: Any) -> Any:
        sample = self._samples.tables[column.table.name]
        row = sample.heaviest
        if name in ("after_value", "after_id"):
            row = sample.newest if ":-" in statement.name else sample.oldest
        value = row.get(column.name)
        if isinstance(type_, ListOf):
            others = dict.fromkeys(each.get(column.name) for each in sample.rows)
            return [each for each in [value, *others] if each not in (None, "")][:_LIST_LENGTH]
        if value is None:
            value = next((each[column.name] for each in sample.rows if each.get(column.name) is not None), None)
        return _plain_value(column.type, self._now) if value is None else value

    def _in_list(self, value: Any, type_: Any) -> Any:
        return [value] if isinstance(type_, ListOf) else value


_FIXED = {"limit": PAGE_LIMIT, "offset": 0, "q": search_pattern("ab")}


def _parameters(element: Any) -> Iterator[BindParameter[Any]]:
    for each in visitors.iterate(element):
        if isinstance(each, BindParameter):
            yield each
        elif isinstance(each, any_of | contains_text):
            yield each.parameter


def _compared(element: Any) -> Iterator[tuple[str, Column[Any]]]:
    """The name of each parameter that is compared with a column, and the column."""
    for each in visitors.iterate(element):
        if isinstance(each, any_of | contains_text):
            sides: tuple[Any, Any] = (each.column, each.parameter)
        elif isinstance(each, BinaryExpression):
            sides = (each.left, each.right)
        else:
            continue
        for column, parameter in (sides, sides[::-1]):
            found = _table_column(column)
            if isinstance(parameter, BindParameter) and found is not None:
                yield parameter.key, found


def _table_column(element: Any) -> Column[Any] | None:
    """The column of a table behind a column of an alias or a subquery."""
    if not isinstance(element, ColumnElement):
        return None
    for column in element.base_columns:
        if isinstance(column, Column) and isinstance(column.table, Table):
            return column
    return None


def _column_named(statement: Statement, name: str) -> Column[Any] | None:
    """The column of that name in the table that the statement changes or in the first that it reads."""
    element: Any = statement.element
    tables = [element.table] if isinstance(element, UpdateBase) else _tables_in(element)
    for table in tables:
        if isinstance(table, Table):
            column: Column[Any] | None = table.c.get(name)
            if column is not None:
                return column
    return None


def _tables_in(element: Any) -> list[FromClause]:
    return [each for each in visitors.iterate(element) if isinstance(each, Table)]


def _plain_value(type_: Any, now: datetime) -> Any:
    if isinstance(type_, ListOf):
        return _plain_value(type_.item, now)
    if isinstance(type_, Timestamp):
        return now
    if isinstance(type_, Boolean | Flag):
        return True
    if isinstance(type_, Integer):
        return 1
    if isinstance(type_, Json):
        return {}
    return _ABSENT
