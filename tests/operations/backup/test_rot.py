"""A bundle that was damaged in the store or before: later backups are whole, and what is left of the others counts."""

from pathlib import Path

import pytest

from holdfast.db.address import parse_address
from holdfast.db.filling import begin_filling
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.errors import BackupFailedError, BackupRefusedError
from holdfast.operations.backup.job import detail_of
from holdfast.operations.backup.reading import find_verification
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.verifying import verify_backup
from tests.operations.backup.conftest import NewPlace, backed_up, elsewhere, filled


def change_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


async def test_a_bundle_that_rotted_in_the_store_is_not_taken_over(new_place: NewPlace) -> None:
    settings = await filled(new_place("sqlite"))
    first, second = await backed_up(settings), await backed_up(settings)
    change_a_bit(min((settings.data_dir / "backups" / second.id).glob("bundle-*")))
    # Both have the same file under two names.
    with pytest.raises(BackupRefusedError):
        await verify_backup(settings, second.id)
    third = await backed_up(settings)
    assert third.previous == first.id
    assert (await verify_backup(settings, third.id)).passed


async def test_a_bundle_that_is_not_what_its_row_says_is_told(new_place: NewPlace) -> None:
    settings = await filled(new_place("sqlite"))
    path = min(settings.resolved_bundle_dir.glob("*.bundle.zip"))
    path.write_bytes(path.read_bytes()[:-3])
    manifest = await backed_up(settings)
    assert manifest.bundles_damaged == [path.name]
    assert detail_of(manifest, None, 1)["bundles_damaged"] == 1
    assert (await verify_backup(settings, manifest.id)).passed
    path.unlink()
    assert path.name in (await backed_up(settings)).bundles_missing


async def test_a_dump_is_checked_and_restored_without_the_bundles(new_place: NewPlace) -> None:
    settings = await filled(new_place("sqlite"))
    manifest = await backed_up(settings)
    folder = settings.data_dir / "backups" / manifest.id
    change_a_bit(min(folder.glob("bundle-*")))
    assert (await verify_backup(settings, manifest.id, bundles=False)).passed
    assert find_verification(open_store(settings), manifest.id) is None
    there = elsewhere(settings, new_place("sqlite"))
    with pytest.raises(BackupRefusedError):
        await restore_backup(there, manifest.id, bundles_to=there.resolved_bundle_dir)
    assert (await restore_backup(there, manifest.id)).bundles == 0
    change_a_bit(folder / "database.sqlite.zst.0001")
    with pytest.raises(BackupRefusedError):
        await verify_backup(settings, manifest.id, bundles=False)


async def test_what_an_import_is_filling_is_not_backed_up(engine: str, new_place: NewPlace) -> None:
    settings = new_place(engine)
    await migrate(parse_address(settings.resolved_database_url))
    async with open_database(settings).running() as database:
        async with database.write() as tx:
            await begin_filling(tx, "import", "somebody")
        with pytest.raises(BackupFailedError, match="an import into the database goes on"):
            await create_backup(database, settings)
