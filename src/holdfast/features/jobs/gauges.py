"""The schedule as metrics: read from the database, so that every process tells the same of the whole cluster."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from holdfast.db.engines.base import Transaction
from holdfast.db.statistics.reading import Reading
from holdfast.db.tables.runs import RUN_OUTCOMES
from holdfast.features.jobs import queries
from holdfast.features.jobs.service import read_schedule
from holdfast.features.jobs.types import ScheduledJob

# Each with its metric, its help, and its value for a job; None where there is none yet.
_BY_JOB = (
    ("interval_seconds", "Time from one run of a periodic job to the next.", lambda job: job.every_seconds),
    ("overdue_seconds", "For how long a periodic job should have run already.", lambda job: job.overdue_seconds),
    ("last_duration_seconds", "How long the last run of a periodic job took.", lambda job: job.last_seconds),
    (
        "last_run_timestamp_seconds",
        "When a periodic job last ended, whatever came of it.",
        lambda job: _timestamp(job.last_finished_at),
    ),
    (
        "last_success_timestamp_seconds",
        "When a periodic job last ended well.",
        lambda job: _timestamp(job.last_done_at),
    ),
)


class _ScheduleNumbers(Collector):
    """What was read last. Without anything it shows the names alone."""

    def __init__(self) -> None:
        self.jobs: list[ScheduledJob] = []
        self.states: dict[str, int] | None = None
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads."""
        for name, told, value_of in _BY_JOB:
            family = GaugeMetricFamily(f"holdfast_job_{name}", told, labels=["job"])
            for job in self.jobs:
                value = value_of(job)
                if value is not None:
                    family.add_metric([job.name], value)
            yield family
        outcomes = GaugeMetricFamily(
            "holdfast_job_last_outcome", "1 for the outcome of a periodic job's last run.", labels=["job", "outcome"]
        )
        for job in self.jobs:
            for outcome in RUN_OUTCOMES:
                outcomes.add_metric([job.name, outcome], float(job.last_outcome == outcome))
        yield outcomes
        # By names of their own, as they are asked for by the dashboard.
        waiting = GaugeMetricFamily("holdfast_jobs_waiting", "Jobs that wait, due or not.")
        running = GaugeMetricFamily("holdfast_jobs_running", "Jobs that a worker runs, or left.")
        failed = GaugeMetricFamily("holdfast_jobs_dead", "Dead letters: jobs that failed for good.")
        if self.states is not None:
            for family, state in ((waiting, "waiting"), (running, "running"), (failed, "failed")):
                family.add_metric([], self.states.get(state, 0))
        yield from (waiting, running, failed)


_numbers = _ScheduleNumbers()


async def _read(tx: Transaction) -> None:
    """All are told only once all are known."""
    schedule = await read_schedule(tx)
    states = {row.state: row.count for row in await tx.fetch_all(queries.COUNT_STATES)}
    _numbers.jobs, _numbers.states = schedule.items, states


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


SCHEDULE = Reading("schedule", _read, fresh_seconds=10)
