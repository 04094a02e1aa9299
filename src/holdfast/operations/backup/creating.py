"""Making a backup: a dump of one moment, its checksums, the bundles that its rows name, and at last the manifest."""

import asyncio
import secrets
import socket
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

import holdfast
from holdfast.core.clock import Clock, utc_now
from holdfast.db import runs
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.filling import find_unfinished
from holdfast.db.instance_id import find_instance_id
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.bundle_file import manifest_text
from holdfast.db.migrate import SchemaStatus, schema_status
from holdfast.operations.backup.bundles import Bundle, named_bundles, orphan_bundles, store_bundle
from holdfast.operations.backup.encryption import parsed_recipients, recipients_in
from holdfast.operations.backup.engines.base import OpenDump
from holdfast.operations.backup.engines.choosing import engine_of
from holdfast.operations.backup.errors import (
    BackupFailedError,
    BackupRefusedError,
    NoSuchBackupError,
    SchemaChangedError,
)
from holdfast.operations.backup.reading import find_verification, is_own, read_manifest
from holdfast.operations.backup.running import Progress, entered, no_progress, stoppable
from holdfast.operations.backup.stores.base import Store, Upload
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.streams import Stop, store_file
from holdfast.operations.backup.tables import checksums_of, schema_fingerprint
from holdfast.operations.backup.types import (
    FORMAT,
    VERSION,
    Manifest,
    Sentinel,
    StoredFile,
    decode_manifest,
    new_backup_id,
)
from holdfast.operations.backup.workspace import workspace
from holdfast.operations.checksums import Checksums
from holdfast.settings import Settings

SENTINEL_RUN = "operations.backup_sentinel"

_log = structlog.get_logger("holdfast.backup")


async def create_backup(
    database: Database, settings: Settings, *, progress: Progress = no_progress, clock: Clock = utc_now
) -> Manifest:
    """Back up the database of the settings, while others write; its manifest once it is whole in the store."""
    status = await schema_status(parse_address(settings.resolved_database_url))
    if status.current is None:
        raise BackupFailedError("the database is empty: there is nothing to back up")
    async with database.read() as tx:
        if await find_unfinished(tx) is not None:
            raise BackupFailedError(
                "an import into the database goes on, or was broken off: wait for it, or run it again"
            )
        instance = await find_instance_id(tx)
    making = _Making(database, settings, instance, progress, clock)
    await in_thread(making.store.remove_leftovers)
    async with entered(workspace(work_folder(settings))) as folder:
        return await making.run(status, folder)


def work_folder(settings: Settings) -> Path:
    """Where a backup, a check or a restore keeps files while it runs."""
    return settings.data_dir.resolve() / "backup-work"


