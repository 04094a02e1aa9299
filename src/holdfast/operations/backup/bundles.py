"""The recovery bundles and archives that the rows name, and the doctor's: they may be the only copy of what is gone."""

import hashlib
from pathlib import Path, PurePosixPath

import msgspec
import structlog

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.bundle_file import BundleRefusedError, hash_of, open_bundle
from holdfast.operations.backup.errors import BackupRefusedError
from holdfast.operations.backup.queries import MOVE_BUNDLE, NAMED_BUNDLES
from holdfast.operations.backup.stores.base import Store, Upload
from holdfast.operations.backup.streams import OnBytes, Stop, check_stored, store_file
from holdfast.operations.backup.types import Manifest, StoredFile
from holdfast.operations.doctor.orphan_files import list_orphan_files

_BLOCK = 1024 * 1024
_log = structlog.get_logger("holdfast.backup")


class Bundle(msgspec.Struct, frozen=True):
    """A file to take along. `place` is its path below the folder of bundles, or all of it where it is elsewhere.

    `sha256` is what it should have. Where no row says that, it is what the file has, and `is_whole` whether that is
    right by the file's own manifest.
    """

    path: Path
    place: str
    sha256: str | None
    is_whole: bool = True

    def is_damaged(self, stored: StoredFile) -> bool:
        """Whether what was stored is not what it should be."""
        return self.sha256 is not None and (stored.sha256 == self.sha256) != self.is_whole


async def named_bundles(tx: Transaction, folder: Path) -> list[Bundle]:
    """The bundles that the rows name, as this moment has them."""
    found: dict[str, Bundle] = {}
    for query in NAMED_BUNDLES.values():
        for row in await tx.fetch_all(query):
            path = Path(row.path)
            place = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
            found.setdefault(row.path, Bundle(path, place, row.sha256))
    return [found[name] for name in sorted(found)]


def orphan_bundles(folder: Path) -> list[Bundle]:
    """The files of the doctor's cure of orphans, which no row names. Blocks."""
    return [_orphan_bundle(path, path.relative_to(folder).as_posix()) for path in list_orphan_files(folder)]


def _orphan_bundle(path: Path, place: str) -> Bundle:
    try:
        return Bundle(path, place, open_bundle(path).sha256)
    except BundleRefusedError:
        pass
    try:
        return Bundle(path, place, hash_of(path), is_whole=False)
    except FileNotFoundError:
        return Bundle(path, place, None)


def store_bundle(
    upload: Upload,
    store: Store,
    bundle: Bundle,
    *,
    earlier: Manifest | None,
    keys: list[str],
    recipients: list[object],
    stop: Stop,
    on_bytes: OnBytes,
) -> StoredFile | None:
    """Bring a bundle into the store, or take over the one that the backup before has; None where it is nowhere."""
    if earlier is not None and (known := _find(earlier, bundle, keys)) is not None:
        try:
            # What rotted in the store would otherwise be in every later backup, for all of them share it.
            check_stored(store, earlier.id, known, stop=stop, on_bytes=lambda count: None)
            for part in known.parts:
                upload.copy_part(earlier.id, part.name)
        except (FileNotFoundError, BackupRefusedError) as error:
            _log.warning("backup_bundle_not_taken_over", bundle=bundle.place, backup=earlier.id, reason=str(error))
        else:
            on_bytes(known.size)
            if not bundle.is_whole:
                _log.warning("backup_has_whole_copy_of_damaged_bundle", bundle=str(bundle.path), backup=earlier.id)
            return msgspec.structs.replace(known, path=bundle.place)
    try:
        with bundle.path.open("rb") as stream:
            digest = hashlib.sha256(bundle.place.encode()).hexdigest()[:32]
            return store_file(
                upload,
                stream,
                kind="bundle",
                name=f"bundle-{bundle.sha256[:32] if bundle.sha256 else digest}-{digest[:8]}.zip",
                path=bundle.place,
                compressed=False,
                recipients=recipients,
                stop=stop,
                on_bytes=on_bytes,
            )
    except FileNotFoundError:
        return None


def _find(earlier: Manifest, bundle: Bundle, keys: list[str]) -> StoredFile | None:
    """The same bytes, for the same readers; for a file that is damaged by now, the whole one."""
    if bundle.sha256 is None or sorted(keys) != sorted(earlier.recipients):
        return None
    was_damaged = bundle.place in (earlier.bundles_damaged or ())
    is_sought = not bundle.is_whole and not was_damaged
    same = (each for each in earlier.bundles if each.path == bundle.place)
    return next((each for each in same if is_sought or each.sha256 == bundle.sha256), None)


def target_of(file: StoredFile, folder: Path) -> Path:
    """Where a bundle of a backup goes: its place in the folder, or its bare name there if it stood elsewhere."""
    place = PurePosixPath(file.path)
    if place.is_absolute():
        place = PurePosixPath(place.name)
    if not place.parts or ".." in place.parts:
        raise BackupRefusedError(f"the manifest names a bundle in an impossible place: {file.path!r}")
    return folder / place


def has_content(path: Path, file: StoredFile) -> bool:
    """Whether a file is the one of the backup."""
    if path.stat().st_size != file.size:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


async def move_bundles(tx: Transaction, manifest: Manifest, folder: Path) -> int:
    """Let the rows name the bundles where they are now; how many rows were changed."""
    moved = {
        (file.path if file.path.startswith("/") else f"{manifest.bundle_dir}/{file.path}"): str(target_of(file, folder))
        for file in manifest.bundles
    }
    changed = 0
    for table, query in NAMED_BUNDLES.items():
        rows = [
            {"row_id": row.id, "new_path": moved[row.path]}
            for row in await tx.fetch_all(query)
            if moved.get(row.path, row.path) != row.path
        ]
        await tx.execute_many(MOVE_BUNDLE[table], rows)
        changed += len(rows)
    return changed
