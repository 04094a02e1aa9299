"""Backup, the machine is lost, restore elsewhere: everything is there, row by row and bundle by bundle."""

import asyncio
from pathlib import Path

import msgspec
import pyrage
import pytest

from holdfast.db import runs
from holdfast.db.address import parse_address
from holdfast.db.migrate import check_schema, migrate
from holdfast.db.open import open_database
from holdfast.operations.backup.creating import SENTINEL_RUN, create_backup
from holdfast.operations.backup.errors import BackupRefusedError, RestoreRefusedError, SchemaChangedError
from holdfast.operations.backup.reading import find_verification, list_backups
from holdfast.operations.backup.restoring import Restored, restore_backup
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import Manifest
from holdfast.operations.backup.verifying import verify_backup
from holdfast.operations.checksums import read_checksums
from holdfast.settings import Settings
from tests.db.rows import run
from tests.operations.backup.conftest import NewPlace, add_bundle, backed_up, elsewhere, filled

pytestmark = pytest.mark.usefixtures("engine")


async def restored(settings: Settings, backup_id: str, **options: object) -> Restored:
    return await restore_backup(
        settings,
        backup_id,
        bundles_to=settings.resolved_bundle_dir,
        **options,  # type: ignore[arg-type]
    )


def files_beneath(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.conformance("S-13")
async def test_a_backup_restores_every_row_and_bundle_on_another_machine(
    engine: str, source: Settings, backup: Manifest, new_place: NewPlace
) -> None:
    there = elsewhere(source, new_place(engine))
    assert (await verify_backup(there, backup.id)).contents
    done = await restored(there, backup.id)
    assert done.compared == "checksums"
    assert done.bundles == done.bundle_rows_moved == 2
    await check_schema(parse_address(there.resolved_database_url))
    async with open_database(there).running() as database, database.read() as tx:
        found = await read_checksums(database)
        # What the restore itself wrote: its run, and the new places of the bundles.
        changed = {"runs", "deletions", "audit_archives"}
        assert {name for name, each in found.items() if each != backup.tables[name]} == changed
        assert sum(each.rows for each in found.values()) == backup.rows + 1
        sentinel = await runs.find_latest_done(tx, SENTINEL_RUN)
        places = [
            str(path)
            for table in ("deletions", "audit_archives")
            for (path,) in await tx.fetch_text(f"SELECT bundle_path FROM {table} WHERE bundle_path IS NOT NULL")
        ]
    assert backup.sentinel is not None
    assert sentinel is not None
    assert sentinel.id == backup.sentinel.run_id
    assert backup.sentinel.value.encode() in bytes(sentinel.detail or b"")
    assert files_beneath(there.resolved_bundle_dir) == files_beneath(source.resolved_bundle_dir)
    # Other rows name bundles that were nowhere, as the manifest tells.
    assert len(backup.bundles_missing) == len(set(places)) - 2
    named_there = {each for each in places if each.startswith(str(there.resolved_bundle_dir))}
    assert named_there == {str(there.resolved_bundle_dir / name) for name in files_beneath(there.resolved_bundle_dir)}


async def test_a_target_that_holds_anything_is_refused_unless_told(
    engine: str, source: Settings, backup: Manifest, new_place: NewPlace
) -> None:
    there = elsewhere(source, new_place(engine))
    address = parse_address(there.resolved_database_url)
    await migrate(address)
    async with open_database(there).running() as database:
        await run(database, "INSERT INTO group_list (g_id, group_name) VALUES ('mine', 'mine')")
    with pytest.raises(RestoreRefusedError, match="is not empty"):
        await restored(there, backup.id)
    async with open_database(there).running() as database, database.read() as tx:
        assert await tx.fetch_text("SELECT count(*) FROM group_list WHERE g_id = 'mine'") == [(1,)]
    done = await restored(there, backup.id, replace=True)
    assert (done.kept is not None) == (engine == "sqlite")
    if done.kept is not None:
        kept = msgspec.structs.replace(there, database_url=f"sqlite:///{done.kept}")
        async with open_database(kept).running() as database, database.read() as tx:
            assert await tx.fetch_text("SELECT count(*) FROM group_list WHERE g_id = 'mine'") == [(1,)]
    await check_schema(address)
    async with open_database(there).running() as database, database.read() as tx:
        assert await tx.fetch_text("SELECT count(*) FROM group_list WHERE g_id = 'mine'") == [(0,)]
        # On the servers their sessions are seen; SQLite's own lock tells.
        with pytest.raises(RestoreRefusedError, match=r"stop the server"):
            await restored(there, backup.id, replace=True)
        assert (await read_checksums(database))["users"] == backup.tables["users"]


@pytest.mark.slow
async def test_an_encrypted_backup_is_opened_by_its_key_alone(engine: str, new_place: NewPlace, tmp_path: Path) -> None:
    mine, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    (tmp_path / "mine").write_text(f"# created: today\n# public key: {mine.to_public()}\n{mine}\n")
    (tmp_path / "other").write_text(f"{other}\n")
    settings = msgspec.structs.replace(await filled(new_place(engine)), backup_recipients=str(mine.to_public()))
    manifest = await backed_up(settings)
    stored = b"".join(files_beneath(settings.data_dir / "backups").values())
    assert stored.count(b"age-encryption.org/v1") == 3
    assert b"the bundle of" not in stored
    verification = await verify_backup(settings, manifest.id)
    assert (verification.passed, verification.contents) == (True, False)
    there = elsewhere(settings, new_place(engine))
    with pytest.raises(BackupRefusedError, match="name the file with the secret key"):
        await restored(there, manifest.id)
    wrong = f"encrypted for {mine.to_public()}, and none of the identities given opens it"
    for work in (verify_backup, restored):
        with pytest.raises(BackupRefusedError, match=wrong):
            await work(there, manifest.id, identities=tmp_path / "other")
    # A wrong key says nothing about the backup.
    assert find_verification(open_store(there), manifest.id) == verification
    assert (await verify_backup(there, manifest.id, identities=tmp_path / "mine")).contents
    done = await restored(there, manifest.id, identities=tmp_path / "mine")
    assert (done.rows, done.bundles) == (manifest.rows, 2)


@pytest.mark.slow
async def test_two_backups_at_once_are_both_whole_and_share_what_did_not_change(
    engine: str, new_place: NewPlace
) -> None:
    settings = await filled(new_place(engine))
    first, second = await asyncio.gather(backed_up(settings), backed_up(settings))
    for each in (first, second):
        assert (await verify_backup(settings, each.id)).passed
    async with open_database(settings).running() as database:
        await add_bundle(database, settings.resolved_bundle_dir)
        third = await create_backup(database, settings)
    assert third.previous == max(first.id, second.id)
    assert [each.id for each in list_backups(open_store(settings))] == [
        third.id,
        third.previous,
        min(first.id, second.id),
    ]
    links = [path.stat().st_nlink for path in (settings.data_dir / "backups" / third.id).glob("bundle-*")]
    assert sorted(links) == [1, 2, 2]
    assert (await verify_backup(settings, third.id)).passed


@pytest.mark.slow
async def test_a_migration_beside_the_backup_is_noticed(engine: str, new_place: NewPlace) -> None:
    settings = await filled(new_place(engine))
    loop = asyncio.get_running_loop()

    async def change() -> None:
        async with open_database(settings).running() as database:
            if engine == "sqlite":
                await run(database, "UPDATE alembic_version SET version_num = '9999'")
            else:
                await run(database, "CREATE TABLE made_meanwhile (id INTEGER)")

    changing: list[asyncio.Task[None]] = []

    def on_progress(stage: str, done: int, total: int | None) -> None:
        if stage == "Reading bundles":
            return
        if not changing:
            changing.append(loop.create_task(change()))

    async with open_database(settings).running() as database:
        with pytest.raises(SchemaChangedError):
            await create_backup(database, settings, progress=on_progress)
    await changing[0]
    assert list_backups(open_store(settings)) == []
