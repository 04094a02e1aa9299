"""`holdfast drill` proves a good backup and changes nothing else; each planted fault raises its own doubt."""

import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from holdfast.core.clock import utc_now
from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.engines.base import Database
from holdfast.db.errors import SchemaDriftError
from holdfast.db.filling import begin_filling
from holdfast.db.migrate import check_schema, downgrade, migrate, on_database
from holdfast.db.migrations.files import known_revisions
from holdfast.db.open import open_database
from holdfast.db.scratch import ScratchTakenError, scratch_beside
from holdfast.db.unfinished import mark_unfinished, restored_path
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.types import Manifest
from holdfast.operations.checksums import TableChecksum, compare, read_checksums
from holdfast.operations.drill import service
from holdfast.operations.drill.service import NothingToProveError, run_drill
from holdfast.operations.drill.types import DrillReport
from holdfast.settings import Settings
from tests.cli.commandline import CommandLine
from tests.conftest import NewDatabase
from tests.db.rows import fetch, run
from tests.factories import make_user
from tests.instance import instance_settings
from tests.operations.drill.conftest import NewStore, newest_in, rewrite_manifest

pytestmark = pytest.mark.slow


def _told(report: DrillReport) -> dict[str, str]:
    """The doubts by their steps."""
    assert not report.passed
    return {each.step: each.message for each in report.doubts}


def _dump(settings: Settings) -> Path:
    return next(each for each in newest_in(settings).iterdir() if each.name.startswith("database"))


@pytest.mark.conformance("S-13", "S-14")
async def test_a_good_backup_passes_as_a_command(drilled: Settings, tmp_path: Path) -> None:
    commands = CommandLine("http://127.0.0.1:9", tmp_path)
    commands.environment |= {
        "HOLDFAST_DATABASE_URL": drilled.database_url,
        "HOLDFAST_DATA_DIR": str(drilled.data_dir),
        "HOLDFAST_POSTGRESQL_BIN": drilled.postgresql_bin,
    }
    address = parse_address(drilled.resolved_database_url)
    async with open_database(drilled).running() as database:
        before = await read_checksums(database)
        told = await commands.done("drill")
        assert "restored without any doubt" in told
        report = await commands.json("drill")
        changed = {each.table for each in compare(before, await read_checksums(database))}
        entries = await fetch(database, "SELECT new_data FROM audit_logs WHERE resource_type = 'drill'")
        recorded = await fetch(database, "SELECT outcome FROM runs WHERE name = 'operations.drill'")
    assert report["passed"], report["doubts"]
    assert report["sentinel_found"]
    assert report["compared"] == "checksums"
    assert report["rows"] > 1500
    assert {"orphans", "live_under_deleted", "schema", "bundles"} <= set(report["checks"])
    assert 0 < report["rpo_seconds"] < 3600
    assert 0 < report["rto_seconds"] < 600
    assert report["writes_at_risk"] >= 0
    assert changed == {"runs", "audit_logs"}
    assert len(entries) == len(recorded) == 2
    assert {outcome for (outcome,) in recorded} == {"done"}
    await check_schema(address)
    assert not list((drilled.data_dir / "drill-work").iterdir())


def _truncate(settings: Settings) -> None:
    path = _dump(settings)
    path.write_bytes(path.read_bytes()[:-500])


