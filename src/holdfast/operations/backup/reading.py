"""Which backups there are, and what is known of each without reading all of it."""

import contextlib
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


class _Owner(msgspec.Struct):
    """What is looked for in a manifest of whatever version."""

    instance: str | None = None


def owner_of(store: Store, backup_id: str) -> str | None:
    """The instance that a backup names, though the rest of its manifest may be unusable; None where it names none."""
    try:
        return msgspec.json.decode(store.read_small(backup_id, MANIFEST) or b"{}", type=_Owner).instance
    except (msgspec.DecodeError, UnicodeError):
        return None


def is_own(owner: str | None, instance: str | None) -> bool:
    """Whether a backup of this owner counts as one of this instance; releases before revision 0019 named none."""
    return owner is None or owner == instance


def resolve_id(store: Store, text: str, *, instance: str | None) -> str:
    """The id that a person means: an id, the beginning of one, or the word `newest`.

    The newest one is that of the instance. Where that is None, nobody knows who asks: then the store may hold backups
    of one instance only.
    """
    ids = store.ids()
    if not ids:
        raise NoSuchBackupError(f"there is no backup in {store.shown}: `holdfast backup create` makes one")
    if text == NEWEST:
        return _newest(store, ids, instance)
    found = [each for each in ids if each.startswith(text)] if text else []
    if len(found) == 1:
        return found[0]
    if found:
        raise NoSuchBackupError(f"{len(found)} backups in {store.shown} begin with {text!r}: write more of the id")
    raise NoSuchBackupError(
        f"there is no backup {text!r} in {store.shown}: `holdfast backup list` shows those there are"
    )


def _newest(store: Store, ids: list[str], instance: str | None) -> str:
    if instance is not None:
        for backup_id in ids:
            if is_own(owner_of(store, backup_id), instance):
                return backup_id
        raise NoSuchBackupError(
            f"there is no backup of this instance in {store.shown}, only such of others: to bring back one of those,"
            f" name it. The newest is {ids[0]}"
        )
    owners = {owner for backup_id in ids if (owner := owner_of(store, backup_id)) is not None}
    if len(owners) > 1:
        raise NoSuchBackupError(
            f"{store.shown} holds backups of {len(owners)} instances, and the database does not say which it is: name"
            " the backup. `holdfast backup list` shows those there are"
        )
    return ids[0]


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


def list_backups(store: Store, *, instance: str | None = None, at_most: int | None = None) -> list[BackupSummary]:
    """The backups of a store, the newest first, as `instance` sees them.

    Those whose manifest cannot be used are told with the reason.
    """
    found: list[BackupSummary] = []
    for backup_id in store.ids()[:at_most]:
        # Another instance may have let its backup go just now.
        with contextlib.suppress(NoSuchBackupError):
            found.append(summary_of(store, backup_id, instance))
    return found


def summary_of(store: Store, backup_id: str, instance: str | None) -> BackupSummary:
    """A line of the list."""
    verification = find_verification(store, backup_id)
    known: dict[str, Any] = {
        "verified_at": None if verification is None else verification.verified_at,
        "verified": None if verification is None else verification.passed,
    }
    try:
        manifest = read_manifest(store, backup_id)
    except BackupRefusedError as error:
        known |= _ownership(owner_of(store, backup_id), instance)
        return BackupSummary(id=backup_id, problem=error.message, **known)
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
        **known,
        **_ownership(manifest.owner, instance),
    )


def _ownership(owner: str | None, instance: str | None) -> dict[str, Any]:
    nobody_knows = instance is None and owner is not None
    return {"instance": owner, "is_own": None if nobody_knows else is_own(owner, instance)}
