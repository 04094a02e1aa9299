"""Faults outside of the rows: bundles, archives, leftover files, folders, clocks and the engine's own files."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.lifecycle.bundle import bundle_path
from holdfast.db.lifecycle.bundle_file import BundleWriter, open_bundle
from holdfast.db.lifecycle.purge import PurgeStep, purge
from holdfast.db.tables import audit_archives
from holdfast.operations.doctor import file_queries, servers
from holdfast.operations.doctor.registry import CHECKS
from holdfast.operations.doctor.types import Finding, Severity
from tests.db.rows import fetch
from tests.factories import insert_row
from tests.operations.doctor.planted import FAULTS
from tests.operations.doctor.ward import Ward, newest_revision, sha256_of


async def _purged(ward: Ward) -> Path:
    """The bundle of the world's deletion, which is purged."""
    ward.bundles.mkdir(exist_ok=True)

    async def unwitnessed(tx: Any, step: PurgeStep) -> None:
        return

    await purge(ward.database, ward.world.deletion, ward.bundles, witness=unwitnessed)
    return bundle_path(ward.bundles, ward.world.deletion)


async def _prepared(ward: Ward) -> Path:
    """A bundle of the world's deletion, of which nothing is removed yet."""
    path = ward.bundles / "prepared" / f"{ward.world.deletion}.bundle.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a bundle")
    await ward.harm(
        f"UPDATE deletions SET bundle_path = '{path}', bundle_sha256 = '{sha256_of(path)}',"
        f" bundle_verified_at = created_at WHERE id = '{ward.world.deletion}'"
    )
    return path


async def _archived(ward: Ward) -> Path:
    """An archive of one entry, as retention leaves it."""
    ward.bundles.mkdir(exist_ok=True)
    archive_id = new_long_id()
    path = ward.bundles / f"audit-{archive_id}.bundle.zip"
    with BundleWriter(path) as writer:
        lines = writer.begin("audit_logs.jsonl")
        lines.write([b"{}"])
        lines.end()
        facts = {"kind": "audit-archive", "subject": {"id": archive_id}, "dialect": ward.engine}
        writer.finish(made_at=utc_now(), schema_revision=newest_revision(), **facts)
    await insert_row(
        ward.database,
        audit_archives,
        id=archive_id,
        first_id=1,
        last_id=1,
        made_before=utc_now(),
        row_count=1,
        bundle_path=str(path),
        bundle_sha256=sha256_of(path),
        bundle_verified_at=utc_now(),
        removed_rows=0,
    )
    return path


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _change(path: Path) -> None:
    """The manifest says another number; nothing else differs."""
    content = path.read_bytes()
    assert b'"rows":1' in content
    path.write_bytes(content.replace(b'"rows":1', b'"rows":9'))


_HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "is missing"),
    "truncated": (_truncate, "is damaged"),
    "changed": (_change, "is damaged"),
    "emptied": (lambda path: path.write_bytes(b""), "is damaged"),
}


@pytest.mark.parametrize("harm", _HARMS)
@pytest.mark.parametrize(("make", "check"), [(_purged, "bundles"), (_archived, "audit_archives")])
async def test_a_damaged_file_is_told(
    ward: Ward, make: Callable[[Ward], Awaitable[Path]], check: str, harm: str
) -> None:
    path = await make(ward)
    assert await ward.findings("bundles", "audit_archives", "leftover_files", "deletion_counts") == []
    damage, words = _HARMS[harm]
    damage(path)
    (found,) = await ward.findings("bundles", "audit_archives", "leftover_files", "deletion_counts")
    assert (found.check, found.severity, found.fix) == (check, Severity.ERROR, None)
    assert words in found.message
    assert str(path) in found.message


async def test_a_whole_bundle_in_the_place_of_another_is_told(ward: Ward) -> None:
    path = await _purged(ward)
    with BundleWriter(path) as writer:
        lines = writer.begin("forms.jsonl")
        lines.write([b"{}"])
        lines.end()
        facts = {"kind": "deletion", "subject": {"id": "x"}, "dialect": ward.engine}
        writer.finish(made_at=utc_now(), schema_revision=newest_revision(), **facts)
    (found,) = await ward.findings("bundles")
    assert "another one than was verified" in found.message


async def test_a_bundle_that_was_moved_is_found_and_put_down(ward: Ward, tmp_path: Path) -> None:
    path = await _purged(ward)
    other = tmp_path / "other-disk"
    other.mkdir()
    moved = path.rename(other / path.name)
    ward.subject = msgspec.structs.replace(
        ward.subject, settings=msgspec.structs.replace(ward.settings, bundle_dir=str(other))
    )
    (found,) = await ward.findings("bundles")
    assert (found.severity, found.fix) == (Severity.WARNING, "bundles")
    planned = await ward.planned("bundles")
    assert await ward.one("SELECT bundle_path FROM deletions") == str(path)
    assert [change.rows for change in await ward.cured("bundles")] == [change.rows for change in planned]
    assert await ward.one("SELECT bundle_path FROM deletions") == str(moved)
    assert await ward.findings("bundles", "leftover_files") == []


