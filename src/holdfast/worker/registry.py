"""Which function runs a job of which name, and how often the periodic ones are due."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

from holdfast.core.clock import Clock
from holdfast.db import answers
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.retries import with_retries
from holdfast.features.accounts import jobs as accounts
from holdfast.features.deletions import jobs as deletions
from holdfast.features.deletions import leftover_bundles, retention
from holdfast.settings import Settings

_log = structlog.get_logger("holdfast.worker")

JobFunction = Callable[[Database, Settings, Clock], Awaitable[int]]
OneOffFunction = Callable[[Database, Settings, dict[str, Any], Clock], Awaitable[int]]
Step = Callable[[Transaction], Awaitable[int]]


class PeriodicJob(msgspec.Struct, frozen=True):
    """A job that the cluster runs again and again. `run` returns how many rows it changed.

    `every_days_setting` names the setting that says how often, where one does.
    """

    name: str
    every: timedelta
    run: JobFunction
    every_days_setting: str | None = None

    def interval(self, settings: Settings) -> timedelta:
        """The time from the end of one run to the next."""
        if self.every_days_setting is None:
            return self.every
        return timedelta(days=getattr(settings, self.every_days_setting))


class OneOffJob(msgspec.Struct, frozen=True):
    """A job that is asked for (`db.jobs.enqueue`), with arguments. `run` returns how many rows it changed."""

    name: str
    run: OneOffFunction


async def remove_expired_tokens(database: Database, settings: Settings, clock: Clock) -> int:
    """Session and API tokens that ended a month ago."""
    return await _until_done(database, lambda tx: accounts.remove_expired_tokens(tx, clock))


async def remove_old_sign_in_failures(database: Database, settings: Settings, clock: Clock) -> int:
    """Counts of failed sign-ins whose window is over."""
    before = clock() - timedelta(seconds=settings.sign_in_window_seconds)
    return await _until_done(database, lambda tx: accounts.remove_old_sign_in_failures(tx, before))


async def set_absent_users_offline(database: Database, settings: Settings, clock: Clock) -> int:
    """Users whose last session expired."""
    return await _until_done(database, lambda tx: accounts.set_absent_users_offline(tx, clock))


async def remove_old_answers(database: Database, settings: Settings, clock: Clock) -> int:
    """Answers kept under Idempotency-Keys for longer than the setting says."""
    before = clock() - timedelta(hours=settings.idempotency_hours)
    return await _until_done(database, lambda tx: answers.remove_old(tx, before))


async def resume_purges(database: Database, settings: Settings, clock: Clock) -> int:
    """Purges whose worker died, and whose job was given up."""
    return await _in_transaction(database, lambda tx: deletions.resume_purges(tx, clock))


async def purge_deletion(database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock) -> int:
    """The rows of one deletion, once its recovery bundle is verified."""
    return await deletions.purge_deletion(database, bundle_folder(settings), arguments, clock)


async def cleanup_soft_deleted(database: Database, settings: Settings, clock: Clock) -> int:
    """Deletions whose time is over: bundled and purged."""
    arguments = {"category": "soft-deleted", "days": settings.retention_deleted_days}
    return await cleanup(database, settings, arguments, clock)


async def cleanup_audit_logs(database: Database, settings: Settings, clock: Clock) -> int:
    """Audit entries whose time is over: archived and removed."""
    return await cleanup(database, settings, {"category": "audit-logs", "days": settings.retention_audit_days}, clock)


async def remove_leftover_bundles(database: Database, settings: Settings, clock: Clock) -> int:
    """Bundles prepared for the database's own procedure that nothing needs any more."""
    return await leftover_bundles.remove_leftovers(database, bundle_folder(settings))


async def cleanup(database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock) -> int:
    """What a person or the calendar asks retention for; the numbers stand in the log and in the audit log."""
    report = await retention.run_cleanup(database, bundle_folder(settings), arguments, clock)
    _log.info("cleanup_done", **msgspec.to_builtins(report))
    return sum(report.counts.values())


def bundle_folder(settings: Settings) -> Path:
    """Where bundles go. Only the default folder is made here: one named may be a disk that is not mounted."""
    folder = settings.resolved_bundle_dir
    if not settings.bundle_dir:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


async def _until_done(database: Database, step: Step) -> int:
    """Repeat a bounded step, each in its own transaction, until it finds nothing more."""
    total = 0
    while True:
        changed = await with_retries(partial(_in_transaction, database, step))
        total += changed
        if not changed:
            return total


async def _in_transaction(database: Database, step: Step) -> int:
    async with database.write() as tx:
        return await step(tx)


PERIODIC_JOBS = {
    job.name: job
    for job in (
        PeriodicJob("accounts.remove_expired_tokens", timedelta(hours=1), remove_expired_tokens),
        PeriodicJob("accounts.remove_old_sign_in_failures", timedelta(hours=1), remove_old_sign_in_failures),
        PeriodicJob("accounts.set_absent_users_offline", timedelta(minutes=10), set_absent_users_offline),
        PeriodicJob("answers.remove_old", timedelta(hours=1), remove_old_answers),
        PeriodicJob("deletions.resume_purges", timedelta(minutes=10), resume_purges),
        PeriodicJob("retention.cleanup_audit_logs", timedelta(days=1), cleanup_audit_logs, "cleanup_audit_every_days"),
        PeriodicJob(
            "retention.cleanup_soft_deleted", timedelta(days=30), cleanup_soft_deleted, "cleanup_deleted_every_days"
        ),
        PeriodicJob("retention.remove_leftover_bundles", timedelta(days=1), remove_leftover_bundles),
    )
}
ONE_OFF_JOBS = {
    job.name: job for job in (OneOffJob("deletions.purge", purge_deletion), OneOffJob("retention.cleanup", cleanup))
}
