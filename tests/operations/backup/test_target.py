"""What a restore finds where it is to write: left logs, others at work, another restore, somebody's rows."""

import asyncio
import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.db import filling
from holdfast.db.address import parse_address
from holdfast.db.errors import SchemaDriftError
from holdfast.db.migrate import check_schema, migrate
from holdfast.db.open import open_database
from holdfast.db.sqlite_driver import sqlite3
from holdfast.operations.backup import restoring, verifying
from holdfast.operations.backup.errors import RestoreFailedError, RestoreRefusedError
from holdfast.operations.backup.restoring import Restored, restore_backup
from holdfast.operations.backup.types import Manifest
from holdfast.operations.checksums import read_checksums
from holdfast.settings import Settings
from tests.db.rows import run
from tests.operations.backup.conftest import NewPlace, backed_up, elsewhere, filled


@pytest.fixture(scope="module")
async def file_backup(new_place: NewPlace) -> tuple[Settings, Manifest]:
    """A SQLite instance and its backup."""
    settings = await filled(new_place("sqlite"))
    return settings, await backed_up(settings)


@pytest.fixture
async def place(file_backup: tuple[Settings, Manifest], new_place: NewPlace) -> Settings:
    """Where that backup can go."""
    return elsewhere(file_backup[0], new_place("sqlite"))


