"""The statements of jobs, runs and the schedule. Those of the worker are in `holdfast.db.jobs`."""

from typing import Any

from sqlalchemy import ColumnElement, Integer, ScalarSelect, Table, bindparam, delete, func, select, update

from holdfast.db.listing import Listing
from holdfast.db.statements import Command, Query, any_of, count_of, new_value
from holdfast.db.tables import jobs, runs
from holdfast.features.jobs.types import JobId, JobRow, LastDone, LastRun, PeriodicJobRow, RunRow, StateCount

_job_id = bindparam("job_id", type_=jobs.c.id.type)
_JOB = select(*(jobs.c[name] for name in JobRow.__struct_fields__))
_RUN = select(*(runs.c[name] for name in RunRow.__struct_fields__))


# All periodic jobs are, and hardly any others: the index leaves few rows.
_is_open = jobs.c.state.in_(("waiting", "running", "failed"))
_is_periodic = jobs.c.every_seconds.is_not(None)


def _equals(table: Table, column: str) -> ColumnElement[bool]:
    return table.c[column] == bindparam(column, type_=table.c[column].type)


JOBS = Listing(
    "jobs",
    _JOB,
    JobRow,
    row_id=jobs.c.id,
    sorts={"created_at": jobs.c.created_at},
    default_sort="-created_at",
    filters={name: _equals(jobs, name) for name in ("state", "name")},
    count_select=select(jobs.c.id),
)
RUNS = Listing(
    "runs",
    _RUN,
    RunRow,
    row_id=runs.c.id,
    sorts={"started_at": runs.c.started_at},
    default_sort="-started_at",
    filters={name: _equals(runs, name) for name in ("name", "outcome", "job_id")},
    count_select=select(runs.c.id),
)
GET_JOB = Query("jobs.get_job", _JOB.where(jobs.c.id == _job_id), JobRow)
LOCK_JOB = Query("jobs.lock_job", _JOB.where(jobs.c.id == _job_id).with_for_update(), JobRow)
MAKE_DUE = Command(
    "jobs.make_due",
    update(jobs).where(jobs.c.id == _job_id).values(new_value(jobs, "state", "attempts", "run_at", "updated_at")),
)
DISCARD_JOB = Command("jobs.discard", delete(jobs).where(jobs.c.id == _job_id))
COUNT_FAILED = count_of("jobs.count_failed", select(jobs.c.id).where(jobs.c.state == "failed"))
PERIODIC_JOBS = Query(
    "jobs.list_periodic",
    select(*(jobs.c[name] for name in PeriodicJobRow.__struct_fields__))
    .where(_is_open, _is_periodic)
    .order_by(jobs.c.name, jobs.c.id),
    PeriodicJobRow,
)


def _newest(outcome: str | None = None) -> ScalarSelect[Any]:
    """The id of the newest run of a periodic job, of those with this outcome."""
    newest = runs.alias("newest")
    chosen = select(newest.c.id).where(newest.c.name == jobs.c.name)
    if outcome is not None:
        chosen = chosen.where(newest.c.outcome == outcome)
    ordered = chosen.order_by(newest.c.started_at.desc(), newest.c.id.desc()).limit(1)
    return ordered.correlate(jobs).scalar_subquery()


LAST_RUNS = Query(
    "jobs.last_runs",
    select(*(runs.c[name] for name in LastRun.__struct_fields__))
    .select_from(jobs.join(runs, runs.c.id == _newest()))
    .where(_is_open, _is_periodic),
    LastRun,
)
LAST_DONE = Query(
    "jobs.last_done",
    select(runs.c.name, runs.c.finished_at)
    .select_from(jobs.join(runs, runs.c.id == _newest("done")))
    .where(_is_open, _is_periodic),
    LastDone,
)
COUNT_STATES = Query(
    "jobs.count_states",
    select(jobs.c.state, func.count().label("count")).where(_is_open).group_by(jobs.c.state),
    StateCount,
)
FIND_OLD_JOBS = Query(
    "jobs.find_old",
    select(jobs.c.id)
    .where(jobs.c.state == "done", jobs.c.run_at < bindparam("before", type_=jobs.c.run_at.type))
    .order_by(jobs.c.run_at, jobs.c.id)
    .limit(bindparam("at_most", type_=Integer())),
    JobId,
)
REMOVE_JOBS = Command("jobs.remove", delete(jobs).where(any_of(jobs.c.id, "ids"), jobs.c.state == "done"))
