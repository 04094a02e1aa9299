"""An instance with the demo, a deletion that was purged, and a backup made while others write."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle_file import manifest_text
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.types import MANIFEST, Manifest
from holdfast.operations.demo.faculty import SIZES
from holdfast.operations.demo.service import fill_with_demo
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.instance import instance_settings

NewStore = Callable[[], Settings]


@pytest.fixture(scope="session")
async def drilled(engine: str, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The instance with its backup; tests leave both as they are."""
    settings = instance_settings(new_database(engine), tmp_path_factory.mktemp(f"drill-{engine}"))
    await migrate(parse_address(settings.resolved_database_url))
    async with open_database(settings).running() as database:
        await fill_with_demo(database, settings, size=next(iter(SIZES)))
        async with _writers(database):
            await create_backup(database, settings)
    return settings


@pytest.fixture
def new_store(drilled: Settings, tmp_path: Path) -> NewStore:
    """Copies the store of backups, for a test that damages it: the settings of the instance with that store."""

    def copy() -> Settings:
        shutil.copytree(_store_of(drilled), tmp_path / "store")
        return msgspec.structs.replace(drilled, backup_url=str(tmp_path / "store"))

    return copy


def _store_of(settings: Settings) -> Path:
    """The folder of backups."""
    return Path(settings.backup_url or settings.data_dir / "backups")


def newest_in(settings: Settings) -> Path:
    """The folder of the newest backup."""
    return max(_store_of(settings).iterdir())


def rewrite_manifest(settings: Settings, change: Callable[[Manifest], Manifest]) -> None:
    """Change what the manifest of the newest backup says, and make its digest fit."""
    path = newest_in(settings) / MANIFEST
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    path.write_bytes(manifest_text(change(manifest)))


@contextlib.asynccontextmanager
async def _writers(database: Database) -> AsyncIterator[None]:
    """Others who write while the block runs."""
    stop = asyncio.Event()

    async def write(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            async with database.write() as tx:
                await tx.fetch_text(
                    "INSERT INTO sign_in_failures (subject, failures, window_started_at)"
                    f" SELECT '{name}-{number}', 1, created_at FROM users WHERE username = 'admin'"
                )
            await asyncio.sleep(0.005)

    writing = [asyncio.create_task(write(f"writer-{number}")) for number in range(4)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*writing)
