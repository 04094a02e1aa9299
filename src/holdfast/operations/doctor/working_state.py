"""The working state of the service: jobs and leases that nobody goes on with, and rows whose time is long over."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Column, Select, and_, bindparam, func, not_, null, or_, select, update

from holdfast.db import jobs as job_rows
from holdfast.db import runs
from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.row_format import has_keys, key_parameters
from holdfast.db.statements import Command, Query, any_of, parameters_for
from holdfast.db.statistics.gauges import DRILL_RUN
from holdfast.db.tables import deletions, jobs
from holdfast.features.accounts import queries as account_queries
from holdfast.features.accounts.rules import ADMIN_USERNAME
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.chunked_cure import ChunkedCure
from holdfast.operations.doctor.rows import FaultyRows, FoundRow
from holdfast.operations.doctor.types import Change, Fault, Severity, Subject

_PURGE_JOB = "deletions.purge"
# A lease lasts a minute, and each worker looks for those that ended.
_LEASE_OVER = timedelta(minutes=10)
_LONG_WAIT = timedelta(hours=1)
_DRILL_EVERY = timedelta(days=31)


class JobTime(msgspec.Struct, frozen=True):
    """A job of a name, and when it is due."""

    id: str
    name: str
    state: str
    run_at: datetime
    created_at: datetime


class _Moment(msgspec.Struct, frozen=True):
    value: datetime | None


def _narrowed(*conditions: Any) -> Callable[[Select[Any]], Select[Any]]:
    return lambda rows: rows.where(*conditions)


def _before(column: Column[Any]) -> Any:
    return column < bindparam("before", type_=column.type)


_is_stuck = and_(jobs.c.state == "running", or_(jobs.c.lease_until.is_(None), _before(jobs.c.lease_until)))
_is_abandoned = and_(
    deletions.c.state == "purging", or_(deletions.c.lease_until.is_(None), _before(deletions.c.lease_until))
)
STUCK = FaultyRows("stuck_jobs", "jobs", jobs, _narrowed(_is_stuck))
LATE = FaultyRows(
    "late_jobs",
    "jobs",
    jobs,
    _narrowed(jobs.c.state == "waiting", _before(jobs.c.run_at), not_(any_of(jobs.c.name, "names"))),
)
FAILED = FaultyRows("failed_jobs", "jobs", jobs, _narrowed(jobs.c.state == "failed"))
ABANDONED = FaultyRows("abandoned_purges", "deletions", deletions, _narrowed(_is_abandoned))
FAILED_DELETIONS = FaultyRows("failed_deletions", "deletions", deletions, _narrowed(deletions.c.state == "failed"))
RELEASE_JOBS = Command(
    "doctor.release_jobs",
    update(jobs)
    .where(has_keys(jobs), _is_stuck)
    .values(
        {
            **parameters_for(jobs, "run_at", "updated_at"),
            "state": "waiting",
            "lease_token": null(),
            "lease_until": null(),
        }
    ),
)
RELEASE_PURGES = Command(
    "doctor.release_purges",
    update(deletions)
    .where(has_keys(deletions), _is_abandoned)
    .values({**parameters_for(deletions, "lease_until", "updated_at"), "lease_token": null()}),
)
JOBS_NAMED = Query(
    "doctor.jobs_named",
    select(jobs.c.id, jobs.c.name, jobs.c.state, jobs.c.run_at, jobs.c.created_at)
    .where(any_of(jobs.c.name, "names"), jobs.c.state.in_(("waiting", "running")))
    .order_by(jobs.c.name, jobs.c.run_at, jobs.c.id),
    JobTime,
)
FIRST_JOB: Query[_Moment] = Query("doctor.first_job", select(func.min(jobs.c.created_at).label("value")), _Moment)


async def find_stuck_jobs(subject: Subject) -> AsyncIterator[Fault]:
    """Jobs under way whose lease ended long ago."""
    message = "{count} jobs are said to run, and their workers are gone: no worker takes them over, so none runs"
    before = subject.clock() - _LEASE_OVER
    async for fault in STUCK.fault(subject.database, Severity.WARNING, message, is_curable=True, before=before):
        yield fault


async def find_abandoned_purges(subject: Subject) -> AsyncIterator[Fault]:
    """Purges under way whose lease ended long ago."""
    message = "{count} purges are under way, and their workers are gone: no other purge begins before they end"
    before = subject.clock() - _LEASE_OVER - _LONG_WAIT
    async for fault in ABANDONED.fault(subject.database, Severity.WARNING, message, is_curable=True, before=before):
        yield fault


async def find_late_jobs(subject: Subject) -> AsyncIterator[Fault]:
    """Jobs that have been due for an hour."""
    message = "{count} jobs have been due for more than an hour: start a worker (`holdfast worker`), or more of them"
    # Those of the schedule have a check of their own.
    parameters: dict[str, Any] = {"before": subject.clock() - _LONG_WAIT, "names": sorted(subject.periodic)}
    async for fault in LATE.fault(subject.database, Severity.WARNING, message, **parameters):
        yield fault


async def find_failed(subject: Subject) -> AsyncIterator[Fault]:
    """Jobs and purges that were given up and wait for a person."""
    message = "{count} jobs were given up after their last attempt: `holdfast jobs` shows why, and tries them again"
    async for fault in FAILED.fault(subject.database, Severity.WARNING, message):
        yield fault
    message = "{count} deletions could not be purged: `holdfast deletions list --state failed` tells why"
    async for fault in FAILED_DELETIONS.fault(subject.database, Severity.WARNING, message):
        yield fault


async def find_schedule_faults(subject: Subject) -> AsyncIterator[Fault]:
    """Periodic jobs that are missing, were due an interval ago, or wait for a time much later than their next."""
    async with subject.database.read() as tx:
        first = (await tx.fetch_all(FIRST_JOB))[0].value
        found = {row.name: row for row in await tx.fetch_all(JOBS_NAMED, names=sorted(subject.periodic))}
        started = await _first_start(tx) if first is None and subject.periodic else first
    now = subject.clock()
    if started is None or started > now - _LONG_WAIT:
        # Nothing ran here yet, or hardly.
        return
    if first is None:
        yield Fault(
            severity=Severity.WARNING,
            message="no worker has ever run here, so nothing is purged or backed up: start one (`holdfast worker`)",
            table="jobs",
        )
        return
    for kind, names, is_curable in (
        ("are not in the schedule", [name for name in subject.periodic if name not in found], False),
        ("wait for much later than their interval says", _too_late(subject, found, now), True),
        ("have not run for two intervals", _overdue(subject, found, now), False),
    ):
        if names:
            yield Fault(
                severity=Severity.WARNING,
                message=f"{len(names)} periodic jobs {kind}: a worker that runs puts them right"
                if not is_curable
                else f"{len(names)} periodic jobs {kind}: a clock was wrong, or somebody changed them",
                table="jobs",
                rows=names,
                count=len(names),
                is_curable=is_curable,
            )


async def find_old_drill(subject: Subject) -> AsyncIterator[Fault]:
    """Whether a backup was proven by a restore within a month."""
    async with subject.database.read() as tx:
        first = (await tx.fetch_all(FIRST_JOB))[0].value
        last = await runs.find_latest_done(tx, DRILL_RUN)
    since = last.finished_at if last is not None else first
    longest = max(_DRILL_EVERY, timedelta(days=2 * subject.settings.drill_every_days))
    if since is not None and subject.clock() - since > longest:
        days = (subject.clock() - since).days
        told = f"the last proven restore was {days} days ago" if last else f"no restore was proven in {days} days"
        yield Fault(
            severity=Severity.WARNING,
            message=f"{told}: run `holdfast drill`, so that you know that the backups can be restored",
            table="runs",
        )


class RunNow:
    """Periodic jobs that wait too long are due at once."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        for row in await self._waiting(subject):
            yield self._told(row, "would be due at once")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        for row in await self._waiting(subject):
            change = self._told(row, "is due at once")
            async with subject.database.write() as tx:
                now = subject.clock()
                await tx.execute(SET_DUE, job_id=row.id, run_at=now, updated_at=now)
                await record(tx, subject, change)
            yield change

    async def _waiting(self, subject: Subject) -> list[JobTime]:
        async with subject.database.read() as tx:
            found = {row.name: row for row in await tx.fetch_all(JOBS_NAMED, names=sorted(subject.periodic))}
        return [found[name] for name in _too_late(subject, found, subject.clock())]

    def _told(self, row: JobTime, done: str) -> Change:
        return Change(check="schedule", table="jobs", rows=[row.id], done=f"{row.name} {done}")


