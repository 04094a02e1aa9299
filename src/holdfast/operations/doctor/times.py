"""Times: rows from the future, times that SQLite would sort wrongly, and clocks that disagree."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, Select, String, Table, and_, bindparam, cast, func, or_

from holdfast.db.tables import metadata
from holdfast.db.types import Timestamp
from holdfast.operations.doctor import servers
from holdfast.operations.doctor.rows import FaultyRows
from holdfast.operations.doctor.types import Fault, Severity, Subject

# Replicas may disagree so far without anybody noticing it.
_TOLERATED = timedelta(minutes=5)
_SKEW_NOTICED, _SKEW_WRONG = 2.0, 60.0
_FORM = len("2026-02-05 08:00:00.000000")


def _from_the_future(table: Table) -> FaultyRows | None:
    columns = [table.c[name] for name in ("created_at", "updated_at", "deleted_at", "finished_at") if name in table.c]
    if not columns:
        return None
    later = or_(*(column > bindparam("latest", type_=Timestamp()) for column in columns))
    return FaultyRows("from_the_future", str(table.name), table, lambda rows: rows.where(later))


def _of_another_form(table: Table) -> FaultyRows | None:
    columns: list[Column[Any]] = [column for column in table.columns if isinstance(column.type, Timestamp)]
    if not columns:
        return None

    def narrow(rows: Select[Any]) -> Select[Any]:
        texts = [cast(column, String()) for column in columns]
        return rows.where(or_(*(and_(text.is_not(None), func.length(text) != _FORM) for text in texts)))

    return FaultyRows("times_of_another_form", str(table.name), table, narrow)


FROM_THE_FUTURE = {table.name: _from_the_future(table) for table in metadata.sorted_tables}
OF_ANOTHER_FORM = {table.name: _of_another_form(table) for table in metadata.sorted_tables}


async def find_future_times(subject: Subject) -> AsyncIterator[Fault]:
    """Rows made, changed or deleted later than now."""
    latest = subject.clock() + _TOLERATED
    for name, rows in FROM_THE_FUTURE.items():
        if rows is None:
            continue
        message = f"{{rows}} of {name} have times in the future: a clock was wrong. They come first in every list"
        async for fault in rows.fault(subject.database, Severity.WARNING, message, latest=latest):
            yield fault


async def find_wrong_forms(subject: Subject) -> AsyncIterator[Fault]:
    """Times in another form than `YYYY-MM-DD hh:mm:ss.ffffff`: SQLite compares them as texts."""
    for name, rows in OF_ANOTHER_FORM.items():
        if rows is None:
            continue
        message = f"{{rows}} of {name} have times in another form than YYYY-MM-DD hh:mm:ss.ffffff: they sort wrongly"
        async for fault in rows.fault(subject.database, Severity.ERROR, message):
            yield fault


async def find_clock_skew(subject: Subject) -> AsyncIterator[Fault]:
    """How far the clock of this machine and that of the database server are apart."""
    async with subject.database.read() as tx:
        asked = time.monotonic()
        before = subject.clock()
        there = await servers.read_clock(tx)
        took = time.monotonic() - asked
    middle = before + timedelta(seconds=took / 2)
    skew = abs((there - middle).total_seconds())
    if skew - took / 2 > _SKEW_NOTICED:
        yield Fault(
            severity=Severity.ERROR if skew > _SKEW_WRONG else Severity.WARNING,
            message=f"the clock of the database server is {skew:.1f} seconds off that of this machine: leases, tokens"
            " and the order of entries depend on both. Have both follow a time server",
        )


def in_utc(moment: datetime) -> datetime:
    """A moment without a zone, in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
