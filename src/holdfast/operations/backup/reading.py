"""Which backups there are, and what is known of each without reading all of it."""

from typing import Any

import msgspec

from holdfast.operations.backup.errors import BackupRefusedError, NoSuchBackupError
from holdfast.operations.backup.stores.base import Store
from holdfast.operations.backup.types import (
    MANIFEST,
    VERIFICATION,
    BackupSummary,
    Manifest,
    Verification,
    decode_manifest,
    is_backup_id,
)

NEWEST = "newest"


def newest(store: Store) -> str | None:
    """The id of the newest backup."""
    return next(iter(store.ids()), None)


def resolve_id(store: Store, text: str) -> str:
    """The id that a person means: the word `newest`, an id, or the beginning of one."""
    ids = store.ids()
    if not ids:
        raise NoSuchBackupError(f"there is no backup in {store.shown}: `holdfast backup create` makes one")
    if text == NEWEST:
        return ids[0]
    found = [each for each in ids if each.startswith(text)] if text else []
    if len(found) == 1:
        return found[0]
    if found:
        raise NoSuchBackupError(f"{len(found)} backups in {store.shown} begin with {text!r}: write more of the id")
    raise NoSuchBackupError(
        f"there is no backup {text!r} in {store.shown}: `holdfast backup list` shows those there are"
    )


def read_manifest(store: Store, backup_id: str) -> Manifest:
    """The manifest of a backup; raises BackupRefusedError where it is not the one that was written."""
    text = store.read_small(backup_id, MANIFEST) if is_backup_id(backup_id) else None
    if text is None:
        raise NoSuchBackupError(f"there is no backup {backup_id!r} in {store.shown}")
    return decode_manifest(text, backup_id)


def find_verification(store: Store, backup_id: str) -> Verification | None:
    """What the last check said; None where there was none, or where its record cannot be read."""
    text = store.read_small(backup_id, VERIFICATION)
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text, type=Verification)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return found if found.backup_id == backup_id else None


def record_verification(store: Store, verification: Verification) -> None:
    """Keep what a check said beside the backup, where it is found on any machine."""
    store.write_small(verification.backup_id, VERIFICATION, msgspec.json.encode(verification))


def list_backups(store: Store, *, at_most: int | None = None) -> list[BackupSummary]:
    """The backups of a store, the newest first. Those whose manifest cannot be used are told with the reason."""
    return [summary_of(store, backup_id) for backup_id in store.ids()[:at_most]]


def summary_of(store: Store, backup_id: str) -> BackupSummary:
    """A line of the list."""
    verification = find_verification(store, backup_id)
    checked: dict[str, Any] = {
        "verified_at": None if verification is None else verification.verified_at,
        "verified": None if verification is None else verification.passed,
    }
    try:
        manifest = read_manifest(store, backup_id)
    except BackupRefusedError as error:
        return BackupSummary(id=backup_id, problem=error.message, **checked)
    return BackupSummary(
        id=backup_id,
        made_at=manifest.made_at,
        dialect=manifest.dialect,
        schema_revision=manifest.schema_revision,
        rows=manifest.rows,
        bundles=len(manifest.bundles),
        bytes=manifest.stored_size,
        encrypted=manifest.database.encrypted,
        problem=None if verification is None else verification.failure,
        **checked,
    )
