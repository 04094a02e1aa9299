"""What the worker does for the doctor: an examination each day, and when somebody asks for one."""

from collections.abc import Mapping
from datetime import timedelta

import msgspec
import structlog

from holdfast.core.clock import Clock
from holdfast.db.engines.base import Database
from holdfast.db.jobs import Done
from holdfast.operations.doctor.examination import examine, keep
from holdfast.operations.doctor.types import Report, Severity, Subject
from holdfast.settings import Settings

_log = structlog.get_logger("holdfast.doctor")


async def examine_daily(
    database: Database, settings: Settings, periodic: Mapping[str, timedelta | None], clock: Clock
) -> Done:
    """An examination; its report stands with the run, which bears the name of its job."""
    report = await _examine(database, settings, periodic, clock)
    return Done(len(report.findings), msgspec.to_builtins(report))


async def examine_now(
    database: Database, settings: Settings, periodic: Mapping[str, timedelta | None], clock: Clock
) -> Done:
    """An examination that somebody asked for; its report is kept as that of the daily one is."""
    report = await _examine(database, settings, periodic, clock)
    await keep(Subject(database=database, settings=settings, clock=clock), report)
    return Done(len(report.findings))


async def _examine(
    database: Database, settings: Settings, periodic: Mapping[str, timedelta | None], clock: Clock
) -> Report:
    expected = {name: every for name, every in periodic.items() if every is not None}
    report = await examine(Subject(database=database, settings=settings, periodic=expected, clock=clock))
    for each in report.findings:
        tell = _log.error if each.severity is Severity.ERROR else _log.warning
        tell("doctor_found", check=each.check, severity=str(each.severity), count=each.count, reason=each.message)
    return report
