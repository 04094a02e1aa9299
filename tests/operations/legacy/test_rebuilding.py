"""An older database in a file of SQLite becomes a Holdfast in its place, and the older one again, whatever dies."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
from collections import namedtuple
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import check_schema
from holdfast.db.open import open_database
from holdfast.db.sqlite_driver import sqlite3
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.checksums import read_checksums
from holdfast.operations.legacy import importing, rebuilding
from holdfast.operations.legacy.importing import import_legacy
from holdfast.operations.legacy.rebuild_files import Places, alone
from holdfast.operations.legacy.rebuilding import drop_before, rebuild, undo_rebuild
from holdfast.operations.legacy.types import LegacyError, Options
from holdfast.settings import Settings
from tests.db.snapshots import Snapshot, difference, read_all
from tests.factories import make_user
from tests.operations.legacy.conftest import Legacy, NewTarget
from tests.operations.legacy.dying_rebuilds import AT
from tests.operations.legacy.loading import open_legacy

_ROOT = Path(__file__).parents[3]
_Usage = namedtuple("_Usage", "total used free")
_JOURNALS = ("delete", "wal")


class _Older:
    """An older file, and what it was."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.address = parse_address(f"sqlite:///{path}")
        self.settings = msgspec.structs.replace(settings, database_url=self.address.text)
        self.sha256 = _sha256(path)
        self.dump = _dump(path)
        self.size_bytes = path.stat().st_size

    async def rebuild(self, **options: Any) -> rebuilding.RebuildReport:
        return await rebuild(self.settings, self.address, Options(), clock=lambda: AT, **options)

    async def undo(self, *, lose_changes: bool = False) -> rebuilding.UndoReport:
        return await undo_rebuild(self.address, lose_changes=lose_changes)

    def require_as_it_was(self) -> None:
        assert _sha256(self.path) == self.sha256
        assert _dump(self.path) == self.dump
        assert self.files() == [self.path.name]

    def files(self) -> list[str]:
        return sorted(each.name for each in self.path.parent.iterdir())


MakeOlder = Callable[[str], _Older]


@pytest.fixture
def make_older(legacy: Legacy, new_target: NewTarget, tmp_path: Path) -> MakeOlder:
    """Makes an older file with all faults, in a folder of its own."""

    def make(journal: str) -> _Older:
        url, _ = legacy("seed7_sqlite")
        path = parse_address(url).path
        with open_legacy(url) as program:
            program.run(f"PRAGMA journal_mode = {journal}")
        return _Older(path, new_target("sqlite"))

    return make


@pytest.fixture(params=_JOURNALS)
def older(request: pytest.FixtureRequest, make_older: MakeOlder) -> _Older:
    """An older file of either journal mode."""
    return make_older(str(request.param))


@pytest.fixture
def one(make_older: MakeOlder) -> _Older:
    """An older file where the journal mode does not matter."""
    return make_older("wal")


async def test_the_file_becomes_a_holdfast_in_its_place(older: _Older, legacy: Legacy, new_target: NewTarget) -> None:
    older.path.chmod(0o640)
    apart = new_target("sqlite")
    await import_legacy(apart, older.address.text, Options(), clock=lambda: AT)
    report = await older.rebuild()
    assert not report.was_done
    assert report.imported.unexplained == 0
    assert report.path == str(older.path)
    assert _sha256(Path(report.before)) == older.sha256 or older.dump[0] == "wal"
    assert older.files() == [f"{older.path.name}{ending}" for ending in ("", ".holdfast-before", ".holdfast-swap.json")]
    assert older.path.stat().st_mode & 0o777 == 0o640
    await check_schema(older.address)
    assert difference(await _rows(older.settings), await _rows(apart)) == []


async def test_undoing_gives_the_older_file_back_byte_for_byte(older: _Older) -> None:
    await older.rebuild()
    report = await older.undo()
    assert report.lost == []
    older.require_as_it_was()
    with pytest.raises(LegacyError, match="nothing is to be undone"):
        await older.undo()
    # And all over again.
    assert not (await older.rebuild()).was_done
    await older.undo()
    older.require_as_it_was()


