"""A database with rows of every kind, its export, and places to import it."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Raw

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.db.tables import audit_logs, deletions
from holdfast.operations.demo.faculty import SIZES
from holdfast.operations.demo.service import fill_with_demo
from holdfast.operations.transfer.exporting import export_instance
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.db.rows import make_row, run
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
async def source(new_place: NewPlace) -> Settings:
    """An instance on SQLite with the demo, odd rows, deletions, bundles, and numbers of removed audit entries."""
    settings = new_place("sqlite")
    await migrate(parse_address(settings.resolved_database_url))
    async with open_database(settings).running() as database:
        await fill_with_demo(database, settings, size=next(iter(SIZES)))
        await add_odd_rows(database)
        for folder in (settings.resolved_bundle_dir, settings.resolved_bundle_dir / "prepared"):
            await _add_bundle(database, folder)
        removed = (await make_row(database, audit_logs, id=2**53 + 7))["id"]
        await run(database, f"DELETE FROM audit_logs WHERE id = {removed}")
    return settings


@pytest.fixture(scope="session")
async def export(source: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of `source`, which tests leave as it is."""
    path = tmp_path_factory.mktemp("exports") / "instance.zip"
    await export_instance(source, path)
    return path


async def _add_bundle(database: Database, folder: Path) -> None:
    deletion_id = new_long_id()
    path = folder / f"{deletion_id}.bundle.zip"
    content = f"the bundle of {deletion_id}".encode() * 1000
    await asyncio.to_thread(_write, path, content)
    await make_row(
        database,
        deletions,
        id=deletion_id,
        root_type="project",
        state="purged",
        planned_counts=Raw(b"{}"),
        bundle_path=str(path),
        bundle_sha256=hashlib.sha256(content).hexdigest(),
        bundle_verified_at=utc_now(),
    )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
