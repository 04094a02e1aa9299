"""What the doctor finds, what it changes, and what a check and a cure are."""

import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.db.engines.base import Database
from holdfast.db.statements import DIALECTS
from holdfast.settings import Settings

# So many rows of a finding are named; `count` tells how many there are.
MOST_ROWS = 20
# The run that an examination leaves, whoever made it, and the job that makes one each day.
RUN = "operations.doctor"


class Severity(StrEnum):
    """How much a finding matters.

    `error`: data is wrong, lost, or not protected any more. `warning`: it works, and will not for long. `notice`: worth
    knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What a check tells of one fault. `rows` are the ids of rows, or names of objects or files."""

    severity: Severity
    message: str
    table: str | None = None
    rows: list[str] = []
    count: int = 1
    is_curable: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A fault with the name of the check that found it.

    `count` is exact, `rows` names at most the first twenty. `fix` is the name by which the doctor cures it, or null
    where a person must decide.
    """

    check: str
    severity: Severity
    message: str
    table: str | None
    rows: list[str]
    count: int
    fix: str | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The findings of an examination, the worst first, and which checks were made. `left_out` says why others were not.

    `counts` are findings by severity.
    """

    started_at: datetime
    finished_at: datetime
    engine: str
    checks: list[str]
    left_out: dict[str, str] = {}
    counts: dict[Severity, int]
    findings: list[Finding]

    @property
    def has_errors(self) -> bool:
        """Whether something is wrong, and not only worth knowing."""
        return self.counts[Severity.ERROR] > 0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a cure did to some rows of a table, or would do; `done` is the sentence that tells it."""

    check: str
    table: str | None
    rows: list[str]
    done: str


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is examined: a database and its folders.

    `periodic` are the jobs that must run, with their intervals. `disk_usage` answers as `shutil.disk_usage`.
    """

    database: Database
    settings: Settings
    periodic: Mapping[str, timedelta] = {}
    clock: Clock = utc_now
    disk_usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage


class Cure(Protocol):
    """How the faults of a check are mended."""

    def plan(self, subject: Subject) -> AsyncIterator[Change]:
        """What would change, with every row; nothing is changed."""

    def apply(self, subject: Subject) -> AsyncIterator[Change]:
        """Change it, in short transactions, each with its entry in the audit log; what was changed, as it is done.

        Left off halfway and begun again, it goes on where it stood.
        """


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check. `needs_tables` says that it cannot be made while the schema lacks tables or columns."""

    name: str
    summary: str
    find: Callable[[Subject], AsyncIterator[Fault]]
    cure: Cure | None = None
    dialects: tuple[str, ...] = DIALECTS
    needs_tables: bool = True