async def test_what_was_changed_since_is_lost_only_where_that_is_asked(older: _Older) -> None:
    await older.rebuild()
    async with open_database(older.settings).running() as database:
        # What the service writes by itself is nobody's change.
        async with database.write() as tx:
            await tx.fetch_text("DELETE FROM runs")
        await make_user(database, username="newcomer")
    with pytest.raises(LegacyError, match=r"users: .* rows instead of"):
        await older.undo()
    assert await _is_holdfast(older.settings)
    report = await older.undo(lose_changes=True)
    assert any(each.startswith("users: ") for each in report.lost)
    older.require_as_it_was()


async def test_an_older_file_that_was_written_to_is_not_put_back(older: _Older) -> None:
    report = await older.rebuild()
    with contextlib.closing(sqlite3.connect(report.before)) as connection, connection:
        connection.execute("DELETE FROM audit_logs")
    with pytest.raises(LegacyError, match="somebody has written to it"):
        await older.undo()
    assert await _is_holdfast(older.settings)


async def test_a_second_run_says_that_it_is_done(older: _Older) -> None:
    first = await older.rebuild()
    before = _sha256(older.path)
    second = await older.rebuild()
    assert second.was_done
    assert second.imported == msgspec.structs.replace(first.imported, admin_password=None)
    assert _sha256(older.path) == before


async def test_the_generated_password_is_told_once_and_never_written(one: _Older) -> None:
    one.settings = msgspec.structs.replace(one.settings, admin_password=None)
    password = (await one.rebuild()).imported.admin_password
    assert password
    assert all(password.encode() not in each.read_bytes() for each in one.path.parent.iterdir())
    assert (await one.rebuild()).imported.admin_password is None


async def test_the_older_file_is_dropped_for_good(older: _Older) -> None:
    with pytest.raises(LegacyError, match="nothing is to be dropped"):
        await drop_before(older.address)
    report = await older.rebuild()
    dropped = await drop_before(older.address)
    assert (dropped.before, dropped.size_bytes) == (report.before, older.size_bytes)
    assert not list(older.path.parent.glob("*.holdfast-*"))
    with pytest.raises(LegacyError, match="nothing is to be undone"):
        await older.undo()
    with pytest.raises(LegacyError, match="is a Holdfast already"):
        await older.rebuild()


