"""`holdfast doctor`, as an operator uses it."""

import json
from pathlib import Path

import pytest

from holdfast.db.address import parse_address
from holdfast.db.migrate import migrate
from holdfast.db.sqlite_driver import sqlite3
from holdfast.operations.doctor.registry import CHECKS
from tests.cli.commandline import CommandLine


@pytest.fixture
async def commands(tmp_path: Path) -> CommandLine:
    """A machine with a small demo in an embedded database."""
    url = f"sqlite:///{tmp_path}/holdfast.db"
    await migrate(parse_address(url))
    made = CommandLine("http://127.0.0.1:9", tmp_path)
    made.environment |= {"HOLDFAST_DATABASE_URL": url, "HOLDFAST_DATA_DIR": str(tmp_path)}
    await made.done("demo", "--yes", "--size", "small")
    return made


def _orphan_a_form(folder: Path) -> str:
    """The form."""
    connection = sqlite3.connect(f"{folder}/holdfast.db", isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = OFF")
        ((form,),) = connection.execute("SELECT min(id) FROM forms").fetchall()
        connection.execute("UPDATE forms SET user_id = 'nobody' WHERE id = ?", [form])
    finally:
        connection.close()
    return str(form)


async def test_orphans_are_found_planned_and_cured(commands: CommandLine, tmp_path: Path) -> None:
    assert "checks in" in await commands.done("doctor")
    form = _orphan_a_form(tmp_path)
    found = await commands.run("doctor")
    assert found.exit_code == 1
    assert "error: orphans: forms.user_id names a row of users that does not exist in 1 row" in found.stdout
    assert form in found.stdout
    planned = await commands.json("doctor", "--fix", "orphans", "--dry-run")
    assert form in {row for change in planned["changes"] for row in change["rows"]}
    assert (await commands.run("doctor", "--only", "orphans")).exit_code == 1
    said = await commands.done("doctor", "--fix", "orphans")
    assert "orphans: forms: removed;" in said
    # The demo's administrator is older than an hour, and no worker ran.
    assert said.rstrip().endswith("0 errors, 1 warning, 0 notices.")
    assert "warning: schedule: no worker has ever run here" in said
    assert "There is nothing to cure." in await commands.done("doctor", "--fix", "orphans")


async def test_the_report_is_json_and_is_kept(commands: CommandLine, tmp_path: Path) -> None:
    form = _orphan_a_form(tmp_path)
    result = await commands.run("doctor", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [(each["check"], each["rows"], each["fix"]) for each in report["findings"]] == [
        ("orphans", [form], "orphans"),
        ("schedule", [], None),
    ]
    connection = sqlite3.connect(f"{tmp_path}/holdfast.db")
    ((detail,),) = connection.execute("SELECT detail FROM runs WHERE name = 'operations.doctor'").fetchall()
    connection.close()
    assert json.loads(detail) == report
    assert json.loads((await commands.run("doctor", "--only", "schema", "--json")).stdout)["checks"] == ["schema"]


async def test_all_checks_are_listed(tmp_path: Path) -> None:
    listed = await CommandLine("http://127.0.0.1:9", tmp_path).json("doctor", "--list")
    assert [each["check"] for each in listed] == [check.name for check in CHECKS]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "everything"], "there is no check everything"),
        (["--fix", "everything"], "there is no check everything"),
        (["--fix", "gpu_quotas"], "what gpu_quotas finds has no cure"),
        (["--dry-run"], "name one with --fix"),
    ],
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, options: list[str], words: str) -> None:
    commands = CommandLine("http://127.0.0.1:9", tmp_path)
    assert words in await commands.refused("doctor", *options)


async def test_an_empty_database_is_told(tmp_path: Path) -> None:
    commands = CommandLine("http://127.0.0.1:9", tmp_path)
    commands.environment |= {"HOLDFAST_DATA_DIR": str(tmp_path)}
    result = await commands.run("doctor")
    assert result.exit_code == 1
    assert "the database is empty" in result.stdout
    assert "was not checked" in result.stdout


async def test_a_damaged_file_is_told(commands: CommandLine, tmp_path: Path) -> None:
    """The pages of a table overwritten in the middle: whatever cannot be read says so, and nothing is changed."""
    file = tmp_path / "holdfast.db"
    connection = sqlite3.connect(str(file))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'ix_audit_logs_resource_id'")
    ((size,),) = connection.execute("PRAGMA page_size")
    connection.close()
    with file.open("r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(b"\xff" * size)
    result = await commands.run("doctor")
    assert result.exit_code == 1, result.output
    assert "error: file_damage: the database file is damaged" in result.stdout
