"""Looking at jobs, runs and the schedule, and deciding about dead letters."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.pages import Page, PageRequest
from holdfast.db.engines.base import Transaction
from holdfast.db.schedule import periodic_id
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.jobs import queries
from holdfast.features.jobs.errors import (
    JobNotFailedError,
    JobNotFoundError,
    JobsForbiddenError,
    JobUnderWayError,
    ScheduleNotFoundError,
)
from holdfast.features.jobs.types import JobRow, LastDone, LastRun, PeriodicJobRow, RunRow, Schedule, ScheduledJob


async def list_jobs(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[JobRow]:
    """All jobs, the newest first."""
    _require_super_admin(actor)
    return await queries.JOBS.fetch_page(tx, page, cursor_key=cursor_key, **filters)


async def list_runs(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[RunRow]:
    """All runs, of jobs and of operators' commands, the newest first."""
    _require_super_admin(actor)
    return await queries.RUNS.fetch_page(tx, page, cursor_key=cursor_key, **filters)


async def get_job(tx: Transaction, actor: Actor, job_id: str) -> JobRow:
    """One job."""
    _require_super_admin(actor)
    found = await tx.fetch_one(queries.GET_JOB, job_id=job_id)
    if found is None:
        raise JobNotFoundError(job_id)
    return found


async def retry_job(tx: Transaction, actor: Actor, job_id: str, clock: Clock = utc_now) -> JobRow:
    """Let a dead letter be tried again, as often as a new job."""
    dead = await _lock_dead_letter(tx, actor, job_id)
    due = await _make_due(tx, dead, clock)
    old = {"state": dead.state, "attempts": dead.attempts, "failure": dead.failure}
    await _record(tx, actor, Action.UPDATE, dead, old=old, new={"state": due.state}, said="tried again", clock=clock)
    return due


async def discard_job(tx: Transaction, actor: Actor, job_id: str, clock: Clock = utc_now) -> JobRow:
    """Remove a dead letter; the audit log keeps what it was. The job as it stood."""
    dead = await _lock_dead_letter(tx, actor, job_id)
    await tx.execute(queries.DISCARD_JOB, job_id=job_id)
    old = {"name": dead.name, "arguments": dead.arguments, "attempts": dead.attempts, "failure": dead.failure}
    await _record(tx, actor, Action.DELETE, dead, old=old, said="discarded", clock=clock)
    return dead


async def run_now(tx: Transaction, actor: Actor, name: str, clock: Clock = utc_now) -> ScheduledJob:
    """Let a periodic job be due now; its next times stay as they are."""
    _require_super_admin(actor)
    found = await tx.fetch_one(queries.LOCK_JOB, job_id=periodic_id(name))
    if found is None or found.every_seconds is None:
        raise ScheduleNotFoundError(name)
    if found.state == "running":
        raise JobUnderWayError(name)
    await _make_due(tx, found, clock)
    await _record(tx, actor, Action.UPDATE, found, old={"run_at": found.run_at}, said="asked for now", clock=clock)
    schedule = await read_schedule(tx, clock)
    return next(each for each in schedule.items if each.name == name)


async def get_schedule(tx: Transaction, actor: Actor, clock: Clock = utc_now) -> Schedule:
    """All periodic jobs: when they last ran, with which outcome, and when they are due."""
    _require_super_admin(actor)
    return await read_schedule(tx, clock)


async def read_schedule(tx: Transaction, clock: Clock = utc_now) -> Schedule:
    """As `get_schedule`, for metrics, which nobody asks for."""
    now = clock()
    last_runs = {run.name: run for run in await tx.fetch_all(queries.LAST_RUNS)}
    last_done = {run.name: run for run in await tx.fetch_all(queries.LAST_DONE)}
    rows = await tx.fetch_all(queries.PERIODIC_JOBS)
    failed = await tx.fetch_count(queries.COUNT_FAILED)
    return Schedule([_scheduled(row, last_runs, last_done, now) for row in rows], failed)


def _scheduled(
    row: PeriodicJobRow, last_runs: Mapping[str, LastRun], last_done: Mapping[str, LastDone], now: datetime
) -> ScheduledJob:
    is_running = row.state == "running"
    # The lease of a worker that lives lies ahead; a job whose worker died waits for another since it ended.
    waits_since = row.run_at if not is_running else (row.lease_until or now)
    last = last_runs.get(row.name)
    done = last_done.get(row.name)
    scheduled = ScheduledJob(
        name=row.name,
        every_seconds=row.every_seconds,
        due_at=row.run_at,
        overdue_seconds=max((now - waits_since).total_seconds(), 0.0),
        is_running=is_running,
        running_since=row.started_at if is_running else None,
        host=row.host if is_running else None,
        attempts=row.attempts,
        last_done_at=None if done is None else done.finished_at,
    )
    if last is None:
        return scheduled
    return msgspec.structs.replace(
        scheduled,
        last_started_at=last.started_at,
        last_finished_at=last.finished_at,
        last_seconds=round((last.finished_at - last.started_at).total_seconds(), 3),
        last_outcome=last.outcome,
        failure=last.failure,
    )


async def _lock_dead_letter(tx: Transaction, actor: Actor, job_id: str) -> JobRow:
    _require_super_admin(actor)
    found = await tx.fetch_one(queries.LOCK_JOB, job_id=job_id)
    if found is None:
        raise JobNotFoundError(job_id)
    if found.state != "failed":
        raise JobNotFailedError(found.state)
    return found


async def _make_due(tx: Transaction, job: JobRow, clock: Clock) -> JobRow:
    now = clock()
    await tx.execute(
        queries.MAKE_DUE, job_id=job.id, new_state="waiting", new_attempts=0, new_run_at=now, new_updated_at=now
    )
    return msgspec.structs.replace(job, state="waiting", attempts=0, run_at=now, updated_at=now)


async def _record(
    tx: Transaction,
    actor: Actor,
    action: Action,
    job: JobRow,
    *,
    old: dict[str, Any],
    said: str,
    clock: Clock,
    new: dict[str, Any] | None = None,
) -> None:
    await audit.record(
        tx, actor, action, "job", job.id, label=job.name, old=old, new=new, description=said, clock=clock
    )


def _require_super_admin(actor: Actor) -> None:
    if not actor.is_super_admin:
        raise JobsForbiddenError
