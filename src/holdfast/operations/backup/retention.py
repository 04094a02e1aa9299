"""Which backups stay, and removing the others."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from holdfast.db.lifecycle.bundle import in_thread
from holdfast.operations.backup.errors import BackupRefusedError, NoSuchBackupError
from holdfast.operations.backup.reading import find_verification, is_own, owner_of, read_manifest
from holdfast.operations.backup.stores.base import Store
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import SHORT_ID, Manifest
from holdfast.operations.backup.verifying import verify_backup
from holdfast.settings import Settings

_RELIED_ON = "newest verified"


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """How many stay: the newest ones, and the newest of each of the last days, weeks and months that have any."""

    newest: int
    daily: int
    weekly: int
    monthly: int


class Aged(msgspec.Struct, frozen=True):
    """What counts of a backup. `verified`: its last check passed; `failed`: it did not."""

    id: str
    made_at: datetime
    verified: bool
    failed: bool = False


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What a pruning removed, or would, and what stays with the reason; backups that cannot be judged stay, too."""

    removed: list[str]
    kept: dict[str, list[str]]
    leftovers: int
    dry_run: bool


def keep_of(settings: Settings) -> Keep:
    """The numbers of the settings."""
    return Keep(
        newest=settings.backup_keep_newest,
        daily=settings.backup_keep_daily,
        weekly=settings.backup_keep_weekly,
        monthly=settings.backup_keep_monthly,
    )


def kept_backups(backups: Sequence[Aged], keep: Keep) -> dict[str, list[str]]:
    """The ids that stay, each with every reason. The newest one stays always, and the newest one that was verified.

    Every other place goes to backups whose check did not fail: damaged ones must not push out good ones.
    """
    ordered = sorted(backups, key=lambda each: (each.made_at, each.id), reverse=True)
    reasons: dict[str, list[str]] = {}

    def stays(backup: Aged, reason: str) -> None:
        reasons.setdefault(backup.id, []).append(reason)

    good = [each for each in ordered if not each.failed]
    for backup in ordered[:1]:
        if backup.failed:
            stays(backup, "newest")
    for backup in good[: max(keep.newest, 1)]:
        stays(backup, "newest")
    if verified := next((each for each in ordered if each.verified), None):
        stays(verified, _RELIED_ON)
    for reason, count, span in (
        ("daily", keep.daily, "%Y-%m-%d"),
        ("weekly", keep.weekly, "%G-W%V"),
        ("monthly", keep.monthly, "%Y-%m"),
    ):
        seen: set[str] = set()
        for backup in good:
            name = backup.made_at.strftime(span)
            if name not in seen and len(seen) < count:
                seen.add(name)
                stays(backup, f"{reason} {name}")
    return reasons


async def prune(
    settings: Settings, *, instance: str | None, dry_run: bool = False, trusted: str | None = None
) -> Pruned:
    """Remove the backups that the settings do not keep, and what broken-off ones left behind.

    Those of other instances than this neither count nor go; where it is None, all that name one are others'.
    Before any goes, the newest that was verified is checked again, unless it is `trusted`: one that was made and
    checked just now, and stays whatever the clocks say. Where none is whole any more, nothing goes.
    """
    store = open_store(settings)
    was_rotten = False
    while True:
        planned = await in_thread(_plan, store, keep_of(settings), instance, trusted)
        verified = next((each for each, reasons in planned.kept.items() if _RELIED_ON in reasons), None)
        if dry_run:
            return planned
        if not planned.removed or trusted is not None:
            break
        if verified is None:
            if was_rotten:
                planned = _nothing_of(planned)
            break
        try:
            await verify_backup(settings, verified)
            break
        except BackupRefusedError as error:
            if "identities" in error.details:
                raise
            was_rotten = True
    return await in_thread(_remove, store, planned)


def _plan(store: Store, keep: Keep, instance: str | None, trusted: str | None) -> Pruned:
    backups: list[Aged] = []
    unknown: dict[str, list[str]] = {}
    for backup_id in store.ids():
        try:
            manifest = _find_usable(store, backup_id)
        except NoSuchBackupError:
            # Another instance let it go just now.
            continue
        owner = owner_of(store, backup_id) if manifest is None else manifest.owner
        if owner is not None and not is_own(owner, instance):
            unknown[backup_id] = [f"of another instance ({owner[:SHORT_ID]})"]
            continue
        if manifest is None:
            unknown[backup_id] = ["its manifest cannot be used: look at it, then remove it by hand"]
            continue
        verification = find_verification(store, backup_id)
        passed = None if verification is None else verification.passed
        backups.append(Aged(backup_id, manifest.made_at, verified=passed is True, failed=passed is False))
    kept = kept_backups(backups, keep)
    if trusted is not None:
        kept.setdefault(trusted, ["made just now"])
    removed = sorted(each.id for each in backups if each.id not in kept)
    return Pruned(removed=removed, kept=kept | unknown, leftovers=0, dry_run=True)


def _find_usable(store: Store, backup_id: str) -> Manifest | None:
    try:
        return read_manifest(store, backup_id)
    except BackupRefusedError:
        return None


def _nothing_of(planned: Pruned) -> Pruned:
    stays = {each: ["no backup is whole any more"] for each in planned.removed}
    return msgspec.structs.replace(planned, removed=[], kept=planned.kept | stays)


def _remove(store: Store, planned: Pruned) -> Pruned:
    for backup_id in planned.removed:
        store.remove(backup_id)
    return msgspec.structs.replace(planned, leftovers=store.remove_leftovers(), dry_run=False)
