"""Which function runs a job of which name, and how often the periodic ones are due.

To register a periodic job, add a line to `PERIODIC_JOBS`: `PeriodicJob("feature.verb", timedelta(days=1), run)`, with
`run(database, settings, clock)` an async function above that calls the feature or operation. It returns how many rows
it changed, or `jobs.Done(changed, detail)` with what is to be seen of the run later: the worker writes the run, with
its detail, to `runs` (`holdfast jobs runs`), so the function does not. `every_setting` names the setting that says how
often, whose last word is its unit (`backup_every_hours`); 0 turns the job off, where the setting may be 0. A job that
may take longer than some seconds is `is_long`: it never takes the place kept for short ones, and is interrupted at once
when the worker ends, as every job may be at any moment: it must be safe to repeat. One that fails raises an error with
a sentence for people; a one-off job is then tried again, and is a dead letter after the last attempt. What may be
written once only goes into the transaction that settles the job: return a function of that transaction (`jobs.Apply`).
"""

import importlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

from holdfast.core.clock import Clock
from holdfast.db import answers, jobs, runs
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.retries import with_retries
from holdfast.db.statistics.gauges import DRILL_RUN
from holdfast.features.accounts import jobs as accounts
from holdfast.features.deletions import jobs as deletions
from holdfast.features.deletions import leftover_bundles, retention
from holdfast.features.jobs import jobs as job_records
from holdfast.operations import statistics
from holdfast.operations.backup import types as backup
from holdfast.operations.doctor.service import EXAMINE_JOB
from holdfast.operations.doctor.types import RUN as DOCTOR_RUN
from holdfast.settings import Settings

_log = structlog.get_logger("holdfast.worker")

JobFunction = Callable[[Database, Settings, Clock], Awaitable[jobs.Result]]
OneOffFunction = Callable[[Database, Settings, dict[str, Any], Clock], Awaitable[jobs.Result]]
Step = Callable[[Transaction], Awaitable[int]]


class PeriodicJob(msgspec.Struct, frozen=True):
    """A job that the cluster runs again and again."""

    name: str
    every: timedelta
    run: JobFunction
    every_setting: str | None = None
    is_long: bool = False

    def interval(self, settings: Settings) -> timedelta | None:
        """The time from one run to the next; None where the job is turned off."""
        if self.every_setting is None:
            return self.every
        unit = self.every_setting.rpartition("_")[2]
        return timedelta(**{unit: getattr(settings, self.every_setting)}) or None


class OneOffJob(msgspec.Struct, frozen=True):
    """A job that is asked for (`db.jobs.enqueue`), with arguments."""

    name: str
    run: OneOffFunction
    is_long: bool = False


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


async def cleanup_soft_deleted(database: Database, settings: Settings, clock: Clock) -> jobs.Done:
    """Deletions whose time is over: bundled and purged."""
    arguments = {"category": "soft-deleted", "days": settings.retention_deleted_days}
    return await cleanup(database, settings, arguments, clock)


async def cleanup_audit_logs(database: Database, settings: Settings, clock: Clock) -> jobs.Done:
    """Audit entries whose time is over: archived and removed."""
    return await cleanup(database, settings, {"category": "audit-logs", "days": settings.retention_audit_days}, clock)


async def remove_leftover_bundles(database: Database, settings: Settings, clock: Clock) -> int:
    """Bundles prepared for the database's own procedure that nothing needs any more."""
    return await leftover_bundles.remove_leftovers(database, bundle_folder(settings))


async def cleanup(database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock) -> jobs.Done:
    """What a person or the calendar asks retention for; the numbers stand with the run and in the logs."""
    report = await retention.run_cleanup(database, bundle_folder(settings), arguments, clock)
    detail = msgspec.to_builtins(report)
    _log.info("cleanup_done", **detail)
    return jobs.Done(sum(report.counts.values()), detail)


async def remove_old_runs(database: Database, settings: Settings, clock: Clock) -> jobs.Done:
    """Records of runs, and jobs that are done, that are old."""
    before = clock() - timedelta(days=settings.retention_runs_days)
    gone_runs = await _until_done(database, lambda tx: runs.remove_old(tx, before))
    gone_jobs = await _until_done(database, lambda tx: job_records.remove_old_jobs(tx, before))
    return jobs.Done(gone_runs + gone_jobs, {"runs": gone_runs, "jobs": gone_jobs})


