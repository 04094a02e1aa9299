"""The rows of a backup's moment, counted and hashed; and the schema, held against itself."""

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.migrate import SchemaStatus
from holdfast.db.tables import metadata
from holdfast.operations.checksums import Checksums, Progress, TableChecksum, checksums_in

_POSTGRESQL = (
    "SELECT table_name, column_name, is_nullable, column_default, data_type, character_maximum_length"
    " FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 2"
)
_POSTGRESQL_INDEXES = (
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1, 2"
)
_MARIADB = (
    "SELECT table_name, column_name, is_nullable, column_default, column_type"
    " FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 2"
)
_MARIADB_INDEXES = (
    "SELECT table_name, index_name, seq_in_index, column_name"
    " FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY 1, 2, 3"
)
_SCHEMA: dict[str, tuple[str, ...]] = {
    "postgresql": (_POSTGRESQL, _POSTGRESQL_INDEXES),
    "mariadb": (_MARIADB, _MARIADB_INDEXES),
    # A copy of its pages is of one moment, its schema too.
    "sqlite": (),
}
_TABLES = {
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
    "mariadb": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table'",
}


async def schema_fingerprint(database: Database) -> list[tuple[object, ...]]:
    """What a migration changes; MariaDB keeps the half of one that failed."""
    found: list[tuple[object, ...]] = []
    async with database.read() as tx:
        for query in _SCHEMA[database.dialect_name]:
            found += await tx.fetch_text(query)
        found += await tx.fetch_text("SELECT version_num FROM alembic_version")
    return found


async def checksums_of(tx: Transaction, status: SchemaStatus, *, progress: Progress) -> tuple[Checksums, str]:
    """The rows and checksums of all tables, and for which revision's columns those are.

    A database that is still to be migrated has other columns than this version reads: then the rows are only counted,
    and the revision is empty.
    """
    if not status.pending:
        return await checksums_in(tx, progress=progress), status.head
    return {name: TableChecksum(rows, "") for name, rows in (await count_tables(tx)).items()}, ""


async def count_tables(tx: Transaction) -> dict[str, int]:
    """The rows of each table of this version that is there, whatever its columns."""
    there = {str(name) for (name,) in await tx.fetch_text(_TABLES[tx.dialect_name])}
    counts: dict[str, int] = {}
    for table in metadata.sorted_tables:
        if table.name in there:
            ((count,),) = await tx.fetch_text(f"SELECT count(*) FROM {table.name}")  # noqa: S608
            counts[table.name] = int(count)
    return counts
