"""An instance moves from engine to engine in a file, and arrives row by row as it left."""

import asyncio
import hashlib
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from holdfast.core.clock import utc_now
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import check_schema, migrate
from holdfast.db.open import open_database
from holdfast.db.tables import deletions, idempotency_keys, sign_in_failures
from holdfast.operations.checksums import Checksums, read_checksums
from holdfast.operations.transfer.bundles import BundleTwiceError
from holdfast.operations.transfer.exporting import ExportFailedError, export_instance
from holdfast.operations.transfer.importing import DatabaseNotEmptyError, import_instance
from holdfast.settings import Settings
from tests.db.rows import fetch, make_row, run
from tests.db.snapshots import Snapshot, difference, read_all
from tests.factories import insert_row, insert_rows, make_user
from tests.instance import Instance, run_instance
from tests.operations.transfer.conftest import NewPlace

# What no longer names the place of a bundle on another machine.
_NAMING_BUNDLES = ("deletions", "audit_archives")


async def _state(settings: Settings) -> tuple[Snapshot, Checksums]:
    async with open_database(settings).running() as database:
        return await read_all(database), await read_checksums(database)


async def test_round_the_three_engines_and_back_every_row_is_the_same(
    source: Settings, new_place: NewPlace, tmp_path: Path
) -> None:
    rows, checksums = await _state(source)
    assert sum(map(len, rows.values())) > 1500
    assert len([name for name in rows if rows[name]]) > 15
    at, arrived, arrived_checksums = source, rows, checksums
    for number, engine in enumerate(("postgresql", "mariadb", "sqlite")):
        file = tmp_path / f"{number}.zip"
        exported = await export_instance(at, file)
        assert exported.rows == {name: len(found) for name, found in rows.items()}
        # The odd archive names a file that there never was.
        assert (exported.bundles, len(exported.bundles_left_out)) == (2, 1)
        at = new_place(engine)
        if engine == "sqlite":
            at = msgspec.structs.replace(at, bundle_dir=str(source.resolved_bundle_dir))
        imported = await import_instance(at, file)
        assert (imported.rows, imported.bundles) == (exported.rows, 0 if engine == "sqlite" else 2)
        await check_schema(parse_address(at.resolved_database_url))
        arrived, arrived_checksums = await _state(at)
        others = {name: found for name, found in arrived.items() if name not in _NAMING_BUNDLES}
        assert difference({name: rows[name] for name in others}, others) == []
        named = {Path(each["bundle_path"]).parent for each in arrived["deletions"].values() if each["bundle_path"]}
        assert named == {at.resolved_bundle_dir, at.resolved_bundle_dir / "prepared"}
        await _require_next_number(at, after=2**53 + 7)
        arrived, arrived_checksums = await _state(at)
    assert difference(rows, arrived) == []
    assert arrived_checksums == checksums


async def _require_next_number(settings: Settings, *, after: int) -> None:
    """The next entry gets a number that none had, also none that was removed."""
    async with open_database(settings).running() as database:
        before = {id_ for (id_,) in await fetch(database, "SELECT id FROM audit_logs")}
        async with database.write() as tx:
            await tx.fetch_text(
                "INSERT INTO audit_logs (user_id, actor_name, action, resource_type, resource_id)"
                " SELECT min(u_id), 'x', 'create', 'user', 'next' FROM users"
            )
        ((number,),) = await fetch(database, "SELECT id FROM audit_logs WHERE resource_id = 'next'")
        assert number not in before
        assert number > after
        await run(database, "DELETE FROM audit_logs WHERE resource_id = 'next'")


@pytest.mark.slow
async def test_an_imported_instance_serves(export: Path, new_place: NewPlace, engine: str) -> None:
    settings = new_place(engine)
    done = await import_instance(settings, export)
    assert done.bundles == 2
    async with run_instance(engine, settings) as instance:
        u_id = await make_user(instance.database, "newcomer")
        signed_in = await instance.client().post(
            "/sessions", json={"username": "newcomer", "password": "correct horse battery"}
        )
        assert signed_in.status_code == 201, signed_in.text
        mine = await instance.client(signed_in.json()["token"]).get("/me")
        assert mine.json()["u_id"] == u_id
        await instance.close_clients()


async def test_a_database_with_rows_is_refused_by_the_names_of_its_tables(export: Path, instance: Instance) -> None:
    await make_user(instance.database, "somebody")
    await insert_row(instance.database, sign_in_failures, subject="x", failures=1, window_started_at=utc_now())
    before = await read_checksums(instance.database)
    with pytest.raises(DatabaseNotEmptyError, match=r"sign_in_failures \(1\), users \(1\)"):
        await import_instance(instance.settings, export)
    assert await read_checksums(instance.database) == before
    await check_schema(parse_address(instance.settings.resolved_database_url))


