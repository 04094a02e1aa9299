"""SQLite: a copy by its own backup interface, page by page inside one read transaction.

The transaction keeps the copy on one moment while others write: no page that changes meanwhile makes it start over, and
it blocks nobody. Only the log cannot be reset until it ends.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.db.address import DatabaseAddress
from holdfast.db.engines import load_engine
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.bundle_file import sync_folder
from holdfast.db.sqlite_driver import sqlite3
from holdfast.db.unfinished import restored_path
from holdfast.operations.backup.engines.base import DumpCheck, Engine, Loading, OpenDump, StillAlone, TargetState
from holdfast.operations.backup.errors import (
    BackupFailedError,
    BackupRefusedError,
    CheckBrokenOffError,
    RestoreFailedError,
    RestoreRefusedError,
)
from holdfast.operations.backup.running import entered
from holdfast.operations.backup.streams import OnBytes, Stop
from holdfast.operations.backup.types import is_backup_id
from holdfast.settings import Settings

_PAGES_AT_ONCE = 512
_SOLE_USER_SECONDS = 2
# Whatever is read of a copy holds nobody up.
_SLOW_SECONDS = 3600.0
# What is wrong with the file itself: its pages, its header, or the tables that it ought to have. Anything else, such as
# a full disk, is of this machine.
_OF_THE_FILE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_PRIMARY_CODE = 0xFF
# What SQLite has beside a file: what a log holds, it replays over whatever file has the name.
_BESIDE = ("-wal", "-shm", "-journal")


class SqliteEngine(Engine):
    """A database file."""

    dialect = "sqlite"
    file_name = "database.sqlite"

    @contextlib.asynccontextmanager
    async def dump(
        self, settings: Settings, database: Database, folder: Path, stop: Stop, on_bytes: OnBytes
    ) -> AsyncIterator[OpenDump]:
        engine = load_engine("sqlite")
        source: Path = database.path  # type: ignore[attr-defined]
        copy = folder / "copy.sqlite"
        await in_thread(_copy, source, copy, stop)
        connection = engine.connect(copy, read_only=True)
        thread = ThreadPoolExecutor(1, thread_name_prefix="backup-reader")
        try:
            connection.execute("BEGIN")
            tx = engine.SqliteTransaction(connection, _SLOW_SECONDS, thread)
            with copy.open("rb") as stream:
                yield _OpenCopy(tx, stream, copy.stat().st_size)
        finally:
            thread.shutdown()
            connection.close()

    def check(self, settings: Settings, folder: Path, server_version: str) -> DumpCheck:
        return _FileCheck(folder / "check.sqlite")

    @contextlib.asynccontextmanager
    async def alone(self, address: DatabaseAddress) -> AsyncIterator[StillAlone]:
        async def still_alone() -> None:
            """Nobody takes the lock of a file from the process that has it."""

        async with entered(_sole_restore(address.path)):
            yield still_alone

    async def inspect(self, settings: Settings, address: DatabaseAddress) -> TargetState:
        return await asyncio.to_thread(_inspect, address.path)

    async def make_room(self, address: DatabaseAddress, state: TargetState, backup_id: str) -> str | None:
        return await asyncio.to_thread(_make_room, address.path, backup_id)

    @contextlib.asynccontextmanager
    async def load(
        self, settings: Settings, address: DatabaseAddress, stop: Stop, namespace: str
    ) -> AsyncIterator[Loading]:
        loading = _FileLoading(restored_path(address.path))
        try:
            yield loading
        finally:
            loading.end()

    def loaded_address(self, address: DatabaseAddress) -> DatabaseAddress:
        return DatabaseAddress(text=f"sqlite:///{restored_path(address.path)}", dialect_name="sqlite")

    async def declare_finished(self, address: DatabaseAddress) -> None:
        await in_thread(_declare_finished, address.path)


class _OpenCopy(OpenDump):
    def __init__(self, tx: Any, stream: Any, size: int) -> None:
        self.tx = tx
        self.source = stream
        self.server_version = str(sqlite3.sqlite_version)
        self.tool = f"SQLite {sqlite3.sqlite_version}"
        self.expected_bytes = size

    def finish(self) -> None:
        return

    def end(self) -> None:
        return


def _copy(source: Path, copy: Path, stop: Stop) -> None:
    needed, free = source.stat().st_size, shutil.disk_usage(copy.parent).free
    if needed > free:
        raise BackupFailedError(
            f"the copy of the database needs {needed:,} bytes in {copy.parent}, where {free:,} are free: make room, or"
            " let HOLDFAST_DATA_DIR be on a larger disk"
        )
    reading = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=60)
    try:
        writing = sqlite3.connect(str(copy), isolation_level=None)
        try:
            # The read lasts as long as the copy: without it each step would begin one of its own, and a write of
            # another process between two steps would make the copy start over.
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            reading.backup(writing, pages=_PAGES_AT_ONCE, progress=lambda *_: stop.check(), sleep=0)
            reading.execute("COMMIT")
        finally:
            writing.close()
    except sqlite3.Error as error:
        raise BackupFailedError(f"the database could not be copied: {error}") from error
    finally:
        reading.close()


class _FileCheck(DumpCheck):
    """Holds the file against SQLite's own checks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Unbuffered, so that closing it has nothing left to write: the blocks are large ones.
        self._stream = path.open("wb", buffering=0)

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            raise CheckBrokenOffError(
                f"the backup could not be checked: its database cannot be written to {self._path.parent}: {error}"
            ) from error
        return len(data)

    def finish(self) -> None:
        self._stream.close()
        check_file(self._path)

    def end(self) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)


