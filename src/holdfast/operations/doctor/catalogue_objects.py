"""Objects of the engines' catalogues that exist, and do not do their work: half-made indexes, keys switched off."""

from collections.abc import AsyncIterator

from holdfast.db.tables import metadata
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.types import MOST_ROWS, Change, Fault, Severity, Subject

_INVALID_INDEXES = """
SELECT c.relname, t.relname FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
WHERE NOT i.indisvalid AND t.relnamespace = current_schema()::regnamespace
AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) ORDER BY 1
"""
_UNPROVEN = """
SELECT c.conname, t.relname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE NOT c.convalidated AND t.relnamespace = current_schema()::regnamespace ORDER BY 1
"""
_SWITCHED_OFF = """
SELECT DISTINCT t.relname, t.relname FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
WHERE g.tgenabled IN ('D', 'R') AND g.tgisinternal AND t.relnamespace = current_schema()::regnamespace ORDER BY 1
"""
_UNLOGGED = """
SELECT relname, relname FROM pg_class
WHERE relkind = 'r' AND relpersistence <> 'p' AND relnamespace = current_schema()::regnamespace ORDER BY 1
"""
_OTHER_ENGINES = """
SELECT table_name, table_name FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' ORDER BY 1
"""
_PLACES = {str(table.name): place for place, table in enumerate(metadata.sorted_tables)}


class CatalogueObjects:
    """Objects of the catalogue that are not as they must be, and the statement that puts one right."""

    def __init__(self, check: str, sql: str, severity: Severity, *, message: str, mending: str, told: str) -> None:
        self._check = check
        self._sql = sql
        self._severity = severity
        self._message = message
        self._mending = mending
        self._told = told

    async def find(self, subject: Subject) -> AsyncIterator[Fault]:
        """The fault, where there are any."""
        found = await self._names(subject)
        if found:
            yield Fault(
                severity=self._severity,
                message=self._message.format(names=", ".join(name for name, _ in found[:MOST_ROWS])),
                table=found[0][1],
                rows=[name for name, _ in found[:MOST_ROWS]],
                count=len(found),
                is_curable=True,
            )

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        """As of `Cure`."""
        for name, table in await self._names(subject):
            yield Change(check=self._check, table=table, rows=[name], done=f"{name} would be {self._told}")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        """As of `Cure`."""
        for name, table in await self._names(subject):
            change = Change(check=self._check, table=table, rows=[name], done=f"{name} {self._told}")
            async with subject.database.write() as tx:
                await tx.allow_long_statements()
                await tx.fetch_text(self._mending.format(name=name, table=table))
            async with subject.database.write() as tx:
                await record(tx, subject, change)
            yield change

    async def _names(self, subject: Subject) -> list[tuple[str, str]]:
        async with subject.database.read() as tx:
            rows = await tx.fetch_text(self._sql)
        known = [(str(name), str(table)) for name, table in rows if str(table) in metadata.tables]
        # Parents first: no logged table may refer to one that is not.
        return sorted(known, key=lambda each: _PLACES[each[1]])


INVALID_INDEXES = CatalogueObjects(
    "invalid_indexes",
    _INVALID_INDEXES,
    Severity.ERROR,
    message="the making of {names} was broken off, and the server does not use it: lists read whole tables",
    mending='REINDEX INDEX "{name}"',
    told="made anew",
)
UNPROVEN_CONSTRAINTS = CatalogueObjects(
    "unproven_constraints",
    _UNPROVEN,
    Severity.WARNING,
    message="{names} hold for new rows, and were never proven for those that were there: rows may break them",
    mending='ALTER TABLE "{table}" VALIDATE CONSTRAINT "{name}"',
    told="proven",
)
SWITCHED_OFF_KEYS = CatalogueObjects(
    "keys_switched_off",
    _SWITCHED_OFF,
    Severity.ERROR,
    message="the foreign keys of {names} are switched off (DISABLE TRIGGER ALL): rows may lose their parent",
    mending='ALTER TABLE "{table}" ENABLE TRIGGER ALL',
    told="guarded by its foreign keys again",
)
UNLOGGED_TABLES = CatalogueObjects(
    "unlogged_tables",
    _UNLOGGED,
    Severity.ERROR,
    message="{names} are UNLOGGED: a crash empties them, and no standby has them",
    mending='ALTER TABLE "{table}" SET LOGGED',
    told="logged from now on",
)
OTHER_ENGINES = CatalogueObjects(
    "table_engines",
    _OTHER_ENGINES,
    Severity.ERROR,
    message="{names} are not InnoDB tables: no transaction protects them, and no foreign key either",
    mending="ALTER TABLE `{table}` ENGINE = InnoDB",
    told="an InnoDB table",
)