async def test_a_link_to_the_file_stays_one(one: _Older, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(one.path)
    address = parse_address(f"sqlite:///{link}")
    await rebuild(one.settings, address, Options())
    assert link.is_symlink()
    assert await _is_holdfast(one.settings)
    await undo_rebuild(address, lose_changes=False)
    one.require_as_it_was()


_PROGRAM = """
import sys
from pysqlite3 import dbapi2 as sqlite3

connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=float(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(connection.execute(line).fetchall(), flush=True)
    except sqlite3.Error as error:
        print(error, flush=True)
"""


class _Program:
    """An older program, in a process of its own: the locks of one process never bar itself."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, statement: str) -> str:
        await self.ask(statement)
        return await self.answer()

    async def ask(self, statement: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{statement}\n".encode())
        await self._process.stdin.drain()

    def kill(self) -> None:
        self._process.kill()

    async def answer(self) -> str:
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), 60)).decode().strip()


@contextlib.asynccontextmanager
async def _program(path: Path, *, waits: float = 0) -> AsyncIterator[_Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PROGRAM,
        str(path),
        str(waits),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    program = _Program(process)
    assert await program.answer() == "ready"
    try:
        yield program
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 60)


_NEW_USER = "INSERT INTO users (username, password) VALUES ('late', 'x')"


async def test_a_file_that_another_program_writes_to_is_refused(older: _Older) -> None:
    async with _program(older.path) as program:
        await program.run("BEGIN IMMEDIATE")
        with pytest.raises(LegacyError, match=r"another program has .* open: stop the older program"):
            await older.rebuild(wait_seconds=0.2)
        assert await program.run(_NEW_USER) == "[]"
        await program.run("ROLLBACK")
    older.require_as_it_was()


async def test_with_a_log_an_idle_program_is_found_too(make_older: MakeOlder) -> None:
    older = make_older("wal")
    async with _program(older.path) as program:
        await program.run("SELECT count(*) FROM users")
        with pytest.raises(LegacyError, match=r"another program has .* open"):
            await older.rebuild(wait_seconds=0.2)
        # For a while it waits for the other one to let go.
        waiting = asyncio.create_task(older.rebuild(wait_seconds=30))
        await program.run("PRAGMA journal_mode")
        assert not waiting.done()
        program.kill()
        assert not (await waiting).was_done


async def test_nobody_writes_from_the_copy_to_the_swap_nor_to_the_older_file_afterwards(older: _Older) -> None:
    """The idle program with the older journal is not seen; one that opens the file meanwhile waits in vain."""
    answers: list[str] = []
    async with contextlib.AsyncExitStack() as stack:
        idle = await stack.enter_async_context(_program(older.path))
        if _journal(older.path) == "delete":
            await idle.run("SELECT count(*) FROM users")
        late = await stack.enter_async_context(_program(older.path))
        waiting = await stack.enter_async_context(_program(older.path, waits=60))
        loop, asked = asyncio.get_running_loop(), asyncio.Event()

        async def meddle() -> None:
            await asked.wait()
            answers.append(await late.run(_NEW_USER))
            await waiting.ask(_NEW_USER)

        def progress(part: str, done: int, whole: int) -> None:
            loop.call_soon_threadsafe(asked.set)

        meddling = asyncio.create_task(meddle())
        await older.rebuild(progress=progress)
        await meddling
        if _journal(older.path.with_name(older.path.name + ".holdfast-before")) == "delete":
            assert await idle.run(_NEW_USER) == "attempt to write a readonly database"
        assert answers == ["database is locked"]
        assert await waiting.answer() == "attempt to write a readonly database"
    assert await _is_holdfast(older.settings)
    async with open_database(older.settings).running() as database, database.read() as tx:
        assert await tx.fetch_text("SELECT count(*) FROM users WHERE username = 'late'") == [(0,)]
    assert not list(older.path.parent.glob("*-journal"))
    await older.undo()
    older.require_as_it_was()


async def test_what_the_program_wrote_last_comes_along(make_older: MakeOlder) -> None:
    """The program was killed, and its last rows are in the log alone."""
    older = make_older("wal")
    async with _program(older.path) as program:
        await program.run("PRAGMA wal_autocheckpoint = 0")
        await program.run(_NEW_USER)
        program.kill()
    await older.rebuild()
    async with open_database(older.settings).running() as database, database.read() as tx:
        assert await tx.fetch_text("SELECT count(*) FROM users WHERE username = 'late'") == [(1,)]
    await older.undo()
    with open_legacy(older.address.text) as again:
        assert again.run("SELECT count(*) FROM users WHERE username = 'late'") == [(1,)]


async def test_a_server_that_runs_keeps_the_undoing_away(older: _Older) -> None:
    await older.rebuild()
    async with _program(older.path) as server:
        await server.run("SELECT count(*) FROM users")
        with pytest.raises(LegacyError, match=r"another program has .* open"):
            await undo_rebuild(older.address, lose_changes=False, wait_seconds=0.2)
    await older.undo()
    older.require_as_it_was()


async def test_a_difference_without_a_reason_keeps_the_older_file(one: _Older, monkeypatch: pytest.MonkeyPatch) -> None:
    async def spoil(database: Database, *arguments: Any) -> Any:
        async with database.write() as tx:
            await tx.fetch_text("UPDATE project_list SET project_name = 'spoilt' WHERE p_id = 'proj_2'")
        return await ensure_first_start(database, *arguments)

    monkeypatch.setattr(importing, "ensure_first_start", spoil)
    with pytest.raises(LegacyError, match=r"1 differences .* is 'spoilt' instead of 'arm'"):
        await one.rebuild()
    one.require_as_it_was()


async def test_what_the_doctor_finds_keeps_the_older_file(one: _Older, monkeypatch: pytest.MonkeyPatch) -> None:
    async def spoil(database: Database, *arguments: Any) -> Any:
        async with database.write() as tx:
            await tx.fetch_text("UPDATE deletions SET state = 'purged'")
        return await ensure_first_start(database, *arguments)

    monkeypatch.setattr(importing, "ensure_first_start", spoil)
    with pytest.raises(LegacyError, match=r"the doctor finds errors .* finished_deletions: "):
        await one.rebuild()
    one.require_as_it_was()


async def test_a_file_that_cannot_get_a_second_name_stays(older: _Older, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(LegacyError, match="cannot get a second name"):
        await older.rebuild()
    assert _dump(older.path) == older.dump
    assert older.files() == [older.path.name]


async def test_room_for_both_is_needed(one: _Older, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "disk_usage", lambda path: _Usage(10, 0, 10))
    with pytest.raises(LegacyError, match="where 10 are free: make room"):
        await one.rebuild()
    one.require_as_it_was()


async def test_only_one_rebuild_goes_on(one: _Older) -> None:
    with alone(Places(one.path)):
        for act in (one.rebuild(), one.undo(), drop_before(one.address)):
            with pytest.raises(LegacyError, match=r"another rebuild .* is under way"):
                await act
    # What a process left that was killed bars nobody.
    Places(one.path).lock.touch()
    await one.rebuild()


async def test_a_file_that_nothing_is_known_of_is_not_overwritten(one: _Older) -> None:
    before = Places(one.path).before
    before.write_bytes(b"somebody's")
    with pytest.raises(LegacyError, match="nothing says of which rebuild: move it away"):
        await one.rebuild()
    assert before.read_bytes() == b"somebody's"
    before.unlink()
    one.require_as_it_was()


async def test_other_databases_are_refused(one: _Older, tmp_path: Path) -> None:
    elsewhere = DatabaseAddress("postgresql://user:secret@host/database", "postgresql")
    with pytest.raises(LegacyError, match="is on a server"):
        await rebuild(one.settings, elsewhere, Options())
    with pytest.raises(LegacyError, match="there is no file"):
        await rebuild(one.settings, parse_address(f"sqlite:///{tmp_path}/none.db"), Options())
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(str(other))) as connection:
        connection.execute("CREATE TABLE something (id INTEGER PRIMARY KEY)")
    with pytest.raises(LegacyError, match="has none of the older schemas"):
        await rebuild(one.settings, parse_address(f"sqlite:///{other}"), Options())


class _Dying:
    """Lets children die: how each ended, and how many points it passed."""

    def __init__(self, process: asyncio.subprocess.Process, data_dir: Path) -> None:
        self._process = process
        self._data_dir = data_dir

    async def run(self, act: str, path: Path, point: int) -> tuple[int, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"act": act, "path": str(path), "data_dir": str(self._data_dir), "point": point}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        await self._process.stdin.drain()
        status, passed = (await asyncio.wait_for(self._process.stdout.readline(), 120)).split()
        return int(status), int(passed)


@pytest.fixture
async def dying(tmp_path: Path) -> AsyncIterator[_Dying]:
    """The process whose children die."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.operations.legacy.dying_rebuilds",
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])},
    )
    yield _Dying(process, tmp_path / "data")
    assert process.stdin is not None
    process.stdin.close()
    await asyncio.wait_for(process.wait(), 60)


