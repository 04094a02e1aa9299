"""PostgreSQL: pg_dump in its own format, on the exported snapshot of a transaction of ours, and pg_restore.

Only the schema that holds Holdfast's tables is taken along: extensions and other schemas belong to the server.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.operations.backup.engines.base import DumpCheck, Loading, OpenDump
from holdfast.operations.backup.engines.marker import ServerEngine, inspect_server
from holdfast.operations.backup.errors import (
    BackupFailedError,
    BackupRefusedError,
    CheckBrokenOffError,
    ProgramKilledError,
)
from holdfast.operations.backup.programs import Program, Running, find_postgresql, secret_file
from holdfast.operations.backup.streams import OnBytes, Stop
from holdfast.settings import Settings

# A migration that holds its tables for longer than this is under way; the backup says so and is tried again.
_LOCK_SECONDS = 30
# What libpq knows in a URL; our driver takes more.
_URL_OPTIONS = {
    "host",
    "port",
    "hostaddr",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "options",
    "target_session_attrs",
    "connect_timeout",
    "passfile",
    "service",
    "gssencmode",
    "krbsrvname",
    "channel_binding",
}


class PostgresqlEngine(ServerEngine):
    """A database of a PostgreSQL server."""

    dialect = "postgresql"
    file_name = "database.pgdump"

    @contextlib.asynccontextmanager
    async def dump(
        self, settings: Settings, database: Database, folder: Path, stop: Stop, on_bytes: OnBytes
    ) -> AsyncIterator[OpenDump]:
        async with database.snapshot() as tx:
            # The transaction lies idle while pg_dump reads.
            for name in ("idle_in_transaction_session_timeout", "transaction_timeout"):
                if await tx.fetch_text(f"SELECT 1 FROM pg_settings WHERE name = '{name}'"):  # noqa: S608
                    await tx.fetch_text(f"SET LOCAL {name} = 0")
            version, number, namespace = await _server(tx)
            program = await in_thread(_find, "pg_dump", settings, number)
            ((snapshot,),) = await tx.fetch_text("SELECT pg_export_snapshot()")
            ((size,),) = await tx.fetch_text("SELECT pg_database_size(current_database())")
            address = parse_address(settings.resolved_database_url)
            if address.hosts and tx.host is not None:
                # The snapshot is known to its own server only.
                address = address.at_host(tx.host)
            with running_program(
                program,
                address,
                "--format=custom",
                "--compress=0",
                f"--snapshot={snapshot}",
                f"--schema={quoted_pattern(namespace)}",
                "--no-owner",
                "--no-privileges",
                f"--lock-wait-timeout={_LOCK_SECONDS}s",
                "--no-password",
                writes=True,
            ) as running:
                yield _OpenDump(
                    tx, running, version=version, tool=program.shown, namespace=namespace, expected_bytes=int(size)
                )

    def check(self, settings: Settings, folder: Path, server_version: str) -> DumpCheck:
        program = _find("pg_restore", settings, major_of(server_version))
        # Without a database it writes the SQL of the whole dump, so it must read all of it.
        return _Check(Running([program.path, "--file=/dev/null"], environment={}, descriptors=(), writes=False))

    @contextlib.asynccontextmanager
    async def load(
        self, settings: Settings, address: DatabaseAddress, stop: Stop, namespace: str
    ) -> AsyncIterator[Loading]:
        state = await inspect_server(address)
        program = await in_thread(_find, "pg_restore", settings, major_of(state.server_version))
        with running_program(
            program,
            address,
            "--exit-on-error",
            "--single-transaction",
            # The schema itself is there already, as it is in every new database.
            f"--schema={namespace}",
            "--no-owner",
            "--no-privileges",
            "--no-password",
            writes=False,
        ) as running:
            yield _Loading(running)

    def loaded_address(self, address: DatabaseAddress) -> DatabaseAddress:
        return address


async def _server(tx: Transaction) -> tuple[str, int, str]:
    ((version, number, namespace),) = await tx.fetch_text(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000, current_schema()"
    )
    return str(version), int(number), str(namespace)


def major_of(version: str) -> int:
    """18 of `18.4 (Debian …)`."""
    return int(version.partition(".")[0].partition(" ")[0])


def _find(name: str, settings: Settings, at_least: int) -> Program:
    return find_postgresql(name, settings.postgresql_bin, at_least=at_least)


def quoted_pattern(name: str) -> str:
    """A name as pg_dump takes it where it takes patterns."""
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def running_program(program: Program, address: DatabaseAddress, *options: str, writes: bool) -> Iterator[Running]:
    """`pg_dump` or `pg_restore` on a database, ended with the block."""
    url, password = url_and_password(address)
    entry = password.replace("\\", "\\\\").replace(":", "\\:")
    with secret_file(f"*:*:*:*:{entry}\n") as (path, descriptors):
        running = Running(
            [program.path, *options, f"--dbname={url}"],
            environment={"PGPASSFILE": path} if password else {},
            descriptors=descriptors,
            writes=writes,
            secrets=(entry, password),
        )
        try:
            yield running
        finally:
            running.end()


def url_and_password(address: DatabaseAddress) -> tuple[str, str]:
    """The address as libpq takes it, with its password apart: every user of the machine sees a command line."""
    parts = urlsplit(address.dsn)
    account, _, hosts = parts.netloc.rpartition("@")
    user, _, password = account.partition(":")
    query = {name: value for name, value in parse_qsl(parts.query) if name in _URL_OPTIONS}
    if address.hosts:
        # As our driver does: a standby takes nothing in.
        query.setdefault("target_session_attrs", "read-write")
    given = dict(parse_qsl(parts.query)).get("password", "")
    netloc = f"{user}@{hosts}" if user else hosts
    url = urlunsplit(("postgresql", netloc, parts.path, urlencode(query), ""))
    return url, unquote(password) or given


class _OpenDump(OpenDump):
    def __init__(
        self, tx: Transaction, running: Running, *, version: str, tool: str, namespace: str, expected_bytes: int
    ) -> None:
        self.tx = tx
        self.source = running.stdout
        self.server_version = version
        self.tool = tool
        self.namespace = namespace
        self.expected_bytes = expected_bytes
        self._running = running

    def finish(self) -> None:
        self._running.finish()

    def end(self) -> None:
        self._running.end()


class _Check(DumpCheck):
    def __init__(self, running: Running) -> None:
        self._running = running

    def write(self, data: bytes) -> int:
        with _judged():
            return self._running.write(data)

    def finish(self) -> None:
        with _judged():
            self._running.finish()

    def end(self) -> None:
        self._running.end()


@contextlib.contextmanager
def _judged() -> Iterator[None]:
    """What the failure of pg_restore in the block says about the dump."""
    try:
        yield
    except ProgramKilledError as error:
        raise CheckBrokenOffError(
            f"the backup could not be checked: {error.message}. Somebody ended it, or the machine has too little"
            " memory: try again"
        ) from error
    except BackupFailedError as error:
        raise BackupRefusedError(f"pg_restore cannot read the dump: {error.message}") from error


class _Loading(Loading):
    def __init__(self, running: Running) -> None:
        self._running = running

    @property
    def sink(self) -> Running:
        return self._running

    def loaded(self) -> None:
        self._running.finish()

    def end(self) -> None:
        self._running.end()
