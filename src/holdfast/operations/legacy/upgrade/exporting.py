"""An export of old tables before they are dropped, its check, and their way back, after which they are what they were.

An export holds the tables with all that belongs to them as the engine's own dump, and the key map; the manifest has
the rows and the SHA-256 of each table, against which whatever is loaded is held.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing
from functools import partial
from pathlib import Path

import msgspec
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

import holdfast
from holdfast.core.clock import Clock, utc_now
from holdfast.db.address import DatabaseAddress
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.operations.backup.errors import (
    BackupFailedError,
    BackupRefusedError,
    CheckBrokenOffError,
    ProgramKilledError,
)
from holdfast.operations.backup.running import Progress, entered, no_progress, stoppable
from holdfast.operations.backup.streams import OnBytes, Stop
from holdfast.operations.checksums import TableChecksum, compare
from holdfast.operations.legacy.types import LegacyError
from holdfast.operations.legacy.upgrade.dumps.base import Dumping, Loading, Moment, OldDumps, Place
from holdfast.operations.legacy.upgrade.dumps.choosing import dumps_of
from holdfast.operations.legacy.upgrade.export_folder import (
    FORMAT,
    KEY_MAP,
    VERSION,
    ExportFolder,
    Manifest,
    check_files,
    export_folder,
    feed,
    read_manifest,
)
from holdfast.operations.legacy.upgrade.key_map_pages import key_map_pages
from holdfast.operations.legacy.upgrade.old_rows import (
    begin_snapshot,
    checksums_in,
    steady_connection,
    tables_in,
)
from holdfast.settings import Settings

# What stands on a namespace while an export is loaded into it, and afterwards.
_LOADING, _LOADED = "holdfast: an export is being loaded", "holdfast: loaded from the export "
_MOST_TOLD = 5


async def write_export(
    settings: Settings,
    address: DatabaseAddress,
    namespace: str,
    folder: Path,
    *,
    keys: Database,
    progress: Progress = no_progress,
    clock: Clock = utc_now,
) -> Manifest:
    """Export the tables of a namespace, and the key map that the database `keys` has.

    On MariaDB nobody can write to the tables meanwhile. A folder that holds an export already is refused: after phase 5
    it is the only place that has the tables.
    """
    with _told(f"the old tables in {namespace} cannot be exported to {folder}"):
        async with entered(export_folder(folder)) as files, _placed(address, namespace) as (connection, dumps, place):
            tables = await tables_in(connection, namespace)
            if not tables:
                raise LegacyError(f"there is no table in {place.shown}: nothing is exported")
            await dumps.refuse_inexact(connection, place, tables)
            moment = await dumps.hold_still(connection, place, tables)
            tool = await _write_dump(settings, files, place, moment, progress)
            checksums = await checksums_in(connection, namespace, tables, progress=progress)
            key_map = await _write_key_map(files, keys, progress)
            manifest = Manifest(
                format=FORMAT,
                version=VERSION,
                made_at=clock(),
                made_by=holdfast.__version__,
                dialect=address.dialect_name,
                server_version=moment.server_version,
                tool=tool,
                namespace=namespace,
                dump=dumps.file_name,
                tables=checksums,
                key_map=key_map,
                files=files.files,
            )
            return await in_thread(files.seal, manifest)


async def verify_export(settings: Settings, folder: Path, *, progress: Progress = no_progress) -> Manifest:
    """Read all of an export again; DamagedExportError, which is a LegacyError, where it could not be loaded."""
    manifest = await in_thread(read_manifest, folder)
    stop, on_bytes = Stop(), _counting("Checking the export", manifest.size, progress)
    check = await in_thread(dumps_of(manifest.dialect).check, settings, folder, manifest.server_version)
    try:
        await stoppable(partial(check_files, folder, manifest, check, stop, on_bytes), stop, check.end)
    except CheckBrokenOffError as error:
        raise LegacyError(
            f"the export in {folder} could not be checked, which says nothing about it: {error.__cause__}. Try again"
        ) from error
    finally:
        await in_thread(check.end)
    return manifest


async def load_export(
    settings: Settings, address: DatabaseAddress, namespace: str, folder: Path, *, progress: Progress = no_progress
) -> tuple[str, ...]:
    """Bring the tables of an export back into a namespace that is absent or empty; what could not come back, in words.

    A load that was broken off is dropped and done anew; one that was finished is only held against the manifest again.
    A namespace that holds anything else is refused.
    """
    manifest = await verify_export(settings, folder, progress=progress)
    _refuse_other_place(manifest, address, namespace)
    with _told(f"the export in {folder} cannot be loaded into {namespace}"):
        async with _placed(address, namespace) as (connection, dumps, place):
            await dumps.lock_out_other_loads(connection, place)
            loading = _Load(settings, folder, manifest, place, progress)
            left_out = () if await loading.is_done(connection) else await loading.run(connection)
            await loading.compare()
            await dumps.set_comment(connection, place, _LOADED + manifest.digest)
            return left_out


async def old_checksums(
    address: DatabaseAddress, namespace: str, *, progress: Progress = no_progress
) -> dict[str, TableChecksum]:
    """Rows and SHA-256 of each table of a namespace, all of one moment, while others write."""
    with _told(f"the tables in {namespace} cannot be read"):
        async with steady_connection(address) as connection:
            await begin_snapshot(connection)
            tables = await tables_in(connection, namespace)
            return await checksums_in(connection, namespace, tables, progress=progress)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Say of a failure what it kept from being done."""
    try:
        yield
    except (BackupFailedError, BackupRefusedError) as error:
        raise LegacyError(f"{what}: {error.message}") from error
    except DBAPIError as error:
        raise LegacyError(f"{what}: {error.orig}") from error
    except OSError as error:
        raise LegacyError(f"{what}: {error}") from error


