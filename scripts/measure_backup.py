"""How fast a large database is backed up, checked and restored, beside what its writers notice.

    .venv/bin/python -m scripts.measure_backup sqlite 1000000

fills a new database of the engine with so many entries of the audit log and forms with messages, and prints a line of
Markdown: seconds and rates of each step, the memory of this process, and the longest commit of a writer beside it.
"""

import asyncio
import contextlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.db.statements import Command, parameters_for
from holdfast.db.tables import audit_logs
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.verifying import verify_backup
from holdfast.settings import Settings
from tests.servers import mariadb_server, postgresql_server
from tests.servers.postgresql import find_binaries

_SERVERS = {"postgresql": postgresql_server, "mariadb": mariadb_server}
_ROWS_AT_ONCE = 5000
_COLUMNS = ("user_id", "actor_name", "action", "resource_type", "resource_id", "new_data", "created_at")
_INSERT = Command("scripts.insert_entry", insert(audit_logs).values(parameters_for(audit_logs, *_COLUMNS)))
_WORDS = [f"word{number:03d}" for number in range(1000)]


def main() -> None:
    """Measure one engine."""
    engine, rows = sys.argv[1], int(sys.argv[2])
    configure_logs("error", "text")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, _urls(engine, Path(folder)) as (url, other):
        asyncio.run(_measure(engine, rows, Path(folder), url, other))


@contextlib.contextmanager
def _urls(engine: str, folder: Path) -> Iterator[tuple[str, str]]:
    if engine == "sqlite":
        yield f"sqlite:///{folder}/holdfast.db", f"sqlite:///{folder}/elsewhere/holdfast.db"
        return
    with _SERVERS[engine](durable=True) as server:
        yield server.create_database("measured"), server.create_database("elsewhere")


async def _measure(engine: str, rows: int, folder: Path, url: str, other: str) -> None:
    binaries = str(find_binaries())
    settings = Settings(database_url=url, data_dir=folder / "here", postgresql_bin=binaries, pool_wait_seconds=60)
    await migrate(parse_address(url))
    async with open_database(settings).running() as database:
        await ensure_first_start(database, None)
        async with database.read() as tx:
            ((user_id,),) = await tx.fetch_text("SELECT u_id FROM users")
        await _fill(database, str(user_id), rows)
        idle = await _longest_commit(database, str(user_id), asyncio.sleep(10))
        seconds: dict[str, float] = {}
        manifest: list[Any] = []

        async def create() -> None:
            started = time.monotonic()
            manifest.append(await create_backup(database, settings))
            seconds["create"] = time.monotonic() - started

        longest = await _longest_commit(database, str(user_id), create())
    backup = manifest[0]
    started = time.monotonic()
    await verify_backup(settings, backup.id)
    seconds["verify"] = time.monotonic() - started
    there = Settings(
        database_url=other,
        data_dir=folder / "there",
        backup_url=str(folder / "here" / "backups"),
        postgresql_bin=binaries,
    )
    started = time.monotonic()
    await restore_backup(there, backup.id, bundles_to=there.resolved_bundle_dir)
    seconds["restore"] = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(
        f"| {engine} | {backup.rows:,} | {backup.database.size / 2**20:,.0f} | {backup.stored_size / 2**20:,.0f} |"
        + "".join(f" {seconds[each]:.0f} |" for each in ("create", "verify", "restore"))
        + f" {backup.rows / seconds['create']:,.0f} | {idle * 1000:.0f} | {longest * 1000:.0f} | {memory:.0f} |"
        f" load {os.getloadavg()[0]:.1f} |\n"
    )


async def _fill(database: Database, user_id: str, rows: int) -> None:
    now = utc_now()
    for start in range(0, rows, _ROWS_AT_ONCE):
        entries = [_entry(user_id, number, now) for number in range(start, min(start + _ROWS_AT_ONCE, rows))]
        async with database.write() as tx:
            await tx.execute_many(_INSERT, entries)


def _entry(user_id: str, number: int, now: Any) -> dict[str, Any]:
    text = " ".join(_WORDS[number * step % 1000] for step in (1, 7, 11, 13, 17, 19, 23, 29))
    return {
        "user_id": user_id,
        "actor_name": f"user-{number % 5000}",
        "action": "update",
        "resource_type": "form",
        "resource_id": new_long_id(),
        "new_data": {"title": text, "number": number},
        "created_at": now,
    }


async def _longest_commit(database: Database, user_id: str, work: Any) -> float:
    """The longest that one writer beside the work waits for a small transaction, in seconds."""
    working = asyncio.ensure_future(work)
    longest = 0.0
    number = 0
    while not working.done():
        number += 1
        started = time.monotonic()
        async with database.write() as tx:
            await tx.execute(_INSERT, **_entry(user_id, number, utc_now()))
        longest = max(longest, time.monotonic() - started)
        await asyncio.sleep(0.005)
    await working
    return longest


if __name__ == "__main__":
    main()
