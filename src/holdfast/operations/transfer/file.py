"""The file of an exported instance: a zip of JSON lines with a manifest, as recovery bundles are, and those bundles.

Everything here blocks; callers run it in a thread. It knows files only.
"""

import contextlib
import hashlib
import re
import zipfile
from collections.abc import Callable, Generator
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from holdfast.db.instance_id import InstanceId
from holdfast.db.lifecycle.bundle_file import (
    MANIFEST,
    BundleRefusedError,
    FileEntry,
    check_file,
    lines_in,
    manifest_text,
    readable,
)
from holdfast.operations.checksums import Checksums, TableChecksum

FORMAT = "holdfast-instance"
VERSION = 1
BUNDLES = "bundles/"
_WHAT = "export"
_LARGEST_MANIFEST = 256 * 1024 * 1024
_BLOCK = 1024 * 1024
_TABLE_FILE = re.compile(r"[a-z_]+\.jsonl\Z")
# What a folder of bundles holds; no other path can come out of a file.
_BUNDLE_FILE = re.compile(r"bundles/(prepared/|doctor/)?[A-Za-z0-9_-]+\.bundle\.zip\Z")

# Called with how many bytes more were read.
Read = Callable[[int], None]


def can_hold(name: str) -> bool:
    """Whether an export may hold a bundle of this name."""
    return _BUNDLE_FILE.match(BUNDLES + name) is not None


class ExportRefusedError(BundleRefusedError):
    """The file is not a whole and unchanged export that this version can read."""

    code = "export_refused"


class BundleEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recovery bundle or an audit archive that belongs to the instance."""

    size: int
    sha256: str


class InstanceManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the export holds and where it comes from. `digest` is the SHA-256 of the manifest with an empty digest.

    `files` has an entry for every table, those without rows too. `bundles` are by their paths in the folder of bundles;
    `bundles_left_out` says of each that ought to be here and is not, why. `numbers` are the greatest numbers
    that the database gave to rows of a table, removed ones too. `instance` is what the database says it is; exports of
    releases before leave it out.
    """

    digest: str = ""
    bundles: dict[str, BundleEntry]
    bundles_left_out: dict[str, str]
    dialect: str
    files: dict[str, FileEntry]
    format: str
    instance: InstanceId | msgspec.UnsetType = msgspec.UNSET
    made_at: datetime
    made_by: str
    numbers: dict[str, int]
    schema_revision: str
    version: int

    def checksums(self) -> Checksums:
        """Those of the tables, as `operations.checksums` takes them."""
        return {
            name.removesuffix(".jsonl"): TableChecksum(entry.rows, entry.sha256) for name, entry in self.files.items()
        }

    @property
    def size(self) -> int:
        """The bytes of all lines."""
        return sum(entry.size for entry in self.files.values())


class InstanceReader:
    """An export that was checked: every file has the lines and the hash that the manifest names."""

    def __init__(self, path: Path, manifest: InstanceManifest) -> None:
        self.path = path
        self.manifest = manifest

    def pages(self, table: str, *, most_rows: int, most_bytes: int) -> Generator[list[bytes], None, None]:
        """The lines of a table, so many at once, or fewer where they are long."""
        name = f"{table}.jsonl"
        if name not in self.manifest.files or not self.manifest.files[name].rows:
            return
        with _readable(self.path) as archive, archive.open(name) as stream:
            page: list[bytes] = []
            size = 0
            for line in lines_in(stream):
                page.append(line)
                size += len(line)
                if len(page) == most_rows or size >= most_bytes:
                    yield page
                    page, size = [], 0
            if page:
                yield page

    def copy_bundle(self, name: str, target: IO[bytes]) -> None:
        """Write one of the bundles to an open file."""
        with _readable(self.path) as archive, archive.open(BUNDLES + name) as stream:
            while block := stream.read(_BLOCK):
                target.write(block)


def open_export(path: Path, *, read: Read = lambda count: None) -> InstanceReader:
    """Check an export from its first byte to its last, and open it."""
    with _readable(path) as archive:
        manifest = _read_manifest(archive)
        for name, entry in manifest.files.items():
            if entry.rows:
                check_file(archive, name, entry)
            read(entry.size)
        for name, bundle in manifest.bundles.items():
            _check_bundle(archive, name, bundle)
    return InstanceReader(path, manifest)


def _readable(path: Path) -> contextlib.AbstractContextManager[zipfile.ZipFile]:
    return readable(path, _WHAT)


def _read_manifest(archive: zipfile.ZipFile) -> InstanceManifest:
    names = archive.namelist()
    if MANIFEST not in names:
        raise ExportRefusedError(f"{archive.filename} is no export of an instance: it has no {MANIFEST}")
    with archive.open(MANIFEST) as stream:
        text = stream.read(_LARGEST_MANIFEST)
    _require_known_format(archive, text)
    try:
        manifest = msgspec.json.decode(text, type=InstanceManifest)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ExportRefusedError(f"{MANIFEST} of {archive.filename} cannot be read: {error}") from error
    if manifest_text(manifest) != text:
        raise ExportRefusedError(f"{MANIFEST} of {archive.filename} was changed: its digest is not that of its text")
    if unknown := [name for name in manifest.files if not _TABLE_FILE.match(name)]:
        raise ExportRefusedError(f"{archive.filename} holds a file with an impossible name: {unknown[0]!r}")
    if unknown := [name for name in manifest.bundles if not can_hold(name)]:
        raise ExportRefusedError(f"{archive.filename} holds a bundle with an impossible name: {unknown[0]!r}")
    expected = [name for name, entry in manifest.files.items() if entry.rows]
    expected += [BUNDLES + name for name in manifest.bundles]
    if sorted(names) != sorted([*expected, MANIFEST]):
        raise ExportRefusedError(f"{archive.filename} holds other files than its manifest names")
    return manifest


class _Head(msgspec.Struct):
    format: str
    version: int


def _require_known_format(archive: zipfile.ZipFile, text: bytes) -> None:
    try:
        head = msgspec.json.decode(text, type=_Head)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ExportRefusedError(f"{MANIFEST} of {archive.filename} cannot be read: {error}") from error
    if head.format != FORMAT:
        raise ExportRefusedError(f"{archive.filename} is no export of an instance: its format is {head.format!r}")
    if head.version != VERSION:
        raise ExportRefusedError(
            f"{archive.filename} has version {head.version} of the format, and this Holdfast reads version {VERSION}:"
            " use the Holdfast that made it, or a newer one"
        )


def _check_bundle(archive: zipfile.ZipFile, name: str, entry: BundleEntry) -> None:
    digest, size = hashlib.sha256(), 0
    with archive.open(BUNDLES + name) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
            if size > entry.size:
                break
    if (size, digest.hexdigest()) != (entry.size, entry.sha256):
        raise ExportRefusedError(
            f"{BUNDLES}{name} in {archive.filename} is not what the manifest says: {size} bytes of {entry.size},"
            f" SHA-256 {digest.hexdigest()} instead of {entry.sha256}"
        )
