"""Two instances with one store: each keeps, counts and brings back its own backups, and leaves the other's alone."""

import json
from pathlib import Path

import msgspec
import pytest

from holdfast.core.clock import utc_now
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.instance_id import find_instance_id, find_instance_id_at
from holdfast.db.lifecycle.bundle_file import manifest_text
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.errors import NoSuchBackupError
from holdfast.operations.backup.reading import list_backups, owner_of, read_manifest, resolve_id
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.retention import prune
from holdfast.operations.backup.stores.folder import FolderStore
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import MANIFEST, RUN, Manifest
from holdfast.operations.backup.verifying import verify_backup
from holdfast.settings import Settings
from holdfast.worker.registry import PERIODIC_JOBS
from tests.db.live import other_connection
from tests.instance import Instance
from tests.operations.backup.conftest import NewPlace, add_bundle, backed_up, elsewhere
from tests.operations.backup.test_command import holdfast


async def _id_of(database: Database) -> str:
    async with database.read() as tx:
        found = await find_instance_id(tx)
    assert found is not None
    return found


@pytest.fixture
async def two(new_place: NewPlace, tmp_path: Path) -> tuple[Settings, Settings]:
    """Two small instances that share a folder."""
    store = tmp_path / "shared"
    store.mkdir()
    made = []
    for _ in range(2):
        settings = msgspec.structs.replace(new_place("sqlite"), backup_url=str(store))
        await migrate(parse_address(settings.resolved_database_url))
        made.append(settings)
    return made[0], made[1]


def _disowned(settings: Settings, backup_id: str) -> None:
    """Let the manifest be as releases before wrote it."""
    store = open_store(settings)
    bare = msgspec.structs.replace(read_manifest(store, backup_id), instance=msgspec.UNSET)
    assert b"instance" not in manifest_text(bare)
    store.write_small(backup_id, MANIFEST, manifest_text(bare))


async def test_a_backup_brings_its_instance_back(
    engine: str, source: Settings, backup: Manifest, new_place: NewPlace
) -> None:
    there = elsewhere(source, new_place(engine))
    await restore_backup(there, backup.id)
    address = parse_address(there.resolved_database_url)
    assert await find_instance_id_at(address) == backup.instance
    assert backup.instance == await find_instance_id_at(parse_address(source.resolved_database_url))
    # What it backs up from now on follows what it was.
    assert (await backed_up(there)).previous == max(open_store(source).ids()[1:])
    open_store(there).remove(max(open_store(there).ids()))


async def test_the_calendar_of_one_instance_removes_nothing_of_the_other(
    instance: Instance, new_place: NewPlace, tmp_path: Path
) -> None:
    few = {"backup_keep_newest": 1, "backup_keep_daily": 0, "backup_keep_weekly": 0, "backup_keep_monthly": 0}
    settings = msgspec.structs.replace(instance.settings, data_dir=tmp_path, **few)
    other = msgspec.structs.replace(new_place(instance.engine), backup_url=str(tmp_path / "backups"), **few)
    await migrate(parse_address(other.resolved_database_url))
    make = PERIODIC_JOBS[RUN].run
    store = open_store(settings)
    await make(instance.database, settings, utc_now)
    (first,) = store.ids()
    async with open_database(other).running() as database:
        for _ in range(2):
            await make(database, other, utc_now)
        theirs = await _id_of(database)
    mine = await _id_of(instance.database)
    assert [owner_of(store, each) for each in store.ids()] == [theirs, mine]
    assert store.ids()[1] == first
    await make(instance.database, settings, utc_now)
    newest = store.ids()[0]
    assert [owner_of(store, each) for each in store.ids()] == [mine, theirs]
    assert read_manifest(store, newest).previous == first
    listed = [(each.instance, each.is_own) for each in list_backups(store, instance=mine)]
    assert listed == [(mine, True), (theirs, False)]


async def test_the_newest_is_the_newest_of_ones_own(two: tuple[Settings, Settings], tmp_path: Path) -> None:
    one, other = two
    mine = await backed_up(one)
    theirs = await backed_up(other)
    store = open_store(one)
    assert mine.instance
    assert theirs.instance
    assert theirs.previous is None
    assert resolve_id(store, "newest", instance=mine.instance) == mine.id
    assert resolve_id(store, "newest", instance=theirs.instance) == theirs.id
    assert resolve_id(store, theirs.id, instance=mine.instance) == theirs.id
    with pytest.raises(NoSuchBackupError, match=rf"only such of others.*name it\. The newest is {theirs.id}"):
        resolve_id(store, "newest", instance="a-third")
    with pytest.raises(NoSuchBackupError, match="backups of 2 instances, and the database does not say which it is"):
        resolve_id(store, "newest", instance=None)
    # A manifest that is damaged is one's own as long as it names nobody else.
    for backup_id in (mine.id, theirs.id):
        text = store.read_small(backup_id, MANIFEST) or b""
        store.write_small(backup_id, MANIFEST, text.replace(b'"dialect":"sqlite"', b'"dialect":"mariadb"'))
    assert resolve_id(store, "newest", instance=mine.instance) == mine.id
    store.write_small(theirs.id, MANIFEST, b"{")
    assert resolve_id(store, "newest", instance=mine.instance) == theirs.id


