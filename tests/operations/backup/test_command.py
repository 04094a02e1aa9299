"""`holdfast backup` as an operator runs it, the job of the calendar, and the API (super administrators)."""

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyrage
import pytest

from holdfast.core.clock import utc_now
from holdfast.db import jobs, runs
from holdfast.db.address import parse_address
from holdfast.db.instance_id import find_instance_id
from holdfast.db.migrate import check_schema
from holdfast.db.open import open_database
from holdfast.operations.backup.reading import list_backups
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import ASKED_RUN, RUN
from holdfast.settings import Settings
from holdfast.worker.loop import run_one
from holdfast.worker.registry import PERIODIC_JOBS
from tests.db.rows import run
from tests.factories import make_super_admin, make_token, make_user
from tests.instance import Instance, postgresql_programs
from tests.operations.backup.conftest import NewPlace, filled
from tests.operations.backup.s3_server import KEY, SECRET, s3_server
from tests.operations.backup.test_retention import put

HOLDFAST = Path(sys.executable).parent / "holdfast"
_PATIENCE_SECONDS = 120
_SERVERS = pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True, scope="session")
# With signs that option files, pass files and shells take for their own.
_ACCOUNT = {
    "postgresql": (
        "DROP ROLE IF EXISTS guarded",
        "CREATE ROLE guarded LOGIN PASSWORD 'se:cr\\et-\"w0rd'",
        "GRANT pg_read_all_data, pg_write_all_data TO guarded",
    ),
    "mariadb": (
        "CREATE OR REPLACE USER 'guarded'@'127.0.0.1' IDENTIFIED BY 'se:cr\\\\et-\"w0rd'",
        "GRANT ALL PRIVILEGES ON {name}.* TO 'guarded'@'127.0.0.1'",
    ),
}