async def take_statistics(database: Database, settings: Settings, clock: Clock) -> jobs.Done:
    """How big everything is today, kept with the run, so that its growth can be seen."""
    return jobs.Done(detail=await statistics.take_statistics(database))


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
        changed = await step(tx)
        if changed:
            await jobs.require_held(tx)
        return changed


async def make_backup(database: Database, settings: Settings, clock: Clock) -> jobs.Done:
    """A backup of the whole, checked; then old ones go."""
    # What it needs takes room, and most workers of a cluster never make one.
    module = await in_thread(importlib.import_module, "holdfast.operations.backup.job")
    made = await module.back_up(database, settings, clock)
    return jobs.Done(0, made)


async def make_backup_asked_for(
    database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock
) -> jobs.Done:
    """As the calendar's, at once."""
    return await make_backup(database, settings, clock)


async def make_drill(database: Database, settings: Settings, clock: Clock) -> jobs.Done:
    """A restore of the newest backup to a scratch database, looked through, and dropped."""
    module = await in_thread(importlib.import_module, "holdfast.operations.drill.job")
    done: jobs.Done = await module.run(database, settings, clock)
    return done


async def examine(database: Database, settings: Settings, clock: Clock) -> jobs.Done:
    """Everything that must hold, asked once a day; what was found stands with the run."""
    module = await in_thread(importlib.import_module, "holdfast.operations.doctor.jobs")
    done: jobs.Done = await module.examine_daily(database, settings, intervals_of(settings), clock)
    return done


async def examine_as_asked_for(
    database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock
) -> jobs.Done:
    """The same, because somebody asked."""
    module = await in_thread(importlib.import_module, "holdfast.operations.doctor.jobs")
    done: jobs.Done = await module.examine_now(database, settings, intervals_of(settings), clock)
    return done


PERIODIC_JOBS = {
    job.name: job
    for job in (
        PeriodicJob(DRILL_RUN, timedelta(days=7), make_drill, "drill_every_days", is_long=True),
        PeriodicJob(backup.RUN, timedelta(days=1), make_backup, "backup_every_hours", is_long=True),
        PeriodicJob("accounts.remove_expired_tokens", timedelta(hours=1), remove_expired_tokens),
        PeriodicJob("accounts.remove_old_sign_in_failures", timedelta(hours=1), remove_old_sign_in_failures),
        PeriodicJob("accounts.set_absent_users_offline", timedelta(minutes=10), set_absent_users_offline),
        PeriodicJob("answers.remove_old", timedelta(hours=1), remove_old_answers),
        PeriodicJob("deletions.resume_purges", timedelta(minutes=10), resume_purges),
        PeriodicJob(
            "retention.cleanup_audit_logs",
            timedelta(days=1),
            cleanup_audit_logs,
            "cleanup_audit_every_days",
            is_long=True,
        ),
        PeriodicJob(
            "retention.cleanup_soft_deleted",
            timedelta(days=30),
            cleanup_soft_deleted,
            "cleanup_deleted_every_days",
            is_long=True,
        ),
        PeriodicJob(DOCTOR_RUN, timedelta(days=1), examine, "doctor_every_days", is_long=True),
        PeriodicJob("retention.remove_leftover_bundles", timedelta(days=1), remove_leftover_bundles),
        PeriodicJob("runs.remove_old", timedelta(days=1), remove_old_runs),
        PeriodicJob("statistics.take", timedelta(days=1), take_statistics, is_long=True),
    )
}
ONE_OFF_JOBS = {
    job.name: job
    for job in (
        OneOffJob("deletions.purge", purge_deletion, is_long=True),
        OneOffJob(EXAMINE_JOB, examine_as_asked_for, is_long=True),
        OneOffJob("retention.cleanup", cleanup, is_long=True),
        OneOffJob(backup.ASKED_RUN, make_backup_asked_for, is_long=True),
    )
}


def intervals_of(settings: Settings) -> dict[str, timedelta | None]:
    """How often each periodic job comes; None for those that are turned off."""
    return {name: job.interval(settings) for name, job in PERIODIC_JOBS.items()}


def is_long(name: str) -> bool:
    """Whether a job of this name may take longer than some seconds."""
    job = PERIODIC_JOBS.get(name) or ONE_OFF_JOBS.get(name)
    return job is not None and job.is_long


def long_jobs() -> frozenset[str]:
    """The names of those that may take longer than some seconds."""
    return frozenset(name for name in (*PERIODIC_JOBS, *ONE_OFF_JOBS) if is_long(name))
