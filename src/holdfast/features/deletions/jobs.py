"""What the worker does for deletions: the purge, with its entries in the audit log."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
from sqlalchemy import bindparam, select

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.db import jobs
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle import purge_statements
from holdfast.db.lifecycle.purge import PurgeStep, Witness, purge
from holdfast.db.lifecycle.purge_lease import LEASE_SECONDS, LeaseLostError, PurgeWaitsError
from holdfast.db.lifecycle.purge_removal import PurgeFailedError
from holdfast.db.statements import Query
from holdfast.db.tables import users
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.deletions import queries
from holdfast.features.deletions.roots import find_owning_group
from holdfast.features.deletions.system_actor import get_system_actor

PURGE_JOB = "deletions.purge"
_WAIT_SECONDS = 5
# Longer than a lease, so that a worker that is only slow is left alone.
_ABANDONED_AFTER = timedelta(minutes=5)

_log = structlog.get_logger("holdfast.deletions")


class PurgeRequest(msgspec.Struct, frozen=True):
    """The arguments of the job. Without an actor the service itself acts, as retention does."""

    deletion_id: str
    actor_id: str | None = None
    actor_name: str | None = None


class _UserId(msgspec.Struct, frozen=True):
    u_id: str


# The audit row hangs on whoever asked, also where they were deleted meanwhile.
_FIND_ACTOR = Query(
    "deletions.find_actor_include_deleted",
    select(users.c.u_id).where(users.c.u_id == bindparam("u_id", type_=users.c.u_id.type)),
    _UserId,
)


async def purge_deletion(database: Database, folder: Path, arguments: dict[str, Any], clock: Clock = utc_now) -> int:
    """Run the job `deletions.purge`; how many rows went.

    A purge that fails is told on the deletion's row, where a person asks for it again; the job itself is done.
    """
    request = msgspec.convert(arguments, PurgeRequest)
    witness = await witness_of(database, request, clock)
    try:
        return await purge(database, request.deletion_id, folder, witness=witness, clock=clock)
    except PurgeWaitsError as error:
        raise jobs.PutOffError(error.message, seconds=_WAIT_SECONDS) from error
    except LeaseLostError as error:
        raise jobs.PutOffError(error.message, seconds=LEASE_SECONDS) from error
    except PurgeFailedError as error:
        _log.warning("purge_failed", deletion=request.deletion_id, reason=error.message)
        return 0


async def resume_purges(tx: Transaction, clock: Clock = utc_now) -> int:
    """Ask again for purges that stand still and that no job is about to go on with; how many."""
    before = clock() - _ABANDONED_AFTER
    asked = 0
    for row in await tx.fetch_all(purge_statements.ABANDONED_PURGES, before=before):
        if not await jobs.is_pending(tx, PURGE_JOB, deletion_id=row.id):
            await jobs.enqueue(tx, PURGE_JOB, {"deletion_id": row.id}, clock=clock)
            asked += 1
    return asked


async def witness_of(database: Database, request: PurgeRequest, clock: Clock = utc_now) -> Witness:
    """Who tells the audit log of a purge that begins and ends."""
    async with database.read() as tx:
        deletion = await tx.fetch_one(queries.GET_DELETION, deletion_id=request.deletion_id)
        # Now, because the root is gone when the purge ends.
        g_id = (
            None if deletion is None else await find_owning_group(tx, deletion.root_type, deletion.root_id, deletion.id)
        )
    return partial(_record_step, request, g_id, clock)


async def _record_step(request: PurgeRequest, g_id: str | None, clock: Clock, tx: Transaction, step: PurgeStep) -> None:
    facts = {
        "deletion_id": step.deletion.id,
        "counts": step.counts,
        "set_null": step.set_null,
        "bundle_path": step.bundle_path,
        "bundle_sha256": step.bundle_sha256,
    }
    await audit.record(
        tx,
        await find_actor(tx, request.actor_id, request.actor_name),
        Action.PURGE,
        step.deletion.root_type,
        step.deletion.root_id,
        label=step.deletion.root_label,
        g_id=g_id,
        new=facts,
        description="purged" if step.done else "the bundle is verified: its rows are removed from now on",
        clock=clock,
    )


async def find_actor(tx: Transaction, actor_id: str | None, actor_name: str | None) -> Actor:
    """Who asked for a job, as long as their row is there; otherwise the service itself."""
    if actor_id is not None:
        found = await tx.fetch_one(_FIND_ACTOR, u_id=actor_id)
        if found is not None:
            return Actor(user_id=found.u_id, username=actor_name or "", is_super_admin=True)
    return await get_system_actor(tx)
