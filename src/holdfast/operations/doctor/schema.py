"""The schema: whether every migration has run, and whether the live catalogue has all that this version needs."""

import re
from collections.abc import AsyncIterator

from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.migrate import schema_status
from holdfast.db.repair import Repair, Repaired, read_drift, repair_schema
from holdfast.db.tables import metadata
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.types import Change, Fault, Severity, Subject

# What other checks cannot do without.
LACKING = re.compile(r"(table \w+|column \w+\.\w+) is missing")
_MEANINGS = (
    ("foreign key", "the database no longer keeps rows from losing their parent"),
    ("unique key", "the database takes two rows of one name"),
    (": check ", "the database takes values that must not be"),
    (": index ", "lists, deletions and checks read whole tables"),
    ("procedure ", "the database's own cleanup does other than it says"),
    ("table ", "what it held is gone: restore a backup"),
    ("column ", "the server does not start on it"),
)


async def find_pending(subject: Subject) -> AsyncIterator[Fault]:
    """Migrations still to come."""
    status = await schema_status(_address(subject))
    if status.current is None:
        yield _to_migrate("the database is empty")
    elif status.pending:
        yield _to_migrate(f"the database is at revision {status.current}, this version needs {status.head}")


def _to_migrate(state: str) -> Fault:
    return Fault(
        severity=Severity.ERROR,
        message=f"{state}: no server starts on it. Run `holdfast migrate`, then ask again",
        table="alembic_version",
    )


async def find_drift(subject: Subject) -> AsyncIterator[Fault]:
    """Each difference from the tables as this version declares them, or nothing while migrations are to come."""
    status = await schema_status(_address(subject))
    if status.current is None or status.pending or status.is_ahead:
        return
    sentences, repairs = await read_drift(_address(subject))
    curable = {each.sentence for each in repairs}
    for sentence in sentences:
        meaning = next(
            (meaning for words, meaning in _MEANINGS if words in sentence), "the server does not start on it"
        )
        yield Fault(
            severity=Severity.ERROR,
            message=f"{sentence}: {meaning}",
            table=next((word for word in re.findall(r"\w+", sentence) if word in metadata.tables), None),
            rows=re.findall(r"\b(?:index|key|check|procedure|view) (\w+)", sentence)[:1],
            is_curable=sentence in curable,
        )


class MendSchema:
    """Missing indexes, constraints, views and procedures are made again. A constraint waits for rows that keep it."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        for each in await self._repairs(subject):
            yield Change(check="schema", table=each.table, rows=[each.name], done=f"would mend: {each.sentence}")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        if not await self._repairs(subject):
            return
        for each in await repair_schema(_address(subject)):
            change = _change(each)
            if each.failure is None:
                async with subject.database.write() as tx:
                    await record(tx, subject, change)
            yield change

    async def _repairs(self, subject: Subject) -> list[Repair]:
        status = await schema_status(_address(subject))
        if status.current is None or status.pending or status.is_ahead:
            return []
        _, repairs = await read_drift(_address(subject))
        return repairs


def _change(done: Repaired) -> Change:
    repair = done.repair
    told = f"mended: {repair.sentence}"
    if done.failure is not None:
        told = f"not mended: {repair.sentence}. The database refused: {done.failure}"
    return Change(check="schema", table=repair.table, rows=[repair.name], done=told)


def _address(subject: Subject) -> DatabaseAddress:
    return parse_address(subject.settings.resolved_database_url)