@pytest.mark.slow
async def test_a_rebuild_that_is_killed_anywhere_is_done_by_the_next(
    older: _Older, dying: _Dying, tmp_path: Path
) -> None:
    whole = await _whole(older, tmp_path / "whole")
    wanted = await _rows(whole.settings)
    points, swapped_at = 0, []
    while True:
        again = _fresh(older, tmp_path / str(points))
        status, passed = await dying.run("rebuild", again.path, points)
        if status == 0:
            assert passed == points
            break
        assert status == -signal.SIGKILL
        is_swapped = await _require_either(again)
        swapped_at += [points] if is_swapped else []
        report = await again.rebuild()
        assert report.was_done == is_swapped, points
        assert difference(await _rows(again.settings), wanted) == [], points
        await again.undo()
        assert _dump(again.path) == older.dump, points
        # A log that was taken away and given back has counted two changes more.
        assert _sha256(again.path) == older.sha256 or _journal(older.path) == "wal", points
        assert again.files() == [again.path.name]
        points += 1
    assert points > 30
    assert swapped_at == list(range(swapped_at[0], points))
    assert len(swapped_at) > 2


@pytest.mark.slow
async def test_an_undoing_that_is_killed_anywhere_is_done_by_the_next(
    older: _Older, dying: _Dying, tmp_path: Path
) -> None:
    rebuilt = await _whole(older, tmp_path / "rebuilt")
    points = backs = 0
    while True:
        again = _copied(rebuilt, tmp_path / str(points))
        status, _ = await dying.run("undo", again.path, points)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        is_back = not await _require_either(again)
        backs += is_back
        if Places(again.path).record.exists():
            await again.undo()
        assert _sha256(again.path) == older.sha256, points
        assert again.files() in ([again.path.name], [again.path.name, Places(again.path).lock.name])
        await again.rebuild()
        await again.undo()
        assert _sha256(again.path) == older.sha256, points
        points += 1
    assert points > 8
    assert backs > 2


