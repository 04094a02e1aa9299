"""Plans of SQLite: EXPLAIN QUERY PLAN. It counts no rows."""

import re
from collections.abc import Iterable, Mapping

from sqlalchemy import Integer

from holdfast.db.statements import dialect_named
from holdfast.db.tables import metadata
from holdfast.operations.plans.types import Access, AccessKind, Plan

ESTIMATE = "EXPLAIN QUERY PLAN"

_READING = re.compile(
    r"(?P<how>SCAN|SEARCH) (?P<table>\w+)(?: EXISTS)?"
    r"(?: USING (?:(?P<automatic>AUTOMATIC )?(?:PARTIAL )?(?:COVERING )?INDEX (?P<index>\w+)?"
    r"|(?P<rowid>INTEGER PRIMARY KEY)))?"
)
# Their rows lie in the order of the key, so that reading them all is reading it from one end.
_ROWID_TABLES = {
    table.name
    for table in metadata.sorted_tables
    if [type(column.type.dialect_impl(dialect_named("sqlite"))) for column in table.primary_key] == [Integer]
}


def read_plan(statement: str, lines: Iterable[str], aliases: Mapping[str, str], index_names: Mapping[str, str]) -> Plan:
    """The plan in SQLite's lines. `index_names` gives the names of the indexes that SQLite numbers by itself."""
    accesses = []
    sorts = sorts_equals = False
    for line in lines:
        if line.startswith("USE TEMP B-TREE FOR") and line.endswith("ORDER BY"):
            is_whole = line == "USE TEMP B-TREE FOR ORDER BY"
            sorts, sorts_equals = sorts or is_whole, sorts_equals or not is_whole
        found = _READING.match(line)
        table = found and aliases.get(found["table"])
        if not found or not table:
            continue
        is_key = found["rowid"] or (table in _ROWID_TABLES and not found["index"] and not found["automatic"])
        index = f"pk_{table}" if is_key else index_names.get(found["index"] or "", found["index"])
        if found["automatic"] or index is None:
            # An automatic index is made for this one run, by reading the whole table.
            accesses.append(Access(table, AccessKind.SCAN))
            continue
        kind = AccessKind.LOOK_UP if found["how"] == "SEARCH" else AccessKind.WHOLE_INDEX
        accesses.append(Access(table, kind, (index,)))
    return Plan(statement, tuple(accesses), sorts=sorts, sorts_equals=sorts_equals)
