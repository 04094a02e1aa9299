"""Exports of old tables and their way back, as tests make them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.key_map import ensure_key_map
from holdfast.db.open import open_database
from holdfast.operations.legacy import key_map
from holdfast.operations.legacy.upgrade.export_folder import Manifest
from holdfast.operations.legacy.upgrade.exporting import load_export, write_export
from holdfast.settings import Settings
from tests.instance import instance_settings
from tests.operations.legacy.old_places import Old


async def export(old: Old, folder: Path, *, entries: int = 3) -> Manifest:
    """Export old tables with a key map of so many entries."""
    async with _keys_in(old, entries) as keys:
        return await write_export(settings_of(old), old.address, old.namespace, folder, keys=keys)


async def load(old: Old, folder: Path) -> tuple[str, ...]:
    """Bring them back."""
    return await load_export(settings_of(old), old.address, old.namespace, folder)


def settings_of(old: Old) -> Settings:
    return instance_settings(old.url, Path("nowhere"))


def entry(number: int) -> dict[str, Any]:
    """An entry of the key map."""
    return {
        "source": "old",
        "table_name": "users" if number % 3 else "forms",
        "old_key": str(number),
        "new_id": f"user_{number}",
        "outcome": "made",
        "notes": '[{"code":"renamed","old":"名\\n"}]' if number % 7 == 0 else "",
        "is_checked": number % 2 == 0,
    }


@asynccontextmanager
async def _keys_in(old: Old, entries: int) -> AsyncIterator[Database]:
    await ensure_key_map(old.address)
    async with open_database(settings_of(old)).running() as database:
        async with database.write() as tx:
            if await tx.fetch_one(key_map.STATE, source="old") is None:
                state = {"flavour": "a flavour", "started_at": utc_now(), "finished_at": None, "audit_ranges": "[]"}
                await tx.execute(key_map.BEGIN, source="old", **state)
                await tx.execute_many(key_map.INSERT, [entry(number) for number in range(entries)])
        yield database
