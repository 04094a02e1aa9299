"""`holdfast legacy`: what an operator sees, and the exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.operations.legacy import importing
from tests.cli.commandline import CommandLine
from tests.conftest import NewDatabase
from tests.operations.legacy.flavours import FLAVOURS
from tests.operations.legacy.loading import make_legacy, open_legacy


@pytest.fixture
def commands(new_database: NewDatabase, tmp_path: Path, engine: str) -> CommandLine:
    """The command line of an operator with an empty database."""
    commands = CommandLine("http://127.0.0.1:9", tmp_path)
    commands.environment |= {"HOLDFAST_DATABASE_URL": new_database(engine), "HOLDFAST_DATA_DIR": str(tmp_path)}
    return commands


@pytest.fixture
def older(new_database: NewDatabase) -> str:
    """The URL of an older database with faults."""
    url = new_database(FLAVOURS["february_2026"].engine)
    make_legacy(url, "february_2026")
    return url


async def test_look_try_import_and_import_again(commands: CommandLine, older: str, tmp_path: Path) -> None:
    with open_legacy(older) as database:
        database.run("UPDATE users SET password = 'plain' WHERE username = 'mei'")
    told = await commands.done("legacy", "inspect", older)
    assert told.startswith("The schema of February 2026.\n")
    assert "the name was taken: the newest keeps it, this one got another" in told
    assert "group_pvcs" in told
    assert "8 users have a password hash of bcrypt. They sign in with the password that they have" in told
    assert "1 users have a password hash that Holdfast cannot verify: neither argon2 nor bcrypt" in told
    assert told.endswith("Nothing was written.\n")
    assert "Nothing was written." in await commands.done("legacy", "import", older, "--dry-run")
    report = tmp_path / "import.jsonl"
    told = await commands.done("legacy", "import", older, "--report", report)
    assert "The first password of user admin, to be changed at once: " in told
    assert "Nothing differs without one." in told
    assert len(report.read_text(encoding="utf-8").splitlines()) > 40
    told = await commands.done("legacy", "import", older)
    assert "Added 0 rows." in told
    assert "first password" not in told


async def test_choices_and_json(commands: CommandLine, older: str) -> None:
    choices = ("--allow-kind", "Secret", "--orphans", "quarantine", "--time-zone", "Asia/Taipei", "--source", "lab")
    done = await commands.json("legacy", "import", older, *choices)
    assert (done["source"], done["unexplained"]) == ("lab", 0)
    assert (done["bcrypt_hashes"], done["foreign_hashes"]) == (9, 0)
    assert done["added"]["project_list"] == 7
    assert "kind_allowed" in {each["code"] for each in done["findings"]}


async def test_what_cannot_be_imported_is_refused(commands: CommandLine, new_database: NewDatabase) -> None:
    empty = new_database("postgresql")
    assert "has none of the older schemas" in await commands.refused("legacy", "inspect", empty)
    assert "has none of the older schemas" in await commands.refused("legacy", "import", empty)
    told = await commands.refused("legacy", "inspect", empty, "--time-zone", "Nowhere/Else", code=2)
    assert "there is no time zone" in told


async def test_a_difference_that_nothing_explains_fails(
    commands: CommandLine, older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = importing._compare

    async def spoil(stage: Any, facts: Any, database: Any, progress: Any) -> Any:
        async with database.write() as tx:
            await tx.fetch_text("UPDATE group_list SET description = 'spoilt' WHERE g_id = 'group_3'")
        return await original(stage, facts, database, progress)

    monkeypatch.setattr(importing, "_compare", spoil)
    told = await commands.refused("legacy", "import", older)
    assert "1 differences that nothing explains" in told
    assert "group_list 3: description of group_3 is 'spoilt' instead of None" in told
    # It is told until it is mended.
    assert json.loads((await commands.run("legacy", "import", older, "--json")).stdout)["unexplained"] == 1
