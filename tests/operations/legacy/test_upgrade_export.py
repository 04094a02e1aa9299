"""Old tables go out and come back as they were, and an export that is not whole is none."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.db.address import parse_address
from holdfast.db.lifecycle.bundle_file import manifest_text
from holdfast.operations.backup.programs import Running
from holdfast.operations.legacy.types import LegacyError
from holdfast.operations.legacy.upgrade.export_folder import (
    KEY_MAP,
    MANIFEST,
    DamagedExportError,
    FileEntry,
    ImportLine,
    KeyLine,
    export_folder,
    key_map_lines,
    read_manifest,
)
from holdfast.operations.legacy.upgrade.exporting import load_export, old_checksums, verify_export
from tests.conftest import NewDatabase
from tests.operations.legacy.conftest import Legacy
from tests.operations.legacy.exports import entry, export, load, settings_of
from tests.operations.legacy.loading import make_legacy, open_legacy
from tests.operations.legacy.old_places import Old, add_odd_things, add_odd_things_there, set_aside

_ROOT = Path(__file__).parents[3]
_FLAVOURS = ["seed7_mariadb", "february_2026", "september_2025", "mixed"]
_OF_ENGINE = {"postgresql": "february_2026", "mariadb": "seed7_mariadb"}
_EXPORTING = [
    "after hold still",
    "before write bytes",
    "after take the dump",
    "after end a file",
    "before read checksums",
    "before write the key map",
    "after write the key map",
    "before seal",
]
_LOADING = [
    "after lock out",
    "after make",
    "before pass bytes on",
    "after pass bytes on",
    "before take in the last bytes",
    "after take in the last bytes",
    "before compare",
    "before set a comment",
    "after set a comment",
]

engines = pytest.mark.parametrize("engine", ["postgresql", "mariadb"])


@pytest.fixture
def aside(legacy: Legacy, engine: str) -> Old:
    """Old tables of an engine that a switch has set aside."""
    url, _ = legacy(_OF_ENGINE[engine], scale=20)
    return set_aside(url)


@pytest.mark.parametrize("flavour", _FLAVOURS)
async def test_old_tables_come_back_as_they_were(legacy: Legacy, tmp_path: Path, flavour: str) -> None:
    url, expected = legacy(flavour, scale=200)
    old = set_aside(url)
    manifest = await export(old, tmp_path)
    before, rows = old.catalogue(), await old_checksums(old.address, old.namespace)
    assert manifest.tables == rows
    assert {name: each.rows for name, each in rows.items() if each.rows} == expected.source_counts
    assert await verify_export(settings_of(old), tmp_path) == manifest
    old.drop()
    assert await load(old, tmp_path) == ()
    assert await old_checksums(old.address, old.namespace) == rows
    assert old.catalogue() == before


@engines
async def test_whatever_stands_beside_them_comes_back(legacy: Legacy, tmp_path: Path, engine: str) -> None:
    url, _ = legacy(_OF_ENGINE[engine])
    add_odd_things(url)
    old = set_aside(url)
    add_odd_things_there(old)
    manifest = await export(old, tmp_path)
    before = old.catalogue()
    old.drop()
    assert await load(old, tmp_path) == ()
    assert await old_checksums(old.address, old.namespace) == manifest.tables
    for what, found in old.catalogue().items():
        assert found == before[what], what


@engines
async def test_the_key_map_is_in_the_export_to_its_last_entry(aside: Old, tmp_path: Path) -> None:
    manifest = await export(aside, tmp_path, entries=3456)
    assert manifest.key_map == {"legacy_imports": 1, "legacy_keys": 3456}
    found = list(key_map_lines(tmp_path))
    assert [each.source for each in found if isinstance(each, ImportLine)] == ["old"]
    kept = {each.old_key: msgspec.structs.asdict(each) for each in found if isinstance(each, KeyLine)}
    assert kept == {str(number): entry(number) for number in range(3456)}


@engines
async def test_an_export_is_for_its_owner_alone(aside: Old, tmp_path: Path) -> None:
    folder = tmp_path / "of" / "mine"
    manifest = await export(aside, folder)
    assert _mode_of(folder) == 0o700
    modes = {name: _mode_of(folder / name) for name in _names_in(folder)}
    assert modes == dict.fromkeys([*manifest.files, MANIFEST], 0o600)


@engines
async def test_an_export_is_never_written_over(aside: Old, tmp_path: Path) -> None:
    manifest = await export(aside, tmp_path)
    with pytest.raises(LegacyError, match="holds an export already"):
        await export(aside, tmp_path)
    assert await verify_export(settings_of(aside), tmp_path) == manifest


async def test_a_folder_with_other_things_is_left_as_it_is(legacy: Legacy, tmp_path: Path) -> None:
    old = set_aside(legacy("september_2025")[0])
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "mine.txt").write_text("mine")
    before = _mode_of(shared)
    with pytest.raises(LegacyError, match=r"holds mine\.txt, which is of no export"):
        await export(old, shared)
    assert _names_in(shared) == ["mine.txt"]
    assert _mode_of(shared) == before


@engines
async def test_nothing_is_exported_of_an_empty_place_or_beside_another_export(aside: Old, tmp_path: Path) -> None:
    with export_folder(tmp_path / "busy"), pytest.raises(LegacyError, match=r"another export into .* is under way"):
        await export(aside, tmp_path / "busy")
    aside.drop()
    with pytest.raises(LegacyError, match="there is no table in"):
        await export(aside, tmp_path / "empty")
    assert _names_in(tmp_path / "empty") == []


@engines
async def test_an_export_that_its_program_broke_off_is_none(
    aside: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Running.__init__

    def begin_and_die(self: Running, *arguments: object, **options: object) -> None:
        begin(self, *arguments, **options)  # type: ignore[arg-type]
        os.kill(self._process.pid, signal.SIGKILL)

    with monkeypatch.context() as patched:
        patched.setattr(Running, "__init__", begin_and_die)
        with pytest.raises(LegacyError, match=r"cannot be exported to .* was ended by SIGKILL"):
            await export(aside, tmp_path)
    assert _names_in(tmp_path) == []
    manifest = await export(aside, tmp_path)
    aside.drop()
    with monkeypatch.context() as patched:
        patched.setattr(Running, "__init__", begin_and_die)
        with pytest.raises(LegacyError, match="was ended by SIGKILL"):
            await load(aside, tmp_path)
    assert await load(aside, tmp_path) == ()
    assert await old_checksums(aside.address, aside.namespace) == manifest.tables


@engines
async def test_a_damaged_export_is_refused_and_nothing_is_loaded(aside: Old, tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    manifest = await export(aside, whole)
    aside.drop()
    for name in [*manifest.files, MANIFEST]:
        content = (whole / name).read_bytes()
        changed = [_with_other_bit(content, place) for place in (0, len(content) // 2, len(content) - 1)]
        for other in [*changed, b"", content[:-1], content + b"\n", None]:
            shutil.copytree(whole, damaged)
            if other is None:
                (damaged / name).unlink()
            else:
                (damaged / name).write_bytes(other)
            with pytest.raises(DamagedExportError) as told:
                await load(aside, damaged)
            assert str(damaged) in told.value.message
            shutil.rmtree(damaged)
    assert not aside.is_there()
    assert await load(aside, whole) == ()


def _mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _with_other_bit(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 4
    return bytes(changed)


@engines
async def test_a_dump_that_was_never_whole_is_refused_whatever_its_manifest_says(aside: Old, tmp_path: Path) -> None:
    manifest = await export(aside, tmp_path)
    whole = (tmp_path / manifest.dump).read_bytes()
    for content in (whole[: len(whole) // 2], b"no dump at all", b""):
        _sign(tmp_path, manifest.dump, content)
        with pytest.raises(DamagedExportError, match="cannot be loaded"):
            await verify_export(settings_of(aside), tmp_path)


@engines
async def test_a_key_map_with_other_entries_is_refused_whatever_its_manifest_says(aside: Old, tmp_path: Path) -> None:
    await export(aside, tmp_path)
    first, *rest = (tmp_path / KEY_MAP).read_bytes().splitlines(keepends=True)
    for content, sentence in ((b"".join(rest), "other numbers of entries"), (first[:-3], "cannot be read")):
        _sign(tmp_path, KEY_MAP, content)
        with pytest.raises(DamagedExportError, match=sentence):
            await verify_export(settings_of(aside), tmp_path)


@engines
async def test_rows_that_are_not_those_of_the_manifest_are_told(aside: Old, tmp_path: Path) -> None:
    manifest = await export(aside, tmp_path)
    users = msgspec.structs.replace(manifest.tables["users"], rows=1)
    _write(tmp_path, msgspec.structs.replace(manifest, tables=manifest.tables | {"users": users}))
    aside.drop()
    for _ in range(2):
        with pytest.raises(LegacyError, match=r"does not hold what was exported: users: \d+ rows instead of 1"):
            await load(aside, tmp_path)


def _sign(folder: Path, name: str, content: bytes) -> None:
    """Put other content there, and its hash into the manifest."""
    (folder / name).write_bytes(content)
    manifest = read_manifest(folder)
    found = FileEntry(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    _write(folder, msgspec.structs.replace(manifest, files=manifest.files | {name: found}))


def _write(folder: Path, manifest: msgspec.Struct) -> None:
    (folder / MANIFEST).write_bytes(manifest_text(manifest))


@engines
async def test_only_an_empty_place_or_one_of_a_load_is_loaded_into(aside: Old, tmp_path: Path) -> None:
    manifest = await export(aside, tmp_path)
    with pytest.raises(LegacyError, match="is not empty, and was not made by a load that was broken off"):
        await load(aside, tmp_path)
    assert await old_checksums(aside.address, aside.namespace) == manifest.tables
    aside.drop()
    aside.run("CREATE SCHEMA {there}")
    assert await load(aside, tmp_path) == ()
    # What was loaded is there, and only looked at.
    assert await load(aside, tmp_path) == ()
    aside.run("DELETE FROM {there}.form_messages")
    with pytest.raises(LegacyError, match="form_messages: 0 rows instead of"):
        await load(aside, tmp_path)
    assert aside.run("SELECT count(*) FROM {there}.form_messages") == [(0,)]


@engines
async def test_an_export_is_not_loaded_onto_another_engine(aside: Old, engine: str, tmp_path: Path) -> None:
    manifest = await export(aside, tmp_path)
    other = msgspec.structs.replace(aside.address, dialect_name="mariadb" if engine == "postgresql" else "postgresql")
    with pytest.raises(LegacyError, match=f"the export is of {manifest.dialect}"):
        await load_export(settings_of(aside), other, aside.namespace, tmp_path)
    if engine == "postgresql":
        with pytest.raises(LegacyError, match="the export is of the schema holdfast_before"):
            await load_export(settings_of(aside), aside.address, "elsewhere", tmp_path)


@engines
async def test_of_two_loads_at_once_one_is_refused(aside: Old, tmp_path: Path) -> None:
    await export(aside, tmp_path)
    aside.drop()
    ends = await asyncio.gather(*(load(aside, tmp_path) for _ in range(2)), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["LegacyError", "tuple"], ends
    assert any("another load into" in str(end) for end in ends)


@engines
async def test_what_belongs_to_others_comes_back_as_own_where_that_is_all_there_is(
    aside: Old, engine: str, tmp_path: Path
) -> None:
    name = f"other_{aside.address.database_name}"
    if engine == "postgresql":
        aside.run(f"CREATE ROLE {name}")
        aside.run(f"ALTER TABLE {{there}}.forms OWNER TO {name}")
        aside.run(f"GRANT SELECT ON {{there}}.users TO {name}")
        limited = aside
    else:
        aside.run(f"CREATE USER {name}@'127.0.0.1'")
        for place in (aside.namespace, aside.address.database_name):
            aside.run(f"GRANT ALL PRIVILEGES ON {place}.* TO {name}@'127.0.0.1'")
        aside.run("CREATE TRIGGER {there}.trigger_1 BEFORE INSERT ON {there}.forms FOR EACH ROW SET NEW.title = 'x'")
        aside.run("CREATE VIEW {there}.view_1 AS SELECT id FROM {there}.forms")
        limited = msgspec.structs.replace(aside, url=aside.url.replace("holdfast@", f"{name}@"))
    # Who may not do much can export all of it.
    manifest = await export(limited, tmp_path)
    aside.drop()
    if engine == "postgresql":
        aside.run(f"DROP ROLE {name}")
    (sentence,) = await load(limited, tmp_path)
    assert " did not come back: " in sentence
    assert await old_checksums(limited.address, limited.namespace) == manifest.tables
    if engine == "mariadb":
        assert limited.catalogue()["triggers"][0][-1] == f"{name}@127.0.0.1"
        assert limited.catalogue()["views"][0][-2] == f"{name}@127.0.0.1"


@engines
async def test_an_account_of_its_own_databases_alone_can_export_and_load(
    new_database: NewDatabase, engine: str, tmp_path: Path
) -> None:
    url = new_database(engine)
    name, database = f"limited_{parse_address(url).database_name}", parse_address(url).database_name
    with open_legacy(url) as server:
        if engine == "postgresql":
            server.run(f"CREATE ROLE {name} LOGIN")
            server.run(f"ALTER DATABASE {database} OWNER TO {name}")
        else:
            server.run(f"CREATE USER {name}@'127.0.0.1'")
            server.run(f"GRANT ALL PRIVILEGES ON {database}.* TO {name}@'127.0.0.1'")
            server.run(f"GRANT ALL PRIVILEGES ON {database}_holdfast_before.* TO {name}@'127.0.0.1'")
    url = url.replace("holdfast@", f"{name}@")
    make_legacy(url, _OF_ENGINE[engine])
    old = set_aside(url)
    manifest, before = await export(old, tmp_path), old.catalogue()
    old.drop()
    assert await load(old, tmp_path) == ()
    assert await old_checksums(old.address, old.namespace) == manifest.tables
    assert old.catalogue() == before


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["mariadb"])
async def test_what_a_dump_of_mariadb_would_change_is_refused(aside: Old, tmp_path: Path) -> None:
    aside.run("CREATE TABLE {there}.measured (id INT, share FLOAT)")
    aside.run("INSERT INTO {there}.measured VALUES (1, 0.5), (2, 16777217)")
    with pytest.raises(LegacyError, match=r"measured\.share is a FLOAT, of which a dump holds six digits: 1 rows"):
        await export(aside, tmp_path)
    aside.run("ALTER TABLE {there}.measured MODIFY share DOUBLE, ADD SYSTEM VERSIONING")
    with pytest.raises(LegacyError, match=r"measured keeps the history of its rows"):
        await export(aside, tmp_path)
    aside.run("ALTER TABLE {there}.measured DROP SYSTEM VERSIONING")
    aside.run("CREATE TABLE {there}.large (content LONGBLOB)")
    aside.run("INSERT INTO {there}.large VALUES (repeat(x'00ff', 3000000)), (x'00')")
    aside.run("INSERT INTO {there}.large SELECT repeat(content, 2) FROM {there}.large")
    with pytest.raises(
        LegacyError, match=r"a row .* needs a statement of 24,\d\d\d,\d\d\d bytes, .* max_allowed_packet"
    ):
        await export(aside, tmp_path)
    assert _names_in(tmp_path) == []
    aside.run("DELETE FROM {there}.large WHERE length(content) > 8000000")
    manifest = await export(aside, tmp_path)
    aside.drop()
    await load(aside, tmp_path)
    assert await old_checksums(aside.address, aside.namespace) == manifest.tables


@engines
async def test_checksums_tell_the_least_change(aside: Old) -> None:
    aside.run("CREATE TABLE {there}.unkeyed (a VARCHAR(5), b VARCHAR(5))")
    aside.run("INSERT INTO {there}.unkeyed VALUES ('x', 'y'), ('', NULL), ('x', 'y')")

    async def summed() -> tuple[int, str]:
        return msgspec.structs.astuple((await old_checksums(aside.address, aside.namespace))["unkeyed"])

    first = await summed()
    seen = {first}
    for change in ("a = NULL, b = ''", "a = '', b = ''", "a = 'xy', b = ''", "a = '', b = ' '", "a = 'X', b = 'y'"):
        aside.run(f"UPDATE {{there}}.unkeyed SET {change} WHERE a <> 'x' OR a IS NULL")
        seen.add(await summed())
    assert len(seen) == 6
    aside.run("DELETE FROM {there}.unkeyed")
    aside.run("INSERT INTO {there}.unkeyed VALUES ('', NULL), ('x', 'y')")
    assert await summed() not in seen
    # Without a key there is no order to keep.
    aside.run("INSERT INTO {there}.unkeyed VALUES ('x', 'y')")
    assert await summed() == first


class Mortal:
    """The process that dies on demand."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def dies(self, action: str, point: str, old: Old, folder: Path) -> None:
        line = json.dumps(
            {"action": action, "point": point, "url": old.url, "namespace": old.namespace, "folder": str(folder)}
        )
        status = await asyncio.wait_for(asyncio.to_thread(self._ask, line), 120)
        assert status == -signal.SIGKILL, f"{action} did not come by {point!r}"

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def mortal() -> Iterator[Mortal]:
    command = [sys.executable, "-m", "tests.operations.legacy.dying_exports"]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Mortal(process)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # type: ignore[union-attr]


