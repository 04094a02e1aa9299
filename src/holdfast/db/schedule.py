"""Periodic jobs: one row for the whole cluster, whose id follows from its name. Its worker sets its next time.

The times are counted from the moment the row was made. A worker holds the rows against its own settings when it starts
and every minute: what is missing is made, a changed interval takes effect at once, and what a clock that ran ahead has
put off for ever is due again. Workers whose settings differ, as while they are changed one after the other, make and
remove the row in turns; so one that is made anew goes on after the newest run.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, or_, select, update

from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import ALPHABET, LONG_WIDTH
from holdfast.db import runs
from holdfast.db.engines.base import Transaction
from holdfast.db.jobs import new_row, next_due
from holdfast.db.statements import Command, Query, any_of, insert_unless_present, new_value
from holdfast.db.tables import jobs
from holdfast.db.types import utc_timestamp

# No clock that is right is so far before another one.
_AHEAD = timedelta(days=1)


class PeriodicRow(msgspec.Struct, frozen=True):
    """The row of a periodic job."""

    id: str
    state: str
    attempts: int
    run_at: datetime
    created_at: datetime
    finished_at: datetime | None
    every_seconds: int | None


class _Moment(msgspec.Struct, frozen=True):
    value: datetime


class _RowId(msgspec.Struct, frozen=True):
    id: str


_job_id = bindparam("job_id", type_=jobs.c.id.type)
_ahead = bindparam("ahead", type_=jobs.c.run_at.type)
_INSERT = insert_unless_present(
    "schedule.insert",
    jobs,
    *("id", "name", "arguments", "state", "attempts", "run_at", "created_at", "updated_at", "every_seconds"),
)
_FIND = Query(
    "schedule.find",
    select(*(jobs.c[name] for name in PeriodicRow.__struct_fields__)).where(any_of(jobs.c.id, "ids")),
    PeriodicRow,
)
# Only as it was seen: a claim or another worker's change that comes between goes first.
_RESET = Command(
    "schedule.reset",
    update(jobs)
    .where(
        jobs.c.id == _job_id,
        jobs.c.state == bindparam("seen_state", type_=jobs.c.state.type),
        jobs.c.run_at == bindparam("seen_run_at", type_=jobs.c.run_at.type),
    )
    .values(new_value(jobs, "state", "attempts", "run_at", "every_seconds", "updated_at")),
)
_REMOVE = Command("schedule.remove", delete(jobs).where(any_of(jobs.c.id, "ids"), jobs.c.state != "running"))
_FIND_AHEAD = Query(
    "schedule.find_ahead",
    select(jobs.c.id).where(
        jobs.c.state.in_(("waiting", "running")), or_(jobs.c.updated_at > _ahead, jobs.c.lease_until > _ahead)
    ),
    _RowId,
)
_BRING_BACK = Command(
    "schedule.bring_back",
    update(jobs)
    .where(any_of(jobs.c.id, "ids"), jobs.c.state == "waiting")
    .values(new_value(jobs, "run_at", "updated_at")),
)
_END_LEASES = Command(
    "schedule.end_leases",
    update(jobs)
    .where(any_of(jobs.c.id, "ids"), jobs.c.state == "running", jobs.c.lease_until > _ahead)
    .values(new_value(jobs, "lease_until", "updated_at")),
)
_READ_CLOCK = Query("schedule.read_clock", select(utc_timestamp().label("value")), _Moment)


async def keep(tx: Transaction, intervals: Mapping[str, timedelta | None], clock: Clock = utc_now) -> list[str]:
    """Make the rows of the periodic jobs what these intervals say; the names of those that changed.

    One whose interval is None is turned off: its row goes. A row that is missing is made: due at the next time after
    the newest run, and at once where that time is over or there was none.
    """
    wanted = {periodic_id(name): name for name in intervals}
    found = {row.id: row for row in await tx.fetch_all(_FIND, ids=list(wanted))}
    changed = [name for job_id, name in wanted.items() if intervals[name] is None and job_id in found]
    if changed:
        await tx.execute(_REMOVE, ids=[periodic_id(name) for name in changed])
    for job_id, name in wanted.items():
        every = intervals[name]
        if every is None:
            continue
        row = found.get(job_id)
        is_changed = await _insert(tx, name, every, clock) if row is None else await _reset(tx, row, every, clock)
        if is_changed:
            changed.append(name)
    return changed


async def _insert(tx: Transaction, name: str, every: timedelta, clock: Clock) -> bool:
    now = clock()
    last = await runs.find_latest(tx, name)
    # One that was interrupted is still to be done, and a run of tomorrow comes from a clock that was wrong.
    goes_on = last is not None and last.outcome != "put_off" and last.started_at <= now
    first = last.started_at if last is not None and goes_on else now
    run_at = max(now, first + every) if goes_on else now
    row = new_row(periodic_id(name), name, {}, run_at, now) | {"created_at": first}
    return await tx.insert_unless_present(_INSERT, **row, every_seconds=_seconds(every))


async def _reset(tx: Transaction, row: PeriodicRow, every: timedelta, clock: Clock) -> bool:
    now = clock()
    new = _new_time(row, every, now)
    if new is None:
        return False
    matched = await tx.execute(
        _RESET, job_id=row.id, seen_state=row.state, seen_run_at=row.run_at, new_state="waiting", new_updated_at=now,
        new_every_seconds=_seconds(every), **new,
    )  # fmt: skip
    return matched == 1


def _new_time(row: PeriodicRow, every: timedelta, now: datetime) -> dict[str, Any] | None:
    """When it is due now that it is to come `every` so often; None where its row says so already."""
    if row.state in ("done", "failed"):
        # A worker of a release that did not know it gave it up.
        return {"new_attempts": 0, "new_run_at": now}
    if row.state == "running" or row.every_seconds == _seconds(every):
        return None
    same = {"new_attempts": row.attempts, "new_run_at": row.run_at}
    if row.attempts or row.run_at <= now or row.finished_at is None:
        return same
    return same | {"new_run_at": next_due(row.created_at, every, row.finished_at)}


async def bring_back(tx: Transaction, clock: Clock = utc_now) -> int:
    """Let what a clock that ran ahead by more than a day wrote be due now, and its leases end; how many jobs."""
    now = clock()
    ahead = now + _AHEAD
    found = await tx.fetch_all(_FIND_AHEAD, ahead=ahead)
    if not found:
        return 0
    ids = [row.id for row in found]
    await tx.execute(_BRING_BACK, ids=ids, new_run_at=now, new_updated_at=now)
    await tx.execute(_END_LEASES, ids=ids, ahead=ahead, new_lease_until=now, new_updated_at=now)
    return len(ids)


async def read_clock(tx: Transaction) -> datetime:
    """The clock of the database server; on SQLite that of this machine."""
    (row,) = await tx.fetch_all(_READ_CLOCK)
    return row.value


def periodic_id(name: str) -> str:
    """The id of the row of a periodic job, the same on every machine."""
    digest = hashlib.sha256(name.encode()).digest()
    return "".join(ALPHABET[byte & 63] for byte in digest[:LONG_WIDTH])


def _seconds(every: timedelta) -> int:
    return int(every.total_seconds())
