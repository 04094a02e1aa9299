"""Job rows: asked for in the transaction that needs them, claimed under a lease, finished or tried again.

A periodic job is one row for the whole cluster, whose id follows from its name; finishing it sets its next time.
A worker that dies loses its lease, and another takes the job over; so a job must be safe to repeat.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import and_, bindparam, insert, or_, select, update

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import HoldfastError
from holdfast.core.ids import ALPHABET, LONG_WIDTH, new_long_id
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.retries import with_retries
from holdfast.db.statements import Command, Count, Query, count_of, insert_unless_present, parameters_for
from holdfast.db.tables import jobs

_LONGEST_FAILURE = 4000
_MOST_ATTEMPTS = 8


class PutOffError(HoldfastError):
    """Raised by a job that cannot go on now, and has not failed: it is due again after `seconds`."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Job(msgspec.Struct, frozen=True):
    """A claimed job. `lease_token` proves to the database that this worker still holds it."""

    id: str
    name: str
    arguments: msgspec.Raw
    attempts: int
    lease_token: str | None


class PendingJob(msgspec.Struct, frozen=True):
    """A job that is asked for and not done."""

    id: str
    arguments: msgspec.Raw


_COLUMNS = ("id", "name", "arguments", "state", "attempts", "run_at", "created_at", "updated_at")
_now = bindparam("now", type_=jobs.c.run_at.type)
_is_due = or_(
    and_(jobs.c.state == "waiting", jobs.c.run_at <= _now),
    and_(jobs.c.state == "running", jobs.c.lease_until < _now),
)
_INSERT = Command("jobs.insert", insert(jobs).values(parameters_for(jobs, *_COLUMNS)))
_INSERT_PERIODIC = insert_unless_present("jobs.insert_periodic", jobs, *_COLUMNS)
_FIND_DUE = Query(
    "jobs.find_due",
    select(jobs.c.id, jobs.c.name, jobs.c.arguments, jobs.c.attempts, jobs.c.lease_token)
    .where(_is_due)
    .order_by(jobs.c.run_at)
    .limit(1)
    .with_for_update(skip_locked=True),
    Job,
)
_held = and_(
    jobs.c.id == bindparam("job_id", type_=jobs.c.id.type),
    jobs.c.lease_token == bindparam("held_token", type_=jobs.c.lease_token.type),
)
_CLAIM = Command(
    "jobs.claim",
    update(jobs)
    .where(jobs.c.id == bindparam("job_id", type_=jobs.c.id.type))
    .values(parameters_for(jobs, "state", "attempts", "lease_token", "lease_until", "updated_at")),
)
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
_RENEW = Command("jobs.renew", update(jobs).where(_held).values(parameters_for(jobs, "lease_until", "updated_at")))
_FIND_PENDING = Query(
    "jobs.find_pending",
    select(jobs.c.id, jobs.c.arguments).where(
        jobs.c.name == bindparam("name", type_=jobs.c.name.type), jobs.c.state.in_(("waiting", "running"))
    ),
    PendingJob,
)
_COUNT_WAITING: Query[Count] = count_of("jobs.count_waiting", select(jobs.c.id).where(jobs.c.state == "waiting"))


async def enqueue(
    tx: Transaction, name: str, arguments: dict[str, Any], *, run_at: datetime | None = None, clock: Clock = utc_now
) -> str:
    """Ask for a job in the transaction that needs it; its id."""
    job_id = new_long_id()
    await tx.execute(_INSERT, **_new_row(job_id, name, arguments, run_at or clock(), clock()))
    return job_id


async def is_pending(tx: Transaction, name: str, **arguments: Any) -> bool:
    """Whether a job with these arguments, among others, is asked for and not done."""
    for found in await tx.fetch_all(_FIND_PENDING, name=name):
        given = msgspec.json.decode(found.arguments, type=dict[str, Any])
        if given.items() >= arguments.items():
            return True
    return False