def _flip(settings: Settings) -> None:
    content = bytearray(_dump(settings).read_bytes())
    content[len(content) // 2] ^= 0x01
    _dump(settings).write_bytes(content)


def _lose(settings: Settings) -> None:
    _dump(settings).unlink()


def _miscount(settings: Settings) -> None:
    def more(manifest: Manifest) -> Manifest:
        users = manifest.tables["users"]
        return msgspec.structs.replace(
            manifest, tables=manifest.tables | {"users": TableChecksum(users.rows + 1, users.sha256)}
        )

    rewrite_manifest(settings, more)


def _missum(settings: Settings) -> None:
    def other(manifest: Manifest) -> Manifest:
        users = manifest.tables["users"]
        return msgspec.structs.replace(
            manifest, tables=manifest.tables | {"users": TableChecksum(users.rows, "0" * 64)}
        )

    rewrite_manifest(settings, other)


def _change_unsealed(settings: Settings) -> None:
    path = newest_in(settings) / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"rows":', b'"rows":1', 1))


def _other_sentinel(settings: Settings) -> None:
    def other(manifest: Manifest) -> Manifest:
        assert manifest.sentinel is not None
        return msgspec.structs.replace(manifest, sentinel=msgspec.structs.replace(manifest.sentinel, value="0" * 32))

    rewrite_manifest(settings, other)


def _lost_sentinel(settings: Settings) -> None:
    def lost(manifest: Manifest) -> Manifest:
        assert manifest.sentinel is not None
        return msgspec.structs.replace(
            manifest, sentinel=msgspec.structs.replace(manifest.sentinel, run_id="never-written-down-00")
        )

    rewrite_manifest(settings, lost)


def _no_sentinel(settings: Settings) -> None:
    rewrite_manifest(settings, lambda manifest: msgspec.structs.replace(manifest, sentinel=None))


def _no_backup(settings: Settings) -> None:
    shutil.rmtree(newest_in(settings))


def _of_the_future(settings: Settings) -> None:
    rewrite_manifest(
        settings, lambda manifest: msgspec.structs.replace(manifest, made_at=utc_now() + timedelta(days=1))
    )


def _too_old(settings: Settings) -> None:
    rewrite_manifest(
        settings, lambda manifest: msgspec.structs.replace(manifest, made_at=utc_now() - timedelta(hours=49))
    )


def _lacking_bundles(settings: Settings) -> None:
    rewrite_manifest(settings, lambda manifest: msgspec.structs.replace(manifest, bundles_missing=["lost.bundle.zip"]))


@pytest.mark.parametrize(
    ("plant", "step", "told"),
    [
        (_truncate, "restore", "is cut short or changed"),
        (_flip, "restore", "of backup"),
        (_lose, "restore", "is missing"),
        (_miscount, "restore", r"the restored rows are not those of backup .*users: \d+ rows instead of"),
        (_missum, "restore", r"the restored rows are not those of backup .*users: \d+ rows as before, but other ones"),
        (_change_unsealed, "backup", "was changed: its digest is not that of its text"),
        (_other_sentinel, "sentinel", "has another value than the manifest says"),
        (_lost_sentinel, "sentinel", "the restored database lacks the sentinel"),
        (_no_sentinel, "sentinel", "was made without a sentinel"),
        (_no_backup, "backup", "there is no backup in"),
        (_of_the_future, "age", "is from the future"),
        (_too_old, "age", r"is 49\.0 hours old, and HOLDFAST_DRILL_MAX_AGE_HOURS allows 48\.0 hours"),
        (_lacking_bundles, "backup", r"lacks 1 bundles that its rows name, such as lost\.bundle\.zip"),
    ],
)
async def test_a_planted_fault_raises_its_doubt(
    new_store: NewStore, plant: Callable[[Settings], None], step: str, told: str
) -> None:
    settings = new_store()
    plant(settings)
    doubts = _told(await run_drill(settings))
    assert list(doubts) == [step], doubts
    assert re.search(told, doubts[step]), doubts
    async with open_database(settings).running() as database:
        ((outcome, failure),) = await fetch(
            database,
            "SELECT outcome, failure FROM runs WHERE name = 'operations.drill' ORDER BY started_at DESC LIMIT 1",
        )
    assert (outcome, failure) == ("failed", f"{step}: {doubts[step]}")


async def test_a_swapped_file_is_told_by_the_backup_that_it_is_of(new_store: NewStore) -> None:
    settings = new_store()
    older = newest_in(settings)
    async with open_database(settings).running() as database:
        newer = await create_backup(database, settings)
    shutil.copy(next(older.glob("database*")), _dump(settings))
    doubts = _told(await run_drill(settings))
    assert list(doubts) == ["restore"]
    # Where the two dumps differ in length, that is told before anything is read.
    assert f"of backup {older.name}" in doubts["restore"] or f"{newer.id} is cut short or changed" in doubts["restore"]


class _Own:
    """An instance of a test's own."""

    def __init__(self, engine: str, url: str, folder: Path) -> None:
        self.engine = engine
        self.settings = instance_settings(url, folder)
        self.address = parse_address(url)

    async def prepare(self) -> Settings:
        await migrate(self.address)
        async with open_database(self.settings).running() as database:
            await make_user(database, "admin")
        return self.settings

    async def back_up(self) -> Manifest:
        async with open_database(self.settings).running() as database:
            return await create_backup(database, self.settings)


@pytest.fixture
def own(engine: str, new_database: NewDatabase, tmp_path: Path) -> _Own:
    return _Own(engine, new_database(engine), tmp_path)


async def test_a_backup_of_an_older_schema_raises_a_doubt(own: _Own) -> None:
    settings = await own.prepare()
    await downgrade(own.address, known_revisions()[-2])
    manifest = await own.back_up()
    await migrate(own.address)
    doubts = _told(await run_drill(settings))
    assert doubts["backup"].startswith(
        f"backup {manifest.id} is at schema revision {known_revisions()[-2]}, and this version needs"
    )


async def test_what_is_wrong_in_the_rows_raises_a_doubt(own: _Own) -> None:
    """A row that its parent's deletion did not take: the backup is faithful, and what it brings back is not whole."""
    settings = await own.prepare()
    async with open_database(settings).running() as database:
        await run(
            database,
            "UPDATE users SET deleted_at = created_at, deletion_id = 'nobody-knows-this-one' WHERE username = 'admin'",
        )
        await make_user(database, "admin")
    await own.back_up()
    doubts = _told(await run_drill(settings))
    assert list(doubts) == ["invariants"]
    assert doubts["invariants"].startswith("unknown_deletions: ")


async def test_a_scratch_database_that_a_killed_drill_left_goes(own: _Own) -> None:
    settings = await own.prepare()
    await own.back_up()
    if own.engine == "sqlite":
        left = settings.data_dir / "drill-work" / "left"
        left.mkdir(parents=True)
        (left / "holdfast.db").write_bytes(b"x" * 1000)
    else:
        left_over = parse_address(own.address.text + "_holdfast_drill")
        async with open_database(settings).running() as database:
            await _make_database(database, left_over.text.rpartition("/")[2])
        await migrate(left_over)
        await _set_mark(left_over)
    report = await run_drill(settings)
    assert report.passed, report.doubts
    assert not list((settings.data_dir / "drill-work").iterdir())
    assert await _databases_like(settings, "holdfast_drill") == []


async def test_a_database_of_somebody_else_under_its_name_is_left_alone(own: _Own) -> None:
    if own.engine == "sqlite":
        pytest.skip("a file of a random name in a folder of the drill's own")
    settings = await own.prepare()
    await own.back_up()
    name = own.address.text.rpartition("/")[2] + "_holdfast_drill"
    other = msgspec.structs.replace(settings, database_url=own.address.text + "_holdfast_drill")
    async with open_database(settings).running() as database:
        await _make_database(database, name)
    async with open_database(other).running() as database:
        await run(database, "CREATE TABLE treasure (id INTEGER)")
    doubts = _told(await run_drill(settings))
    assert f"there is a database {name} already, which holds treasure" in doubts["scratch"]
    async with open_database(other).running() as database:
        assert await fetch(database, "SELECT count(*) FROM treasure") == [(0,)]
    async with open_database(settings).running() as database:
        await _drop_database(database, name)


async def test_a_database_made_for_drills_is_emptied_and_one_in_use_refused(
    own: _Own, new_database: NewDatabase
) -> None:
    if own.engine == "sqlite":
        pytest.skip("SQLite takes a file")
    settings = await own.prepare()
    await own.back_up()
    given = msgspec.structs.replace(settings, drill_database_url=new_database(own.engine))
    for _ in range(2):
        report = await run_drill(given)
        assert report.passed, report.doubts
    at_given = msgspec.structs.replace(settings, database_url=given.drill_database_url)
    async with open_database(at_given).running() as database:
        schema = "current_schema()" if own.engine == "postgresql" else "DATABASE()"
        tables = f"SELECT count(*) FROM information_schema.tables WHERE table_schema = {schema}"
        assert await fetch(database, tables) == [(0,)]
        await run(database, "CREATE TABLE mine (id INTEGER)")
    assert "is not empty (mine …)" in _told(await run_drill(given))["scratch"]
    itself = msgspec.structs.replace(settings, drill_database_url=settings.database_url)
    assert "names the database that is in use" in _told(await run_drill(itself))["scratch"]
    async with open_database(settings).running() as database:
        assert await fetch(database, "SELECT count(*) FROM users") == [(1,)]


async def test_a_missing_right_is_told_with_the_statement_that_gives_it(own: _Own) -> None:
    if own.engine == "sqlite":
        pytest.skip("SQLite knows no rights")
    settings = await own.prepare()
    await own.back_up()
    name = own.address.text.rpartition("/")[2]
    async with open_database(settings).running() as database:
        if own.engine == "postgresql":
            await run(database, f"CREATE ROLE poor_{name} LOGIN")
            await run(database, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO poor_{name}")
        else:
            await run(database, f"CREATE USER 'poor_{name}'@'%'")
            await run(database, f"GRANT ALL ON {name}.* TO 'poor_{name}'@'%'")
    poor = msgspec.structs.replace(settings, database_url=own.address.text.replace("holdfast@", f"poor_{name}@", 1))
    doubts = _told(await run_drill(poor))
    wanted = {
        "postgresql": f'let an administrator run ALTER ROLE "poor_{name}" CREATEDB;',
        "mariadb": "let an administrator run GRANT ALL PRIVILEGES ON `",
    }
    assert wanted[own.engine] in doubts["scratch"]


async def test_a_drill_waits_for_no_other_and_says_so(own: _Own) -> None:
    if own.engine == "sqlite":
        pytest.skip("each drill has a file of its own")
    settings = await own.prepare()
    await own.back_up()
    async with scratch_beside(own.address):
        assert "another drill on this database is under way" in _told(await run_drill(settings))["scratch"]
    assert (await run_drill(settings)).passed


async def test_an_address_with_several_hosts_is_backed_up_and_drilled(own: _Own) -> None:
    """The first of them is down: the programs are to ask the one that the transaction is on."""
    if own.engine == "sqlite":
        pytest.skip("a file has no hosts")
    settings = await own.prepare()
    url = make_url(own.address.text)
    several = own.address.text.replace(f"@{url.host}:{url.port}", f"@127.0.0.1:1,{url.host}:{url.port}", 1)
    settings = msgspec.structs.replace(settings, database_url=several)
    assert len(parse_address(several).hosts) == 2
    async with open_database(settings).running() as database:
        await create_backup(database, settings)
    report = await run_drill(settings)
    assert report.passed, report.doubts
    assert await _databases_like(own.settings, "holdfast_drill") == []


async def test_another_instance_under_its_name_is_left_alone(own: _Own) -> None:
    """Its tables are Holdfast's own, but no drill made it."""
    if own.engine == "sqlite":
        pytest.skip("a file of a random name in a folder of the drill's own")
    settings = await own.prepare()
    other = own.address.with_database(own.address.database_name + "_holdfast_drill")
    async with open_database(settings).running() as database:
        await _make_database(database, other.database_name)
    try:
        await migrate(other)
        with pytest.raises(ScratchTakenError, match="no mark of a drill"):
            async with scratch_beside(own.address):
                pass
        await check_schema(other)
    finally:
        async with open_database(settings).running() as database:
            await _drop_database(database, other.database_name)


async def test_a_scratch_database_goes_though_its_connection_was_lost(own: _Own) -> None:
    if own.engine == "sqlite":
        pytest.skip("a file needs no connection")
    settings = await own.prepare()
    queries = {
        "postgresql": (
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ),
        "mariadb": "SELECT concat('KILL ', IS_USED_LOCK(concat('holdfast_drill_', md5(DATABASE()))))",
    }
    async with scratch_beside(own.address), open_database(settings).running() as database, database.read() as tx:
        ((told,),) = await tx.fetch_text(queries[own.engine])
        if own.engine == "mariadb":
            await tx.fetch_text(told)
    assert await _databases_like(settings, "holdfast_drill") == []


async def test_what_nobody_foresaw_is_a_doubt_and_recorded(own: _Own, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = await own.prepare()
    await own.back_up()

    async def restore_backup(*arguments: object, **named: object) -> None:
        raise LookupError("something odd")

    monkeypatch.setattr(service, "restore_backup", restore_backup)
    assert _told(await run_drill(settings))["restore"] == "LookupError: something odd"
    async with open_database(settings).running() as database:
        recorded = await fetch(database, "SELECT outcome FROM runs WHERE name = 'operations.drill'")
    assert recorded == [("failed",)]


async def test_a_database_without_tables_or_half_restored_is_told(
    own: _Own, new_database: NewDatabase, tmp_path: Path
) -> None:
    empty = instance_settings(new_database(own.engine), tmp_path)
    with pytest.raises(NothingToProveError, match="holds no instance of Holdfast, so a drill has nothing to prove"):
        await run_drill(empty)
    settings = await own.prepare()
    if own.engine == "sqlite":
        restored_path(own.address.path).touch()
    else:
        await on_database(own.address, lambda connection: mark_unfinished(connection, "20260101T000000Z-abcd"))
    with pytest.raises(SchemaDriftError, match="under way, or was broken off"):
        await run_drill(settings)


async def test_a_database_that_is_being_imported_is_told(own: _Own) -> None:
    settings = await own.prepare()
    async with open_database(settings).running() as database, database.write() as tx:
        await begin_filling(tx, "import", "somebody")
    with pytest.raises(NothingToProveError, match="an import into this database goes on, or was broken off"):
        await run_drill(settings)
    async with open_database(settings).running() as database:
        assert await fetch(database, "SELECT 1 FROM runs WHERE name = 'operations.drill'") == []


async def _set_mark(address: DatabaseAddress) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE holdfast_drill (since VARCHAR(1))"))
        connection.commit()

    await on_database(address, work)


async def _make_database(database: Database, name: str) -> None:
    async with database.read() as tx:
        await tx.fetch_text(f"CREATE DATABASE {name}")


async def _drop_database(database: Database, name: str) -> None:
    async with database.read() as tx:
        await tx.fetch_text(f"DROP DATABASE {name}")


async def _databases_like(settings: Settings, part: str) -> list[str]:
    queries = {
        "postgresql": "SELECT datname FROM pg_database",
        "mariadb": "SELECT schema_name FROM information_schema.schemata",
    }
    async with open_database(settings).running() as database:
        if database.dialect_name == "sqlite":
            return []
        own_name = settings.database_url.rpartition("/")[2]
        rows = await fetch(database, queries[database.dialect_name])
        return [str(name) for (name,) in rows if part in str(name) and str(name).startswith(own_name)]
