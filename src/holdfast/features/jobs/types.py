"""What jobs, runs and the schedule are, as callers see them."""

from datetime import datetime
from typing import Any

import msgspec

JsonValue = Any  # msgspec.Raw as read from the database: passed on as it was written


class JobId(msgspec.Struct, frozen=True):
    """Which job."""

    id: str


class JobRow(msgspec.Struct, frozen=True):
    """A job. `state` is `waiting` (due at `run_at`), `running`, `done`, or `failed`: a dead letter for a person.

    `attempts` are those since it last ended well, `failure` is why the last one did not. `started_at` and `host` are
    of its present or last run. `every_seconds` is that of a periodic job.
    """

    id: str
    name: str
    state: str
    attempts: int
    run_at: datetime
    arguments: JsonValue
    failure: str | None
    host: str | None
    started_at: datetime | None
    lease_until: datetime | None
    every_seconds: int | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class RunRow(msgspec.Struct, frozen=True):
    """A run that ended. `outcome` is `done`, `failed`, `put_off` (the worker ended) or `lost` (the worker was killed).

    `detail` is what the run told of itself, and differs from name to name. `job_id` is missing for an operator's
    command.
    """

    id: str
    name: str
    outcome: str
    started_at: datetime
    finished_at: datetime
    host: str
    failure: str | None
    detail: JsonValue
    job_id: str | None


class LastRun(msgspec.Struct, frozen=True):
    """The run of a name that began last, and when the last one that ended well did."""

    name: str
    outcome: str
    started_at: datetime
    finished_at: datetime
    failure: str | None


class LastDone(msgspec.Struct, frozen=True):
    """When a name last ended well."""

    name: str
    finished_at: datetime


class PeriodicJobRow(msgspec.Struct, frozen=True):
    """The row of a periodic job."""

    id: str
    name: str
    state: str
    attempts: int
    every_seconds: int
    run_at: datetime
    lease_until: datetime | None
    host: str | None
    started_at: datetime | None


class StateCount(msgspec.Struct, frozen=True):
    """How many jobs are in a state."""

    state: str
    count: int


class ScheduledJob(msgspec.Struct, frozen=True, kw_only=True):
    """A periodic job of the cluster. `due_at` is its next time; `overdue_seconds` are above 0 when that is over.

    `is_running` since `running_since` on `host`. The last run is the one that ended last, whatever came of it;
    `failure` is why it failed. `last_done_at` is when one last ended well.
    """

    name: str
    every_seconds: int
    due_at: datetime
    overdue_seconds: float
    is_running: bool
    running_since: datetime | None = None
    host: str | None = None
    attempts: int = 0
    last_started_at: datetime | None = None
    last_finished_at: datetime | None = None
    last_seconds: float | None = None
    last_outcome: str | None = None
    failure: str | None = None
    last_done_at: datetime | None = None


class Schedule(msgspec.Struct, frozen=True):
    """All periodic jobs, by name. `failed_jobs` counts the dead letters, of any kind of job."""

    items: list[ScheduledJob]
    failed_jobs: int