SET_DUE = Command(
    "doctor.set_due",
    update(jobs)
    .where(jobs.c.id == bindparam("job_id", type_=jobs.c.id.type), jobs.c.state == "waiting")
    .values(parameters_for(jobs, "run_at", "updated_at")),
)


async def _release_jobs(subject: Subject, tx: Transaction, page: list[FoundRow]) -> None:
    now = subject.clock()
    keys = key_parameters([row.key for row in page])
    await tx.execute(RELEASE_JOBS, **keys, before=now - _LEASE_OVER, run_at=now, updated_at=now)


async def _release_purges(subject: Subject, tx: Transaction, page: list[FoundRow]) -> None:
    now = subject.clock()
    keys = key_parameters([row.key for row in page])
    before = now - _LEASE_OVER - _LONG_WAIT
    await tx.execute(RELEASE_PURGES, **keys, before=before, lease_until=now, updated_at=now)
    for row in page:
        if not await job_rows.is_pending(tx, _PURGE_JOB, deletion_id=row.key_0):
            await job_rows.enqueue(tx, _PURGE_JOB, {"deletion_id": row.key_0}, clock=subject.clock)


async def _first_start(tx: Transaction) -> datetime | None:
    """When a server first started here, which made user `admin`."""
    admin = await tx.fetch_one(account_queries.FIND_CREDENTIALS_NAMED, username=ADMIN_USERNAME)
    if admin is None:
        return None
    (user,) = await tx.fetch_all(account_queries.GET_USER, u_id=admin.u_id)
    return user.created_at


def _overdue(subject: Subject, found: dict[str, JobTime], now: datetime) -> list[str]:
    return [
        name
        for name, every in subject.periodic.items()
        if name in found and found[name].run_at + every + _LONG_WAIT < now
    ]


def _too_late(subject: Subject, found: dict[str, JobTime], now: datetime) -> list[str]:
    return [
        name
        for name, every in subject.periodic.items()
        if name in found and found[name].state == "waiting" and found[name].run_at > now + 2 * every + _LONG_WAIT
    ]


RELEASING_JOBS = ChunkedCure(
    "stuck_jobs",
    STUCK,
    before=lambda subject: subject.clock() - _LEASE_OVER,
    change=_release_jobs,
    would="would be due again at once",
    did="due again at once",
)
RELEASING_PURGES = ChunkedCure(
    "abandoned_purges",
    ABANDONED,
    before=lambda subject: subject.clock() - _LEASE_OVER - _LONG_WAIT,
    change=_release_purges,
    would="would be handed to the next worker",
    did="handed to the next worker",
)
