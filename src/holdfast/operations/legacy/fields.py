"""How a value of the older database becomes one of ours, and what is noted where it cannot stay as it is."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Column

from holdfast.db.types import Key, Words
from holdfast.operations.legacy.source import Row
from holdfast.operations.legacy.times import is_wrong, moment_of
from holdfast.operations.legacy.types import Note, Options, note

_GREATEST = {"integer": 2**31 - 1, "bigint": 2**63 - 1}


class Kind(StrEnum):
    """What a value is."""

    TEXT = "text"
    CHOICE = "choice"
    INTEGER = "integer"
    FLAG = "flag"
    TIME = "time"
    JSON = "json"
    REFERENCE = "reference"


class Missing(StrEnum):
    """What becomes of a row whose reference leads nowhere."""

    LEAVE_OUT = "leave out"  # always
    ORPHAN = "orphan"  # what whoever imports has chosen for orphans
    KEEP = "keep"  # it gets a user that stands for all who are gone
    EMPTY = "empty"  # the reference is emptied


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One of our columns. `sources` are the older columns that may hold it; `compose` makes it of several.

    `default` is what the column gets where nothing is there. `parent` is the stage whose key map a reference goes
    through, `key_of` the older key where it is not the value itself.
    """

    column: Column[Any]
    sources: tuple[str, ...] = ()
    kind: Kind = Kind.TEXT
    default: Any = None
    choices: tuple[str, ...] = ()
    parent: str = ""
    missing: Missing = Missing.ORPHAN
    compose: Callable[[Row], Any] | None = None
    key_of: Callable[[Row], str | None] | None = None
    # Whether a rule of the table finds the value, so that there is no older one to compare it with.
    is_derived: bool = False

    @property
    def name(self) -> str:
        """Our column's name."""
        return str(self.column.name)


def first_of(row: Row, *names: str) -> Any:
    """The value of the first of the columns that holds something."""
    present = [row[name] for name in names if name in row]
    return next((value for value in present if value not in {None, ""}), present[0] if present else None)


def reference_key(field: Field, row: Row) -> str | None:
    """The older key that a reference names; None for none. Programs without NULL wrote 0."""
    if field.key_of is not None:
        return field.key_of(row)
    value = first_of(row, *field.sources)
    return None if value in {None, 0, "", "0"} else str(value)


def raw_value(field: Field, row: Row) -> Any:
    """What the older row says, before anything is done to it."""
    return field.compose(row) if field.compose is not None else first_of(row, *field.sources)


def plain_value(field: Field, row: Row, options: Options) -> Any:
    """The older value as our column would hold it if nothing had to be changed."""
    value = raw_value(field, row)
    match field.kind:
        case Kind.TIME:
            return moment_of(value, options.zone)
        case Kind.FLAG:
            # A text that says neither yes nor no: only SQLite keeps one there.
            return None if value is None or isinstance(value, str) else bool(value)
        case Kind.INTEGER:
            return _whole(value)
        case Kind.TEXT | Kind.CHOICE | Kind.JSON:
            text = None if value is None else str(value)
            return None if text == "" and field.column.nullable and isinstance(field.column.type, Key | Words) else text
        case _:
            return value


def converted(field: Field, row: Row, options: Options, notes: list[Note]) -> Any:
    """The value for our column, with a note for every change."""
    if field.is_derived:
        return field.default
    value = plain_value(field, row, options)
    match field.kind:
        case Kind.TIME:
            if is_wrong(raw_value(field, row), options.zone):
                notes.append(note("wrong_time", field.name, raw_value(field, row), None))
            return value
        case Kind.INTEGER | Kind.FLAG if value is None and raw_value(field, row) not in {None, ""}:
            notes.append(note("unreadable", field.name, raw_value(field, row), field.default))
            return field.default
        case Kind.CHOICE:
            return _chosen(field, value, notes)
        case Kind.INTEGER:
            value = _within(field, value, notes)
        case Kind.JSON:
            return _json(field, value, notes)
        case Kind.TEXT:
            value = _fitting(field, value, notes)
    if value is None and not field.column.nullable:
        notes.append(note("missing_value", field.name, None, field.default))
        return field.default
    return value


def fitting(column: Column[Any], text: str, notes: list[Note]) -> str:
    """The text, cut where the column is narrower."""
    width = getattr(column.type, "width", None)
    if width is None or len(text) <= width:
        return text
    notes.append(note("too_long", str(column.name), text, text[:width]))
    return text[:width]


def _fitting(field: Field, value: str | None, notes: list[Note]) -> str | None:
    if value is None:
        return None
    if "\0" in value:
        notes.append(note("unstorable", field.name, value.replace("\0", "␀"), None, "NUL characters were taken out"))
        value = value.replace("\0", "")
    if isinstance(field.column.type, Key) and not value.isascii():
        cleaned = value.encode("ascii", "replace").decode()
        notes.append(note("unstorable", field.name, value, cleaned, "the column holds ASCII only"))
        value = cleaned
    return fitting(field.column, value, notes)


def _chosen(field: Field, value: str | None, notes: list[Note]) -> Any:
    if value in field.choices:
        return value
    found = next((each for each in field.choices if value is not None and each.casefold() == value.casefold()), None)
    if found is not None:
        notes.append(note("enum_case", field.name, value, found))
        return found
    notes.append(note("missing_value" if value is None else "enum_unknown", field.name, value, field.default))
    return field.default


def _whole(value: Any) -> int | None:
    """A whole number; None for anything else, which only SQLite keeps in a column of numbers."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number == value or isinstance(value, str) else None


def _within(field: Field, value: int | None, notes: list[Note]) -> int | None:
    if value is None:
        return None
    greatest = _GREATEST["bigint" if type(field.column.type).__name__ == "BigInteger" else "integer"]
    kept = max(min(value, greatest), 0)
    if kept != value:
        notes.append(note("out_of_range", field.name, value, kept))
    return kept


def _json(field: Field, value: str | None, notes: list[Note]) -> msgspec.Raw | None:
    if value is None:
        return None
    try:
        msgspec.json.decode(value.encode())
    except (msgspec.DecodeError, UnicodeError):
        notes.append(note("unstorable", field.name, value, None, "it is no JSON"))
        return None if field.column.nullable else msgspec.Raw(b"{}")
    return msgspec.Raw(value.encode())
