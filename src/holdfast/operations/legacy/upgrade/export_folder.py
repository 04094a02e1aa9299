"""The folder of an export of old tables: a dump, the key map as lines of JSON, and at last the manifest.

The folder and its files are for their owner alone. Each file gets its name when all of it is on the disk, and without
the manifest there is no export. Everything here blocks; it knows files only.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from holdfast.db.lifecycle.bundle_file import manifest_text, sync_folder
from holdfast.operations.backup.engines.base import DumpCheck
from holdfast.operations.backup.errors import BackupRefusedError
from holdfast.operations.backup.streams import BLOCK, OnBytes, Source, Stop
from holdfast.operations.checksums import TableChecksum
from holdfast.operations.legacy.types import LegacyError

FORMAT = "holdfast-legacy-export"
VERSION = 1
MANIFEST = "manifest.json"
KEY_MAP = "key_map.jsonl"
POSTGRESQL_DUMP, MARIADB_DUMP = DUMPS = ("before.pgdump", "before.sql.zst")
_PART = ".part"
_MODE, _FOLDER_MODE = 0o600, 0o700
_LONGEST_LINE = 256 * 1024 * 1024


class DamagedExportError(LegacyError):
    """An export that is not whole and unchanged, or that this version cannot read."""

    code = "legacy_export_damaged"


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file: its bytes and their SHA-256."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an export holds and where it comes from. `digest` is the SHA-256 of the manifest with an empty digest.

    `tables` are the old tables, `key_map` how many entries the key map has of each of its tables.
    """

    digest: str = ""
    format: str
    version: int
    made_at: datetime
    made_by: str
    dialect: str
    server_version: str
    tool: str
    namespace: str
    dump: str
    tables: dict[str, TableChecksum]
    key_map: dict[str, int]
    files: dict[str, FileEntry]

    @property
    def size(self) -> int:
        """The bytes of all files, the manifest aside."""
        return sum(each.size for each in self.files.values())


class KeyLine(msgspec.Struct, frozen=True, tag_field="table", tag="legacy_keys"):
    """A line of the key map: what an old row became."""

    source: str
    table_name: str
    old_key: str
    new_id: str
    outcome: str
    notes: str
    is_checked: bool


class ImportLine(msgspec.Struct, frozen=True, tag_field="table", tag="legacy_imports"):
    """A line of the key map: the imports of one source."""

    source: str
    flavour: str
    started_at: datetime
    finished_at: datetime | None
    audit_ranges: str


_line = msgspec.json.Decoder(KeyLine | ImportLine)


class ExportFolder:
    """A folder that an export is written to, by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, FileEntry] = {}

    def write(self, name: str) -> "PartFile":
        """Begin a file."""
        return PartFile(self.path, name, self.files)

    def seal(self, manifest: Manifest) -> Manifest:
        """Write the manifest; from now on there is an export."""
        text = manifest_text(manifest)
        with self.write(MANIFEST) as file:
            file.write(text)
            file.finish()
        return msgspec.json.decode(text, type=Manifest)


@contextlib.contextmanager
def export_folder(path: Path) -> Iterator[ExportFolder]:
    """The folder, made where it is not there; one that holds an export is refused and stays as it is."""
    path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LegacyError(f"another export into {path} is under way: wait for its end") from None
        _refuse_what_is_there(path)
        os.fchmod(descriptor, _FOLDER_MODE)
        for left in path.iterdir():
            left.unlink()
        yield ExportFolder(path)
    finally:
        os.close(descriptor)


def _refuse_what_is_there(path: Path) -> None:
    """Only what an export left that was broken off may be there."""
    names = {each.name.removesuffix(_PART) for each in path.iterdir()}
    if MANIFEST in names and (path / MANIFEST).exists():
        raise LegacyError(
            f"{path} holds an export already, which might be the only one of tables that are gone: name another folder,"
            " or move it away"
        )
    if others := sorted(names - {MANIFEST, KEY_MAP, *DUMPS}):
        raise LegacyError(f"{path} holds {others[0]}, which is of no export: name a folder that is for this one alone")


class PartFile:
    """A file while it is written. What is not finished at the end of the block is removed."""

    def __init__(self, folder: Path, name: str, files: dict[str, FileEntry]) -> None:
        self._path = folder / name
        self._part = folder / f"{name}{_PART}"
        self._files = files
        self._hash = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> "PartFile":
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        self._stream: IO[bytes] = os.fdopen(descriptor, "wb")
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()
        self._part.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._stream.write(data)
        self._hash.update(data)
        self._size += len(data)

    def take(self, source: Source, stop: Stop, on_bytes: OnBytes) -> None:
        """Add all that a source has."""
        while block := source.read(BLOCK):
            stop.check()
            self.write(block)
            on_bytes(len(block))

    def finish(self) -> None:
        """Bring it to the disk, and give it its name."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._part.replace(self._path)
        sync_folder(self._path.parent)
        if self._path.name != MANIFEST:
            self._files[self._path.name] = FileEntry(size=self._size, sha256=self._hash.hexdigest())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an export; DamagedExportError where there is none, or it was changed."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise DamagedExportError(f"{folder} holds no export: {MANIFEST} is missing") from None
    except OSError as error:
        raise DamagedExportError(f"{path} cannot be read: {error.strerror or error}") from error
    _require_known_format(path, text)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise DamagedExportError(f"{path} cannot be read: {error}") from error
    if manifest_text(manifest) != text:
        raise DamagedExportError(f"{path} was changed: its digest is not that of its text")
    if manifest.files.keys() != {manifest.dump, KEY_MAP} or manifest.dump not in DUMPS:
        raise DamagedExportError(f"{path} names other files than an export has")
    return manifest


