"""A cure that goes through faulty rows page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial

from holdfast.db.engines.base import Transaction
from holdfast.db.retries import with_retries
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.rows import FaultyRows, FoundRow
from holdfast.operations.doctor.types import Change, Subject

ChangePage = Callable[[Subject, Transaction, list[FoundRow]], Awaitable[None]]


class ChunkedCure:
    """Changes rows page by page. Each page is one transaction, with its entry in the audit log."""

    def __init__(
        self,
        check: str,
        rows: FaultyRows,
        *,
        before: Callable[[Subject], datetime],
        change: ChangePage,
        would: str,
        did: str,
    ) -> None:
        self._check = check
        self._rows = rows
        self._before = before
        self._make_change = change
        self._would = would
        self._did = did

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        async for page in self._rows.pages(subject.database, before=self._before(subject)):
            yield self._told(page, self._would)

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        async for page in self._rows.pages(subject.database, before=self._before(subject)):
            change = self._told(page, self._did)
            await with_retries(partial(self._apply_page, subject, page, change))
            yield change

    async def _apply_page(self, subject: Subject, page: list[FoundRow], change: Change) -> None:
        async with subject.database.write() as tx:
            await self._make_change(subject, tx, page)
            await record(tx, subject, change)

    def _told(self, page: list[FoundRow], done: str) -> Change:
        rows = [row.id_text for row in page]
        return Change(check=self._check, table=str(self._rows.table.name), rows=rows, done=done)


class InTurn:
    """Several cures of one check."""

    def __init__(self, *cures: ChunkedCure) -> None:
        self._cures = cures

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        for cure in self._cures:
            async for change in cure.plan(subject):
                yield change

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        for cure in self._cures:
            async for change in cure.apply(subject):
                yield change
