"""Each older schema into an empty or a running Holdfast of each engine: whole, broken off, again, and imagined."""

import asyncio
import os
import signal
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.plan import root_of
from holdfast.db.lifecycle.trash import mark
from holdfast.db.migrate import check_schema, migrate
from holdfast.db.open import open_database
from holdfast.db.tables import container_repositories, deletions
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.checksums import read_checksums
from holdfast.operations.doctor.examination import examine
from holdfast.operations.doctor.types import Severity, Subject
from holdfast.operations.legacy import importing
from holdfast.operations.legacy.desk import TargetDesk
from holdfast.operations.legacy.importing import LegacyReport, Noted, imagine_import, import_legacy
from holdfast.operations.legacy.names import FORMER_USER_ID
from holdfast.operations.legacy.source import open_source
from holdfast.operations.legacy.types import LegacyError, Options, Orphans
from holdfast.settings import Settings
from tests.db.rows import fetch, make_row
from tests.db.snapshots import difference, read_all
from tests.factories import insert_row, make_user
from tests.operations.legacy.conftest import Legacy, NewTarget
from tests.operations.legacy.expected import Expected, ExpectedRow
from tests.operations.legacy.flavours import FLAVOURS
from tests.operations.legacy.loading import open_legacy
from tests.operations.legacy.rows import Reason

pytestmark = pytest.mark.slow

_AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
_TARGETS = ("sqlite", "postgresql", "mariadb")


@pytest.mark.conformance("M-07", "M-06")
@pytest.mark.parametrize("target", _TARGETS)
@pytest.mark.parametrize("name", FLAVOURS)
async def test_a_flavour_arrives_with_every_difference_explained(
    legacy: Legacy, new_target: NewTarget, name: str, target: str
) -> None:
    url, expected = legacy(name)
    settings = new_target(target)
    told: list[Noted] = []
    done = await import_legacy(settings, url, Options(), tell=told.append)
    _require_whole(done)
    assert {each.becomes for each in done.comparisons if each.rows} <= set(expected.target_counts)
    async with open_database(settings).running() as database:
        await _require_counts(database, expected)
        for row in expected.rows:
            await _require_row(database, row, told)
        await _require_healthy(database, settings)
        before = await read_checksums(database)
        again = await import_legacy(settings, url, Options())
        assert not any(again.added.values())
        _require_whole(again)
        assert await read_checksums(database) == before
    await check_schema(parse_address(settings.resolved_database_url))
    left_out = {each.table: each.rows for each in done.left_out if not each.column}
    assert left_out == {row.table: 1 for row in expected.with_reason(Reason.NO_TARGET)}


def _require_whole(done: LegacyReport) -> None:
    assert [each for found in done.comparisons for each in found.listed] == []
    for found in done.comparisons:
        assert found.rows == found.made + found.merged + found.left_out, found
        assert found.old_sha256 == found.new_sha256, found


async def _require_healthy(database: Database, settings: Settings) -> None:
    """No row is found to be wrong; how the tests' servers are set up is another matter."""
    report = await examine(Subject(database=database, settings=settings))
    assert [each for each in report.findings if each.severity is Severity.ERROR and each.table] == []


def _is_kept_entry(row: ExpectedRow) -> bool:
    """Entries of users who are gone are kept under the user who stands for them, whatever becomes of other orphans."""
    return row.noun == "audit" and Reason.ORPHAN in row.reasons


async def _require_counts(database: Database, expected: Expected) -> None:
    kept = sum(_is_kept_entry(row) for row in expected.rows)
    for table, count in expected.target_counts.items():
        ((found,),) = await fetch(database, f"SELECT count(*) FROM {table}")
        if table == "audit_logs":
            ((own,),) = await fetch(
                database,
                "SELECT count(*) FROM audit_logs WHERE resource_type = 'legacy-import' OR actor_name = 'admin'",
            )
            ((by_service,),) = await fetch(
                database, "SELECT count(*) FROM audit_logs WHERE actor_name = 'holdfast' AND resource_type = 'user'"
            )
            assert found == count + kept + own + by_service
            continue
        made = {"users": 1, "group_list": 0, "user_group": 0}.get(table, 0) if kept or table != "users" else 0
        if "no admin" in expected.flavour.lets:
            made += {"users": 1, "group_list": 1, "user_group": 1}.get(table, 0)
        assert found == count + made, table


