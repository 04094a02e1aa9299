"""Marks of deletion: live rows beneath deleted ones, and rows that bear a deletion which cannot be theirs."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from functools import partial

from sqlalchemy import Table

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.row_format import key_parameters
from holdfast.db.lifecycle.trash import count_marked
from holdfast.db.retries import with_retries
from holdfast.db.statements import Query
from holdfast.db.tables.base import policy_of
from holdfast.features.deletions import queries as deletion_queries
from holdfast.features.deletions.system_actor import get_system_actor
from holdfast.operations.doctor import mark_queries as queries
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.deletion_counts import settle_counts
from holdfast.operations.doctor.mark_queries import BorneId, MarkedRow
from holdfast.operations.doctor.rows import ROWS_AT_ONCE
from holdfast.operations.doctor.types import Change, Fault, Severity, Subject

_LEFT_BY_PURGE = "rows that bear it were found after its purge: purge it again, which takes them along"
_LEFT_BY_RESTORE = "rows that bear it were found after its restore: restore it again, or purge it"


async def find_live_under_deleted(subject: Subject) -> AsyncIterator[Fault]:
    """Live rows that hang on a deleted one, for each foreign key."""
    for edge in queries.SOFT_EDGES:
        also = "; a rule among them allows nothing" if edge.child.name == "image_allow_list" else ""
        message = (
            f"{{rows}} of {edge.name} are live and hang on a deleted row of {edge.parent.name}: a purge of it is"
            f" refused{also}"
        )
        found = queries.LIVE_UNDER_DELETED[edge.name]
        async for fault in found.fault(subject.database, Severity.ERROR, message, is_curable=True):
            yield fault


async def find_unknown_deletions(subject: Subject) -> AsyncIterator[Fault]:
    """Rows that are deleted, by a deletion that is not recorded."""
    for table in GRAPH.soft_tables:
        message = f"{{rows}} of {table.name} are deleted by deletions that nobody knows: none restores or purges them"
        found = queries.OF_UNKNOWN[table.name]
        async for fault in found.fault(subject.database, Severity.ERROR, message, is_curable=True):
            yield fault


async def find_finished_deletions(subject: Subject) -> AsyncIterator[Fault]:
    """Rows that still bear a deletion which is purged or restored."""
    for table in GRAPH.soft_tables:
        message = f"{{rows}} of {table.name} bear a deletion that is said to be purged or restored: nobody sees them"
        found = queries.OF_FINISHED[table.name]
        async for fault in found.fault(subject.database, Severity.ERROR, message, is_curable=True):
            yield fault


class MarkWithParent:
    """They are marked with the deletion of what they hang on, which a restore brings back with them."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        for table in queries.MARKABLE:
            async with subject.database.snapshot() as tx, aclosing(_pages_to_mark(tx, table)) as pages:
                async for page in pages:
                    for change in _by_deletion(table, page, "would be marked with"):
                        yield change

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        for table in queries.MARKABLE:
            while True:
                async with subject.database.snapshot() as tx, aclosing(_pages_to_mark(tx, table)) as pages:
                    page: list[MarkedRow] = await anext(pages, [])
                changed = 0
                for change in _by_deletion(table, page, "marked with"):
                    marked = await with_retries(partial(_mark, subject, table, page, change))
                    changed += marked
                    if marked:
                        yield change
                # What could not be marked now, because its deletion changed, is left to the next run.
                if not changed:
                    break


def _pages_to_mark(tx: Transaction, table: Table) -> AsyncGenerator[list[MarkedRow], None]:
    return tx.fetch_pages(queries.ROWS_TO_MARK[table.name], ROWS_AT_ONCE)


def _by_deletion(table: Table, page: list[MarkedRow], verb: str) -> list[Change]:
    grouped: dict[str, list[str]] = {}
    for row in page:
        grouped.setdefault(row.deletion_id, []).append(row.id_text)
    return [
        Change(check="live_under_deleted", table=str(table.name), rows=ids, done=f"{verb} deletion {deletion_id}")
        for deletion_id, ids in grouped.items()
    ]