async def test_an_export_while_others_write_is_of_one_moment(instance: Instance, tmp_path: Path) -> None:
    database = instance.database
    u_id = await make_user(database, "somebody")
    stop = asyncio.Event()
    writing = asyncio.create_task(_write_pairs(database, u_id, stop))
    try:
        done = await export_instance(instance.settings, tmp_path / "first.zip")
        for number in range(3):
            done = await export_instance(instance.settings, tmp_path / f"{number}.zip")
            assert done.rows["sign_in_failures"] == done.rows["idempotency_keys"]
    finally:
        stop.set()
        written = await writing
    assert written > 3
    assert done.rows["sign_in_failures"] > 0


async def _write_pairs(database: Database, u_id: str, stop: asyncio.Event) -> int:
    """One row of each of two tables in every transaction."""
    number = 0
    while not stop.is_set():
        number += 1
        async with database.write() as tx:
            await tx.fetch_text(
                "INSERT INTO sign_in_failures (subject, failures, window_started_at)"
                f" SELECT 'pair-{number}', 1, created_at FROM users WHERE u_id = '{u_id}'"
            )
            await asyncio.sleep(0)
            await tx.fetch_text(
                "INSERT INTO idempotency_keys (user_id, idempotency_key, fingerprint, status)"
                f" VALUES ('{u_id}', 'pair-{number}', 'f', 201)"
            )
        await asyncio.sleep(0)
    return number


async def test_what_is_there_already_is_not_written_over(instance: Instance, tmp_path: Path) -> None:
    path = tmp_path / "there.zip"
    path.write_text("mine")
    with pytest.raises(ExportFailedError, match="is there already"):
        await export_instance(instance.settings, path)
    assert path.read_text() == "mine"
    with pytest.raises(ExportFailedError, match=r"nowhere is not there"):
        await export_instance(instance.settings, tmp_path / "nowhere" / "x.zip")


async def test_a_bundle_that_is_missing_or_changed_is_told_and_left_out(instance: Instance, tmp_path: Path) -> None:
    changed = tmp_path / "changed.bundle.zip"
    changed.write_bytes(b"other bytes")
    for name in ("changed", "missing"):
        await make_row(
            instance.database,
            deletions,
            root_type="project",
            bundle_path=str(tmp_path / f"{name}.bundle.zip"),
            bundle_sha256="0" * 64,
        )
    done = await export_instance(instance.settings, tmp_path / "x.zip")
    assert done.bundles == 0
    assert "is not the file whose SHA-256" in done.bundles_left_out["changed.bundle.zip"]
    assert "cannot be read: No such file" in done.bundles_left_out["missing.bundle.zip"]


async def test_two_bundles_of_one_name_are_refused(instance: Instance, tmp_path: Path) -> None:
    """An export has one folder of bundles, in which the second would take the place of the first."""
    for folder in ("one", "other"):
        path = tmp_path / folder / "same.bundle.zip"
        path.parent.mkdir()
        path.write_text(folder)
        digest = hashlib.sha256(folder.encode()).hexdigest()
        await make_row(instance.database, deletions, root_type="project", bundle_path=str(path), bundle_sha256=digest)
    with pytest.raises(BundleTwiceError, match=r"rows name two bundles same\.bundle\.zip: .*Rename one of them"):
        await export_instance(instance.settings, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


async def test_the_part_of_another_export_stays(instance: Instance, tmp_path: Path) -> None:
    under_way, left = tmp_path / ".x.zip.b.0123456789abcdef.part", tmp_path / ".x.zip.0123456789abcdef.part"
    under_way.touch()
    left.touch()
    await export_instance(instance.settings, tmp_path / "x.zip")
    assert under_way.exists()
    assert not left.exists()


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_rows(new_place: NewPlace, engine: str, tmp_path: Path) -> None:
    settings, other = new_place(engine), new_place(engine)
    await migrate(parse_address(settings.resolved_database_url))
    async with open_database(settings).running() as database:
        u_id = await make_user(database, "somebody")
        for number in range(10):
            await insert_rows(
                database,
                idempotency_keys,
                [
                    {
                        "user_id": u_id,
                        "idempotency_key": f"{number}-{index}",
                        "fingerprint": "f",
                        "status": 201,
                        "body": f"{number}-{index}" * 500,
                    }
                    for index in range(1500)
                ],
            )
    tracemalloc.start()
    try:
        done = await export_instance(settings, tmp_path / "large.zip")
        imported = await import_instance(other, tmp_path / "large.zip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert imported.rows == done.rows
    # The lines are more than thirty million bytes.
    assert peak < 16_000_000