async def holdfast(settings: Settings, *words: str, limit: int | None = None, **more: str) -> Any:
    """Run the command to its end; `limit` is the largest file that it may write."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")} | {
        "HOLDFAST_DATABASE_URL": settings.resolved_database_url,
        "HOLDFAST_DATA_DIR": str(settings.data_dir),
        "HOLDFAST_BACKUP_URL": settings.backup_url,
        "HOLDFAST_POSTGRESQL_BIN": postgresql_programs(),
    }
    environment |= {f"HOLDFAST_{name.upper()}" if name.islower() else name: value for name, value in more.items()}
    limited = None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return await asyncio.to_thread(_run, words, environment, limited)


def _run(words: tuple[str, ...], environment: dict[str, str], limited: Callable[[], None] | None) -> Any:
    return subprocess.run(
        [HOLDFAST, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
        preexec_fn=limited,
    )


@pytest.mark.slow
async def test_an_operator_makes_looks_at_checks_and_restores_a_backup(engine: str, new_place: NewPlace) -> None:
    settings = await filled(new_place(engine))
    made = await holdfast(settings, "backup", "create")
    assert made.returncode == 0, made.stderr
    assert "read back, and every byte is what it was" in made.stdout
    assert "which a row names, is nowhere" in made.stderr
    (summary,) = list_backups(open_store(settings))
    listed = json.loads((await holdfast(settings, "backup", "list", "--json")).stdout)
    assert [(each["id"], each["verified"]) for each in listed] == [(summary.id, True)]
    shown = (await holdfast(settings, "backup", "show")).stdout
    assert "form_messages" in shown
    checked = await holdfast(settings, "backup", "verify", summary.id[:15])
    assert f"{summary.id} is whole" in checked.stdout
    place = msgspec.structs.replace(new_place(engine), backup_url=str(settings.data_dir / "backups"))
    restored = await holdfast(place, "backup", "restore", "newest")
    assert restored.returncode == 0, restored.stderr
    assert "Every table has the checksums of the manifest" in restored.stdout
    again = await holdfast(place, "backup", "restore", "newest")
    assert again.returncode == 1
    assert "is not empty" in again.stderr
    assert (await holdfast(place, "migrate", "status")).returncode == 0
    pruned = json.loads((await holdfast(settings, "backup", "prune", "--json")).stdout)
    assert pruned["removed"] == []
    async with open_database(settings).running() as database, database.read() as tx:
        recorded = await runs.find_latest_done(tx, RUN)
    assert recorded is not None
    assert summary.id.encode() in bytes(recorded.detail or b"")


@pytest.mark.slow
async def test_a_full_disk_ends_a_backup_with_a_sentence_and_leaves_nothing(engine: str, new_place: NewPlace) -> None:
    settings = await filled(new_place(engine))
    # SQLite writes its log, too, and the copy is longer than that.
    full = await holdfast(settings, "backup", "create", limit=200_000 if engine == "sqlite" else 20_000)
    assert full.returncode == 3 if engine != "sqlite" else full.returncode in {1, 3}, full.stderr
    assert "cannot be used for backups: File too large" in full.stderr or "could not be copied" in full.stderr
    assert "Traceback" not in full.stderr
    assert list_backups(open_store(settings)) == []
    assert list((settings.data_dir / "backup-work").iterdir()) == []
    assert list((settings.data_dir / "backups").glob(".*")) == []
    assert (await holdfast(settings, "backup", "create")).returncode == 0


@pytest.mark.slow
@_SERVERS
async def test_missing_and_old_programs_are_told_with_what_to_install(
    engine: str, source: Settings, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(source, backup_url=str(tmp_path))
    empty = tmp_path / "empty"
    empty.mkdir()
    absent = await holdfast(settings, "backup", "create", postgresql_bin=str(empty), PATH=str(empty))
    assert absent.returncode == 3
    package = {"postgresql": "postgresql-client", "mariadb": "mariadb-client"}[engine]
    assert f"install the Debian package {package}" in absent.stderr
    if engine == "postgresql":
        old = empty / "pg_dump"
        old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
        old.chmod(0o755)
        refused = await holdfast(settings, "backup", "create", postgresql_bin=str(empty))
        assert refused.returncode == 3
        assert "pg_dump is of PostgreSQL 9" in refused.stderr
        assert "older than the server's 18" in refused.stderr
    assert list_backups(open_store(settings)) == []


@pytest.mark.slow
@_SERVERS
async def test_no_password_is_on_a_command_line_or_in_an_error(
    engine: str, source: Settings, new_place: NewPlace, tmp_path: Path
) -> None:
    # The account may do what it needs in its own database, and nothing on the server.
    name = source.resolved_database_url.rpartition("/")[2]
    async with open_database(source).running() as database:
        for statement in _ACCOUNT[engine]:
            await run(database, statement.format(name=name))
    url = source.resolved_database_url.replace("holdfast@", "guarded:se%3Acr%5Cet-%22w0rd@")
    settings = msgspec.structs.replace(source, database_url=url, backup_url=str(tmp_path))
    made = await holdfast(settings, "backup", "create")
    assert made.returncode == 0, made.stderr
    # On MariaDB it may not see the text of procedures that another account made: they come back all the same.
    place = msgspec.structs.replace(new_place(engine), backup_url=str(tmp_path))
    (summary,) = list_backups(open_store(settings))
    await restore_backup(place, summary.id)
    await check_schema(parse_address(place.resolved_database_url))
    # A program that tells with what it was called, and fails.
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("pg_dump", "mariadb-dump"):
        program = folder / name
        said = "(PostgreSQL) 99.0" if name == "pg_dump" else "10.19 Distrib 99.1.1-MariaDB"
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "{name} {said}"; exit 0; }}\n'
            'echo "$0 $*" >> "$(dirname "$0")/called"\n'
            'printf "refused: %s\\n" "$(cat "$PGPASSFILE" "${1#--defaults-extra-file=}" 2>/dev/null)" >&2\nexit 1\n'
        )
        program.chmod(0o755)
    failed = await holdfast(
        settings, "backup", "create", postgresql_bin=str(folder), PATH=f"{folder}:{os.environ['PATH']}"
    )
    assert failed.returncode != 0
    called = (folder / "called").read_text()
    assert "w0rd" not in called
    assert "failed: refused:" in failed.stderr
    assert "w0rd" not in failed.stderr + failed.stdout


async def test_the_calendar_makes_checks_and_prunes_backups_and_tells_of_it(instance: Instance, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(
        instance.settings,
        data_dir=tmp_path,
        backup_keep_newest=1,
        backup_keep_daily=0,
        backup_keep_weekly=0,
        backup_keep_monthly=0,
    )
    admin = await make_super_admin(instance.database)
    client = instance.client(await make_token(instance.database, admin))
    for _ in range(2):
        await PERIODIC_JOBS[RUN].run(instance.database, settings, utc_now)
    (summary,) = list_backups(open_store(settings))
    assert summary.verified
    # The next one a person asks for.
    asked = await client.post("/backups")
    assert asked.status_code == 202
    assert (await client.post("/backups")).status_code == 409
    async with instance.database.read() as tx:
        assert await jobs.is_pending(tx, ASKED_RUN)
    while await run_one(instance.database, settings):
        pass
    ids = [each.id for each in list_backups(open_store(settings))]
    assert len(ids) == 1
    assert ids[0] > summary.id
    async with instance.database.read() as tx:
        recorded = await runs.find_latest_done(tx, ASKED_RUN)
    assert recorded is not None
    detail = msgspec.json.decode(recorded.detail or b"{}")
    assert (detail["id"], detail["verified"], detail["removed"]) == (ids[0], "contents", [summary.id])


async def test_the_api_lists_backups_for_super_administrators(instance: Instance) -> None:
    store = open_store(instance.settings)
    admin = await make_super_admin(instance.database)
    client = instance.client(await make_token(instance.database, admin))
    async with instance.database.read() as tx:
        own = await find_instance_id(tx)
    made = [put(store, utc_now(), instance=each) for each in ("another", own)]
    answer = await client.get("/backups")
    assert answer.status_code == 200
    assert answer.json() == {
        "store": store.shown,
        "items": msgspec.to_builtins(list_backups(store, instance=own, at_most=20)),
    }
    shown = {each["id"]: (each["instance"], each["is_own"]) for each in answer.json()["items"]}
    assert [shown[each] for each in made] == [("another", False), (own, True)]
    for each in made:
        store.remove(each)
    other = instance.client(await make_token(instance.database, await make_user(instance.database)))
    assert (await other.get("/backups")).status_code == 403
    assert (await other.post("/backups")).status_code == 403


@pytest.mark.slow
async def test_a_bucket_takes_an_encrypted_backup_and_gives_it_back(new_place: NewPlace, tmp_path: Path) -> None:
    settings = await filled(new_place("sqlite"))
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(str(identity))
    with s3_server() as server:
        server.make_bucket("nightly")
        bucket: dict[str, Any] = {
            "backup_url": "s3://nightly/holdfast",
            "backup_s3_endpoint": server.endpoint,
            "backup_s3_key": KEY,
            "backup_s3_secret": SECRET,
        }
        made = await holdfast(settings, "backup", "create", backup_recipients=str(identity.to_public()), **bucket)
        assert made.returncode == 0, made.stderr
        assert "without its secret key nobody can look inside" in made.stdout
        place = new_place("sqlite")
        key = str(tmp_path / "key")
        checked = await holdfast(place, "backup", "verify", "newest", "--identity", key, **bucket)
        assert "every byte is what it was" in checked.stdout, checked.stderr
        restored = await holdfast(place, "backup", "restore", "newest", "--identity", key, **bucket)
        assert restored.returncode == 0, restored.stderr
        assert (await holdfast(place, "migrate", "status")).returncode == 0
        (listed,) = json.loads((await holdfast(place, "backup", "list", "--json", **bucket)).stdout)
        server.change("nightly", f"holdfast/{listed['id']}/manifest.json", b"{}")
        broken = await holdfast(place, "backup", "verify", "newest", "--identity", key, **bucket)
        assert broken.returncode == 1
