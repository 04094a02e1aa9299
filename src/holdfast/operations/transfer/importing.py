"""Importing an export into an empty database of any engine, whole or not at all.

The rows go in by short transactions. Until the last of them was verified a mark stands in the database
(`db.filling`), and no server starts on it: an import that was killed is run again, and begins anew.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from holdfast.core.errors import ConflictError, HoldfastError
from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.engines.base import Database
from holdfast.db.filling import MarkLostError, Unfinished, beat, begin_filling, end_filling, find_unfinished, take_over
from holdfast.db.instance_id import set_instance_id
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.upgrades import steps_between
from holdfast.db.migrate import SchemaStatus, check_schema, downgrade, migrate, schema_status
from holdfast.db.open import open_database
from holdfast.db.tables import metadata
from holdfast.operations.checksums import Checksums, compare, read_checksums
from holdfast.operations.table_rows import count_all
from holdfast.operations.transfer.bundles import put_bundles, rename_bundles, require_room
from holdfast.operations.transfer.file import ExportRefusedError, InstanceReader, open_export
from holdfast.operations.transfer.filling import Filling, heart
from holdfast.settings import Settings

# Called with the share that is done, up to 1.
Progress = Callable[[float], None]

_WHAT = "import"
_UNDER_WAY = "another import into this database is under way: wait for its end"
# How much of the time each part takes, about: checking the file, filling the tables, reading them again.
_CHECKED, _FILLED = 0.1, 0.8
PATIENCE_SECONDS = 20.0


class DatabaseNotEmptyError(ConflictError):
    """An import needs a database without a single row."""

    code = "database_not_empty"


class ImportRunsError(ConflictError):
    """Another process is importing into the same database."""

    code = "import_runs"


class ImportFailedError(ConflictError):
    """The database did not take every row as it is; it was emptied again."""

    code = "import_failed"


class ImportResult(msgspec.Struct, frozen=True):
    """What was imported. `renamed` rows name a bundle at another place than they did where they came from."""

    digest: str
    dialect: str
    schema_revision: str
    seconds: float
    rows: dict[str, int]
    bundles: int
    bundles_left_out: dict[str, str]
    renamed: int
    was_unfinished: bool


async def import_instance(
    settings: Settings,
    path: Path,
    *,
    progress: Progress = lambda share: None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> ImportResult:
    """Import an export into the empty database of the settings, which is migrated first.

    Where an import was killed before, its rows are removed first, once nobody has been at it for the patience.
    DatabaseNotEmptyError names the tables that have rows. ExportRefusedError: the file.
    """
    started = time.monotonic()
    reader = await in_thread(_check_file, path, lambda share: progress(_CHECKED * share))
    address = parse_address(settings.resolved_database_url)
    folder = settings.resolved_bundle_dir
    await in_thread(require_room, reader, folder)
    await _require_known_revision(address, reader)
    owner = secrets.token_hex(16)
    was_unfinished = await _prepare(settings, address, owner, patience_seconds)
    async with open_database(settings).running() as database:
        try:
            async with heart(database, owner):
                if was_unfinished:
                    await _empty(address)
                expected = await Filling(database, reader).run(
                    lambda share: progress(_CHECKED + (_FILLED - _CHECKED) * share)
                )
                await _require_equal(database, expected, lambda share: progress(_FILLED + (1 - _FILLED) * share))
                bundles = await in_thread(put_bundles, reader, folder)
                renamed = await rename_bundles(database, reader, folder)
                await _go_on_as_instance(database, reader)
            await end_filling(database, owner)
        except MarkLostError as error:
            raise _taken_over() from error
        except (HoldfastError, OSError) as error:
            await _give_up(database, address, owner)
            if isinstance(error, OSError):
                raise ImportFailedError(f"{folder} cannot be written: {error.strerror or error}") from error
            raise
    progress(1.0)
    return ImportResult(
        digest=reader.manifest.digest,
        dialect=reader.manifest.dialect,
        schema_revision=reader.manifest.schema_revision,
        seconds=round(time.monotonic() - started, 3),
        rows={name: each.rows for name, each in expected.items()},
        bundles=bundles,
        bundles_left_out=reader.manifest.bundles_left_out,
        renamed=renamed,
        was_unfinished=was_unfinished,
    )


async def _go_on_as_instance(database: Database, reader: InstanceReader) -> None:
    """Become the instance that was exported, so that its backups are this database's; an older export names none."""
    if reader.manifest.instance is not msgspec.UNSET:
        async with database.write() as tx:
            await set_instance_id(tx, reader.manifest.instance)


