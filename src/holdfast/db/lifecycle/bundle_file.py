"""The file of a recovery bundle: a zip of JSON lines with a manifest, written whole or not at all, and checked.

docs/recovery-bundles.md describes the format. Everything here blocks; callers run it in a thread. It knows files only.
"""

import contextlib
import hashlib
import os
import re
import secrets
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec

from holdfast.core.errors import UnprocessableError

FORMAT = "holdfast-bundle"
VERSION = 1
SUFFIX = ".bundle.zip"
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 1024 * 1024
# Twice the longest text that a column holds, each character of which may need six signs in JSON.
_LONGEST_LINE = 256 * 1024 * 1024
_BLOCK = 1024 * 1024
_SYNCED_AT_ONCE = 2 * 1024 * 1024
_MODE = 0o600
# The time in a zip is left at its first, so that the same rows give the same bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_COMPRESSION_LEVEL = 3
_FILE_NAME = re.compile(r"[a-z_]+\.jsonl\Z")
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    OverflowError,
)


class BundleRefusedError(UnprocessableError):
    """The file is not a whole and unchanged bundle that this version can read."""

    code = "bundle_refused"


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of the bundle: its lines, those of rows that bear the bundle's own deletion, bytes and SHA-256."""

    rows: int
    own_rows: int
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bundle holds and where it comes from. `digest` is the SHA-256 of the manifest with an empty digest.

    `kind` says what made it; `subject` are the facts of that, such as the deletion's id, root and actor.
    """

    digest: str = ""
    dialect: str
    files: dict[str, FileEntry]
    format: str
    kind: str
    made_at: datetime
    schema_revision: str
    subject: dict[str, str | None]
    version: int

    def rows_by_table(self) -> dict[str, int]:
        """How many rows of each table; tables without any are left out."""
        return _by_table(self.files, lambda entry: entry.rows)

    def own_rows_by_table(self) -> dict[str, int]:
        """As `rows_by_table`, of the rows that bear the bundle's own deletion."""
        return _by_table(self.files, lambda entry: entry.own_rows)


# Files of a bundle that hold no rows of a bundled table.
POINTERS_FILE = "pointers.jsonl"
DELETIONS_FILE = "deletions.jsonl"


def _by_table(files: dict[str, FileEntry], number: Any) -> dict[str, int]:
    return {
        name.removesuffix(".jsonl"): number(entry)
        for name, entry in files.items()
        if name not in (POINTERS_FILE, DELETIONS_FILE) and number(entry)
    }


def manifest_text(manifest: msgspec.Struct) -> bytes:
    """The canonical text of a manifest, or of another struct with a `digest`, with its digest."""
    bare = msgspec.structs.replace(manifest, digest="")
    digest = hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()
    return msgspec.json.encode(msgspec.structs.replace(manifest, digest=digest), order="sorted")


class BundleWriter:
    """Writes a bundle under a name of its own, which becomes the bundle's when all of it is on the disk.

    Use as a context manager: what is not finished at the end of the block is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        self._files: dict[str, FileEntry] = {}
        self._open: IO[bytes] | None = None
        self._synced = 0

    def __enter__(self) -> "BundleWriter":
        if not self.path.parent.is_dir():
            # Never made here: where a disk is not mounted, the bundle would lie hidden beneath it later.
            raise FileNotFoundError(f"the folder {self.path.parent} is not there: mount or make it")
        is_left = re.compile(rf"\.{re.escape(self.path.name)}\.[0-9a-f]+\.part\Z")
        for each in self.path.parent.iterdir():
            # Only a process that died leaves one; the lease keeps others from writing at the same time. The part of
            # a file whose name begins with this one's is another matter.
            if is_left.match(each.name):
                each.unlink(missing_ok=True)
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE)
        self._stream: IO[bytes] = os.fdopen(descriptor, "w+b")
        self._zip = zipfile.ZipFile(self._stream, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL)
        return self

    def __exit__(self, *exception: object) -> None:
        # On a full disk each of these may fail again; the room that the part takes must be free afterwards.
        for end in (self._end_member, self._zip.close, self._stream.close):
            with contextlib.suppress(*_DAMAGED, OSError):
                end()
        # Else it would try once more when it is collected, and complain.
        self._zip.fp = None
        self._part.unlink(missing_ok=True)

    def _end_member(self) -> None:
        if self._open is not None:
            self._open.close()

    def begin(self, name: str) -> "LinesWriter":
        """A new file of the bundle, which is there once it has a line; the one before it must be ended."""
        return LinesWriter(name, partial(self._open_member, name), self._keep_up, self._files)

    @property
    def files(self) -> dict[str, FileEntry]:
        """The files that were ended, for the manifest."""
        return dict(self._files)

    def copy_in(self, name: str, source: IO[bytes]) -> None:
        """Add a file as it is, which is compressed already."""
        with self._zip.open(zipfile.ZipInfo(name, _NO_TIME), "w", force_zip64=True) as member:
            while block := source.read(_BLOCK):
                member.write(block)
                self._keep_up()

    def _open_member(self, name: str) -> IO[bytes]:
        member = zipfile.ZipInfo(name, _NO_TIME)
        member.compress_type = zipfile.ZIP_DEFLATED
        self._open = self._zip.open(member, "w", force_zip64=True)
        return self._open

    def _keep_up(self) -> None:
        """Bring what is written to the disk bit by bit: all at once would hold up the commits of the database."""
        written = self._stream.tell()
        if written - self._synced > _SYNCED_AT_ONCE:
            self._stream.flush()
            os.fdatasync(self._stream.fileno())
            self._synced = written

    def finish(self, **facts: Any) -> Manifest:
        """Add the manifest, bring all to the disk, and give the file its name."""
        manifest = Manifest(files=self.files, format=FORMAT, version=VERSION, **facts)
        text = manifest_text(manifest)
        self.seal(text)
        return msgspec.json.decode(text, type=Manifest)

    def seal(self, text: bytes) -> None:
        """As `finish`, with a manifest of this text."""
        self._zip.writestr(zipfile.ZipInfo(MANIFEST, _NO_TIME), text)
        self._zip.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._part.replace(self.path)
        sync_folder(self.path.parent)


class LinesWriter:
    """One file of a bundle while it is written."""

    def __init__(
        self,
        name: str,
        open_member: Callable[[], IO[bytes]],
        keep_up: Callable[[], None],
        files: dict[str, FileEntry],
    ) -> None:
        self._name = name
        self._open_member = open_member
        self._keep_up = keep_up
        self._stream: IO[bytes] | None = None
        self._files = files
        self._hash = hashlib.sha256()
        self.rows = self._own_rows = self._size = 0

    def write(self, lines: list[bytes], *, own_rows: int = 0) -> None:
        """Add lines, of which so many are of rows that bear the bundle's own deletion."""
        if not lines:
            return
        if self._stream is None:
            self._stream = self._open_member()
        block = b"\n".join(lines) + b"\n"
        self._hash.update(block)
        self._stream.write(block)
        self._keep_up()
        self.rows += len(lines)
        self._own_rows += own_rows
        self._size += len(block)

    def end(self) -> None:
        """Close the file; the manifest will name it."""
        if self._stream is not None:
            self._stream.close()
            self._files[self._name] = FileEntry(
                rows=self.rows, own_rows=self._own_rows, size=self._size, sha256=self._hash.hexdigest()
            )


