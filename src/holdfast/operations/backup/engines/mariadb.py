"""MariaDB: mariadb-dump in one transaction, beside a transaction of ours that sees the same moment, and the client.

No session can take over the moment of another one here. So for the blink of an eye in which both transactions begin
nobody commits: BACKUP STAGE BLOCK_COMMIT, which lets everybody read and write on, or where the account may not say
that (it needs RELOAD) a read lock on the tables. Nothing is locked while the dump is read.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from holdfast.core.errors import HoldfastError
from holdfast.db.address import DatabaseAddress, Host, parse_address
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import SerializationError, StatementTimeoutError
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.server_connection import server_connection
from holdfast.db.tables import metadata
from holdfast.operations.backup.engines.base import DumpCheck, Loading, OpenDump
from holdfast.operations.backup.engines.definers import WithoutDefiners
from holdfast.operations.backup.engines.marker import ServerEngine
from holdfast.operations.backup.errors import BackupFailedError, BackupRefusedError
from holdfast.operations.backup.programs import Running, find_mariadb, secret_file
from holdfast.operations.backup.streams import BLOCK, OnBytes, Stop
from holdfast.settings import Settings

DUMP_NAMES, CLIENT_NAMES = ("mariadb-dump", "mysqldump"), ("mariadb", "mysql")
_LARGEST_PACKET = "1G"
# Commits wait no longer for us than this; then the backup gives up, not they.
_START_SECONDS = 10
_LOCK_SECONDS = 3
_LOCK_ATTEMPTS = 5
_BEGUN = (b"-- Table structure for table", b"-- Dump completed")
_LONGEST_HEAD = 256 * 1024
# Those whose text the account may not see: others made them, and the dump would fail.
_HIDDEN_ROUTINES = (
    "SELECT count(*) FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_definition IS NULL"
)
_COMPLETED = b"\n-- Dump completed"
_TAIL_BYTES = 200


class MariadbEngine(ServerEngine):
    """A database of a MariaDB server."""

    dialect = "mariadb"
    file_name = "database.sql"

    @contextlib.asynccontextmanager
    async def dump(
        self, settings: Settings, database: Database, folder: Path, stop: Stop, on_bytes: OnBytes
    ) -> AsyncIterator[OpenDump]:
        program = await in_thread(find_mariadb, *DUMP_NAMES)
        address = parse_address(settings.resolved_database_url)
        async with database.snapshot() as tx:
            if address.hosts and tx.host is not None:
                # Two nodes of a cluster are not at one moment.
                address = address.at_host(tx.host)
            version, size = await _server(tx)
            ((hidden,),) = await tx.fetch_text(_HIDDEN_ROUTINES)
            with connection_of(address) as connected, contextlib.ExitStack() as stack:
                async with _nobody_commits(database, tx.host):
                    running = connected.start(
                        program.path,
                        "--single-transaction",
                        "--quick",
                        "--skip-lock-tables",
                        # Holdfast's own come back from its migrations, too.
                        "--skip-routines" if hidden else "--routines",
                        "--triggers",
                        "--hex-blob",
                        "--no-tablespaces",
                        writes=True,
                    )
                    stack.callback(running.end)
                    # The first read fixes the moment.
                    await tx.fetch_text("SELECT version_num FROM alembic_version")
                    async with asyncio.timeout(_START_SECONDS):
                        head = await in_thread(_head_of, running)
                yield _OpenDump(tx, running, head=head, version=version, tool=program.shown, expected_bytes=size)

    def check(self, settings: Settings, folder: Path, server_version: str) -> DumpCheck:
        return _Check()

    @contextlib.asynccontextmanager
    async def load(
        self, settings: Settings, address: DatabaseAddress, stop: Stop, namespace: str
    ) -> AsyncIterator[Loading]:
        program = await in_thread(find_mariadb, *CLIENT_NAMES)
        if address.hosts:
            address = address.at_host(await _host_in_use(address))
        with connection_of(address) as connected:
            # Without --comments the client takes them out of the bodies of procedures.
            options = ("--batch", "--skip-reconnect", "--comments")
            loading = _Loading(connected.start(program.path, *options, writes=False))
            try:
                yield loading
            finally:
                loading.end()

    def loaded_address(self, address: DatabaseAddress) -> DatabaseAddress:
        return address


async def _host_in_use(address: DatabaseAddress) -> Host:
    """The first that is well, as the mark of the restore took it."""
    async with server_connection(address) as opened:
        driver: Any = (await opened.get_raw_connection()).driver_connection
        return Host(driver._host, int(driver._port))


async def _server(tx: Transaction) -> tuple[str, int]:
    ((version,),) = await tx.fetch_text("SELECT version()")
    ((size,),) = await tx.fetch_text(
        "SELECT coalesce(sum(data_length), 0) FROM information_schema.tables WHERE table_schema = DATABASE()"
    )
    return str(version), int(size)


@contextlib.asynccontextmanager
async def _nobody_commits(database: Database, host: Host | None) -> AsyncIterator[None]:
    """No transaction of anybody ends in the block; the next ones go on after it."""
    async with database.read() as tx:
        if tx.host != host:
            raise BackupFailedError(f"the database went from {host} to {tx.host} just now: run the backup again")
        await tx.fetch_text(f"SET SESSION lock_wait_timeout = {_LOCK_SECONDS}")
        try:
            release = await _stop_commits(tx)
            try:
                yield
            finally:
                for statement in release:
                    await tx.fetch_text(statement)
        finally:
            await tx.fetch_text("SET SESSION lock_wait_timeout = DEFAULT")


async def _stop_commits(tx: Transaction) -> Sequence[str]:
    """Begin; the statements that end it."""
    for attempts_left in range(_LOCK_ATTEMPTS - 1, -1, -1):
        try:
            if await _may_reload(tx):
                await tx.fetch_text("BACKUP STAGE START")
                await tx.fetch_text("BACKUP STAGE BLOCK_COMMIT")
                return ("BACKUP STAGE END",)
            tables = ", ".join(f"`{name}` READ" for name in (*metadata.tables, "alembic_version"))
            await tx.fetch_text(f"LOCK TABLES {tables}")
        except (SerializationError, StatementTimeoutError):
            with contextlib.suppress(HoldfastError):
                await tx.fetch_text("BACKUP STAGE END")
            if attempts_left == 0:
                raise BackupFailedError(
                    f"the database was busy with a change of its tables for {_LOCK_ATTEMPTS} times {_LOCK_SECONDS}"
                    " seconds: run the backup again when it is done"
                ) from None
            await asyncio.sleep(1)
        else:
            return ("UNLOCK TABLES",)
    raise AssertionError("unreachable")


async def _may_reload(tx: Transaction) -> bool:
    grants = [str(row[0]) for row in await tx.fetch_text("SHOW GRANTS")]
    everywhere = [grant for grant in grants if " ON *.* " in grant]
    return any("RELOAD" in grant or "ALL PRIVILEGES" in grant for grant in everywhere)


def _head_of(running: Running) -> bytes:
    """The dump's first bytes, up to where its transaction is open for certain: it reads its first table."""
    head = b""
    while not any(each in head for each in _BEGUN) and len(head) < _LONGEST_HEAD:
        block: bytes = running.stdout.read1(BLOCK)  # type: ignore[attr-defined]
        if not block:
            running.finish()
            break
        head += block
    return head


