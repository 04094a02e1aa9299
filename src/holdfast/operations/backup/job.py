"""The periodic backup and the one that is asked for: made, checked, and old ones let go."""

import time
from typing import Any

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.db import runs
from holdfast.db.engines.base import Database
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.retention import prune
from holdfast.operations.backup.running import Progress, no_progress
from holdfast.operations.backup.types import RUN, Manifest, Verification
from holdfast.operations.backup.verifying import verify_backup
from holdfast.settings import Settings


async def back_up(database: Database, settings: Settings, clock: Clock = utc_now) -> dict[str, Any]:
    """Make a backup, check it and let old ones go; what is to be seen of that run later."""
    started = time.monotonic()
    manifest = await create_backup(database, settings, clock=clock)
    verification = await verify_backup(settings, manifest.id, clock=clock)
    pruned = await prune(settings, instance=manifest.owner, trusted=manifest.id)
    return detail_of(manifest, verification, time.monotonic() - started) | {"removed": pruned.removed}


async def create_and_record(
    database: Database,
    settings: Settings,
    *,
    verify: bool,
    progress: Progress = no_progress,
    clock: Clock = utc_now,
) -> tuple[Manifest, Verification | None]:
    """Make a backup for an operator, check it where that is asked, and record the run."""
    started, started_at = time.monotonic(), clock()
    manifest = await create_backup(database, settings, progress=progress, clock=clock)
    verification = await verify_backup(settings, manifest.id, progress=progress, clock=clock) if verify else None
    if manifest.sentinel is not None:
        async with database.write() as tx:
            detail = detail_of(manifest, verification, time.monotonic() - started)
            await runs.record(tx, RUN, started_at, "done", detail=detail, clock=clock)
    return manifest, verification


def detail_of(manifest: Manifest, verification: Verification | None, seconds: float) -> dict[str, Any]:
    """What a run of a backup tells of itself."""
    return {
        "id": manifest.id,
        "made_at": msgspec.to_builtins(manifest.made_at),
        "bytes": manifest.stored_size,
        "rows": manifest.rows,
        "bundles": len(manifest.bundles),
        "bundles_missing": len(manifest.bundles_missing),
        "bundles_damaged": len(manifest.bundles_damaged or ()),
        "seconds": round(seconds, 3),
        "verified": None if verification is None else "contents" if verification.contents else "stored bytes",
    }
