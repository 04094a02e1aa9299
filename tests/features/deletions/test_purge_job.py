"""The purge as the cluster does it: asked for over HTTP, done by a worker, and brought back at the command line."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import bundle_path
from holdfast.features.accounts.rules import ADMIN_USERNAME
from holdfast.worker.loop import run_one
from holdfast.worker.registry import PERIODIC_JOBS
from tests.api.deletion_course import Course, delete, restore
from tests.cli.commandline import CommandLine
from tests.db.deleting import deletion, purge_now
from tests.db.rows import fetch, run
from tests.db.snapshots import difference, read_rows
from tests.factories import make_form, make_message, make_user
from tests.instance import Instance


@pytest.fixture
async def course(instance: Instance) -> Course:
    course = await Course(instance).fill()
    await make_user(instance.database, ADMIN_USERNAME)
    form_id = await make_form(instance.database, course.ids["student"], course.p_id)
    await make_message(instance.database, form_id, course.ids["teacher"])
    return course


@pytest.fixture
def operator(instance: Instance, tmp_path: Path) -> CommandLine:
    """Somebody on the server's machine, with its settings."""
    commands = CommandLine("http://127.0.0.1:9", tmp_path)
    commands.environment |= {
        "HOLDFAST_DATABASE_URL": instance.settings.database_url,
        "HOLDFAST_DATA_DIR": str(instance.settings.data_dir),
    }
    return commands


async def run_jobs(instance: Instance) -> None:
    while await run_one(instance.database, instance.settings):
        pass


def bundle_of(instance: Instance, deletion_id: str) -> Path:
    return bundle_path(instance.settings.resolved_bundle_dir, deletion_id)


async def audit_rows(database: Database, action: str) -> list[tuple[Any, ...]]:
    columns = "actor_name, resource_type, resource_id, description, new_data"
    return await fetch(database, f"SELECT {columns} FROM audit_logs WHERE action = '{action}' ORDER BY id")


@pytest.mark.conformance("X-09")
async def test_a_course_is_purged_and_recovered(course: Course, instance: Instance, operator: CommandLine) -> None:
    before = await read_rows(instance.database)
    deleted = await delete(course.root, f"/groups/{course.g_id}", "group", course.g_id)
    deletion_id = deleted["deletion_id"]
    assert (await course.root.post(f"/deletions/{deletion_id}/purge")).status_code == 202
    await run_jobs(instance)
    shown = (await course.root.get(f"/deletions/{deletion_id}")).json()
    assert (shown["state"], shown["actual_counts"]) == ("purged", deleted["counts"])
    asked, begun, done = await audit_rows(instance.database, "purge")
    assert {row[:3] for row in map(tuple, (asked, begun, done))} == {("root", "group", course.g_id)}
    assert (begun[3], done[3]) == ("the bundle is verified: its rows are removed from now on", "purged")
    assert msgspec.json.decode(done[4])["counts"] == deleted["counts"]
    bundle = bundle_of(instance, deletion_id)
    planned = await operator.json("recover", bundle, "--dry-run")
    assert planned["live"] == planned["inserted"] == deleted["counts"]
    assert await fetch(instance.database, f"SELECT 1 FROM group_list WHERE g_id = '{course.g_id}'") == []
    said = await operator.done("recover", bundle)
    assert f"group physics (deletion {deletion_id}) is recovered." in said.replace("\n", " ")
    lines = difference(before, await read_rows(instance.database))
    assert [line for line in lines if "audit_logs" not in line and "tokens" not in line] == []
    ((actor, root_type, root_id, _, facts),) = await audit_rows(instance.database, "recover")
    assert (actor, root_type, root_id) == ("holdfast", "group", course.g_id)
    assert msgspec.json.decode(facts)["live"] == deleted["counts"]
    assert "restored already" in await operator.done("recover", bundle)


