"""Bringing a backup back: into an empty database, checked before and after, marked as unfinished until all is right."""

import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.db import runs
from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.bundle_file import sync_folder
from holdfast.db.migrate import migrate, schema_status
from holdfast.db.migrations.files import known_revisions
from holdfast.db.open import open_database
from holdfast.operations.backup.bundles import has_content, move_bundles, target_of
from holdfast.operations.backup.engines.base import Engine, Loading, StillAlone, TargetState
from holdfast.operations.backup.engines.choosing import engine_of
from holdfast.operations.backup.errors import RestoreFailedError, RestoreRefusedError
from holdfast.operations.backup.reading import read_manifest
from holdfast.operations.backup.running import Progress, no_progress, stoppable
from holdfast.operations.backup.stores.base import Store
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.streams import Stop, load_file
from holdfast.operations.backup.tables import count_tables
from holdfast.operations.backup.types import Manifest, StoredFile
from holdfast.operations.backup.verifying import required_keys, verify_backup
from holdfast.operations.checksums import TableChecksum, compare, read_checksums
from holdfast.settings import Settings

RESTORE_RUN = "operations.restore"
_LONG_SECONDS = 24 * 3600.0


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore did. `compared` says by what the rows were held against the manifest: checksums or counts.

    `kept` is where the database that was there before stands now, where it was kept.
    """

    backup_id: str
    database: str
    rows: int
    compared: str
    bundles: int
    bundle_rows_moved: int
    schema_revision: str
    pending: list[str]
    kept: str | None
    seconds: float


async def restore_backup(
    settings: Settings,
    backup_id: str,
    *,
    replace: bool = False,
    upgrade: bool = False,
    identities: Path | None = None,
    bundles_to: Path | None = None,
    progress: Progress = no_progress,
    clock: Clock = utc_now,
) -> Restored:
    """Restore a backup into the database of the settings, with its bundles into `bundles_to` (None: without them).

    A target that holds anything of Holdfast is refused unless `replace` is said. It is marked before the first byte
    goes in; the mark goes once the rows are those of the manifest. `upgrade` migrates an older schema afterwards.
    """
    store = open_store(settings)
    manifest = await in_thread(read_manifest, store, backup_id)
    return await _Restoring(settings, store, manifest, progress, clock).run(
        replace=replace, upgrade=upgrade, identities=identities, bundles_to=bundles_to
    )


class _Restoring:
    """One restore."""

    def __init__(self, settings: Settings, store: Store, manifest: Manifest, progress: Progress, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._manifest = manifest
        self._progress = progress
        self._clock = clock
        self._address = parse_address(settings.resolved_database_url)
        self._stop = Stop()

    async def run(self, *, replace: bool, upgrade: bool, identities: Path | None, bundles_to: Path | None) -> Restored:
        self._refuse_other_versions()
        engine = engine_of(self._address.dialect_name)
        async with engine.alone(self._address) as still_alone:
            return await self._run_alone(
                engine, still_alone, replace=replace, upgrade=upgrade, identities=identities, bundles_to=bundles_to
            )

    async def _run_alone(
        self,
        engine: Engine,
        still_alone: StillAlone,
        *,
        replace: bool,
        upgrade: bool,
        identities: Path | None,
        bundles_to: Path | None,
    ) -> Restored:
        started, started_at = time.monotonic(), self._clock()
        keys = await in_thread(required_keys, self._settings, self._manifest, identities)
        # What is there must not go for a backup that then proves to be none.
        await self._inspect(engine, replace=replace)
        await in_thread(self._refuse_other_bundles, bundles_to)
        await verify_backup(
            self._settings,
            self._manifest.id,
            identities=identities,
            bundles=bundles_to is not None,
            progress=self._progress,
            clock=self._clock,
        )
        # Checking may take hours, in which others may have filled the database.
        state = await self._inspect(engine, replace=replace)
        kept = await engine.make_room(self._address, state, self._manifest.id)
        try:
            await self._load(engine, keys)
            compared, moved = await self._check_and_settle(engine, keys, bundles_to)
            await still_alone()
        except RestoreFailedError:
            raise
        except Exception as error:
            raise RestoreFailedError(
                f"the restore of backup {self._manifest.id} broke off, and {self._address.shown} is marked as"
                f" unfinished: {error}. Run it again"
            ) from error
        await engine.declare_finished(self._address)
        pending = await self._upgrade(upgrade=upgrade)
        done = Restored(
            backup_id=self._manifest.id,
            database=self._address.shown,
            rows=self._manifest.rows,
            compared=compared,
            bundles=0 if bundles_to is None else len(self._manifest.bundles),
            bundle_rows_moved=moved,
            schema_revision=self._manifest.schema_revision if pending or not upgrade else known_revisions()[-1],
            pending=pending,
            kept=kept,
            seconds=round(time.monotonic() - started, 3),
        )
        if not pending:
            async with self._opened(self._address) as database, database.write() as tx:
                detail = msgspec.to_builtins(done)
                await runs.record(tx, RESTORE_RUN, started_at, "done", detail=detail, clock=self._clock)
        return done

    def _refuse_other_versions(self) -> None:
        manifest, known = self._manifest, known_revisions()
        if manifest.dialect != self._address.dialect_name:
            raise RestoreRefusedError(
                f"backup {manifest.id} is of {manifest.dialect}, and {self._address.shown} is"
                f" {self._address.dialect_name}: restore it into {manifest.dialect}, then `holdfast transfer` moves it"
            )
        if manifest.schema_revision not in known and manifest.checksums_revision not in known:
            raise RestoreRefusedError(
                f"backup {manifest.id} is at schema revision {manifest.schema_revision}, which this version does not"
                f" know (its newest is {known[-1]}): use Holdfast {manifest.holdfast}, which made it, or a newer one"
            )

    async def _inspect(self, engine: Engine, *, replace: bool) -> TargetState:
        state = await engine.inspect(self._settings, self._address)
        self._refuse_target(state, replace=replace)
        return state

    def _refuse_target(self, state: TargetState, *, replace: bool) -> None:
        shown = self._address.shown
        # On the servers a restore that was broken off had dropped what was there before it began to load.
        goes_on = state.unfinished is not None and self._address.dialect_name != "sqlite"
        if state.own_tables and not replace and not goes_on:
            raise RestoreRefusedError(
                f"{shown} is not empty: it holds {len(state.own_tables)} tables ({', '.join(state.own_tables[:3])} …)."
                " Name an empty database, or say --replace to give up what is there"
            )
        if state.sessions and (state.own_tables or state.unfinished):
            raise RestoreRefusedError(
                f"{state.sessions} other sessions use {shown}: stop the servers and the workers first"
            )
        if self._address.dialect_name == "postgresql":
            here, there = (
                int(text.partition(".")[0]) for text in (state.server_version, self._manifest.server_version)
            )
            if here < there:
                raise RestoreRefusedError(
                    f"the backup is of PostgreSQL {there}, and {shown} is {here}: an older server may not read its dump"
                )

    def _refuse_other_bundles(self, folder: Path | None) -> None:
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for file in self._manifest.bundles:
            path = target_of(file, folder)
            if path.exists() and not has_content(path, file):
                raise RestoreRefusedError(
                    f"{path} is there already, with other content than in the backup: move it away, or let"
                    " HOLDFAST_BUNDLE_DIR name another folder"
                )

    async def _load(self, engine: Engine, keys: list[Any]) -> None:
        done = 0
        file = self._manifest.database

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            self._progress("Loading the database", done, file.size)

        async with engine.load(self._settings, self._address, self._stop, self._manifest.namespace) as loading:
            try:
                await stoppable(partial(self._pour, file, loading, keys, on_bytes), self._stop, loading.end)
            finally:
                await in_thread(loading.end)

    def _pour(self, file: StoredFile, loading: Loading, keys: list[Any], on_bytes: Any) -> None:
        load_file(
            self._store,
            self._manifest.id,
            file,
            loading.sink,
            identities=keys,
            recipients=self._manifest.recipients,
            stop=self._stop,
            on_bytes=on_bytes,
        )
        loading.loaded()

    async def _check_and_settle(self, engine: Engine, keys: list[Any], bundles_to: Path | None) -> tuple[str, int]:
        address = engine.loaded_address(self._address)
        async with self._opened(address) as database:
            compared = await self._compare(database)
            if bundles_to is None:
                return compared, 0
            for number, file in enumerate(self._manifest.bundles):
                self._progress("Bringing bundles back", number, len(self._manifest.bundles))
                await stoppable(partial(self._write_bundle, file, bundles_to, keys), self._stop)
            async with database.write() as tx:
                await tx.allow_long_statements()
                return compared, await move_bundles(tx, self._manifest, bundles_to)

    async def _compare(self, database: Database) -> str:
        """Hold what was loaded against the manifest, table by table."""
        expected = self._manifest.tables
        by_checksums = self._manifest.checksums_revision == known_revisions()[-1]
        if by_checksums:
            found = await read_checksums(
                database,
                progress=lambda share: self._progress("Comparing checksums", round(share * 1000), 1000),
            )
        else:
            async with database.read() as tx:
                counts = await count_tables(tx)
            expected = {name: TableChecksum(each.rows, "") for name, each in expected.items()}
            found = {name: TableChecksum(rows, "") for name, rows in counts.items() if name in expected}
        if differences := compare(expected, found):
            told = "; ".join(each.sentence for each in differences[:5])
            raise RestoreFailedError(
                f"the restored rows are not those of backup {self._manifest.id}, and {self._address.shown} is marked as"
                f" unfinished: {told}"
            )
        return "checksums" if by_checksums else "counts"

    def _write_bundle(self, file: StoredFile, folder: Path, keys: list[Any]) -> None:
        path = target_of(file, folder)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                load_file(
                    self._store,
                    self._manifest.id,
                    file,
                    stream,
                    identities=keys,
                    recipients=self._manifest.recipients,
                    stop=self._stop,
                    on_bytes=lambda count: None,
                )
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
            sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)

    async def _upgrade(self, *, upgrade: bool) -> list[str]:
        status = await schema_status(self._address)
        if upgrade or not status.pending:
            # Where nothing is pending, it makes the procedures that a dump could not take along.
            status = await migrate(self._address)
        return status.pending

    @contextlib.asynccontextmanager
    async def _opened(self, address: DatabaseAddress) -> AsyncIterator[Database]:
        settings = msgspec.structs.replace(
            self._settings,
            database_url=address.text,
            slow_statement_seconds=_LONG_SECONDS,
            statement_timeout_seconds=_LONG_SECONDS,
            deletion_timeout_seconds=_LONG_SECONDS,
        )
        async with open_database(settings).running() as database:
            yield database
