"""`holdfast import roster`, over HTTP into a running instance."""

import csv
import stat
from pathlib import Path

import pytest

from tests.cli.commandline import CommandLine
from tests.factories import make_group, make_member, make_token, make_user
from tests.instance import Instance

COURSE = """\
username,full_name,email,role
ada,Ada Lovelace,ada@example.org,manager
grace,Grace Hopper,grace@example.org,
alan,"Turing, Alan",,user
"""


@pytest.fixture
def course(tmp_path: Path) -> Path:
    path = tmp_path / "course.csv"
    path.write_text(COURSE, encoding="utf-8")
    return path


async def test_a_course_is_imported(admin: CommandLine, instance: Instance, course: Path) -> None:
    await make_group(instance.database, "physics")
    said = await admin.done("import", "roster", course, "--group", "physics")
    assert "3 accounts made, 0 updated; 3 members added to physics, 0 roles changed" in said
    members = (await admin.json("groups", "members", "physics"))["items"]
    assert {member["username"]: member["role"] for member in members} == {
        "ada": "manager",
        "alan": "user",
        "grace": "user",
    }
    assert {member["full_name"] for member in members} == {"Ada Lovelace", "Grace Hopper", "Turing, Alan"}


async def test_printed_first_passwords_sign_in(admin: CommandLine, instance: Instance, course: Path) -> None:
    await make_group(instance.database, "physics")
    said = await admin.done("import", "roster", course, "--group", "physics")
    passwords = dict(line.split() for line in said.splitlines() if line.startswith(("ada ", "grace ", "alan ")))
    assert len(passwords) == 3
    answer = await instance.client().post("/sessions", json={"username": "ada", "password": passwords["ada"]})
    assert answer.status_code == 201
    assert answer.json()["user"]["must_change_password"] is True


async def test_importing_again_changes_nothing_and_says_so(
    admin: CommandLine, instance: Instance, course: Path
) -> None:
    await make_group(instance.database, "physics")
    await admin.done("import", "roster", course, "--group", "physics")
    before = (await admin.json("audit", "list"))["total"]
    said = await admin.done("import", "roster", course, "--group", "physics")
    assert said == "Nothing to change: physics holds all 3 people as the file says.\n"
    assert (await admin.json("audit", "list"))["total"] == before


async def test_a_dry_run_shows_the_difference_and_stores_nothing(
    admin: CommandLine, instance: Instance, course: Path, tmp_path: Path
) -> None:
    g_id = await make_group(instance.database, "physics")
    await make_member(instance.database, await make_user(instance.database, "ada"), g_id, "user")
    passwords = tmp_path / "passwords.csv"
    said = await admin.done("import", "roster", course, "--group", "physics", "--dry-run", "--passwords-out", passwords)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines[:4] == [
        "username account membership",
        "grace new joins as user",
        "alan new joins as user",
        "ada updated user becomes manager",
    ]
    assert [user["username"] for user in (await admin.json("users", "list"))["items"]] == ["ada", "root-of-tests"]
    assert not passwords.exists()


