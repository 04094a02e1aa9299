"""Checking a backup: every stored byte, every plain byte, and whether the engine's own tool can read the dump."""

import socket
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.operations.backup.creating import work_folder
from holdfast.operations.backup.encryption import identity_path, load_identities
from holdfast.operations.backup.engines.choosing import engine_of
from holdfast.operations.backup.errors import BackupRefusedError, NoSuchBackupError
from holdfast.operations.backup.reading import read_manifest, record_verification
from holdfast.operations.backup.running import Progress, entered, no_progress, stoppable
from holdfast.operations.backup.stores.base import Store
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.streams import Stop, check_stored, load_file
from holdfast.operations.backup.types import Manifest, StoredFile, Verification
from holdfast.operations.backup.workspace import workspace
from holdfast.settings import Settings


async def verify_backup(
    settings: Settings,
    backup_id: str,
    *,
    identities: Path | None = None,
    bundles: bool = True,
    progress: Progress = no_progress,
    clock: Clock = utc_now,
) -> Verification:
    """Read all of a backup and keep beside it what came of that; raises BackupRefusedError where it is not whole.

    An encrypted one is opened with the keys in `identities`, or in the settings' file. Without any only its stored
    bytes can be held against the manifest, and the verification says so. Without `bundles` only the dump is read, and
    that it is whole is kept nowhere: it says nothing about the rest.
    """
    store = open_store(settings)
    keys = await in_thread(load_identities, identities or identity_path(settings))
    try:
        manifest = await in_thread(read_manifest, store, backup_id)
        contents = bool(keys) or not manifest.database.encrypted
        async with entered(workspace(work_folder(settings))) as folder:
            read = manifest if bundles else msgspec.structs.replace(manifest, files=[manifest.database])
            checking = _Checking(
                settings, store, read, keys=keys if contents else None, folder=folder, progress=progress
            )
            await checking.run()
    except BackupRefusedError as error:
        told = await in_thread(_with_owner, store, backup_id, error)
        # The wrong key says nothing about the backup.
        if "identities" not in error.details:
            failed = _verification(backup_id, clock, passed=False, contents=True, failure=told.message)
            await in_thread(record_verification, store, failed)
        raise told from error
    done = _verification(backup_id, clock, passed=True, contents=contents)
    if bundles:
        await in_thread(record_verification, store, done)
    return done


def _verification(
    backup_id: str, clock: Clock, *, passed: bool, contents: bool, failure: str | None = None
) -> Verification:
    return Verification(
        backup_id=backup_id,
        verified_at=clock(),
        host=socket.gethostname(),
        passed=passed,
        contents=contents,
        failure=failure,
    )


class _Checking:
    """One reading of a backup. Without `keys` (None) the stored bytes only."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        manifest: Manifest,
        *,
        keys: list[Any] | None,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._store = store
        self._manifest = manifest
        self._keys = keys
        self._folder = folder
        self._progress = progress
        self._stop = Stop()
        self._done = 0
        files = manifest.files
        self._total = sum(each.stored_size if keys is None else each.size for each in files)

    async def run(self) -> None:
        await in_thread(self._check_sizes)
        for file in self._manifest.files:
            if self._keys is None:
                await stoppable(
                    partial(
                        check_stored,
                        self._store,
                        self._manifest.id,
                        file,
                        stop=self._stop,
                        on_bytes=self._on_bytes,
                    ),
                    self._stop,
                )
            elif file.kind == "database":
                await self._check_dump(file)
            else:
                await stoppable(partial(self._load, file, None), self._stop)

    def _check_sizes(self) -> None:
        """What is missing or cut short is told at once, before hours of reading."""
        found = self._store.sizes(self._manifest.id)
        for part in (part for file in self._manifest.files for part in file.parts):
            if part.name not in found:
                raise BackupRefusedError(f"{part.name} of backup {self._manifest.id} is missing")
            if found[part.name] != part.size:
                raise BackupRefusedError(
                    f"{part.name} of backup {self._manifest.id} is cut short or changed: it has {found[part.name]:,}"
                    f" bytes, and its manifest says {part.size:,}"
                )

    async def _check_dump(self, file: StoredFile) -> None:
        engine = engine_of(self._manifest.dialect)
        check = await in_thread(engine.check, self._settings, self._folder, self._manifest.server_version)
        try:
            await stoppable(partial(self._load, file, check), self._stop, check.end)
            await stoppable(check.finish, self._stop)
        finally:
            await in_thread(check.end)

    def _load(self, file: StoredFile, sink: Any) -> None:
        load_file(
            self._store,
            self._manifest.id,
            file,
            sink,
            identities=self._keys or [],
            recipients=self._manifest.recipients,
            stop=self._stop,
            on_bytes=self._on_bytes,
        )

    def _on_bytes(self, count: int) -> None:
        self._done += count
        self._progress("Checking the backup", self._done, self._total)


def _with_owner(store: Store, backup_id: str, error: BackupRefusedError) -> BackupRefusedError:
    """Where the bytes that were found are those of another backup, say of which."""
    found = error.details.get("found_sha256")
    for other in store.ids() if found else []:
        if other == backup_id:
            continue
        try:
            manifest = read_manifest(store, other)
        except (BackupRefusedError, NoSuchBackupError):
            continue
        for part in (part for file in manifest.files for part in file.parts):
            if part.sha256 == found:
                return BackupRefusedError(f"{error.message}. It is {part.name} of backup {other}", **error.details)
    return error


def required_keys(settings: Settings, manifest: Manifest, identities: Path | None) -> list[Any]:
    """The secret keys for reading a backup; none where it is not encrypted."""
    if not manifest.database.encrypted:
        return []
    path = identities or identity_path(settings)
    if path is None:
        raise BackupRefusedError(
            f"backup {manifest.id} is encrypted for {', '.join(manifest.recipients)}: name the file with the secret key"
            " with --identity, or in HOLDFAST_BACKUP_IDENTITY_FILE",
            identities=None,
        )
    return load_identities(path)