@contextlib.asynccontextmanager
async def _placed(address: DatabaseAddress, namespace: str) -> AsyncIterator[tuple[AsyncConnection, OldDumps, Place]]:
    """A connection, and where programs find what it sees."""
    dumps = dumps_of(address.dialect_name)
    async with steady_connection(address) as connection:
        yield connection, dumps, Place(await dumps.pinned(connection, address), namespace)


def _counting(stage: str, whole: int | None, progress: Progress) -> OnBytes:
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        progress(stage, done, whole)

    return on_bytes


async def _write_dump(settings: Settings, files: ExportFolder, place: Place, moment: Moment, progress: Progress) -> str:
    """Write the dump; which program made it."""
    dumps = dumps_of(place.address.dialect_name)
    stop, on_bytes = Stop(), _counting("Writing the old tables", None, progress)

    def store(dumping: Dumping) -> None:
        with files.write(dumps.file_name) as file:
            file.take(dumping.source, stop, on_bytes)
            dumping.finish()
            file.finish()

    async with entered(dumps.dump(settings, place, moment)) as dumping:
        await stoppable(partial(store, dumping), stop, dumping.end)
        return dumping.tool


async def _write_key_map(files: ExportFolder, keys: Database, progress: Progress) -> dict[str, int]:
    """Write every entry of the key map; how many of which table."""
    found: dict[str, int] = {"legacy_imports": 0, "legacy_keys": 0}
    with files.write(KEY_MAP) as file:
        async with keys.snapshot() as tx, aclosing(key_map_pages(tx)) as pages:
            async for page in pages:
                await in_thread(file.write, b"".join(msgspec.json.encode(each) + b"\n" for each in page))
                for each in page:
                    found[str(each.__struct_config__.tag)] += 1
                progress("Writing the key map", sum(found.values()), None)
        await in_thread(file.finish)
    return found


def _refuse_other_place(manifest: Manifest, address: DatabaseAddress, namespace: str) -> None:
    if manifest.dialect != address.dialect_name:
        raise LegacyError(
            f"the export is of {manifest.dialect}, and {address.shown} is {address.dialect_name}: its tables come back"
            " on the engine that they were on"
        )
    if manifest.dialect == "postgresql" and manifest.namespace != namespace:
        raise LegacyError(
            f"the export is of the schema {manifest.namespace}, into which it is loaded; not into {namespace}"
        )


Open = Callable[[Settings, Place, str], AbstractContextManager[Loading]]


class _Load:
    """A load of an export into its namespace."""

    def __init__(self, settings: Settings, folder: Path, manifest: Manifest, place: Place, progress: Progress) -> None:
        self._settings = settings
        self._folder = folder
        self._manifest = manifest
        self._dumps = dumps_of(place.address.dialect_name)
        self._place = place
        self._progress = progress

    async def is_done(self, connection: AsyncConnection) -> bool:
        """Whether this export was loaded already; else there is room now, with the mark of a load on it."""
        dumps, place = self._dumps, self._place
        state = await dumps.find(connection, place)
        if state is None:
            await dumps.make(connection, place, _LOADING)
            return False
        if state.things and state.comment == _LOADED + self._manifest.digest:
            return True
        if state.things and state.comment != _LOADING:
            raise LegacyError(
                f"{place.shown} is not empty, and was not made by a load that was broken off: it holds"
                f" {', '.join(state.things[:3])} …. Rename or drop it first"
            )
        if state.things:
            await self._empty(connection)
        else:
            await dumps.set_comment(connection, place, _LOADING)
        return False

    async def run(self, connection: AsyncConnection) -> tuple[str, ...]:
        """Load it into the room that was made, if need be without what concerns other accounts; say so then."""
        version = await self._dumps.server_version(connection)
        left_out: tuple[str, ...] = ()
        try:
            await self._pour(self._dumps.load, version)
        except ProgramKilledError:
            raise
        except BackupFailedError as error:
            # The tables matter most.
            await self._empty(connection)
            await self._pour(self._dumps.load_as_own, version)
            left_out = (f"{self._dumps.others_rights} did not come back: {error.message}",)
        await self._dumps.settle(connection, self._place, await tables_in(connection, self._place.namespace))
        return left_out

    async def compare(self) -> None:
        """Refuse tables that are not those of the manifest; the mark of a load stays then, or that of another one."""
        found = await old_checksums(self._place.address, self._place.namespace, progress=self._progress)
        if differences := compare(self._manifest.tables, found):
            told = "; ".join(each.sentence for each in differences[:_MOST_TOLD])
            raise LegacyError(f"{self._place.shown} does not hold what was exported: {told}")

    async def _empty(self, connection: AsyncConnection) -> None:
        await self._dumps.drop(connection, self._place)
        await self._dumps.make(connection, self._place, _LOADING)

    async def _pour(self, open_loading: Open, server_version: str) -> None:
        path, expected = self._folder / self._manifest.dump, self._manifest.files[self._manifest.dump]
        stop, on_bytes = Stop(), _counting("Loading the old tables", expected.size, self._progress)

        def pour(loading: Loading) -> None:
            if feed(path, loading.write, stop, on_bytes) != expected:
                raise LegacyError(f"{path} was changed since it was checked: run it again")
            loading.finish()

        async with entered(open_loading(self._settings, self._place, server_version)) as loading:
            await stoppable(partial(pour, loading), stop, loading.end)
