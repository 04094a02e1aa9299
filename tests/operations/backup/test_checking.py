"""A check that cannot be carried out here says nothing about the backup."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.db.address import parse_address
from holdfast.operations.backup.engines import sqlite
from holdfast.operations.backup.engines.choosing import engine_of
from holdfast.operations.backup.engines.marker import inspect_server
from holdfast.operations.backup.errors import CheckBrokenOffError
from holdfast.operations.backup.reading import find_verification
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import Manifest
from holdfast.operations.backup.verifying import verify_backup
from holdfast.settings import Settings
from tests.operations.backup.conftest import NewPlace, backed_up, elsewhere, filled

_POSTGRESQL = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")


def _begin_on_a_full_disk(self: Any, path: Path) -> None:
    self._path = path
    self._stream = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 (its end closes it)


async def test_trouble_of_this_machine_is_not_recorded_as_damage(
    new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = await filled(new_place("sqlite"))
    backup_id = (await backed_up(settings)).id
    before = await verify_backup(settings, backup_id)
    with monkeypatch.context() as patched:
        patched.setattr(sqlite._FileCheck, "__init__", _begin_on_a_full_disk)
        with pytest.raises(CheckBrokenOffError, match=r"cannot be written to .*No space left"):
            await verify_backup(settings, backup_id)
    check_file = sqlite.check_file
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "check_file", lambda path: check_file(path / "beneath"))
        with pytest.raises(CheckBrokenOffError, match=r"SQLite could not check .*unable to open"):
            await verify_backup(settings, backup_id)
    assert find_verification(open_store(settings), backup_id) == before


def _with_killed_pg_restore(settings: Settings, folder: Path, *, reads: str) -> Settings:
    """The settings of a machine on which `pg_restore` is killed after it read what the command `reads` does."""
    program = folder / "pg_restore"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec "{settings.postgresql_bin}/pg_restore" --version\n'
        f"{reads} > /dev/null\nkill -KILL $$\n"
    )
    program.chmod(0o755)
    return msgspec.structs.replace(settings, postgresql_bin=str(folder))


@_POSTGRESQL
@pytest.mark.parametrize("reads", ["cat", "true"])
async def test_a_killed_check_is_no_damage_of_the_backup(
    source: Settings, backup: Manifest, new_place: NewPlace, tmp_path: Path, reads: str
) -> None:
    known = await verify_backup(source, backup.id)
    killed = _with_killed_pg_restore(source, tmp_path, reads=reads)
    told = r"the backup could not be checked: pg_restore was ended by SIGKILL\. .* try again"
    with pytest.raises(CheckBrokenOffError, match=told):
        await verify_backup(killed, backup.id)
    there = elsewhere(killed, new_place("postgresql"))
    with pytest.raises(CheckBrokenOffError, match=told):
        await restore_backup(there, backup.id)
    state = await inspect_server(parse_address(there.resolved_database_url))
    assert (state.own_tables, state.unfinished) == ([], None)
    assert find_verification(open_store(source), backup.id) == known


@_POSTGRESQL
async def test_a_check_that_is_killed_while_it_reads_is_no_damage_either(
    source: Settings, backup: Manifest, tmp_path: Path
) -> None:
    killed = _with_killed_pg_restore(source, tmp_path, reads="head -c 1000")
    checking = engine_of("postgresql").check(killed, tmp_path, backup.server_version)

    def write_on() -> None:
        while True:
            checking.write(bytes(65_536))

    try:
        with pytest.raises(CheckBrokenOffError, match="pg_restore was ended by SIGKILL"):
            write_on()
    finally:
        checking.end()
