"""The loop of a worker: claim, run, settle; then look again."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta

import msgspec
import structlog
from prometheus_client import Counter, Gauge, Histogram

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import HoldfastError
from holdfast.db import jobs
from holdfast.db.engines.base import Database
from holdfast.db.retries import with_retries
from holdfast.settings import Settings
from holdfast.worker.registry import ONE_OFF_JOBS, PERIODIC_JOBS

_log = structlog.get_logger("holdfast.worker")
_LEASE_SECONDS = 60
_GRACE_SECONDS = 5
_POLL_SECONDS = 5

_jobs = Counter("holdfast_jobs", "Jobs run, by name and outcome (done, failed, lost, put_off).", ["job", "outcome"])
_job_seconds = Histogram("holdfast_job_seconds", "Time that a job took.", ["job"])
_waiting = Gauge("holdfast_jobs_waiting", "Jobs that wait, due or not, when the worker last looked.")
_last_success = Gauge("holdfast_job_last_success_timestamp_seconds", "When a job last ended well.", ["job"])


@contextlib.asynccontextmanager
async def running_worker(database: Database, settings: Settings) -> AsyncIterator[None]:
    """A worker beside the block; at its end the job under way is finished first, or interrupted when it takes long."""
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
            while not stop.is_set() and await run_one(database, settings, clock, stop=stop):
                pass
        except HoldfastError as error:
            _log.warning("worker_waits", code=error.code, reason=error.message)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _POLL_SECONDS)


async def run_one(
    database: Database, settings: Settings, clock: Clock = utc_now, *, stop: asyncio.Event | None = None
) -> bool:
    """Claim and run one due job; False when nothing is due.

    A job that is still under way some seconds after `stop` is set is interrupted, and due again at once: jobs are safe
    to repeat.
    """
    job = await jobs.claim(database, _LEASE_SECONDS, clock)
    if job is None:
        return False
    started = time.perf_counter()
    periodic = PERIODIC_JOBS.get(job.name)
    every = None if periodic is None else periodic.interval(settings)
    try:
        changed = await _supervise(database, job, _work_of(job, database, settings, clock), clock, stop)
    except jobs.PutOffError as waiting:
        async with database.write() as tx:
            await jobs.put_off(tx, job, clock() + timedelta(seconds=waiting.seconds), clock)
        _log.info("job_put_off", job=job.name, reason=waiting.message)
        _jobs.labels(job.name, "put_off").inc()
    except Exception as error:  # whatever a job raises is put on its row for a person to see
        _log.warning("job_failed", job=job.name, attempts=job.attempts, exc_info=error)
        async with database.write() as tx:
            again_at = None if every is None else clock() + every
            failure = f"{type(error).__name__}: {error}"
            await jobs.fail(tx, job, failure, next_run_at=again_at, clock=clock)
        _jobs.labels(job.name, "failed").inc()
    else:
        await _finish(database, job, every, clock)
        _log.info("job_done", job=job.name, changed=changed)
    _job_seconds.labels(job.name).observe(time.perf_counter() - started)
    return True


def _work_of(job: jobs.Job, database: Database, settings: Settings, clock: Clock) -> Awaitable[int]:
    periodic, one_off = PERIODIC_JOBS.get(job.name), ONE_OFF_JOBS.get(job.name)
    if periodic is not None:
        return periodic.run(database, settings, clock)
    if one_off is not None:
        return one_off.run(database, settings, msgspec.json.decode(job.arguments), clock)
    raise HoldfastError(f"this version knows no job {job.name}")


async def _supervise(
    database: Database, job: jobs.Job, work: Awaitable[int], clock: Clock, stop: asyncio.Event | None
) -> int:
    """The result of the job's work, while its lease is renewed; the work ends with the lease, or soon after `stop`."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future((stop or asyncio.Event()).wait())
    try:
        while not working.done():
            awaited = {working} if stopping.done() else {working, stopping}
            seconds = _GRACE_SECONDS if stopping.done() else _LEASE_SECONDS / 3
            done, _ = await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and not done:
                raise jobs.PutOffError("the worker ends", seconds=0)
            if not done and not await _is_held(database, job, clock):
                raise jobs.PutOffError("another worker took the job over", seconds=0)
        return working.result()
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait([working])


async def _is_held(database: Database, job: jobs.Job, clock: Clock) -> bool:
    try:
        async with database.write() as tx:
            return await jobs.heartbeat(tx, job, _LEASE_SECONDS, clock)
    except HoldfastError as error:
        # A database that is away for a moment takes nobody's lease.
        _log.warning("heartbeat_failed", job=job.name, code=error.code, reason=error.message)
        return True


async def _finish(database: Database, job: jobs.Job, every: timedelta | None, clock: Clock) -> None:
    async with database.write() as tx:
        held = await jobs.finish(tx, job, next_run_at=None if every is None else clock() + every, clock=clock)
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