def _check_file(path: Path, progress: Progress) -> InstanceReader:
    size, done = max(path.stat().st_size if path.is_file() else 1, 1), 0

    def read(count: int) -> None:
        nonlocal done
        # Lines are compressed to about a sixth.
        done += count // 6
        progress(min(done / size, 1.0))

    return open_export(path, read=read)


async def _prepare(settings: Settings, address: DatabaseAddress, owner: str, patience_seconds: float) -> bool:
    """Set the mark on an empty database at this version's revision; whether it is that of an unfinished import."""
    status = await schema_status(address)
    async with open_database(settings).running() as database:
        mark = await _find_mark(database, patience_seconds)
        if mark is not None:
            try:
                await take_over(database, mark, owner)
            except MarkLostError as error:
                raise ImportRunsError(_UNDER_WAY) from error
            return True
    if status.current is None:
        await migrate(address)
    else:
        _require_head(status)
    await check_schema(address)
    async with open_database(settings).running() as database:
        await _begin(database, owner)
    return False


def _require_head(status: SchemaStatus) -> None:
    if status.pending:
        raise ImportFailedError(
            f"the database is at revision {status.current}, this version needs {status.head}: run `holdfast migrate`"
        )
    if status.is_ahead:
        raise ImportFailedError(
            f"the database is at revision {status.current}, and this version knows it up to {status.head}: import with"
            " the newer Holdfast"
        )


async def _find_mark(database: Database, patience_seconds: float) -> Unfinished | None:
    """The mark of an import that nobody goes on with."""
    mark = await _read_mark(database)
    deadline = time.monotonic() + patience_seconds
    while mark is not None and time.monotonic() < deadline:
        await asyncio.sleep(min(1.0, patience_seconds / 4))
        if await _read_mark(database) != mark:
            raise ImportRunsError(_UNDER_WAY)
    return mark


async def _read_mark(database: Database) -> Unfinished | None:
    async with database.read() as tx:
        return await find_unfinished(tx)


async def _give_up(database: Database, address: DatabaseAddress, owner: str) -> None:
    """Leave the database empty and good, unless it is another import's by now."""
    try:
        # Before a single row goes: they may be the other one's.
        await beat(database, owner)
        async with heart(database, owner):
            await _empty(address)
        await end_filling(database, owner)
    except MarkLostError as error:
        raise _taken_over() from error


def _taken_over() -> ImportRunsError:
    return ImportRunsError(
        "another import has taken this database over, for this one had not been heard of for a while: wait for its end"
    )


async def _empty(address: DatabaseAddress) -> None:
    """Remove every row that an import put in: the tables themselves, which is quick, and make them anew."""
    await downgrade(address, "base")
    await migrate(address)


async def _require_known_revision(address: DatabaseAddress, reader: InstanceReader) -> None:
    made_at, head = reader.manifest.schema_revision, (await schema_status(address)).head
    if made_at > head:
        raise ExportRefusedError(
            f"{reader.path} was made at schema revision {made_at}, and this version knows {head}: use the Holdfast that"
            " made it, or a newer one"
        )
    steps_between(made_at, head)
    unknown = sorted(reader.manifest.checksums().keys() - metadata.tables.keys())
    if unknown:
        raise ExportRefusedError(
            f"{reader.path} holds rows of {', '.join(unknown)}, and this version has no such tables"
        )


async def _begin(database: Database, owner: str) -> None:
    async with database.write() as tx:
        if found := {name: count for name, count in (await count_all(tx)).items() if count}:
            listed = ", ".join(f"{name} ({count})" for name, count in found.items())
            raise DatabaseNotEmptyError(
                f"the database is not empty: {listed}. Import into a new one: nothing here was changed", tables=found
            )
        if await find_unfinished(tx) is not None:
            raise ImportRunsError(_UNDER_WAY)
        await begin_filling(tx, _WHAT, owner)


async def _require_equal(database: Database, expected: Checksums, progress: Progress) -> None:
    found = await read_checksums(database, progress=progress)
    if differences := compare(expected, found):
        listed = "; ".join(each.sentence for each in differences)
        raise ImportFailedError(f"the database does not hold what the file does: {listed}. It was emptied again")
