"""The upgrade of an older database that is a file of SQLite: rebuilt beside itself, and swapped when it is whole.

No other program is let at the older file from the first copy to the swap. Whenever the process is killed, either the
older database or the new one has the name, and running it again finds out which: it begins anew, or is done.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from shutil import disk_usage

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import HoldfastError
from holdfast.db.address import DatabaseAddress
from holdfast.db.engines import load_engine
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.bundle_file import sync_folder
from holdfast.db.open import open_database
from holdfast.db.tables import metadata
from holdfast.db.tables.base import policy_of
from holdfast.operations.checksums import Checksums, checksums_in, compare, read_checksums
from holdfast.operations.doctor.examination import examine
from holdfast.operations.doctor.registry import CHECKS
from holdfast.operations.doctor.types import Finding, Severity, Subject
from holdfast.operations.legacy.flavours import read_catalogue
from holdfast.operations.legacy.importing import LegacyReport, Progress, Tell, import_legacy, plain_name
from holdfast.operations.legacy.rebuild_files import (
    HeldFile,
    Places,
    SwapRecord,
    alone,
    begin_anew,
    hold,
    remove_database,
    settle,
    swap,
    swap_back,
)
from holdfast.operations.legacy.types import LegacyError, Options
from holdfast.settings import Settings

WAIT_SECONDS = 10.0
# A copy of the file and the new database, which has the key map beside the rows.
_ROOM_NEEDED = 3
_MOST_SHOWN = 20
# Whatever is read of a held file holds nobody up.
_SLOW_SECONDS = 3600.0
# What the doctor finds at these is of this machine and its service, not of the rows.
_OF_THE_MACHINE = frozenset(
    {
        "bundles",
        "leftover_files",
        "audit_archives",
        "schedule",
        "late_jobs",
        "drill",
        "bundle_folder",
        "disk_space",
        "file_permissions",
    }
)
# What a server writes by itself is nobody's change.
_WORKING = frozenset(str(table.name) for table in metadata.sorted_tables if policy_of(table).retention == "working")


class RebuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild did.

    `before` is the older file, for `undo_rebuild` and `drop_before`. `findings` are what the doctor found in the new
    database, which is nothing that is wrong. `was_done` where an earlier run has swapped and died: then nothing was
    done but to say so, `findings` are not known, and a generated password of user admin is in nobody's hands.
    """

    path: str
    before: str
    imported: LegacyReport
    findings: list[Finding] = []
    was_done: bool = False


class UndoReport(msgspec.Struct, frozen=True):
    """What undoing did. `lost` says, table by table, what was changed in the new database and is gone with it."""

    path: str
    lost: list[str]


class DropReport(msgspec.Struct, frozen=True):
    """Which older file is gone, and how large it was."""

    before: str
    size_bytes: int


async def rebuild(
    settings: Settings,
    address: DatabaseAddress,
    options: Options,
    *,
    progress: Progress = lambda part, done, whole: None,
    tell: Tell = lambda noted: None,
    clock: Clock = utc_now,
    wait_seconds: float = WAIT_SECONDS,
) -> RebuildReport:
    """Make the older file a Holdfast under its own name; of the settings all but the database's address is used.

    The rows are imported into a new file beside it. Where a row differs without a reason, or the doctor finds an error,
    LegacyError says so, and the older file is as it was. LegacyError, too, where another program has the file open for
    longer than `wait_seconds`; an idle one that has it open in the older journal mode is not seen, and can write no
    more after the swap. Run again after a death it begins anew, or says that it is done.
    """
    places = _places(address)
    with alone(places):
        if places.is_swapped:
            return await in_thread(_already_done, places)
        await read_catalogue(address)
        held = await in_thread(partial(hold, places.path, wait_seconds=wait_seconds))
        try:
            await in_thread(begin_anew, places, held)
            try:
                return await _rebuild(settings, places, held, options, progress=progress, tell=tell, clock=clock)
            except BaseException:
                if not places.is_swapped:
                    await in_thread(begin_anew, places, held)
                raise
        finally:
            held.close()
            await in_thread(_remove_parts, places)


async def undo_rebuild(
    address: DatabaseAddress, *, lose_changes: bool, wait_seconds: float = WAIT_SECONDS
) -> UndoReport:
    """Put the older file back, byte for byte, and remove the new database.

    LegacyError where rows of the new database were changed since the swap, unless those may be lost; what the service
    writes by itself, such as jobs, does not count. Servers and workers must be stopped. Run again after a death it
    finishes.
    """
    places = _places(address)
    with alone(places):
        record = await in_thread(places.find_record)
        if record is None:
            raise LegacyError(f"nothing is to be undone: {places.path} was not rebuilt, or its older file was dropped")
        if not places.is_swapped and await in_thread(lambda: places.is_holdfast):
            raise LegacyError(f"{places.before} is gone: there is nothing to go back to")
        held = await in_thread(partial(hold, places.path, wait_seconds=wait_seconds))
        try:
            if not places.is_swapped:
                await in_thread(begin_anew, places, held)
                return UndoReport(str(places.path), [])
            lost = await _changes_since(held, record, lose_changes=lose_changes)
            if lost and not lose_changes:
                raise LegacyError(
                    f"{places.path} was changed since it was rebuilt, and undoing would lose that: {'; '.join(lost)}."
                    " Undo it with the loss of these changes, or keep it",
                    changes=lost,
                )
            await in_thread(swap_back, places, held, record)
        finally:
            held.close()
        await in_thread(_remove_parts, places)
        return UndoReport(str(places.path), lost)


