"""One run of one job: its work while the lease is renewed, and how it is settled."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import msgspec
import structlog
from prometheus_client import Counter, Histogram

from holdfast.core.clock import Clock
from holdfast.core.errors import HoldfastError, UnavailableError
from holdfast.core.pages import PageRequest
from holdfast.db import jobs
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import CommitOutcomeUnknownError
from holdfast.db.retries import with_retries
from holdfast.features.jobs import queries
from holdfast.settings import Settings
from holdfast.worker.registry import ONE_OFF_JOBS, PERIODIC_JOBS, is_long

Settled = TypeVar("Settled")

_log = structlog.get_logger("holdfast.worker")
_GRACE_SECONDS = 5.0
_SECONDS_BETWEEN_SETTLINGS = 0.5
# A release that knows the job may be on its way.
_UNKNOWN_WAITS_SECONDS = 60
_UNKNOWN_WAITS_AT_MOST = timedelta(days=1)
_STOPPED = "the worker ended"

_jobs = Counter("holdfast_jobs", "Jobs run, by name and outcome (done, failed, lost, put_off).", ["job", "outcome"])
_job_seconds = Histogram("holdfast_job_seconds", "Time that a job took.", ["job"])


class _InterruptedError(Exception):
    """The worker ends while the job is under way."""


class RunningJob:
    """A claimed job, from its start until its row is settled."""

    def __init__(
        self, database: Database, settings: Settings, job: jobs.Job, *, clock: Clock, stop: asyncio.Event | None
    ) -> None:
        self._database = database
        self._settings = settings
        self._job = job
        self._clock = clock
        self._stop = stop or asyncio.Event()
        periodic = PERIODIC_JOBS.get(job.name)
        self._every = None if periodic is None else periodic.interval(settings)

    async def run_to_its_end(self) -> None:
        """Run it and settle it. Only a database that stays away keeps it from being settled; then its lease ends."""
        started = time.perf_counter()
        outcome = await self._run()
        _jobs.labels(self._job.name, outcome).inc()
        _job_seconds.labels(self._job.name).observe(time.perf_counter() - started)

    async def _run(self) -> str:
        """The outcome, which is on the row."""
        job = self._job
        try:
            done = await self._settle_done(await self._supervise())
        except jobs.JobLostError as error:
            _log.warning("job_lost", job=job.name, reason=error.message)
            return "lost"
        except _InterruptedError:
            _log.info("job_put_off", job=job.name, reason=_STOPPED)
            return await self._settle_as("put_off", lambda tx: self._put_off(tx, 0, interrupted=_STOPPED))
        except jobs.PutOffError as waiting:
            _log.info("job_put_off", job=job.name, reason=waiting.message)
            seconds = waiting.seconds
            return await self._settle_as("put_off", lambda tx: self._put_off(tx, seconds))
        except Exception as error:  # whatever a job raises is put on its row for a person to see
            _log.warning("job_failed", job=job.name, attempts=job.attempts, exc_info=error)
            failure = f"{type(error).__name__}: {error}"
            return await self._settle_as(
                "failed", lambda tx: jobs.fail(tx, job, failure, every=self._every, clock=self._clock)
            )
        _log.info("job_done", job=job.name, changed=done.changed)
        return "done"

    async def _supervise(self) -> jobs.Result:
        """The result of the work, while the lease is renewed; the work ends with the lease, or soon after `stop`."""
        with jobs.under_way(self._job):
            working = asyncio.ensure_future(self._work())
        stopping = asyncio.ensure_future(self._stop.wait())
        lease_seconds = self._settings.worker_lease_seconds
        try:
            while not working.done():
                awaited = {working} if stopping.done() else {working, stopping}
                seconds = self._grace_seconds() if stopping.done() else lease_seconds / 3
                done, _ = await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done() and not done:
                    raise _InterruptedError
                if not done and not await self._is_held():
                    raise jobs.JobLostError("another worker took the job over")
            return working.result()
        finally:
            stopping.cancel()
            await self._end(working)

    async def _end(self, working: "asyncio.Future[jobs.Result]") -> None:
        """Cancel the work, and keep its lease until it ended: a thread ends when it likes, and no other may begin."""
        working.cancel()
        while not working.done():
            # Up to two thirds of the lease are spent when it is asked to end.
            done, _ = await asyncio.wait([working], timeout=self._settings.worker_lease_seconds / 6)
            if not done:
                await self._is_held()

    def _work(self) -> Awaitable[jobs.Result]:
        job = self._job
        periodic, one_off = PERIODIC_JOBS.get(job.name), ONE_OFF_JOBS.get(job.name)
        if periodic is not None:
            return periodic.run(self._database, self._settings, self._clock)
        if one_off is not None:
            return one_off.run(self._database, self._settings, msgspec.json.decode(job.arguments), self._clock)
        unknown = f"this version knows no job {job.name}"
        if self._clock() - job.created_at < _UNKNOWN_WAITS_AT_MOST:
            raise jobs.PutOffError(unknown, seconds=_UNKNOWN_WAITS_SECONDS)
        raise HoldfastError(unknown)

    def _grace_seconds(self) -> float:
        """How long the end of the worker waits for it. A long job would not come to its end all the same."""
        return 0 if is_long(self._job.name) else min(_GRACE_SECONDS, self._settings.worker_lease_seconds / 3)

    async def _is_held(self) -> bool:
        try:
            async with self._database.write() as tx:
                return await jobs.heartbeat(tx, self._job, self._settings.worker_lease_seconds, self._clock)
        except HoldfastError as error:
            # A database that is away for a moment takes nobody's lease.
            _log.warning("heartbeat_failed", job=self._job.name, code=error.code, reason=error.message)
            return True

    async def _settle_done(self, result: jobs.Result) -> jobs.Done:
        """Write what is to be written once, and that the job is done, in one transaction."""

        async def settle(tx: Transaction) -> jobs.Done:
            found = await result(tx) if callable(result) else result
            done = found if isinstance(found, jobs.Done) else jobs.Done(found)
            detail = {"changed": done.changed} | done.detail
            if not await jobs.finish(tx, self._job, every=self._every, detail=detail, clock=self._clock):
                raise jobs.JobLostError("the job is no longer this worker's: nothing was written by this attempt")
            return done

        return await self._settle(settle)

    async def _settle_as(self, outcome: str, settle: Callable[[Transaction], Awaitable[bool]]) -> str:
        return outcome if await self._settle(settle) else "lost"

    async def _settle(self, settle: Callable[[Transaction], Awaitable[Settled]]) -> Settled:
        """Run the transaction, again and again while the database is away and the lease may still hold."""
        # What an attempt came to whose commit nobody knows of.
        unknown: list[Settled] = []

        async def attempt() -> Settled:
            settled: Settled
            try:
                async with self._database.write() as tx:
                    settled = unknown[-1] if unknown and await self._is_settled(tx) else await settle(tx)
            except CommitOutcomeUnknownError:
                unknown.append(settled)
                raise
            return settled

        seconds = _GRACE_SECONDS if self._stop.is_set() else self._settings.worker_lease_seconds
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await with_retries(attempt)
            except UnavailableError as error:
                if time.monotonic() > deadline:
                    raise
                _log.warning("job_not_settled", job=self._job.name, code=error.code, reason=error.message)
                await asyncio.sleep(_SECONDS_BETWEEN_SETTLINGS)

    async def _is_settled(self, tx: Transaction) -> bool:
        """Whether this run is written, which it is in the transaction that settles the job and in no other."""
        newest = await queries.RUNS.fetch_page(tx, PageRequest(is_counted=False), job_id=self._job.id)
        return any(run.started_at == self._job.started_at for run in newest.items)

    async def _put_off(self, tx: Transaction, seconds: float, *, interrupted: str | None = None) -> bool:
        run_at = self._clock() + timedelta(seconds=seconds)
        return await jobs.put_off(tx, self._job, run_at, self._clock, interrupted=interrupted)