async def ensure_periodic(tx: Transaction, name: str, clock: Clock = utc_now) -> None:
    """Make the row of a periodic job, due at once, where the cluster has none yet."""
    await tx.insert_unless_present(_INSERT_PERIODIC, **_new_row(_periodic_id(name), name, {}, clock(), clock()))


async def claim(database: Database, lease_seconds: float, clock: Clock = utc_now) -> Job | None:
    """Take the job that has been due the longest, for at most `lease_seconds`; None when nothing is due."""
    return await with_retries(lambda: _claim(database, lease_seconds, clock))


async def _claim(database: Database, lease_seconds: float, clock: Clock) -> Job | None:
    async with database.write() as tx:
        now = clock()
        job = await tx.fetch_one(_FIND_DUE, now=now)
        if job is None:
            return None
        held = msgspec.structs.replace(job, attempts=job.attempts + 1, lease_token=new_long_id())
        await tx.execute(
            _CLAIM,
            job_id=held.id,
            state="running",
            attempts=held.attempts,
            lease_token=held.lease_token,
            lease_until=now + timedelta(seconds=lease_seconds),
            updated_at=now,
        )
        return held


async def heartbeat(tx: Transaction, job: Job, lease_seconds: float, clock: Clock = utc_now) -> bool:
    """Keep a job for another `lease_seconds` from now; False when the lease was lost."""
    now = clock()
    lease_until = now + timedelta(seconds=lease_seconds)
    matched = await tx.execute(
        _RENEW, job_id=job.id, held_token=job.lease_token, lease_until=lease_until, updated_at=now
    )
    return matched == 1


async def finish(tx: Transaction, job: Job, *, next_run_at: datetime | None = None, clock: Clock = utc_now) -> bool:
    """Mark a job as done, or as due again at `next_run_at`; False when the lease was lost and nothing was marked."""
    now = clock()
    state = "done" if next_run_at is None else "waiting"
    return await _settle(tx, job, state=state, attempts=0, run_at=next_run_at or now, failure=None, now=now)


async def fail(
    tx: Transaction, job: Job, failure: str, *, next_run_at: datetime | None = None, clock: Clock = utc_now
) -> bool:
    """Put a job off, longer each time (1 s to about 2 min).

    After the last attempt a periodic job waits for `next_run_at`; any other stays `failed` for a person to see.
    """
    now = clock()
    state, attempts = "waiting", job.attempts
    run_at = now + timedelta(seconds=2 ** (job.attempts - 1))
    if job.attempts >= _MOST_ATTEMPTS and next_run_at is None:
        state = "failed"
    elif job.attempts >= _MOST_ATTEMPTS and next_run_at is not None:
        attempts, run_at = 0, next_run_at
    return await _settle(tx, job, state=state, attempts=attempts, run_at=run_at, failure=failure, now=now)


async def put_off(tx: Transaction, job: Job, run_at: datetime, clock: Clock = utc_now) -> bool:
    """Let a job wait until `run_at`, as if this attempt had not been."""
    return await _settle(
        tx, job, state="waiting", attempts=max(job.attempts - 1, 0), run_at=run_at, failure=None, now=clock()
    )


async def count_waiting(tx: Transaction) -> int:
    """How many jobs wait, due or not."""
    return await tx.fetch_count(_COUNT_WAITING)


async def _settle(
    tx: Transaction, job: Job, *, state: str, attempts: int, run_at: datetime, failure: str | None, now: datetime
) -> bool:
    matched = await tx.execute(
        _SETTLE,
        job_id=job.id,
        held_token=job.lease_token,
        state=state,
        attempts=attempts,
        run_at=run_at,
        failure=None if failure is None else failure[:_LONGEST_FAILURE],
        lease_token=None,
        lease_until=None,
        updated_at=now,
        finished_at=now,
    )
    return matched == 1


def _new_row(job_id: str, name: str, arguments: dict[str, Any], run_at: datetime, now: datetime) -> dict[str, Any]:
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


def _periodic_id(name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()
    return "".join(ALPHABET[byte & 63] for byte in digest[:LONG_WIDTH])
