"""The older database, only read: one snapshot, pages by key range, nothing of a whole table in memory."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
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
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.db.address import DatabaseAddress
from holdfast.db.server_connection import server_connection
from holdfast.operations.legacy.flavours import Catalogue, Form, read_catalogue
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


class SourceTable(msgspec.Struct, frozen=True):
    """A table of the older database with the columns of its key; `grouped_by` where a row stands for several."""

    name: str
    key: tuple[str, ...]
    grouped_by: tuple[str, ...] = ()


class Source:
    """What is read of the older database, of one moment."""

    def __init__(self, connection: AsyncConnection, catalogue: Catalogue) -> None:
        self._connection = connection
        self.catalogue = catalogue

    async def count(self, of: SourceTable) -> int:
        """How many rows there are to import."""
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
        return await self._number(select(func.coalesce(func.max(column(key)), 0)).select_from(table(of.name)))

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
        if not keys:
            return []
        wanted = or_(
            *(and_(*(column(name) == value for name, value in zip(of.key, each, strict=True))) for each in keys)
        )
        return await self._rows(self._narrowed(of).where(wanted))

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
        times: list[ColumnElement[Any]] = [column(each) for each in newest]
        # PostgreSQL would take a missing time for the newest.
        least: list[ColumnElement[Any]] = (
            [literal_column(_YEAR_ONE)] if self.catalogue.dialect_name == "postgresql" else []
        )
        made: ColumnElement[Any] = func.coalesce(*times, *least) if times else literal_column("0")
        place = func.row_number().over(partition_by=parts, order_by=[made.desc(), *(key.desc() for key in keys)])
        rows = select(*keys, place.label("place")).select_from(table(of.name))
        rows = rows.where(*(column(each).is_not(None) for each in by))
        if "deleted_at" in self.catalogue.tables[of.name]:
            rows = rows.where(column("deleted_at").is_(None))
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
            columns.append(func.min(column(made)).label(made))
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
        return cast(found, Text).collate("C") if is_text and self.catalogue.dialect_name == "postgresql" else found

    def _after(self, of: SourceTable, last: tuple[Any, ...]) -> ColumnElement[bool]:
        first, *others = (self._order(of, key) for key in of.key)
        if not others:
            only: ColumnElement[bool] = first > last[0]
            return only
        # Not as a pair: MariaDB would read the table from its beginning.
        return and_(first >= last[0], or_(first > last[0], others[0] > last[1]))

    async def _number(self, query: Select[Any]) -> int:
        ((number,),) = (await self._connection.execute(query)).all()
        return int(number)

    async def _rows(self, query: Select[Any]) -> list[Row]:
        return [dict(row) for row in (await self._connection.execute(query)).mappings()]


@asynccontextmanager
async def open_source(address: DatabaseAddress) -> AsyncIterator[Source]:
    """The older database in a snapshot that can only be read; whoever uses it writes on undisturbed."""
    catalogue = await read_catalogue(address)
    try:
        async with server_connection(address) as opened:
            connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
            for statement in _BEGIN[catalogue.dialect_name]:
                await connection.execute(text(statement))
            yield Source(connection, catalogue)
    except DBAPIError as error:
        raise LegacyError(f"{address.shown} cannot be read: {error.orig}") from error
