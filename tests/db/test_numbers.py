"""The numbers of audit entries: none is given twice, and on SQLite migration 0015 sees to it."""

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import check_schema, downgrade, migrate, schema_status
from holdfast.db.tables import audit_logs
from tests.conftest import NewDatabase
from tests.db.deleting import delete, make_course, purge_now
from tests.db.live import other_connection
from tests.db.snapshots import difference, read_rows
from tests.db.test_recover import recover_now, without_revocations
from tests.factories import insert_row

_ENTRY = {"actor_name": "somebody", "action": "update", "resource_type": "form", "resource_id": "1"}
_FILL = """
WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {count})
INSERT INTO audit_logs (id, user_id, actor_name, action, resource_type, resource_id, new_data)
SELECT number, 'ada', 'ada', 'update', 'form', 'form-' || number, '{{"title": "A question"}}' FROM numbers
"""
_OF_THE_OPERATOR = (
    "ALTER TABLE audit_logs ADD COLUMN ticket VARCHAR(20) DEFAULT 'none'",
    "CREATE VIEW recent_entries AS SELECT id, ticket FROM audit_logs WHERE id > 2",
    "CREATE VIEW newest_entry AS SELECT max(id) AS id FROM recent_entries",
    "CREATE INDEX of_the_operator ON audit_logs (lower(actor_name)) WHERE g_id IS NOT NULL",
    "CREATE TABLE notes (entry_id INTEGER REFERENCES audit_logs (id), note TEXT)",
    "CREATE TRIGGER none_changes BEFORE UPDATE ON audit_logs BEGIN SELECT raise(ABORT, 'no entry changes'); END",
)
_DIE_BEFORE = """
import asyncio, os, sys
from sqlalchemy import Engine, event
from holdfast.db.address import parse_address
from holdfast.db.migrate import migrate

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *others):
    if statement.strip().startswith(sys.argv[2]):
        os._exit(9)

asyncio.run(migrate(parse_address(sys.argv[1])))
"""


async def test_a_number_of_a_removed_entry_is_given_to_no_other_and_comes_back_with_it(
    database: Database, tmp_path: Path
) -> None:
    course = await make_course(database)
    await insert_row(database, audit_logs, user_id=course.student, **_ENTRY)
    before = await read_rows(database)
    newest = max(before["audit_logs"])
    assert before["audit_logs"][newest]["user_id"] == course.student
    deletion_id = await delete(database, "user", course.student)
    await purge_now(database, deletion_id, tmp_path)
    await insert_row(database, audit_logs, user_id=course.stays, **_ENTRY)
    (added,) = (await read_rows(database))["audit_logs"].keys() - before["audit_logs"].keys()
    assert added > newest
    done = await recover_now(database, deletion_id, tmp_path)
    assert done.inserted["audit_logs"] == 4
    # Under their own numbers: an outside reader who kept one still finds its entry.
    changes = without_revocations(difference(before, await read_rows(database)))
    assert changes == [f"+ audit_logs {added}"]


@pytest.fixture
async def old(new_database: NewDatabase) -> str:
    """A file as it was before, with three entries left of the first five, and the sixth to the ninth archived."""
    url = new_database("sqlite")
    await migrate(parse_address(url), "0014")
    with other_connection(url) as connection:
        connection.exec_driver_sql("INSERT INTO users (u_id, username, password) VALUES ('ada', 'ada', '')")
        connection.exec_driver_sql(_FILL.format(count=5))
        connection.exec_driver_sql("DELETE FROM audit_logs WHERE id IN (1, 4)")
        connection.exec_driver_sql(
            "INSERT INTO audit_archives (id, first_id, last_id, made_before, row_count, bundle_path, bundle_sha256)"
            " VALUES ('first', 6, 9, '2026-01-01 00:00:00.000000', 4, '/first', 'f')"
        )
    return url


