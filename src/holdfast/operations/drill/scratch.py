"""Where a drill restores to: a database of the same engine and a folder for bundles, both gone afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from holdfast.core.errors import InvalidInputError
from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.scratch import scratch_at, scratch_beside
from holdfast.operations.backup.running import entered
from holdfast.operations.backup.workspace import workspace
from holdfast.settings import Settings

_FOLDER = "drill-work"
_LONG_SECONDS = 24 * 3600.0


class Scratch(msgspec.Struct, frozen=True):
    """The settings of the scratch database, and a folder for what else the drill needs."""

    settings: Settings
    folder: Path


@asynccontextmanager
async def scratch_for(settings: Settings) -> AsyncIterator[Scratch]:
    """An empty database of the same engine; it goes with the block, as does what a killed drill left."""
    real = parse_address(settings.resolved_database_url)
    async with entered(workspace(settings.data_dir.resolve() / _FOLDER)) as folder:
        if real.dialect_name == "sqlite":
            file = folder / "holdfast.db"
            yield _scratch(settings, parse_address(f"sqlite:///{file}"), folder)
            return
        made = scratch_beside(real)
        if settings.drill_database_url:
            made = scratch_at(_given(settings, real), real)
        async with made as address:
            yield _scratch(settings, address, folder)


def _given(settings: Settings, real: DatabaseAddress) -> DatabaseAddress:
    address = parse_address(settings.drill_database_url)
    if address.dialect_name != real.dialect_name:
        raise InvalidInputError(
            f"HOLDFAST_DRILL_DATABASE_URL names {address.dialect_name}, and the database is {real.dialect_name}: a"
            " backup is restored to the engine that it was made from"
        )
    return address


def _scratch(settings: Settings, address: DatabaseAddress, folder: Path) -> Scratch:
    bundles = folder / "bundles"
    own = msgspec.structs.replace(
        settings,
        database_url=address.text,
        bundle_dir=str(bundles),
        backup_url=settings.backup_url or str((settings.data_dir / "backups").resolve()),
        slow_statement_seconds=_LONG_SECONDS,
        statement_timeout_seconds=_LONG_SECONDS,
        deletion_timeout_seconds=_LONG_SECONDS,
    )
    return Scratch(own, folder)
