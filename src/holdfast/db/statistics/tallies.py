"""The statements of this process: how often each ran, how long it took, and how many rows it gave."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from holdfast.db.statements import registry

_COUNTED_SINCE = datetime.now(UTC)


class _StatementRows(Collector):
    """The rows of each statement that ran, as the statements count them for the report."""

    def __init__(self) -> None:
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads."""
        rows = CounterMetricFamily(
            "holdfast_statement_rows", "Rows that statements gave or changed, by name.", labels=["statement"]
        )
        for statement in registry:
            if any(statement.timing.buckets):
                rows.add_metric([statement.name], statement.rows)
        yield rows


_statement_rows = _StatementRows()


class StatementTally(msgspec.Struct, frozen=True, kw_only=True):
    """One named statement. The quantiles are estimated from the buckets of its histogram, as Prometheus does it."""

    statement: str
    runs: int
    total_seconds: float
    mean_milliseconds: float
    p50_milliseconds: float
    p99_milliseconds: float
    rows: int


class StatementTallies(msgspec.Struct, frozen=True, kw_only=True):
    """The statements that took most time in all. They are of the process that answered, since it started."""

    items: list[StatementTally]
    statements: int
    total_seconds: float
    counted_since: datetime
    remark: str = "These are the statements of the one process that answered; /metrics of each replica has its own."


def read_statement_tallies(limit: int) -> StatementTallies:
    """The statements that took most time in all."""
    ran = [statement for statement in registry if statement.timing.runs]
    ran.sort(key=lambda statement: (-statement.timing.seconds, statement.name))
    items = [
        StatementTally(
            statement=each.name,
            runs=each.timing.runs,
            total_seconds=round(each.timing.seconds, 6),
            mean_milliseconds=round(each.timing.seconds / each.timing.runs * 1000, 3),
            p50_milliseconds=round(each.timing.quantile(0.5) * 1000, 3),
            p99_milliseconds=round(each.timing.quantile(0.99) * 1000, 3),
            rows=each.rows,
        )
        for each in ran[:limit]
    ]
    return StatementTallies(
        items=items,
        statements=len(ran),
        total_seconds=round(sum(each.timing.seconds for each in ran), 6),
        counted_since=_COUNTED_SINCE,
    )