def _facts(connection: Connection) -> dict[str, object]:
    """What the file says of the table and of all that hangs on it, but not how its key is numbered."""
    pragmas = ("table_xinfo", "foreign_key_list")
    indexes = [row.name for row in connection.exec_driver_sql("PRAGMA index_list (audit_logs)")]
    checks = inspect(connection).get_check_constraints("audit_logs")

    return {
        "rows": connection.exec_driver_sql("SELECT * FROM audit_logs ORDER BY id").all(),
        "checks": sorted((str(check["name"]), check["sqltext"]) for check in checks),
        "indexes": {name: connection.exec_driver_sql(f"PRAGMA index_xinfo ({name})").all() for name in sorted(indexes)},
        "others": set(
            connection.exec_driver_sql("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        ),
        "notes": connection.exec_driver_sql("PRAGMA foreign_key_list (notes)").all(),
        "errors": connection.exec_driver_sql("PRAGMA integrity_check").scalar(),
    } | {name: connection.exec_driver_sql(f"PRAGMA {name} (audit_logs)").all() for name in pragmas}


def _next_number(connection: Connection) -> int:
    connection.exec_driver_sql(
        "INSERT INTO audit_logs (user_id, action, resource_type, resource_id) VALUES ('ada', 'update', 'form', '1')"
    )
    return int(connection.exec_driver_sql("SELECT last_insert_rowid()").scalar_one())


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
async def test_the_migration_keeps_all_that_hangs_on_the_log_and_the_way_back_does_too(old: str) -> None:
    address = parse_address(old)
    with other_connection(old) as connection:
        for statement in _OF_THE_OPERATOR:
            connection.exec_driver_sql(statement)
        before = _facts(connection)
    await migrate(address, "0015")
    with other_connection(old) as connection:
        assert _facts(connection) == before
        assert connection.exec_driver_sql("SELECT id FROM newest_entry").scalar() == 5
        with pytest.raises(Exception, match="no entry changes"):
            connection.exec_driver_sql("UPDATE audit_logs SET action = 'delete'")
    await migrate(address)
    await check_schema(address)
    await downgrade(address, "0014")
    with other_connection(old) as connection:
        assert _facts(connection) == before
        definition = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'audit_logs'").scalar_one()
        assert "CONSTRAINT pk_audit_logs PRIMARY KEY (id)" in definition
        assert "AUTOINCREMENT" not in definition


async def test_after_the_migration_numbers_go_on_behind_all_that_were_given(old: str) -> None:
    await migrate(parse_address(old))
    with other_connection(old) as connection:
        assert _next_number(connection) == 10
        connection.exec_driver_sql("DELETE FROM audit_logs")
        assert _next_number(connection) == 11


async def test_a_migration_that_dies_halfway_leaves_the_log_untouched(old: str, new_database: NewDatabase) -> None:
    with other_connection(old) as connection:
        connection.exec_driver_sql("DELETE FROM audit_logs")
        # More than SQLite keeps in memory: some of the new table is in the file's log when the process dies.
        connection.exec_driver_sql(_FILL.format(count=30_000))
        before = _facts(connection)
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    deaths = ("DROP TABLE audit_logs", "INSERT INTO sqlite_sequence", "UPDATE alembic_version")
    addresses = [parse_address(new_database("sqlite")) for _ in deaths]
    for address in addresses:
        address.path.write_bytes(parse_address(old).path.read_bytes())
    await asyncio.gather(*map(_migrate_and_die, addresses, deaths))
    for address in addresses:
        assert address.path.with_name(address.path.name + "-wal").stat().st_size > 500_000
        with other_connection(f"sqlite:///{address.path}") as connection:
            assert _facts(connection) == before
            assert "_alembic_tmp" not in str(connection.execute(text("SELECT sql FROM sqlite_master")).all())
        assert (await schema_status(address)).current == "0014"
        await migrate(address)
        await check_schema(address)


async def _migrate_and_die(address: DatabaseAddress, before: str) -> None:
    url = f"sqlite:///{address.path}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _DIE_BEFORE, url, before)
    assert await process.wait() == 9