@pytest.fixture
def larger(legacy: Legacy, engine: str) -> Old:
    """As `aside`, with so many rows that a dump goes through a pipe in several pieces."""
    url, _ = legacy(_OF_ENGINE[engine], scale=5000)
    return set_aside(url)


@engines
@pytest.mark.slow
async def test_a_killed_export_is_none_and_the_next_one_clears_up(mortal: Mortal, larger: Old, tmp_path: Path) -> None:
    rows = await old_checksums(larger.address, larger.namespace)
    for number, point in enumerate(_EXPORTING):
        folder = tmp_path / str(number)
        await mortal.dies("export", point, larger, folder)
        with pytest.raises(DamagedExportError, match="holds no export"):
            await verify_export(settings_of(larger), folder)
        manifest = await export(larger, folder)
        assert manifest.tables == rows, point
        assert _names_in(folder) == sorted([*manifest.files, MANIFEST]), point
        assert await verify_export(settings_of(larger), folder) == manifest
    # Once its manifest has its place it counts, whatever became of its maker.
    await mortal.dies("export", "after seal", larger, tmp_path / "sealed")
    assert (await verify_export(settings_of(larger), tmp_path / "sealed")).tables == rows


@engines
@pytest.mark.slow
async def test_a_killed_load_is_run_again(mortal: Mortal, larger: Old, tmp_path: Path) -> None:
    manifest, before = await export(larger, tmp_path), larger.catalogue()
    for point in _LOADING:
        larger.drop()
        await mortal.dies("load", point, larger, tmp_path)
        assert await load(larger, tmp_path) == (), point
        assert await old_checksums(larger.address, larger.namespace) == manifest.tables, point
        assert larger.catalogue() == before, point
    larger.drop()
    # One after the other, none of which comes to its end.
    for point in _LOADING[1:]:
        await mortal.dies("load", point, larger, tmp_path)
    assert await load(larger, tmp_path) == ()
    assert larger.catalogue() == before
