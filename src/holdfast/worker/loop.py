"""The loop of a worker: claim, run, settle; then look again."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import structlog
from prometheus_client import Counter, Gauge, Histogram

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import HoldfastError
from holdfast.db import jobs
from holdfast.db.engines.base import Database
from holdfast.db.retries import with_retries
from holdfast.settings import Settings
from holdfast.worker.registry import PERIODIC_JOBS, PeriodicJob

_log = structlog.get_logger("holdfast.worker")
_LEASE_SECONDS = 300
_POLL_SECONDS = 5

_jobs = Counter("holdfast_jobs", "Jobs run, by name and outcome (done, failed, lost).", ["job", "outcome"])
_job_seconds = Histogram("holdfast_job_seconds", "Time that a job took.", ["job"])
_waiting = Gauge("holdfast_jobs_waiting", "Jobs that wait, due or not, when the worker last looked.")
_last_success = Gauge("holdfast_job_last_success_timestamp_seconds", "When a job last ended well.", ["job"])


@contextlib.asynccontextmanager
async def running_worker(database: Database, settings: Settings) -> AsyncIterator[None]:
    """A worker beside the block; at its end the job under way is finished first."""
    stop = asyncio.Event()
    working = asyncio.create_task(work(database, settings, stop))
    try:
        yield
    finally:
        stop.set()
        await working


async def work(database: Database, settings: Settings, stop: asyncio.Event, clock: Clock = utc_now) -> None:
    """Run jobs until `stop` is set. A database that is away is waited for."""
    while not stop.is_set():
        try:
            await _ensure_periodic_jobs(database, clock)
            while not stop.is_set() and await run_one(database, settings, clock):
                pass
        except HoldfastError as error:
            _log.warning("worker_waits", code=error.code, reason=error.message)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _POLL_SECONDS)


async def run_one(database: Database, settings: Settings, clock: Clock = utc_now) -> bool:
    """Claim and run one due job; False when nothing is due."""
    job = await jobs.claim(database, _LEASE_SECONDS, clock)
    if job is None:
        return False
    started = time.perf_counter()
    periodic = PERIODIC_JOBS.get(job.name)
    try:
        if periodic is None:
            raise HoldfastError(f"this version knows no job {job.name}")  # noqa: TRY301 - settled like any failure
        changed = await periodic.run(database, settings, clock)
    except Exception as error:  # whatever a job raises is put on its row for a person to see
        _log.warning("job_failed", job=job.name, attempts=job.attempts, exc_info=error)
        async with database.write() as tx:
            again_at = None if periodic is None else clock() + periodic.every
            failure = f"{type(error).__name__}: {error}"
            await jobs.fail(tx, job, failure, next_run_at=again_at, clock=clock)
        _jobs.labels(job.name, "failed").inc()
    else:
        await _finish(database, job, periodic, clock)
        _log.info("job_done", job=job.name, changed=changed)
    _job_seconds.labels(job.name).observe(time.perf_counter() - started)
    return True


async def _finish(database: Database, job: jobs.Job, periodic: PeriodicJob, clock: Clock) -> None:
    async with database.write() as tx:
        held = await jobs.finish(tx, job, next_run_at=clock() + periodic.every, clock=clock)
        _waiting.set(await jobs.count_waiting(tx))
    _jobs.labels(job.name, "done" if held else "lost").inc()
    _last_success.labels(job.name).set(clock().timestamp())


async def _ensure_periodic_jobs(database: Database, clock: Clock) -> None:
    async def attempt() -> None:
        async with database.write() as tx:
            for name in PERIODIC_JOBS:
                await jobs.ensure_periodic(tx, name, clock)

    # All replicas do this at their start.
    await with_retries(attempt)
