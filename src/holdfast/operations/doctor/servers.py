"""The engine itself: its version, settings, encodings and statistics, as its own catalogue tells them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from holdfast.db.engines.base import Transaction
from holdfast.db.sqlite_driver import SQLITE_VERSION_IS_SAFE, sqlite3
from holdfast.db.tables import metadata
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.types import MOST_ROWS, Change, Fault, Severity, Subject

# A table with fewer rows is read whole, whatever is known of it.
WORTH_STATISTICS = 10_000
_OF_ROWS = ("CHECK constraint failed", "NULL value in")
_OLDEST_TRANSACTION = 1_000_000_000

_POSTGRESQL_SETTINGS = (
    ("fsync", Severity.ERROR, "a crash of the machine may destroy the database"),
    ("full_page_writes", Severity.ERROR, "a crash of the machine may destroy the database"),
    ("synchronous_commit", Severity.WARNING, "a crash loses changes that were acknowledged"),
    ("autovacuum", Severity.WARNING, "tables only grow, and their statistics go out of date"),
)
_MARIADB_SETTINGS = (
    ("innodb_flush_log_at_trx_commit", ("1", "3"), Severity.WARNING, "a crash loses changes that were acknowledged"),
    ("innodb_doublewrite", ("1", "ON", "fast"), Severity.ERROR, "a crash of the machine may destroy the database"),
    ("foreign_key_checks", ("1", "ON"), Severity.ERROR, "programs that connect now leave rows without their parent"),
    ("unique_checks", ("1", "ON"), Severity.ERROR, "programs that connect now may make two rows of one name"),
    ("check_constraint_checks", ("1", "ON"), Severity.ERROR, "programs that connect now may write what must not be"),
)


async def read_clock(tx: Transaction) -> datetime:
    """What the database server takes for now."""
    sql = "SELECT clock_timestamp()" if tx.dialect_name == "postgresql" else "SELECT UTC_TIMESTAMP(6)"
    ((moment,),) = await tx.fetch_text(sql)
    found: datetime = moment
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


async def find_wrong_settings(subject: Subject) -> AsyncIterator[Fault]:
    """Settings of the server or the connection under which data may be lost or wrong."""
    async with subject.database.read() as tx:
        wrong = {"sqlite": _sqlite_settings, "postgresql": _postgresql_settings, "mariadb": _mariadb_settings}
        faults = await wrong[tx.dialect_name](tx)
    for fault in faults:
        yield fault


async def _sqlite_settings(tx: Transaction) -> list[Fault]:
    faults = []
    if not SQLITE_VERSION_IS_SAFE:
        faults.append(
            Fault(
                severity=Severity.ERROR,
                message=f"SQLite {sqlite3.sqlite_version} has the published bug of 3.7 to 3.51.2, by which a WAL file"
                " that is reset at a bad moment damages the database: install pysqlite3 0.6.1 or later",
                rows=[str(sqlite3.sqlite_version)],
            )
        )
    for pragma, wanted, meaning in (
        ("foreign_keys", 1, "rows may lose their parent"),
        ("journal_mode", "wal", "readers and writers wait for each other"),
        ("encoding", "UTF-8", "texts sort otherwise than on the servers"),
    ):
        ((found,),) = await tx.fetch_text(f"PRAGMA {pragma}")
        if found != wanted:
            faults.append(
                Fault(severity=Severity.ERROR, message=f"{pragma} is {found}, not {wanted}: {meaning}", rows=[pragma])
            )
    return faults


async def _postgresql_settings(tx: Transaction) -> list[Fault]:
    faults = []
    for name, severity, meaning in _POSTGRESQL_SETTINGS:
        ((found,),) = await tx.fetch_text(f"SELECT current_setting('{name}')")
        if found == "off":
            message = f"{name} is off: {meaning}. Turn it on"
            faults.append(Fault(severity=severity, message=message, rows=[name]))
    ((encoding, age),) = await tx.fetch_text(
        "SELECT pg_encoding_to_char(encoding), age(datfrozenxid) FROM pg_database WHERE datname = current_database()"
    )
    if encoding != "UTF8":
        message = f"the database's encoding is {encoding}, not UTF8: texts of other languages are refused"
        faults.append(Fault(severity=Severity.ERROR, message=message, rows=["encoding"]))
    if age > _OLDEST_TRANSACTION:
        message = (
            f"the oldest row version is {age:,} transactions old: the server stops at two thousand million. VACUUM"
        )
        faults.append(Fault(severity=Severity.WARNING, message=message, rows=["datfrozenxid"]))
    mismatches = await tx.fetch_text(
        "SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database"
        " WHERE datname = current_database()"
        " AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid) AND datcollversion IS NOT NULL"
    )
    for made_with, now in mismatches:
        message = (
            f"the database was made with version {made_with} of its collation, and the system has {now}: REINDEX"
            " DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION. (Keys of Holdfast compare bytes.)"
        )
        faults.append(Fault(severity=Severity.WARNING, message=message, rows=["collation"]))
    return faults


async def _mariadb_settings(tx: Transaction) -> list[Fault]:
    faults = []
    for name, wanted, severity, meaning in _MARIADB_SETTINGS:
        ((found,),) = await tx.fetch_text(f"SELECT @@GLOBAL.{name}")
        if str(found) not in wanted:
            message = f"{name} is {found} on this server: {meaning}. SET GLOBAL {name} = 1"
            faults.append(Fault(severity=severity, message=message, rows=[name]))
    ((charset, zone, session_zone, mode, isolation),) = await tx.fetch_text(
        "SELECT @@character_set_database, IF(@@GLOBAL.time_zone = 'SYSTEM', @@system_time_zone, @@GLOBAL.time_zone),"
        " @@time_zone, @@sql_mode, @@tx_isolation"
    )
    if charset != "utf8mb4":
        message = (
            f"the database's character set is {charset}, not utf8mb4: tables of a later version are made with it."
            " ALTER DATABASE … CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
        )
        faults.append(Fault(severity=Severity.WARNING, message=message, rows=["character_set_database"]))
    if zone not in ("UTC", "+00:00", "GMT", "Etc/UTC"):
        message = (
            f"the server's time zone is {zone}: what other programs write by its clock is off by hours."
            " SET GLOBAL time_zone = '+00:00'. (Connections of Holdfast are in UTC.)"
        )
        faults.append(Fault(severity=Severity.NOTICE, message=message, rows=["time_zone"]))
    if session_zone != "+00:00" or "STRICT_ALL_TABLES" not in mode or isolation != "READ-COMMITTED":
        message = (
            f"this connection has the time zone {session_zone}, the mode {mode} and the isolation {isolation}:"
            " something between Holdfast and the server (a proxy?) changes or loses its settings"
        )
        faults.append(Fault(severity=Severity.ERROR, message=message, rows=["session"]))
    return faults


async def find_damage(subject: Subject) -> AsyncIterator[Fault]:
    """Whether SQLite finds its own file whole (`PRAGMA quick_check`)."""
    async with subject.database.snapshot() as tx:
        rows = await tx.fetch_text("PRAGMA quick_check")
    # Rows that break a check are told by the check for that: the file can be whole with them.
    said = [text for (text,) in rows if text != "ok" and not text.startswith(_OF_ROWS)]
    if said:
        yield Fault(
            severity=Severity.ERROR,
            message="the database file is damaged: stop the server, keep the file, and restore a backup",
            rows=said[:MOST_ROWS],
            count=len(said),
        )


async def find_missing_statistics(subject: Subject) -> AsyncIterator[Fault]:
    """Large tables of which the planner of PostgreSQL knows nothing.

    InnoDB keeps its statistics by itself, and the statements of Holdfast are made for SQLite without any.
    """
    async with subject.database.read() as tx:
        tables = await _without_statistics(tx)
    if tables:
        yield Fault(
            severity=Severity.NOTICE,
            message=f"the database has no statistics of {', '.join(tables)}: it may choose slow ways. ANALYZE",
            table=tables[0],
            rows=tables,
            count=len(tables),
            is_curable=True,
        )


class Analyze:
    """The database counts what is in the tables."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        async with subject.database.read() as tx:
            tables = await _without_statistics(tx)
        for table in tables:
            yield Change(check="statistics", table=table, rows=[table], done=f"{table} would be analyzed")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        async with subject.database.read() as tx:
            tables = await _without_statistics(tx)
        for table in tables:
            change = Change(check="statistics", table=table, rows=[table], done=f"{table} analyzed")
            async with subject.database.write() as tx:
                await tx.allow_long_statements()
                await tx.fetch_text(f"ANALYZE {table}")
                await record(tx, subject, change)
            yield change


async def _without_statistics(tx: Transaction) -> list[str]:
    names = {str(table.name) for table in metadata.sorted_tables}
    rows = await tx.fetch_text(
        "SELECT relname, n_live_tup FROM pg_stat_user_tables WHERE schemaname = current_schema()"
        " AND last_analyze IS NULL AND last_autoanalyze IS NULL ORDER BY 1"
    )
    return [str(name) for name, count in rows if name in names and count >= WORTH_STATISTICS]
