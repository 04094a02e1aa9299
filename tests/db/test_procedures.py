"""The stored procedures: what `CALL cleanup_soft_deleted(30)` and `CALL cleanup_audit_logs(90)` take and leave."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.graph import GRAPH, Rule
from holdfast.db.lifecycle.procedures.writing import ENGINES, write_procedures
from holdfast.db.migrations.files import newest_procedures
from holdfast.db.tables import audit_archives, audit_logs, form_messages
from holdfast.db.tables.base import Deletion, policy_of
from tests.db.live import other_connection
from tests.db.retention_world import make_entry, make_world, states, survivors
from tests.db.rows import fetch, run
from tests.factories import insert_row, insert_rows

MANY = 1200
Call = Callable[[str], dict[str, Any]]


@pytest.fixture(autouse=True)
def _only_where_procedures_are(engine: str) -> None:
    if engine == "sqlite":
        pytest.skip("SQLite has no procedures: there tests/features/deletions/test_retention.py holds the same")


@pytest.fixture
def call(url: str) -> Call:
    """Runs a CALL on a connection of its own, and gives the reported numbers."""

    def run_call(statement: str) -> dict[str, Any]:
        with other_connection(url) as connection:
            return _reported(connection.execute(text(statement)).mappings().one())

    return run_call


def _reported(row: Any) -> dict[str, Any]:
    found: dict[str, Any] = dict(row)
    # PostgreSQL reports one JSON value, MariaDB a row.
    found = dict(found["report"]) if "report" in found else found
    counts = found["counts"]
    return found | {"counts": msgspec.json.decode(counts) if isinstance(counts, str) else counts}


@pytest.mark.parametrize("name", ENGINES)
def test_the_newest_migration_keeps_what_todays_tables_ask_for(name: str) -> None:
    assert newest_procedures(name) == write_procedures(name), (
        "the tables changed: write a migration that drops the procedures of the last one and makes new ones, with"
        " `python scripts/write_procedures.py REVISION`, and name its revision here"
    )


@pytest.mark.conformance("S-05", "S-06")
async def test_the_live_procedure_has_every_table_and_every_foreign_key(database: Database, engine: str) -> None:
    if engine == "postgresql":
        source = "SELECT prosrc FROM pg_proc WHERE proname = 'cleanup_soft_deleted'"
    else:
        source = (
            "SELECT routine_definition FROM information_schema.routines"
            " WHERE routine_schema = DATABASE() AND routine_name = 'cleanup_soft_deleted'"
        )
    ((live_text,),) = await fetch(database, source)
    body = " ".join(str(live_text).split())
    for table in GRAPH.tables:
        if policy_of(table).deletion is Deletion.SOFT or GRAPH.cascades_into(table):
            assert re.search(rf"DELETE (FROM )?{table.name}\b", body), f"{table.name} is never removed from"
    for edge in GRAPH.edges:
        assert f"ON {edge.name} = {edge.parent.name}.{edge.key.name}" in body, f"{edge.name} is never followed"
        if edge.rule is Rule.SET_NULL:
            assert re.search(rf"UPDATE {edge.child.name}\b.* SET [a-z_.]*{edge.column.name} = NULL", body), edge.name


@pytest.mark.conformance("S-05", "S-06")
async def test_it_takes_what_the_engines_own_cascades_take(database: Database, call: Call) -> None:
    await make_world(database)
    # The same world, its due roots removed by plain DELETEs, is what must be left.
    for statement in ("DELETE FROM project_list WHERE p_id = 'old-course'", "DELETE FROM users WHERE u_id = 'ada'"):
        await run(database, statement)
    wanted = await survivors(database)
    await _empty(database)
    await make_world(database)
    before = await survivors(database)

    report = call("CALL cleanup_soft_deleted(30)")

    found = await survivors(database)
    assert found | {"deletions": []} == wanted | {"deletions": []}
    gone = {name: len(before[name]) - len(rows) for name, rows in found.items() if len(before[name]) > len(rows)}
    pointers = {"image_requests.reviewer_id": 2, "image_allow_list.request_id": 1}
    assert report == {"purged": 3, "failed": 0, "without_bundle": 2, "in_progress": 0, "counts": gone | pointers}


@pytest.mark.conformance("S-05", "S-06")
async def test_younger_unverified_and_restored_deletions_stay(database: Database, call: Call) -> None:
    await make_world(database)
    call("CALL cleanup_soft_deleted(30)")
    assert await states(database) == [
        ("D-across", "deleted", ""),
        ("D-ada", "purged", ""),
        ("D-course", "purged", ""),
        ("D-file", "purged", ""),
        ("D-inside", "purged", "D-course"),
        ("D-restored", "restored", ""),
        ("D-unverified", "deleted", ""),
        ("D-young", "deleted", ""),
    ]
    left = await survivors(database)
    assert call("CALL cleanup_soft_deleted(30)") == {
        "purged": 0,
        "failed": 0,
        "without_bundle": 2,
        "in_progress": 0,
        "counts": {},
    }
    assert await survivors(database) == left
    assert call("CALL cleanup_soft_deleted(29)")["purged"] == 1


async def test_each_purge_stands_in_the_audit_log_under_the_administrator(database: Database, call: Call) -> None:
    await make_world(database)
    call("CALL cleanup_soft_deleted(36)")
    entries = await fetch(
        database,
        "SELECT user_id, action, resource_type, resource_id, resource_label, new_data, description FROM audit_logs"
        " WHERE actor_name = 'holdfast' ORDER BY id",
    )
    told = [(*entry[:5], entry[6]) for entry in entries]
    assert told == [
        ("admin", "purge", kind, name, name, "cleanup_soft_deleted(36)")
        for kind, name in (("config-file", "old-course-a.yaml"), ("project", "old-course"))
    ]
    counts = [msgspec.json.decode(entry[5])["counts"] for entry in entries]
    assert [msgspec.json.decode(entry[5])["deletion_id"] for entry in entries] == ["D-file", "D-course"]
    assert counts[0] == {"config_files": 1, "resources": 2}
    assert counts[1]["form_messages"] == 5


@pytest.mark.conformance("S-05")
@pytest.mark.parametrize("procedure", ["cleanup_soft_deleted", "cleanup_audit_logs"])
async def test_a_call_within_a_transaction_is_refused(database: Database, url: str, procedure: str) -> None:
    await make_world(database)
    left = await survivors(database)
    with other_connection(url) as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("UPDATE users SET full_name = 'Eve' WHERE u_id = 'eve'")
        with pytest.raises(DBAPIError, match=r"outside_of_a_transaction|outside of a transaction"):
            connection.exec_driver_sql(f"CALL {procedure}(30)")
        connection.exec_driver_sql("ROLLBACK")
    assert await survivors(database) == left


@pytest.mark.parametrize(
    "call_text",
    [
        "cleanup_soft_deleted(-1)",
        "cleanup_soft_deleted(NULL)",
        "cleanup_soft_deleted(36501)",
        "cleanup_soft_deleted(99999999999)",
        "cleanup_soft_deleted(1e40)",
        "cleanup_audit_logs(0)",
        "cleanup_audit_logs(2147483647)",
        "cleanup_audit_logs(-99999999999999999999)",
    ],
)
async def test_a_number_of_days_that_means_nothing_is_refused(database: Database, call: Call, call_text: str) -> None:
    with pytest.raises(DBAPIError, match="takes a number of days"):
        call(f"CALL {call_text}")


async def test_nothing_goes_where_no_administrator_can_stand_for_it(database: Database, call: Call) -> None:
    await make_world(database)
    await run(database, "UPDATE users SET username = 'nobody' WHERE u_id = 'admin'")
    left = await survivors(database)
    for statement in ("CALL cleanup_soft_deleted(30)", "CALL cleanup_audit_logs(90)"):
        with pytest.raises(DBAPIError, match="there is no user admin"):
            call(statement)
    assert await survivors(database) == left


async def test_a_live_row_beneath_a_deletion_stops_its_purge(database: Database, call: Call) -> None:
    await make_world(database)
    # The product never does this: it makes a live form of a deleted course.
    await run(database, "UPDATE forms SET deletion_id = '', deleted_at = NULL WHERE id = 'old-course-eve-form'")
    report = call("CALL cleanup_soft_deleted(30)")
    assert (report["purged"], report["failed"]) == (2, 1)
    ((failure,),) = await fetch(database, "SELECT failure FROM deletions WHERE id = 'D-course' AND state = 'failed'")
    assert failure == "live rows of forms hang on rows of this deletion"
    assert await fetch(database, "SELECT deletion_id FROM forms WHERE id = 'old-course-eve-form'") == [("",)]


@pytest.mark.conformance("S-06")
async def test_it_goes_on_after_its_connection_was_killed(database: Database, url: str, call: Call) -> None:
    await make_world(database)
    await _many_messages(database)
    wanted = await survivors(database)
    with ThreadPoolExecutor(1) as executor, _held_by_another(url):
        calling = executor.submit(call, "CALL cleanup_soft_deleted(30)")
        # Its last statements wait for the row that is held; the first chunks are committed by then.
        _end_the_waiting_call(url)
        with pytest.raises(DBAPIError):
            calling.result(timeout=60)
    assert ("D-course", "purging", "") in await states(database)
    left = {name: len(rows) for name, rows in (await survivors(database)).items()}
    assert 500 <= len(wanted["form_messages"]) - left["form_messages"] < MANY + 9
    assert left["project_list"] == 3

    await run(database, "UPDATE deletions SET lease_until = NULL WHERE state = 'purging'")
    assert call("CALL cleanup_soft_deleted(30)")["purged"] == 2
    assert ("D-course", "purged", "") in await states(database)
    assert ("D-inside", "purged", "D-course") in await states(database)
    assert len((await survivors(database))["form_messages"]) == 6


@pytest.mark.conformance("S-06")
async def test_it_waits_for_a_purge_that_a_worker_is_at(database: Database, call: Call) -> None:
    await make_world(database)
    left = await survivors(database)
    until = (utc_now() + timedelta(hours=1)).replace(tzinfo=None).isoformat(sep=" ")
    await run(
        database,
        f"UPDATE deletions SET state = 'purging', lease_token = 'worker', lease_until = '{until}' WHERE id = 'D-young'",
    )
    report = call("CALL cleanup_soft_deleted(30)")
    assert (report["purged"], report["in_progress"]) == (0, 1)
    await run(database, "UPDATE deletions SET state = 'deleted', lease_token = NULL WHERE id = 'D-young'")
    assert await survivors(database) == left


@pytest.mark.conformance("S-06", "X-09")
async def test_a_bundle_that_lacks_a_newer_audit_entry_does_not_count(database: Database, call: Call) -> None:
    await make_world(database)
    await make_entry(database, "ada", "later", age=0)
    report = call("CALL cleanup_soft_deleted(30)")
    assert (report["purged"], report["without_bundle"]) == (2, 3)
    assert ("D-ada", "deleted", "") in await states(database)


@pytest.mark.conformance("S-06")
async def test_two_calls_at_once_take_everything_once(database: Database, call: Call) -> None:
    await make_world(database)
    await _many_messages(database)
    with ThreadPoolExecutor(2) as executor:
        calls = [executor.submit(call, "CALL cleanup_soft_deleted(30)") for _ in range(2)]
    reports = [_report_or_refusal(each) for each in calls]
    done = [report for report in reports if report is not None]
    assert sum(report["purged"] for report in done) == 3
    assert sum(report["counts"].get("form_messages", 0) for report in done) == MANY + 9
    assert len((await survivors(database))["form_messages"]) == 6
    purges = "SELECT resource_id FROM audit_logs WHERE actor_name = 'holdfast' ORDER BY resource_id"
    assert await fetch(database, purges) == [("ada",), ("old-course",), ("old-course-a.yaml",)]


@pytest.mark.conformance("S-07")
async def test_only_older_and_archived_entries_leave_the_audit_log(database: Database, call: Call) -> None:
    await make_world(database)
    await _old_entries(database)
    assert call("CALL cleanup_audit_logs(90)") == {"counts": {"audit_logs": 0}, "without_archive": 1300}
    await _archive(database, last=1200, age=90)
    assert call("CALL cleanup_audit_logs(95)") == {"counts": {"audit_logs": 1200}, "without_archive": 100}
    assert call("CALL cleanup_audit_logs(90)") == {"counts": {"audit_logs": 0}, "without_archive": 100}
    entries = await fetch(
        database, "SELECT user_id, action, resource_type, new_data FROM audit_logs WHERE actor_name = 'holdfast'"
    )
    assert [tuple(entry[:3]) for entry in entries] == [("admin", "purge", "audit-log")]
    assert msgspec.json.decode(entries[0][3])["counts"] == {"audit_logs": 1200}
    # The six of the world are younger.
    assert await fetch(database, "SELECT count(*) FROM audit_logs WHERE actor_name <> 'holdfast'") == [(106,)]


@pytest.mark.conformance("S-07")
async def test_entries_of_an_unverified_archive_stay(database: Database, call: Call) -> None:
    await make_world(database)
    await _old_entries(database)
    await _archive(database, last=1200, age=90, verified=False)
    assert call("CALL cleanup_audit_logs(90)")["counts"] == {"audit_logs": 0}


@pytest.mark.conformance("S-07")
async def test_entries_that_came_back_wait_for_an_archive_of_their_own(database: Database, call: Call) -> None:
    await make_world(database)
    await _old_entries(database)
    await _archive(database, last=1200, age=90, missing=1)
    assert call("CALL cleanup_audit_logs(90)") == {"counts": {"audit_logs": 0}, "without_archive": 1300}
    assert await fetch(database, "SELECT count(*) FROM audit_archives WHERE removed_at IS NULL") == [(0,)]


@pytest.mark.conformance("S-07")
async def test_two_audit_cleanups_at_once_remove_each_entry_once(database: Database, call: Call) -> None:
    await make_world(database)
    await _old_entries(database)
    await _archive(database, last=1300, age=90)
    with ThreadPoolExecutor(2) as executor:
        calls = [executor.submit(call, "CALL cleanup_audit_logs(90)") for _ in range(2)]
    reports = [_report_or_refusal(each) for each in calls]
    assert sum(report["counts"]["audit_logs"] for report in reports if report is not None) == 1300
    assert await fetch(database, "SELECT count(*) FROM audit_logs WHERE actor_name = 'holdfast'") == [(1,)]


def _report_or_refusal(calling: Future[dict[str, Any]]) -> dict[str, Any] | None:
    error = calling.exception(timeout=60)
    if error is None:
        return calling.result()
    assert "another cleanup" in str(error)
    return None


@contextmanager
def _held_by_another(url: str) -> Iterator[Connection]:
    """A transaction that locks a row which the purge of the old course needs only after its first chunks."""
    late = "project_list WHERE p_id = 'old-course'"
    if url.startswith("mariadb"):
        # It reads the rows above a chunk locked, and takes them in the order of their keys.
        late = "form_messages WHERE id = 'old-cour-eve-eve'"
    with other_connection(url) as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql(f"SELECT 1 FROM {late} FOR UPDATE")
        try:
            yield connection
        finally:
            connection.exec_driver_sql("ROLLBACK")


def _end_the_waiting_call(url: str) -> None:
    if url.startswith("postgresql"):
        end = "SELECT pg_terminate_backend({})"
        waiting = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE query LIKE 'CALL%' AND wait_event_type = 'Lock' AND datname = current_database()"
        )
    else:
        end = "KILL {}"
        waiting = (
            "SELECT p.id FROM information_schema.innodb_trx t JOIN information_schema.processlist p"
            " ON p.id = t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()"
        )
    ends_at = time.monotonic() + 30
    with other_connection(url) as connection:
        while not (found := connection.execute(text(waiting)).scalars().all()):
            assert time.monotonic() < ends_at, "the call never waited for the row that is held"
            # MariaDB looks again only where nobody asked for a tenth of a second.
            time.sleep(0.15)
        connection.exec_driver_sql(end.format(found[0]))


async def _empty(database: Database) -> None:
    for table in reversed(GRAPH.tables):
        await run(database, f"DELETE FROM {table.name}")


async def _many_messages(database: Database) -> None:
    """More rows in the old course than go in one transaction."""
    now = utc_now()
    row = {"form_id": "old-course-eve-form", "user_id": "eve", "content": "Please", "deletion_id": "D-course"}
    await insert_rows(
        database, form_messages, [row | {"id": f"many-{number}", "deleted_at": now} for number in range(MANY)]
    )


async def _old_entries(database: Database) -> None:
    """1300 entries, a hundred days old, with the numbers from 1 on; those of the world get others."""
    await run(database, "UPDATE audit_logs SET id = id + 1000000")
    made = utc_now() - timedelta(days=100)
    row = {"user_id": "eve", "actor_name": "eve", "action": "update", "resource_type": "form", "created_at": made}
    await insert_rows(database, audit_logs, [row | {"id": n, "resource_id": str(n)} for n in range(1, 1301)])


async def _archive(database: Database, *, last: int, age: float, verified: bool = True, missing: int = 0) -> None:
    now = utc_now()
    await insert_row(
        database,
        audit_archives,
        id="archive",
        first_id=1,
        last_id=last,
        made_before=now - timedelta(days=age, seconds=1),
        row_count=last - missing,
        bundle_path="/nowhere",
        bundle_sha256="0" * 64,
        bundle_verified_at=now if verified else None,
    )
