"""A database with rows of every kind and two bundles, its backup, and places to restore it."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.db.tables import audit_archives, deletions
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.types import Manifest
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.db.rows import make_row
from tests.instance import instance_settings
from tests.operations.odd_rows import add_odd_rows

NewPlace = Callable[[str], Settings]


@pytest.fixture(scope="session")
def new_place(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> NewPlace:
    """The settings of a new, empty database of an engine, with a folder of its own."""

    def make(engine: str) -> Settings:
        return instance_settings(new_database(engine), tmp_path_factory.mktemp(engine))

    return make


@pytest.fixture(scope="session")
async def source(engine: str, new_place: NewPlace) -> Settings:
    """An instance with odd rows and bundles, which tests leave as it is."""
    return await filled(new_place(engine))


@pytest.fixture(scope="session")
async def backup(source: Settings) -> Manifest:
    """The backup of `source`, in its default folder, which tests leave as it is."""
    return await backed_up(source)


async def filled(settings: Settings) -> Settings:
    await migrate(parse_address(settings.resolved_database_url))
    async with open_database(settings).running() as database:
        await add_odd_rows(database)
        await add_bundle(database, settings.resolved_bundle_dir)
        await add_archive(database, settings.resolved_bundle_dir / "prepared")
    return settings


async def backed_up(settings: Settings) -> Manifest:
    async with open_database(settings).running() as database:
        return await create_backup(database, settings)


def elsewhere(settings: Settings, place: Settings) -> Settings:
    """The settings of another machine, with the store of the first."""
    store = settings.backup_url or str(settings.data_dir / "backups")
    return msgspec.structs.replace(
        place,
        backup_url=store,
        backup_identity_file=settings.backup_identity_file,
        postgresql_bin=settings.postgresql_bin,
    )


async def add_bundle(database: Database, folder: Path) -> Path:
    deletion_id = new_long_id()
    path, sha256 = await asyncio.to_thread(_write, folder, deletion_id)
    await make_row(
        database,
        deletions,
        id=deletion_id,
        root_type="project",
        state="purged",
        planned_counts=Raw(b"{}"),
        bundle_path=str(path),
        bundle_sha256=sha256,
        bundle_verified_at=utc_now(),
    )
    return path


async def add_archive(database: Database, folder: Path) -> Path:
    archive_id = new_long_id()
    path, sha256 = await asyncio.to_thread(_write, folder, archive_id)
    await make_row(
        database,
        audit_archives,
        id=archive_id,
        first_id=1,
        last_id=2,
        row_count=2,
        bundle_path=str(path),
        bundle_sha256=sha256,
    )
    return path


def _write(folder: Path, name: str) -> tuple[Path, str]:
    folder.mkdir(parents=True, exist_ok=True)
    path, content = folder / f"{name}.bundle.zip", f"the bundle of {name}".encode() * 1000
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()
