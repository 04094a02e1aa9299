"""Backup while a real server takes writes all the time, the machine is lost, restore elsewhere (issue 5, R6)."""

import asyncio
import shutil
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from holdfast.db.address import parse_address
from holdfast.db.migrate import check_schema
from holdfast.db.open import open_database
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.restoring import restore_backup
from holdfast.operations.backup.verifying import verify_backup
from holdfast.operations.checksums import read_checksums
from tests.conftest import NewDatabase
from tests.ha.ledger import Told
from tests.ha.load import Load
from tests.ha.replicas import migrate, running_replicas
from tests.instance import instance_settings
from tests.servers.plugin import DatabaseServers

pytestmark = pytest.mark.slow


async def test_every_write_acknowledged_before_the_backup_is_there_after_the_machine_was_lost(
    engine: str, new_database: NewDatabase, database_servers: "DatabaseServers", tmp_path: Path
) -> None:
    machine, store = tmp_path / "machine", tmp_path / "store"
    for folder in (machine, store):
        folder.mkdir()
    url = f"sqlite:///{machine}/holdfast.db" if engine == "sqlite" else new_database(engine)
    settings = instance_settings(url, machine, backup_url=str(store))
    await asyncio.to_thread(migrate, url)
    manifests = []
    with running_replicas(machine, url, count=1) as replicas:
        async with Load([replica.url for replica in replicas], callers=8) as load:
            async with open_database(settings).running() as database:
                for _ in range(3):
                    await load.until_acknowledged(40)
                    known = [write.text for write in load.writes if write.told is Told.ACKNOWLEDGED]
                    began = time.monotonic()
                    manifests.append((await create_backup(database, settings), known))
                    # Writers went on while it was made: it held nobody up.
                    during = [ended for _, ended in load.acknowledged if ended > began]
                    assert during
            await load.until_acknowledged(20)
        figures = await load.verify()
    figures.require_kept_promises()
    tried = {write.text for write in load.writes}
    # The machine is lost.
    if engine == "sqlite":
        shutil.rmtree(machine)
    else:
        database_servers.address(engine).drop_database(str(parse_address(url).text.rpartition("/")[2]))
    for manifest, known in manifests:
        elsewhere = instance_settings(
            new_database(engine), tmp_path / f"elsewhere-{manifest.id}", backup_url=str(store)
        )
        assert (await verify_backup(elsewhere, manifest.id)).passed
        done = await restore_backup(elsewhere, manifest.id, bundles_to=elsewhere.resolved_bundle_dir)
        assert done.compared == "checksums"
        await check_schema(parse_address(elsewhere.resolved_database_url))
        async with open_database(elsewhere).running() as database:
            found = await read_checksums(database)
            # The restore itself is a run; all else is as the snapshot had it.
            assert {name for name, each in found.items() if each != manifest.tables[name]} == {"runs"}
            async with database.read() as tx:
                titles = [str(title) for (title,) in await tx.fetch_text("SELECT title FROM forms")]
                contents = [str(text) for (text,) in await tx.fetch_text("SELECT content FROM form_messages")]
        texts = Counter([*titles, *contents])
        assert set(known) <= texts.keys()
        assert [text for text in tried if texts[text] > 1] == []


async def test_the_backups_of_a_busy_database_are_bounded_and_cancelled_at_once(
    engine: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    url = new_database(engine)
    settings = instance_settings(url, tmp_path)
    await asyncio.to_thread(migrate, url)
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_progress(stage: str, done: int, total: int | None) -> None:
        loop.call_soon_threadsafe(reached.set)

    async with open_database(settings).running() as database:
        making = asyncio.create_task(create_backup(database, settings, progress=on_progress))
        await asyncio.wait_for(reached.wait(), 60)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(making, 60)
        assert [path.name for path in (tmp_path / "backups").iterdir()] == []
        assert [path.name for path in (tmp_path / "backup-work").iterdir()] == []
        # Nothing of it holds anybody up afterwards.
        assert (await create_backup(database, msgspec.structs.replace(settings))).rows > 0