def check_file(path: Path) -> None:
    """Refuse a file whose pages, indexes or foreign keys are not in order.

    Raises CheckBrokenOffError where that could not be found out: a full disk says nothing about the file.
    """
    try:
        with contextlib.closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
            _refuse_disorder(connection)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE in _OF_THE_FILE:
            raise BackupRefusedError(f"SQLite cannot read the database of the backup: {error}") from error
        raise CheckBrokenOffError(
            f"SQLite could not check the database of the backup in {path.parent}: {error}"
        ) from error


def _refuse_disorder(connection: Any) -> None:
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise BackupRefusedError(f"SQLite finds the database of the backup damaged: {'; '.join(found)}")
    # An empty file is in order, too.
    connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if orphan := connection.execute("PRAGMA foreign_key_check").fetchone():
        raise BackupRefusedError(
            f"the database of the backup has a row in {orphan[0]} whose parent in {orphan[2]} is missing"
        )


def _inspect(path: Path) -> TargetState:
    tables: list[str] = []
    if path.exists() and path.stat().st_size:
        try:
            connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
            try:
                tables = [
                    str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
                ]
            finally:
                connection.close()
        except sqlite3.Error as error:
            # Whatever it is, it is somebody's file.
            tables = [f"a file that is no SQLite database: {error}"]
    return TargetState(
        server_version=str(sqlite3.sqlite_version),
        own_tables=sorted(name for name in tables if not name.startswith("sqlite_")),
        own_views=[],
        sessions=0,
        unfinished="another" if restored_path(path).exists() else None,
    )


