"""A table's rows as lines of a bundle: canonical JSON, the same text for the same row on every engine.

Columns stand in the order of their names. Times are RFC 3339 in UTC, to the microsecond (a fraction of zero is left
out). A JSON column is a string that holds its text, because engines keep that text as it was written.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, Integer, Select, Table, and_, literal_column, select, type_coerce

from holdfast.db.statements import any_of
from holdfast.db.types import Flag, Json, Key, LongText, Timestamp, Words

KeyValues = tuple[Any, ...]


class RowFormat:
    """How rows of one table are read, written as lines, and read back."""

    def __init__(self, table: Table, *, without: Iterable[str] = ()) -> None:
        left_out = frozenset(without)
        self.table = table
        self.columns: tuple[Column[Any], ...] = tuple(
            sorted((column for column in table.columns if column.name not in left_out), key=lambda each: each.name)
        )
        self.key_names = tuple(str(column.name) for column in table.primary_key)
        # Any, because the class is made from the columns: the fields bear their names.
        self.row: Any = msgspec.defstruct(
            f"{table.name}_row",
            [(str(column.name), _python_type(column)) for column in self.columns],
            frozen=True,
            forbid_unknown_fields=True,
        )
        self.decode = msgspec.json.Decoder(self.row).decode

    @property
    def select(self) -> Select[Any]:
        """All columns, as the row's fields are ordered."""
        # As text: what a column of JSON holds is not taken apart.
        return select(
            *(
                type_coerce(column, LongText()).label(column.name) if isinstance(column.type, Json) else column
                for column in self.columns
            )
        ).select_from(self.table)

    def key_of(self, row: Any) -> KeyValues:
        """The primary key of a row, in its order; keys compare as the engines order them."""
        return tuple(getattr(row, name) for name in self.key_names)

    def parameters(self, row: Any) -> dict[str, Any]:
        """The row as the parameters of an INSERT."""
        values: dict[str, Any] = {column.name: getattr(row, column.name) for column in self.columns}
        for column in self.columns:
            if isinstance(column.type, Json) and values[column.name] is not None:
                values[column.name] = msgspec.Raw(values[column.name].encode())
        return values


def line_of(row: Any) -> bytes:
    """The canonical line of a row, without its line end."""
    return msgspec.json.encode(row)


@cache
def format_of(table: Table) -> RowFormat:
    """The format of a table's rows."""
    return RowFormat(table)


def has_keys(table: Table) -> ColumnElement[bool]:
    """The rows whose primary keys the parameters of `key_parameters` list."""
    return has_values(table.primary_key.columns)


def key_parameters(keys: Iterable[KeyValues]) -> dict[str, Any]:
    """The parameters of `has_keys` and `has_values`."""
    listed = list(keys)
    if not listed or len(listed[0]) == 1:
        return {"keys": [key[0] for key in listed]}
    return {"first_keys": sorted({key[0] for key in listed}), "keys": [" ".join(key) for key in listed]}


def has_values(columns: Iterable[Column[Any]]) -> ColumnElement[bool]:
    """The rows whose columns together have one of the listed values; all but the last column hold ids."""
    first, *others = columns
    if not others:
        return any_of(first, "keys")
    # The first column finds the rows by the index. Ids hold no space, so the joined text is that of one key only.
    joined: ColumnElement[Any] = first
    for column in others:
        joined = joined.concat(literal_column("' '")).concat(column)
    return and_(any_of(first, "first_keys"), any_of(joined, "keys"))


def _python_type(column: Column[Any]) -> Any:
    kinds: tuple[tuple[type | tuple[type, ...], type], ...] = (
        ((Key, Words, LongText, Json), str),
        (Timestamp, datetime),
        (Flag, bool),
        (Integer, int),
    )
    kind = next(python for types, python in kinds if isinstance(column.type, types))
    return kind | None if column.nullable else kind