async def _require_row(database: Database, row: ExpectedRow, told: list[Noted]) -> None:
    if row.target_table is None or row.target_table == "audit_logs" or row.target_key is None:
        return
    where = " AND ".join(f"{column} = '{value}'" for column, value in row.target_key.items())
    columns = ", ".join(row.becomes) or "count(*)"
    found = await fetch(database, f"SELECT {columns} FROM {row.target_table} WHERE {where}")
    assert len(found) == 1, row
    if not row.becomes:
        assert found == [(1,)], row
        return
    for (column, wanted), value in zip(row.becomes.items(), found[0], strict=True):
        assert _same(value, wanted), (row.noun, row.name, column, value, wanted)


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, datetime):
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return bool(moment.replace(tzinfo=None) == wanted)
    return bool(value == wanted)


async def test_nothing_is_written_by_an_imagined_import(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    url, _ = legacy("september_2025")
    settings = new_target(engine)
    await migrate(parse_address(settings.resolved_database_url))
    async with open_database(settings).running() as database:
        await ensure_first_start(database, "correct horse battery")
        before = await read_checksums(database)
        imagined = await imagine_import(settings, url, Options())
        assert await read_checksums(database) == before
        done = await import_legacy(settings, url, Options())
        assert imagined.added == done.added
        assert [each for each in imagined.outcomes if each.outcome == "left_out"] == [
            each for each in done.outcomes if each.outcome == "left_out"
        ]
        # What is there already is told as such.
        imagined = await imagine_import(settings, url, Options())
        assert not any(imagined.added.values())


async def test_an_imagined_import_makes_no_database(legacy: Legacy, new_target: NewTarget) -> None:
    url, _ = legacy("december_2025")
    settings = new_target("sqlite")
    await imagine_import(settings, url, Options())
    assert not parse_address(settings.resolved_database_url).path.exists()


@pytest.mark.parametrize("flavour", ["september_2025", "seed7_mariadb", "seed7_sqlite"])
async def test_the_older_database_can_only_be_read(legacy: Legacy, flavour: str) -> None:
    url, _ = legacy(flavour)

    async def write() -> None:
        async with open_source(parse_address(url)) as source:
            await source._connection.execute(text("DELETE FROM user_group"))

    with pytest.raises(LegacyError, match=r"(?i)read.?only"):
        await write()


class _BrokenOffError(Exception):
    pass


@pytest.mark.parametrize("pages", [1, 4, 9, 17, 30])
async def test_an_import_that_broke_off_goes_on(
    legacy: Legacy, new_target: NewTarget, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    monkeypatch.setattr(importing, "ROWS_AT_ONCE", 4)
    url, _ = legacy("mixed")
    whole, broken = new_target("sqlite"), new_target("sqlite")
    await import_legacy(whole, url, Options(), clock=lambda: _AT)
    original, saved = TargetDesk.save, 0

    async def save(self: TargetDesk, *arguments: Any) -> None:
        nonlocal saved
        saved += 1
        await original(self, *arguments)
        if saved == pages:
            raise _BrokenOffError

    with monkeypatch.context() as patch:
        patch.setattr(TargetDesk, "save", save)
        with pytest.raises(_BrokenOffError):
            await import_legacy(broken, url, Options(), clock=lambda: _AT)
    _require_whole(await import_legacy(broken, url, Options(), clock=lambda: _AT))
    assert await _difference(whole, broken) == []


_DYING = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from holdfast.operations.legacy import importing
from holdfast.operations.legacy.desk import TargetDesk
from holdfast.operations.legacy.types import Options
from tests.instance import instance_settings

url, target, folder, pages = sys.argv[1:]
importing.ROWS_AT_ONCE = 4
original, saved = TargetDesk.save, 0

async def save(self, *arguments):
    global saved
    saved += 1
    await original(self, *arguments)
    if saved > int(pages):
        os.kill(os.getpid(), signal.SIGKILL)

TargetDesk.save = save
settings = instance_settings(target, Path(folder), admin_password="correct horse battery")
now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
asyncio.run(importing.import_legacy(settings, url, Options(), clock=lambda: now))
"""


async def test_a_killed_import_goes_on(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    url, _ = legacy("february_2026")
    whole, killed = new_target(engine), new_target(engine)
    await import_legacy(whole, url, Options(), clock=lambda: _AT)
    for pages in (0, 3, 5, 8):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _DYING,
            url,
            killed.resolved_database_url,
            str(killed.data_dir),
            str(pages),
            cwd=Path(__file__).parents[3],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])},
        )
        assert await asyncio.wait_for(process.wait(), 120) == -signal.SIGKILL
    _require_whole(await import_legacy(killed, url, Options(), clock=lambda: _AT))
    assert await _difference(whole, killed) == []


async def _difference(one: Settings, other: Settings) -> list[str]:
    """But for what has random parts: hashes, and ids of what the first start makes."""
    found = []
    for settings in (one, other):
        async with open_database(settings).running() as database:
            rows = await read_all(database)
        for user in rows["users"].values():
            user["password"] = user["password"][:7]
        found.append(rows)
    return [str(each) for each in difference(*found)]


async def test_into_a_running_instance(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    """What is there stays as it is; who only has the name of somebody there is another person."""
    url, _ = legacy("february_2026")
    settings = new_target(engine)
    await migrate(parse_address(settings.resolved_database_url))
    async with open_database(settings).running() as database:
        await ensure_first_start(database, "correct horse battery")
        mei = await make_user(database, "mei")
        nginx = {"registry": "docker.io", "namespace": "library", "name": "nginx"}
        repository = await make_row(database, container_repositories, **nginx, full_name="docker.io/library/nginx")
        before = await read_all(database)
        _require_whole(await import_legacy(settings, url, Options()))
        after = await read_all(database)
        for name, rows in before.items():
            for key, row in rows.items():
                assert after[name][key] == row, (name, key)
        names = {row["u_id"]: row["username"] for row in after["users"].values()}
        assert (names[mei], names["user_2"]) == ("mei", "mei-2")
        assert sorted(names.values()).count("admin") == 1
        assert "user_1" not in names
        seats = {row["u_id"] for row in after["user_group"].values() if row["g_id"] == "super_group"}
        assert len(seats) == 1
        (rule,) = [row for row in after["image_allow_list"].values() if row["id"] == "rule_1"]
        assert rule["repository_id"] == repository["id"]
        numbers = [row["id"] for row in before["audit_logs"].values()]
        assert min(key[0] for key in after["audit_logs"].keys() - before["audit_logs"].keys()) > max(numbers)


async def test_new_rows_come_with_the_next_run_and_gone_parents_are_told(
    legacy: Legacy, new_target: NewTarget, engine: str
) -> None:
    """The older program goes on; meanwhile people delete in Holdfast what was imported."""
    url, _ = legacy("december_2025", with_faults=False)
    settings = new_target(engine)
    await import_legacy(settings, url, Options())
    async with open_database(settings).running() as database:
        await insert_row(
            database,
            deletions,
            id="d" * 21,
            root_type="project",
            root_id="proj_1",
            actor_id="user_1",
            actor_name="admin",
            planned_counts={},
            actual_counts={"project_list": 1},
        )
        async with database.write() as tx:
            taken = await mark(tx, root_of("project", "proj_1"), "d" * 21, _AT)
        with open_legacy(url) as older:
            older.run("INSERT INTO config_files (cf_id, filename, content, project_id) VALUES (800, 'n', 'a: 1', 1)")
            older.run("INSERT INTO config_files (cf_id, filename, content, project_id) VALUES (801, 'n', 'a: 1', 2)")
        done = await import_legacy(settings, url, Options())
        _require_whole(done)
        assert done.added["config_files"] == 2
        assert await fetch(database, "SELECT deletion_id FROM config_files WHERE cf_id = 'cf_800'") == [("d" * 21,)]
        assert await fetch(database, "SELECT deletion_id FROM config_files WHERE cf_id = 'cf_801'") == [("",)]
        ((counts,),) = await fetch(database, f"SELECT actual_counts FROM deletions WHERE id = '{'d' * 21}'")
        assert f'"config_files":{taken["config_files"] + 1}' in str(counts).replace(" ", "")


async def test_two_installations_into_one(legacy: Legacy, new_target: NewTarget) -> None:
    settings = new_target("sqlite")
    url, _ = legacy("december_2025", with_faults=False)
    other, _ = legacy("september_2025", with_faults=False)
    first = await import_legacy(settings, url, Options(), name="one")
    second = await import_legacy(settings, other, Options(), name="two")
    _require_whole(second)
    async with open_database(settings).running() as database:
        rows = await read_all(database)
    assert len(rows["project_list"]) == first.added["project_list"] + second.added["project_list"]
    assert sum(row["username"].startswith("mei") for row in rows["users"].values()) == 2


async def test_without_its_key_map_a_database_is_not_filled_twice(legacy: Legacy, new_target: NewTarget) -> None:
    """As after a transfer, which leaves the key map out."""
    settings = new_target("sqlite")
    url, _ = legacy("september_2025", with_faults=False)
    await import_legacy(settings, url, Options())
    async with open_database(settings).running() as database:
        async with database.write() as tx:
            await tx.fetch_text("DELETE FROM legacy_keys")
        before = await read_checksums(database)
        with pytest.raises(LegacyError, match="the key map does not say where it comes from"):
            await import_legacy(settings, url, Options())
        assert await read_checksums(database) == before


async def test_a_changed_row_is_a_difference_that_nothing_explains(
    legacy: Legacy, new_target: NewTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = new_target("sqlite")
    url, _ = legacy("september_2025")

    async def spoil(database: Database, *arguments: Any) -> Any:
        async with database.write() as tx:
            await tx.fetch_text("UPDATE project_list SET project_name = 'spoilt' WHERE p_id = 'proj_2'")
            await tx.fetch_text("UPDATE resources SET cf_id = 'cf_1' WHERE r_id = 'res_6'")
            await tx.fetch_text("DELETE FROM user_group WHERE u_id = 'user_4'")
        return await ensure_first_start(database, *arguments)

    monkeypatch.setattr(importing, "ensure_first_start", spoil)
    done = await import_legacy(settings, url, Options())
    told = [f"{each.table} {each.old_key}: {each.message}" for found in done.comparisons for each in found.listed]
    assert any("project_name of proj_2 is 'spoilt' instead of 'arm'" in each for each in told)
    assert any("cf_id of res_6 is 'cf_1' instead of 'cf_4'" in each for each in told)
    assert any("its row group_2/user_4 is not there" in each for each in told)
    assert done.unexplained == len(told)


async def test_orphans_are_kept_where_it_is_asked(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    settings = new_target(engine)
    url, _ = legacy("february_2026")
    await import_legacy(settings, url, Options())
    done = await import_legacy(settings, url, Options(orphans=Orphans.QUARANTINE))
    _require_whole(done)
    assert done.added["project_list"] == 1
    async with open_database(settings).running() as database:
        rows = await read_all(database)
        await _require_healthy(database, settings)
    assert rows["project_list"][("proj_160",)]["g_id"] == "group_quarantine"
    assert rows["config_files"][("cf_161",)]["project_id"] == "proj_quarantine"
    assert rows["course_workloads"][("course_160",)]["user_id"] == FORMER_USER_ID
    assert rows["image_allow_list"][("rule_160",)]["project_id"] == "proj_quarantine"
    assert rows["users"][(FORMER_USER_ID,)]["status"] == "delete"


async def test_memory_does_not_grow_with_the_rows(legacy: Legacy, new_target: NewTarget) -> None:
    peaks = []
    for scale in (3_000, 12_000):
        url, _ = legacy("february_2026", scale=scale)
        settings = new_target("sqlite")
        tracemalloc.start()
        try:
            _require_whole(await import_legacy(settings, url, Options()))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0], peaks