async def test_backups_that_name_no_instance_count_as_ones_own(two: tuple[Settings, Settings]) -> None:
    one, other = two
    first = await backed_up(one)
    _disowned(one, first.id)
    store = open_store(one)
    assert (await verify_backup(one, first.id)).passed
    for settings in two:
        instance = await find_instance_id_at(parse_address(settings.resolved_database_url))
        (listed,) = list_backups(store, instance=instance)
        assert (listed.instance, listed.is_own, listed.problem) == (None, True, None)
        assert resolve_id(store, "newest", instance=instance) == first.id
    assert (await backed_up(other)).previous == first.id


async def test_stored_bundles_of_ones_own_are_taken_over_beside_another_instance(
    two: tuple[Settings, Settings],
) -> None:
    one, other = two
    async with open_database(one).running() as database:
        await add_bundle(database, one.resolved_bundle_dir)
        first = await create_backup(database, one)
        await backed_up(other)
        second = await create_backup(database, one)
    assert second.previous == first.id
    (bundle,) = second.bundles
    assert (Path(one.backup_url) / second.id / bundle.parts[0].name).stat().st_nlink == 2


async def test_a_database_of_an_older_revision_makes_backups_without_an_instance(
    engine: str, new_place: NewPlace
) -> None:
    settings = new_place(engine)
    await migrate(parse_address(settings.resolved_database_url), "0018")
    manifest = await backed_up(settings)
    assert manifest.instance is msgspec.UNSET
    there = elsewhere(settings, new_place(engine))
    await restore_backup(there, manifest.id, upgrade=True)
    assert await find_instance_id_at(parse_address(there.resolved_database_url)) is not None


@pytest.mark.slow
async def test_an_operator_sees_whose_backups_are_there_and_prunes_ones_own(
    two: tuple[Settings, Settings], new_place: NewPlace
) -> None:
    one, other = two
    mine = [(await backed_up(one)).id for _ in range(2)]
    assert "instance" not in (await holdfast(one, "backup", "list")).stdout
    theirs = await backed_up(other)
    listed = (await holdfast(one, "backup", "list")).stdout.splitlines()
    assert "instance" in listed[0]
    assert f" {str(theirs.instance)[:8]}" in listed[1]
    assert "  this" in listed[2]
    rows = json.loads((await holdfast(one, "backup", "list", "--json")).stdout)
    assert [each["is_own"] for each in rows] == [False, True, True]
    shown = await holdfast(one, "backup", "show")
    assert mine[1] in shown.stdout
    pruned = await holdfast(
        one,
        "backup",
        "prune",
        "--json",
        backup_keep_newest="1",
        backup_keep_daily="0",
        backup_keep_weekly="0",
        backup_keep_monthly="0",
    )
    done = json.loads(pruned.stdout)
    assert done["removed"] == [mine[0]]
    assert done["kept"][theirs.id] == [f"of another instance ({str(theirs.instance)[:8]})"]
    # A new machine does not know whose backups it wants.
    place = elsewhere(one, new_place("sqlite"))
    asked = await holdfast(place, "backup", "restore", "newest")
    assert asked.returncode == 1
    assert "holds backups of 2 instances" in asked.stderr
    assert not parse_address(place.resolved_database_url).path.exists()
    named = await holdfast(place, "backup", "restore", theirs.id)
    assert named.returncode == 0, named.stderr
    # From then on it is that instance.
    again = await holdfast(place, "backup", "restore", "newest", "--replace", "--yes")
    assert theirs.id in again.stdout, again.stderr
    # What is brought elsewhere is the newest of the settings' own instance.
    beside = new_place("sqlite").resolved_database_url
    moved = await holdfast(one, "backup", "restore", "newest", "--to", beside)
    assert mine[1] in moved.stdout, moved.stderr
    assert await find_instance_id_at(parse_address(beside)) == rows[1]["instance"]


async def test_a_database_without_an_id_claims_no_backup_of_others(two: tuple[Settings, Settings]) -> None:
    one, _ = two
    made = await backed_up(one)
    with other_connection(one.resolved_database_url) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET instance_id = NULL")
    bare = await backed_up(one)
    assert (bare.instance, bare.previous) == (msgspec.UNSET, None)
    listed = {each.id: each.is_own for each in list_backups(open_store(one))}
    assert listed == {bare.id: True, made.id: None}


async def test_a_backup_that_another_instance_lets_go_meanwhile_is_in_nobodys_way(
    two: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    mine, theirs = await backed_up(one), await backed_up(other)
    # As the list was before.
    listed = open_store(one).ids()
    open_store(other).remove(theirs.id)
    monkeypatch.setattr(FolderStore, "ids", lambda self: listed)
    assert [each.id for each in list_backups(open_store(one), instance=mine.owner)] == [mine.id]
    assert (await prune(one, instance=mine.owner, dry_run=True)).kept.keys() == {mine.id}
    assert (await backed_up(one)).previous == mine.id
