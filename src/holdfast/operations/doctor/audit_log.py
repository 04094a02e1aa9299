"""The audit log: its archives are whole, no entries are gone that nothing took out, and new ones get a free number."""

from collections.abc import AsyncIterator

import msgspec

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.numbering import go_on_after, last_number_given
from holdfast.db.tables import audit_logs
from holdfast.operations.doctor import file_queries as queries
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.bundles import files_of, wrong_with
from holdfast.operations.doctor.file_queries import Gap, NamedFile
from holdfast.operations.doctor.types import MOST_ROWS, Change, Fault, Severity, Subject

# A transaction that is rolled back uses up numbers on the servers, some dozens at once; on SQLite it gives them back.
_LEAST_GAP = {"sqlite": 1, "postgresql": 1000, "mariadb": 1000}


async def find_damaged_archives(subject: Subject) -> AsyncIterator[Fault]:
    """Archives of old entries that are missing or changed, or whose numbers cannot be."""
    damaged: list[tuple[NamedFile, str]] = []
    async for file in files_of(subject.database, queries.ARCHIVES):
        reason = await in_thread(wrong_with, file.path, file.sha256)
        if reason is not None:
            damaged.append((file, reason))
    if damaged:
        file, reason = damaged[0]
        more = f" (and {len(damaged) - 1:,} more archives)" if len(damaged) > 1 else ""
        yield Fault(
            severity=Severity.ERROR,
            message=f"the archive {file.of} of {file.rows:,} entries of the audit log, {file.path}, {reason}: what left"
            f" the log with it is nowhere else. Bring the file back from a copy{more}",
            table="audit_archives",
            rows=[each.of for each, _ in damaged[:MOST_ROWS]],
            count=len(damaged),
        )
    async with subject.database.read() as tx:
        archives = await tx.fetch_all(queries.ARCHIVED)
    wrong = [each.id for each in archives if not 0 <= each.removed_rows <= each.row_count]
    if wrong:
        yield Fault(
            severity=Severity.ERROR,
            message=f"{len(wrong):,} archives say that more entries left the log than they hold: somebody changed"
            " their rows",
            table="audit_archives",
            rows=wrong[:MOST_ROWS],
            count=len(wrong),
        )


async def find_gaps(subject: Subject) -> AsyncIterator[Fault]:
    """Entries that are gone, and that neither retention, nor the purge of their actor, nor the doctor took out."""
    async with subject.database.snapshot() as tx:
        gaps = await tx.fetch_all(queries.GAPS, least=_LEAST_GAP[tx.dialect_name])
        last = (await tx.fetch_all(queries.LAST_ENTRY))[0].value
        given = await last_number_given(tx, audit_logs)
        if last is not None and given - last >= _LEAST_GAP[tx.dialect_name]:
            gaps.append(Gap(before=given + 1, missing=given - last))
        explained = await _taken_out(tx) if gaps else 0
    missing = sum(gap.missing for gap in gaps)
    if missing > explained:
        yield Fault(
            severity=Severity.WARNING,
            message=f"{missing:,} numbers of the audit log have no entry, and retention and purges explain"
            f" {explained:,} of them: somebody may have removed entries. Compare with a backup",
            table="audit_logs",
            rows=[f"{gap.before - gap.missing}-{gap.before - 1}" for gap in gaps[:MOST_ROWS]],
            count=missing - explained,
        )


async def find_taken_numbers(subject: Subject) -> AsyncIterator[Fault]:
    """Whether the next entry would get a number that is taken, as after an import with its own numbers."""
    async with subject.database.read() as tx:
        last = (await tx.fetch_all(queries.LAST_ENTRY))[0].value
        given = await last_number_given(tx, audit_logs)
    if last is not None and given < last:
        yield Fault(
            severity=Severity.ERROR,
            message=f"the next entry of the audit log gets the number {given + 1}, and there are entries up to {last}:"
            " every change is refused once it meets one",
            table="audit_logs",
            rows=[str(given + 1)],
            count=last - given,
            is_curable=True,
        )


class SetNumber:
    """New entries are numbered after all that there are."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        async for fault in find_taken_numbers(subject):
            yield _change(fault.rows, "would be numbered after the last one")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        async for fault in find_taken_numbers(subject):
            change = _change(fault.rows, "are numbered after the last one from now on")
            async with subject.database.write() as tx:
                last = (await tx.fetch_all(queries.LAST_ENTRY))[0].value or 0
                await go_on_after(tx, audit_logs, last)
                await record(tx, subject, change)
            yield change


async def _taken_out(tx: Transaction) -> int:
    """How many entries left the log in a way that it knows of."""
    removed = sum(each.removed_rows for each in await tx.fetch_all(queries.ARCHIVED))
    for each in await tx.fetch_all(queries.PURGED_COUNTS):
        removed += msgspec.json.decode(each.counts, type=dict[str, int]).get("audit_logs", 0)
    for each in await tx.fetch_all(queries.CURED_ENTRIES):
        removed += len(msgspec.json.decode(each.counts).get("rows", ()))
    return removed


def _change(rows: list[str], done: str) -> Change:
    return Change(check="audit_numbers", table="audit_logs", rows=rows, done=f"new entries of the audit log {done}")