async def test_a_new_place_is_not_put_down_where_the_row_has_gone_on(ward: Ward) -> None:
    path = await _purged(ward)
    old = {"old_path": str(path), "old_sha256": "of another file"}
    async with ward.database.write() as tx:
        new = {"bundle_path": "/elsewhere", "updated_at": utc_now()}
        assert not await tx.execute(file_queries.SET_PATH, deletion_id=ward.world.deletion, **old, **new)
    assert await ward.one("SELECT bundle_path FROM deletions") == str(path)


async def test_a_prepared_bundle_that_is_gone_is_forgotten(ward: Ward) -> None:
    path = await _prepared(ward)
    assert await ward.findings("bundles", "leftover_files") == []
    path.unlink()
    (found,) = await ward.findings("bundles")
    assert (found.severity, found.rows, found.fix) == (Severity.WARNING, [ward.world.deletion], "bundles")
    assert len(await ward.cured("bundles")) == 1
    assert await ward.findings("bundles") == []
    assert await ward.one("SELECT count(*) FROM deletions WHERE bundle_path IS NULL AND state = 'deleted'") == 1


async def test_files_that_nobody_names_are_told_and_halves_are_removed(ward: Ward) -> None:
    await _purged(ward)
    for name in ("SomebodyElse", "audit-Unknown", "JustMade"):
        path = ward.bundles / f"{name}.bundle.zip"
        path.write_bytes(b"x")
        if name != "JustMade":
            os.utime(path, (time.time() - 4000, time.time() - 4000))
    old, young = (ward.bundles / f".A.bundle.zip.{name}.part" for name in ("old", "young"))
    for half in (old, young):
        half.write_bytes(b"x")
    os.utime(old, (time.time() - 100_000, time.time() - 100_000))
    found = {each.severity: each for each in await ward.findings("leftover_files")}
    assert found[Severity.NOTICE].rows == ["SomebodyElse.bundle.zip", "audit-Unknown.bundle.zip"]
    assert (found[Severity.NOTICE].fix, found[Severity.WARNING].fix) == (None, "leftover_files")
    assert [change.rows for change in await ward.planned("leftover_files")] == [[str(old)]]
    assert old.exists()
    await ward.cured("leftover_files")
    assert (old.exists(), young.exists()) == (False, True)


async def test_an_archive_that_gave_more_than_it_holds_is_told(ward: Ward) -> None:
    await _archived(ward)
    await ward.harm("UPDATE audit_archives SET removed_rows = 5")
    (found,) = await ward.findings("audit_archives")
    assert "more entries left the log than they hold" in found.message


async def test_the_recovery_file_holds_all_that_a_cure_removes(ward: Ward) -> None:
    """X-06, S-15: nothing is lost, and no row refers to a missing parent afterwards."""
    before = {name: len(rows) for name, rows in (await ward.content()).items()}
    await ward.harm(f"UPDATE project_list SET g_id = 'nowhere' WHERE p_id = '{ward.world.project}'")
    removed = [change for change in await ward.cured("orphans") if "removed" in change.done]
    (path,) = (ward.bundles / "doctor").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    held = open_bundle(path).manifest.rows_by_table()
    gone = {name: before[name] - len(rows) for name, rows in (await ward.content()).items() if name != "audit_logs"}
    assert held == {name: count for name, count in gone.items() if count}
    assert held["project_list"] == 1
    assert held["forms"] == 2
    assert sum(held.values()) == sum(len(change.rows) for change in removed)


