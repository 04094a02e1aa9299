"""A backup carries the key map: what was imported can be lost and restored, and a further import goes on from there."""

from pathlib import Path
from typing import Any

import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.key_map import KEY_MAP_TABLES
from holdfast.db.migrate import check_schema
from holdfast.db.open import open_database
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.errors import RestoreRefusedError
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.verifying import verify_backup
from holdfast.operations.doctor.examination import examine
from holdfast.operations.doctor.types import Severity, Subject
from holdfast.operations.legacy.importing import LegacyReport, import_legacy
from holdfast.operations.legacy.types import Options
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.db.rows import fetch
from tests.db.snapshots import difference, read_all
from tests.instance import instance_settings
from tests.operations.legacy.conftest import Legacy, NewTarget
from tests.operations.legacy.flavours import FLAVOURS
from tests.operations.legacy.loading import open_legacy

pytestmark = pytest.mark.slow

KeyMap = dict[str, set[tuple[Any, ...]]]


@pytest.fixture
def elsewhere(new_database: NewDatabase, tmp_path: Path, engine: str) -> Settings:
    """Another machine with an empty database, which reaches the store of the first."""
    return instance_settings(
        new_database(engine),
        tmp_path / "elsewhere",
        admin_password="correct horse battery",
        backup_url=str(tmp_path / "backups"),
    )


async def _key_map(database: Database) -> KeyMap:
    return {name: {tuple(row) for row in await fetch(database, f"SELECT * FROM {name}")} for name in KEY_MAP_TABLES}


def _require_nothing_new(done: LegacyReport) -> None:
    assert (sum(done.added.values()), done.unexplained) == (0, 0)
    for found in done.comparisons:
        # The map still knows what the first run compared, and each of these rows is there.
        assert (found.unchecked, found.gone) == (found.made, 0), found


@pytest.mark.conformance("S-13")
@pytest.mark.parametrize("flavour", ["february_2026", "seed7_mariadb"])
async def test_an_import_goes_on_in_a_restored_database(
    legacy: Legacy, new_target: NewTarget, elsewhere: Settings, engine: str, flavour: str
) -> None:
    url, _ = legacy(flavour)
    settings = new_target(engine)
    done = await import_legacy(settings, url, Options())
    async with open_database(settings).running() as database:
        backup = await create_backup(database, settings)
        rows, key_map = await read_all(database), await _key_map(database)
    assert len(key_map["legacy_keys"]) >= sum(done.added.values()) > 100
    assert len(key_map["legacy_imports"]) == 1

    assert (await verify_backup(elsewhere, backup.id)).passed
    restored = await restore_backup(elsewhere, backup.id, bundles_to=elsewhere.resolved_bundle_dir)
    assert restored.compared == "checksums"
    await check_schema(parse_address(elsewhere.resolved_database_url))
    async with open_database(elsewhere).running() as database:
        assert await _key_map(database) == key_map
        _require_nothing_new(await import_legacy(elsewhere, url, Options()))
        assert await _key_map(database) == key_map
        after = await read_all(database)
        # What the restore writes of itself.
        del rows["runs"], after["runs"]
        assert [str(each) for each in difference(rows, after)] == []
        report = await examine(Subject(database=database, settings=elsewhere))
        assert [each for each in report.findings if each.severity is Severity.ERROR and each.table] == []

        with open_legacy(url) as older:
            of = FLAVOURS[flavour]
            columns = f"{of.column('groups', 'g_id')}, {of.column('groups', 'group_name')}"
            older.run(f"INSERT INTO {of.tables['groups']} ({columns}) VALUES (900, 'latecomers')")
        again = await import_legacy(elsewhere, url, Options())
        assert {name: count for name, count in again.added.items() if count} == {"group_list": 1}
        assert again.unexplained == 0
        assert len((await _key_map(database))["legacy_keys"]) == len(key_map["legacy_keys"]) + 1


async def test_a_restore_replaces_the_key_map_that_was_there(
    legacy: Legacy, new_target: NewTarget, elsewhere: Settings, engine: str
) -> None:
    """Or rows of the one import would be taken for those of the other."""
    url, _ = legacy("december_2025", with_faults=False)
    other, _ = legacy("september_2025", with_faults=False)
    settings = new_target(engine)
    await import_legacy(settings, url, Options(), name="one")
    async with open_database(settings).running() as database:
        backup = await create_backup(database, settings)
        key_map = await _key_map(database)
    await import_legacy(elsewhere, other, Options(), name="two")
    with pytest.raises(RestoreRefusedError, match="is not empty"):
        await restore_backup(elsewhere, backup.id)
    await restore_backup(elsewhere, backup.id, replace=True)
    async with open_database(elsewhere).running() as database:
        assert await _key_map(database) == key_map
    _require_nothing_new(await import_legacy(elsewhere, url, Options(), name="one"))