@contextlib.contextmanager
def _sole_restore(path: Path) -> Iterator[None]:
    """A locked file beside the database. It goes with the block; one that a killed restore leaves is not locked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.restore-lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before may have removed the file between our two calls: then others lock another one.
            is_ours = os.path.samestat(os.fstat(descriptor), lock.stat())
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        if not is_ours:
            raise RestoreRefusedError(f"another restore into {path} is under way: wait for its end")
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _make_room(path: Path, backup_id: str) -> str | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = restored_path(path)
    # The file is the mark, so it must be there before the former database goes.
    part.write_bytes(b"")
    part.chmod(0o600)
    sync_folder(path.parent)
    for ending in _BESIDE:
        _beside(part, ending).unlink(missing_ok=True)
    kept = _free_name(path, backup_id if is_backup_id(backup_id) else "restore")
    if path.exists() and path.stat().st_size:
        _take_alone(path, part, kept)
    moved = [path.rename(kept)] if path.exists() else []
    moved += _set_logs_aside(path, kept)
    sync_folder(path.parent)
    return str(moved[0]) if moved else None


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _free_name(path: Path, why: str) -> Path:
    """A name that neither a file nor its logs have: a log must never come to stand beside another file."""
    first = kept = path.with_name(f"{path.name}.before-{why}")
    number = 1
    while any(_beside(kept, ending).exists() for ending in ("", *_BESIDE)):
        number += 1
        kept = first.with_name(f"{first.name}.{number}")
    return kept


def _set_logs_aside(path: Path, kept: Path) -> list[Path]:
    """Move the logs beside `path` to where they are beside `kept`."""
    moved = []
    for ending in _BESIDE:
        log, there = _beside(path, ending), _beside(kept, ending)
        if log.exists():
            # A rename of one file to another name of it would leave both.
            if there.exists() and there.samefile(log):
                log.unlink()
            else:
                log.replace(there)
        if there.exists():
            moved.append(there)
    return moved


def _take_alone(path: Path, part: Path, kept: Path) -> None:
    """Bring the log into the file, which SQLite does for its only user; another one would go on writing to it.

    The log of a damaged file is kept beside `kept`: SQLite removes it when it closes the file, brought in or not.
    """
    log = _keep_log(path, kept)
    connection = sqlite3.connect(str(path), isolation_level=None, timeout=_SOLE_USER_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.OperationalError as error:
        log.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
        raise RestoreRefusedError(f"another process uses {path}: stop the server and the workers first") from error
    except sqlite3.DatabaseError:
        # A damaged file is kept as it is.
        return
    finally:
        connection.close()
    log.unlink(missing_ok=True)


def _keep_log(path: Path, kept: Path) -> Path:
    """A second name of the log, or a copy where the disk knows no second names."""
    log, there = _beside(path, "-wal"), _beside(kept, "-wal")
    try:
        os.link(log, there)
    except FileNotFoundError:
        pass
    except OSError:
        shutil.copyfile(log, there)
    return there


class _FileLoading(Loading):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("r+b")
        self._stream.truncate(0)

    @property
    def sink(self) -> Any:
        return self._stream

    def loaded(self) -> None:
        self._stream.close()
        check_file(self._path)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()


def _declare_finished(path: Path) -> None:
    part = restored_path(path)
    connection = sqlite3.connect(str(part), isolation_level=None, timeout=_SOLE_USER_SECONDS)
    try:
        # Whatever was written to the log must be in the file, which alone gets the name.
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.Error as error:
        raise HoldfastError(f"the restored database could not be closed: {error}") from error
    finally:
        connection.close()
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    expected = _row_counts(part)
    if tables := _inspect(path).own_tables:
        raise RestoreFailedError(
            f"somebody made a database at {path} during the restore, with {len(tables)} tables: move it away, then run"
            " the restore again"
        )
    _set_logs_aside(path, _free_name(path, "restore"))
    part.replace(path)
    sync_folder(path.parent)
    try:
        is_restored = _row_counts(path) == expected
    except RestoreFailedError:
        is_restored = False
    if not is_restored:
        part.touch(mode=0o600)
        raise RestoreFailedError(
            f"{path} does not hold what was restored, and is marked as unfinished: another process uses it. Stop the"
            " servers and the workers, then run the restore again with --replace"
        )


def _row_counts(path: Path) -> dict[str, int]:
    """The rows of each table, as everybody sees them who opens this name."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_SOLE_USER_SECONDS)
    try:
        names = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        # The names are those of tables, as the file itself has them.
        counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone() for name in names}  # noqa: S608
    except sqlite3.Error as error:
        raise RestoreFailedError(f"the restored database cannot be read: {error}") from error
    finally:
        connection.close()
    return {name: int(count) for name, (count,) in counts.items()}
