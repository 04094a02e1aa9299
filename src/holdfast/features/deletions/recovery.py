"""Bringing a purged deletion back from its recovery bundle, with its entry in the audit log."""

from functools import partial
from pathlib import Path

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle import recover as lifecycle
from holdfast.db.lifecycle.recover import Progress, Recovery
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.deletions.roots import find_owning_group
from holdfast.features.deletions.system_actor import get_system_actor


async def check_recovery(database: Database, path: Path, *, progress: Progress | None = None) -> Recovery:
    """What recovering the bundle would do, and what stands against it; nothing is written."""
    return await lifecycle.check_recovery(database, path, progress=progress)


async def recover(
    database: Database, path: Path, *, clock: Clock = utc_now, progress: Progress | None = None
) -> Recovery:
    """Recover a bundle as the service itself: whoever may run commands on the server may do this."""
    return await lifecycle.recover(database, path, witness=partial(_record, clock), clock=clock, progress=progress)


async def _record(clock: Clock, tx: Transaction, done: Recovery) -> None:
    facts = {
        name: msgspec.to_builtins(getattr(done, name))
        for name in ("deletion_id", "inserted", "live", "pointers", "emptied")
    }
    await audit.record(
        tx,
        await get_system_actor(tx),
        Action.RECOVER,
        done.root_type,
        done.root_id,
        label=done.root_label,
        g_id=await find_owning_group(tx, done.root_type, done.root_id, done.deletion_id),
        new=facts,
        description="recovered from its bundle",
        clock=clock,
    )
