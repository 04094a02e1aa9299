"""A backup that was damaged, cut short or mixed up with another one is refused, by what is wrong with it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from holdfast.db.address import parse_address
from holdfast.db.errors import SchemaDriftError
from holdfast.db.lifecycle.bundle_file import manifest_text
from holdfast.db.migrate import schema_status
from holdfast.operations.backup.engines.choosing import engine_of
from holdfast.operations.backup.errors import (
    BackupFailedError,
    BackupRefusedError,
    NoSuchBackupError,
    RestoreFailedError,
    RestoreRefusedError,
)
from holdfast.operations.backup.reading import find_verification, list_backups, resolve_id
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.streams import Stop, load_file
from holdfast.operations.backup.types import MANIFEST, Manifest, decode_manifest, new_backup_id
from holdfast.operations.backup.verifying import verify_backup
from holdfast.settings import Settings
from tests.operations.backup.conftest import NewPlace, backed_up, elsewhere, filled

Damage = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
async def two_backups(new_place: NewPlace) -> tuple[Settings, str, str]:
    settings = await filled(new_place("sqlite"))
    first, second = await backed_up(settings), await backed_up(settings)
    return settings, first.id, second.id


@pytest.fixture
def copied(two_backups: tuple[Settings, str, str], tmp_path: Path) -> tuple[Settings, Path, Path]:
    """A copy of the store, to be damaged: the folder of the first backup and that of the second."""
    settings, first, second = two_backups
    folder = tmp_path / "backups"
    # A copy without links: what is done to one must not be done to the other.
    shutil.copytree(settings.data_dir / "backups", folder)
    return msgspec.structs.replace(settings, backup_url=str(folder)), folder / first, folder / second


def database_of(folder: Path) -> Path:
    return folder / "database.sqlite.zst.0001"


def bundle_of(folder: Path) -> Path:
    return min(folder.glob("bundle-*"))


def cut_short(first: Path, second: Path) -> None:
    content = database_of(first).read_bytes()
    database_of(first).write_bytes(content[:-7])


def flip_a_bit(first: Path, second: Path) -> None:
    content = bytearray(database_of(first).read_bytes())
    content[len(content) // 2] ^= 1
    database_of(first).write_bytes(content)


def flip_a_bit_of_a_bundle(first: Path, second: Path) -> None:
    content = bytearray(bundle_of(first).read_bytes())
    content[100] ^= 1
    bundle_of(first).write_bytes(content)


def remove_the_dump(first: Path, second: Path) -> None:
    database_of(first).unlink()


def remove_a_bundle(first: Path, second: Path) -> None:
    bundle_of(first).unlink()


def exchange_the_dumps(first: Path, second: Path) -> None:
    content = database_of(second).read_bytes()
    # As long as its own, so that only the content tells.
    size = database_of(first).stat().st_size
    manifest = decode_manifest((second / MANIFEST).read_bytes(), second.name)
    mine = decode_manifest((first / MANIFEST).read_bytes(), first.name)
    resized = msgspec.structs.replace(
        mine.database, parts=[msgspec.structs.replace(mine.database.parts[0], size=len(content))]
    )
    assert manifest.database.parts[0].sha256 != mine.database.parts[0].sha256
    if len(content) != size:
        files = [resized if each.kind == "database" else each for each in mine.files]
        (first / MANIFEST).write_bytes(manifest_text(msgspec.structs.replace(mine, files=files)))
    database_of(first).write_bytes(content)


def take_the_manifest_of_the_other(first: Path, second: Path) -> None:
    shutil.copyfile(second / MANIFEST, first / MANIFEST)


def edit_the_manifest(first: Path, second: Path) -> None:
    text = (first / MANIFEST).read_bytes()
    (first / MANIFEST).write_bytes(text.replace(b'"dialect":"sqlite"', b'"dialect":"mariadb"'))


def cut_the_manifest(first: Path, second: Path) -> None:
    text = (first / MANIFEST).read_bytes()
    (first / MANIFEST).write_bytes(text[: len(text) // 2])


def make_the_manifest_of_another_version(first: Path, second: Path) -> None:
    mine = decode_manifest((first / MANIFEST).read_bytes(), first.name)
    (first / MANIFEST).write_bytes(manifest_text(msgspec.structs.replace(mine, version=2)))


_DAMAGES: list[tuple[Damage, str]] = [
    (cut_short, r"database\.sqlite\.zst\.0001 of backup {first} is cut short or changed: it has [\d,]+ bytes"),
    (flip_a_bit, r"database\.sqlite\.zst\.0001 of backup {first} is not what its manifest says"),
    (flip_a_bit_of_a_bundle, r"bundle-\S+ of backup {first} is not what its manifest says"),
    (remove_the_dump, r"database\.sqlite\.zst\.0001 of backup {first} is missing"),
    (remove_a_bundle, r"bundle-\S+ of backup {first} is missing"),
    (exchange_the_dumps, r"instead of \w+\. It is database\.sqlite\.zst\.0001 of backup {second}"),
    (take_the_manifest_of_the_other, r"manifest\.json of backup {first} is the one of backup {second}"),
    (edit_the_manifest, r"manifest\.json of backup {first} was changed: its digest is not that of its text"),
    (cut_the_manifest, r"manifest\.json of backup {first} cannot be read"),
    (make_the_manifest_of_another_version, r"it has version 2 of the format, and this Holdfast reads version 1"),
]


@pytest.mark.parametrize(("damage", "told"), _DAMAGES, ids=[damage.__name__ for damage, _ in _DAMAGES])
async def test_a_damaged_backup_is_refused_by_name_and_restores_nothing(
    damage: Damage, told: str, copied: tuple[Settings, Path, Path], new_place: NewPlace
) -> None:
    settings, first, second = copied
    assert (await verify_backup(settings, first.name)).passed
    damage(first, second)
    match = told.format(first=first.name.replace(".", r"\."), second=second.name.replace(".", r"\."))
    with pytest.raises(BackupRefusedError, match=match):
        await verify_backup(settings, first.name)
    kept = find_verification(open_store(settings), first.name)
    assert kept is not None
    assert not kept.passed
    listed = {each.id: each for each in list_backups(open_store(settings))}
    assert listed[first.name].verified is False
    assert listed[first.name].problem
    assert listed[second.name].problem is None
    there = elsewhere(settings, new_place("sqlite"))
    with pytest.raises(BackupRefusedError, match=match):
        await restore_backup(there, first.name, bundles_to=there.resolved_bundle_dir)
    assert not parse_address(there.resolved_database_url).path.exists()
    assert (await verify_backup(settings, second.name)).passed


async def test_a_stored_dump_that_unpacks_to_more_than_it_says_is_refused(
    copied: tuple[Settings, Path, Path],
) -> None:
    settings, first, _ = copied
    mine = decode_manifest((first / MANIFEST).read_bytes(), first.name)
    file = msgspec.structs.replace(mine.database, size=10)
    with pytest.raises(BackupRefusedError, match="does not hold what its manifest says"):
        load_file(
            open_store(settings),
            first.name,
            file,
            None,
            identities=[],
            recipients=[],
            stop=Stop(),
            on_bytes=lambda count: None,
        )


async def test_a_dump_that_the_engines_tool_cannot_read_is_refused(
    engine: str, source: Settings, backup: Manifest, tmp_path: Path
) -> None:
    whole = tmp_path / "dump"
    store = open_store(source)

    def check(content: bytes) -> None:
        checking = engine_of(engine).check(source, tmp_path, backup.server_version)
        try:
            checking.write(content)
            checking.finish()
        finally:
            checking.end()

    with whole.open("wb") as stream:
        load_file(
            store,
            backup.id,
            backup.database,
            stream,
            identities=[],
            recipients=[],
            stop=Stop(),
            on_bytes=lambda count: None,
        )
    content = whole.read_bytes()
    check(content)
    for broken in (content[: len(content) * 2 // 3], b""):
        with pytest.raises(BackupRefusedError):
            check(broken)


async def test_rows_that_are_not_those_of_the_manifest_leave_the_target_unfinished(
    engine: str, source: Settings, backup: Manifest, new_place: NewPlace, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    shutil.copytree(source.data_dir / "backups" / backup.id, folder / backup.id)
    wrong = msgspec.structs.replace(backup.tables["users"], sha256="0" * 64)
    lying = msgspec.structs.replace(backup, tables=backup.tables | {"users": wrong})
    (folder / backup.id / MANIFEST).write_bytes(manifest_text(lying))
    there = msgspec.structs.replace(elsewhere(source, new_place(engine)), backup_url=str(folder))
    address = parse_address(there.resolved_database_url)
    with pytest.raises(
        RestoreFailedError, match=r"the restored rows are not those of backup .*users: \d+ rows as before"
    ):
        await restore_backup(there, backup.id)
    with pytest.raises(SchemaDriftError, match=r"run `holdfast backup restore` again"):
        await schema_status(address)
    with pytest.raises((SchemaDriftError, BackupFailedError)):
        await backed_up(there)
    done = await restore_backup(elsewhere(source, there), backup.id)
    assert done.compared == "checksums"
    assert (await schema_status(address)).pending == []


async def test_a_backup_of_another_engine_or_a_newer_schema_is_refused(
    copied: tuple[Settings, Path, Path], new_place: NewPlace
) -> None:
    settings, first, second = copied
    mine = decode_manifest((first / MANIFEST).read_bytes(), first.name)
    newer = msgspec.structs.replace(mine, schema_revision="9999", checksums_revision="9999")
    (first / MANIFEST).write_bytes(manifest_text(newer))
    there = elsewhere(settings, new_place("sqlite"))
    with pytest.raises(RestoreRefusedError, match="at schema revision 9999, which this version does not know"):
        await restore_backup(there, first.name)
    other = msgspec.structs.replace(there, database_url="mariadb://nobody@127.0.0.1:1/none")
    with pytest.raises(RestoreRefusedError, match=r"is of sqlite, and .* is mariadb: .*`holdfast transfer`"):
        await restore_backup(other, second.name)


async def test_a_bundle_that_differs_is_not_overwritten(
    copied: tuple[Settings, Path, Path], new_place: NewPlace
) -> None:
    settings, first, _ = copied
    mine = decode_manifest((first / MANIFEST).read_bytes(), first.name)
    there = elsewhere(settings, new_place("sqlite"))
    path = there.resolved_bundle_dir / mine.bundles[0].path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"of another instance")
    with pytest.raises(RestoreRefusedError, match="is there already, with other content than in the backup"):
        await restore_backup(there, first.name, bundles_to=there.resolved_bundle_dir)
    assert path.read_bytes() == b"of another instance"
    assert not parse_address(there.resolved_database_url).path.exists()


def test_a_name_that_fits_none_or_many_is_refused(two_backups: tuple[Settings, str, str], tmp_path: Path) -> None:
    settings, first, second = two_backups
    store = open_store(settings)
    assert resolve_id(store, "newest", instance=None) == max(first, second)
    assert resolve_id(store, first[:-1], instance=None) == first
    with pytest.raises(NoSuchBackupError, match="2 backups in"):
        resolve_id(store, "2", instance=None)
    for name in (new_backup_id(), "", "../../etc"):
        with pytest.raises(NoSuchBackupError, match="there is no backup"):
            resolve_id(store, name, instance=None)
    with pytest.raises(NoSuchBackupError, match="`holdfast backup create` makes one"):
        resolve_id(open_store(Settings(data_dir=tmp_path)), "newest", instance=None)
