"""The files of a rebuild: who may touch them, what is beside the database, and the two swaps.

The name of the database leads to a whole database at every moment: the older one gets a second name, and only then does
the new one take the first. What a process that was killed leaves behind is told by the files themselves.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from holdfast.db.lifecycle.bundle_file import sync_folder
from holdfast.db.sqlite_driver import sqlite3
from holdfast.operations.checksums import Checksums
from holdfast.operations.legacy.importing import LegacyReport
from holdfast.operations.legacy.sqlite_file import declared_columns, unreadable
from holdfast.operations.legacy.types import LegacyError

# What SQLite has beside a file.
_BESIDE = ("-wal", "-shm", "-journal")
# Where a file of SQLite says whether it has a write-ahead log, and how often it was changed.
_HEADER_BYTES = 100
_PAUSE_SECONDS = 0.1
_BLOCK_BYTES = 2**20


class SwapRecord(msgspec.Struct, frozen=True):
    """What is kept beside the database from just before the swap until the older file is dropped, or back.

    `header` is the beginning of an older file with a write-ahead log, in hexadecimal: the swap takes the log away, and
    the way back gives it back. `sha256` is that of the older file as it was.
    """

    written_at: datetime
    header: str
    sha256: str
    checksums: Checksums
    imported: LegacyReport


class Places(msgspec.Struct, frozen=True):
    """The database file and what a rebuild puts beside it."""

    path: Path

    @property
    def next(self) -> Path:
        """The new database until the swap."""
        return self._beside("next")

    @property
    def copy(self) -> Path:
        """The older file as the import reads it."""
        return self._beside("copy")

    @property
    def before(self) -> Path:
        """The older file after the swap."""
        return self._beside("before")

    @property
    def record(self) -> Path:
        """What a later run must know of the swap."""
        return self._beside("swap.json")

    @property
    def lock(self) -> Path:
        """Locked while a rebuild, or its undoing, is under way."""
        return self._beside("lock")

    @property
    def is_swapped(self) -> bool:
        """Whether the new database has the name, and the older one stands beside it."""
        return self.record.exists() and self.before.exists() and not self.before.samefile(self.path)

    @property
    def is_holdfast(self) -> bool:
        """Whether what has the name is a Holdfast."""
        return "deletion_id" in declared_columns(self.path).get("users", {})

    def find_record(self) -> SwapRecord | None:
        """What the last swap has written down."""
        try:
            return msgspec.json.decode(self.record.read_bytes(), type=SwapRecord)
        except FileNotFoundError:
            return None

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f"{self.path.name}.holdfast-{what}")


class HeldFile:
    """A database file that no other program can open, and none has open but one that can no longer write to it."""

    def __init__(self, path: Path, connection: Any, stream: Any) -> None:
        self.path = path
        self.connection = connection
        # Closing a file takes all locks of the process on it away, so this one is closed last, and no other is opened.
        self._stream = stream

    def close(self) -> None:
        """Let others at it again."""
        self.connection.close()
        self._stream.close()

    def bring_in_log(self) -> None:
        """Have all that was committed in the file itself."""
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def set_log(self) -> None:
        """Give the file its write-ahead log back, if that was taken away."""
        self.connection.execute("PRAGMA journal_mode = WAL").fetchall()

    def take_log_away(self) -> None:
        """End the write-ahead log for good.

        A program that opened this file while it waited, and finds another one under its name, would use that one's log.
        Without one SQLite refuses it to write.
        """
        ((mode,),) = self.connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        if mode != "delete":
            raise LegacyError(f"SQLite does not end the write-ahead log of {self.path}: run this again")

    def leave_nothing_beside(self) -> None:
        """Remove what SQLite keeps beside the file while it holds it. After that the file can only be closed."""
        for ending in _BESIDE:
            _with_ending(self.path, ending).unlink(missing_ok=True)

    def header(self) -> str:
        """The header of a file with a write-ahead log, else nothing."""
        ((mode,),) = self.connection.execute("PRAGMA journal_mode").fetchall()
        return os.pread(self._stream.fileno(), _HEADER_BYTES, 0).hex() if mode == "wal" else ""

    def sha256(self) -> str:
        """Of the file as it is."""
        return _digest(self._stream, b"")

    def copy_to(self, path: Path) -> None:
        """Copy it. The copy has a write-ahead log: a reader reads it where it is."""
        with contextlib.closing(sqlite3.connect(str(path), isolation_level=None)) as copy:
            self.connection.backup(copy)
            copy.execute("PRAGMA journal_mode = WAL").fetchall()


@contextlib.contextmanager
def alone(places: Places) -> Iterator[None]:
    """No other rebuild of this file, nor its undoing, goes on meanwhile. LegacyError where one does.

    The lock is a file, which goes with the block; one that a killed process leaves is not locked.
    """
    descriptor = os.open(places.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before may have removed the file between our two calls: then others lock another one.
            is_ours = os.path.samestat(os.fstat(descriptor), places.lock.stat())
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        if not is_ours:
            raise LegacyError(f"another rebuild of {places.path}, or its undoing, is under way: wait for its end")
        try:
            yield
        finally:
            places.lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def hold(path: Path, *, wait_seconds: float) -> HeldFile:
    """Lock everybody out of the file. LegacyError where another program has it open for longer than we wait."""
    deadline = time.monotonic() + wait_seconds
    while True:
        stream = path.open("rb")
        connection: Any = None
        try:
            connection = sqlite3.connect(
                f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0, check_same_thread=False
            )
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
            # Whoever can only read leaves it behind.
            _with_ending(path, "-shm").unlink(missing_ok=True)
            return HeldFile(path, connection, stream)
        except BaseException as error:
            if connection is not None:
                connection.close()
            stream.close()
            if not isinstance(error, sqlite3.Error):
                raise
            if "locked" not in str(error):
                raise unreadable(path, error) from error
            if time.monotonic() > deadline:
                raise LegacyError(
                    f"another program has {path} open: stop the older program, and whatever else uses the file, then"
                    " run this again"
                ) from error
        time.sleep(_PAUSE_SECONDS)


def begin_anew(places: Places, held: HeldFile) -> None:
    """Take away what a rebuild has left that was killed before its swap."""
    record = places.find_record()
    if record is not None and record.header:
        held.set_log()
    remove_database(places.next)
    remove_database(places.copy)
    if places.before.exists():
        if record is None or not places.before.samefile(places.path):
            raise LegacyError(
                f"{places.before} is there, and nothing says of which rebuild: move it away, then run this again"
            )
        places.before.unlink()
    places.record.unlink(missing_ok=True)
    sync_folder(places.path.parent)


def settle(path: Path, like: Path) -> None:
    """Have a database that nobody uses any more in its one file, on the disk, and open to whom `like` is open."""
    with contextlib.closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if _with_ending(path, "-wal").exists():
        raise LegacyError(f"another program has {path} open: leave it alone, and run this again")
    shutil.copymode(like, path)
    with contextlib.suppress(PermissionError):
        os.chown(path, like.stat().st_uid, like.stat().st_gid)
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def swap(places: Places, held: HeldFile, record: SwapRecord) -> None:
    """Put the new database in the place of the older one, which gets its second name before."""
    folder = places.path.parent
    _write_record(places, record)
    held.take_log_away()
    try:
        places.before.hardlink_to(places.path)
    except OSError as error:
        raise LegacyError(
            f"{places.path} cannot get a second name ({error}): import it into a database at another place with"
            " `holdfast legacy import`"
        ) from error
    sync_folder(folder)
    held.leave_nothing_beside()
    places.next.replace(places.path)
    sync_folder(folder)


def swap_back(places: Places, held: HeldFile, record: SwapRecord) -> None:
    """Put the older file in its place again, as it was. The new database is gone."""
    folder = places.path.parent
    header = bytes.fromhex(record.header)
    with places.before.open("rb+") as stream:
        if _digest(stream, header) != record.sha256:
            raise LegacyError(
                f"{places.before} is not what it was at the swap: somebody has written to it. If you want it as it is,"
                f" stop everything, rename it to {places.path.name} and remove {places.record}"
            )
        os.pwrite(stream.fileno(), header, 0)
        os.fsync(stream.fileno())
    held.take_log_away()
    held.leave_nothing_beside()
    places.before.replace(places.path)
    sync_folder(folder)
    places.record.unlink()
    sync_folder(folder)


def remove_database(path: Path) -> None:
    """Remove a database that nobody uses, with all that SQLite has beside it."""
    for ending in (*_BESIDE, ""):
        _with_ending(path, ending).unlink(missing_ok=True)


def _write_record(places: Places, record: SwapRecord) -> None:
    part = places.record.with_name(f"{places.record.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.encode(record))
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(places.record)
    sync_folder(places.path.parent)


def _digest(stream: Any, beginning: bytes) -> str:
    """The SHA-256 of an open file, of which the beginning is taken for another."""
    digest, offset = hashlib.sha256(beginning), len(beginning)
    while block := os.pread(stream.fileno(), _BLOCK_BYTES, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()


def _with_ending(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