@pytest.mark.slow
async def test_a_dropping_that_is_killed_anywhere_is_done_by_the_next(
    older: _Older, dying: _Dying, tmp_path: Path
) -> None:
    rebuilt = await _whole(older, tmp_path / "rebuilt")
    points = 0
    while True:
        again = _copied(rebuilt, tmp_path / str(points))
        status, _ = await dying.run("drop", again.path, points)
        if status == 0:
            break
        assert await _require_either(again)
        places = Places(again.path)
        if places.record.exists():
            if not places.before.exists():
                with pytest.raises(LegacyError, match="there is nothing to go back to"):
                    await again.undo()
            await drop_before(again.address)
        assert await _is_holdfast(again.settings)
        assert not places.before.exists()
        points += 1
    assert points > 4


async def _whole(older: _Older, folder: Path) -> _Older:
    """A rebuild that nothing disturbed."""
    whole = _fresh(older, folder)
    await whole.rebuild()
    return whole


def _fresh(older: _Older, folder: Path) -> _Older:
    folder.mkdir()
    shutil.copy(older.path, folder / older.path.name)
    return _Older(folder / older.path.name, older.settings)


def _copied(rebuilt: _Older, folder: Path) -> _Older:
    """With all files of the rebuild."""
    shutil.copytree(rebuilt.path.parent, folder)
    copy = _Older(folder / rebuilt.path.name, rebuilt.settings)
    copy.dump, copy.sha256 = rebuilt.dump, rebuilt.sha256
    return copy


async def _require_either(found: _Older) -> bool:
    """The name leads to the older database or to the whole new one: whether it is that one."""
    if not await _is_holdfast(found.settings):
        assert _dump(found.path, with_journal=False) == found.dump[1:]
        return False
    record = Places(found.path).find_record()
    if record is not None:
        async with open_database(found.settings).running() as database:
            assert await read_checksums(database) == record.checksums
    return True


async def _rows(settings: Settings) -> Snapshot:
    """But for what has random parts."""
    async with open_database(settings).running() as database:
        rows = await read_all(database)
    for user in rows["users"].values():
        user["password"] = user["password"][:7]
    return rows


async def _is_holdfast(settings: Settings) -> bool:
    path = parse_address(settings.resolved_database_url).path
    return await asyncio.to_thread(lambda: Places(path).is_holdfast)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _journal(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(str(path))) as connection:
        ((mode,),) = connection.execute("PRAGMA journal_mode")
    return str(mode)


def _dump(path: Path, *, with_journal: bool = True) -> list[str]:
    """Every row and every declaration, and at the beginning the journal mode."""
    with contextlib.closing(sqlite3.connect(str(path))) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        lines = [str(each) for each in tables]
        for name, _ in tables:
            with contextlib.suppress(sqlite3.OperationalError):
                lines += [f"{name} {row}" for row in connection.execute(f"SELECT rowid, * FROM {name} ORDER BY rowid")]
    return [_journal(path), *lines] if with_journal else lines
