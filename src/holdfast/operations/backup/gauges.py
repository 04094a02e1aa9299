"""The newest backup as metrics, read from its run, so that every process tells the same."""

from collections.abc import Iterator

import msgspec
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from holdfast.db import runs
from holdfast.db.engines.base import Transaction
from holdfast.db.statistics.reading import Reading
from holdfast.operations.backup.types import ASKED_RUN, RUN


class _Detail(msgspec.Struct):
    bytes: int = 0
    seconds: float = 0.0


class _NewestBackup(Collector):
    """What was read last. Without any backup it shows the names alone."""

    def __init__(self) -> None:
        self.run: runs.Run | None = None
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads."""
        made = GaugeMetricFamily(
            "holdfast_backup_last_success_timestamp_seconds", "When the newest backup was whole in its store."
        )
        size = GaugeMetricFamily("holdfast_backup_bytes", "Size of the newest backup in its store.")
        seconds = GaugeMetricFamily("holdfast_backup_seconds", "Time that the newest backup took, its check included.")
        if self.run is not None:
            detail = msgspec.json.decode(self.run.detail or b"{}", type=_Detail)
            made.add_metric([], self.run.finished_at.timestamp())
            size.add_metric([], detail.bytes)
            seconds.add_metric([], detail.seconds)
        yield from (made, size, seconds)


_newest = _NewestBackup()


async def _read(tx: Transaction) -> None:
    found = [await runs.find_latest_done(tx, name) for name in (RUN, ASKED_RUN)]
    _newest.run = max((each for each in found if each is not None), key=lambda each: each.finished_at, default=None)


NEWEST_BACKUP = Reading("newest_backup", _read, fresh_seconds=60)
