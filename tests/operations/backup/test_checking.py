"""A check that cannot be carried out here says nothing about the backup."""

from pathlib import Path
from typing import Any

import pytest

from holdfast.operations.backup.engines import sqlite
from holdfast.operations.backup.errors import CheckBrokenOffError
from holdfast.operations.backup.reading import find_verification
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.verifying import verify_backup
from tests.operations.backup.conftest import NewPlace, backed_up, filled


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