@contextlib.contextmanager
def _log_left(path: Path) -> Iterator[Path]:
    """A database at `path`, whose last rows are in its log alone; the process that wrote them is killed at the end."""
    connection = sqlite3.connect(str(path), isolation_level=None)
    for statement in ("journal_mode = WAL", "wal_autocheckpoint = 0"):
        connection.execute(f"PRAGMA {statement}").fetchall()
    connection.execute("CREATE TABLE users (id INTEGER)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute("INSERT INTO users VALUES (1)")
    copies = [(each, each.with_name(f"copy-of-{each.name}")) for each in path.parent.glob(f"{path.name}*")]
    for each, copy in copies:
        shutil.copyfile(each, copy)
    connection.close()
    path.unlink()
    for each, copy in copies:
        copy.rename(each)
    yield path.with_name(f"{path.name}-wal")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _names_at(path: Path) -> list[str]:
    return [each.name for each in path.parent.glob(f"{path.name}*")]


async def _holds_the_backup(settings: Settings, manifest: Manifest) -> None:
    await check_schema(parse_address(settings.resolved_database_url))
    async with open_database(settings).running() as database:
        assert (await read_checksums(database))["users"] == manifest.tables["users"]


@pytest.mark.parametrize("main", ["gone", "empty", "damaged"])
async def test_a_log_that_is_left_is_kept_and_never_gets_into_the_restored_database(
    main: str, file_backup: tuple[Settings, Manifest], place: Settings
) -> None:
    manifest = file_backup[1]
    path = parse_address(place.resolved_database_url).path
    with _log_left(path) as log:
        content = log.read_bytes()
        assert len(content) > 0
        damaged = b"\xff" * 4096 + path.read_bytes()[4096:]
        if main == "gone":
            path.unlink()
        else:
            path.write_bytes(b"" if main == "empty" else damaged)
        done = await restore_backup(place, manifest.id, replace=main == "damaged")
    await _holds_the_backup(place, manifest)
    kept = path.with_name(f"{path.name}.before-{manifest.id}")
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == content
    assert done.kept is not None
    assert done.kept.startswith(str(kept))
    assert kept.exists() == (main != "gone")
    assert not [name for name in _names_at(path) if ".restor" in name]


async def test_what_comes_to_stand_at_the_name_during_a_restore_is_noticed(
    file_backup: tuple[Settings, Manifest], place: Settings
) -> None:
    manifest = file_backup[1]
    path = parse_address(place.resolved_database_url).path

    def leave_a_log(stage: str, done: int, total: int | None) -> None:
        if stage == "Comparing checksums" and not list(path.parent.glob(f"{path.name}-*")):
            with _log_left(path):
                path.unlink()

    await restore_backup(place, manifest.id, progress=leave_a_log)
    await _holds_the_backup(place, manifest)
    assert path.with_name(f"{path.name}.before-restore-wal").exists()

    def make_a_database(stage: str, done: int, total: int | None) -> None:
        if stage == "Comparing checksums":
            with contextlib.closing(sqlite3.connect(str(path))) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS mine (id INTEGER)")

    with pytest.raises(RestoreFailedError, match=r"somebody made a database at .* move it away"):
        await restore_backup(place, manifest.id, replace=True, progress=make_a_database)
    with contextlib.closing(sqlite3.connect(str(path))) as connection:
        assert connection.execute("SELECT count(*) FROM mine").fetchone() == (0,)
    with pytest.raises(SchemaDriftError, match="run `holdfast backup restore` again"):
        await check_schema(parse_address(place.resolved_database_url))


async def test_each_database_that_is_replaced_is_kept_by_the_id_of_the_backup(
    file_backup: tuple[Settings, Manifest], place: Settings
) -> None:
    manifest = file_backup[1]
    path = parse_address(place.resolved_database_url).path
    await restore_backup(place, manifest.id)
    kept = [(await restore_backup(place, manifest.id, replace=True)).kept for _ in range(3)]
    assert kept == [f"{path}.before-{manifest.id}{ending}" for ending in ("", ".2", ".3")]


async def test_a_lock_that_a_killed_restore_left_is_nobodys(
    file_backup: tuple[Settings, Manifest], place: Settings
) -> None:
    manifest = file_backup[1]
    lock = Path(f"{parse_address(place.resolved_database_url).path}.restore-lock")
    with _locked(lock), pytest.raises(RestoreRefusedError, match=r"another restore into .* is under way"):
        await restore_backup(place, manifest.id)
    await restore_backup(place, manifest.id)
    await _holds_the_backup(place, manifest)
    assert _names_at(lock) == []


async def test_of_two_restores_at_once_one_is_refused(
    engine: str, source: Settings, backup: Manifest, new_place: NewPlace
) -> None:
    there = elsewhere(source, new_place(engine))
    done = await asyncio.gather(*(restore_backup(there, backup.id) for _ in range(2)), return_exceptions=True)
    (refused,) = [each for each in done if not isinstance(each, Restored)]
    assert isinstance(refused, RestoreRefusedError), refused
    assert "another restore into" in refused.message
    await _holds_the_backup(there, backup)


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"], scope="session", indirect=True)
async def test_a_restore_whose_lock_was_lost_is_not_declared_finished(
    engine: str, source: Settings, backup: Manifest, new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = elsewhere(source, new_place(engine))
    check = restoring._Restoring._check_and_settle

    async def lose_the_lock(restore: restoring._Restoring, *arguments: Any) -> tuple[str, int]:
        done = await check(restore, *arguments)
        async with open_database(there).running() as database, database.read() as tx:
            if engine == "postgresql":
                await tx.fetch_text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'holdfast_restore'"
                )
            else:
                name = "concat('holdfast_restore_', md5(DATABASE()))"
                ((session,),) = await tx.fetch_text(f"SELECT IS_USED_LOCK({name})")
                await tx.fetch_text(f"KILL {session}")
        return done

    with monkeypatch.context() as patched:
        patched.setattr(restoring._Restoring, "_check_and_settle", lose_the_lock)
        with pytest.raises(RestoreFailedError, match="is marked as unfinished"):
            await restore_backup(there, backup.id)
    with pytest.raises(SchemaDriftError, match="a restore of backup"):
        await check_schema(parse_address(there.resolved_database_url))
    await restore_backup(there, backup.id, replace=True)
    await _holds_the_backup(there, backup)


async def test_a_database_that_is_filled_while_the_backup_is_checked_is_not_dropped(
    engine: str, source: Settings, backup: Manifest, new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = elsewhere(source, new_place(engine))
    verify_backup = verifying.verify_backup

    async def fill(*arguments: object, **options: object) -> object:
        done = await verify_backup(*arguments, **options)  # type: ignore[arg-type]
        await migrate(parse_address(there.resolved_database_url))
        async with open_database(there).running() as database:
            await run(database, "INSERT INTO group_list (g_id, group_name) VALUES ('mine', 'mine')")
        return done

    monkeypatch.setattr(restoring, "verify_backup", fill)
    with pytest.raises(RestoreRefusedError, match="is not empty"):
        await restore_backup(there, backup.id)
    async with open_database(there).running() as database, database.read() as tx:
        assert await tx.fetch_text("SELECT count(*) FROM group_list WHERE g_id = 'mine'") == [(1,)]


async def test_the_mark_of_a_broken_off_import_goes_with_what_is_replaced(
    engine: str, source: Settings, backup: Manifest, new_place: NewPlace
) -> None:
    there = elsewhere(source, new_place(engine))
    await migrate(parse_address(there.resolved_database_url))
    async with open_database(there).running() as database:
        await run(database, f"CREATE TABLE {filling.TABLE} (what VARCHAR(100) NOT NULL)")
    await restore_backup(there, backup.id, replace=True)
    await _holds_the_backup(there, backup)
