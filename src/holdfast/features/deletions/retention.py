"""What goes when its time is over: deletions older than so many days, and old entries of the audit log.

The same as the procedures `cleanup_soft_deleted` and `cleanup_audit_logs`, on every engine. Here the bundles are made,
too; the procedures take only what is bundled already.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ForbiddenError
from holdfast.db import jobs
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.bundle import count_closure, in_thread, write_bundle
from holdfast.db.lifecycle.purge import PurgeStep, purge
from holdfast.db.lifecycle.purge_lease import LEASE_SECONDS, LeaseLostError, PurgeWaitsError
from holdfast.db.lifecycle.purge_removal import PurgeFailedError
from holdfast.features.deletions import retention_queries as queries
from holdfast.features.deletions.audit_archives import archive_entries, remove_archived
from holdfast.features.deletions.jobs import PurgeRequest, find_actor, witness_of
from holdfast.features.deletions.leftover_bundles import PREPARED

Category = Literal["soft-deleted", "audit-logs"]
CLEANUP_JOB = "retention.cleanup"


class CleanupForbiddenError(ForbiddenError):
    """Only super administrators clean up."""

    code = "cleanup_forbidden"


class CleanupRequest(msgspec.Struct, frozen=True):
    """The arguments of the job. Without an actor the service itself acts.

    `prepare_only` writes the bundles and removes nothing: the database's own procedure then may.
    """

    category: Category
    days: int
    prepare_only: bool = False
    actor_id: str | None = None
    actor_name: str | None = None


class CleanupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What goes, or what went, and how old it had to be.

    `counts` are rows per table, `set_null` rows per column that stay and lose a pointer. `deletions` are the purged
    ones; `unfinished` are those that are being purged, or that failed and wait for a person.
    """

    category: Category
    days: int
    before: datetime
    counts: dict[str, int]
    set_null: dict[str, int] = {}
    deletions: int = 0
    unfinished: int = 0


class CleanupAsked(msgspec.Struct, frozen=True):
    """A cleanup that a worker will do."""

    job_id: str
    category: Category
    days: int


async def plan_cleanup(
    tx: Transaction, actor: Actor, category: Category, days: int, clock: Clock = utc_now
) -> CleanupReport:
    """What a cleanup would take now, counted and not done."""
    _require_super_admin(actor)
    before = clock() - timedelta(days=days)
    if category == "audit-logs":
        count = await tx.fetch_count(queries.COUNT_OLD_ENTRIES, made_before=before)
        counts = {"audit_logs": count} if count else {}
        return CleanupReport(category=category, days=days, before=before, counts=counts)
    counted = {row.name: row.rows for row in await tx.fetch_all(queries.COUNT_DUE, before=before) if row.rows}
    return CleanupReport(
        category=category,
        days=days,
        before=before,
        deletions=len(await tx.fetch_all(queries.FIND_DUE, before=before)),
        unfinished=await tx.fetch_count(queries.UNFINISHED_PURGES, before=before),
        **_split(counted),
    )


async def request_cleanup(
    tx: Transaction,
    actor: Actor,
    category: Category,
    days: int,
    *,
    prepare_only: bool = False,
    clock: Clock = utc_now,
) -> CleanupAsked:
    """Ask for a cleanup, as a job; super administrators only."""
    _require_super_admin(actor)
    request = CleanupRequest(category, days, prepare_only, actor.user_id, actor.username)
    job_id = await jobs.enqueue(tx, CLEANUP_JOB, msgspec.to_builtins(request), clock=clock)
    return CleanupAsked(job_id=job_id, category=category, days=days)


async def run_cleanup(
    database: Database, folder: Path, arguments: Mapping[str, Any], clock: Clock = utc_now
) -> CleanupReport:
    """Run the job `retention.cleanup`. Safe to repeat: what went is gone, and the rest is due again."""
    request = msgspec.convert(dict(arguments), CleanupRequest)
    try:
        if request.category == "audit-logs":
            return await _cleanup_audit_logs(database, folder, request, clock)
        return await _cleanup_soft_deleted(database, folder, request, clock)
    except (PurgeWaitsError, LeaseLostError) as error:
        raise jobs.PutOffError(error.message, seconds=LEASE_SECONDS) from error