class ProgramConnection:
    """What a program needs to reach a database; the name of the file holds no secret, its content does."""

    def __init__(self, file: str, descriptors: tuple[int, ...], database: str, secrets: tuple[str, ...]) -> None:
        self._file = file
        self._descriptors = descriptors
        self._database = database
        self._secrets = secrets

    def start(self, program: Path, *options: str, writes: bool) -> Running:
        """Start a program on the database; whoever starts it ends it."""
        common = ("--default-character-set=utf8mb4", f"--max-allowed-packet={_LARGEST_PACKET}")
        return Running(
            [program, f"--defaults-extra-file={self._file}", *common, *options, self._database],
            environment={},
            descriptors=self._descriptors,
            writes=writes,
            secrets=self._secrets,
        )


@contextlib.contextmanager
def connection_of(address: DatabaseAddress) -> Iterator[ProgramConnection]:
    """A way for programs to the database, while the block lasts."""
    # Of an address with several hosts the caller takes the one that its session is on.
    url = make_url(address.text)
    options: dict[str, Any] = {"user": url.username, "password": url.password}
    if socket := url.query.get("unix_socket"):
        options["socket"] = socket
    else:
        options |= {"host": url.host or "127.0.0.1", "port": url.port or 3306, "protocol": "tcp"}
    if authority := url.query.get("ssl_ca"):
        options |= {"ssl-ca": authority, "ssl-verify-server-cert": "1"}
    elif url.query.get("ssl") == "true":
        options |= {"ssl": "1", "ssl-verify-server-cert": "1"}
    lines = [f"{name}={_quoted(str(value))}" for name, value in options.items() if value is not None]
    with secret_file("\n".join(["[client]", *lines, ""])) as (path, descriptors):
        password = url.password or ""
        yield ProgramConnection(path, descriptors, str(url.database), (_quoted(password).strip('"'), password))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


class _OpenDump(OpenDump):
    def __init__(
        self, tx: Transaction, running: Running, *, head: bytes, version: str, tool: str, expected_bytes: int
    ) -> None:
        self.tx = tx
        self.source = self._stream = _Tail(running, head)
        self.server_version = version
        self.tool = tool
        self.expected_bytes = expected_bytes
        self._running = running

    def finish(self) -> None:
        self._running.finish()
        if _COMPLETED not in self._stream.tail:
            raise BackupFailedError("mariadb-dump ended before its last line")

    def end(self) -> None:
        self._running.end()


class _Tail:
    """The dump as a stream, remembering its last bytes."""

    def __init__(self, running: Running, head: bytes) -> None:
        self._running = running
        self._head = head
        self.tail = head[-_TAIL_BYTES:]

    def read(self, size: int = -1) -> bytes:
        if self._head:
            size = size if size > 0 else len(self._head)
            block, self._head = self._head[:size], self._head[size:]
        else:
            block = self._running.stdout.read(size)
        self.tail = (self.tail + block)[-_TAIL_BYTES:]
        return block


class _Check(DumpCheck):
    """The SQL is whole where its last line is there: mariadb-dump writes it when all went well."""

    def __init__(self) -> None:
        self._tail = b""

    def write(self, data: bytes) -> int:
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        return len(data)

    def finish(self) -> None:
        if _COMPLETED not in self._tail:
            raise BackupRefusedError("the dump of the backup does not end with the line that mariadb-dump closes with")

    def end(self) -> None:
        return


class _Loading(Loading):
    def __init__(self, running: Running) -> None:
        self._running = running
        self._without_definers = WithoutDefiners(running)

    @property
    def sink(self) -> WithoutDefiners:
        return self._without_definers

    def loaded(self) -> None:
        self._without_definers.finish()
        self._running.finish()

    def end(self) -> None:
        self._running.end()
