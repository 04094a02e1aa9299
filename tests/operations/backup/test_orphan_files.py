"""The files of the doctor's cure of orphans, the only copy of what it removed, are in every backup and come back."""

from pathlib import Path

import msgspec
import pytest

from holdfast.db.open import open_database
from holdfast.operations.backup import bundles
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.verifying import verify_backup
from holdfast.operations.checksums import read_checksums
from holdfast.operations.doctor.orphan_files import list_orphan_files
from tests.operations.backup.conftest import NewPlace, backed_up, elsewhere, filled
from tests.operations.backup.test_command import holdfast
from tests.operations.orphan_files import add_orphan_file


async def test_they_are_taken_along_and_come_back_without_touching_a_row(engine: str, new_place: NewPlace) -> None:
    settings = await filled(new_place(engine))
    files = [add_orphan_file(settings.resolved_bundle_dir) for _ in range(2)]
    manifest = await backed_up(settings)
    assert (await verify_backup(settings, manifest.id)).contents
    places = {f"doctor/{path.name}" for path in files}
    assert places <= {each.path for each in manifest.bundles}
    assert manifest.bundles_damaged is msgspec.UNSET
    there = elsewhere(settings, new_place(engine))
    done = await restore_backup(there, manifest.id, bundles_to=there.resolved_bundle_dir)
    # Those two that rows name were moved, and nothing else.
    assert (done.bundles, done.bundle_rows_moved) == (4, 2)
    restored = list_orphan_files(there.resolved_bundle_dir)
    assert [path.read_bytes() for path in restored] == [path.read_bytes() for path in sorted(files)]
    async with open_database(there).running() as database:
        found = await read_checksums(database)
    changed = {name for name, each in found.items() if each != manifest.tables[name]}
    assert changed == {"runs", "deletions", "audit_archives"}


async def test_what_did_not_change_is_shared_with_the_backup_before(new_place: NewPlace) -> None:
    settings = await filled(new_place("sqlite"))
    add_orphan_file(settings.resolved_bundle_dir)
    await backed_up(settings)
    add_orphan_file(settings.resolved_bundle_dir)
    second = await backed_up(settings)
    assert (await verify_backup(settings, second.id)).passed
    folder = settings.data_dir / "backups" / second.id
    links = {
        each.path: (folder / each.parts[0].name).stat().st_nlink
        for each in second.bundles
        if each.path.startswith("doctor/")
    }
    assert sorted(links.values()) == [1, 2]


async def test_a_whole_copy_of_the_backup_before_outlives_the_file(new_place: NewPlace) -> None:
    settings = await filled(new_place("sqlite"))
    path = add_orphan_file(settings.resolved_bundle_dir)
    content = path.read_bytes()
    await backed_up(settings)
    path.write_bytes(content[:-10])
    second, third = await backed_up(settings), await backed_up(settings)
    assert second.bundles_damaged is third.bundles_damaged is msgspec.UNSET
    path.unlink()
    await restore_backup(elsewhere(settings, new_place("sqlite")), third.id, bundles_to=settings.resolved_bundle_dir)
    assert path.read_bytes() == content


async def test_a_damaged_one_stays_told(new_place: NewPlace) -> None:
    settings = await filled(new_place("sqlite"))
    path = add_orphan_file(settings.resolved_bundle_dir)
    path.write_bytes(b"half")
    for _ in range(2):
        assert (await backed_up(settings)).bundles_damaged == [f"doctor/{path.name}"]


async def test_one_that_vanishes_or_is_damaged_is_told(new_place: NewPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = await filled(new_place("sqlite"))
    folder = settings.resolved_bundle_dir
    whole, damaged, gone = (add_orphan_file(folder) for _ in range(3))
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-10])
    listed = list_orphan_files(folder)
    gone.unlink()

    def list_before(bundle_dir: Path) -> list[Path]:
        return listed

    monkeypatch.setattr(bundles, "list_orphan_files", list_before)
    manifest = await backed_up(settings)
    assert manifest.bundles_damaged == [f"doctor/{damaged.name}"]
    assert f"doctor/{gone.name}" in manifest.bundles_missing
    stored = {each.path for each in manifest.bundles}
    assert {f"doctor/{whole.name}", f"doctor/{damaged.name}"} <= stored
    assert (await verify_backup(settings, manifest.id)).passed
    # It comes back as it was: something of it may be readable.
    there = elsewhere(settings, new_place("sqlite"))
    await restore_backup(there, manifest.id, bundles_to=there.resolved_bundle_dir)
    assert (there.resolved_bundle_dir / "doctor" / damaged.name).read_bytes() == content[:-10]


async def test_an_operator_is_told_of_a_damaged_one(new_place: NewPlace) -> None:
    settings = await filled(new_place("sqlite"))
    damaged = add_orphan_file(settings.resolved_bundle_dir)
    damaged.write_bytes(b"")
    made = await holdfast(settings, "backup", "create")
    assert made.returncode == 0, made.stderr
    assert f"doctor/{damaged.name} is not what it should be, and was backed up as it is" in made.stderr
