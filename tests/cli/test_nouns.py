"""The commands of each noun, as people use them one after the other, against a running instance."""

import io
import re
from pathlib import Path

import pytest

from holdfast.cli.terminal import print_table
from tests.cli.commandline import CommandLine
from tests.factories import make_group, make_member, make_project, make_token, make_user
from tests.instance import Instance

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Course:
    """A group `physics` with project `lab`, a student and the people at their command lines."""

    def __init__(self, admin: CommandLine, student: CommandLine, p_id: str) -> None:
        self.admin = admin
        self.student = student
        self.p_id = p_id


@pytest.fixture
async def course(admin: CommandLine, instance: Instance, tmp_path: Path) -> Course:
    database = instance.database
    g_id = await make_group(database, "physics")
    p_id = await make_project(database, g_id, "lab", gpu_quota=2)
    student_id = await make_user(database, "student", full_name="Sam Student")
    await make_member(database, student_id, g_id)
    token = await make_token(database, student_id)
    return Course(admin, CommandLine(instance.base_url, tmp_path / "student", token), p_id)


async def test_users_are_made_found_changed_and_disabled(admin: CommandLine) -> None:
    made = await admin.json("users", "create", "ada", "--full-name", "Ada", "--email", "ada@example.org")
    assert made["first_password"]
    await admin.done("users", "edit", "ada", "--full-name", "Ada Lovelace", "--email", "")
    shown = await admin.json("users", "show", "ada")
    assert (shown["full_name"], shown["email"]) == ("Ada Lovelace", None)
    assert await admin.json("users", "show", made["u_id"]) == shown
    await admin.done("users", "edit", "ada", "--status", "delete")
    listed = await admin.json("users", "list", "--status", "delete", "--q", "LOVE")
    assert [user["username"] for user in listed["items"]] == ["ada"]


async def test_a_user_changes_their_own_password_and_an_admin_that_of_others(
    admin: CommandLine, anonymous: CommandLine
) -> None:
    await admin.done("users", "create", "ada", "--password-stdin", input="the first password\n")
    both = "the first password\nthe second password\n"
    await anonymous.done("login", "ada", "--password-stdin", "--new-password-stdin", input=both)
    await anonymous.done("users", "password", input="the second password\nthe third one\nthe third one\n")
    await anonymous.refused("users", "password", "--password-stdin", input="wrong password\nthe fourth one\n")
    await admin.done("users", "password", "ada", "--password-stdin", input="the fifth password\n")
    both = "the fifth password\nthe sixth password\n"
    await anonymous.done("login", "ada", "--password-stdin", "--new-password-stdin", input=both)


