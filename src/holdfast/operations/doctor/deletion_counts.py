"""What deletions say of their rows, held against the rows that bear them."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime

import msgspec

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.retries import with_retries
from holdfast.db.statements import Query
from holdfast.operations.doctor import mark_queries as queries
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.mark_queries import CountedDeletion
from holdfast.operations.doctor.types import MOST_ROWS, Change, Fault, Severity, Subject

_AT_ONCE = 200

Counts = dict[str, int]


class _Mismatch(msgspec.Struct, frozen=True):
    """A deletion that says other numbers than there are rows."""

    id: str
    said: Counts
    found: Counts


async def find_wrong_counts(subject: Subject) -> AsyncIterator[Fault]:
    """Deletions whose counts are not those of the rows that bear them, and purges that removed other numbers."""
    found = [each async for page in _mismatches(subject.database) for each in page]
    if found:
        first = found[0]
        yield Fault(
            severity=Severity.ERROR,
            message=f"{len(found):,} deletions have other rows than they say, such as {first.id}: {first.said} were"
            f" taken and {first.found} bear it. A restore of it is refused",
            table="deletions",
            rows=[each.id for each in found[:MOST_ROWS]],
            count=len(found),
            is_curable=True,
        )
    wrong = [
        each.id
        async for page in pages_of(subject.database, queries.PURGED_PAGE)
        for each in page
        if each.actual_counts is not None and counts_of(each.planned_counts) != counts_of(each.actual_counts)
    ]
    if wrong:
        yield Fault(
            severity=Severity.WARNING,
            message=f"{len(wrong):,} purges removed other numbers of rows than they had planned: compare their bundles"
            " (`holdfast recover BUNDLE --dry-run`) with what is there",
            table="deletions",
            rows=wrong[:MOST_ROWS],
            count=len(wrong),
        )


class SettleCounts:
    """The counts become those of the rows that there are; what they were stands in the audit log."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        async for page in _mismatches(subject.database):
            for each in page:
                yield _change(each, "would say")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        async for page in _mismatches(subject.database):
            for each in page:

                async def settle(each: _Mismatch = each) -> None:
                    async with subject.database.write() as tx:
                        await settle_counts(tx, [each.id], subject.clock())
                        await record(tx, subject, _change(each, "says now"), said=each.said, found=each.found)

                await with_retries(settle)
                yield _change(each, "says now")


async def settle_counts(tx: Transaction, ids: Collection[str], now: datetime) -> None:
    """Let deletions that can be restored say how many rows bear them."""
    if not ids:
        return
    locked = await tx.fetch_all(queries.LOCK_DELETED, ids=sorted(ids))
    marked = await marks_of(tx, [each.id for each in locked])
    for each in locked:
        counts = marked.get(each.id, {})
        if counts != counts_of(each.actual_counts):
            await tx.execute(
                queries.SET_COUNTS, deletion_id=each.id, planned_counts=counts, actual_counts=counts, updated_at=now
            )


async def marks_of(tx: Transaction, ids: Collection[str]) -> dict[str, Counts]:
    """How many rows of each table bear each of the deletions."""
    found: dict[str, Counts] = {}
    if ids:
        for row in await tx.fetch_all(queries.MARKS, ids=sorted(ids)):
            found.setdefault(row.deletion_id, {})[row.table] = row.rows
    return found


async def pages_of(database: Database, query: Query[CountedDeletion]) -> AsyncIterator[list[CountedDeletion]]:
    """Deletions in the order of their ids."""
    after = ""
    while True:
        async with database.snapshot() as tx:
            page = await tx.fetch_all(query, after_id=after, at_most=_AT_ONCE)
        if page:
            yield page
        if len(page) < _AT_ONCE:
            return
        after = page[-1].id


def counts_of(text: str | None) -> Counts:
    """Counts as a deletion's row keeps them; tables with a zero are left out."""
    if text is None:
        return {}
    read = msgspec.json.decode(text, type=dict[str, int])
    return {name: rows for name, rows in read.items() if rows}


async def _mismatches(database: Database) -> AsyncIterator[list[_Mismatch]]:
    after = ""
    while True:
        async with database.snapshot() as tx:
            page = await tx.fetch_all(queries.DELETED_PAGE, after_id=after, at_most=_AT_ONCE)
            marked = await marks_of(tx, [each.id for each in page])
            found = []
            for each in page:
                said, there = counts_of(each.actual_counts), marked.get(each.id, {})
                if said != there and not await _is_explained(tx, each, said, there):
                    found.append(_Mismatch(each.id, said, there))
        if found:
            yield found
        if len(page) < _AT_ONCE:
            return
        after = page[-1].id


async def _is_explained(tx: Transaction, deletion: CountedDeletion, said: Counts, there: Mapping[str, int]) -> bool:
    """Whether what is missing went with the purge of a deletion above, which took rows of these tables since."""
    if any(rows > said.get(table, 0) for table, rows in there.items()):
        return False
    purged: Counts = {}
    for each in await tx.fetch_all(queries.PURGED_SINCE, since=deletion.created_at):
        for table, rows in counts_of(each.planned_counts).items():
            purged[table] = purged.get(table, 0) + rows
    return all(rows - there.get(table, 0) <= purged.get(table, 0) for table, rows in said.items())


def _change(found: _Mismatch, verb: str) -> Change:
    done = f"deletion {found.id} {verb} {found.found} instead of {found.said}"
    return Change(check="deletion_counts", table="deletions", rows=[found.id], done=done)
