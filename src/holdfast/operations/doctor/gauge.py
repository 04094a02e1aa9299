"""What the newest examination found, as metrics: read from its record, so that every replica tells the same."""

import msgspec
from prometheus_client import Gauge

from holdfast.db import runs
from holdfast.db.engines.base import Transaction
from holdfast.db.statistics.reading import Reading
from holdfast.operations.doctor.types import RUN, Severity

_findings = Gauge("holdfast_doctor_findings", "What the newest examination found, by severity.", ["severity"])
_finished = Gauge("holdfast_doctor_last_run_timestamp_seconds", "When the newest examination ended.")


class _Counted(msgspec.Struct):
    counts: dict[Severity, int]


async def _read(tx: Transaction) -> None:
    run = await runs.find_latest_done(tx, RUN)
    if run is None or run.detail is None:
        return
    counts = msgspec.json.decode(run.detail, type=_Counted).counts
    for severity in Severity:
        _findings.labels(severity).set(counts.get(severity, 0))
    _finished.set(run.finished_at.timestamp())


DOCTOR = Reading("doctor_report", _read, fresh_seconds=60)
