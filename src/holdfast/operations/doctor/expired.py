"""Rows whose time is long over, and which the periodic job that removes them left."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Table, bindparam, delete

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.row_format import has_keys, key_parameters
from holdfast.db.statements import Command, live
from holdfast.db.tables import idempotency_keys, sign_in_failures, tokens
from holdfast.operations.doctor.chunked_cure import ChangePage, ChunkedCure, InTurn
from holdfast.operations.doctor.rows import FaultyRows, FoundRow
from holdfast.operations.doctor.types import Change, Fault, Severity, Subject
from holdfast.operations.doctor.working_state import FIRST_JOB

_KEPT_AFTER = timedelta(days=2)
_TOKENS_STAY = timedelta(days=30)


class _Expired(msgspec.Struct, frozen=True):
    """Rows that a periodic job of that name removes, and long ago should have."""

    rows: FaultyRows
    remove: Command
    job: str
    before: Callable[[Subject], datetime]


def _expired(table: Table, column: str, job: str, stay: Callable[[Subject], timedelta], *more: Any) -> _Expired:
    conditions = (table.c[column] < bindparam("before", type_=table.c[column].type), *more)
    return _Expired(
        FaultyRows("expired", str(table.name), table, lambda rows: rows.where(*conditions)),
        Command(f"doctor.remove_expired({table.name})", delete(table).where(has_keys(table), *conditions)),
        job,
        lambda subject: subject.clock() - stay(subject) - _KEPT_AFTER,
    )


EXPIRED = (
    # What a deletion marked comes back with it, or goes with its purge.
    _expired(tokens, "expires_at", "accounts.remove_expired_tokens", lambda subject: _TOKENS_STAY, live(tokens)),
    _expired(
        idempotency_keys,
        "created_at",
        "answers.remove_old",
        lambda subject: timedelta(hours=subject.settings.idempotency_hours),
    ),
    _expired(
        sign_in_failures,
        "window_started_at",
        "accounts.remove_old_sign_in_failures",
        lambda subject: timedelta(seconds=subject.settings.sign_in_window_seconds),
    ),
)


async def find_expired(subject: Subject) -> AsyncIterator[Fault]:
    """Rows whose time is long over, which a periodic job removes."""
    if not await _had_a_worker(subject):
        return
    for each in EXPIRED:
        message = f"{{rows}} of {each.rows.table.name} should have gone days ago: the job {each.job} does not run"
        async for fault in each.rows.fault(
            subject.database, Severity.WARNING, message, is_curable=True, before=each.before(subject)
        ):
            yield fault


async def _had_a_worker(subject: Subject) -> bool:
    """Whether one has run here for longer than it needs to remove what has expired."""
    async with subject.database.read() as tx:
        first = (await tx.fetch_all(FIRST_JOB))[0].value
    return first is not None and first < subject.clock() - _KEPT_AFTER


class RemoveExpired:
    """What the job should have removed goes."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        if await _had_a_worker(subject):
            async for change in _REMOVING.plan(subject):
                yield change

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        if await _had_a_worker(subject):
            async for change in _REMOVING.apply(subject):
                yield change


def _remove(expired: _Expired) -> ChangePage:
    async def remove(subject: Subject, tx: Transaction, page: list[FoundRow]) -> None:
        keys = key_parameters([row.key for row in page])
        await tx.execute(expired.remove, **keys, before=expired.before(subject))

    return remove


_REMOVING = InTurn(
    *(
        ChunkedCure(
            "expired_rows",
            each.rows,
            before=each.before,
            change=_remove(each),
            would="would go: their time is over",
            did="removed: their time was over",
        )
        for each in EXPIRED
    )
)
