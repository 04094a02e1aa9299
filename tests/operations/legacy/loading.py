"""Makes an older schema on an empty database and fills it."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql
from pymysql.constants import CLIENT

from tests.operations.legacy.expected import Expected, expected, planted_rows
from tests.operations.legacy.flavours import FLAVOURS, WELL_KNOWN_ADMIN_HASH, Flavour
from tests.operations.legacy.generated import generating_statements
from tests.operations.legacy.rows import Reason, Row

try:
    # Two libraries of SQLite in one process would take each other's locks away.
    from pysqlite3 import dbapi2 as sqlite3
except ImportError:
    import sqlite3

# These the hand-written scripts insert themselves.
_FIRST_ADMIN = {("groups", "super"), ("users", "admin"), ("memberships", "admin in super")}
_LARGEST_INTEGER = 2**31 - 1

Rows = list[tuple[Any, ...]]


class LegacyDatabase:
    """A connection for tests that look at an older schema or play the older program. Each statement is committed."""

    def __init__(self, engine: str, connection: Any) -> None:
        self.engine = engine
        self._connection = connection

    def run(self, statement: str, *values: Any) -> Rows:
        """Run one statement, its values written as `%s`, and give the rows it returns."""
        if self.engine == "sqlite":
            kept = [_as_kept(number, value) for number, value in enumerate(values)]
            return list(self._connection.execute(statement.replace("%s", "?"), kept))
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def run_script(self, script: str) -> None:
        """Run many statements."""
        if self.engine == "sqlite":
            self._connection.executescript(script)
            return
        with self._connection.cursor() as cursor:
            cursor.execute(script)
            while cursor.nextset():
                pass

    def tables(self) -> list[str]:
        """The tables, without views."""
        query = _FILE_TABLES if self.engine == "sqlite" else _TABLES.format(schema=self._schema)
        return [name for (name,) in self.run(query)]

    def columns(self, table: str) -> list[str]:
        """The columns of a table in their order."""
        query = _FILE_COLUMNS if self.engine == "sqlite" else _COLUMNS.format(schema=self._schema)
        return [name for (name,) in self.run(query, table)]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.run(f"SELECT count(*) FROM {table}")[0][0])

    @property
    def _schema(self) -> str:
        return "current_schema()" if self.engine == "postgresql" else "DATABASE()"


_TABLES = (
    "SELECT table_name FROM information_schema.tables"
    " WHERE table_schema = {schema} AND table_type = 'BASE TABLE' ORDER BY table_name"
)
_COLUMNS = (
    "SELECT column_name FROM information_schema.columns"
    " WHERE table_schema = {schema} AND table_name = %s ORDER BY ordinal_position"
)
_FILE_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
_FILE_COLUMNS = "SELECT name FROM pragma_table_info(%s) ORDER BY cid"


@contextlib.contextmanager
def open_legacy(url: str) -> Iterator[LegacyDatabase]:
    """A connection of the kind that the older programs had, in UTC."""
    parts = urlsplit(url)
    if parts.scheme == "postgresql":
        with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            yield LegacyDatabase("postgresql", connection)
        return
    if parts.scheme == "sqlite":
        with contextlib.closing(sqlite3.connect(parts.path.removeprefix("/"), isolation_level=None)) as connection:
            # What the servers have and an older SQLite lacks.
            connection.create_function("concat", -1, lambda *parts: "".join(map(str, parts)))
            connection.create_function("repeat", 2, lambda text, times: text * times)
            connection.create_function("floor", 1, math.floor)
            yield LegacyDatabase("sqlite", connection)
        return
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.path.removeprefix("/"),
        charset="utf8mb4",
        autocommit=True,
        client_flag=CLIENT.MULTI_STATEMENTS,
        init_command="SET time_zone = '+00:00'",
    )
    with contextlib.closing(connection):
        yield LegacyDatabase("mariadb", connection)


def make_legacy(
    url: str,
    flavour: str,
    *,
    scale: int = 0,
    with_faults: bool = True,
    admin_hash: str = WELL_KNOWN_ADMIN_HASH,
) -> Expected:
    """Make an older schema with its rows on an empty database, and say what must become of them.

    `scale` adds so many users with dependent rows, among which nothing is wrong. Their numbers begin at a million;
    what is inserted later goes on above all of them. An engine other than the flavour's is refused.
    """
    kept = FLAVOURS[flavour]
    with open_legacy(url) as database:
        if database.engine != kept.engine:
            raise ValueError(f"{flavour} is a schema of {kept.engine}, and {url} is not")
        database.run_script(kept.script.replace("@admin_hash@", admin_hash))
        rows = planted_rows(kept, with_faults=with_faults)
        _allow_kinds(database, kept, rows)
        _insert_rows(database, kept, rows, admin_hash)
        for statement in generating_statements(kept, scale, database.columns):
            database.run(statement)
        if database.engine == "postgresql":
            _set_sequences(database)
            database.run("ANALYZE")
    return expected(flavour, scale=scale, with_faults=with_faults)


def _allow_kinds(database: LegacyDatabase, flavour: Flavour, rows: list[Row]) -> None:
    """Add the kinds that Holdfast does not know to the type, as someone may have done by hand."""
    if "enum kinds" not in flavour.lets:
        return
    for kind in {row.values["type"] for row in rows if Reason.UNKNOWN_KIND in row.reasons}:
        database.run(f"ALTER TYPE resource_type ADD VALUE '{_kind(flavour, kind)}'")


def _insert_rows(database: LegacyDatabase, flavour: Flavour, rows: list[Row], admin_hash: str) -> None:
    columns = {table: set(database.columns(table)) for table in flavour.tables.values()}
    database.run("BEGIN" if database.engine == "sqlite" else "START TRANSACTION")
    for row in rows:
        if "first admin" in flavour.lets and (row.noun, row.name) in _FIRST_ADMIN:
            continue
        table = flavour.tables[row.noun]
        named = {flavour.column(row.noun, column): value for column, value in row.values.items()}
        kept = {column: value for column, value in named.items() if column in columns[table]}
        if row.noun in ("resources", "old_resources"):
            kept["type"] = _kind(flavour, kept["type"])
        if kept.get("password") == WELL_KNOWN_ADMIN_HASH:
            kept["password"] = admin_hash
        _insert(database, table, kept)
    database.run("COMMIT")


def _kind(flavour: Flavour, kind: str) -> str:
    return kind.lower() if "lower-case kinds" in flavour.lets else kind


def _insert(database: LegacyDatabase, table: str, values: Mapping[str, Any]) -> None:
    places = ", ".join(["%s"] * len(values))
    database.run(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", *values.values())


def _as_kept(number: int, value: Any) -> Any:
    """A value as some program has put it into a file of SQLite: times in the spellings of many."""
    if isinstance(value, datetime):
        if value.year == 1:
            return _SPELLINGS[number % 2](value)
        return _SPELLINGS[(value.toordinal() + number) % len(_SPELLINGS)](value)
    if isinstance(value, bool):
        return int(value) if number % 2 else str(value).lower()
    return value


_SPELLINGS: tuple[Callable[[datetime], Any], ...] = (
    lambda moment: moment.isoformat(sep=" "),
    lambda moment: f"{moment.isoformat(timespec='milliseconds')}Z",
    lambda moment: f"{moment.isoformat(sep=' ')}.000000001+00:00",
    lambda moment: f"{(moment + timedelta(hours=8)).isoformat(sep=' ')} +0800 CST m=+0.012345",
    lambda moment: int(moment.replace(tzinfo=UTC).timestamp()),
    lambda moment: moment.replace(tzinfo=UTC).timestamp() / 86_400 + 2_440_587.5,
)


def _set_sequences(database: LegacyDatabase) -> None:
    """Let each sequence go on where the inserted numbers end, but for those that are far too wide."""
    for table, column in database.run(_SERIAL_COLUMNS):
        database.run(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), coalesce(max({column}), 0) + 1, false)"
            f" FROM {table} WHERE {column} < {_LARGEST_INTEGER}"
        )


_SERIAL_COLUMNS = (
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = current_schema() AND column_default LIKE 'nextval(%'"
)