def _require_known_format(path: Path, text: bytes) -> None:
    class Head(msgspec.Struct):
        format: str
        version: int

    try:
        head = msgspec.json.decode(text, type=Head)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise DamagedExportError(f"{path} cannot be read: {error}") from error
    if head.format != FORMAT:
        raise DamagedExportError(f"{path} is no manifest of an export: its format is {head.format!r}")
    if head.version != VERSION:
        raise DamagedExportError(
            f"{path} has version {head.version} of the format, and this Holdfast reads version {VERSION}: use the"
            " Holdfast that made it, or a newer one"
        )


def check_files(folder: Path, manifest: Manifest, check: DumpCheck, stop: Stop, on_bytes: OnBytes) -> None:
    """Read every file to its end; DamagedExportError where one is not what the manifest says, or cannot be used."""
    for name in manifest.files:
        if not (folder / name).is_file():
            raise DamagedExportError(f"{folder / name} is missing")
    _check_key_map(folder, manifest, stop, on_bytes)
    _check_dump(folder, manifest, check, stop, on_bytes)


def feed(path: Path, take: Callable[[bytes], object], stop: Stop, on_bytes: OnBytes) -> FileEntry:
    """Give the bytes of a file to something that takes them; how many there were, and their SHA-256."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                stop.check()
                digest.update(block)
                size += len(block)
                take(block)
                on_bytes(len(block))
    except OSError as error:
        raise DamagedExportError(f"{path} cannot be read: {error.strerror or error}") from error
    return FileEntry(size=size, sha256=digest.hexdigest())


def _check_dump(folder: Path, manifest: Manifest, check: DumpCheck, stop: Stop, on_bytes: OnBytes) -> None:
    refused: list[BackupRefusedError] = []

    def take(block: bytes) -> None:
        # What the file's hash says comes first: it says what is wrong.
        if not refused:
            try:
                check.write(block)
            except BackupRefusedError as error:
                refused.append(error)

    path = folder / manifest.dump
    _require_entry(path, feed(path, take, stop, on_bytes), manifest.files[manifest.dump])
    try:
        if refused:
            raise refused[0]
        check.finish()
    except BackupRefusedError as error:
        raise DamagedExportError(f"{path} cannot be loaded: {error.message}") from error


def _check_key_map(folder: Path, manifest: Manifest, stop: Stop, on_bytes: OnBytes) -> None:
    path = folder / KEY_MAP
    _require_entry(path, feed(path, lambda block: None, stop, on_bytes), manifest.files[KEY_MAP])
    found = dict.fromkeys(manifest.key_map, 0)
    try:
        for each in key_map_lines(folder):
            stop.check()
            table = str(each.__struct_config__.tag)
            found[table] = found.get(table, 0) + 1
    except (msgspec.DecodeError, UnicodeError) as error:
        raise DamagedExportError(f"{path} holds a line that cannot be read: {error}") from error
    if found != manifest.key_map:
        raise DamagedExportError(f"{path} has other numbers of entries than its manifest says: {found}")


def key_map_lines(folder: Path) -> Iterator[KeyLine | ImportLine]:
    """The entries of the key map in an export, one at a time."""
    with (folder / KEY_MAP).open("rb") as stream:
        while line := stream.readline(_LONGEST_LINE):
            yield _line.decode(line)


def _require_entry(path: Path, found: FileEntry, expected: FileEntry) -> None:
    if found != expected:
        raise DamagedExportError(
            f"{path} is not what its manifest says: {found.size} bytes of {expected.size}, SHA-256 {found.sha256}"
            f" instead of {expected.sha256}"
        )