async def drop_before(address: DatabaseAddress) -> DropReport:
    """Remove the older file of a rebuild, after which nothing brings it back. Make a backup of the new one first.

    LegacyError where there is none, or the new database does not stand in its place. Run again after a death it
    finishes.
    """
    places = _places(address)
    with alone(places):
        return await in_thread(_drop, places)


async def _rebuild(
    settings: Settings,
    places: Places,
    held: HeldFile,
    options: Options,
    *,
    progress: Progress,
    tell: Tell,
    clock: Clock,
) -> RebuildReport:
    await in_thread(held.bring_in_log)
    _require_room(places)
    progress("Copying the file", 0, 1)
    await in_thread(held.copy_to, places.copy)
    progress("Copying the file", 1, 1)
    settings = msgspec.structs.replace(settings, database_url=_url(places.next))
    imported = await import_legacy(
        settings,
        _url(places.copy),
        options,
        name=plain_name(DatabaseAddress(_url(places.path), "sqlite")),
        progress=progress,
        tell=tell,
        clock=clock,
    )
    _require_explained(imported)
    findings, checksums = await _examined(settings, progress, clock)
    progress("Swapping the files", 0, 1)
    await in_thread(settle, places.next, places.path)
    record = SwapRecord(
        written_at=clock(),
        header=held.header(),
        sha256=await in_thread(held.sha256),
        checksums=checksums,
        imported=msgspec.structs.replace(imported, admin_password=None),
    )
    await in_thread(swap, places, held, record)
    progress("Swapping the files", 1, 1)
    return RebuildReport(path=str(places.path), before=str(places.before), imported=imported, findings=findings)


def _places(address: DatabaseAddress) -> Places:
    if address.dialect_name != "sqlite":
        raise LegacyError(f"{address.shown} is on a server: only a file of SQLite is upgraded by rebuilding it")
    # A link to the file stays one.
    path = address.path.resolve()
    if not path.is_file():
        raise LegacyError(f"there is no file {path}")
    return Places(path)


def _url(path: Path) -> str:
    return f"sqlite:///{path}"


def _already_done(places: Places) -> RebuildReport:
    sync_folder(places.path.parent)
    _remove_parts(places)
    record = places.find_record()
    assert record is not None
    return RebuildReport(
        path=str(places.path), before=str(places.before), imported=record.imported, findings=[], was_done=True
    )


def _remove_parts(places: Places) -> None:
    remove_database(places.next)
    remove_database(places.copy)


def _require_room(places: Places) -> None:
    needed, free = _ROOM_NEEDED * places.path.stat().st_size, disk_usage(places.path.parent).free
    if free < needed:
        raise LegacyError(
            f"the rebuild needs {needed:,} bytes in {places.path.parent}, where {free:,} are free: make room, then run"
            " this again"
        )


def _require_explained(imported: LegacyReport) -> None:
    if not imported.unexplained:
        return
    listed = [f"{each.table} {each.old_key}: {each.message}" for found in imported.comparisons for each in found.listed]
    raise LegacyError(
        f"{imported.unexplained:,} differences that nothing explains, so the older database stays in its place:"
        f" {'; '.join(listed[:_MOST_SHOWN])}",
        differences=listed,
    )


async def _examined(settings: Settings, progress: Progress, clock: Clock) -> tuple[list[Finding], Checksums]:
    """What the doctor says of the new database, and its checksums."""
    async with open_database(settings).running() as database:
        subject = Subject(database=database, settings=settings, clock=clock)
        names = [check.name for check in CHECKS if check.name not in _OF_THE_MACHINE]
        progress("Examining the new database", 0, 100)
        report = await examine(
            subject,
            names,
            progress=lambda share, name: progress("Examining the new database", int(share * 100), 100),
        )
        errors = [each for each in report.findings if each.severity is Severity.ERROR]
        if errors:
            listed = [f"{each.check}: {each.message}" for each in errors]
            raise LegacyError(
                "the doctor finds errors in the new database, so the older one stays in its place:"
                f" {'; '.join(listed[:_MOST_SHOWN])}",
                findings=listed,
            )
        return report.findings, await read_checksums(database)


async def _changes_since(held: HeldFile, record: SwapRecord, *, lose_changes: bool) -> list[str]:
    """What differs from the database as it was swapped in, in words."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="legacy-undo")
    run = partial(asyncio.get_running_loop().run_in_executor, thread)
    try:
        await run(held.connection.execute, "BEGIN")
        try:
            tx = load_engine("sqlite").SqliteTransaction(held.connection, _SLOW_SECONDS, thread)
            now = await checksums_in(tx)
        finally:
            await run(held.connection.execute, "ROLLBACK")
    except HoldfastError as error:
        # Of another version by now, or damaged: whoever wants the older one back must not be kept from it.
        if lose_changes:
            return [f"its rows cannot be read: {error}"]
        raise
    finally:
        thread.shutdown()
    return [each.sentence for each in compare(record.checksums, now, leaving_out=_WORKING)]


def _drop(places: Places) -> DropReport:
    if places.find_record() is None:
        raise LegacyError(f"nothing is to be dropped: {places.path} was not rebuilt, or its older file is gone")
    if not places.is_holdfast:
        raise LegacyError(f"the rebuild of {places.path} is not done: run it again, or undo it")
    size = places.before.stat().st_size if places.before.exists() else 0
    places.before.unlink(missing_ok=True)
    sync_folder(places.path.parent)
    places.record.unlink()
    _remove_parts(places)
    sync_folder(places.path.parent)
    return DropReport(str(places.before), size)
