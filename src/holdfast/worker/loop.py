"""The loop of a worker: places that each claim a job, run it and look again, and beside them the schedule is kept."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import structlog

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import HoldfastError
from holdfast.db import jobs, schedule
from holdfast.db.engines.base import Database
from holdfast.db.retries import with_retries
from holdfast.settings import Settings
from holdfast.worker.registry import intervals_of, long_jobs
from holdfast.worker.running import RunningJob

_log = structlog.get_logger("holdfast.worker")
_POLL_SECONDS = 5.0
_KEEP_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 20.0
# By a wrong clock the lease of a worker that lives seems over; two that are off by so much each still agree on leases.
_MOST_SKEW_IN_LEASES = 1 / 4
# Retention by a wrong clock would let go what is young, however long a lease is.
_MOST_SKEW = timedelta(minutes=5)


@contextlib.asynccontextmanager
async def running_worker(database: Database, settings: Settings) -> AsyncIterator[None]:
    """A worker beside the block; at its end the jobs under way are finished first, or interrupted if they take long."""
    stop = asyncio.Event()
    working = asyncio.create_task(work(database, settings, stop))
    try:
        yield
    finally:
        stop.set()
        await working


async def work(database: Database, settings: Settings, stop: asyncio.Event, clock: Clock = utc_now) -> None:
    """Run jobs until `stop` is set. A database that is away is waited for."""
    worker = _Worker(database, settings, stop, clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.repeat(worker.keep_schedule, _KEEP_SECONDS))
        for place in range(settings.worker_concurrency):
            # Of several places the last is kept for jobs that are over soon.
            is_for_all = place == 0 or place < settings.worker_concurrency - 1
            runner = worker.runner(frozenset() if is_for_all else long_jobs())
            tasks.create_task(worker.repeat(runner, _POLL_SECONDS))


async def run_one(
    database: Database,
    settings: Settings,
    clock: Clock = utc_now,
    *,
    stop: asyncio.Event | None = None,
    without: frozenset[str] = frozenset(),
) -> bool:
    """Claim and run one due job, except those named; False when nothing is due.

    A job that is still under way some seconds after `stop` is set is interrupted, and due again at once, a long one as
    soon as it is set: jobs are safe to repeat.
    """
    intervals = {name: every for name, every in intervals_of(settings).items() if every is not None}
    job = await jobs.claim(database, settings.worker_lease_seconds, clock, intervals=intervals, without=without)
    if job is None:
        return False
    await RunningJob(database, settings, job, clock=clock, stop=stop).run_to_its_end()
    return True


class _Worker:
    """What the places of one worker share."""

    def __init__(self, database: Database, settings: Settings, stop: asyncio.Event, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._stop = stop
        self._clock = clock
        self._lease = timedelta(seconds=settings.worker_lease_seconds)
        self._has_schedule = asyncio.Event()
        self._is_skewed = False

    async def repeat(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Do it every so many seconds; sooner where it failed, and less often while it fails again and again."""
        failures = 0
        while not self._stop.is_set():
            try:
                await work()
                failures = 0
            except HoldfastError as error:
                failures += 1
                _log.warning("worker_waits", code=error.code, reason=error.message)
            except Exception as error:  # one mistake must not end all work of the cluster
                failures += 1
                _log.error("worker_failed", exc_info=error)
            pause = min(_POLL_SECONDS * 2 ** min(failures - 1, 10), _LONGEST_WAIT_SECONDS) if failures else seconds
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    def runner(self, without: frozenset[str]) -> Callable[[], Awaitable[None]]:
        """What one place does each time: run what is due, until nothing is."""

        async def run_due() -> None:
            await self._wait_for_schedule()
            while (
                not self._stop.is_set()
                and not self._is_skewed
                and await run_one(self._database, self._settings, self._clock, stop=self._stop, without=without)
            ):
                pass

        return run_due

    async def _wait_for_schedule(self) -> None:
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._has_schedule, self._stop)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    async def keep_schedule(self) -> None:
        """Make the periodic jobs what the settings say, and see to it that the clocks agree."""
        await self._compare_clocks()
        if not self._is_skewed:
            await with_retries(self._keep_schedule)
            self._has_schedule.set()

    async def _keep_schedule(self) -> None:
        async with self._database.write() as tx:
            changed = await schedule.keep(tx, intervals_of(self._settings), self._clock)
            brought_back = await schedule.bring_back(tx, self._clock)
        if changed:
            _log.info("schedule_changed", jobs=sorted(changed))
        if brought_back:
            _log.warning("jobs_brought_back", count=brought_back, reason="a clock ran ahead by more than a day")

    async def _compare_clocks(self) -> None:
        async with self._database.read() as tx:
            before = self._clock()
            there = await schedule.read_clock(tx)
            after = self._clock()
        # A server that was slow to answer has no wrong clock.
        skew = min(max(there, before), after) - there
        self._is_skewed = abs(skew) > min(_MOST_SKEW, self._lease * _MOST_SKEW_IN_LEASES)
        if self._is_skewed:
            _log.error("clock_skew", seconds=round(skew.total_seconds()), reason="no job runs until the clocks agree")
