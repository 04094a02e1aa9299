"""MariaDB: mariadb-dump while a connection of ours holds read locks on the tables, and the client.

A dump names the accounts that made triggers, views and routines; an account that may not name others loads them as its
own. The dump's file is compressed.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import zstandard
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.db.address import DatabaseAddress, Host
from holdfast.operations.backup.engines.base import DumpCheck
from holdfast.operations.backup.engines.definers import WithoutDefiners
from holdfast.operations.backup.engines.mariadb import CLIENT_NAMES, DUMP_NAMES, MariadbEngine, connection_of
from holdfast.operations.backup.errors import BackupRefusedError
from holdfast.operations.backup.programs import Running, find_mariadb
from holdfast.operations.backup.streams import BLOCK
from holdfast.operations.legacy.types import LegacyError
from holdfast.operations.legacy.upgrade.dumps.base import Dumping, Loading, Moment, NamespaceState, OldDumps, Place
from holdfast.operations.legacy.upgrade.export_folder import MARIADB_DUMP
from holdfast.operations.legacy.upgrade.old_rows import OldTable
from holdfast.settings import Settings

_LEVEL = 3
# The window of that level, with room; a changed file must not make the reader take any memory it asks for.
_LARGEST_WINDOW = 32 * 1024 * 1024
_LEFT_BEHIND_SECONDS = 60
_THINGS = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = :namespace"
    " UNION SELECT routine_name FROM information_schema.routines WHERE routine_schema = :namespace"
    " UNION SELECT event_name FROM information_schema.events WHERE event_schema = :namespace ORDER BY 1 LIMIT 20"
)
_FIND = "SELECT schema_comment FROM information_schema.schemata WHERE schema_name = :namespace"
_VERSIONED = (
    "SELECT table_name FROM information_schema.tables"
    " WHERE table_schema = :namespace AND table_type = 'SYSTEM VERSIONED' ORDER BY table_name LIMIT 1"
)
# Others made them, and the account may not see their text.
_HIDDEN = (
    "SELECT routine_name FROM information_schema.routines"
    " WHERE routine_schema = :namespace AND routine_definition IS NULL ORDER BY routine_name LIMIT 1"
)
_EVENTS = "SELECT count(*) FROM information_schema.events WHERE event_schema = :namespace"


class MariadbDumps(OldDumps):
    """Of a database."""

    dialect = "mariadb"
    file_name = MARIADB_DUMP
    others_rights = "the accounts that made triggers, views and routines"

    async def pinned(self, connection: AsyncConnection, address: DatabaseAddress) -> DatabaseAddress:
        if not address.hosts:
            return address
        driver: Any = (await connection.get_raw_connection()).driver_connection
        return address.at_host(Host(driver._host, int(driver._port)))

    async def server_version(self, connection: AsyncConnection) -> str:
        return str(await _value(connection, "SELECT version()"))

    async def refuse_inexact(self, connection: AsyncConnection, place: Place, tables: Sequence[OldTable]) -> None:
        if versioned := await _value(connection, _VERSIONED, namespace=place.namespace):
            raise LegacyError(
                f"{place.namespace}.{versioned} keeps the history of its rows, which a dump leaves out: copy what is"
                " wanted of it, and let ALTER TABLE … DROP SYSTEM VERSIONING go before"
            )
        if hidden := await _value(connection, _HIDDEN, namespace=place.namespace):
            raise LegacyError(
                f"the account of {place.address.shown} may not see the text of {hidden} in {place.namespace}, which"
                " the dump must hold: grant it SELECT on mysql.proc, or drop the routine"
            )
        for each in tables:
            for name, kind in each.columns:
                if kind == "float":
                    await _refuse_rounded(connection, place.namespace, each.name, name)

    async def hold_still(self, connection: AsyncConnection, place: Place, tables: Sequence[OldTable]) -> Moment:
        names = (_quoted(connection, place.namespace, each.name) for each in tables)
        await connection.exec_driver_sql(f"LOCK TABLES {', '.join(f'{name} READ' for name in names)}")
        has_events = await _value(connection, _EVENTS, namespace=place.namespace)
        return Moment(
            server_version=await self.server_version(connection),
            # Who may not see events may not ask for them, either.
            options=("--events",) if has_events else (),
            largest_statement=int(await _value(connection, "SELECT @@GLOBAL.max_allowed_packet")),
        )

    @contextlib.contextmanager
    def dump(self, settings: Settings, place: Place, moment: Moment) -> Iterator[Dumping]:
        program = find_mariadb(*DUMP_NAMES)
        with connection_of(place.address.with_database(place.namespace)) as connected:
            running = connected.start(
                program.path,
                *moment.options,
                "--single-transaction",
                "--quick",
                "--skip-lock-tables",
                # Neither is of use in InnoDB, and each needs a right.
                "--skip-add-locks",
                "--skip-disable-keys",
                "--routines",
                "--triggers",
                "--hex-blob",
                "--no-tablespaces",
                writes=True,
            )
            try:
                check = MariadbEngine().check(settings, Path(), moment.server_version)
                yield _Dumping(running, program.shown, _Watched(running, check), moment.largest_statement)
            finally:
                running.end()

    def check(self, settings: Settings, folder: Path, server_version: str) -> DumpCheck:
        return _Check(MariadbEngine().check(settings, folder, server_version))

    async def lock_out_other_loads(self, connection: AsyncConnection, place: Place) -> None:
        if not await _value(connection, "SELECT GET_LOCK(:name, 0)", name=_lock("holdfast_load", place)):
            raise LegacyError(f"another load into {place.shown} is under way: wait for its end")
        # A client whose maker was killed goes on with what it has read so far.
        name, seconds = _lock("holdfast_client", place), _LEFT_BEHIND_SECONDS
        if not await _value(connection, "SELECT GET_LOCK(:name, :seconds)", name=name, seconds=seconds):
            raise LegacyError(f"a load into {place.shown} that was broken off has not ended yet: try again in a minute")
        await _value(connection, "SELECT RELEASE_LOCK(:name)", name=name)

    async def find(self, connection: AsyncConnection, place: Place) -> NamespaceState | None:
        found = (await connection.execute(text(_FIND), {"namespace": place.namespace})).one_or_none()
        if found is None:
            return None
        things = await connection.execute(text(_THINGS), {"namespace": place.namespace})
        return NamespaceState(tuple(str(name) for (name,) in things), str(found[0]))

    async def make(self, connection: AsyncConnection, place: Place, comment: str) -> None:
        name = _quoted(connection, place.namespace)
        await connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COMMENT '{comment}'")

    async def drop(self, connection: AsyncConnection, place: Place) -> None:
        await connection.exec_driver_sql("SET SESSION foreign_key_checks = 0")
        await connection.exec_driver_sql(f"DROP DATABASE {_quoted(connection, place.namespace)}")

    async def set_comment(self, connection: AsyncConnection, place: Place, comment: str) -> None:
        await connection.exec_driver_sql(f"ALTER DATABASE {_quoted(connection, place.namespace)} COMMENT '{comment}'")

    def load(self, settings: Settings, place: Place, server_version: str) -> contextlib.AbstractContextManager[Loading]:
        return _load(place, _AsItIs)

    def load_as_own(
        self, settings: Settings, place: Place, server_version: str
    ) -> contextlib.AbstractContextManager[Loading]:
        return _load(place, WithoutDefiners)

    async def settle(self, connection: AsyncConnection, place: Place, tables: Sequence[OldTable]) -> None:
        return


async def _value(connection: AsyncConnection, query: str, **values: Any) -> Any:
    """The first value of a query; None for no row."""
    return (await connection.execute(text(query), values)).scalar()


async def _refuse_rounded(connection: AsyncConnection, namespace: str, table: str, column: str) -> None:
    """Raise LegacyError where a FLOAT holds more than the six digits that the server gives to anybody."""
    name = _quoted(connection, column)
    query = (
        f"SELECT count(*) FROM {_quoted(connection, namespace, table)}"  # noqa: S608 - names of the catalogue
        f" WHERE CAST(CAST(CAST({name} AS CHAR) AS FLOAT) AS DOUBLE) <> CAST({name} AS DOUBLE)"
    )
    rows = (await connection.exec_driver_sql(query)).scalar_one()
    if rows:
        raise LegacyError(
            f"{namespace}.{table}.{column} is a FLOAT, of which a dump holds six digits: {rows} rows have more. Let"
            f" ALTER TABLE {namespace}.{table} MODIFY {column} DOUBLE go before, which changes no value"
        )


def _quoted(connection: AsyncConnection, *names: str) -> str:
    return ".".join(map(connection.dialect.identifier_preparer.quote_identifier, names))


def _lock(what: str, place: Place) -> str:
    return f"{what}_{hashlib.sha256(place.namespace.encode()).hexdigest()[:32]}"


@contextlib.contextmanager
def _load(place: Place, passed_on: "type[_AsItIs | WithoutDefiners]") -> Iterator[Loading]:
    program = find_mariadb(*CLIENT_NAMES)
    with connection_of(place.address.with_database(place.namespace)) as connected:
        running = connected.start(
            program.path,
            "--batch",
            "--skip-reconnect",
            # Without these two the client takes comments out of the bodies of procedures, and changes their line ends.
            "--comments",
            "--binary-mode",
            # Rows that a check of today would refuse are rows of the old table, too.
            "--init-command=SET SESSION check_constraint_checks = 0, max_statement_time = 0,"
            f" @holdfast_client = GET_LOCK('{_lock('holdfast_client', place)}', {_LEFT_BEHIND_SECONDS})",
            writes=False,
        )
        loading = _Loading(running, passed_on(running))
        try:
            yield loading
        finally:
            loading.end()


class _AsItIs:
    """Passes SQL text on to a program."""

    def __init__(self, running: Running) -> None:
        self.write = running.write

    def finish(self) -> None:
        """Nothing is held back."""


class _Loading(Loading):
    def __init__(self, running: Running, passed_on: _AsItIs | WithoutDefiners) -> None:
        self._running = running
        self._passed_on = passed_on
        self._unpacker = _unpacker(passed_on)

    def write(self, data: bytes) -> int:
        return int(self._unpacker.write(data))

    def finish(self) -> None:
        self._passed_on.finish()
        self._running.finish()

    def end(self) -> None:
        self._running.end()


class _Dumping(Dumping):
    def __init__(self, running: Running, tool: str, watched: "_Watched", largest_statement: int | None) -> None:
        self.tool = tool
        self._running = running
        self._watched = watched
        self._largest_statement = largest_statement
        packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self.source = packer.stream_reader(cast("IO[bytes]", self._watched), read_size=BLOCK)

    def finish(self) -> None:
        self._running.finish()
        self._watched.finish()
        longest, most = self._watched.longest_statement, self._largest_statement
        if most is not None and longest >= most:
            raise LegacyError(
                f"a row of the old tables needs a statement of {longest:,} bytes, and the server takes {most:,} at"
                " once: raise its max_allowed_packet, or the export could not be loaded"
            )

    def end(self) -> None:
        self._running.end()


class _Watched:
    """The text of a dump as it is written: whether it is whole, and how long its longest statement is."""

    def __init__(self, running: Running, check: DumpCheck) -> None:
        self._source = running.stdout
        self._check = check
        self._length = 0
        self._last = b""
        self.longest_statement = 0

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        block = self._source.read(size if size > 0 else BLOCK)
        self._check.write(block)
        self._measure(block)
        return block

    def finish(self) -> None:
        """Refuse a text without the last line."""
        self._check.finish()

    def _measure(self, block: bytes) -> None:
        # A line end inside a value is written as \n, so nothing in a row looks like the end of a statement.
        *whole, rest = (self._last + block).split(b";\n")
        self._length -= len(self._last)
        for each in whole:
            self.longest_statement = max(self.longest_statement, self._length + len(each))
            self._length = 0
        self._length += len(rest)
        self.longest_statement = max(self.longest_statement, self._length)
        self._last = b";" if rest.endswith(b";") else b""


class _Check(DumpCheck):
    """Unpacks the file for the check of its text."""

    def __init__(self, check: DumpCheck) -> None:
        self._check = check
        self._unpacker = _unpacker(check)

    def write(self, data: bytes) -> int:
        try:
            return int(self._unpacker.write(data))
        except zstandard.ZstdError as error:
            raise BackupRefusedError(f"the dump cannot be unpacked: {error}") from error

    def finish(self) -> None:
        self._check.finish()

    def end(self) -> None:
        self._check.end()


def _unpacker(sink: Any) -> Any:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    return unpacker.stream_writer(cast("IO[bytes]", sink), closefd=False)
