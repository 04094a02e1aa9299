"""Records of what jobs and operator's commands did: when, for how long, with which outcome.

A run is written when it ends, in the transaction that settles its job where there is one. One whose worker was killed
is written as `lost` by the worker that finds its lease lapsed.
"""

import os
import socket
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Integer, bindparam, delete, insert, or_, select

from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.engines.base import Transaction
from holdfast.db.statements import Command, Query, any_of, parameters_for
from holdfast.db.tables import runs

Outcome = Literal["done", "failed", "put_off", "lost"]

_LONGEST_FAILURE = 4000
ROWS_AT_ONCE = 1000


class Run(msgspec.Struct, frozen=True):
    """One run that ended. `detail` is what it told of itself, in JSON; `job_id` the job that it was a run of."""

    id: str
    name: str
    host: str
    started_at: datetime
    finished_at: datetime
    outcome: str
    failure: str | None
    detail: msgspec.Raw | None
    job_id: str | None = None


class _RunId(msgspec.Struct, frozen=True):
    id: str


_COLUMNS = ("id", "name", "host", "started_at", "finished_at", "outcome", "failure", "detail", "job_id")
_selected = [runs.c[name] for name in _COLUMNS]
_name = runs.c.name == bindparam("name", type_=runs.c.name.type)
_later = runs.alias("later")
# Asked for each row apart, by the index: as a join it would read all runs for some hundred.
_newest_done = (
    select(_later.c.started_at)
    .where(_later.c.name == runs.c.name, _later.c.outcome == "done")
    .order_by(_later.c.started_at.desc(), _later.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_INSERT = Command("runs.insert", insert(runs).values(parameters_for(runs, *_COLUMNS)))
_FIND_LATEST = Query(
    "runs.find_latest",
    select(*_selected).where(_name).order_by(runs.c.name.desc(), runs.c.started_at.desc(), runs.c.id.desc()).limit(1),
    Run,
)
_FIND_LATEST_DONE = Query(
    "runs.find_latest_done",
    select(*_selected)
    .where(_name, runs.c.outcome == "done")
    .order_by(runs.c.name.desc(), runs.c.started_at.desc(), runs.c.id.desc())
    .limit(1),
    Run,
)
_FIND_OLD = Query(
    "runs.find_old",
    select(runs.c.id)
    .where(
        runs.c.started_at < bindparam("before", type_=runs.c.started_at.type),
        # The newest of a name that ended well tells for how long it has not, and stays.
        or_(runs.c.outcome != "done", runs.c.started_at < _newest_done),
    )
    .order_by(runs.c.started_at, runs.c.id)
    .limit(bindparam("at_most", type_=Integer())),
    _RunId,
)
_REMOVE = Command("runs.remove", delete(runs).where(any_of(runs.c.id, "ids")))


async def record(
    tx: Transaction,
    name: str,
    started_at: datetime,
    outcome: Outcome,
    *,
    failure: str | None = None,
    detail: Any = None,
    job_id: str | None = None,
    host: str | None = None,
    clock: Clock = utc_now,
) -> str:
    """Write down a run that ends now, on this host unless told otherwise; its id. `detail` is anything JSON can say.

    The runs of jobs are written by the worker: a job returns what it wants told (`jobs.Done`), and calls this never.
    """
    run_id = new_long_id()
    await tx.execute(
        _INSERT,
        id=run_id,
        name=name,
        host=host or this_host(),
        started_at=started_at,
        finished_at=clock(),
        outcome=outcome,
        failure=None if failure is None else failure[:_LONGEST_FAILURE],
        detail=detail,
        job_id=job_id,
    )
    return run_id


async def find_latest(tx: Transaction, name: str) -> Run | None:
    """The run of this name that began last, whatever came of it."""
    return await tx.fetch_one(_FIND_LATEST, name=name)


async def find_latest_done(tx: Transaction, name: str) -> Run | None:
    """The run of this name that began last, of those that ended well."""
    return await tx.fetch_one(_FIND_LATEST_DONE, name=name)


async def remove_old(tx: Transaction, before: datetime) -> int:
    """Remove runs that began before that moment, at most `ROWS_AT_ONCE`; the newest `done` of each name stays."""
    found = await tx.fetch_all(_FIND_OLD, before=before, at_most=ROWS_AT_ONCE)
    return await tx.execute(_REMOVE, ids=[row.id for row in found]) if found else 0


def this_host() -> str:
    """This process: the machine's name and the process id."""
    return f"{socket.gethostname()}:{os.getpid()}"[:255]