async def test_admins_of_the_group_read_of_a_purge_and_a_recovery_and_of_each_once(
    course: Course, instance: Instance, operator: CommandLine
) -> None:
    cf_id = await course.add_file()
    deleted = await delete(course.teacher, f"/config-files/{cf_id}", "config-file", cf_id)
    path = f"/deletions/{deleted['deletion_id']}/purge"
    assert [(await course.root.post(path)).status_code for _ in range(3)] == [202, 202, 202]
    await run_jobs(instance)
    assert (await course.root.post(path)).status_code == 409
    await operator.done("recover", bundle_of(instance, deleted["deletion_id"]))
    seen = (await course.head.get("/audit-logs", params={"resource_id": cf_id, "sort": "created_at"})).json()["items"]
    assert [(each["action"], each["actor_name"], each["g_id"]) for each in seen] == [
        ("delete", "teacher", course.g_id),
        ("purge", "root", course.g_id),
        ("purge", "root", course.g_id),
        ("purge", "root", course.g_id),
        ("recover", "holdfast", course.g_id),
    ]
    assert [each["description"] for each in seen[1:4]] == [
        "purge asked for",
        "the bundle is verified: its rows are removed from now on",
        "purged",
    ]
    # Nothing of an account is for the admins of groups.
    student = course.ids["student"]
    gone = await delete(course.root, f"/users/{student}", "user", student)
    await course.root.post(f"/deletions/{gone['deletion_id']}/purge")
    await run_jobs(instance)
    assert (await course.head.get("/audit-logs", params={"resource_id": student})).json()["items"] == []


async def test_what_stands_against_a_recovery_is_told_in_lines(
    course: Course, instance: Instance, operator: CommandLine
) -> None:
    student = course.ids["student"]
    deleted = await delete(course.root, f"/users/{student}", "user", student)
    await course.root.post(f"/deletions/{deleted['deletion_id']}/purge")
    await run_jobs(instance)
    await make_user(instance.database, "student")
    bundle = bundle_of(instance, deleted["deletion_id"])
    said = await operator.refused("recover", bundle)
    assert "it cannot be recovered now" in said
    assert f"  users {student}: another row of users has username student" in said
    dry = await operator.run("recover", bundle, "--dry-run")
    assert dry.exit_code == 1
    assert "cannot be recovered now" in dry.stdout
    assert "no bundle at all" in await operator.refused("recover", __file__)


async def test_a_purge_that_cannot_be_done_fails_with_its_reason_and_not_its_job(
    course: Course, instance: Instance
) -> None:
    deleted = await delete(course.root, f"/projects/{course.p_id}", "project", course.p_id)
    await make_form(instance.database, course.root_id, course.p_id)
    await course.root.post(f"/deletions/{deleted['deletion_id']}/purge")
    await run_jobs(instance)
    shown = (await course.root.get(f"/deletions/{deleted['deletion_id']}")).json()
    assert shown["state"] == "failed"
    assert "is live" in shown["failure"]
    assert [tuple(row) for row in await fetch(instance.database, "SELECT state FROM jobs")] == [("done",)]
    await run(instance.database, f"DELETE FROM forms WHERE user_id = '{course.root_id}'")
    assert (await course.root.post(f"/deletions/{deleted['deletion_id']}/purge")).status_code == 202
    await run_jobs(instance)
    assert (await deletion(instance.database, deleted["deletion_id"]))["state"] == "purged"


async def test_a_purge_that_stands_still_is_asked_for_again(course: Course, instance: Instance) -> None:
    deleted = await delete(course.root, f"/projects/{course.p_id}", "project", course.p_id)
    held = "state = 'purging', lease_token = 'gone', lease_until = '2026-01-01 00:00:00.000000'"
    await run(instance.database, f"UPDATE deletions SET {held}")
    resume = PERIODIC_JOBS["deletions.resume_purges"]
    assert await resume.run(instance.database, instance.settings, utc_now) == 1
    # Where no worker has come to it since, once is enough.
    assert await resume.run(instance.database, instance.settings, utc_now) == 0
    await run_jobs(instance)
    assert (await deletion(instance.database, deleted["deletion_id"]))["state"] == "purged"
    assert await resume.run(instance.database, instance.settings, utc_now) == 0
    # Nobody is known to have asked for it.
    assert {row[0] for row in await audit_rows(instance.database, "purge")} == {"holdfast"}


async def test_of_a_restore_and_a_purge_at_once_one_is_done_and_the_other_refused(
    course: Course, instance: Instance, tmp_path: Path
) -> None:
    outcomes = set()
    for _ in range(6):
        before = await read_rows(instance.database)
        deleted = await delete(course.root, f"/projects/{course.p_id}", "project", course.p_id)
        restored, removed = await asyncio.gather(
            restore(course.root, deleted["deletion_id"]),
            purge_now(instance.database, deleted["deletion_id"], tmp_path),
        )
        found = await deletion(instance.database, deleted["deletion_id"])
        outcomes.add(found["state"])
        if removed:
            assert (restored.status_code, found["state"]) == (409, "purged")
            assert await fetch(instance.database, "SELECT 1 FROM forms") == []
            break
        assert (restored.status_code, found["state"]) == (200, "restored")
        lines = difference(before, await read_rows(instance.database))
        assert [line for line in lines if "audit_logs" not in line] == []
    assert outcomes <= {"purged", "restored"}
