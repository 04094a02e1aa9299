"""Making the checks, one after the other, and applying the cures."""

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import msgspec

from holdfast.core.errors import HoldfastError, InvalidInputError
from holdfast.db import runs
from holdfast.db.address import parse_address
from holdfast.db.migrate import schema_status
from holdfast.operations.doctor.registry import BY_NAME, CHECKS, CURES
from holdfast.operations.doctor.schema import LACKING
from holdfast.operations.doctor.types import RUN, Change, Check, Fault, Finding, Report, Severity, Subject

EVERYTHING = "all"
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTICE: 2}

Progress = Callable[[float, str], None]


def chosen(names: Collection[str]) -> list[Check]:
    """The checks of these names, or all; refuses a name that there is none of."""
    for name in names:
        if name not in BY_NAME:
            raise InvalidInputError(f"there is no check {name}: `holdfast doctor --list` names them all")
    return [check for check in CHECKS if not names or check.name in names]


def chosen_cures(names: Collection[str]) -> list[Check]:
    """The checks whose cures are wanted, in the order of their application; `all` for every one."""
    if EVERYTHING in names:
        return list(CURES)
    for name in names:
        if name not in BY_NAME:
            raise InvalidInputError(f"there is no check {name}: `holdfast doctor --list` names them all")
        if BY_NAME[name].cure is None:
            raise InvalidInputError(f"what {name} finds has no cure: its findings say what a person can do")
    return [check for check in CURES if check.name in names]


async def examine(
    subject: Subject, names: Collection[str] = (), *, progress: Progress = lambda share, name: None
) -> Report:
    """Make the checks; nothing is changed. A check that cannot be made is itself a finding."""
    started_at = subject.clock()
    dialect_name = subject.database.dialect_name
    left_out: dict[str, str] = {}
    made: list[str] = []
    findings: list[Finding] = []
    lacks_tables = await _lacks_tables(subject)
    checks = chosen(names)
    for number, check in enumerate(checks):
        progress(number / len(checks), check.name)
        if dialect_name not in check.dialects:
            left_out[check.name] = f"it is for {' and '.join(check.dialects)}"
        elif check.needs_tables and (lacks_tables or any(_is_lacking(finding) for finding in findings)):
            left_out[check.name] = "the schema lacks tables or columns: mend it first"
        else:
            made.append(check.name)
            findings += await _findings_of(check, subject)
    progress(1.0, "")
    findings.sort(key=lambda finding: _ORDER[finding.severity])
    counts = {severity: sum(each.severity == severity for each in findings) for severity in Severity}
    return Report(
        started_at=started_at,
        finished_at=subject.clock(),
        engine=dialect_name,
        checks=made,
        left_out=left_out,
        counts=counts,
        findings=findings,
    )


async def keep(subject: Subject, report: Report) -> None:
    """Put a report down as a run, for the API, the metrics and whoever looks later."""
    async with subject.database.write() as tx:
        await runs.record(
            tx, RUN, report.started_at, "done", detail=msgspec.to_builtins(report), clock=lambda: report.finished_at
        )


async def plan_cures(subject: Subject, names: Collection[str]) -> AsyncIterator[Change]:
    """What the cures would change, row by row; nothing is changed."""
    for check in _possible(subject, names):
        assert check.cure is not None
        async for change in check.cure.plan(subject):
            yield change


async def apply_cures(subject: Subject, names: Collection[str]) -> AsyncIterator[Change]:
    """Apply the cures; every change as it is done."""
    for check in _possible(subject, names):
        assert check.cure is not None
        async for change in check.cure.apply(subject):
            yield change


def _possible(subject: Subject, names: Collection[str]) -> list[Check]:
    return [check for check in chosen_cures(names) if subject.database.dialect_name in check.dialects]


async def _findings_of(check: Check, subject: Subject) -> list[Finding]:
    findings: list[Finding] = []
    try:
        async for fault in check.find(subject):
            findings.append(_finding(check, fault))  # noqa: PERF401 - what was found before an error stays
    except (HoldfastError, OSError) as error:
        reason = getattr(error, "message", None) or str(error)
        fault = Fault(severity=Severity.ERROR, message=f"this check could not be made: {reason}")
        findings.append(_finding(check, fault))
    return findings


def _finding(check: Check, fault: Fault) -> Finding:
    return Finding(
        check=check.name,
        severity=fault.severity,
        message=fault.message,
        table=fault.table,
        rows=fault.rows,
        count=fault.count,
        fix=check.name if fault.is_curable and check.cure is not None else None,
    )


def _is_lacking(finding: Finding) -> bool:
    return finding.check == "migrations" or (finding.check == "schema" and LACKING.match(finding.message) is not None)


async def _lacks_tables(subject: Subject) -> bool:
    """Whether the database is not of this version at all; its differences are told by the checks of the schema."""
    try:
        status: Any = await schema_status(parse_address(subject.settings.resolved_database_url))
    except HoldfastError:
        return True
    return status.current is None or bool(status.pending)