class BundleReader:
    """A bundle that was checked: every file has the lines and the hash that the manifest names."""

    def __init__(self, path: Path, manifest: Manifest, sha256: str) -> None:
        self.path = path
        self.manifest = manifest
        self.sha256 = sha256

    def pages(self, name: str, at_most: int) -> Generator[list[bytes], None, None]:
        """The lines of a file, so many at once; none where the bundle has no such file."""
        if name not in self.manifest.files:
            return
        with readable(self.path) as archive, archive.open(name) as stream:
            page: list[bytes] = []
            for line in lines_in(stream):
                page.append(line)
                if len(page) == at_most:
                    yield page
                    page = []
            if page:
                yield page


def open_bundle(path: Path) -> BundleReader:
    """Check a bundle from its first byte to its last, and open it."""
    with readable(path) as archive:
        manifest = _read_manifest(archive)
        for name, entry in manifest.files.items():
            check_file(archive, name, entry)
    return BundleReader(path, manifest, hash_of(path))


@contextlib.contextmanager
def readable(path: Path, what: str = "bundle") -> Iterator[zipfile.ZipFile]:
    """A zip file, while the block reads it; what is damaged is refused. `what` it should be, in a word."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        raise BundleRefusedError(f"{path} cannot be read: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise BundleRefusedError(f"{path} is damaged, or no {what} at all: {error}") from error


def _read_manifest(archive: zipfile.ZipFile) -> Manifest:
    names = archive.namelist()
    if MANIFEST not in names:
        raise BundleRefusedError(f"{archive.filename} is no recovery bundle: it has no {MANIFEST}")
    with archive.open(MANIFEST) as stream:
        text = stream.read(LARGEST_MANIFEST)
    _require_known_format(archive, text)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BundleRefusedError(f"{MANIFEST} of {archive.filename} cannot be read: {error}") from error
    if manifest_text(manifest) != text:
        raise BundleRefusedError(f"{MANIFEST} of {archive.filename} was changed: its digest is not that of its text")
    if sorted(names) != sorted([*manifest.files, MANIFEST]):
        raise BundleRefusedError(f"{archive.filename} holds other files than its manifest names")
    if unknown := [name for name in manifest.files if not _FILE_NAME.match(name)]:
        raise BundleRefusedError(f"{archive.filename} holds a file with an impossible name: {unknown[0]!r}")
    return manifest


def _require_known_format(archive: zipfile.ZipFile, text: bytes) -> None:
    class Head(msgspec.Struct):
        format: str
        version: int

    try:
        head = msgspec.json.decode(text, type=Head)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BundleRefusedError(f"{MANIFEST} of {archive.filename} cannot be read: {error}") from error
    if head.format != FORMAT:
        raise BundleRefusedError(f"{archive.filename} is no recovery bundle: its format is {head.format!r}")
    if head.version != VERSION:
        raise BundleRefusedError(
            f"{archive.filename} has version {head.version} of the format, and this Holdfast reads version {VERSION}:"
            " use the Holdfast that made it, or a newer one"
        )


def check_file(archive: zipfile.ZipFile, name: str, entry: FileEntry) -> None:
    """Refuse a file that has not the lines, the size and the hash that its manifest names."""
    digest, rows, size = hashlib.sha256(), 0, 0
    with archive.open(name) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            rows += block.count(b"\n")
            size += len(block)
            if size > entry.size:
                break
    if (rows, size, digest.hexdigest()) != (entry.rows, entry.size, entry.sha256):
        raise BundleRefusedError(
            f"{name} in {archive.filename} is not what the manifest says: {rows} lines of {entry.rows},"
            f" {size} bytes of {entry.size}, SHA-256 {digest.hexdigest()} instead of {entry.sha256}"
        )


def lines_in(stream: IO[bytes]) -> Iterable[bytes]:
    """The lines without their ends, one at a time."""
    while line := stream.readline(_LONGEST_LINE):
        yield line.removesuffix(b"\n")


def hash_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: a new name is there only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
