"""The database's own numbers as metrics, read at most once a minute, whoever scrapes how often."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from holdfast.core.clock import utc_now
from holdfast.db import runs
from holdfast.db.engines.base import Transaction
from holdfast.db.statistics import reports
from holdfast.db.statistics.reading import Reading
from holdfast.db.statistics.types import Connections, IndexUsage, TableSizes

# The name of the runs that prove a restore.
DRILL_RUN = "operations.drill"
_DAY_SECONDS = 86_400


class _DatabaseNumbers(Collector):
    """What was read last. Without anything it shows the names alone."""

    def __init__(self) -> None:
        self.sizes: TableSizes | None = None
        self.usage: IndexUsage | None = None
        self.connections: Connections | None = None
        self.proven_at: datetime | None = None
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads."""
        yield from self._sizes()
        yield from self._index_reads()
        yield from self._connections()
        yield self._proven_restore()

    def _sizes(self) -> Iterator[Metric]:
        whole = GaugeMetricFamily("holdfast_database_bytes", "Size of the database.")
        rows = GaugeMetricFamily("holdfast_table_rows", "Rows of a table, estimated.", labels=["table"])
        table = GaugeMetricFamily("holdfast_table_bytes", "Size of a table without its indexes.", labels=["table"])
        index = GaugeMetricFamily("holdfast_table_index_bytes", "Size of a table's indexes.", labels=["table"])
        if self.sizes is not None:
            whole.add_metric([], self.sizes.database_bytes)
            for each in self.sizes.items:
                for family, value in ((rows, each.rows), (table, each.table_bytes), (index, each.index_bytes)):
                    if value is not None:
                        family.add_metric([each.table], value)
        yield from (whole, rows, table, index)

    def _index_reads(self) -> Iterator[Metric]:
        reads = CounterMetricFamily(
            "holdfast_index_reads", "Reads by an index, as the database server counts them.", labels=["table", "index"]
        )
        for each in [] if self.usage is None else self.usage.items:
            if each.reads is not None:
                reads.add_metric([each.table, each.index], each.reads)
        yield reads

    def _connections(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "holdfast_database_connections", "Connections to the database, of all programs.", labels=["state"]
        )
        most = GaugeMetricFamily("holdfast_database_connections_limit", "Connections that the server allows.")
        waits = GaugeMetricFamily("holdfast_database_lock_waits", "Connections that wait for a lock of another one.")
        longest = GaugeMetricFamily(
            "holdfast_database_longest_transaction_seconds", "Age of the oldest open transaction."
        )
        if self.connections is not None:
            for state, count in self.connections.states.items():
                states.add_metric([state], count)
            if self.connections.most is not None:
                most.add_metric([], self.connections.most)
            waits.add_metric([], len(self.connections.waits))
            longest.add_metric([], self.connections.longest_transaction_seconds or 0)
        yield from (states, most, waits, longest)

    def _proven_restore(self) -> Metric:
        days = GaugeMetricFamily(
            "holdfast_days_since_proven_restore",
            "Days since a drill last restored a backup without any doubt; -1 where none ever did.",
        )
        if self.sizes is not None:
            age = None if self.proven_at is None else utc_now() - self.proven_at
            days.add_metric([], -1 if age is None else max(age.total_seconds(), 0) / _DAY_SECONDS)
        return days


_numbers = _DatabaseNumbers()


async def _read(tx: Transaction) -> None:
    _numbers.sizes = await reports.estimate_table_sizes(tx)
    proven = await runs.find_latest_done(tx, DRILL_RUN)
    _numbers.proven_at = None if proven is None else proven.finished_at
    _numbers.connections = await reports.read_connections(tx)
    # SQLite counts no use of indexes, and the sizes of that report may cost a reading of the whole file.
    _numbers.usage = None if tx.dialect_name == "sqlite" else await reports.read_index_usage(tx)


DATABASE_NUMBERS = Reading("database_numbers", _read, fresh_seconds=60)