async def test_passwords_go_to_a_private_file(
    admin: CommandLine, instance: Instance, course: Path, tmp_path: Path
) -> None:
    await make_group(instance.database, "physics")
    path = tmp_path / "passwords.csv"
    said = await admin.done("import", "roster", course, "--group", "physics", "--passwords-out", path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["username"] for row in rows] == ["ada", "grace", "alan"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(row["password"] not in said for row in rows)


async def test_a_passwords_file_is_never_overwritten(
    admin: CommandLine, instance: Instance, course: Path, tmp_path: Path
) -> None:
    await make_group(instance.database, "physics")
    path = tmp_path / "passwords.csv"
    path.write_text("precious")
    said = await admin.refused("import", "roster", course, "--group", "physics", "--passwords-out", path)
    assert "is there already" in said
    assert path.read_text() == "precious"
    assert (await admin.json("groups", "members", "physics"))["total"] == 0


async def test_a_refused_import_leaves_no_passwords_file(
    admin: CommandLine, instance: Instance, course: Path, tmp_path: Path
) -> None:
    await make_group(instance.database, "physics")
    await make_user(instance.database, "grace", status="delete")
    path = tmp_path / "passwords.csv"
    said = await admin.refused("import", "roster", course, "--group", "physics", "--passwords-out", path)
    assert "line 3, username: this account is disabled" in said
    assert not path.exists()
    assert (await admin.json("groups", "members", "physics"))["total"] == 0


async def test_the_group_is_made_where_asked(admin: CommandLine, instance: Instance, course: Path) -> None:
    assert "--create-group makes it" in await admin.refused("import", "roster", course, "--group", "physics")
    await make_user(instance.database, "ada", full_name="Ada Lovelace", email="ada@example.org")
    dry = await admin.json("import", "roster", course, "--group", "physics", "--create-group", "--dry-run")
    assert dry["created_users"] == ["grace", "alan"]
    assert len(dry["added_members"]) == 3
    assert (await admin.json("groups", "list"))["total"] == 1
    done = await admin.json("import", "roster", course, "--group", "physics", "--create-group")
    assert [done[name] for name in ("created_users", "added_members", "updated_users")] == [
        dry[name] for name in ("created_users", "added_members", "updated_users")
    ]
    assert (await admin.json("groups", "show", "physics"))["member_count"] == 3


async def test_a_refused_roster_tells_of_the_group_that_was_made(
    admin: CommandLine, instance: Instance, tmp_path: Path
) -> None:
    await make_user(instance.database, "ada", status="delete")
    path = tmp_path / "course.csv"
    path.write_text("username\nada\n")
    into_physics = ("import", "roster", path, "--group", "physics", "--create-group")
    said = await admin.refused(*into_physics)
    first, last = said.splitlines()
    assert first.startswith("holdfast: 1 mistake, nothing was stored; line 2, username: this account is disabled")
    assert last == "  the group physics was made, and is empty; running this again uses it"
    path.write_text("username\ngrace\n")
    said = await admin.done(*into_physics)
    assert said.startswith("1 account made, 0 updated; 1 member added to physics, 0 roles changed; 0 people unchanged.")
    assert await admin.done(*into_physics) == "Nothing to change: physics holds the 1 person as the file says.\n"


async def test_several_mistakes_are_told_once_each(admin: CommandLine, instance: Instance, tmp_path: Path) -> None:
    await make_group(instance.database, "physics")
    await make_user(instance.database, "ada", status="delete")
    await make_user(instance.database, "grace", status="delete")
    path = tmp_path / "course.csv"
    path.write_text("username\nada\ngrace\n")
    said = await admin.refused("import", "roster", path, "--group", "physics")
    first, *lines = said.splitlines()
    assert first == "holdfast: 2 mistakes, nothing was stored"
    assert [line.split(":")[0] for line in lines] == ["  line 2, username", "  line 3, username"]


async def test_a_wrong_file_is_refused_before_anything_is_sent(admin: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "course.csv"
    path.write_text("username;role\nab;user\nada;boss\n")
    said = await admin.refused("import", "roster", path, "--group", "physics", "--url", "http://127.0.0.1:9")
    assert said.splitlines() == [
        f"holdfast: {path}: 2 mistakes, nothing was sent",
        "  line 2, username: must be 3 to 50 characters of A-Z, a-z, 0-9, _ and -",
        "  line 3, role: must be one of admin, manager, user",
    ]


async def test_columns_without_use_are_reported(admin: CommandLine, instance: Instance, tmp_path: Path) -> None:
    await make_group(instance.database, "physics")
    path = tmp_path / "course.csv"
    path.write_text("Matrikel,Username\n17,ada\n")
    result = await admin.run("import", "roster", path, "--group", "physics")
    assert result.exit_code == 0, result.output
    assert "not used: the columns matrikel" in result.stderr


async def test_a_member_may_not_import(instance: Instance, course: Path, tmp_path: Path) -> None:
    u_id = await make_user(instance.database, "ada")
    await make_member(instance.database, u_id, await make_group(instance.database, "physics"))
    member = CommandLine(instance.base_url, tmp_path, await make_token(instance.database, u_id))
    await member.refused("import", "roster", course, "--group", "physics")


async def test_a_course_of_hundreds_is_one_import(admin: CommandLine, instance: Instance, tmp_path: Path) -> None:
    await make_group(instance.database, "physics")
    path = tmp_path / "course.csv"
    path.write_text("username\n" + "".join(f"student-{number}\n" for number in range(600)))
    answer = await admin.json("import", "roster", path, "--group", "physics")
    assert len(answer["created_users"]) == len(answer["first_passwords"]) == 600
    listed = await admin.json("groups", "members", "physics", "--all")
    assert len(listed["items"]) == listed["total"] == 600
