"""An older database that is a file of SQLite: read as of one moment, while others write, and left as it is."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.sqlite_driver import sqlite3
from holdfast.operations.legacy.flavours import Form, read_catalogue
from holdfast.operations.legacy.importing import Noted, imagine_import
from holdfast.operations.legacy.key_map import notes_of
from holdfast.operations.legacy.source import SourceTable, open_source
from holdfast.operations.legacy.types import LegacyError, Options
from tests.operations.legacy.conftest import Legacy
from tests.operations.legacy.loading import LegacyDatabase, open_legacy

_USERS = SourceTable("users", ("id",))


@pytest.fixture
def older(legacy: Legacy) -> Iterator[tuple[DatabaseAddress, LegacyDatabase]]:
    """A file without faults, and the program that goes on with it."""
    url, _ = legacy("seed7_sqlite", with_faults=False)
    with open_legacy(url) as program:
        yield parse_address(url), program


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_the_file_is_read_as_of_one_moment_while_others_write(
    older: tuple[DatabaseAddress, LegacyDatabase], mode: str
) -> None:
    address, program = older
    program.run(f"PRAGMA journal_mode = {mode}")
    # Whoever would hold the program up is found out at once.
    program.run("PRAGMA busy_timeout = 0")
    async with open_source(address) as source:
        before = await source.count(_USERS)
        program.run("INSERT INTO users (username, password) VALUES ('new', 'x')")
        program.run("UPDATE users SET full_name = 'changed'")
        pages = [page async for page in source.pages(_USERS, 2)]
        assert await source.count(_USERS) == before == sum(map(len, pages))
        assert not any(row["full_name"] == "changed" for page in pages for row in page)
    async with open_source(address) as source:
        assert await source.count(_USERS) == before + 1


async def test_what_is_in_the_log_alone_is_read(older: tuple[DatabaseAddress, LegacyDatabase]) -> None:
    address, program = older
    program.run("PRAGMA journal_mode = wal")
    program.run("PRAGMA wal_autocheckpoint = 0")
    program.run("INSERT INTO users (id, username, password) VALUES (77, 'in the log', 'x')")
    async with open_source(address) as source:
        (row,) = await source.rows_of_keys(_USERS, [(77,)])
    assert row["username"] == "in the log"


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_the_file_stays_as_it_is(legacy: Legacy, mode: str) -> None:
    url, _ = legacy("seed7_sqlite")
    path = parse_address(url).path
    with open_legacy(url) as program:
        program.run(f"PRAGMA journal_mode = {mode}")
    before = _digest(path)
    await imagine_import(None, url, Options())
    assert _digest(path) == before


async def test_a_file_that_is_missing_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "old.db"
    with pytest.raises(LegacyError, match="there is no such file"):
        await read_catalogue(parse_address(f"sqlite:///{path}"))
    assert not path.parent.exists()


async def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(LegacyError, match="another kind of file"):
        await read_catalogue(parse_address(f"sqlite:///{path}"))
    path.write_bytes(b"")
    with pytest.raises(LegacyError, match="none of the older schemas"):
        await read_catalogue(parse_address(f"sqlite:///{path}"))


async def test_names_are_read_in_any_case_of_their_letters(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(str(path))) as connection:
        connection.executescript(
            "CREATE TABLE Users (ID INTEGER PRIMARY KEY, UserName, Is_Active, Seen_At TEXT, Weight);"
            "CREATE TABLE GROUP_LIST (id, group_name TEXT);"
            "CREATE TABLE user_group (user_id, g_id);"
            "CREATE TABLE project_list (id INTEGER, gpu_quota NUMERIC(4));"
            "CREATE VIRTUAL TABLE found USING fts5(words);"
            "CREATE VIEW everybody AS SELECT * FROM Users;"
        )
    catalogue = await read_catalogue(parse_address(f"sqlite:///{path}"))
    assert catalogue.tables["users"] == {
        "id": Form.INTEGER,
        "username": Form.TEXT,
        "is_active": Form.FLAG,
        "seen_at": Form.LOCAL_TIME,
        "weight": Form.TEXT,
    }
    assert catalogue.tables["user_group"] == {"user_id": Form.INTEGER, "g_id": Form.INTEGER}
    assert catalogue.tables["project_list"]["gpu_quota"] is Form.INTEGER
    assert not {"everybody", "found"} & catalogue.tables.keys()


@pytest.mark.parametrize(
    ("rows", "lacking"), [("(NULL), (1), (2)", 1), ("(1), (1), (2)", 1), ("(1), ('1'), (NULL), (NULL)", 3)]
)
async def test_rows_without_a_key_of_their_own_are_refused(
    older: tuple[DatabaseAddress, LegacyDatabase], rows: str, lacking: int
) -> None:
    address, program = older
    program.run_script(
        f"DROP TABLE forms; CREATE TABLE forms (id, user_id, title); INSERT INTO forms (id) VALUES {rows}"
    )
    with pytest.raises(LegacyError, match=f"{lacking} rows of forms have no id, or that of another row"):
        await imagine_import(None, address.text, Options())


async def test_many_rows_of_keys_are_found(older: tuple[DatabaseAddress, LegacyDatabase]) -> None:
    address, program = older
    pairs = [(number, number % 7) for number in range(1000, 1500)]
    program.run_script("DROP TABLE user_group; CREATE TABLE user_group (user_id INT, g_id INT, role TEXT)")
    for pair in pairs:
        program.run("INSERT INTO user_group (user_id, g_id) VALUES (%s, %s)", *pair)
    members = SourceTable("user_group", ("user_id", "g_id"))
    async with open_source(address) as source:
        found = await source.rows_of_keys(members, pairs)
        assert [(row["user_id"], row["g_id"]) for row in found] == pairs
        paged = [row async for page in source.pages(members, 7) for row in page]
        assert [(row["user_id"], row["g_id"]) for row in paged] == pairs
        assert await source.rows_of_keys(members, []) == []


async def test_pages_go_by_the_letters_of_text_keys(older: tuple[DatabaseAddress, LegacyDatabase]) -> None:
    address, program = older
    program.run_script("DROP TABLE forms; CREATE TABLE forms (id TEXT COLLATE NOCASE, user_id, title)")
    keys = ["A", "B", "a", "b", "ä"]
    for key in keys:
        program.run("INSERT INTO forms (id) VALUES (%s)", key)
    async with open_source(address) as source:
        paged = [row["id"] async for page in source.pages(SourceTable("forms", ("id",)), 2) for row in page]
    assert paged == keys


async def test_older_twins_are_told_by_times_of_any_spelling(older: tuple[DatabaseAddress, LegacyDatabase]) -> None:
    address, program = older
    program.run("DELETE FROM forms")
    for number, title, made, deleted in (
        (1, "ÄPFEL", "2025-10-01 08:00:00", ""),
        (2, "äpfel", 1759305601, None),
        (3, "Äpfel", "2025-10-01 15:59:59 +0800 CST", " "),
        (4, "äpfel", "2025-10-01 09:00:00", "2025-10-02"),
        (5, "äpfel", "", None),
    ):
        program.run(
            "INSERT INTO forms (id, user_id, title, created_at, updated_at, deleted_at) VALUES (%s, 1, %s, %s, '', %s)",
            number,
            title,
            made,
            deleted,
        )
    async with open_source(address) as source:
        twins = await source.older_twins(
            SourceTable("forms", ("id",)), ("title",), ("updated_at", "created_at"), folded=("title",)
        )
    assert twins == [(1,), (3,), (5,)]


async def test_what_no_server_would_keep_is_told(older: tuple[DatabaseAddress, LegacyDatabase]) -> None:
    address, program = older
    program.run("UPDATE project_list SET gpu_quota = 'some', description = CAST(x'636166e9' AS TEXT) WHERE id = 1")
    program.run("UPDATE course_workloads SET resource_gpu = 1.5 WHERE id = 1")
    program.run("UPDATE image_allow_list SET is_enabled = 'perhaps' WHERE id = 1")
    program.run("UPDATE users SET created_at = 'yesterday' WHERE id = 2")
    told: list[Noted] = []
    await imagine_import(None, address.text, Options(), tell=told.append)
    notes = {
        (noted.table, noted.entry.old_key, note.column): (note.code, note.old, note.new)
        for noted in told
        for note in notes_of(noted.entry.notes)
    }
    assert notes["project_list", "1", "gpu_quota"] == ("unreadable", "some", "0")
    assert notes["course_workloads", "1", "resource_gpu"] == ("unreadable", "1.5", None)
    assert notes["image_allow_list", "1", "is_enabled"] == ("unreadable", "perhaps", "False")
    code, old, _ = notes["users", "2", "created_at"]
    assert (code, old) == ("wrong_time", "yesterday")
    async with open_source(address) as source:
        (row,) = await source.rows_of_keys(SourceTable("project_list", ("id",)), [(1,)])
    assert row["description"] == "caf\\xe9"


def _digest(path: Path) -> Any:
    return hashlib.sha256(path.read_bytes()).hexdigest()
