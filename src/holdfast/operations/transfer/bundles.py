"""The recovery bundles and audit archives of an instance: files beside the database, most of which its rows name."""

import os
import secrets
from pathlib import Path

import msgspec

from holdfast.core.errors import ConflictError
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.bundle_file import BundleRefusedError, hash_of, open_bundle, sync_folder
from holdfast.features.deletions.leftover_bundles import PREPARED
from holdfast.operations.doctor.orphan_files import list_orphan_files
from holdfast.operations.transfer import queries
from holdfast.operations.transfer.file import InstanceReader, can_hold

_MODE = 0o600


class BundleTakenError(ConflictError):
    """The folder of bundles holds another file of that name."""

    code = "bundle_taken"


class BundleTwiceError(ConflictError):
    """Rows name two files of one name in different folders, of which an export could hold one only."""

    code = "bundle_twice"


class BundleSource(msgspec.Struct, frozen=True):
    """A file that a row names: its path within the folder of bundles, where it may be, and the SHA-256 of the row.

    One of the doctor's (`is_named` is false) is named by none.
    """

    name: str
    recorded: Path
    in_folder: Path
    sha256: str | None
    is_named: bool = True

    @property
    def path(self) -> Path:
        """Where it is: where the row says, or else in the folder of the settings."""
        return self.recorded if self.recorded.is_file() else self.in_folder


async def named_bundles(tx: Transaction, folder: Path) -> list[BundleSource]:
    """What the rows name, each file once. BundleTwiceError: two of them would become one."""
    found: dict[str, BundleSource] = {}
    for query in queries.NAMED_BUNDLES.values():
        for row in await tx.fetch_all(query):
            name = _name_in_folder(row.bundle_path)
            source = BundleSource(name, Path(row.bundle_path), folder / name, row.bundle_sha256)
            other = found.setdefault(name, source)
            if other is not source and (other.sha256, other.path) != (source.sha256, source.path):
                raise BundleTwiceError(
                    f"rows name two bundles {name}: {other.recorded} and {source.recorded}. Rename one of them, in its"
                    " folder and in the row's bundle_path"
                )
    return list(found.values())


def orphan_bundles(folder: Path) -> list[BundleSource]:
    """The files of the doctor's cure of orphans, which no row names. Blocks."""
    return [
        BundleSource(path.relative_to(folder).as_posix(), path, path, None, is_named=False)
        for path in list_orphan_files(folder)
    ]


def wrong_with(source: BundleSource, sha256: str) -> str | None:
    """Why a file that has this SHA-256 now is not to be exported; None where it is. Blocks."""
    if source.is_named:
        is_another = source.sha256 is not None and sha256 != source.sha256
        return f"{source.path} is not the file whose SHA-256 the row holds" if is_another else None
    if not can_hold(source.name):
        return f"{source.path} has a name of other signs than letters, digits, hyphens and underscores: rename it"
    try:
        is_changing = open_bundle(source.path).sha256 != sha256
    except BundleRefusedError as error:
        return error.message
    return f"{source.path} was changed just now" if is_changing else None


def put_bundles(reader: InstanceReader, folder: Path) -> int:
    """Write the bundles of an export to a folder; those that are there already stay. How many were written."""
    written = 0
    for name, entry in reader.manifest.bundles.items():
        path = folder / name
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as stream:
                reader.copy_bundle(name, stream)
                stream.flush()
                os.fsync(stream.fileno())
            if hash_of(part) != entry.sha256:
                raise BundleTakenError(f"{path} cannot be written as the export has it")
            part.replace(path)
            sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)
        written += 1
    return written


def require_room(reader: InstanceReader, folder: Path) -> None:
    """Refuse a folder that holds other files under the names of the export's bundles."""
    for name, entry in reader.manifest.bundles.items():
        path = folder / name
        if path.exists() and hash_of(path) != entry.sha256:
            raise BundleTakenError(
                f"{path} is there already and is another file than the export holds: set HOLDFAST_BUNDLE_DIR to an"
                " empty folder"
            )


async def rename_bundles(database: Database, reader: InstanceReader, folder: Path) -> int:
    """Let the rows name the files where they are now; how many rows changed."""
    renamed = 0
    for table_name, query in queries.NAMED_BUNDLES.items():
        async with database.read() as tx:
            rows = await tx.fetch_all(query)
        changes = []
        for row in rows:
            name = _name_in_folder(row.bundle_path)
            path = str(folder / name)
            if name in reader.manifest.bundles and path != row.bundle_path:
                changes.append({"row_id": row.id, "new_path": path})
        async with database.write() as tx:
            await tx.execute_many(queries.RENAME_BUNDLE[table_name], changes)
        renamed += len(changes)
    return renamed


def _name_in_folder(recorded: str) -> str:
    path = Path(recorded)
    return f"{PREPARED}/{path.name}" if path.parent.name == PREPARED else path.name
