"""A backup's manifest and what is said of a backup."""

import re
import secrets
from datetime import datetime
from typing import Literal

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.db.instance_id import InstanceId
from holdfast.db.lifecycle.bundle_file import manifest_text
from holdfast.operations.backup.errors import BackupRefusedError
from holdfast.operations.checksums import TableChecksum

FORMAT = "holdfast-backup"
VERSION = 1
MANIFEST = "manifest.json"
VERIFICATION = "verification.json"
# The name of a backup's run, in a job's hands or an operator's; the job that a person asks for has the other.
RUN = "operations.backup"
ASKED_RUN = "operations.backup_now"
# So many signs of an instance's id tell it from others.
SHORT_ID = 8
_ID = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[a-z0-9]{6}\Z")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,120}\Z")


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stored piece of a file: its name in the backup's folder, its bytes and their SHA-256."""

    name: str
    size: int
    sha256: str


class StoredFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a backup. `size` and `sha256` are of the plain bytes, the parts' of what lies in the store.

    `path` is where a bundle belongs below the folder of bundles, or where it stood outside of it.
    """

    kind: Literal["database", "bundle"]
    name: str
    path: str
    size: int
    sha256: str
    compressed: bool
    encrypted: bool
    parts: list[Part]

    @property
    def stored_size(self) -> int:
        """Its bytes in the store."""
        return sum(part.size for part in self.parts)


class Sentinel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The row of `runs` that was written right before the backup's moment, with a value that nobody can guess."""

    run_id: str
    value: str
    written_at: datetime


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup holds and where it comes from. `digest` is the SHA-256 of the manifest with an empty digest."""

    digest: str = ""
    format: str
    version: int
    id: str
    # Which instance it is of. Left out by releases before, and where the database has no id yet.
    instance: InstanceId | msgspec.UnsetType = msgspec.UNSET
    previous: str | None
    made_at: datetime
    finished_at: datetime
    host: str
    holdfast: str
    dialect: str
    server_version: str
    tool: str
    namespace: str
    schema_revision: str
    checksums_revision: str
    sentinel: Sentinel | None
    tables: dict[str, TableChecksum]
    bundle_dir: str
    bundles_missing: list[str]
    # Their bytes are not those that their row, or their own manifest, names. Left out where there are none, as older
    # manifests have it.
    bundles_damaged: list[str] | msgspec.UnsetType = msgspec.UNSET
    recipients: list[str]
    files: list[StoredFile]

    @property
    def owner(self) -> str | None:
        """The instance that it is of; None where it does not say."""
        return self.instance or None

    @property
    def database(self) -> StoredFile:
        """The dump."""
        return next(each for each in self.files if each.kind == "database")

    @property
    def bundles(self) -> list[StoredFile]:
        """The recovery bundles and archives."""
        return [each for each in self.files if each.kind == "bundle"]

    @property
    def stored_size(self) -> int:
        """Its bytes in the store, the manifest aside."""
        return sum(each.stored_size for each in self.files)

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(each.rows for each in self.tables.values())


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the last check of a backup said. `contents` is false where only the stored bytes could be checked.

    That is so for an encrypted backup where no identity is at hand.
    """

    backup_id: str
    verified_at: datetime
    host: str
    passed: bool
    contents: bool
    failure: str | None = None


class BackupSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the list. `problem` says why the manifest cannot be used, where that is so.

    `instance` is the one that it names, and `is_own` whether that is the one that asks; null where nobody knows.
    """

    id: str
    instance: str | None = None
    is_own: bool | None = None
    made_at: datetime | None = None
    dialect: str | None = None
    schema_revision: str | None = None
    rows: int | None = None
    bundles: int | None = None
    bytes: int | None = None
    encrypted: bool | None = None
    verified_at: datetime | None = None
    verified: bool | None = None
    problem: str | None = None


def new_backup_id(clock: Clock = utc_now) -> str:
    """An id that sorts by time."""
    now = clock()
    ending = "".join(secrets.choice(_LETTERS) for _ in range(6))
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z-{ending}"


def is_backup_id(text: str) -> bool:
    """Whether a folder of this name may be a backup."""
    return _ID.match(text) is not None


def decode_manifest(text: bytes, backup_id: str) -> Manifest:
    """The manifest that lies in the folder of a backup; what was changed or is of another one is refused."""
    if reason := _unknown_format(text):
        raise BackupRefusedError(f"{MANIFEST} of backup {backup_id} cannot be read: {reason}")
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BackupRefusedError(f"{MANIFEST} of backup {backup_id} cannot be read: {error}") from error
    if manifest_text(manifest) != text:
        raise BackupRefusedError(f"{MANIFEST} of backup {backup_id} was changed: its digest is not that of its text")
    if manifest.id != backup_id:
        raise BackupRefusedError(f"{MANIFEST} of backup {backup_id} is the one of backup {manifest.id}")
    names = [part.name for each in manifest.files for part in each.parts]
    if (
        len(set(names)) != len(names)
        or not all(map(_FILE_NAME.match, names))
        or [each.kind for each in manifest.files].count("database") != 1
    ):
        raise BackupRefusedError(f"{MANIFEST} of backup {backup_id} names files that cannot be")
    return manifest


def _unknown_format(text: bytes) -> str | None:
    """What is wrong with the format or its version, where that is wrong."""

    class Head(msgspec.Struct):
        format: str
        version: int

    try:
        head = msgspec.json.decode(text, type=Head)
    except (msgspec.DecodeError, UnicodeError):
        return None
    if head.format != FORMAT:
        return f"its format is {head.format!r}"
    if head.version != VERSION:
        return (
            f"it has version {head.version} of the format, and this Holdfast reads version {VERSION}:"
            " use the Holdfast that made it, or a newer one"
        )
    return None
