"""Rows with a fault: how they are counted, named and gone through. Each fault is a condition on the rows of a table."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Select, Table, and_, bindparam, func, literal_column, or_, select

from holdfast.db.engines.base import Database
from holdfast.db.statements import Count, Query
from holdfast.operations.doctor.types import MOST_ROWS, Fault, Severity

ROWS_AT_ONCE = 200
_BEFORE_ALL_NUMBERS = -1

Narrow = Callable[[Select[Any]], Select[Any]]


class FoundRow(msgspec.Struct, frozen=True):
    """A row by its key, of which `key_1` is empty where it has one column. `note` is what the fault tells of it."""

    key_0: Any
    key_1: str
    note: Any

    @property
    def key(self) -> tuple[Any, ...]:
        """The primary key, in its order."""
        return (self.key_0, self.key_1) if self.key_1 else (self.key_0,)

    @property
    def id_text(self) -> str:
        """The key as reports name it."""
        return "/".join(map(str, self.key))


class FaultyRows:
    """The rows of a table that a condition picks out. Deleted rows are among them unless it says otherwise.

    `label` stands in the names of the statements: a table, a foreign key, a unique key. `note` is a column more.
    """

    def __init__(
        self, kind: str, label: str, table: Table, narrow: Narrow, *, note: ColumnElement[Any] | None = None
    ) -> None:
        first, *others = table.primary_key.columns
        self.table = table
        self._is_numbered = isinstance(first.type, BigInteger)
        second: ColumnElement[Any] = others[0] if others else literal_column("''")
        after_0 = bindparam("after_0", type_=first.type)
        later = first > after_0
        if others:
            later = or_(later, and_(first == after_0, others[0] > bindparam("after_1", type_=others[0].type)))
        noted = literal_column("''") if note is None else note
        rows = narrow(select(first.label("key_0"), second.label("key_1"), noted.label("note")).select_from(table))
        counted = narrow(select(func.count().label("value")).select_from(table))
        self._count = Query(f"doctor.count_{kind}_include_deleted({label})", counted, Count, heavy=True)
        self._page = Query(
            f"doctor.{kind}_include_deleted({label})",
            rows.where(later).order_by(first, *others).limit(bindparam("at_most", required=True)),
            FoundRow,
            heavy=True,
        )

    async def fault(
        self,
        database: Database,
        severity: Severity,
        message: str,
        *,
        is_curable: bool = False,
        **parameters: Any,
    ) -> AsyncIterator[Fault]:
        """The fault, where rows have it; `{count}` and `{rows}` in the message say how many they are."""
        async with database.snapshot() as tx:
            count = await tx.fetch_count(self._count, **parameters)
            if not count:
                return
            start = self._after(None)
            found = await tx.fetch_all(self._page, at_most=MOST_ROWS, **start, **parameters)
        yield Fault(
            severity=severity,
            message=message.format(count=f"{count:,}", rows="1 row" if count == 1 else f"{count:,} rows"),
            table=str(self.table.name),
            rows=[row.id_text for row in found],
            count=count,
            is_curable=is_curable,
        )

    async def pages(self, database: Database, **parameters: Any) -> AsyncIterator[list[FoundRow]]:
        """All of them in the order of their keys, each page read for itself: they may be mended in between."""
        last: FoundRow | None = None
        while True:
            async with database.snapshot() as tx:
                rows = await tx.fetch_all(self._page, at_most=ROWS_AT_ONCE, **self._after(last), **parameters)
            if rows:
                yield rows
            if len(rows) < ROWS_AT_ONCE:
                return
            last = rows[-1]

    def _after(self, last: FoundRow | None) -> dict[str, Any]:
        start: Any = _BEFORE_ALL_NUMBERS if self._is_numbered else ""
        values = {"after_0": start if last is None else last.key_0}
        if len(self.table.primary_key.columns) > 1:
            values["after_1"] = "" if last is None else last.key_1
        return values
