"""The files of the doctor's cure of orphans move with the instance."""

from pathlib import Path

import pytest

from holdfast.db.address import parse_address
from holdfast.db.migrate import migrate
from holdfast.operations.doctor.orphan_files import list_orphan_files
from holdfast.operations.transfer import bundles
from holdfast.operations.transfer.exporting import export_instance
from holdfast.operations.transfer.importing import import_instance
from holdfast.settings import Settings
from tests.operations.orphan_files import add_orphan_file
from tests.operations.transfer.conftest import NewPlace


@pytest.fixture
async def bare(engine: str, new_place: NewPlace) -> Settings:
    """An instance without a row."""
    settings = new_place(engine)
    await migrate(parse_address(settings.resolved_database_url))
    return settings


async def test_they_are_exported_and_imported_beside_the_bundles(
    engine: str, bare: Settings, new_place: NewPlace, tmp_path: Path
) -> None:
    files = sorted(add_orphan_file(bare.resolved_bundle_dir) for _ in range(2))
    exported = await export_instance(bare, tmp_path / "moving.zip")
    assert (exported.bundles, exported.bundles_left_out) == (2, {})
    there = new_place(engine)
    imported = await import_instance(there, tmp_path / "moving.zip")
    assert (imported.bundles, imported.renamed, sum(imported.rows.values())) == (2, 0, 0)
    arrived = list_orphan_files(there.resolved_bundle_dir)
    assert [(path.name, path.read_bytes()) for path in arrived] == [(path.name, path.read_bytes()) for path in files]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")
async def test_one_that_vanishes_is_damaged_or_was_renamed_is_told_and_left_out(
    bare: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bare.resolved_bundle_dir
    damaged, gone, renamed, whole = (add_orphan_file(folder) for _ in range(4))
    damaged.write_bytes(damaged.read_bytes()[:-10])
    renamed = renamed.rename(renamed.with_name("orphans-copy (1).bundle.zip"))
    listed = list_orphan_files(folder)
    gone.unlink()

    def list_before(bundle_dir: Path) -> list[Path]:
        return listed

    monkeypatch.setattr(bundles, "list_orphan_files", list_before)
    done = await export_instance(bare, tmp_path / "moving.zip")
    assert done.bundles == 1
    told = {Path(name).name: reason for name, reason in done.bundles_left_out.items()}
    assert told.keys() == {damaged.name, gone.name, renamed.name}
    assert "is damaged, or no bundle at all" in told[damaged.name]
    assert "cannot be read: No such file" in told[gone.name]
    assert "rename it" in told[renamed.name]
    assert whole.name not in told