async def test_a_row_that_comes_under_an_orphan_meanwhile_is_not_taken(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.operations.doctor import orphan_cure  # noqa: PLC0415

    await ward.harm(f"UPDATE forms SET user_id = 'nowhere' WHERE id = '{ward.world.form}'")
    write_file = orphan_cure._write_file

    async def write_and_be_overtaken(subject: Any) -> Any:
        reader = await write_file(subject)
        await ward.harm(
            "INSERT INTO form_messages (id, form_id, user_id, content, created_at)"
            f" SELECT 'late', '{ward.world.form}', '{ward.world.student}', 'wait', min(created_at) FROM users"
        )
        return reader

    monkeypatch.setattr(orphan_cure, "_write_file", write_and_be_overtaken)
    with pytest.raises(orphan_cure.OrphanChangedError, match="came under rows of forms"):
        await ward.cured("orphans")
    assert await ward.one(f"SELECT count(*) FROM forms WHERE id = '{ward.world.form}'") == 1
    monkeypatch.undo()
    await ward.cured("orphans")
    assert await ward.one("SELECT count(*) FROM form_messages WHERE id = 'late'") == 0
    assert await ward.findings("orphans") == []


async def test_little_room_is_told(ward: Ward) -> None:
    for free, severity in ((10**10, None), (5 * 10**8, Severity.WARNING), (10**7, Severity.ERROR)):
        usage = partial(_usage, free)
        ward.subject = msgspec.structs.replace(ward.subject, disk_usage=usage)
        assert {each.severity for each in await ward.findings("disk_space")} == ({severity} if severity else set())


def _usage(free: int, _: Path) -> tuple[int, int, int]:
    return (10**12, 0, free)


async def test_a_folder_that_is_not_mounted_is_told(ward: Ward, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(ward.settings, bundle_dir=str(tmp_path / "not-mounted"))
    ward.subject = msgspec.structs.replace(ward.subject, settings=settings)
    (found,) = await ward.findings("bundle_folder")
    assert found.severity is Severity.ERROR


async def test_files_that_all_may_write_are_closed(ward: Ward) -> None:
    ward.bundles.mkdir()
    ward.bundles.chmod(0o777)
    (found,) = await ward.findings("file_permissions")
    assert found.rows == [str(ward.bundles)]
    assert len(await ward.planned("file_permissions")) == 1
    assert ward.bundles.stat().st_mode & 0o777 == 0o777
    await ward.cured("file_permissions")
    assert ward.bundles.stat().st_mode & 0o777 == 0o775
    assert await ward.findings("file_permissions") == []


async def test_a_clock_that_is_wrong_is_told(ward: Ward) -> None:
    for off, severities in ((0, set()), (20, {Severity.WARNING}), (3600, {Severity.ERROR})):
        ward.subject = msgspec.structs.replace(ward.subject, clock=partial(_ahead, off))
        found = {each.severity for each in await ward.findings("clock_skew")}
        assert found == (set() if ward.engine == "sqlite" else severities), off


def _ahead(seconds: float) -> Any:
    return utc_now() + timedelta(seconds=seconds)


async def test_what_servers_of_tests_risk_is_told(ward: Ward) -> None:
    """They may lose everything in a crash, which no instance should."""
    found = {row async for each in servers.find_wrong_settings(ward.subject) for row in each.rows}
    wanted = {"sqlite": set(), "postgresql": {"fsync"}, "mariadb": {"innodb_doublewrite"}}
    assert found >= wanted[ward.engine]


async def test_large_tables_without_statistics_are_told_and_analyzed(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ward.engine != "postgresql":
        assert await ward.findings("statistics") == []
        return
    await ward.harm(
        "SELECT pg_stat_reset()",
        "UPDATE forms SET title = title",
        "INSERT INTO sign_in_failures (subject, failures, window_started_at)"
        " SELECT 'name:' || i, 0, now() FROM generate_series(1, 30) i",
        "SELECT pg_stat_force_next_flush()",
    )
    monkeypatch.setattr(servers, "WORTH_STATISTICS", 25)
    (found,) = await _found(ward, "statistics", some=True)
    assert (found.rows, found.fix, found.severity) == (["sign_in_failures"], "statistics", Severity.NOTICE)
    assert [change.rows for change in await ward.planned("statistics")] == [found.rows]
    await ward.cured("statistics")
    assert await _found(ward, "statistics", some=False) == []


async def _found(ward: Ward, check: str, *, some: bool) -> list[Finding]:
    """What the check finds as soon as it is some, or none: the server counts rows a moment after they are there."""
    found: list[Finding] = []
    for _ in range(600):
        found = await ward.findings(check)
        if bool(found) is some:
            break
        await asyncio.sleep(0.05)
    return found


# What other tests than the table of planted faults plant.
_PLANTED_ELSEWHERE = {
    "audit_archives",
    "bundle_folder",
    "bundles",
    "clock_skew",
    "database_settings",
    "disk_space",
    "file_damage",
    "file_permissions",
    "leftover_files",
    "migrations",
    "statistics",
}


def test_every_check_has_a_fault_that_a_test_plants() -> None:
    planted = {fault.check for fault in FAULTS}
    assert planted | _PLANTED_ELSEWHERE == {check.name for check in CHECKS}
    assert not planted & _PLANTED_ELSEWHERE


async def test_a_pending_migration_is_told_and_the_rest_left_out(ward: Ward) -> None:
    newest = newest_revision()
    before = f"{int(newest) - 1:04}"
    await ward.harm(f"UPDATE alembic_version SET version_num = '{before}'")
    try:
        found = await ward.findings()
    finally:
        await ward.harm(f"UPDATE alembic_version SET version_num = '{newest}'")
    assert [each.check for each in found] == ["migrations"]
    assert f"at revision {before}" in found[0].message
    assert await fetch(ward.database, "SELECT version_num FROM alembic_version") == [(newest,)]