async def _mark(subject: Subject, table: Table, page: list[MarkedRow], change: Change) -> int:
    deletion_id = change.done.rpartition(" ")[2]
    keys = [row.key for row in page if row.deletion_id == deletion_id]
    now = subject.clock()
    async with subject.database.write() as tx:
        if not await tx.fetch_all(queries.LOCK_DELETED, ids=[deletion_id]):
            return 0
        marked = await tx.execute(
            queries.MARK[table.name], **key_parameters(keys), deletion_id=deletion_id, deleted_at=now
        )
        await settle_counts(tx, [deletion_id], now)
        await record(tx, subject, change, deletion_id=deletion_id)
        return marked


class RecordDeletions:
    """Each unknown deletion is recorded, with the rows that bear it, and kept as long as one made now."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        async for each in _ids(subject, queries.UNKNOWN_IDS):
            yield Change(
                check="unknown_deletions", table="deletions", rows=[each], done=f"deletion {each} would be recorded"
            )

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        async for each in _ids(subject, queries.UNKNOWN_IDS):
            change = Change(
                check="unknown_deletions", table="deletions", rows=[each], done=f"deletion {each} is recorded"
            )
            await with_retries(partial(_record_deletion, subject, each, change))
            yield change


async def _record_deletion(subject: Subject, deletion_id: str, change: Change) -> None:
    now = subject.clock()
    async with subject.database.write() as tx:
        counts = await count_marked(tx, deletion_id)
        root_table = next(table for table in GRAPH.soft_tables if table.name in counts)
        root = await tx.fetch_one(queries.FIRST_MARKED[root_table.name], deletion_id=deletion_id)
        assert root is not None
        actor = await get_system_actor(tx)
        await tx.execute(
            deletion_queries.INSERT_DELETION,
            id=deletion_id,
            root_type=policy_of(root_table).audited_as,
            root_id=_written_id(root_table, root),
            root_label=root.id_text,
            actor_id=actor.user_id,
            actor_name=actor.username,
            reason="found by the doctor: its rows were deleted, and it was not recorded",
            state="deleted",
            planned_counts=counts,
            actual_counts=counts,
            set_null_counts={},
            purge_after=now + timedelta(days=subject.settings.retention_deleted_days),
            created_at=now,
            updated_at=now,
        )
        await record(tx, subject, change, counts=counts)


def _written_id(table: Table, row: MarkedRow) -> str:
    # Members are named group first, as in their path.
    return "/".join(reversed(row.key)) if table.name == "user_group" else row.id_text


class ReopenDeletions:
    """The deletion counts as failed again, with the reason, so that a person restores or purges what is left."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        async for each in _ids(subject, queries.FINISHED_IDS):
            yield _reopening(each, "would be opened again, as failed")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        async for each in _ids(subject, queries.FINISHED_IDS):
            change = _reopening(each, "is opened again, as failed")
            await with_retries(partial(_reopen, subject, each, change))
            yield change


def _reopening(deletion_id: str, told: str) -> Change:
    done = f"deletion {deletion_id} {told}"
    return Change(check="finished_deletions", table="deletions", rows=[deletion_id], done=done)


async def _reopen(subject: Subject, deletion_id: str, change: Change) -> None:
    now = subject.clock()
    async with subject.database.write() as tx:
        counts = await count_marked(tx, deletion_id)
        await _reopen_in(tx, deletion_id, counts, now=now)
        await record(tx, subject, change, counts=counts)


async def _reopen_in(tx: Transaction, deletion_id: str, counts: dict[str, int], **times: object) -> None:
    shared = {"deletion_id": deletion_id, "updated_at": times["now"]}
    if not await tx.execute(queries.REOPEN_PURGED, failure=_LEFT_BY_PURGE, **shared):
        await tx.execute(
            queries.REOPEN_RESTORED,
            failure=_LEFT_BY_RESTORE,
            planned_counts=counts,
            actual_counts=counts,
            **shared,
        )


async def _ids(subject: Subject, query: Query[BorneId]) -> AsyncIterator[str]:
    after = ""
    while True:
        async with subject.database.snapshot() as tx:
            page = await tx.fetch_all(query, after_id=after, at_most=ROWS_AT_ONCE)
        for each in page:
            yield each.id
        if len(page) < ROWS_AT_ONCE:
            return
        after = page[-1].id