async def _cleanup_soft_deleted(
    database: Database, folder: Path, request: CleanupRequest, clock: Clock
) -> CleanupReport:
    before = clock() - timedelta(days=request.days)
    async with database.read() as tx:
        due = await tx.fetch_all(queries.FIND_DUE, before=before)
    went: Counter[str] = Counter()
    purged = 0
    for deletion in due:
        if not request.prepare_only:
            purged += await _purge(database, folder, deletion.id, request=request, clock=clock, went=went)
        elif deletion.bundle_verified_at is None:
            await _prepare(database, folder, deletion.id, clock)
    async with database.read() as tx:
        unfinished = await tx.fetch_count(queries.UNFINISHED_PURGES, before=before)
    return CleanupReport(
        category=request.category,
        days=request.days,
        before=before,
        deletions=purged,
        unfinished=unfinished,
        **_split(went),
    )


async def _purge(
    database: Database, folder: Path, deletion_id: str, *, request: CleanupRequest, clock: Clock, went: Counter[str]
) -> bool:
    """Purge a deletion, adding what went; whether it is done. One that fails is told on its row."""
    record = await witness_of(database, PurgeRequest(deletion_id, request.actor_id, request.actor_name), clock)
    steps: list[PurgeStep] = []

    async def witness(tx: Transaction, step: PurgeStep) -> None:
        await record(tx, step)
        steps[:] = [step]

    try:
        await purge(database, deletion_id, folder, witness=witness, clock=clock)
    except PurgeFailedError:
        return False
    for step in steps:
        went.update(step.counts)
        went.update(step.set_null)
    return bool(steps)


async def _prepare(database: Database, folder: Path, deletion_id: str, clock: Clock) -> None:
    """Bundle a deletion and leave it deleted. Its purge here would bundle it anew, under the name beside this one."""
    prepared = folder / PREPARED
    await in_thread(partial(prepared.mkdir, exist_ok=True))
    bundle = await write_bundle(database, deletion_id, prepared, made_at=clock(), renew=_nothing_to_renew)
    async with database.write() as tx:
        await tx.allow_long_statements()
        if await count_closure(tx, deletion_id) == bundle.standing:
            await tx.execute(
                queries.SET_BUNDLE,
                deletion_id=deletion_id,
                bundle_path=str(bundle.path),
                bundle_sha256=bundle.reader.sha256,
                bundle_verified_at=bundle.manifest.made_at,
                updated_at=clock(),
            )


async def _nothing_to_renew() -> None:
    """Nothing holds the deletion while its bundle is made: it may be restored meanwhile."""


async def _cleanup_audit_logs(database: Database, folder: Path, request: CleanupRequest, clock: Clock) -> CleanupReport:
    before = clock() - timedelta(days=request.days)
    async with database.read() as tx:
        if not await tx.fetch_count(queries.COUNT_OLD_ENTRIES, made_before=before):
            return CleanupReport(category=request.category, days=request.days, before=before, counts={})
        actor = await find_actor(tx, request.actor_id, request.actor_name)
    description = f"cleanup_audit_logs({request.days})"
    removed = 0
    archived = 1
    while archived:
        # What an earlier run archived, and did not remove, goes first.
        if not request.prepare_only:
            removed += await remove_archived(database, actor, before, description=description, clock=clock)
        archived = await archive_entries(database, folder, before, clock=clock)
    counts = {"audit_logs": removed} if removed else {}
    return CleanupReport(category=request.category, days=request.days, before=before, counts=counts)


def _split(counted: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Rows per table, and rows per column that lose a pointer."""
    return {
        "counts": {name: rows for name, rows in counted.items() if "." not in name},
        "set_null": {name: rows for name, rows in counted.items() if "." in name},
    }


def _require_super_admin(actor: Actor) -> None:
    if not actor.is_super_admin:
        raise CleanupForbiddenError("only super administrators clean up")
