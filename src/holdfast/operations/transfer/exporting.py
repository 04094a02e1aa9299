"""Exporting: every row of every table as one moment had it, and the bundles that the rows name, into one file."""

import contextlib
import hashlib
import time
from collections.abc import Callable
from contextlib import aclosing
from io import BufferedReader
from pathlib import Path

import msgspec

from holdfast import __version__
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ConflictError
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.instance_id import find_instance_id
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.bundle_file import BundleWriter, FileEntry, manifest_text
from holdfast.db.migrate import check_schema
from holdfast.db.numbering import last_number_given
from holdfast.db.open import open_database
from holdfast.db.tables import metadata
from holdfast.operations.table_rows import count_all, lines_of
from holdfast.operations.transfer.bundles import BundleSource, named_bundles, orphan_bundles, wrong_with
from holdfast.operations.transfer.file import BUNDLES, FORMAT, VERSION, BundleEntry, InstanceManifest, open_export
from holdfast.settings import Settings

# Called with the share that is done, up to 1.
Progress = Callable[[float], None]

_EMPTY = FileEntry(rows=0, own_rows=0, size=0, sha256=hashlib.sha256().hexdigest())
# Of the time that an export takes, about so much goes by until all rows are written; then they are read again.
_WRITING_SHARE = 0.8


class ExportFailedError(ConflictError):
    """Nothing was exported."""

    code = "export_failed"


class ExportResult(msgspec.Struct, frozen=True):
    """What was exported: `digest` is that of the manifest, which holds the SHA-256 of everything else."""

    path: str
    digest: str
    size: int
    seconds: float
    rows: dict[str, int]
    bundles: int
    bundles_left_out: dict[str, str]


async def export_instance(
    settings: Settings, path: Path, *, clock: Clock = utc_now, progress: Progress = lambda share: None
) -> ExportResult:
    """Export the instance of the settings; others may write meanwhile. What is at `path` already is left alone."""
    started = time.monotonic()
    await in_thread(_require_absent, path)
    status = await check_schema(parse_address(settings.resolved_database_url))
    if status.is_ahead:
        raise ExportFailedError(
            f"the database is at revision {status.current}, and this version knows it up to {status.head}: export it"
            " with the newer Holdfast, which knows all that is in it"
        )
    async with open_database(settings).running() as database:
        try:
            manifest = await _write(database, settings, path, clock, progress)
        except OSError as error:
            raise ExportFailedError(f"{path} cannot be written: {error.strerror or error}") from error
    size = await in_thread(_verify, path, manifest, progress)
    return ExportResult(
        path=str(path),
        digest=manifest.digest,
        size=size,
        seconds=round(time.monotonic() - started, 3),
        rows={name: each.rows for name, each in manifest.checksums().items()},
        bundles=len(manifest.bundles),
        bundles_left_out=manifest.bundles_left_out,
    )


async def _write(
    database: Database, settings: Settings, path: Path, clock: Clock, progress: Progress
) -> InstanceManifest:
    with BundleWriter(path) as writer:
        async with database.snapshot() as tx:
            facts = await _write_tables(tx, writer, progress)
            found = await named_bundles(tx, settings.resolved_bundle_dir)
            made_at = clock()
        found += await in_thread(orphan_bundles, settings.resolved_bundle_dir)
        bundles, left_out = await in_thread(_add_bundles, writer, found)
        manifest = InstanceManifest(
            bundles=bundles,
            bundles_left_out=left_out,
            dialect=database.dialect_name,
            files=facts.files,
            format=FORMAT,
            instance=facts.instance or msgspec.UNSET,
            made_at=made_at,
            made_by=__version__,
            numbers=facts.numbers,
            schema_revision=facts.schema_revision,
            version=VERSION,
        )
        text = manifest_text(manifest)
        await in_thread(writer.seal, text)
    return msgspec.json.decode(text, type=InstanceManifest)


class _Facts(msgspec.Struct, frozen=True):
    """What the snapshot gave."""

    files: dict[str, FileEntry]
    instance: str | None
    numbers: dict[str, int]
    schema_revision: str


async def _write_tables(tx: Transaction, writer: BundleWriter, progress: Progress) -> _Facts:
    counts = await count_all(tx)
    expected, done = max(sum(counts.values()), 1), 0
    for table in metadata.sorted_tables:
        lines = writer.begin(f"{table.name}.jsonl")
        async with aclosing(lines_of(tx, table)) as pages:
            async for page in pages:
                await in_thread(lines.write, page)
                done += len(page)
                progress(_WRITING_SHARE * min(done / expected, 1.0))
        lines.end()
        if lines.rows != counts[table.name]:
            raise ExportFailedError(f"{table.name} gave {lines.rows} rows where {counts[table.name]} were counted")
    numbered = [table for table in metadata.sorted_tables if table.autoincrement_column is not None]
    ((revision,),) = await tx.fetch_text("SELECT version_num FROM alembic_version")
    return _Facts(
        files={f"{name}.jsonl": writer.files.get(f"{name}.jsonl", _EMPTY) for name in counts},
        instance=await find_instance_id(tx),
        numbers={table.name: await last_number_given(tx, table) for table in numbered},
        schema_revision=str(revision),
    )


def _add_bundles(writer: BundleWriter, found: list[BundleSource]) -> tuple[dict[str, BundleEntry], dict[str, str]]:
    bundles: dict[str, BundleEntry] = {}
    left_out: dict[str, str] = {}
    for source in found:
        try:
            with source.path.open("rb") as stream:
                entry = _entry_of(stream)
                if reason := wrong_with(source, entry.sha256):
                    left_out[source.name] = reason
                    continue
                stream.seek(0)
                writer.copy_in(BUNDLES + source.name, stream)
        except OSError as error:
            if error.filename is None:
                raise
            left_out[source.name] = f"{source.path} cannot be read: {error.strerror}"
        else:
            bundles[source.name] = entry
    return bundles, left_out


def _entry_of(stream: BufferedReader) -> BundleEntry:
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return BundleEntry(size=stream.tell(), sha256=digest)


def _require_absent(path: Path) -> None:
    if path.exists():
        raise ExportFailedError(f"{path} is there already: name another file, or remove it")


def _verify(path: Path, manifest: InstanceManifest, progress: Progress) -> int:
    """Read the file again from its first byte to its last; its size."""
    done = 0

    def read(count: int) -> None:
        nonlocal done
        done += count
        progress(_WRITING_SHARE + (1 - _WRITING_SHARE) * done / max(manifest.size, 1))

    is_good = False
    try:
        is_good = open_export(path, read=read).manifest == manifest
        if not is_good:
            raise ExportFailedError(f"{path} reads otherwise than it was written")
        return path.stat().st_size
    finally:
        if not is_good:
            with contextlib.suppress(OSError):
                path.unlink()