class _Making:
    """A backup while it is made."""

    def __init__(
        self, database: Database, settings: Settings, instance: str | None, progress: Progress, clock: Clock
    ) -> None:
        self._database = database
        self._settings = settings
        self._instance = instance
        self._progress = progress
        self._clock = clock
        self._engine = engine_of(database.dialect_name)
        self._keys = recipients_in(settings)
        self._recipients = parsed_recipients(self._keys)
        self._stop = Stop()
        self.store: Store = open_store(settings)
        self.backup_id = new_backup_id(clock)

    async def run(self, status: SchemaStatus, folder: Path) -> Manifest:
        made_at = self._clock()
        sentinel = await self._write_sentinel(status)
        earlier = await in_thread(_earlier, self.store, self._instance)
        async with entered(self.store.upload(self.backup_id)) as upload:
            before = await schema_fingerprint(self._database)
            facts, bundles = await self._dump(upload, status, folder)
            if await schema_fingerprint(self._database) != before:
                raise SchemaChangedError("a migration changed the schema beside the backup: run it again afterwards")
            bundles += await in_thread(orphan_bundles, self._settings.resolved_bundle_dir)
            stored, missing, damaged = await self._store_bundles(upload, bundles, earlier)
            manifest = Manifest(
                format=FORMAT,
                version=VERSION,
                id=self.backup_id,
                instance=self._instance or msgspec.UNSET,
                previous=None if earlier is None else earlier.id,
                made_at=made_at,
                finished_at=self._clock(),
                host=socket.gethostname(),
                holdfast=holdfast.__version__,
                dialect=self._database.dialect_name,
                sentinel=sentinel,
                bundle_dir=self._settings.resolved_bundle_dir.as_posix(),
                bundles_missing=missing,
                bundles_damaged=damaged or msgspec.UNSET,
                recipients=self._keys,
                files=[facts.pop("file"), *stored],
                **facts,
            )
            text = manifest_text(manifest)
            await stoppable(partial(upload.finish, text), self._stop)
        return decode_manifest(text, self.backup_id)

    async def _write_sentinel(self, status: SchemaStatus) -> Sentinel | None:
        """A row that the backup must hold; a schema of an older version may have no place for it."""
        if status.pending:
            return None
        value = secrets.token_hex(16)
        written_at = self._clock()
        async with self._database.write() as tx:
            run_id = await runs.record(
                tx,
                SENTINEL_RUN,
                written_at,
                "done",
                detail={"value": value, "backup_id": self.backup_id},
                clock=self._clock,
            )
        return Sentinel(run_id=run_id, value=value, written_at=written_at)

    async def _dump(self, upload: Upload, status: SchemaStatus, folder: Path) -> tuple[dict[str, Any], list[Bundle]]:
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            self._progress("Reading the database", done, dump.expected_bytes)

        opened = self._engine.dump(self._settings, self._database, folder, self._stop, on_bytes)
        async with opened as dump:
            try:
                ((revision,),) = await dump.tx.fetch_text("SELECT version_num FROM alembic_version")
                bundles = await named_bundles(dump.tx, self._settings.resolved_bundle_dir)
                file, (tables, covers) = await _both(
                    stoppable(partial(self._store_dump, upload, dump, on_bytes), self._stop, dump.end),
                    self._sum(dump.tx, status),
                )
            finally:
                await in_thread(dump.end)
            facts = {
                "file": file,
                "server_version": dump.server_version,
                "tool": dump.tool,
                "namespace": dump.namespace,
                "schema_revision": str(revision),
                "tables": tables,
                "checksums_revision": covers,
            }
        return facts, bundles

    def _store_dump(self, upload: Upload, dump: OpenDump, on_bytes: Any) -> StoredFile:
        file = store_file(
            upload,
            dump.source,
            kind="database",
            name=self._engine.file_name,
            path=self._engine.file_name,
            compressed=True,
            recipients=self._recipients,
            stop=self._stop,
            on_bytes=on_bytes,
        )
        dump.finish()
        return file

    async def _sum(self, tx: Transaction, status: SchemaStatus) -> tuple[Checksums, str]:
        return await checksums_of(
            tx, status, progress=lambda share: self._progress("Reading checksums", round(share * 1000), 1000)
        )

    async def _store_bundles(
        self, upload: Upload, bundles: list[Bundle], earlier: Manifest | None
    ) -> tuple[list[StoredFile], list[str], list[str]]:
        """The stored ones, and the places of those that are nowhere and of those that are damaged."""
        stored: list[StoredFile] = []
        missing: list[str] = []
        damaged: list[str] = []
        for number, bundle in enumerate(bundles):
            self._progress("Reading bundles", number, len(bundles))
            file = await stoppable(
                partial(
                    store_bundle,
                    upload,
                    self.store,
                    bundle,
                    earlier=earlier,
                    keys=self._keys,
                    recipients=self._recipients,
                    stop=self._stop,
                    on_bytes=lambda count: None,
                ),
                self._stop,
            )
            if file is None:
                _log.warning("backup_misses_bundle", bundle=str(bundle.path))
                missing.append(bundle.place)
                continue
            stored.append(file)
            if bundle.is_damaged(file):
                _log.warning("backup_of_damaged_bundle", bundle=str(bundle.path))
                damaged.append(bundle.place)
        return stored, missing, damaged


def _earlier(store: Store, instance: str | None) -> Manifest | None:
    """The newest own backup, from which bundles may be taken over: one that was found damaged is left out."""
    for backup_id in store.ids():
        try:
            manifest = read_manifest(store, backup_id)
        except (BackupRefusedError, NoSuchBackupError):
            continue
        if not is_own(manifest.owner, instance):
            continue
        verification = find_verification(store, backup_id)
        sizes = store.sizes(backup_id)
        is_there = all(sizes.get(part.name) == part.size for each in manifest.files for part in each.parts)
        if is_there and (verification is None or verification.passed):
            return manifest
    return None


async def _both(first: Any, second: Any) -> tuple[Any, Any]:
    """Both results. Where one fails the other is broken off, and the first failure is raised."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        one, other = await asyncio.gather(*tasks)
        return one, other
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
