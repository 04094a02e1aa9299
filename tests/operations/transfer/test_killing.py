"""An import that dies halfway leaves a database that nobody serves, and that the next import makes whole."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.errors import SchemaDriftError
from holdfast.db.filling import MarkLostError, beat, end_filling, find_unfinished, take_over
from holdfast.db.migrate import check_schema
from holdfast.db.open import open_database
from holdfast.operations.transfer import bundles, filling, importing
from holdfast.operations.transfer.importing import ImportRunsError, import_instance
from holdfast.settings import Settings
from tests.cli.commandline import CommandLine
from tests.operations.transfer.conftest import NewPlace

_DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from holdfast.operations.transfer import bundles, filling, importing
from tests.instance import instance_settings

url, folder, file, chunks = sys.argv[1:]
original, done = filling.Filling._taken_apart, 0
filling._ROWS_AT_ONCE = 50

def taken_apart(*arguments):
    global done
    done += 1
    if done > int(chunks):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

filling.Filling._taken_apart = taken_apart
asyncio.run(importing.import_instance(instance_settings(url, Path(folder)), Path(file)))
"""


async def _die_halfway(settings: Settings, file: Path, chunks: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _DYING,
        settings.resolved_database_url,
        str(settings.data_dir),
        str(file),
        str(chunks),
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert await asyncio.wait_for(process.wait(), 120) == -signal.SIGKILL


async def _count_users(settings: Settings) -> int:
    async with open_database(settings).running() as database, database.read() as tx:
        ((count,),) = await tx.fetch_text("SELECT count(*) FROM users")
        return int(count)


@pytest.mark.slow
async def test_a_killed_import_is_refused_by_the_server_and_made_whole_by_the_next(
    export: Path, new_place: NewPlace, engine: str
) -> None:
    settings = new_place(engine)
    await _die_halfway(settings, export, chunks=10)
    assert await _count_users(settings) > 0
    with pytest.raises(SchemaDriftError, match="an import into this database goes on, or was broken off"):
        await check_schema(parse_address(settings.resolved_database_url))
    commands = CommandLine("http://127.0.0.1:9", settings.data_dir)
    commands.environment |= {
        "HOLDFAST_DATABASE_URL": settings.resolved_database_url,
        "HOLDFAST_DATA_DIR": str(settings.data_dir),
    }
    assert "goes on, or was broken off" in await commands.refused("migrate", code=3)
    assert "goes on, or was broken off" in await commands.refused("migrate", "downgrade", "base", "--yes", code=3)
    assert await _count_users(settings) > 0
    done = await import_instance(settings, export, patience_seconds=0.4)
    assert done.was_unfinished
    assert await _count_users(settings) == done.rows["users"]
    await check_schema(parse_address(settings.resolved_database_url))


async def test_an_import_that_goes_on_is_left_alone(export: Path, new_place: NewPlace) -> None:
    settings = new_place("sqlite")
    await _die_halfway(settings, export, chunks=3)
    before = await _count_users(settings)

    async def live_on(stop: asyncio.Event) -> None:
        async with open_database(settings).running() as database:
            async with database.read() as tx:
                mark = await find_unfinished(tx)
            assert mark is not None
            assert mark.owner is not None
            while not stop.is_set():
                await beat(database, mark.owner)
                await asyncio.sleep(0.02)

    stop = asyncio.Event()
    living = asyncio.create_task(live_on(stop))
    try:
        with pytest.raises(ImportRunsError, match="another import into this database is under way"):
            await import_instance(settings, export, patience_seconds=30)
    finally:
        stop.set()
        await living
    assert await _count_users(settings) == before


async def test_who_imports_says_so_all_the_while(
    export: Path, new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at once: the second is refused while the first is at it, and the first ends well."""
    monkeypatch.setattr(filling, "_SECONDS_BETWEEN_BEATS", 0.01)
    settings = new_place("sqlite")
    original = filling.Filling._taken_apart
    second: list[HoldfastError] = []

    async def import_again() -> None:
        try:
            await import_instance(settings, export, patience_seconds=30)
        except HoldfastError as error:
            second.append(error)
        finally:
            ended.set()

    ended = asyncio.Event()
    trying: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    def taken_apart(*arguments: Any) -> Any:
        if not trying:
            started = asyncio.run_coroutine_threadsafe(_start(), loop)
            started.result(timeout=30)
        return original(*arguments)

    async def _start() -> None:
        trying.append(asyncio.create_task(import_again()))
        await ended.wait()

    monkeypatch.setattr(filling.Filling, "_taken_apart", taken_apart)
    done = await import_instance(settings, export)
    await trying[0]
    assert isinstance(second[0], ImportRunsError)
    assert not done.was_unfinished
    assert await _count_users(settings) == done.rows["users"]


async def test_bundles_that_take_long_are_no_sign_of_death(
    export: Path, new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_SECONDS_BETWEEN_BEATS", 0.01)
    settings = new_place("sqlite")
    loop = asyncio.get_running_loop()
    original = bundles.put_bundles
    second: list[BaseException | None] = []

    async def import_again() -> None:
        trying = asyncio.create_task(import_instance(settings, export, patience_seconds=1))
        await asyncio.wait([trying])
        second.append(trying.exception())

    def put_bundles(*arguments: Any) -> int:
        if not second:
            asyncio.run_coroutine_threadsafe(import_again(), loop).result(timeout=60)
        return original(*arguments)

    monkeypatch.setattr(importing, "put_bundles", put_bundles)
    done = await import_instance(settings, export)
    assert isinstance(second[0], ImportRunsError)
    assert await _count_users(settings) == done.rows["users"]


@pytest.mark.parametrize("moment", ["while it goes on", "at its very end"])
async def test_an_import_taken_for_dead_ends_without_a_trace(
    export: Path, new_place: NewPlace, engine: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The first was still for too long; the second has its mark, and its rows, which the first must leave alone."""
    still = moment == "at its very end"
    monkeypatch.setattr(filling, "_SECONDS_BETWEEN_BEATS", 1000.0 if still else 0.02)
    settings = new_place(engine)
    original = bundles.rename_bundles

    async def rename_bundles(database: Database, *arguments: Any) -> int:
        renamed = await original(database, *arguments)
        async with database.read() as tx:
            mark = await find_unfinished(tx)
        while mark is not None:
            with contextlib.suppress(MarkLostError):
                await take_over(database, mark, "second")
                break
            async with database.read() as tx:
                mark = await find_unfinished(tx)
        if not still:
            await asyncio.sleep(30)
        return renamed

    monkeypatch.setattr(importing, "rename_bundles", rename_bundles)
    with pytest.raises(ImportRunsError, match="another import has taken this database over"):
        await import_instance(settings, export)
    async with open_database(settings).running() as database:
        async with database.read() as tx:
            mark = await find_unfinished(tx)
            ((users,),) = await tx.fetch_text("SELECT count(*) FROM users")
        assert mark is not None
        assert mark.owner == "second"
        assert users > 0
        await end_filling(database, "second")


async def test_an_import_that_fails_after_it_was_taken_for_dead_empties_nothing(
    export: Path, new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_SECONDS_BETWEEN_BEATS", 1000.0)
    settings = new_place("sqlite")

    async def rename_bundles(database: Database, *arguments: Any) -> int:
        async with database.write() as tx:
            await tx.fetch_text("UPDATE holdfast_unfinished SET owner = 'second'")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(importing, "rename_bundles", rename_bundles)
    with pytest.raises(ImportRunsError, match="another import has taken this database over"):
        await import_instance(settings, export)
    assert await _count_users(settings) > 0
