"""kill -9 at every stage of a backup and of a restore: no half backup counts, no half database serves (R1)."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.db.address import parse_address
from holdfast.db.errors import SchemaDriftError
from holdfast.db.migrate import check_schema
from holdfast.db.open import open_database
from holdfast.operations.backup.engines.choosing import engine_of
from holdfast.operations.backup.errors import BackupFailedError
from holdfast.operations.backup.reading import list_backups
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import Manifest
from holdfast.operations.backup.verifying import verify_backup
from holdfast.operations.checksums import read_checksums
from holdfast.settings import Settings
from tests.operations.backup.conftest import NewPlace, backed_up, elsewhere, filled

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[3]
_CREATING = [
    "after write the sentinel",
    "before write to the store",
    "after write to the store",
    "after end a file",
    "before store the bundles",
    "after store a bundle",
    "before finish the upload",
    "after write the manifest",
]
_LOADING = [
    "before pour",
    "before take in the last bytes",
    "after pour",
    "after compare",
    "after write a bundle",
    "after move the bundles",
    "before declare finished",
]


# Where the engines differ; the others are the same code for all of them.
_CREATING_ON_SERVERS = ["before write to the store", "after end a file", "before finish the upload"]
_LOADING_ON_SERVERS = ["before take in the last bytes", "after pour", "before declare finished"]


class Mortal:
    """The process that dies on demand."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def dies(self, action: str, point: str, settings: Settings, **more: Any) -> None:
        values = {name: str(value) if isinstance(value, Path) else value for name, value in _values(settings).items()}
        line = json.dumps({"action": action, "point": point, "settings": values, "replace": False} | more)
        status = await asyncio.wait_for(asyncio.to_thread(self._ask, line), 120)
        assert status == -signal.SIGKILL, f"{action} did not come by {point!r}"

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _values(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.fixture(scope="module")
def mortal() -> Iterator[Mortal]:
    command = [sys.executable, "-m", "tests.operations.backup.dying"]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Mortal(process)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # type: ignore[union-attr]


async def test_a_killed_backup_is_none_and_the_next_one_clears_up(
    mortal: Mortal, engine: str, new_place: NewPlace
) -> None:
    settings = await filled(new_place(engine))
    store = open_store(settings)
    for point in _CREATING if engine == "sqlite" else _CREATING_ON_SERVERS:
        await mortal.dies("create", point, settings)
        assert list_backups(store) == [], point
        # Nobody but a backup's own process looks at what it left.
        manifest = await backed_up(settings)
        assert [each.id for each in list_backups(store)] == [manifest.id], point
        names = [path.name for path in (settings.data_dir / "backups").iterdir()]
        assert names == [manifest.id], point
        assert list((settings.data_dir / "backup-work").iterdir()) == [], point
        assert (await verify_backup(settings, manifest.id)).passed
        store.remove(manifest.id)
    # Once its manifest has its place it counts, whatever became of its maker.
    await mortal.dies("create", "after finish the upload", settings)
    (left,) = list_backups(store)
    assert (await verify_backup(settings, left.id)).passed


async def test_a_killed_restore_serves_nothing_and_is_made_whole_by_the_next(
    mortal: Mortal, engine: str, source: Settings, backup: Manifest, new_place: NewPlace
) -> None:
    for point in _LOADING if engine == "sqlite" else _LOADING_ON_SERVERS:
        there = elsewhere(source, new_place(engine))
        address = parse_address(there.resolved_database_url)
        await mortal.dies("restore", point, there, backup_id=backup.id)
        with pytest.raises(SchemaDriftError, match="run `holdfast backup restore` again"):
            await check_schema(address)
        with pytest.raises((SchemaDriftError, BackupFailedError)):
            await backed_up(there)
        await _restore_again(there, backup)


async def test_a_restore_that_is_killed_before_it_begins_changes_nothing(
    mortal: Mortal, engine: str, source: Settings, backup: Manifest, new_place: NewPlace
) -> None:
    there = await filled(elsewhere(source, new_place(engine)))
    async with open_database(there).running() as database:
        before = await read_checksums(database)
    await mortal.dies("restore", "after verify", there, backup_id=backup.id, replace=True)
    await check_schema(parse_address(there.resolved_database_url))
    async with open_database(there).running() as database:
        assert await read_checksums(database) == before


async def test_a_replacing_restore_that_is_killed_is_run_again(
    mortal: Mortal, engine: str, source: Settings, backup: Manifest, new_place: NewPlace
) -> None:
    points = ["after make room", "after declare finished", *(["after take alone"] if engine == "sqlite" else [])]
    for point in points:
        there = await filled(elsewhere(source, new_place(engine)))
        address = parse_address(there.resolved_database_url)
        await mortal.dies("restore", point, there, backup_id=backup.id, replace=True)
        if point != "after declare finished":
            with pytest.raises(SchemaDriftError, match="run `holdfast backup restore` again"):
                await check_schema(address)
        await _restore_again(there, backup, replace=point != "after make room")


async def _restore_again(there: Settings, backup: Manifest, *, replace: bool = False) -> None:
    await _until_the_dead_is_gone(there)
    done = await restore_backup(there, backup.id, replace=replace, bundles_to=there.resolved_bundle_dir)
    assert done.compared == "checksums"
    await check_schema(parse_address(there.resolved_database_url))
    async with open_database(there).running() as database:
        assert (await read_checksums(database))["users"] == backup.tables["users"]
    stored = msgspec.structs.replace(there, backup_url="")
    if parse_address(there.resolved_database_url).dialect_name == "sqlite":
        beside = [path.name for path in parse_address(stored.resolved_database_url).path.parent.iterdir()]
        assert not [name for name in beside if "restoring" in name]


async def _until_the_dead_is_gone(there: Settings) -> None:
    """A server notices a moment later that nobody is at the other end of a session, and a restore counts those."""
    address = parse_address(there.resolved_database_url)
    async with asyncio.timeout(30):
        while (await engine_of(address.dialect_name).inspect(there, address)).sessions:  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.05)
