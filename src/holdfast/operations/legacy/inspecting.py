"""Looking at an older database: what is in it, and what an import into an empty Holdfast would make of each row."""

from pathlib import Path

import msgspec

from holdfast.operations.legacy.importing import LegacyReport, Progress, imagine_import
from holdfast.operations.legacy.report import Finding, Report
from holdfast.operations.legacy.types import Options


class Inspection(msgspec.Struct, frozen=True):
    """What was found. The report is that of an import which was only imagined."""

    report: LegacyReport
    findings: list[Finding]


async def inspect_legacy(
    source_url: str,
    options: Options,
    *,
    path: Path | None = None,
    name: str | None = None,
    progress: Progress = lambda part, done, whole: None,
) -> Inspection:
    """Read all of it, apply every rule, and write nothing but the report, where a path is given."""
    with Report(path) as told:
        report = await imagine_import(None, source_url, options, name=name, progress=progress, tell=told.tell)
    return Inspection(report, told.findings)
