"""`holdfast delete` and `holdfast deletions`, as people use them one after the other (S-02, S-03, C-13)."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.core.ids import new_long_id
from holdfast.db.tables import course_workloads
from holdfast.worker.loop import run_one
from tests.api.cast import count_rows
from tests.cli.commandline import CommandLine
from tests.factories import (
    insert_row,
    make_config_file,
    make_form,
    make_group,
    make_image_request,
    make_member,
    make_message,
    make_project,
    make_rule,
    make_super_admin,
    make_token,
    make_user,
)
from tests.instance import Instance


class Course:
    """Group `Machine Learning` with two students, and project `exercises` with something of each kind."""

    def __init__(self, admin: CommandLine, instance: Instance) -> None:
        self.admin = admin
        self.instance = instance
        self.database = instance.database

    async def fill(self) -> "Course":
        database = self.database
        self.g_id = await make_group(database, "Machine Learning")
        self.p_id = await make_project(database, self.g_id, "exercises")
        self.ada = await make_user(database, "ada")
        self.bob = await make_user(database, "bob")
        for u_id in (self.ada, self.bob):
            await make_member(database, u_id, self.g_id)
        self.cf_id = await make_config_file(database, self.p_id, "web.yaml")
        self.form_id = await make_form(database, self.ada, self.p_id)
        self.message_ids = [await make_message(database, self.form_id, self.ada) for _ in range(3)]
        self.request_id = await make_image_request(database, self.ada, self.p_id)
        self.rule_id = await make_rule(database, self.bob, self.p_id)
        return self

    async def add_workload(self, status: str = "Running") -> str:
        workload_id = new_long_id()
        await insert_row(
            self.database,
            course_workloads,
            id=workload_id,
            user_id=self.ada,
            project_id=self.p_id,
            name="train",
            namespace="course",
            image="docker.io/library/python:3.13",
            k8s_pod_name=f"pod-{workload_id[-6:].lower()}",
            status=status,
        )
        return workload_id

    async def live(self, table: str) -> int:
        return await count_rows(self.instance, table, "deletion_id = ''")


@pytest.fixture
async def course(admin: CommandLine, instance: Instance) -> Course:
    return await Course(admin, instance).fill()


@pytest.mark.conformance("C-13")
async def test_a_plan_is_a_tree_with_counts_and_deletes_nothing(course: Course) -> None:
    said = await course.admin.done("delete", "group", "Machine Learning", "--plan")
    assert said.splitlines() == [
        "group Machine Learning",
        "├─ 1 project",
        "│  ├─ 1 config file",
        "│  ├─ 1 form",
        "│  │  └─ 3 messages",
        "│  ├─ 1 image request",
        "│  └─ 1 allow-list rule",
        "└─ 2 memberships",
        "",
        "11 rows would go together, and come back together.",
    ]
    plan = await course.admin.json("delete", "group", course.g_id, "--plan")
    assert plan["counts"]["form_messages"] == 3
    assert await course.live("group_list") == 2


@pytest.mark.conformance("S-02", "S-03")
async def test_a_course_is_deleted_found_and_brought_back(course: Course) -> None:
    said = await course.admin.done("delete", "group", "Machine Learning", input="Machine Learning\n")
    assert said.splitlines()[-1].startswith("Deleted 11 rows. To bring them back: holdfast deletions restore ")
    deletion_id = said.split()[-1]
    await course.admin.refused("groups", "show", "Machine Learning")
    assert await course.live("form_messages") == 0
    listed = await course.admin.done("deletions", "list", "--state", "deleted", "--type", "group")
    assert listed.splitlines()[1].split()[2:] == [
        *("deleted", "group", "Machine", "Learning", "11"),
        deletion_id,
        "root-of-tests",
    ]
    shown = await course.admin.done("deletions", "show", deletion_id)
    assert re.search(r"^purge_after +20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ *$", shown, re.MULTILINE)
    assert [line.split() for line in shown.splitlines() if line.startswith("form_messages")] == [["form_messages", "3"]]
    assert await course.admin.done("deletions", "restore", deletion_id) == "11 rows are back.\n"
    assert await course.live("form_messages") == 3
    again = await course.admin.done("deletions", "restore", deletion_id)
    assert again == "Nothing to do: it was restored before.\n"
    assert (await course.admin.json("deletions", "list", "--state", "restored"))["total"] == 1


async def test_many_rows_need_the_name_and_few_a_yes(course: Course) -> None:
    admin = course.admin
    said = await admin.refused("delete", "group", "Machine Learning", input="machine learning\n")
    assert "nothing was deleted: its name is 'Machine Learning'" in said
    await admin.refused("delete", "group", "Machine Learning", input="")
    await admin.refused("delete", "form", course.form_id, input="n\n")
    assert await course.live("forms") == 1
    assert await course.live("group_list") == 2
    await admin.done("delete", "form", course.form_id, input="y\n")
    assert await course.live("forms") == 0


async def test_programs_say_yes_and_get_the_answer_alone(course: Course) -> None:
    said = await course.admin.refused("delete", "project", "exercises", "--json", code=2)
    assert "add --yes, or --plan" in said
    deleted = await course.admin.json("delete", "project", "Machine Learning/exercises", "--yes", "--reason", "Over")
    assert deleted["counts"]["project_list"] == 1
    shown = await course.admin.json("deletions", "show", deleted["deletion_id"])
    assert (shown["reason"], shown["root_label"]) == ("Over", "exercises")


async def test_each_kind_is_named_on_the_command_line(course: Course) -> None:
    await make_rule(course.database, course.bob, course.p_id)
    async with course.database.read() as tx:
        first, second = await tx.fetch_text("SELECT id, full_name FROM container_repositories ORDER BY id")
    workload_id = await course.add_workload("Succeeded")
    for root_type, name in (
        ("workload", workload_id),
        ("form-message", f"{course.form_id}/{course.message_ids[0]}"),
        ("form", course.form_id),
        ("config-file", "Machine Learning/exercises/web.yaml"),
        ("image-request", course.request_id),
        ("image", course.rule_id),
        ("tag", f"{first[1]}:1.0"),
        ("repository", second[1]),
        ("member", "Machine Learning/ada"),
        ("project", "exercises"),
        ("group", "Machine Learning"),
        ("user", "ada"),
    ):
        plan = await course.admin.json("delete", root_type, name, "--plan")
        assert plan["root"]["type"] == root_type
        deleted = await course.admin.json("delete", root_type, name, "--yes")
        assert deleted["counts"] == plan["counts"], root_type


async def test_a_name_in_another_form_is_wrong_usage(course: Course) -> None:
    for root_type, form in (
        ("member", "GROUP/USER"),
        ("form-message", "FORM/MESSAGE"),
        ("config-file", "PROJECT/FILENAME"),
        ("tag", "REPOSITORY:TAG"),
    ):
        assert f"write it as {form}" in await course.admin.refused("delete", root_type, "web.yaml", code=2)
    assert "no config file named 'no.yaml'" in await course.admin.refused("delete", "config-file", "exercises/no.yaml")


async def test_what_runs_must_be_decided_about(course: Course) -> None:
    await course.add_workload()
    said = await course.admin.refused("delete", "project", "exercises", "--yes")
    assert "nothing was deleted: running-workloads must be decided; --take-along lets them go with it" in said
    assert "--hand-over-to" not in said
    plan = await course.admin.done("delete", "project", "exercises", "--plan")
    assert "To decide, running-workloads (1): " in plan
    assert "  workload train  " in plan
    await course.admin.done("delete", "project", "exercises", "--yes", "--take-along")
    assert await course.live("course_workloads") == 0


async def test_the_rules_of_a_user_are_handed_over(course: Course) -> None:
    await make_user(course.database, "carol")
    said = await course.admin.refused("delete", "user", "bob", "--yes")
    assert "enabled-rules must be decided" in said
    assert "--hand-over-to USER gives them away" in said
    await course.admin.done("delete", "user", "bob", "--yes", "--hand-over-to", "carol")
    (rule,) = (await course.admin.json("images", "list"))["items"]
    assert rule["created_by_name"] == "carol"


async def test_what_is_protected_is_named(course: Course) -> None:
    client = course.instance.client(await make_token(course.database, await make_super_admin(course.database, "other")))
    answer = await client.patch(f"/projects/{course.p_id}", json={"deletion_protected": True})
    assert answer.status_code == 200, answer.text
    said = await course.admin.refused("delete", "group", "Machine Learning", "--yes")
    assert said.splitlines() == [
        "holdfast: nothing was deleted: some of it is protected",
        f"  project exercises  {course.p_id}",
    ]
    plan = await course.admin.done("delete", "group", "Machine Learning", "--plan")
    assert plan.splitlines()[-1] == f"  project exercises  {course.p_id}"


async def test_what_a_plan_tells_beside_the_tree(course: Course) -> None:
    await course.admin.done("delete", "form", course.form_id, "--yes")
    plan = await course.admin.done("delete", "project", "exercises", "--plan")
    assert "Beneath it were deleted before, and stay so: 1 row of forms, 3 rows of form_messages." in plan
    plan = await course.admin.done("delete", "image-request", course.request_id, "--plan")
    assert plan.splitlines()[2:] == ["Nothing else goes with it."]


async def test_a_restore_that_cannot_be_says_why(course: Course) -> None:
    file = await course.admin.json("delete", "config-file", course.cf_id, "--yes")
    await make_config_file(course.database, course.p_id, "web.yaml")
    said = await course.admin.refused("deletions", "restore", file["deletion_id"])
    assert said == "holdfast: it cannot be restored now: another config-file is named web.yaml now\n"
    said = await course.admin.done("deletions", "restore", file["deletion_id"], "--rename")
    assert said.splitlines()[0] == "1 row is back."
    assert said.splitlines()[1].startswith("web.yaml is ")


@asynccontextmanager
async def _working(instance: Instance, **changes: Any) -> AsyncIterator[None]:
    """A worker that looks for jobs all the time, beside the block."""
    is_over = asyncio.Event()

    async def work() -> None:
        while not is_over.is_set():
            await run_one(instance.database, msgspec.structs.replace(instance.settings, **changes))
            await asyncio.sleep(0.02)

    working = asyncio.create_task(work())
    yield
    is_over.set()
    await working


async def test_a_purge_is_waited_for_and_tells_its_bundle(course: Course) -> None:
    deleted = await course.admin.json("delete", "project", "exercises", "--yes")
    deletion_id = deleted["deletion_id"]
    await course.admin.refused("deletions", "purge", deletion_id, input="n\n")
    said = await course.admin.done("deletions", "purge", deletion_id, "--yes")
    assert said == f"The purge is asked for: holdfast deletions show {deletion_id} tells how far it is.\n"
    async with _working(course.instance):
        said = await course.admin.done("deletions", "purge", deletion_id, "--yes", "--wait")
    assert said.startswith("Purged. To bring it back, on the server: holdfast recover ")
    assert await asyncio.to_thread(Path(said.split()[-1]).is_file)
    assert await count_rows(course.instance, "project_list") == 0
    assert "this deletion was purged: recover its bundle" in await course.admin.refused(
        "deletions", "restore", deletion_id
    )


async def test_a_purge_that_fails_says_why(course: Course, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    deleted = await course.admin.json("delete", "form", course.form_id, "--yes")
    async with _working(course.instance, bundle_dir=str(tmp_path / "file")):
        said = await course.admin.refused("deletions", "purge", deleted["deletion_id"], "--yes", "--wait")
    assert said.startswith("holdfast: the purge failed: ")
    assert await count_rows(course.instance, "forms") == 1


async def test_others_see_their_own_deletions_only(course: Course, tmp_path: Path) -> None:
    ada = CommandLine(course.instance.base_url, tmp_path / "ada", await make_token(course.database, course.ada))
    own = await make_form(course.database, course.ada)
    deleted = await ada.json("delete", "form", own, "--yes")
    other = await course.admin.json("delete", "image", course.rule_id, "--yes")
    assert [row["id"] for row in (await ada.json("deletions", "list"))["items"]] == [deleted["deletion_id"]]
    await ada.refused("deletions", "show", other["deletion_id"])
    assert (await course.admin.json("deletions", "list", "--user", "ada"))["total"] == 1
    assert "only super administrators purge" in await ada.refused("deletions", "purge", deleted["deletion_id"], "--yes")


async def test_numbers_that_move_while_somebody_thinks_are_shown_again(course: Course) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from holdfast.cli.main import main; main()", "delete", "form", course.form_id),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=os.environ | {name: value for name, value in course.admin.environment.items() if value},
    )
    assert process.stdin is not None
    assert process.stderr is not None
    await process.stderr.readuntil(b"Delete it? [y/N]:")
    await make_message(course.database, course.form_id, course.ada)
    process.stdin.write(b"y\n")
    told = await process.stderr.readuntil(b"Delete it? [y/N]:")
    assert b"Meanwhile something changed beneath it; nothing was deleted." in told
    assert await course.live("forms") == 1
    said, _ = await process.communicate(b"y\n")
    lines = said.decode().splitlines()
    assert [line for line in lines if "messages" in line] == ["└─ 3 messages", "└─ 4 messages"]
    assert lines[-1].strip().startswith("Deleted 5 rows.")
    assert process.returncode == 0
