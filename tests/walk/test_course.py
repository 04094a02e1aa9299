"""The walk of a whole course over real HTTP, from the first start to the story in the audit log, on each engine."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.features.groups.types import FirstStart
from tests.instance import instance_settings, run_instance
from tests.walk.course_walk import HEAD, OTHER_STUDENT, STUDENT, TEACHER, CourseWalk

_FIRST_SIGN_IN = ("login user", "update user")
_STORY = [
    ("admin", "create group", "create user", "create member"),
    ("admin", *_FIRST_SIGN_IN, "create group", "create project", "create user", "create member"),
    (TEACHER, *_FIRST_SIGN_IN, "create config-file"),
    (STUDENT, *_FIRST_SIGN_IN, "create image-request"),
    ("admin", "approve image-request", "create repository", "create tag", "create image"),
    (STUDENT, "create workload"),
    (OTHER_STUDENT, *_FIRST_SIGN_IN, "create form"),
    (TEACHER, "update form", "create form-message", "update form"),
]
# Each table with the key that the log names its rows by.
_TABLES = {
    "user": ("users", "u_id"),
    "group": ("group_list", "g_id"),
    "member": ("user_group", "g_id, u_id"),
    "project": ("project_list", "p_id"),
    "config-file": ("config_files", "cf_id"),
    "resource": ("resources", "r_id"),
    "image-request": ("image_requests", "id"),
    "image": ("image_allow_list", "id"),
    "repository": ("container_repositories", "id"),
    "tag": ("container_tags", "id"),
    "form": ("forms", "id"),
    "workload": ("course_workloads", "id"),
}


@pytest.mark.conformance("X-07", "V-04", "V-05", "G-01", "P-01", "R-01", "R-03", "F-12", "O-01", "O-03", "U-01")
async def test_a_course_goes_its_whole_way(engine: str, new_database: Callable[[str], str], tmp_path: Path) -> None:
    settings = instance_settings(new_database(engine), tmp_path)
    await migrate(parse_address(settings.database_url))
    told: list[FirstStart] = []
    async with run_instance(engine, settings, announce=told.append) as instance:
        walk = CourseWalk(instance, *told)
        await walk.sign_in_admin()
        await walk.make_course()
        await walk.import_roster()
        await walk.sign_in_teacher()
        await walk.store_manifests()
        await walk.read_config_files()
        await walk.request_image()
        await walk.run_workloads()
        await walk.answer_form()
        entries = await walk.read_audit_log()
        assert _steps(entries) == [(actor, step) for actor, *steps in _STORY for step in steps]
        await _assert_each_row_was_recorded(instance.database, entries)
        _assert_group_log(await walk.read_audit_log_of_group(), entries, walk.g_id)
        await instance.close_clients()


def _steps(entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who did what, once for each run of one kind: 300 members are one step, and so are files with their resources."""
    steps = [
        (entry["actor_name"], f"{entry['action']} {entry['resource_type']}")
        for entry in entries
        if entry["resource_type"] != "resource"
    ]
    return [step for step, _ in groupby(steps)]


async def _assert_each_row_was_recorded(database: Database, entries: list[dict[str, Any]]) -> None:
    for resource_type, (table, key) in _TABLES.items():
        async with database.read() as tx:
            made = {"/".join(row) for row in await tx.fetch_text(f"SELECT {key} FROM {table}")}
        recorded = [
            entry["resource_id"]
            for entry in entries
            if (entry["action"], entry["resource_type"]) == ("create", resource_type)
        ]
        assert sorted(recorded) == sorted(made), f"{resource_type}: rows and entries differ"
    assert all(entry["ip_address"] == "127.0.0.1" for entry in entries[3:]), "an entry lacks its address"


def _assert_group_log(seen: list[dict[str, Any]], entries: list[dict[str, Any]], g_id: str) -> None:
    """The admin of the group reads all that happened to what the group owns, and nothing else."""
    assert seen == [entry for entry in entries if entry["g_id"] == g_id]
    kinds = {entry["resource_type"] for entry in seen}
    assert kinds == _TABLES.keys() - {"user", "repository", "tag"} | {"form-message"}
    assert HEAD not in {entry["actor_name"] for entry in seen}
