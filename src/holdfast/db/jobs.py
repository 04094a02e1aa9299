"""Job rows: asked for in the transaction that needs them, claimed under a lease, finished or tried again.

A worker that dies loses its lease, and another takes the job over; so a job must be safe to repeat. Where it is not by
itself, it returns what is to be written (`Apply`): that goes into the transaction which settles the job, and so is
there exactly once. In a transaction of its own a job calls `require_held` first, which refuses a worker that slept past
its lease. Each run is written to `runs` in the transaction that settles it. Periodic jobs: `holdfast.db.schedule`.
"""

import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Integer, and_, bindparam, func, insert, not_, or_, select, update

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ConflictError, HoldfastError
from holdfast.core.ids import new_long_id
from holdfast.db import runs
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.retries import with_retries
from holdfast.db.statements import Command, Query, any_of, new_value, parameters_for
from holdfast.db.tables import jobs

MOST_ATTEMPTS = 8
_LONGEST_FAILURE = 4000


class PutOffError(HoldfastError):
    """Raised by a job that cannot go on now, and has not failed: it is due again after `seconds`."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class JobLostError(ConflictError):
    """The lease lapsed and another worker has taken the job over: nothing of this run may be written any more."""

    code = "job_lost"


class Job(msgspec.Struct, frozen=True):
    """A claimed job. `lease_token` proves to the database that this worker still holds it."""

    id: str
    name: str
    arguments: msgspec.Raw
    attempts: int
    lease_token: str | None
    created_at: datetime
    started_at: datetime
    lease_seconds: float


class Done(msgspec.Struct, frozen=True):
    """What a run came to: how many rows it changed, and what else is to be seen of it later (anything JSON can say)."""

    changed: int = 0
    detail: dict[str, Any] = {}


Apply = Callable[[Transaction], Awaitable["int | Done"]]
Result = int | Done | Apply


class PendingJob(msgspec.Struct, frozen=True):
    """A job that is asked for and not done."""

    id: str
    arguments: msgspec.Raw


class _Due(msgspec.Struct, frozen=True):
    """A job that waits, or that its worker left."""

    id: str
    name: str
    arguments: msgspec.Raw
    state: str
    attempts: int
    lease_token: str | None
    host: str | None
    created_at: datetime
    started_at: datetime | None


_COLUMNS = ("id", "name", "arguments", "state", "attempts", "run_at", "created_at", "updated_at")
_now = bindparam("now", type_=jobs.c.run_at.type)
_job_id = bindparam("job_id", type_=jobs.c.id.type)
_is_due = or_(
    and_(jobs.c.state == "waiting", jobs.c.run_at <= _now),
    and_(jobs.c.state == "running", jobs.c.lease_until < _now),
)
_due = (
    select(*(jobs.c[name] for name in _Due.__struct_fields__))
    .where(_is_due)
    .order_by(jobs.c.run_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_INSERT = Command("jobs.insert", insert(jobs).values(parameters_for(jobs, *_COLUMNS)))
_FIND_DUE = Query("jobs.find_due", _due, _Due)
_FIND_DUE_WITHOUT = Query("jobs.find_due_without", _due.where(not_(any_of(jobs.c.name, "names"))), _Due)
# A lock holds on one node of a cluster only. There the second of two claims must find nothing to change.
_as_seen = and_(
    jobs.c.id == _job_id,
    jobs.c.state == bindparam("seen_state", type_=jobs.c.state.type),
    jobs.c.attempts == bindparam("seen_attempts", type_=Integer()),
    func.coalesce(jobs.c.lease_token, "") == bindparam("seen_token", type_=jobs.c.lease_token.type),
)
_CLAIM = Command(
    "jobs.claim",
    update(jobs)
    .where(_as_seen)
    .values(new_value(jobs, "state", "attempts", "lease_token", "lease_until", "host", "started_at", "updated_at")),
)
_held = and_(jobs.c.id == _job_id, jobs.c.lease_token == bindparam("held_token", type_=jobs.c.lease_token.type))
_SETTLE = Command(
    "jobs.settle",
    update(jobs)
    .where(_held)
    .values(
        parameters_for(
            jobs, "state", "attempts", "run_at", "failure", "lease_token", "lease_until", "updated_at", "finished_at"
        )
    ),
)
_SET_INTERVAL = Command(
    "jobs.set_interval", update(jobs).where(jobs.c.id == _job_id).values(parameters_for(jobs, "every_seconds"))
)
_RENEW = Command("jobs.renew", update(jobs).where(_held).values(parameters_for(jobs, "lease_until", "updated_at")))
_FIND_PENDING = Query(
    "jobs.find_pending",
    select(jobs.c.id, jobs.c.arguments).where(
        jobs.c.name == bindparam("name", type_=jobs.c.name.type), jobs.c.state.in_(("waiting", "running"))
    ),
    PendingJob,
)

_under_way: ContextVar[Job | None] = ContextVar("job_under_way", default=None)
_NO_INTERVALS: Mapping[str, timedelta] = {}


async def enqueue(
    tx: Transaction, name: str, arguments: dict[str, Any], *, run_at: datetime | None = None, clock: Clock = utc_now
) -> str:
    """Ask for a job in the transaction that needs it; its id."""
    job_id = new_long_id()
    await tx.execute(_INSERT, **new_row(job_id, name, arguments, run_at or clock(), clock()))
    return job_id


async def is_pending(tx: Transaction, name: str, **arguments: Any) -> bool:
    """Whether a job with these arguments, among others, is asked for and not done."""
    for found in await tx.fetch_all(_FIND_PENDING, name=name):
        given = msgspec.json.decode(found.arguments, type=dict[str, Any])
        if given.items() >= arguments.items():
            return True
    return False


async def claim(
    database: Database,
    lease_seconds: float,
    clock: Clock = utc_now,
    *,
    intervals: Mapping[str, timedelta] = _NO_INTERVALS,
    without: Collection[str] = (),
) -> Job | None:
    """Take the job that has been due the longest, for at most `lease_seconds`; None when nothing is due.

    Jobs that their worker left are put back on the way, or to the dead letters after the last attempt. `intervals` are
    those of the periodic jobs, which wait for their next time then. Jobs named in `without` are passed over.
    """
    attempt = partial(_claim, database, lease_seconds, clock, intervals, without)
    seen: list[_Due] = []
    while True:
        claimed = await with_retries(attempt)
        if not isinstance(claimed, _Due):
            return claimed
        if claimed in seen:
            # Nothing came of it: asking at once again would keep the database busy for nothing.
            return None
        seen.append(claimed)


async def _claim(
    database: Database,
    lease_seconds: float,
    clock: Clock,
    intervals: Mapping[str, timedelta],
    without: Collection[str],
) -> Job | _Due | None:
    """The job, or one that could not be had, after which there may be others."""
    async with database.write() as tx:
        now = clock()
        if without:
            found = await tx.fetch_one(_FIND_DUE_WITHOUT, now=now, names=list(without))
        else:
            found = await tx.fetch_one(_FIND_DUE, now=now)
        if found is None:
            return None
        # One that runs in nobody's name, as a hand may leave it, is taken as if it waited: there is no run to settle.
        if found.state == "running" and found.lease_token is not None:
            await _bury(tx, found, intervals.get(found.name), now)
            return found
        held = Job(
            id=found.id,
            name=found.name,
            arguments=found.arguments,
            attempts=found.attempts + 1,
            lease_token=new_long_id(),
            created_at=found.created_at,
            started_at=now,
            lease_seconds=lease_seconds,
        )
        matched = await tx.execute(
            _CLAIM,
            job_id=found.id,
            seen_state=found.state,
            seen_attempts=found.attempts,
            seen_token=found.lease_token or "",
            new_state="running",
            new_attempts=held.attempts,
            new_lease_token=held.lease_token,
            new_lease_until=now + timedelta(seconds=lease_seconds),
            new_host=runs.this_host(),
            new_started_at=now,
            new_updated_at=now,
        )
        return held if matched == 1 else found


async def _bury(tx: Transaction, found: _Due, every: timedelta | None, now: datetime) -> None:
    """Settle the run of a worker that is gone: the job is due again at once the first time, later each other time."""
    failure = f"its worker {found.host or ''} ended, or lost the database, before the job did".replace("  ", " ")
    row = _after_failure(found.attempts, found.created_at, every, now)
    if found.attempts <= 1:
        row["run_at"] = now
    if await _settle(tx, found.id, found.lease_token, failure=failure, now=now, every=None, **row):
        await runs.record(
            tx,
            found.name,
            found.started_at or now,
            "lost",
            failure=failure,
            job_id=found.id,
            host=found.host,
            clock=lambda: now,
        )


@contextmanager
def under_way(job: Job) -> Iterator[None]:
    """Let `require_held` know, in the block and what it starts, for which job it is asked."""
    token = _under_way.set(job)
    try:
        yield
    finally:
        _under_way.reset(token)


async def require_held(tx: Transaction, clock: Clock = utc_now) -> None:
    """Renew the lease of the job under way in this transaction, which JobLostError undoes where the lease was lost.

    Outside of a job, as in a command of an operator, it does nothing.
    """
    job = _under_way.get()
    if job is not None and not await heartbeat(tx, job, job.lease_seconds, clock):
        raise JobLostError(f"another worker took the job {job.name} over")


async def heartbeat(tx: Transaction, job: Job, lease_seconds: float, clock: Clock = utc_now) -> bool:
    """Keep a job for another `lease_seconds` from now; False when the lease was lost."""
    now = clock()
    lease_until = now + timedelta(seconds=lease_seconds)
    matched = await tx.execute(
        _RENEW, job_id=job.id, held_token=job.lease_token, lease_until=lease_until, updated_at=now
    )
    return matched == 1


async def finish(
    tx: Transaction, job: Job, *, every: timedelta | None = None, detail: Any = None, clock: Clock = utc_now
) -> bool:
    """Mark a job as done, or as due again where it comes `every` so often; False where the lease was lost.

    Then nothing is marked. Where it is, the run is written, with its `detail`.
    """
    now = clock()
    state = "done" if every is None else "waiting"
    run_at = now if every is None else next_due(job.created_at, every, now)
    held = await _settle(
        tx, job.id, job.lease_token, state=state, attempts=0, run_at=run_at, failure=None, now=now, every=every
    )
    if held:
        await runs.record(tx, job.name, job.started_at, "done", detail=detail, job_id=job.id, clock=clock)
    return held


async def fail(
    tx: Transaction, job: Job, failure: str, *, every: timedelta | None = None, clock: Clock = utc_now
) -> bool:
    """Put a job off, longer each time (1 s to about 12 min).

    After the last attempt a periodic job has one at each of its times; any other is `failed`, a dead letter that waits
    for a person.
    """
    now = clock()
    row = _after_failure(job.attempts, job.created_at, every, now)
    held = await _settle(tx, job.id, job.lease_token, failure=failure, now=now, every=every, **row)
    if held:
        await runs.record(tx, job.name, job.started_at, "failed", failure=failure, job_id=job.id, clock=clock)
    return held


async def put_off(
    tx: Transaction, job: Job, run_at: datetime, clock: Clock = utc_now, *, interrupted: str | None = None
) -> bool:
    """Let a job wait until `run_at`, as if this attempt had not been.

    The run is written where it was `interrupted`, with the reason; one that only found that it must wait is not.
    """
    now = clock()
    attempts = max(job.attempts - 1, 0)
    held = await _settle(
        tx,
        job.id,
        job.lease_token,
        state="waiting",
        attempts=attempts,
        run_at=run_at,
        failure=None,
        now=now,
        every=None,
    )
    if held and interrupted is not None:
        await runs.record(tx, job.name, job.started_at, "put_off", failure=interrupted, job_id=job.id, clock=clock)
    return held


def next_due(anchor: datetime, every: timedelta, after: datetime) -> datetime:
    """The first of the times `anchor`, `anchor + every`, … that comes after that moment.

    Counted in UTC from the first time, so that neither the length of runs nor of months nor summer time move it.
    """
    return anchor + ((after - anchor) // every + 1) * every


def new_row(job_id: str, name: str, arguments: dict[str, Any], run_at: datetime, now: datetime) -> dict[str, Any]:
    """The values of a job that is asked for now."""
    return {
        "id": job_id,
        "name": name,
        "arguments": arguments,
        "state": "waiting",
        "attempts": 0,
        "run_at": run_at,
        "created_at": now,
        "updated_at": now,
    }


def _after_failure(attempts: int, anchor: datetime, every: timedelta | None, now: datetime) -> dict[str, Any]:
    """What becomes of a job after so many attempts."""
    if attempts < MOST_ATTEMPTS:
        # Spread, so that what failed together does not come again together.
        seconds = 3 ** (attempts - 1) * random.uniform(1, 1.25)  # noqa: S311
        return {"state": "waiting", "attempts": attempts, "run_at": now + timedelta(seconds=seconds)}
    if every is None:
        return {"state": "failed", "attempts": attempts, "run_at": now}
    # One attempt at its next time: what kills its worker does so once each time, and not again and again.
    return {"state": "waiting", "attempts": MOST_ATTEMPTS - 1, "run_at": next_due(anchor, every, now)}


async def _settle(
    tx: Transaction,
    job_id: str,
    token: str | None,
    *,
    failure: str | None,
    now: datetime,
    every: timedelta | None,
    **row: Any,
) -> bool:
    matched = await tx.execute(
        _SETTLE,
        job_id=job_id,
        held_token=token,
        failure=None if failure is None else failure[:_LONGEST_FAILURE],
        lease_token=None,
        lease_until=None,
        updated_at=now,
        finished_at=now,
        **row,
    )
    if matched == 1 and every is not None:
        await tx.execute(_SET_INTERVAL, job_id=job_id, every_seconds=int(every.total_seconds()))
    return matched == 1
