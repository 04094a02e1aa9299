"""The older database, only read: one snapshot, pages by key range, nothing of a whole table in memory."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Executable,
    Result,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType, TypeDecorator

from holdfast.db.address import DatabaseAddress
from holdfast.db.server_connection import server_connection
from holdfast.operations.legacy.flavours import Catalogue, Form, read_catalogue
from holdfast.operations.legacy.loose import flag_of, text_of, time_of
from holdfast.operations.legacy.sqlite_file import SORTABLE_TIME, reading
from holdfast.operations.legacy.types import LegacyError

Row = dict[str, Any]

_BEGIN = {
    "postgresql": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET TIME ZONE 'UTC'",
        "SET statement_timeout = 0",
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
    ),
    "mariadb": (
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
}
# What PostgreSQL keeps beyond the years that Python knows.
_FIRST, _LAST = "TIMESTAMP '0002-01-01'", "TIMESTAMP '9990-01-01'"
_YEAR_ONE = "TIMESTAMP '0001-01-01'"
# What a missing time sorts as; PostgreSQL alone would take it for the newest.
_LEAST = {"postgresql": _YEAR_ONE, "mariadb": "NULL", "sqlite": "''"}
# SQLite takes a condition of so many parts, and so many values for one, whatever it was built with.
_KEYS_AT_ONCE = 200


class SourceConnection(Protocol):
    """What a source is read over."""

    async def execute(self, statement: Executable, /) -> Result[Any]:
        """The result of a query."""


class SourceTable(msgspec.Struct, frozen=True):
    """A table of the older database with the columns of its key; `grouped_by` where a row stands for several."""

    name: str
    key: tuple[str, ...]
    grouped_by: tuple[str, ...] = ()


class Source:
    """What is read of the older database, of one moment."""

    def __init__(self, connection: SourceConnection, catalogue: Catalogue) -> None:
        self._connection = connection
        self.catalogue = catalogue

    async def count(self, of: SourceTable) -> int:
        """How many rows there are to import."""
        if self._is_file:
            await self._require_keys(of)
        return await self._number(select(func.count()).select_from(self._narrowed(of).subquery()))

    async def count_all(self, name: str) -> int:
        """How many rows a table has."""
        return await self._number(select(func.count()).select_from(table(name)))

    async def count_filled(self, name: str, of_column: str) -> int:
        """How many rows of a table have something in a column."""
        return await self._number(select(func.count(column(of_column))).select_from(table(name)))

    async def greatest(self, of: SourceTable) -> int:
        """The greatest key; 0 for none."""
        (key,) = of.key
        number: ColumnElement[Any] = cast(column(key), BigInteger) if self._is_file else column(key)
        return await self._number(select(func.coalesce(func.max(number), 0)).select_from(table(of.name)))

    async def pages(
        self, of: SourceTable, at_most: int, *, after: tuple[Any, ...] | None = None
    ) -> AsyncIterator[list[Row]]:
        """The rows in the order of their keys, so many at once; those that come `after` a key, where one is given."""
        rows = self._narrowed(of)
        ordered = rows.order_by(*(self._order(of, key) for key in of.key)).limit(at_most)
        while True:
            query = ordered if after is None else ordered.where(self._after(of, after))
            page = await self._rows(query)
            if page:
                yield page
            if len(page) < at_most:
                return
            after = tuple(page[-1][key] for key in of.key)

    async def rows_of_keys(self, of: SourceTable, keys: Sequence[tuple[Any, ...]]) -> list[Row]:
        """The rows with these keys."""
        found: list[Row] = []
        at_once = _KEYS_AT_ONCE if self._is_file else len(keys)
        for start in range(0, len(keys), at_once or 1):
            some = keys[start : start + at_once]
            wanted = or_(
                *(and_(*(column(name) == value for name, value in zip(of.key, each, strict=True))) for each in some)
            )
            found += await self._rows(self._narrowed(of).where(wanted))
        return found

    async def rows_where(self, name: str, of_column: str, values: Iterable[Any], order: Sequence[str]) -> list[Row]:
        """The rows of a table that have one of the values in a column."""
        listed = list(dict.fromkeys(values))
        if not listed:
            return []
        rows = self._all_of(name).where(column(of_column).in_(listed))
        return await self._rows(rows.order_by(*(column(each) for each in order)))

    async def older_twins(
        self, of: SourceTable, by: Sequence[str], newest: Sequence[str], *, folded: Sequence[str] = ()
    ) -> list[tuple[Any, ...]]:
        """The keys of rows that are equal in columns to a newer row, the newest of them first; deleted ones aside."""
        keys: list[ColumnElement[Any]] = [column(key) for key in of.key]
        parts = [func.lower(self._value(of.name, each)) if each in folded else column(each) for each in by]
        times: list[ColumnElement[Any]] = [self._sortable(each) for each in newest]
        least: list[ColumnElement[Any]] = [literal_column(_LEAST[self.catalogue.dialect_name])]
        made: ColumnElement[Any] = func.coalesce(*times, *least) if times else literal_column("0")
        place = func.row_number().over(partition_by=parts, order_by=[made.desc(), *(key.desc() for key in keys)])
        rows = select(*keys, place.label("place")).select_from(table(of.name))
        rows = rows.where(*(column(each).is_not(None) for each in by))
        if "deleted_at" in self.catalogue.tables[of.name]:
            rows = rows.where(self._sortable("deleted_at").is_(None))
        placed = rows.subquery("placed")
        older = (
            select(*(placed.c[key] for key in of.key))
            .where(placed.c.place > 1)
            .order_by(placed.c.place, *(placed.c[key] for key in of.key))
        )
        return [tuple(row[key] for key in of.key) for row in await self._rows(older)]

    def _narrowed(self, of: SourceTable) -> Select[Any]:
        if of.grouped_by:
            return self._grouped(of)
        return self._all_of(of.name)

    def _grouped(self, of: SourceTable) -> Select[Any]:
        """One row for each value of the columns, with the least key and the first time."""
        made = self.catalogue.column(of.name, "create_at", "created_at")
        (key,) = of.key
        columns: list[ColumnElement[Any]] = [
            func.min(column(key)).label(key),
            *(column(each) for each in of.grouped_by),
        ]
        if made is not None:
            columns.append(func.min(self._sortable(made)).label(made))
        found = select(*columns)
        grouped = (
            found.select_from(table(of.name)).group_by(*(column(each) for each in of.grouped_by)).subquery("grouped")
        )
        return select(grouped)

    def _all_of(self, name: str) -> Select[Any]:
        columns = self.catalogue.tables[name]
        return select(*(self._value(name, each).label(each) for each in columns)).select_from(table(name))

    def _value(self, name: str, of_column: str) -> ColumnElement[Any]:
        form = self.catalogue.tables[name][of_column]
        if self._is_file:
            return column(of_column, LooseColumn(form))
        found: ColumnElement[Any] = column(of_column)
        if self.catalogue.dialect_name == "mariadb" or form in {Form.INTEGER, Form.FLAG}:
            return found
        if form is Form.TEXT:
            return cast(found, Text)
        year_one: ColumnElement[Any] = literal_column(_YEAR_ONE)
        first: ColumnElement[Any] = literal_column(_FIRST)
        last: ColumnElement[Any] = literal_column(_LAST)
        return case((found < first, year_one), (found > last, year_one), else_=found)

    def _order(self, of: SourceTable, key: str) -> ColumnElement[Any]:
        found: ColumnElement[Any] = column(key)
        is_text = self.catalogue.tables[of.name][key] is Form.TEXT
        if is_text and self._is_file:
            return found.collate("BINARY")
        return cast(found, Text).collate("C") if is_text and self.catalogue.dialect_name == "postgresql" else found

    def _sortable(self, of_column: str) -> ColumnElement[Any]:
        """A time in a form that sorts as times do."""
        found: ColumnElement[Any] = column(of_column)
        if not self._is_file:
            return found
        sortable: ColumnElement[Any] = getattr(func, SORTABLE_TIME)(found, type_=LooseColumn(Form.LOCAL_TIME))
        return sortable

    async def _require_keys(self, of: SourceTable) -> None:
        """Each row has a key that no other one has: where none was declared, SQLite sees to neither."""
        if of.grouped_by:
            return
        keys: list[ColumnElement[Any]] = [cast(column(key), Text).collate("BINARY").label(key) for key in of.key]
        named = (
            select(*keys).select_from(table(of.name)).where(*(column(key).is_not(None) for key in of.key)).distinct()
        )
        lacking = await self.count_all(of.name) - await self._number(select(func.count()).select_from(named.subquery()))
        if lacking:
            raise LegacyError(
                f"{lacking:,} rows of {of.name} have no {' and '.join(of.key)}, or that of another row: give each of"
                " them its own in a copy of the file, and read that"
            )

    def _after(self, of: SourceTable, last: tuple[Any, ...]) -> ColumnElement[bool]:
        first, *others = (self._order(of, key) for key in of.key)
        if not others:
            only: ColumnElement[bool] = first > last[0]
            return only
        # Not as a pair: MariaDB would read the table from its beginning.
        return and_(first >= last[0], or_(first > last[0], others[0] > last[1]))

    @property
    def _is_file(self) -> bool:
        return self.catalogue.dialect_name == "sqlite"

    async def _number(self, query: Select[Any]) -> int:
        ((number,),) = (await self._connection.execute(query)).all()
        return int(number)

    async def _rows(self, query: Select[Any]) -> list[Row]:
        return [dict(row) for row in (await self._connection.execute(query)).mappings()]


class LooseColumn(TypeDecorator[Any]):
    """A column of an older SQLite file: its values come as those of a server would, and what cannot stays as it is."""

    impl = NullType
    cache_ok = True

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The value as the rules of an import expect it."""
        match self.form:
            case Form.INTEGER:
                return int(value) if isinstance(value, float) and value.is_integer() else value
            case Form.FLAG:
                return flag_of(value)
            case Form.LOCAL_TIME | Form.UTC_TIME:
                return time_of(value)
            case Form.TEXT:
                return text_of(value)


@asynccontextmanager
async def open_source(address: DatabaseAddress) -> AsyncIterator[Source]:
    """The older database in a snapshot that can only be read; whoever uses it writes on undisturbed."""
    catalogue = await read_catalogue(address)
    try:
        if address.dialect_name == "sqlite":
            async with reading(address.path) as opened_file:
                yield Source(opened_file, catalogue)
            return
        async with server_connection(address) as opened:
            connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
            for statement in _BEGIN[catalogue.dialect_name]:
                await connection.execute(text(statement))
            yield Source(connection, catalogue)
    except DBAPIError as error:
        raise LegacyError(f"{address.shown} cannot be read: {error.orig}") from error
