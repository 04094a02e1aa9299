"""Column types that mean the same on SQLite, PostgreSQL and MariaDB.

Every string compares byte by byte (spec decision 7): `COLLATE "C"`, `ascii_nopad_bin` and `utf8mb4_nopad_bin`, BINARY.
MariaDB's default collation takes `aB` and `Ab` for one key, and its plain `_bin` ones ignore trailing spaces.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import JSON, TIMESTAMP, Boolean, CheckConstraint, Column, Dialect, Index, Integer, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

BOUNDS_SUFFIX = "_bounds"


class Key(TypeDecorator[str]):
    """An id or another word of ASCII, at most `width` characters."""

    impl = String
    cache_ok = True

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(self.width, collation="C"))
        if dialect.name == "mariadb":
            return dialect.type_descriptor(mysql.VARCHAR(self.width, charset="ascii", collation="ascii_nopad_bin"))
        return dialect.type_descriptor(String(self.width))


class Words(TypeDecorator[str]):
    """Text of any language, at most `width` characters."""

    impl = String
    cache_ok = True

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(self.width, collation="C"))
        return dialect.type_descriptor(String(self.width))


class LongText(TypeDecorator[str]):
    """Text without a stated width: a description, a message, a file's content (MariaDB: at most 16 MiB)."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "mariadb":
            return dialect.type_descriptor(mysql.MEDIUMTEXT())
        return dialect.type_descriptor(Text())


class Timestamp(TypeDecorator[Any]):
    """A moment in UTC with microseconds.

    PostgreSQL keeps `timestamptz`, MariaDB `DATETIME(6)` in UTC, SQLite text of the fixed form
    `YYYY-MM-DD hh:mm:ss.ffffff`, which sorts as time does.
    """

    impl = TIMESTAMP
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "mariadb":
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(TIMESTAMP(timezone=True))


class Json(TypeDecorator[Any]):
    """A JSON value, kept as the text that was written. It is read as `msgspec.Raw`, so that nothing is parsed twice."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # SQLite would turn the number in a column declared JSON into its own, and round it.
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else JSON())


class Flag(TypeDecorator[bool]):
    """True or false."""

    impl = Boolean
    cache_ok = True


def bounds_on_sqlite(columns: Iterable[Column[Any]]) -> list[CheckConstraint]:
    """Checks that refuse on SQLite what the types of the servers refuse: it takes any length and number anywhere."""
    checks = []
    for column in columns:
        width = getattr(column.type, "width", None)
        if width is not None:
            condition = f"length({column.name}) <= {width}"
        elif type(column.type) is Integer:
            condition = f"{column.name} BETWEEN -2147483648 AND 2147483647"
        else:
            continue
        check = CheckConstraint(condition, name=f"{column.name}{BOUNDS_SUFFIX}", info={"dialect": "sqlite"})
        checks.append(check.ddl_if(dialect="sqlite"))
    return checks


def index_on_mariadb(*columns: str) -> Index:
    """An index for a list in the order of a unique key and then the row's id, which only MariaDB needs.

    The others take the rows out of the unique key, and put in order by their ids only those that are equal up to there.
    MariaDB sorts them all.
    """
    return Index(None, *columns, info={"dialect": "mariadb"}).ddl_if(dialect="mariadb")


class utc_timestamp(FunctionElement[Any]):  # noqa: N801 - it reads as the SQL function it renders
    """The engine's present time in UTC with microseconds (SQLite: milliseconds), for column defaults."""

    inherit_cache = True
    type = Timestamp()


@compiles(utc_timestamp)
def _default_utc_timestamp(element: utc_timestamp, compiler: SQLCompiler, **kw: Any) -> str:
    return "now()"


@compiles(utc_timestamp, "mariadb")
def _mariadb_utc_timestamp(element: utc_timestamp, compiler: SQLCompiler, **kw: Any) -> str:
    return "CURRENT_TIMESTAMP(6)"


@compiles(utc_timestamp, "sqlite")
def _sqlite_utc_timestamp(element: utc_timestamp, compiler: SQLCompiler, **kw: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"