async def test_groups_are_made_and_filled(admin: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada")
    await admin.done("groups", "create", "Machine Learning", "--description", "Winter")
    await admin.done("groups", "add-member", "Machine Learning", "ada")
    await admin.done("groups", "set-role", "Machine Learning", "ada", "manager")
    await admin.done("groups", "edit", "Machine Learning", "--name", "ML")
    said = await admin.done("groups", "members", "ML", "--role", "manager")
    assert said.splitlines()[1].split()[:2] == ["ada", "manager"]
    groups = await admin.json("users", "groups", "ada")
    assert [(group["group_name"], group["role"]) for group in groups["items"]] == [("ML", "manager")]


async def test_projects_are_made_and_changed(admin: CommandLine, instance: Instance) -> None:
    await make_group(instance.database, "physics")
    await admin.done("projects", "create", "lab", "--group", "physics", "--gpu-quota", 4, "--description", "one")
    await admin.done("projects", "edit", "physics/lab", "--gpu-quota", 8, "--description", "", "--allow-privileged")
    shown = await admin.json("projects", "show", "lab")
    assert (shown["gpu_quota"], shown["description"], shown["allow_privileged"]) == (8, None, True)
    listed = await admin.json("projects", "list", "--group", "physics")
    assert [project["project_name"] for project in listed["items"]] == ["lab"]


async def test_an_edit_that_changes_nothing_is_wrong_usage(course: Course) -> None:
    assert "say what to change" in await course.admin.refused("projects", "edit", "lab", code=2)


async def test_a_name_that_several_have_asks_for_an_id(course: Course, instance: Instance) -> None:
    other = await make_project(instance.database, await make_group(instance.database, "chemistry"), "lab")
    said = await course.admin.refused("projects", "show", "lab")
    assert "2 projects are named 'lab'" in said
    assert f"{other}  chemistry/lab" in said
    assert (await course.admin.json("projects", "show", "chemistry/lab"))["p_id"] == other


async def test_an_id_wins_over_a_name_that_looks_like_it(admin: CommandLine, instance: Instance) -> None:
    u_id = await make_user(instance.database, "ada")
    await make_user(instance.database, u_id)
    assert (await admin.json("users", "show", u_id))["username"] == "ada"


async def test_an_image_goes_from_request_to_workload(course: Course) -> None:
    admin, student = course.admin, course.student
    run = ("workloads", "create", "train", "--project", "lab", "--image", "nginx:1.27", "--gpus", 1)
    await student.refused(*run)
    asked = await student.json("image-requests", "create", "nginx:1.27", "--project", "lab")
    await student.refused("image-requests", "approve", asked["id"])
    said = await admin.done("image-requests", "approve", asked["id"], "--note", "Scanned")
    assert said == "docker.io/library/nginx:1.27 is allowed in lab now.\n"
    assert "already" in await admin.refused("image-requests", "reject", asked["id"], "--note", "Too late")
    workload = await student.json(*run)
    assert "may use 2 GPUs and uses 1" in await student.refused(*run[:2], "big", *run[3:-1], 2)
    await student.done("workloads", "status", workload["id"], "running")
    await student.done("workloads", "status", workload["id"], "succeeded")
    listed = await student.json("workloads", "list", "--project", "lab", "--status", "succeeded")
    assert [each["id"] for each in listed["items"]] == [workload["id"]]
    (rule,) = (await student.json("images", "list", "--project", "lab"))["items"]
    await admin.done("images", "disable", rule["id"])
    assert (await admin.json("images", "list", "--enabled"))["total"] == 0
    await admin.done("images", "enable", rule["id"])
    tags = await student.json("repositories", "tags", "docker.io/library/nginx")
    assert [tag["name"] for tag in tags["items"]] == ["1.27"]


async def test_an_image_is_rejected_with_the_reason(course: Course) -> None:
    asked = await course.student.json("image-requests", "create", "redis:4", "--project", "lab")
    await course.admin.done("image-requests", "reject", asked["id"], "--note", "Too old")
    shown = await course.student.done("image-requests", "show", asked["id"])
    assert [line.split() for line in shown.splitlines()][:3] == [
        ["image", "docker.io/library/redis:4"],
        ["project_name", "lab"],
        ["status", "rejected"],
    ]
    assert "Too old" in shown
    listed = await course.student.done("image-requests", "list")
    assert [line.split()[:4] for line in listed.splitlines()] == [
        ["status", "image", "project_name", "username"],
        ["rejected", "docker.io/library/redis:4", "lab", "student"],
    ]
    pending = await course.student.json("image-requests", "list", "--status", "pending")
    assert pending["total"] == 0


async def test_a_super_administrator_allows_an_image_for_everyone(course: Course) -> None:
    await course.admin.done("images", "add", "ghcr.io/org/app")
    said = await course.student.done("images", "list", "--q", "app")
    assert said.splitlines()[1].split()[:3] == ["ghcr.io/org/app", "any", "everyone"]
    (rule,) = (await course.student.json("images", "list", "--q", "app"))["items"]
    assert (rule["tag"], rule["project_name"]) == (None, None)
    assert "ghcr.io/org/app" in await course.student.done("repositories", "list")


async def test_a_form_is_opened_answered_and_closed(course: Course) -> None:
    form = await course.student.json(
        "forms", "open", "GPU is slow", "--project", "lab", "--tag", "gpu", "--message", "Since Monday"
    )
    await course.admin.done("forms", "answer", form["id"], "Looking into it")
    await course.admin.done("forms", "status", form["id"], "processing")
    await course.admin.done("forms", "status", form["id"], "Completed")
    said = await course.student.done("forms", "show", form["id"])
    assert said.index("Since Monday") < said.index("Looking into it")
    listed = await course.student.json("forms", "list", "--status", "completed", "--tag", "gpu")
    assert [each["id"] for each in listed["items"]] == [form["id"]]
    await course.student.refused("forms", "answer", form["id"], "Thank you")


async def test_what_others_wrote_cannot_drive_the_terminal(course: Course) -> None:
    form = await course.student.json("forms", "open", "Hello", "--message", "\x1b[2Jgone\u202e [bold]markup[/bold]")
    said = await course.student.done("forms", "show", form["id"])
    assert "\\x1b[2Jgone\\x202e [bold]markup[/bold]" in said


async def test_tokens_are_made_used_and_revoked(course: Course, instance: Instance, tmp_path: Path) -> None:
    token = (await course.student.done("tokens", "create", "ci", "--scope", "forms:read", "--days", 3)).strip()
    robot = CommandLine(instance.base_url, tmp_path / "robot", token)
    await robot.done("forms", "list")
    assert "projects:read" in await robot.refused("projects", "list")
    (row,) = (await course.student.json("tokens", "list", "--kind", "api"))["items"]
    await course.student.done("tokens", "revoke", row["id"])
    await robot.refused("forms", "list", code=4)


async def test_the_audit_log_is_filtered(course: Course) -> None:
    await course.admin.done("groups", "edit", "physics", "--description", "Winter")
    await course.admin.done("projects", "edit", "lab", "--gpu-quota", 3)
    said = await course.admin.done("audit", "list", "--type", "project", "--group", "physics", "--from", "2020-01-01")
    assert [line.split()[2:10] for line in said.splitlines()[1:]] == [
        ["root-of-tests", "update", "project", "lab", "gpu_quota:", "2", "→", "3"]
    ]
    assert (await course.admin.json("audit", "list", "--to", "2020-01-01"))["total"] == 0
    assert "--from is no time" in await course.admin.refused("audit", "list", "--from", "yesterday", code=2)


async def test_the_audit_log_tells_what_changed_and_when_to_the_second(course: Course) -> None:
    await course.admin.done("users", "edit", "student", "--email", "sam@example.org")
    await course.student.done("forms", "open", "GPU is slow", "--tag", "gpu", "--description", "Slow " * 20)
    _, user = (await course.admin.json("audit", "list", "--limit", 2))["items"]
    said = await course.admin.done("audit", "list", "--limit", 2)
    opened, edited = said.splitlines()[1:]
    assert edited.startswith(user["created_at"][:19].replace("T", " ") + "Z")
    assert "email: none → sam@example.org" in edited
    assert "description: Slow Slow" in opened
    assert "tag: gpu" in opened
    assert "Slow…" in opened


async def test_lists_show_pages_and_everything(admin: CommandLine, instance: Instance) -> None:
    for number in range(7):
        await make_group(instance.database, f"group-{number}")
    page = await admin.run("groups", "list", "--limit", 3, "--page", 2, "--sort", "group_name")
    assert [line.split()[0] for line in page.stdout.splitlines()[1:]] == ["group-3", "group-4", "group-5"]
    assert "3 of 8 rows, page 2; --page 3 shows more" in page.stderr
    page = await admin.run("groups", "list", "--limit", 3, "--page", 2, "--no-total")
    assert page.stderr == "3 rows, page 2; --page 3 shows more, --all shows everything.\n"
    assert (await admin.run("groups", "list", "--no-total")).stderr == ""
    assert (await admin.json("groups", "list", "--limit", 3, "--no-total"))["total"] is None
    everything = await admin.json("groups", "list", "--all", "--sort=-group_name")
    assert everything["total"] == 8
    assert [group["group_name"] for group in everything["items"]] == [
        "super",
        *(f"group-{number}" for number in reversed(range(7))),
    ]


async def test_a_refused_field_is_named(admin: CommandLine) -> None:
    said = await admin.refused("users", "create", "a")
    assert said == "holdfast: the request does not fit: username: must have at least 3 characters\n"


async def test_a_new_password_is_checked_before_it_is_sent(admin: CommandLine) -> None:
    say = "holdfast: the new password must be 8 to 128 characters long\n"
    assert await admin.refused("users", "create", "ada", "--password-stdin", input="short\n") == say
    assert await admin.refused("users", "password", "--password-stdin", input=f"present one\n{'x' * 129}\n") == say
    assert (await admin.json("users", "list"))["total"] == 1


async def test_output_that_is_no_terminal_has_no_colour_and_a_line_a_row(course: Course) -> None:
    title = "A very long title " * 12
    await course.student.done("forms", "open", title.strip())
    said = await course.student.done("forms", "list")
    assert "\x1b" not in said
    assert len(said.splitlines()) == 2
    assert title.strip() in said


@pytest.mark.parametrize(
    ("width", "header"),
    [(40, "name id"), (60, "name project id"), (80, "name project gpus id"), (100, "name project gpus id when")],
)
def test_a_spare_column_stands_in_its_place_and_an_empty_one_nowhere(
    monkeypatch: pytest.MonkeyPatch, width: int, header: str
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    row = {"name": "train", "project": "p" * 20, "gpus": "1" * 20, "id": "A" * 21, "when": "w" * 20, "pulled": None}
    print_table([row], ("name", "project", "gpus", "id"), ("project", "gpus", "pulled", "when"))
    assert _ANSI.sub("", terminal.getvalue()).splitlines()[0].split() == header.split()


def test_a_narrow_terminal_cuts_long_texts_but_never_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    row = {"title": "word " * 30, "id": "A" * 21, "created_at": "2026-10-01T08:30:00Z", "tag": "gpu"}
    print_table([row], ("title", "id", "created_at"), ("tag",))
    header, line = [" ".join(part.split()) for part in _ANSI.sub("", terminal.getvalue()).splitlines()]
    assert header == "title id created_at"
    assert line.startswith("word word")
    assert line.endswith(f"… {'A' * 21} 2026-10-01 08:30Z")
