"""Retention on every engine: what it takes, what it leaves, and that the procedures take the same."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from holdfast.core.actor import Actor
from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import bundle_path
from holdfast.db.lifecycle.bundle_file import SUFFIX, open_bundle
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.tables import audit_logs, metadata
from holdfast.db.tables.base import policy_of
from holdfast.features.deletions import retention
from holdfast.features.deletions.audit_archives import archive_entries
from holdfast.features.deletions.jobs import purge_deletion
from holdfast.features.deletions.leftover_bundles import remove_leftovers
from holdfast.features.deletions.recovery import recover
from holdfast.features.deletions.retention import CleanupForbiddenError, CleanupReport
from tests.db.live import other_connection
from tests.db.retention_world import delete, make_entry, make_world, states, survivors
from tests.db.rows import fetch, run
from tests.factories import insert_rows, make_user
from tests.instance import Instance

ADMIN = Actor(user_id="admin", username="admin", is_super_admin=True)


async def cleanup(database: Database, folder: Path, category: str, days: int, **options: Any) -> CleanupReport:
    return await retention.run_cleanup(database, folder, {"category": category, "days": days} | options)


async def test_each_category_of_retention_has_its_setting_or_its_reason(instance: Instance) -> None:
    settings = {"deleted": "retention_deleted_days", "audit": "retention_audit_days"}
    # What the service works with has settings of its own; what tells of deletions and archives is never removed.
    reasons = {"working", "deletions"}
    for table in metadata.sorted_tables:
        category = policy_of(table).retention
        assert category in reasons or hasattr(instance.settings, settings[category]), (
            f"{table.name}: no setting says how long rows of the category {category} stay: add one to Settings, and use"
            " it in features/deletions/retention.py"
        )


@pytest.mark.conformance("S-05", "S-06")
async def test_older_deletions_are_bundled_and_purged_and_all_else_stays(database: Database, tmp_path: Path) -> None:
    await make_world(database)
    before = await survivors(database)
    async with database.read() as tx:
        planned = await retention.plan_cleanup(tx, ADMIN, "soft-deleted", 30)
    report = await cleanup(database, tmp_path, "soft-deleted", 30)
    after = await survivors(database)
    gone = {name: len(before[name]) - len(rows) for name, rows in after.items() if len(before[name]) > len(rows)}
    assert planned.counts == gone
    # What no bundle carries is not in the numbers of a purge.
    assert report.counts | {"idempotency_keys": 1} == gone
    # A request of the new course lost its reviewer first, and went then: the plan counts rows that stay.
    assert planned.set_null == {"image_requests.reviewer_id": 1, "image_allow_list.request_id": 2}
    assert report.set_null == planned.set_null | {"image_requests.reviewer_id": 2}
    assert (planned.deletions, report.deletions, report.unfinished) == (6, 6, 0)
    assert await states(database) == [
        ("D-across", "purged", ""),
        ("D-ada", "purged", ""),
        ("D-course", "purged", ""),
        ("D-file", "purged", ""),
        ("D-inside", "purged", ""),
        ("D-restored", "restored", ""),
        ("D-unverified", "purged", ""),
        ("D-young", "deleted", ""),
    ]
    for name in ("D-ada", "D-course"):
        assert open_bundle(tmp_path / f"{name}.bundle.zip").manifest.rows_by_table()


@pytest.mark.conformance("S-05", "S-06")
async def test_the_engines_cascades_the_procedure_and_this_leave_the_same(
    instance: Instance, database: Database, tmp_path: Path
) -> None:
    await make_world(database)
    await run(database, "DELETE FROM project_list WHERE p_id IN ('old-course', 'new-course')")
    await run(database, "DELETE FROM users WHERE u_id IN ('ada', 'ben')")
    await run(database, "UPDATE deletions SET state = 'purged' WHERE id NOT IN ('D-young', 'D-restored')")
    wanted = await survivors(database)

    await instance.clear()
    await make_world(database)
    await cleanup(database, tmp_path, "soft-deleted", 30)
    assert await survivors(database) == wanted

    if instance.engine != "sqlite":
        await instance.clear()
        await make_world(database)
        await cleanup(database, tmp_path, "soft-deleted", 30, prepare_only=True)
        with other_connection(instance.settings.database_url) as connection:
            connection.execute(text("CALL cleanup_soft_deleted(30)"))
        assert await survivors(database) == wanted


async def test_what_the_procedure_purged_comes_back_from_its_prepared_bundle(
    instance: Instance, database: Database, tmp_path: Path
) -> None:
    if instance.engine == "sqlite":
        pytest.skip("SQLite has no procedures")
    await make_world(database)
    for table in GRAPH.soft_tables:
        await run(database, f"UPDATE {table.name} SET deletion_id = '', deleted_at = NULL")
    await run(database, "DELETE FROM deletions")
    before = await survivors(database)
    await delete(database, "D-only", "project", "old-course", age=40, verified=False)
    await cleanup(database, tmp_path, "soft-deleted", 30, prepare_only=True)
    with other_connection(instance.settings.database_url) as connection:
        connection.execute(text("CALL cleanup_soft_deleted(30)"))
    assert len((await survivors(database))["project_list"]) == 2
    await recover(database, tmp_path / "prepared" / "D-only.bundle.zip")
    assert await survivors(database) == before | {"deletions": [("D-only", "restored", "")]}


async def test_a_call_that_was_left_off_halfway_is_finished_here(database: Database, tmp_path: Path) -> None:
    await make_world(database)
    await run(database, "UPDATE deletions SET bundle_verified_at = NULL")
    await cleanup(database, tmp_path, "soft-deleted", 30, prepare_only=True)
    await run(
        database,
        "UPDATE deletions SET state = 'purging', lease_token = 'call-0123456789abcdef',"
        " lease_until = '2020-01-01 00:00:00.000000', bundle_path = '/nowhere' WHERE id = 'D-course'",
    )
    ((path,),) = await fetch(database, "SELECT bundle_path FROM deletions WHERE id = 'D-ada'")
    course = path.replace("D-ada", "D-course")
    sha256 = open_bundle(Path(course)).sha256
    changes = f"bundle_path = '{course}', bundle_sha256 = '{sha256}'"
    await run(database, f"UPDATE deletions SET {changes} WHERE id = 'D-course'")
    await run(database, "DELETE FROM form_messages WHERE deletion_id = 'D-course'")
    assert await purge_deletion(database, tmp_path, {"deletion_id": "D-course"}) > 0
    assert ("D-course", "purged", "") in await states(database)
    assert open_bundle(tmp_path / "D-course.bundle.zip").manifest.rows_by_table()["form_messages"] == 5


async def test_preparing_removes_nothing_and_is_not_done_twice(database: Database, tmp_path: Path) -> None:
    await make_world(database)
    left = await survivors(database)
    await run(database, "UPDATE deletions SET bundle_verified_at = NULL, bundle_path = NULL")
    report = await cleanup(database, tmp_path, "soft-deleted", 30, prepare_only=True)
    assert (report.counts, report.deletions) == ({}, 0)
    assert await survivors(database) == left
    made = _files(tmp_path / "prepared")
    assert [path.name for path in made] == [
        f"D-{name}.bundle.zip" for name in ("across", "ada", "course", "file", "inside", "unverified")
    ]
    written = made[0].stat().st_mtime_ns
    await cleanup(database, tmp_path, "soft-deleted", 30, prepare_only=True)
    assert made[0].stat().st_mtime_ns == written


async def test_what_cannot_be_bundled_stays_and_is_told(database: Database, tmp_path: Path) -> None:
    await make_world(database)
    left = await survivors(database)
    # A file stands where the folder should be.
    folder = tmp_path / "bundles"
    folder.write_text("")
    report = await cleanup(database, folder, "soft-deleted", 30)
    assert (report.counts, report.deletions, report.unfinished) == ({}, 0, 6)
    assert {name: rows for name, rows in (await survivors(database)).items() if name != "deletions"} == {
        name: rows for name, rows in left.items() if name != "deletions"
    }


@pytest.mark.conformance("S-07")
async def test_old_entries_are_archived_before_they_go(database: Database, tmp_path: Path) -> None:
    await make_world(database)
    wanted = await _old_entries(database, 1300)
    report = await cleanup(database, tmp_path, "audit-logs", 90)
    assert report.counts == {"audit_logs": 1300}
    (path,) = _files(tmp_path)
    reader = open_bundle(path)
    lines = [msgspec.json.decode(line) for page in reader.pages("audit_logs.jsonl", 500) for line in page]
    assert [line["resource_id"] for line in lines] == wanted
    assert reader.manifest.kind == "audit-archive"
    left = await fetch(database, "SELECT actor_name, action, resource_type FROM audit_logs ORDER BY id")
    assert [tuple(row) for row in left if row[0] == "holdfast"] == [("holdfast", "purge", "audit-log")]
    # The six entries of the world are younger.
    assert len(left) == 7
    ((archive_rows, removed_rows, is_open),) = await fetch(
        database,
        "SELECT row_count, removed_rows, CASE WHEN removed_at IS NULL THEN 1 ELSE 0 END FROM audit_archives",
    )
    assert (archive_rows, removed_rows, is_open) == (1300, 1300, 0)
    assert (await cleanup(database, tmp_path, "audit-logs", 90)).counts == {}
    assert _files(tmp_path) == [path]


@pytest.mark.conformance("S-07")
async def test_entries_after_a_whole_log_has_gone_are_numbered_behind_it(database: Database, tmp_path: Path) -> None:
    await make_user(database, "admin")
    await make_user(database, "eve", u_id="eve")
    for _ in range(2):
        await _old_entries(database, 3)
        gone = await fetch(database, "SELECT id FROM audit_logs WHERE action = 'old' ORDER BY id")
        # Nothing younger stands in the log: what tells of the removal is the first entry after it.
        await run(database, "DELETE FROM audit_logs WHERE action <> 'old'")
        assert (await cleanup(database, tmp_path, "audit-logs", 90)).counts == {"audit_logs": 3}
        ((told,),) = await fetch(database, "SELECT id FROM audit_logs")
        assert told > gone[-1][0]
    spans = await fetch(database, "SELECT first_id, last_id FROM audit_archives ORDER BY first_id")
    assert spans[0][1] < spans[1][0]


@pytest.mark.conformance("S-07")
async def test_entries_that_cannot_be_archived_stay(database: Database, tmp_path: Path) -> None:
    await make_world(database)
    await _old_entries(database, 3)
    folder = tmp_path / "bundles"
    folder.write_text("")
    with pytest.raises(OSError, match="bundles"):
        await cleanup(database, folder, "audit-logs", 90)
    assert await fetch(database, "SELECT count(*) FROM audit_logs") == [(9,)]


@pytest.mark.conformance("S-07")
async def test_archives_are_of_bounded_size_and_younger_entries_between_stay(
    database: Database, tmp_path: Path
) -> None:
    await make_world(database)
    await _old_entries(database, 2)
    await make_entry(database, "eve", "young", age=89)
    await _old_entries(database, 3)
    before = utc_now() - timedelta(days=90)
    assert [await archive_entries(database, tmp_path, before, clock=utc_now, at_most=4) for _ in range(3)] == [4, 1, 0]
    assert (await cleanup(database, tmp_path, "audit-logs", 90)).counts == {"audit_logs": 5}
    names = await fetch(database, "SELECT resource_id FROM audit_logs WHERE resource_id = 'young'")
    assert names == [("young",)]


@pytest.mark.conformance("S-07")
async def test_an_interrupted_removal_is_finished_by_the_next(database: Database, tmp_path: Path) -> None:
    await make_world(database)
    await _old_entries(database, 1300)
    # As a run left it that died between the archive and the removal, and one that died within it.
    await archive_entries(database, tmp_path, utc_now() - timedelta(days=90), clock=utc_now)
    await run(database, "DELETE FROM audit_logs WHERE resource_id IN ('0', '1', '2') AND action = 'old'")
    await run(database, "UPDATE audit_archives SET removed_rows = 3")
    assert (await cleanup(database, tmp_path, "audit-logs", 90)).counts == {"audit_logs": 1297}
    assert await fetch(database, "SELECT count(*), sum(removed_rows) FROM audit_archives") == [(1, 1300)]


@pytest.mark.conformance("S-07")
async def test_entries_that_a_recovery_brought_back_are_archived_again(database: Database, tmp_path: Path) -> None:
    await make_world(database)
    await _old_entries(database, 4)
    await run(database, "DELETE FROM audit_logs WHERE resource_id = '2' AND action = 'old'")
    await archive_entries(database, tmp_path, utc_now() - timedelta(days=90), clock=utc_now)
    ((lowest,),) = await fetch(database, "SELECT min(id) FROM audit_logs WHERE action = 'old'")
    made = utc_now() - timedelta(days=100)
    row = {"user_id": "eve", "actor_name": "eve", "action": "old", "resource_type": "form", "resource_id": "2"}
    await insert_rows(database, audit_logs, [row | {"id": lowest + 2, "created_at": made}])
    assert (await cleanup(database, tmp_path, "audit-logs", 90)).counts == {"audit_logs": 4}
    held = [open_bundle(path).manifest.rows_by_table()["audit_logs"] for path in _files(tmp_path)]
    assert sorted(held) == [3, 4]


async def test_a_dry_run_of_the_audit_log_counts(database: Database) -> None:
    await make_world(database)
    await _old_entries(database, 5)
    async with database.read() as tx:
        assert (await retention.plan_cleanup(tx, ADMIN, "audit-logs", 90)).counts == {"audit_logs": 5}
        assert (await retention.plan_cleanup(tx, ADMIN, "audit-logs", 101)).counts == {}


async def test_only_super_administrators_clean_up(database: Database) -> None:
    async with database.write() as tx:
        nobody = Actor(user_id="eve", username="eve")
        with pytest.raises(CleanupForbiddenError):
            await retention.plan_cleanup(tx, nobody, "soft-deleted", 30)
        with pytest.raises(CleanupForbiddenError):
            await retention.request_cleanup(tx, nobody, "soft-deleted", 30)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def _old_entries(database: Database, count: int) -> list[str]:
    """Entries a hundred days old; what they are about."""
    made = utc_now() - timedelta(days=100)
    row = {"user_id": "eve", "actor_name": "eve", "action": "old", "resource_type": "form", "created_at": made}
    names = [str(number) for number in range(count)]
    await insert_rows(database, audit_logs, [row | {"resource_id": name} for name in names])
    return names


async def test_prepared_bundles_that_nothing_needs_are_removed_and_no_others(
    database: Database, tmp_path: Path
) -> None:
    await make_world(database)
    await cleanup(database, tmp_path, "soft-deleted", 30, prepare_only=True)
    prepared = tmp_path / "prepared"
    before = {file.name for file in prepared.iterdir()}
    restored, purged, *_ = sorted(name.removesuffix(SUFFIX) for name in before)
    assert len(before) > 2
    (prepared / f"of-another-database{SUFFIX}").touch()
    assert await remove_leftovers(database, tmp_path) == 0
    await run(database, f"UPDATE deletions SET state = 'restored' WHERE id = '{restored}'")
    # As after a recovery: what its path names is the bundle that it came from.
    assert await remove_leftovers(database, tmp_path) == 0
    await run(database, f"UPDATE deletions SET bundle_path = NULL WHERE id = '{restored}'")
    await run(database, f"UPDATE deletions SET state = 'deleted' WHERE id = '{purged}'")
    await purge_deletion(database, tmp_path, {"deletion_id": purged})
    own = bundle_path(tmp_path, purged)
    assert own.is_file()
    own.rename(own.with_suffix(".away"))
    assert await remove_leftovers(database, tmp_path) == 1
    own.with_suffix(".away").rename(own)
    assert await remove_leftovers(database, tmp_path) == 1
    left = {file.name for file in prepared.iterdir()}
    assert left == before - {restored + SUFFIX, purged + SUFFIX} | {f"of-another-database{SUFFIX}"}
    assert own.is_file()
    assert await remove_leftovers(database, tmp_path / "nowhere") == 0
