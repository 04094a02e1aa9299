"""The key map of an import: its statements, and notes on rows as it holds them.

An entry is written in the transaction of the row itself, which makes an import resumable.
"""

from datetime import datetime

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, true, update

from holdfast.db.key_map import legacy_imports, legacy_keys
from holdfast.db.statements import Command, Count, Query, any_of, parameters_for
from holdfast.db.types import Key
from holdfast.operations.legacy.types import KeyEntry, Note


class AuditRange(msgspec.Struct, frozen=True):
    """Old audit entries up to `last` get their number plus `offset`."""

    last: int
    offset: int


class ImportState(msgspec.Struct, frozen=True):
    """What is known of the imports of one source."""

    source: str
    flavour: str
    started_at: datetime
    finished_at: datetime | None
    audit_ranges: str

    @property
    def ranges(self) -> list[AuditRange]:
        """The numbers of audit entries that are given."""
        return msgspec.json.decode(self.audit_ranges, type=list[AuditRange])


class OutcomeCount(msgspec.Struct, frozen=True):
    """How many rows of a table became what."""

    table_name: str
    outcome: str
    rows: int


class NamedEntry(msgspec.Struct, frozen=True):
    """An entry of the report."""

    old_key: str
    new_id: str
    outcome: str
    notes: str


class MappedId(msgspec.Struct, frozen=True):
    """An id that an import has given, and of which source."""

    new_id: str
    source: str


_of_source = legacy_keys.c.source == bindparam("source", type_=Key(60))
_of_table = legacy_keys.c.table_name == bindparam("table_name", type_=Key(40))
_columns = legacy_keys.c
ENTRIES = Query(
    "legacy_keys.entries",
    select(_columns.old_key, _columns.new_id, _columns.outcome, _columns.notes, _columns.is_checked).where(
        _of_source, _of_table, any_of(_columns.old_key, "keys")
    ),
    KeyEntry,
)
NOTED = Query(
    "legacy_keys.noted",
    select(_columns.old_key, _columns.new_id, _columns.outcome, _columns.notes)
    .where(_of_source, _of_table, _columns.notes != "", _columns.old_key > bindparam("after", type_=Key(64)))
    .order_by(_columns.old_key)
    .limit(bindparam("at_most")),
    NamedEntry,
)
MAPPED = Query(
    "legacy_keys.mapped",
    select(_columns.new_id, _columns.source).where(_of_table, any_of(_columns.new_id, "ids")),
    MappedId,
)
COUNTS = Query(
    "legacy_keys.counts",
    select(_columns.table_name, _columns.outcome, func.count().label("rows"))
    .where(_of_source)
    .group_by(_columns.table_name, _columns.outcome)
    .order_by(_columns.table_name, _columns.outcome),
    OutcomeCount,
    heavy=True,
)
COUNT_MADE = Query(
    "legacy_keys.count_made",
    select(func.count().label("value")).where(_of_source, _columns.outcome == "made"),
    Count,
    heavy=True,
)
INSERT = Command(
    "legacy_keys.insert",
    insert(legacy_keys).values(parameters_for(legacy_keys, *(column.name for column in legacy_keys.columns))),
)
REMOVE = Command(
    "legacy_keys.remove", delete(legacy_keys).where(_of_source, _of_table, any_of(_columns.old_key, "keys"))
)
FORGET = Command("legacy_keys.forget", delete(legacy_keys).where(_of_source))
FORGET_IMPORT = Command(
    "legacy_keys.forget_import",
    delete(legacy_imports).where(legacy_imports.c.source == bindparam("source", type_=Key(60))),
)
CHECK = Command(
    "legacy_keys.check",
    update(legacy_keys).where(_of_source, _of_table, any_of(_columns.old_key, "keys")).values(is_checked=true()),
)
STATE = Query(
    "legacy_keys.state",
    select(*legacy_imports.columns).where(legacy_imports.c.source == bindparam("source", type_=Key(60))),
    ImportState,
)
BEGIN = Command(
    "legacy_keys.begin",
    insert(legacy_imports).values(parameters_for(legacy_imports, *(column.name for column in legacy_imports.columns))),
)
FINISH = Command(
    "legacy_keys.finish",
    update(legacy_imports)
    .where(legacy_imports.c.source == bindparam("source_name", type_=Key(60)))
    .values(parameters_for(legacy_imports, "finished_at")),
)
SET_RANGES = Command(
    "legacy_keys.set_ranges",
    update(legacy_imports)
    .where(legacy_imports.c.source == bindparam("source_name", type_=Key(60)))
    .values(parameters_for(legacy_imports, "audit_ranges")),
)


def notes_text(notes: list[Note]) -> str:
    """Notes as the key map holds them."""
    return msgspec.json.encode(notes).decode() if notes else ""


def notes_of(text: str) -> list[Note]:
    """Notes as the key map holds them, read."""
    return msgspec.json.decode(text, type=list[Note]) if text else []
